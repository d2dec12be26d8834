//! Runs a [`Case`] on a machine with a host around it, and writes down what the machine showed at each exit.
//!
//! The host answers calls, maps pages that were missing and tops gas up. Its decisions come from the case
//! alone, so two machines that behave alike see the same host and leave equal [`Transcript`]s.

use javm_exec::{
    Access, ExitOnEcall, ExitReason, GasCounter, Instance, Memory, NUM_REGS, PAGE_SIZE, Reg, Step,
};

use crate::{r#gen::Case, rng::Rng, spell::Dialect};

/// A machine that can be driven.
pub trait Machine {
    /// Runs until something ends the run.
    fn run(&mut self) -> ExitReason;
    /// Where it stands; `None` where it does not say.
    fn pc(&self) -> Option<u64>;
    /// All registers.
    fn regs(&self) -> [u64; NUM_REGS];
    /// Sets a register.
    fn set_reg(&mut self, reg: Reg, value: u64);
    /// Gas left.
    fn gas(&self) -> u64;
    /// Sets the gas that is left.
    fn set_gas(&mut self, gas: u64);
    /// Whether the block it stands in is paid; `None` where it does not say.
    fn gas_charged(&self) -> Option<bool>;
    /// Goes behind the host call that ended the last run.
    fn skip_call(&mut self);
    /// Makes a page writable; maps a zero page with the access given where there is none.
    fn give_page(&mut self, page: u32, writable: bool);
    /// A [`Digest`] of all mapped memory.
    fn memory(&mut self) -> Digest;
}

/// A fingerprint of memory: where what is not zero stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(u64);

impl Digest {
    /// Takes in the bytes of a page, zero-extended.
    pub fn add(&mut self, page: u32, bytes: &[u8]) {
        for (n, chunk) in bytes.chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            let word = u64::from_le_bytes(word);
            if word != 0 {
                let place = u64::from(page) * (PAGE_SIZE as u64 / 8) + n as u64;
                let mixed =
                    (word ^ place.wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
                self.0 = self.0.wrapping_add(mixed ^ mixed >> 32);
            }
        }
    }

    /// The fingerprint of a memory.
    #[must_use]
    pub fn of(memory: &Memory) -> Self {
        let mut digest = Self::default();
        for page in memory.mapped().flat_map(|(first, count, _)| first..first + count) {
            if let Some(bytes) = memory.page(page) {
                digest.add(page, bytes);
            }
        }
        digest
    }
}

/// What a machine showed at an exit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Why the run ended.
    pub exit: ExitReason,
    /// See [`Machine::pc`].
    pub pc: Option<u64>,
    /// All registers.
    pub regs: [u64; NUM_REGS],
    /// Gas left.
    pub gas: u64,
    /// See [`Machine::gas_charged`].
    pub gas_charged: Option<bool>,
    /// All memory.
    pub memory: Digest,
}

/// What a machine showed at every exit.
pub type Transcript = Vec<Event>;

/// After this many exits the host gives up.
const MAX_EVENTS: usize = 60;

/// Runs a case to its end, or until the host gives up.
pub fn drive(case: &Case, machine: &mut impl Machine) -> Transcript {
    let mut rng = Rng::new(case.seed ^ 0x0068_6F73_7400);
    // Some hosts pay block by block, most once or not at all.
    let frugal = rng.one_in(8);
    if frugal {
        machine.set_gas(rng.below(100));
    }
    let mut events = Transcript::new();
    loop {
        let exit = machine.run();
        events.push(Event {
            exit,
            pc: machine.pc(),
            regs: machine.regs(),
            gas: machine.gas(),
            gas_charged: machine.gas_charged(),
            memory: machine.memory(),
        });
        if events.len() == MAX_EVENTS {
            return events;
        }
        match exit {
            ExitReason::HostCall(_) | ExitReason::Ecall => {
                machine.set_reg(*rng.one_of(&[Reg::A0, Reg::A1]), rng.interesting());
                machine.skip_call();
            }
            ExitReason::OutOfGas if frugal || rng.one_in(2) => {
                let more = if frugal { rng.below(300) } else { rng.below(10_000) };
                machine.set_gas(machine.gas() + more);
            }
            ExitReason::PageFault(address) if !rng.one_in(12) => {
                let page = address / PAGE_SIZE as u32;
                // Two things PolkaVM sees otherwise: a store that begins in a read-only page and goes on
                // into nothing, and an access that ends at the end of the address space.
                let common = case.dialect == Dialect::Common;
                if common && page == 0xF_FFFF {
                    return events;
                }
                machine.give_page(page, common || rng.one_in(2));
            }
            _ => return events,
        }
    }
}

/// The first difference between two transcripts, in words. What one of them does not say is passed over.
#[must_use]
pub fn difference(ours: &[Event], theirs: &[Event]) -> Option<String> {
    for (n, (a, b)) in ours.iter().zip(theirs).enumerate() {
        let differs = a.exit != b.exit
            || a.pc.zip(b.pc).is_some_and(|(a, b)| a != b)
            || a.gas_charged.zip(b.gas_charged).is_some_and(|(a, b)| a != b)
            || (a.regs, a.gas, a.memory) != (b.regs, b.gas, b.memory);
        if differs {
            return Some(format!("exit {n}:\n  {a:x?}\n  {b:x?}"));
        }
    }
    (ours.len() != theirs.len()).then(|| format!("{} exits, not {}", ours.len(), theirs.len()))
}

/// How an instance is made to run.
pub enum Mode<'a> {
    /// [`Instance::run`].
    Run,
    /// [`Instance::step`], again and again.
    Step,
    /// [`Instance::run_traced`] with this hook.
    Traced(&'a mut dyn FnMut(&Step<'_>)),
}

/// An instance of the engine.
pub struct EngineMachine<'a> {
    /// The instance.
    pub instance: Instance,
    /// How it is made to run.
    pub mode: Mode<'a>,
}

impl Machine for EngineMachine<'_> {
    fn run(&mut self) -> ExitReason {
        match &mut self.mode {
            Mode::Run => self.instance.run(&mut ExitOnEcall),
            Mode::Step => loop {
                if let Some(exit) = self.instance.step(&mut ExitOnEcall) {
                    return exit;
                }
            },
            Mode::Traced(hook) => self.instance.run_traced(&mut ExitOnEcall, hook),
        }
    }

    fn pc(&self) -> Option<u64> {
        Some(self.instance.regs.pc)
    }

    fn regs(&self) -> [u64; NUM_REGS] {
        self.instance.regs.gpr
    }

    fn set_reg(&mut self, reg: Reg, value: u64) {
        self.instance.regs.set(reg, value);
    }

    fn gas(&self) -> u64 {
        self.instance.gas.remaining()
    }

    fn set_gas(&mut self, gas: u64) {
        self.instance.gas = GasCounter::new(gas);
    }

    fn gas_charged(&self) -> Option<bool> {
        Some(self.instance.gas_charged)
    }

    fn skip_call(&mut self) {
        self.instance.skip_ecall();
    }

    fn give_page(&mut self, page: u32, writable: bool) {
        let memory = &mut self.instance.memory;
        let access = if writable { Access::ReadWrite } else { Access::ReadOnly };
        let given = match memory.access(page) {
            Some(_) => memory.protect(page, 1, Access::ReadWrite),
            None => memory.map(page, 1, access, None),
        };
        if let Err(error) = given {
            unreachable!("one page of the address space: {error}");
        }
    }

    fn memory(&mut self) -> Digest {
        Digest::of(&self.instance.memory)
    }
}
