//! 200,000 random programs on the recompiler and on the interpreter: at every exit, everything that can be seen
//! is the same; every eighth program single-stepped as well. In a sample the gas ends before every block.
//!
//! `JAVM_JIT_CASES` sets how many there are instead, `JAVM_JIT_SEED` where they begin.

use std::{
    ops::Range,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use javm_exec::{Backend, Config, Engine, ExitReason, GasModel};
use javm_testkit::{
    drive::{EngineMachine, Event, Machine, Mode, difference, drive},
    r#gen::{self, Case, Options},
};

/// Programs, if nobody says otherwise.
const CASES: u64 = 200_000;

/// How many exits of each kind there were.
#[derive(Debug, Default)]
struct Statistics {
    programs: AtomicU64,
    stepped: AtomicU64,
    halt: AtomicU64,
    trap: AtomicU64,
    panic: AtomicU64,
    out_of_gas: AtomicU64,
    page_fault: AtomicU64,
    host_call: AtomicU64,
}

impl Statistics {
    fn add(&self, events: &[Event]) {
        self.programs.fetch_add(1, Relaxed);
        for event in events {
            let counter = match event.exit {
                ExitReason::Halt => &self.halt,
                ExitReason::Trap => &self.trap,
                ExitReason::Panic => &self.panic,
                ExitReason::OutOfGas => &self.out_of_gas,
                ExitReason::PageFault(_) => &self.page_fault,
                ExitReason::HostCall(_) | ExitReason::Ecall => &self.host_call,
            };
            counter.fetch_add(1, Relaxed);
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|n| n.parse().ok())
}

/// The interpreter and the recompiler, where there is one.
fn engines(model: GasModel) -> Option<[Engine; 2]> {
    let engine = |backend| Engine::new(Config::new().backend(backend).gas_model(model)).ok();
    Some([engine(Backend::Interpreter)?, engine(Backend::Recompiler)?])
}

fn transcript(engine: &Engine, case: &Case, mode: Mode<'_>) -> Vec<Event> {
    let mut machine = EngineMachine { instance: case.instance(engine), mode };
    let events = drive(case, &mut machine);
    engine.recycle(machine.instance.memory);
    events
}

/// Runs a case on both; the first difference.
fn compare([interpreter, recompiler]: &[Engine; 2], case: &Case, seen: &Statistics) -> Result<(), String> {
    let expected = transcript(interpreter, case, Mode::Run);
    let differs = |how: &str, difference| format!("seed {}: {how} and interpreter: {difference}", case.seed);
    let found = transcript(recompiler, case, Mode::Run);
    if let Some(difference) = difference(&found, &expected) {
        return Err(differs("recompiler", difference));
    }
    if case.seed.is_multiple_of(8) {
        seen.stepped.fetch_add(1, Relaxed);
        let found = transcript(interpreter, case, Mode::Step);
        if let Some(difference) = difference(&found, &expected) {
            return Err(differs("steps", difference));
        }
    }
    seen.add(&expected);
    Ok(())
}

/// Calls `check` with every seed, on two threads.
fn all(seeds: Range<u64>, check: impl Fn(u64) -> Result<(), String> + Sync) {
    let failures = Mutex::new(Vec::new());
    let next = AtomicU64::new(seeds.start);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    if let Err(failure) = check(seed) {
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
fn programs_show_the_same_on_both_backends() {
    let (Some(full), Some(simple)) = (engines(GasModel::Pipeline), engines(GasModel::PerInstruction)) else {
        return;
    };
    let cases = number("JAVM_JIT_CASES").unwrap_or(CASES);
    let first = number("JAVM_JIT_SEED").unwrap_or(0);
    let seen = Statistics::default();
    all(first..first + cases, |seed| {
        // Three eighths of them run for a while; the others are any valid code. Every fourth costs one gas an
        // instruction.
        let generate = if seed % 8 < 3 { r#gen::case } else { r#gen::raw };
        let engines = if (seed / 8).is_multiple_of(4) { &simple } else { &full };
        compare(engines, &generate(seed, &Options::ALL), &seen)
    });
    println!("{seen:?}");
    let Statistics { programs, stepped, halt, trap, panic, out_of_gas, page_fault, host_call } = seen;
    assert_eq!(programs.into_inner(), cases);
    assert!(stepped.into_inner() >= cases / 8);
    // Every way to end must be there often enough to mean something.
    for (name, count) in [
        ("halts", halt),
        ("traps", trap),
        ("panics", panic),
        ("out of gas", out_of_gas),
        ("page faults", page_fault),
        ("host calls", host_call),
    ] {
        let count = count.into_inner();
        assert!(cases < 10_000 || count > cases / 200, "{name}: {count} of {cases} programs");
    }
}

/// No gas before any block: each gets its cost when it has been asked for, and not a unit more.
#[test]
fn gas_ends_before_every_block() {
    let blocks = AtomicU64::new(0);
    for model in GasModel::ALL {
        let Some(engines) = engines(model) else { return };
        all(0..750, |seed| {
            let case = r#gen::case((1 << 40) + seed, &Options::ALL);
            let mut machines = engines.each_ref().map(|engine| {
                let mut instance = case.instance(engine);
                instance.gas = javm_exec::GasCounter::new(0);
                EngineMachine { instance, mode: Mode::Run }
            });
            for _ in 0..400 {
                let [expected, found] = machines.each_mut().map(show);
                if let Some(difference) = difference(&[found], std::slice::from_ref(&expected)) {
                    return Err(format!("seed {seed}: recompiler and interpreter: {difference}"));
                }
                match expected.exit {
                    ExitReason::OutOfGas => {
                        assert!(expected.gas == 0 && expected.gas_charged == Some(false));
                        blocks.fetch_add(1, Relaxed);
                        for machine in &mut machines {
                            let cost = machine.instance.module.block_cost(machine.instance.regs.pc);
                            machine.set_gas(cost);
                        }
                    }
                    ExitReason::HostCall(_) | ExitReason::Ecall => {
                        machines.iter_mut().for_each(EngineMachine::skip_call);
                    }
                    _ => break,
                }
            }
            for (engine, machine) in engines.iter().zip(machines) {
                engine.recycle(machine.instance.memory);
            }
            Ok(())
        });
    }
    assert!(blocks.into_inner() > 20_000);
}

fn show(machine: &mut EngineMachine<'_>) -> Event {
    let exit = machine.run();
    Event {
        exit,
        pc: machine.pc(),
        regs: machine.regs(),
        gas: machine.gas(),
        gas_charged: machine.gas_charged(),
        memory: machine.memory(),
    }
}
