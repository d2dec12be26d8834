//! The microkernel against its model: random trees of VMs and random operations, compared after every step.
//!
//! `JAVM_SEQUENCES` multiplies the number of sequences. A failure names its seed and the steps that led to it.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use javm_exec::{Backend, Config, Engine, GasModel};
use javm_testkit::{
    Rng,
    kernel_model::{
        Cap, Event, Fault, State,
        against::{Way, World},
        generate,
    },
};

/// Steps of a sequence.
const STEPS: usize = 34;

/// What happened, over many sequences.
#[derive(Default)]
struct Tally {
    /// How often each operation succeeded, and each fault was delivered.
    events: BTreeMap<Event, u64>,
    /// How many sequences had how many successful operations.
    successes: BTreeMap<u64, u64>,
    /// How many successful operations went through how many handles.
    hops: [u64; 4],
    /// How many replies gave back data that was mapped before it was passed.
    mapped_back: u64,
    /// The deepest that calls were nested.
    depth: usize,
    /// How the states of VMs changed.
    transitions: BTreeSet<(State, State)>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        other.events.into_iter().for_each(|(event, n)| *self.events.entry(event).or_default() += n);
        other.successes.into_iter().for_each(|(many, n)| *self.successes.entry(many).or_default() += n);
        self.hops.iter_mut().zip(other.hops).for_each(|(sum, n)| *sum += n);
        self.mapped_back += other.mapped_back;
        self.depth = self.depth.max(other.depth);
        self.transitions.extend(other.transitions);
    }

    fn median(&self) -> u64 {
        let half = self.successes.values().sum::<u64>() / 2;
        let mut seen = 0;
        let mut above = |n: u64| {
            seen += n;
            seen > half
        };
        self.successes.iter().find(|(_, n)| above(**n)).map_or(0, |(many, _)| *many)
    }
}

/// Through how many handles the reference goes that a step names first.
fn hops(step: &generate::Step) -> usize {
    let reference = match step.action {
        generate::Action::Ecalli(imm) => imm,
        generate::Action::Ecall => (step.phi[12] >> 32) as u32,
        _ => 0,
    };
    reference.to_le_bytes()[1..].iter().filter(|slot| **slot != 0).count()
}

/// One sequence; an error has everything that is needed to see it again.
fn sequence(world: &World, seed: u64, way: Way, every_byte: bool, tally: &mut Tally) {
    let mut rng = Rng::new(seed);
    let mut pair = world.start();
    let mut steps = Vec::new();
    let mut done = 0;
    for _ in 0..STEPS {
        let step = generate::step(&mut rng, &pair.model);
        steps.push(step.clone());
        let saved = pair.model.frames.last().is_some_and(|frame| frame.saved.is_some());
        let passed = matches!(pair.model.cap((pair.model.active, 0)), Some(Cap::Data(_)));
        let before: Vec<_> = pair.model.vms.values().map(|vm| (vm.name, vm.state)).collect();
        let result = pair.step(&mut rng, way, &step);
        tally.transitions.extend(before.into_iter().filter_map(|(name, from)| {
            let to = pair.model.vm(name)?.state;
            (from != to).then_some((from, to))
        }));
        let result =
            result.and_then(|on| if every_byte { pair.compare_contents().map(|()| on) } else { Ok(on) });
        let goes_on = match result {
            Ok(goes_on) => goes_on,
            Err(error) => panic!("{way:?} of seed {seed}, after {steps:#?}: {error}"),
        };
        let event = match pair.model.event {
            // Which page does not matter here.
            Event::Faulted(Fault::Page(_)) => Event::Faulted(Fault::Page(0)),
            event => event,
        };
        let operation = matches!(
            step.action,
            generate::Action::Ecalli(_) | generate::Action::Ecall | generate::Action::Halt
        );
        if operation || matches!(step.action, generate::Action::Fault(_)) {
            *tally.events.entry(event).or_default() += 1;
            if operation && matches!(event, Event::Done(_)) {
                done += 1;
                tally.hops[hops(&step)] += 1;
            }
            tally.mapped_back += u64::from(event == Event::Done("REPLY") && saved && passed);
            tally.depth = tally.depth.max(pair.model.frames.len());
        }
        if !goes_on {
            break;
        }
    }
    pair.compare_contents()
        .unwrap_or_else(|error| panic!("{way:?} of seed {seed}, after {steps:#?}: {error}"));
    *tally.successes.entry(done).or_default() += 1;
}

/// Sequences on both cores; the seeds are the same however many there are.
fn sequences(engine: &Engine, count: u64, way: Way, every_byte: bool) -> Tally {
    let times = std::env::var("JAVM_SEQUENCES").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let count = count * times;
    let world = World::new(engine);
    let threads = 2;
    let mut all = Tally::default();
    std::thread::scope(|scope| {
        let parts = (0..threads).map(|part| {
            let world = &world;
            scope.spawn(move || {
                let mut tally = Tally::default();
                for seed in (part..count).step_by(threads as usize) {
                    sequence(world, seed, way, every_byte, &mut tally);
                }
                tally
            })
        });
        for part in parts.collect::<Vec<_>>() {
            match part.join() {
                Ok(tally) => all.add(tally),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    all
}

fn engine(backend: Backend) -> Engine {
    Engine::new(Config::new().backend(backend).gas_model(GasModel::Pipeline)).unwrap()
}

/// The ways in which a VM's state changes: there is no other.
const TRANSITIONS: [(State, State); 7] = [
    (State::Idle, State::Running),
    (State::Running, State::Idle),
    (State::Running, State::Waiting),
    (State::Running, State::Halted),
    (State::Running, State::Faulted),
    (State::Waiting, State::Running),
    (State::Faulted, State::Running),
];

/// Everything that an operation can be when it succeeds.
const OPERATIONS: [&str; 18] = [
    "CALL CALLABLE",
    "CALL HANDLE",
    "COPY",
    "CREATE",
    "DIRTY",
    "DOWNGRADE",
    "DROP",
    "DROP HANDLE",
    "MAP",
    "MEMCPY",
    "MOVE",
    "PROTOCOL_CALL",
    "REPLY",
    "RESUME",
    "RETYPE",
    "SET_MAX_GAS",
    "SPLIT",
    "UNMAP",
];

fn check(tally: &Tally, least: u64) {
    println!("median of {} successes", tally.median());
    tally.events.iter().for_each(|(event, n)| println!("{n:>9} {event:?}"));
    for operation in OPERATIONS {
        let n = tally.events.get(&Event::Done(operation)).copied().unwrap_or(0);
        assert!(n >= least, "{operation} succeeded only {n} times");
    }
    for fault in [Fault::Trap, Fault::Panic, Fault::OutOfGas, Fault::Page(0)] {
        let n = tally.events.get(&Event::Faulted(fault)).copied().unwrap_or(0);
        assert!(n >= least, "{fault:?} was delivered only {n} times");
    }
    println!("through handles {:?}, mapped back {}, depth {}", tally.hops, tally.mapped_back, tally.depth);
    assert_eq!(tally.transitions, BTreeSet::from(TRANSITIONS));
    assert!(tally.hops.iter().all(|n| *n >= least), "{:?}", tally.hops);
    assert!(tally.mapped_back >= least / 4 && tally.depth >= 4);
    assert!(tally.median() >= 20, "half of the sequences have at most {} successes", tally.median());
}

#[test]
fn the_kernel_does_what_the_model_does() {
    check(&sequences(&engine(Backend::Interpreter), 100_000, Way::Dispatch, false), 1_000);
}

#[test]
fn so_it_does_when_code_asks() {
    for backend in [Backend::Interpreter, Backend::Auto] {
        check(&sequences(&engine(backend), 6_000, Way::Code, false), 50);
    }
}

/// Every byte of every page after every step.
#[test]
fn no_byte_changes_that_should_not() {
    for backend in [Backend::Interpreter, Backend::Auto] {
        sequences(&engine(backend), 1_000, Way::Code, true);
    }
}
