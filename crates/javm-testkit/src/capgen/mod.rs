//! Generated guests that use capabilities, in trees of instances.
//!
//! A [`Case`] is made from a seed. Its programs are written by a generator that knows what every slot holds
//! ([`value`]), so that it can choose an operation that will succeed, or one way to be refused, instead of
//! hoping for either (`script`, `ops`). Programs have several endpoints, call each other, yield and are
//! resumed or dropped, leave pauses behind, change their image, run on meters of their own, and do arithmetic
//! and write memory in between.
//!
//! What then happens is what the machine does: guests report before and after each operation, and
//! [`record`] counts what came to pass. A guest that sees anything else than its generator foresaw says so.
//!
//! [`host`] puts a case into a directory and runs it.

pub mod host;
mod ops;
pub mod record;
mod script;
pub mod store;
pub mod value;

use std::{collections::BTreeMap, sync::Arc};

use javm_abi::GuestOp;

use crate::rng::Rng;
use record::{Ask, By};
pub use script::VICTIM_SLOT;
use script::{Env, Script};
use value::Program;

/// The marker that the embedder catches.
pub const ROOT_MARKER: u32 = 0;
/// A quota with more in it than a case uses.
pub const QUOTA: u64 = 1;
/// How many files there are at first: 0 to this.
pub const FILES: u64 = 4;

/// What cases are made of.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many things an act of the outermost program does; those below do fewer.
    pub steps: u64,
    /// How many programs there may be, besides small ones.
    pub programs: usize,
    /// Whether programs may have gas meters of their own.
    pub meters: bool,
    /// Whether the outermost program has one in any case.
    pub metered: bool,
    /// Whether each `SET_IMAGE` is followed by a yield to the embedder, which then sees every lineage.
    pub visible: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { steps: 50, programs: 10, meters: true, metered: false, visible: false }
    }
}

/// A generated tree of programs.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it was made from.
    pub seed: u64,
    /// The outermost program. Its acts are to be called in order.
    pub root: Arc<Program>,
    /// Every program, callees before callers.
    pub programs: Vec<Arc<Program>>,
}

impl Case {
    /// The texts of all programs: what to print when a case fails.
    #[must_use]
    pub fn listing(&self) -> String {
        let texts = self.programs.iter().map(|p| format!("=== program {}\n{}", p.id, p.text));
        format!("seed {}\n{}", self.seed, texts.collect::<String>())
    }
}

/// What the programs of a case share while they are made.
struct Maker {
    rng: Rng,
    options: Options,
    ids: u32,
    markers: u32,
    meters: u64,
    programs: Vec<Arc<Program>>,
    large: usize,
    leaf: Arc<Program>,
    yielders: BTreeMap<u32, Arc<Program>>,
    successes: Vec<(Ask, By)>,
    refusals: Vec<(Ask, By)>,
}

impl Maker {
    fn id(&mut self) -> u32 {
        self.ids += 1;
        self.ids
    }

    fn marker(&mut self) -> u32 {
        self.markers += 1;
        self.markers
    }

    fn meter(&mut self) -> u64 {
        self.meters += 1;
        100 + self.meters
    }

    fn leaf(&self) -> Arc<Program> {
        Arc::clone(&self.leaf)
    }

    /// Whether there may be one more program.
    fn room(&mut self) -> bool {
        self.large += 1;
        self.large <= self.options.programs
    }

    /// The next operation that is to succeed: each comes as often as any other.
    fn next_success(&mut self) -> (Ask, By) {
        deal(&mut self.rng, &mut self.successes, |_| true)
    }

    /// The next operation that is to be refused.
    fn next_refusal(&mut self) -> (Ask, By) {
        deal(&mut self.rng, &mut self.refusals, Ask::can_be_refused)
    }
}

/// These come twice where others come once: others are also used to set things up.
const TWICE: [Ask; 3] = [Ask::Op(GuestOp::SetImage), Ask::Op(GuestOp::DropPaused), Ask::User];

fn deal(rng: &mut Rng, deck: &mut Vec<(Ask, By)>, takes: fn(Ask) -> bool) -> (Ask, By) {
    if deck.is_empty() {
        let asks = Ask::all().chain(TWICE).filter(|ask| takes(*ask));
        deck.extend(asks.flat_map(|ask| [(ask, By::Ecalli), (ask, By::Ecall)]));
    }
    let at = rng.index(deck.len());
    deck.swap_remove(at)
}

/// A case whose outermost program calls another one, whatever that does.
#[derive(Clone, Debug)]
pub struct Call {
    /// The whole.
    pub case: Case,
    /// What is called, from slot [`VICTIM_SLOT`].
    pub victim: Arc<Program>,
    /// By which endpoint.
    pub endpoint: u8,
}

/// Makes a caller and a callee that does `options.steps` things, calls of others among them.
#[must_use]
pub fn generate_call(seed: u64, options: Options) -> Call {
    let mut maker = maker(seed, options);
    let mut victim = Script::new(&mut maker, Env::default());
    victim.acts(1, options.steps, 0);
    let victim = victim.finish();
    let mut caller = Script::bare(&mut maker, Env::default());
    caller.caller(&victim, 0, 10);
    let root = caller.finish();
    Call { case: Case { seed, root, programs: maker.programs }, victim, endpoint: 0 }
}

/// Makes a case.
#[must_use]
pub fn generate(seed: u64, options: Options) -> Case {
    let mut maker = maker(seed, options);
    let mut root = Script::new(&mut maker, Env::default());
    root.acts(3, options.steps, 4);
    let root = root.finish();
    Case { seed, root, programs: maker.programs }
}

/// What every case begins with.
fn maker(seed: u64, options: Options) -> Maker {
    let placeholder = Arc::new(Program {
        id: 0,
        text: String::new(),
        image: javm_cap::image::Image::default(),
        pinned: BTreeMap::new(),
        table: value::Table::default(),
        acts: Vec::new(),
        meters: Vec::new(),
        quotas: Vec::new(),
    });
    let mut maker = Maker {
        rng: Rng::new(seed),
        options,
        ids: 0,
        markers: ROOT_MARKER,
        meters: 0,
        programs: Vec::new(),
        large: 0,
        leaf: placeholder,
        yielders: BTreeMap::new(),
        successes: Vec::new(),
        refusals: Vec::new(),
    };
    let mut leaf = Script::bare(&mut maker, Env { depth: 99, ..Env::default() });
    for by in [By::Ecalli, By::Ecall] {
        leaf.begin(true);
        leaf.compute();
        leaf.end_reply(by, 7);
    }
    let leaf = leaf.finish();
    maker.leaf = leaf;
    maker
}
