//! The way into emitted code and back.
//!
//! The stub saves what the C calling convention wants kept, makes the [`Frame`], loads the guest's registers
//! and jumps. Emitted code (or the fault handler) comes back by jumping to the address in the frame's `exit`
//! slot with the scratch register `rdx` free and all others holding guest state.
//!
//! | guest | ra | sp | t0 | t1 | t2 | s0 | s1 | a0 | a1 | a2 | a3 | a4 | a5 | gas | scratch |
//! | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
//! | host | r13 | rbp | rax | rcx | r12 | r11 | r14 | rdi | rsi | rbx | r8 | r9 | r10 | r15 | rdx |

use core::{
    arch::{asm, naked_asm},
    cell::Cell,
    marker::PhantomData,
    mem::{offset_of, size_of},
    sync::atomic::AtomicU64,
};

use super::code::CodeMemory;
use crate::{Exit, Machine, View, frame, frame::Frame};

/// The two result registers of the stub.
#[repr(C)]
struct Left {
    kind: u64,
    argument: u64,
}

/// # Safety
/// The pointers are those of a [`Machine`], `target` is where code may be entered with it.
#[unsafe(naked)]
unsafe extern "sysv64" fn stub(gpr: *mut u64, table: *const AtomicU64, gas: *mut u64, target: u64) -> Left {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, {size}",
        "lea rax, [rip + 3f]",
        "mov [rsp + {f_exit}], rax",
        "mov [rsp + {f_table}], rsi",
        "mov [rsp + {f_gas}], rdx",
        "mov [rsp + {f_gpr}], rdi",
        "mov r15, [rdx]",
        "mov rdx, rcx",
        "mov r13, [rdi + 0x00]",
        "mov rbp, [rdi + 0x08]",
        "mov rcx, [rdi + 0x18]",
        "mov r12, [rdi + 0x20]",
        "mov r11, [rdi + 0x28]",
        "mov r14, [rdi + 0x30]",
        "mov rsi, [rdi + 0x40]",
        "mov rbx, [rdi + 0x48]",
        "mov r8, [rdi + 0x50]",
        "mov r9, [rdi + 0x58]",
        "mov r10, [rdi + 0x60]",
        "mov rax, [rdi + 0x10]",
        "mov rdi, [rdi + 0x38]",
        "jmp rdx",
        "3:",
        "mov [rsp + {f_argument}], rdx",
        "mov rdx, [rsp + {f_gpr}]",
        "mov [rdx + 0x00], r13",
        "mov [rdx + 0x08], rbp",
        "mov [rdx + 0x10], rax",
        "mov [rdx + 0x18], rcx",
        "mov [rdx + 0x20], r12",
        "mov [rdx + 0x28], r11",
        "mov [rdx + 0x30], r14",
        "mov [rdx + 0x38], rdi",
        "mov [rdx + 0x40], rsi",
        "mov [rdx + 0x48], rbx",
        "mov [rdx + 0x50], r8",
        "mov [rdx + 0x58], r9",
        "mov [rdx + 0x60], r10",
        "mov rdx, [rsp + {f_gas}]",
        "mov [rdx], r15",
        "mov eax, [rsp + {f_kind}]",
        "mov rdx, [rsp + {f_argument}]",
        "add rsp, {size}",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
        size = const size_of::<Frame>(),
        f_exit = const offset_of!(Frame, exit),
        f_table = const offset_of!(Frame, table),
        f_gas = const offset_of!(Frame, gas),
        f_gpr = const offset_of!(Frame, gpr),
        f_kind = const offset_of!(Frame, kind),
        f_argument = const offset_of!(Frame, argument),
    )
}

/// A stretch of time in which this thread runs emitted code. While it lives the thread's GS base may be that
/// of a window; it is put back when it is dropped. Sessions nest, so that a host call may begin another one;
/// code that changes the GS base must likewise put it back before it returns.
#[derive(Debug)]
pub struct Session {
    /// What the base was.
    previous: u64,
    /// What it is, when no session is nested in this one.
    current: Cell<u64>,
    /// The GS base is the thread's.
    _not_send: PhantomData<*mut ()>,
}

impl Session {
    /// Points the GS base at a window.
    #[inline]
    fn point_at(&self, base: u64) {
        if self.current.get() != base {
            // SAFETY: no Rust code accesses memory through it, and emitted code wants just this.
            unsafe { asm!("wrgsbase {}", in(reg) base, options(nomem, nostack, preserves_flags)) };
            self.current.set(base);
        }
    }

    /// Begins one. `None` where emitted code cannot run.
    #[must_use]
    pub fn new() -> Option<Self> {
        if super::trap::check_support().is_err() {
            return None;
        }
        let gs: u64;
        // SAFETY: reads a register; the kernel allows it, as was checked.
        unsafe { asm!("rdgsbase {}", out(reg) gs, options(nomem, nostack, preserves_flags)) };
        Some(Self { previous: gs, current: Cell::new(gs), _not_send: PhantomData })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.point_at(self.previous);
    }
}

/// Runs emitted code from `offset` on until it leaves.
///
/// # Safety
/// The offset is one that the code was emitted to be entered at, with this machine: its table holds
/// addresses that the code may go to, as many as it counts on; and the code that is reached through them, or
/// through jumps between pieces of code, outlives the call.
#[inline]
pub unsafe fn enter(
    session: &Session,
    code: &CodeMemory,
    offset: u32,
    view: View<'_>,
    machine: Machine<'_>,
) -> Exit {
    session.point_at(view.base());
    let target = code.base() + u64::from(offset);
    // SAFETY: the pointers live as long as the call; the session says that the processor can do it, and the
    // code keeps its contract.
    let left = unsafe { stub(machine.gpr.as_mut_ptr(), machine.table.as_ptr(), machine.gas, target) };
    let kind = left.kind as u32;
    let argument =
        if kind == frame::KIND_FAULT { left.argument.wrapping_sub(code.base()) } else { left.argument };
    Exit { kind, argument }
}
