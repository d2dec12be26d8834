//! Random programs on the recompiler and on the interpreter: everything that can be seen is the same.
//!
//! `JAVM_JIT_CASES` sets how many; the default keeps the test quick.

use std::sync::Mutex;

use javm_exec::{Backend, Config, Engine, GasModel};
use javm_testkit::{
    drive::{EngineMachine, Mode, difference, drive},
    r#gen::{self, Case, Options},
};

fn engine(backend: Backend, model: GasModel) -> Option<Engine> {
    Engine::new(Config::new().backend(backend).gas_model(model)).ok()
}

fn cases(default: u64) -> u64 {
    std::env::var("JAVM_JIT_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// Runs a case on both; the first difference.
fn compare(interpreter: &Engine, recompiler: &Engine, case: &Case) -> Result<usize, String> {
    let machine = |engine: &Engine| EngineMachine { instance: case.instance(engine), mode: Mode::Run };
    let (mut ours, mut theirs) = (machine(recompiler), machine(interpreter));
    let expected = drive(case, &mut theirs);
    let found = drive(case, &mut ours);
    recompiler.recycle(ours.instance.memory);
    interpreter.recycle(theirs.instance.memory);
    match difference(&found, &expected) {
        None => Ok(expected.len()),
        Some(difference) => Err(format!("seed {}: recompiler and interpreter: {difference}", case.seed)),
    }
}

fn all(model: GasModel, seeds: std::ops::Range<u64>, make: impl Fn(u64) -> Case + Sync) {
    let (Some(interpreter), Some(recompiler)) =
        (engine(Backend::Interpreter, model), engine(Backend::Recompiler, model))
    else {
        return;
    };
    let failures = Mutex::new(Vec::new());
    let next = std::sync::atomic::AtomicU64::new(seeds.start);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    if let Err(failure) = compare(&interpreter, &recompiler, &make(seed)) {
                        failures.lock().unwrap().push(failure);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} failures, the first: {}", failures.len(), failures[0]);
}

#[test]
fn programs_that_run_for_a_while() {
    all(GasModel::Pipeline, 0..cases(3_000), |seed| r#gen::case(seed, &Options::ALL));
}

#[test]
fn any_valid_code() {
    all(GasModel::Pipeline, 0..cases(3_000), |seed| r#gen::raw(seed, &Options::ALL));
}

#[test]
fn gas_per_instruction() {
    all(GasModel::PerInstruction, 0..cases(3_000) / 2, |seed| r#gen::case(seed, &Options::ALL));
    all(GasModel::PerInstruction, 0..cases(3_000) / 2, |seed| r#gen::raw(seed, &Options::ALL));
}

/// The same programs with more and more gas: the run stops at one block after the other.
#[test]
fn out_of_gas_at_every_block() {
    all(GasModel::Pipeline, 0..cases(3_000), |seed| {
        let mut case = r#gen::case((1 << 40) + seed / 60, &Options::ALL);
        case.gas = seed % 60 * 13;
        case
    });
}
