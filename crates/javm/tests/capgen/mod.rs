//! What the tests of properties over generated programs share: engines, and how many cases there are.
//!
//! A failure prints the seed and the text of every program. `JAVM_SEED=n` runs that case alone;
//! `JAVM_CASES=n` runs so many instead of the default.
#![allow(dead_code, unreachable_pub, reason = "every test takes the part that it needs")]

use javm::{CallResult, Vm};
use javm_cap::{CacheDirectory, CapHash};
use javm_exec::{Backend, Config, Engine};
use javm_testkit::capgen::{
    Case, Options, generate,
    host::{self, Embedder, Outcome, Placed},
    record::{Recorder, Stats},
};

/// More gas than a case takes.
pub const GAS: u64 = 1 << 32;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Runs `test` on cases, and asserts that in the default run every operation succeeded and was refused often
/// enough. What `test` returns is counted.
pub fn for_cases(default: u64, options: Options, mut test: impl FnMut(&Case) -> Stats) {
    let seeds = seeds(default);
    let whole = seeds.end - seeds.start >= default;
    let mut stats = Stats::default();
    for seed in seeds {
        let case = generate(seed, options);
        stats.add(&test(&case));
    }
    println!("{stats}");
    if whole {
        stats.require(1_000, 100);
    }
}

/// The seeds to run.
pub fn seeds(default: u64) -> std::ops::Range<u64> {
    match number("JAVM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("JAVM_CASES").unwrap_or(default),
    }
}

/// An engine of a backend; `None` where it cannot run.
pub fn engine(backend: Backend) -> Option<Engine> {
    let engine = Engine::new(Config::new().backend(backend));
    if engine.is_err() {
        eprintln!("the {backend} does not run here: that part is skipped");
    }
    engine.ok()
}

/// A run and all that was seen of it.
pub struct Run {
    pub outcome: Outcome,
    pub vm: Vm<Recorder>,
    pub cache: CacheDirectory,
    pub placed: Placed,
}

/// Runs a case in a directory of its own; what the generator did not foresee ends the test.
pub fn run(case: &Case, engine: Engine, embedder: &mut dyn Embedder) -> Run {
    let mut cache = CacheDirectory::new();
    let placed = host::place(case, &mut cache);
    let mut vm = host::machine(case, &placed, engine);
    let outcome = host::run(case, &placed, &mut vm, &mut cache, &|_| GAS, embedder)
        .unwrap_or_else(|error| panic!("{error}\n{}", case.listing()));
    host::check(case, &vm, &outcome);
    Run { outcome, vm, cache, placed }
}

/// The names of a result's values.
pub fn names(result: &CallResult) -> Vec<CapHash> {
    let slot = |slot: &Option<javm_cap::CapHashOrRef>| slot.and_then(|name| name.as_hash().copied());
    match result {
        CallResult::Halt { post_instance_hash, reflected_slot0, .. } => {
            [Some(*post_instance_hash), slot(reflected_slot0)].into_iter().flatten().collect()
        }
        CallResult::Faulted { reflected_slot0, .. } => slot(reflected_slot0).into_iter().collect(),
        CallResult::Paused { marker_payload, .. } => slot(marker_payload).into_iter().collect(),
    }
}
