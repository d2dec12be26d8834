//! Where bytes become code, and where code is entered: the only unsafe code of this crate.
//!
//! [`Executable`] keeps draft, code and table together, so that the contract of `javm-sys` is about what is in
//! this folder alone: [`compile`](super::compile) emits, [`Program`](super::Program) knows the offsets.
#![allow(unsafe_code)]

use javm_sys::{CodeMemory, Draft, Exit, Machine, Session, Window};

/// Published code with its table of indirect jumps.
#[derive(Debug)]
pub(super) struct Executable {
    code: CodeMemory,
    table: Box<[u64]>,
}

/// An offset at which code may be entered: the start of a guest instruction.
///
/// Only [`Program`](super::Program) makes them, from what the compiler recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry(pub(super) u32);

impl Executable {
    /// Publishes the first `len` bytes of a draft. `table` holds offsets of the code, as many as its indirect
    /// jumps check for.
    pub(super) fn new(draft: Draft, len: u32, table: impl Iterator<Item = u32>) -> Option<Self> {
        // SAFETY: the draft was filled by `compile`, which keeps the contract of emitted code: see
        // `docs/safety.md`, which goes through its points.
        let code = unsafe { draft.publish(len as usize) }?;
        let table = table.map(|offset| code.base() + u64::from(offset.min(len))).collect();
        Some(Self { code, table })
    }

    /// Bytes of machine code, whole pages.
    pub(super) fn size(&self) -> usize {
        self.code.size()
    }

    /// The machine code, for those who want to look at it.
    pub(super) fn bytes(&self) -> &[u8] {
        self.code.bytes()
    }

    /// Address of the first byte.
    pub(super) fn base(&self) -> u64 {
        self.code.base()
    }

    /// Runs from `entry` on until the code leaves.
    #[inline]
    pub(super) fn enter(
        &self,
        session: &Session,
        entry: Entry,
        window: &mut Window,
        gpr: &mut [u64; 13],
        gas: &mut u64,
    ) -> Exit {
        let machine = Machine { gpr, gas, table: &self.table };
        // SAFETY: entries are starts of guest instructions in this code, at any of which it may be entered
        // with any registers; the table is the one that it was made with.
        unsafe { javm_sys::enter(session, &self.code, entry.0, window, machine) }
    }
}
