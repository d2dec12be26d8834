//! Shared memory under emitted code.
//!
//! The window of a space is filled as emitted code faults, a run of pages at a time, and emptied when it has too many
//! runs. The invariant: **a page that the window shows is mapped so in the space, and can be written there only if
//! it can be here and is noted as written**, but for the ranges that [`Attachment`] lists, which are taken out
//! before emitted code runs next. So which pages were written is known as exactly as on the interpreter.
//!
//! Code that has windows changed too often for the gas it uses is interpreted for a while ([`Windows::charge`]).
//!
//! [`Windows::charge`]: super::windows::Windows::charge

use std::cell::OnceCell;

use javm_sys::{Rights, Session, Short, View};

use super::{SharedMemory, page_of, windows::Ticket};
use crate::{
    Access, ExitOnEcall, ExitReason, Fault, GasCounter, Module,
    interp::Machine,
    jit::{self, Resumption},
    memory::{GuestAccess, Mem, NativeMemory},
};

/// The most pages shown at one fault.
const FILL: u32 = 64;

/// The most outdated ranges that are kept apart.
const MAX_OUTDATED: usize = 64;

/// How much gas code is interpreted for before it is tried again.
const INTERPRETED_GAS: u64 = 10_000_000;

/// What an address space knows of its window.
#[derive(Debug, Default)]
pub(super) struct Attachment {
    ticket: Option<Ticket>,
    /// Ranges that the window may show and should not.
    outdated: Vec<(u32, u32)>,
    /// There were too many of them.
    all: bool,
    /// Where code that ran on it last goes on.
    resumption: Resumption,
}

impl Attachment {
    /// Notes that what the window shows of a range need not be true.
    pub(super) fn outdated(&mut self, first: u32, end: u32) {
        if self.ticket.is_none() || self.all {
            return;
        }
        let full = self.outdated.len() == MAX_OUTDATED;
        match self.outdated.last_mut() {
            Some(last) if last.1 == first => last.1 = end,
            _ if full => self.all = true,
            _ => self.outdated.push((first, end)),
        }
    }

    const fn is_current(&self) -> bool {
        self.outdated.is_empty() && !self.all
    }

    /// A window that shows nothing, or none.
    fn set(&mut self, ticket: Option<Ticket>) {
        self.ticket = ticket;
        self.outdated.clear();
        self.all = false;
    }
}

/// Shared memory that emitted code runs on.
struct Native<'a, 'b> {
    memory: &'a mut SharedMemory<'b>,
    /// The interpreter is to go on.
    gone: bool,
}

impl Native<'_, '_> {
    /// Takes what is outdated out of the window.
    #[cold]
    fn update(&mut self) -> Option<()> {
        let attachment = &mut self.memory.space.attachment;
        let (_, windows) = self.memory.store.native()?;
        windows.charge(if attachment.all { 1 } else { attachment.outdated.len() });
        if let Some(window) = windows.own(attachment.ticket) {
            let hidden = !attachment.all
                && attachment.outdated.iter().all(|(first, end)| window.hide(*first, end - first).is_ok());
            if !hidden && window.reset().is_err() {
                windows.clear();
            }
        }
        attachment.outdated.clear();
        attachment.all = false;
        Some(())
    }

    /// Shows a page that was touched, and those around it that are alike.
    fn fill(&mut self, page: u32) {
        if self.gone || self.try_fill(page).is_some_and(|shown| shown.is_ok()) {
            return;
        }
        // Emptied, the window has room for this page. Should even that not do, the interpreter goes on.
        if let Some((_, windows)) = self.memory.store.native() {
            windows.charge(1);
            let emptied = windows.own(self.memory.space.attachment.ticket).map(|window| window.reset());
            if !matches!(emptied, Some(Ok(()))) {
                windows.clear();
            }
        }
        if self.try_fill(page).is_none_or(|shown| shown.is_err()) {
            self.gone = true;
            if let Some((_, windows)) = self.memory.store.native() {
                windows.end_credit();
            }
        }
    }

    fn try_fill(&mut self, page: u32) -> Option<Result<(), Short>> {
        let SharedMemory { space, store } = &mut *self.memory;
        let (mapping, at) = space.lookup(page)?;
        let rights = |at: u32| match mapping.access {
            Access::ReadWrite if store.is_written(mapping.extent.first + at) => Rights::ReadWrite,
            _ => Rights::Read,
        };
        let own = rights(at);
        let alike = |at: &u32| mapping.mapped.contains(*at) && rights(*at) == own;
        let (low, high) = (page - page % FILL, page - page % FILL + FILL);
        let first = (low.saturating_sub(mapping.base)..at).rev().take_while(alike).last().unwrap_or(at);
        let end = (at + 1..high - mapping.base).take_while(alike).last().unwrap_or(at) + 1;
        let (place, from) = ((mapping.base + first, end - first), mapping.extent.first + first);
        let (backing, windows) = store.native()?;
        windows.charge(1);
        if !windows.has_credit() {
            self.gone = true;
            return Some(Ok(()));
        }
        if windows.own(space.attachment.ticket).is_none() {
            windows.charge(4);
            space.attachment.set(windows.attach(backing).ok());
        }
        Some(windows.own(space.attachment.ticket)?.show(backing, place, from, own))
    }

    /// After an access: shows the pages it went to.
    fn touched(&mut self, address: u32, len: usize) {
        let (first, last) = (page_of(address), page_of(address.wrapping_add(len as u32 - 1)));
        self.fill(first);
        if first != last {
            self.fill(last);
        }
    }
}

impl Mem for Native<'_, '_> {
    fn read(&mut self, address: u32, buf: &mut [u8]) -> Result<(), Fault> {
        self.memory.read(address, buf)
    }

    fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), Fault> {
        self.memory.write(address, bytes)
    }

    fn check(&self, address: u32, len: usize, access: Access) -> Result<(), Fault> {
        self.memory.check(address, len, access)
    }
}

impl GuestAccess for Native<'_, '_> {
    fn load<const N: usize>(&mut self, address: u32) -> Result<[u8; N], Fault> {
        let bytes = self.memory.load(address)?;
        self.touched(address, N);
        Ok(bytes)
    }

    fn store<const N: usize>(&mut self, address: u32, bytes: [u8; N]) -> Result<(), Fault> {
        self.memory.store(address, bytes)?;
        self.touched(address, N);
        Ok(())
    }
}

impl NativeMemory for Native<'_, '_> {
    #[inline]
    fn view(&mut self) -> Option<View<'_>> {
        if self.gone {
            return None;
        }
        if !self.memory.space.attachment.is_current() {
            self.update()?;
        }
        let (backing, windows) = self.memory.store.native()?;
        windows.get(backing, self.memory.space.attachment.ticket)?.view(backing)
    }

    fn is_native(&self) -> bool {
        !self.gone
    }
}

/// A stretch of time in which programs are run on shared memory, one after another: what they have to do once is done
/// once.
#[derive(Debug, Default)]
pub struct SharedRun {
    /// `None` inside: emitted code cannot run here.
    session: OnceCell<Option<Session>>,
}

impl SharedRun {
    /// Begins one.
    #[must_use]
    pub const fn new() -> Self {
        Self { session: OnceCell::new() }
    }

    fn session(&self) -> Option<&Session> {
        self.session.get_or_init(Session::new).as_ref()
    }
}

impl Module {
    /// Runs this program on shared memory until something ends it, be it an operation: what
    /// [`Instance::run`](crate::Instance::run) with [`ExitOnEcall`] does with a memory of its own.
    pub fn run_shared(
        &self,
        machine: Machine<'_>,
        memory: &mut SharedMemory<'_>,
        run: &SharedRun,
    ) -> ExitReason {
        let Machine { regs, gas, gas_charged } = machine;
        if memory.store.native().is_none() {
            return self.interpreter().run_on(Machine { regs, gas, gas_charged }, memory, &mut ExitOnEcall);
        }
        let mut slice = INTERPRETED_GAS;
        loop {
            let before = gas.remaining();
            let credit = memory.store.native().is_some_and(|(_, windows)| windows.has_credit());
            let program = if credit { self.recompiled() } else { None };
            let mut reason = None;
            if let Some(program) = program
                && let Some(session) = run.session()
            {
                let machine = Machine { regs, gas, gas_charged };
                let mut resumption = memory.space.attachment.resumption;
                let mut native = Native { memory, gone: false };
                let entering = (session, &mut resumption);
                reason = jit::run(program, self.code(), machine, &mut native, &mut ExitOnEcall, entering);
                memory.space.attachment.resumption = resumption;
            }
            let kept = gas.remaining().saturating_sub(slice);
            if reason.is_none() {
                let mut part = GasCounter::new(gas.remaining() - kept);
                let machine = Machine { regs, gas: &mut part, gas_charged };
                let ended = self.interpreter().run_on(machine, memory, &mut ExitOnEcall);
                if ended == ExitReason::OutOfGas && part.remaining() + kept == gas.remaining() {
                    // Not even the first block is paid by a part.
                    slice = u64::MAX;
                }
                gas.set(part.remaining() + kept);
                // Out of the gas that it got, or out of all.
                reason = Some(ended).filter(|ended| *ended != ExitReason::OutOfGas || kept == 0);
            }
            if let Some((_, windows)) = memory.store.native() {
                windows.earn(before - gas.remaining());
            }
            if let Some(reason) = reason {
                return reason;
            }
        }
    }
}
