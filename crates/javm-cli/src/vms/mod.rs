//! Runs of the capability microkernel: an invocation with a host around it, step by step.
//!
//! `trace.rs` says in words what a step did, `live.rs` draws what there is. What the operations mean is
//! `javm-invocation`'s.

pub(crate) mod live;
mod trace;

pub(crate) use trace::reference;

use std::{collections::BTreeSet, io::Write, path::Path};

use javm_abi::{microkernel::WHAT, reg};
use javm_exec::{Engine, PAGE_SIZE, memory::PAGE_COUNT};
use javm_invocation::{DispatchResult, Invocation};

use crate::{error::CliError, load::path_name};

/// The protocol capability by which a VM asks for its gas; the only one that is answered.
const GAS: u8 = 1;

/// How many numbers there is room for behind the operation and the arguments' address and length.
pub(crate) const NUMBERS: usize = 3;

/// What an invocation starts with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Start {
    /// φ7.
    pub(crate) operation: u64,
    /// φ10 to φ12, at most [`NUMBERS`].
    pub(crate) numbers: Vec<u64>,
    /// What the DATA in slot 0 starts with.
    pub(crate) input: Vec<u8>,
    pub(crate) gas: u64,
}

/// How an invocation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Halt(u64),
    Fault(&'static str, Option<u32>),
}

/// A run.
pub(crate) struct Session {
    pub(crate) invocation: Invocation,
    /// Operations and faults so far.
    pub(crate) steps: u64,
    /// Protocol calls that nobody knows: how many, and their ids.
    pub(crate) unknown: u64,
    pub(crate) ids: BTreeSet<u8>,
    pub(crate) end: Option<End>,
}

impl Session {
    /// A run that has not begun.
    pub(crate) fn new(path: &Path, bytes: &[u8], engine: &Engine, start: &Start) -> Result<Self, CliError> {
        let mut invocation = Invocation::new(engine, bytes, &start.input, start.gas)
            .map_err(|source| CliError::Invocation { name: path_name(path), source: Box::new(source) })?;
        let gpr = &mut invocation.regs_mut().gpr;
        gpr[reg::A0] = start.operation;
        gpr[reg::A3..].iter_mut().zip(&start.numbers).for_each(|(register, number)| *register = *number);
        Ok(Self { invocation, steps: 0, unknown: 0, ids: BTreeSet::new(), end: None })
    }

    /// Runs to the end, or up to some number of operations; with `traced`, tells standard error of each.
    pub(crate) fn run(&mut self, most: Option<u64>, traced: bool) {
        while self.end.is_none() && most.is_none_or(|most| self.steps < most) {
            let vm = self.invocation.active();
            let result = self.invocation.step();
            self.steps += 1;
            if traced {
                let line = trace::line(&self.invocation, self.steps, vm, &result);
                // A reader that has gone away does not end the run.
                let _ = writeln!(std::io::stderr(), "{line}");
            }
            self.settle(result);
        }
    }

    fn settle(&mut self, result: DispatchResult) {
        self.end = Some(match result {
            DispatchResult::Continue => return,
            DispatchResult::ProtocolCall { slot, gas, .. } => {
                let answer = if slot == GAS {
                    gas
                } else {
                    self.unknown += 1;
                    self.ids.insert(slot);
                    WHAT
                };
                // The call waits: that is what the result says.
                let _ = self.invocation.resume(answer, 0);
                return;
            }
            DispatchResult::RootHalt(value) => End::Halt(value),
            DispatchResult::RootPanic => End::Fault("panic", None),
            DispatchResult::RootOutOfGas => End::Fault("out-of-gas", None),
            DispatchResult::RootPageFault(address) => End::Fault("page-fault", Some(address)),
        });
    }

    /// Where the bytes are that the first VM leaves, and how many: as many as the low half of φ7 says, from the address
    /// in the high half on; none if it could not read them itself.
    pub(crate) fn output_place(&self) -> (u32, u32) {
        let Some(End::Halt(value)) = self.end else { return (0, 0) };
        let (address, len) = ((value >> 32) as u32, value as u32);
        // A number that only looks like an address names pages that there are not.
        let end = u64::from(address) + u64::from(len);
        let readable = |page: u64| {
            self.invocation.vm(0).is_some_and(|vm| vm.space().access(page as u32 % PAGE_COUNT).is_some())
        };
        let page = PAGE_SIZE as u64;
        let all = len > 0 && (u64::from(address) / page..end.div_ceil(page)).all(readable);
        (address, if all { len } else { 0 })
    }

    /// Those bytes.
    pub(crate) fn output(&mut self) -> Vec<u8> {
        let (address, len) = self.output_place();
        let mut bytes = vec![0; len as usize];
        if self.invocation.read_memory(0, address, &mut bytes).is_err() {
            bytes.clear();
        }
        bytes
    }
}
