//! Ours against PolkaVM's interpreter: the same programs, memory, registers and host around them; what both
//! show at every exit must be the same.
//!
//! Where the two differ by design is not compared here but listed, with who is right, in
//! `polkavm_differences.rs`; the generator keeps away from it ([`Dialect::Common`]).
//!
//! [`Dialect::Common`]: javm_testkit::spell::Dialect

mod common;

use std::time::Instant;

use common::PolkaMachine;
use javm_exec::{Config, Engine, ExitReason};
use javm_isa::Op;
use javm_testkit::{
    drive::{EngineMachine, Event, Mode, difference, drive},
    r#gen::{Case, Options, case, raw},
};

/// What a number of programs did.
struct Statistics {
    /// How often each operation was executed, by opcode.
    executed: [u64; 256],
    /// Instructions executed by each program.
    lengths: Vec<u64>,
    /// Exits: halt, trap, panic, out of gas, page fault, host call.
    exits: [u64; 6],
}

impl Statistics {
    fn count(&mut self, case: &Case, engine: &Engine) -> Vec<Event> {
        let mut length = 0;
        let mut hook = |step: &javm_exec::Step<'_>| {
            self.executed[step.instruction.op.opcode() as usize] += 1;
            length += 1;
        };
        let mut machine = EngineMachine { instance: case.instance(engine), mode: Mode::Traced(&mut hook) };
        let events = drive(case, &mut machine);
        engine.recycle(machine.instance.memory);
        self.lengths.push(length);
        for event in &events {
            self.exits[match event.exit {
                ExitReason::Halt => 0,
                ExitReason::Trap => 1,
                ExitReason::Panic => 2,
                ExitReason::OutOfGas => 3,
                ExitReason::PageFault(_) => 4,
                ExitReason::HostCall(_) | ExitReason::Ecall => 5,
            }] += 1;
        }
        events
    }
}

/// PolkaVM makes no difference between a trap and other panics.
fn as_polkavm_sees_it(mut events: Vec<Event>) -> Vec<Event> {
    for event in &mut events {
        if event.exit == ExitReason::Trap {
            event.exit = ExitReason::Panic;
        }
    }
    events
}

fn compare(engine: &Engine, polkavm: &polkavm::Engine, case: &Case) {
    let mut ours = EngineMachine { instance: case.instance(engine), mode: Mode::Run };
    let events = as_polkavm_sees_it(drive(case, &mut ours));
    engine.recycle(ours.instance.memory);
    let theirs = drive(case, &mut PolkaMachine::new(polkavm, case));
    if let Some(difference) = difference(&events, &theirs) {
        let listing: String = case.code.instructions(0).map(|(pc, i)| format!("{pc:5}: {i}\n")).collect();
        panic!("{listing}seed {}: ours, then PolkaVM's, at {difference}", case.seed);
    }
}

#[test]
fn programs_do_the_same() {
    const PROGRAMS: u64 = 24_000;
    let start = Instant::now();
    let (engine, polkavm) = (Engine::new(Config::new()).unwrap(), common::engine());
    let mut statistics = Statistics { executed: [0; 256], lengths: Vec::new(), exits: [0; 6] };
    for seed in 0..PROGRAMS {
        let case = case(seed, &Options::COMMON);
        compare(&engine, &polkavm, &case);
        statistics.count(&case, &engine);
    }
    let Statistics { executed, mut lengths, exits } = statistics;
    lengths.sort_unstable();
    let median = lengths[lengths.len() / 2];
    let total: u64 = lengths.iter().sum();
    let common = || Op::ALL.iter().filter(|op| **op != Op::Ecall);
    let rarest = common().min_by_key(|op| executed[op.opcode() as usize]).unwrap();
    println!(
        "{PROGRAMS} programs in {:.1} s: {total} instructions, median {median} a program, longest {}; \
         rarest operation {rarest}, {} times; \
         exits [halt, trap, panic, out of gas, page fault, host call] {exits:?}",
        start.elapsed().as_secs_f32(),
        lengths[lengths.len() - 1],
        executed[rarest.opcode() as usize],
    );
    assert!(median >= 50, "half of the programs execute fewer than {median} instructions");
    for op in common() {
        assert!(executed[op.opcode() as usize] >= 1_000, "{op}: {}", executed[op.opcode() as usize]);
    }
    assert!(exits.iter().all(|n| *n >= 100), "{exits:?}");
}

#[test]
fn any_valid_code_does_the_same() {
    let (engine, polkavm) = (Engine::new(Config::new()).unwrap(), common::engine());
    for seed in 0..10_000 {
        compare(&engine, &polkavm, &raw(seed, &Options::COMMON));
    }
}
