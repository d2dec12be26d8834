//! Where bytes become code, and where code is entered: the only unsafe code of this crate.
//!
//! What is published here keeps the contract of `javm-sys` because of what is in this folder alone:
//! [`compile`](super::compile) emits, [`Program`](super::Program) knows the offsets and keeps everything that a
//! jump can reach for as long as it lives.
#![allow(unsafe_code)]

use std::sync::{OnceLock, atomic::AtomicU64};

use javm_sys::{CodeMemory, Draft, Exit, Machine, Session, View};

use super::{asm::Asm, exits::SharedStubs};

/// Where code may be entered: the start of a guest instruction, of a block's taking of gas, or of a loop's rounds.
///
/// Only [`Program`](super::Program) makes them, from what the compiler recorded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) code: &'a CodeMemory,
    pub(super) offset: u32,
}

impl Entry<'_> {
    pub(super) fn address(self) -> u64 {
        self.code.base() + u64::from(self.offset)
    }
}

/// Publishes code: what `Asm` has, after `finish`, which gets the bytes and the address that they will have.
pub(super) fn publish(bytes: &[u8], finish: impl FnOnce(&mut [u8], u64)) -> Option<CodeMemory> {
    let mut draft = Draft::new(bytes.len())?;
    let base = draft.base();
    let to = draft.bytes().get_mut(..bytes.len())?;
    to.copy_from_slice(bytes);
    finish(to, base);
    // SAFETY: the bytes are the compiler's, which keeps the contract of emitted code: see `docs/safety.md`, which
    // goes through its points.
    unsafe { draft.publish(bytes.len()) }
}

/// Runs from `entry` on until the code leaves. `table` is the program's; the caller keeps all its code.
#[inline]
pub(super) fn enter(
    session: &Session,
    entry: Entry<'_>,
    view: View<'_>,
    table: &[AtomicU64],
    (gpr, gas): (&mut [u64; 13], &mut u64),
) -> Exit {
    let machine = Machine { gpr, gas, table };
    // SAFETY: entries are starts of guest instructions, blocks and rounds in this code, at any of which it may be
    // entered with any registers; the table is the one that it was made for.
    unsafe { javm_sys::enter(session, entry.code, entry.offset, view, machine) }
}

/// The code that all programs share.
#[derive(Debug)]
pub(super) struct Shared {
    code: CodeMemory,
    stubs: SharedStubs,
}

impl Shared {
    /// The code; `None` when there is no memory for it.
    pub(super) fn get() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Shared>> = OnceLock::new();
        SHARED
            .get_or_init(|| {
                let mut asm = Asm::default();
                let stubs = SharedStubs::emit(&mut asm);
                Some(Self { code: publish(asm.bytes(), |_, _| ())?, stubs })
            })
            .as_ref()
    }

    /// Address of [`SharedStubs::bad_target`].
    pub(super) fn bad_target(&self) -> u64 {
        self.code.base() + u64::from(self.stubs.bad_target)
    }

    /// Address of [`SharedStubs::no_target`].
    pub(super) fn no_target(&self) -> u64 {
        self.code.base() + u64::from(self.stubs.no_target)
    }
}
