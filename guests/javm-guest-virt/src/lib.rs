//! `VirtT` inside a guest: each method is a host call, which `javm_virt::Nested` answers.
//!
//! A host that is written against the traits runs the same here and natively. Gas of an inner run is the guest's
//! own; what the calls themselves cost is in `javm_virt::wire`. Natively there is no host, and every method
//! panics: take `javm_virt::Virt` there.
#![no_std]
#![forbid(unsafe_code)]

use javm_guest::syscalls;
use javm_virt::wire::{self, OUTCOME_LEN};
pub use javm_virt::{
    ExecAction, ExecError, ExecOutcome, InstantiateError, MemoryError, MemoryT, SyscallSymbol, VirtT,
};

syscalls! {
    fn virt_instantiate(program: &[u8], len: usize) -> u64;
    fn virt_execute(id: u32, gas: i64, name: &[u8], len: usize, outcome: &mut [u8; OUTCOME_LEN]) -> u64;
    fn virt_resume(id: u32, gas: i64, value: u64, outcome: &mut [u8; OUTCOME_LEN]) -> u64;
    fn virt_read(id: u32, offset: u32, into: &mut [u8], len: usize) -> u64;
    fn virt_write(id: u32, offset: u32, from: &[u8], len: usize) -> u64;
    fn virt_destroy(id: u32) -> u64;
}

/// An instance that this guest runs. It is gone when it is dropped.
#[derive(Debug)]
pub struct Virt(u32);

/// A handle of the memory of a [`Virt`].
#[derive(Clone, Copy, Debug)]
pub struct VirtMemory(u32);

impl Drop for Virt {
    fn drop(&mut self) {
        virt_destroy(self.0);
    }
}

impl VirtT for Virt {
    type Memory = VirtMemory;

    fn instantiate(program: &[u8]) -> Result<Self, InstantiateError> {
        let answer = virt_instantiate(program, program.len()) as i64;
        u32::try_from(answer)
            .map(Self)
            .map_err(|_| InstantiateError::of(answer).unwrap_or(InstantiateError::InvalidImage))
    }

    fn run(&mut self, gas_left: i64, action: ExecAction<'_>) -> Result<ExecOutcome, ExecError> {
        let mut outcome = [0; OUTCOME_LEN];
        let code = match action {
            ExecAction::Execute { function } => {
                virt_execute(self.0, gas_left, function, function.len(), &mut outcome)
            }
            ExecAction::Resume { return_value } => virt_resume(self.0, gas_left, return_value, &mut outcome),
        };
        wire::decode(code as i64, &outcome)
    }

    fn memory(&self) -> VirtMemory {
        VirtMemory(self.0)
    }
}

impl MemoryT for VirtMemory {
    fn read(&mut self, offset: u32, dest: &mut [u8]) -> Result<(), MemoryError> {
        let len = dest.len();
        done(virt_read(self.0, offset, dest, len))
    }

    fn write(&mut self, offset: u32, src: &[u8]) -> Result<(), MemoryError> {
        done(virt_write(self.0, offset, src, src.len()))
    }
}

fn done(code: u64) -> Result<(), MemoryError> {
    match code as i64 {
        wire::DONE => Ok(()),
        code => Err(MemoryError::of(code).unwrap_or(MemoryError::InvalidInstance)),
    }
}
