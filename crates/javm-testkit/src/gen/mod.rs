//! Random programs that run for a while.
//!
//! Random bytes end after a few instructions, so [`case`] builds programs the way a compiler would: mapped
//! memory with registers that point into it, loops with counters, branches forwards and backwards to where
//! blocks start, jumps through a table, host calls; every operation, with operands at the edges, in odd
//! spellings ([`spell`](crate::spell)), and now and then something that ends the run. [`raw`] is the
//! opposite: any valid code at all.
//!
//! A case is a pure function of its seed and options.

mod raw;
mod structured;

use std::sync::Arc;

use javm_exec::{Access, Engine, GasCounter, Instance, Module, NUM_REGS, PAGE_SIZE};
use javm_isa::{Code, CostClass, Op};

use crate::{rng::Rng, spell::Dialect};

pub use raw::raw;

/// What programs may contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Whether to use `ecall`, which only the canonical numbering has.
    pub ecall: bool,
    /// [`Dialect::Common`] keeps away from what PolkaVM does otherwise than the Gray Paper.
    pub dialect: Dialect,
}

impl Options {
    /// Everything that the engine can run.
    pub const ALL: Self = Self { ecall: true, dialect: Dialect::GrayPaper };
    /// What PolkaVM's `JamV1` can run with the same result.
    pub const COMMON: Self = Self { ecall: false, dialect: Dialect::Common };
}

/// Memory that is mapped before a program starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First page.
    pub first: u32,
    /// Number of pages.
    pub count: u32,
    /// Whether the guest may write there.
    pub writable: bool,
    /// What is in it from its first byte on; the rest is zero.
    pub contents: Vec<u8>,
}

/// A program with everything that it starts with.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it was made from, and what the host's decisions are made from.
    pub seed: u64,
    /// The program.
    pub code: Arc<Code>,
    /// Where it starts.
    pub pc: u64,
    /// Registers at the start.
    pub regs: [u64; NUM_REGS],
    /// Gas at the start.
    pub gas: u64,
    /// Memory at the start.
    pub memory: Vec<Mapping>,
    /// Whether the host may only do what PolkaVM can follow.
    pub dialect: Dialect,
}

impl Case {
    /// The case as a machine of an engine, ready to run.
    ///
    /// # Panics
    /// Where the mappings overlap or leave the address space; those of [`case`] and [`raw`] do not.
    #[must_use]
    pub fn instance(&self, engine: &Engine) -> Instance {
        let mut instance = Instance::new(&Module::new(engine, Arc::clone(&self.code)));
        instance.regs.pc = self.pc;
        instance.regs.gpr = self.regs;
        instance.gas = GasCounter::new(self.gas);
        for Mapping { first, count, writable, contents } in &self.memory {
            let access = if *writable { Access::ReadWrite } else { Access::ReadOnly };
            let mapped = instance.memory.map(*first, *count, access, None);
            let written = mapped.and_then(|()| instance.memory.poke(first * PAGE_SIZE as u32, contents));
            if let Err(error) = written {
                panic!("seed {}: {error}", self.seed);
            }
        }
        instance
    }
}

/// A program for this seed.
#[must_use]
pub fn case(seed: u64, options: &Options) -> Case {
    structured::generate(seed, *options)
}

/// Whether PolkaVM's cost of the instruction depends on what stands before it in its block in another way
/// than ours: a conditional move there waits for the old value of its destination. At the start of a block
/// there is nothing to wait for.
const fn priced_otherwise(op: Op) -> bool {
    matches!(op.cost_class(), CostClass::Cmov | CostClass::CmovImm)
}

/// Random bytes of memory, some of them runs of zero.
fn contents(rng: &mut Rng, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        bytes.extend(rng.interesting().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Gas: mostly enough for a long run, sometimes not enough for a short one.
fn gas(rng: &mut Rng) -> u64 {
    match rng.below(10) {
        0 => rng.below(200),
        1 | 2 => rng.below(5_000),
        _ => 20_000 + rng.below(100_000),
    }
}
