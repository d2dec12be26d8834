//! Runs of the capability microkernel: an invocation with a host around it, step by step.
//!
//! `trace.rs` says in words what a step did, `live.rs` draws what there is. What the operations mean is
//! `javm-invocation`'s.

pub(crate) mod live;
mod trace;

pub(crate) use trace::reference;

use std::{collections::BTreeSet, io::Write, path::Path};

use javm_abi::{microkernel::WHAT, reg};
use javm_exec::Engine;
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

    /// What the first VM leaves: as many bytes as the low half of φ7 says, from the address in the high half on; nothing
    /// if it could not read them itself.
    pub(crate) fn output(&mut self) -> Vec<u8> {
        let Some(End::Halt(value)) = self.end else { return Vec::new() };
        let (address, len) = ((value >> 32) as u32, value as u32);
        // A number that only looks like an address must not take memory: pages are looked at one by one.
        let mut bytes = Vec::new();
        let (mut at, end) = (u64::from(address), u64::from(address) + u64::from(len));
        while at < end {
            let next = (at / 4096 + 1) * 4096;
            let mut page = vec![0; (next.min(end) - at) as usize];
            if self.invocation.read_memory(0, at as u32, &mut page).is_err() {
                return Vec::new();
            }
            bytes.append(&mut page);
            at = next;
        }
        bytes
    }
}
