//! The loops that `javm-bench` measures operations of the capability machine with.
//!
//! Each [`Case`] is a guest that repeats one operation, and the same loop with a cheap operation (`GAS_LEFT`)
//! in its place; the difference of the two, divided by the number of rounds, is the cost of the operation.
//! `main.rs` measures all of them; `javm-bench-compare` the nested call.

pub mod machines;

use std::{collections::BTreeMap, time::Instant};

use javm::{CallResult, InProcessKernelAssist, Vm, first_instance, kernel_assist::kernel_catcher};
use javm_cap::{
    CacheDirectory, Cap, CapHash, SlotIdx, SlotPath,
    image::{EndpointDef, Image, MappingSource, MemoryMapping},
};
use javm_exec::{Backend, Config, Engine};
use javm_isa::asm::assemble;

/// The gas of an invocation.
pub const GAS: u64 = 1 << 60;
/// How often each loop is timed.
pub const RUNS: usize = 15;

/// One measurement: what is in the loop, and how often it goes round.
#[derive(Debug)]
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub what: &'static str,
    rounds: u64,
    /// Instructions of one round; `GAS_LEFT` in the baseline.
    body: &'static str,
    /// Slots of the caller besides slot 1, which holds the callee.
    callee: &'static str,
    /// How many pages of memory the callee maps, and how many bytes its Data has.
    callee_pages: u64,
}

/// All measurements; the first is the nested call.
pub const CASES: &[Case] = &[
    Case {
        name: "nested call and return",
        what: "an instance with one page of persistent memory and a stack, which it reads",
        rounds: 20_000,
        body: "load_imm a0, 1\nload_imm a1, 0\necalli 26",
        callee: "load_u64 t0, 0x20000\nload_u64 t1, 0xfefdf000\nload_imm a0, 0\necalli 0",
        callee_pages: 1,
    },
    Case {
        name: "nested call, 256 MiB behind it",
        what: "the same; its Data is 65,536 pages long, of which it reads one",
        rounds: 20_000,
        body: "load_imm a0, 1\nload_imm a1, 0\necalli 26",
        callee: "load_u64 t0, 0x20000\nload_u64 t1, 0xfefdf000\nload_imm a0, 0\necalli 0",
        callee_pages: 65_536,
    },
    Case {
        name: "nested call that writes",
        what: "it increments a counter in its persistent page, which becomes a new value",
        rounds: 20_000,
        body: "load_imm a0, 1\nload_imm a1, 0\necalli 26",
        callee: "load_u64 t0, 0x20000\nadd_imm_64 t0, t0, 1\nstore_u64 t0, 0x20000\nload_imm a0, 0\necalli 0",
        callee_pages: 1,
    },
    Case {
        name: "copy of a settled value",
        what: "MGMT_COPY between root slots",
        rounds: 100_000,
        body: "load_imm a0, 1\nload_imm a1, 9\necalli 1",
        callee: "trap",
        callee_pages: 1,
    },
    Case {
        name: "move and back",
        what: "two MGMT_MOVE between root slots",
        rounds: 100_000,
        body: "load_imm a0, 1\nload_imm a1, 9\necalli 2\nload_imm a0, 9\nload_imm a1, 1\necalli 2",
        callee: "trap",
        callee_pages: 1,
    },
    Case {
        name: "mint 64 bytes",
        what: "HOST_MINT_DATA_CAP into a root slot",
        rounds: 50_000,
        body: "load_imm a0, 0x20000\nload_imm a1, 64\nload_imm a2, -1\nload_imm a3, 9\necalli 23",
        callee: "trap",
        callee_pages: 1,
    },
    Case {
        name: "call, yield, resume, return",
        what: "the callee yields a marker that the caller catches and resumes at once",
        rounds: 20_000,
        body: "load_imm a0, 1\nload_imm a1, 0\necalli 26\nload_imm a0, 1\necalli 27",
        callee: "load_imm a0, 6\necalli 16\nload_imm a0, 0\necalli 0",
        callee_pages: 1,
    },
    Case {
        name: "spawn",
        what: "MGMT_CNODE_MINT of 256 slots and DERIVE_SPAWN over it",
        rounds: 20_000,
        body: "load_imm a0, 9\nload_imm a1, 8\necalli 5\nload_imm a0, 7\nload_imm a1, 9\nload_imm a2, 10\necalli 18",
        callee: "trap",
        callee_pages: 1,
    },
];

/// An image of this code with a persistent mapping at 0x20000 and a page of stack.
///
/// # Panics
/// When the text is no valid assembly.
pub fn image(cache: &mut CacheDirectory, text: &str, pages: u64) -> CapHash {
    let code = assemble(text).expect("the case is written in valid assembly");
    let mapping = |start, size, source| MemoryMapping { start, size, source };
    let image = Image {
        code: code.code,
        packed_bitmask: code.packed_bitmask,
        jump_table: code.jump_table,
        endpoints: BTreeMap::from([(0, EndpointDef::default())]),
        memory_mappings: vec![
            mapping(0x2_0000, pages * 4096, MappingSource::Slot(SlotPath::root(200))),
            mapping(0xfefd_f000, 4096, MappingSource::Ephemeral),
        ],
        yield_marker_slot: Some(SlotIdx(5)),
        ..Image::default()
    };
    let cap = Cap::image_with_slots(&image, &[], &[]).expect("the image is valid");
    cache.put_cap(&cap).expect("an image without slots has nothing missing")
}

/// A world with a caller that goes round `body`.
struct World {
    vm: Vm<InProcessKernelAssist>,
    cache: CacheDirectory,
    caller: CapHash,
}

impl World {
    fn new(case: &Case, body: &str, backend: Backend) -> Self {
        let mut cache = CacheDirectory::new();
        let mut bytes = vec![0u8; (case.callee_pages * 4096) as usize];
        bytes[0] = 1;
        *bytes.last_mut().expect("at least a page") = 1;
        let data = cache.put_cap(&Cap::data_inline(&bytes)).expect("plain data");
        let callee = image(&mut cache, case.callee, case.callee_pages);
        let code = callee;
        let marker = cache.put_cap(&Cap::data_inline(b"marker")).expect("plain data");
        let marker = first_instance(&mut cache, code, &[(SlotIdx(9), marker)]).expect("it is an image");
        let catcher = kernel_catcher(&mut cache, &[marker]).expect("one marker fits");
        let callee = first_instance(&mut cache, code, &[(SlotIdx(200), data), (SlotIdx(6), marker)]);
        let callee = callee.expect("it is an image");
        let text = format!(
            "move_reg s0, a0\nload_imm a0, 0\nstore_u8 a0, 0x20000\nfallthrough\nround: {body}\n\
             add_imm_64 s0, s0, -1\nbranch_ne_imm s0, 0, @round\necalli 0"
        );
        let caller = image(&mut cache, &text, 1);
        let slots = [(SlotIdx(1), callee), (SlotIdx(5), catcher), (SlotIdx(7), code)];
        let caller = first_instance(&mut cache, caller, &slots).expect("it is an image");
        let engine = Engine::new(Config::new().backend(backend)).expect("the backend was asked for");
        Self { vm: Vm::with_engine(InProcessKernelAssist::new(), engine), cache, caller }
    }

    /// Nanoseconds of one invocation.
    fn time(&mut self, rounds: u64) -> f64 {
        let start = Instant::now();
        let result = self.vm.invoke_cached(&mut self.cache, self.caller, 0, [rounds, 0, 0, 0], GAS);
        let elapsed = start.elapsed();
        match result {
            Ok(CallResult::Halt { .. }) => elapsed.as_nanos() as f64,
            other => panic!("{other:?}: {:?}", self.vm.last_fault().map(ToString::to_string)),
        }
    }
}

/// Median, smallest and largest cost of one round in nanoseconds.
///
/// # Panics
/// When the machine does not have the backend.
pub fn measure(case: &Case, backend: Backend) -> (f64, f64, f64) {
    let mut with = World::new(case, case.body, backend);
    let mut without = World::new(case, "ecalli 34", backend);
    with.time(case.rounds);
    without.time(case.rounds);
    let mut costs: Vec<f64> = (0..RUNS)
        .map(|_| (with.time(case.rounds) - without.time(case.rounds)) / case.rounds as f64)
        .collect();
    costs.sort_by(f64::total_cmp);
    (costs[RUNS / 2], costs[0], costs[RUNS - 1])
}

/// The processor's name, where the system tells it.
#[must_use]
pub fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    model.map_or_else(|| "unknown processor".to_owned(), |(_, name)| name.trim().to_owned())
}
