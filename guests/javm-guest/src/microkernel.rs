//! Programs for the capability microkernel: virtual machines that make, call and look after others.
//!
//! `javm pack` makes a blob of such a program. Its exports are entry points as for instances: a call of the VM with N
//! as its first argument enters the one of index N, which gets all four arguments. Returning is a reply, and the next
//! call enters anew. [`reply`] answers too, but the next call goes on behind it: a server is a loop around it.
//!
//! A VM names capabilities by [`CapRef`]: a slot of its own, or of a VM that it holds the handle of
//! ([`CapRef::through`]). Operations that change memory refuse the program's own: what lies in slots 65 to 68 is where
//! its Rust objects are. What a program maps for itself lies in the range of [`Window`](crate::Window)s.
//!
//! The operations are those of `javm_abi::microkernel`, and `docs/microkernel.md` explains them.

pub use javm_abi::microkernel::CapRef;
use javm_abi::microkernel::{EcallOp, WHAT, operands};

use crate::Window;

/// The operation failed, and did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// How a VM that was called or resumed came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It replied with this.
    Reply(u64),
    /// It trapped, with this in its a0. It can be resumed, as after all that follow.
    Trap(u64),
    /// It panicked otherwise.
    Panic,
    /// Its gas was used up.
    OutOfGas,
    /// It accessed a page that it may not access so: the page's address.
    PageFault(u64),
}

/// What a page allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    ReadOnly = 0,
    /// Reading and writing.
    ReadWrite = 1,
}

/// The untyped memory of the first VM.
pub const UNTYPED: CapRef = CapRef::local(javm_abi::microkernel::UNTYPED_SLOT);
/// The program's own code, in the first VM.
pub const CODE: CapRef = CapRef::local(64);
/// The slot where a callee finds what was passed to it.
pub const PASSED: u8 = javm_abi::microkernel::IPC_SLOT;

const PAGE: u64 = 4096;
/// The slots of a program's stack and data.
const OWN: core::ops::RangeInclusive<u8> = 65..=68;
/// The page behind every stack.
const STACK_END: u64 = 0xF_FFE0;

/// Refuses what is the program's own memory: its Rust objects lie there.
fn check(data: CapRef) {
    assert!(data.hops() != [0; 3] || !OWN.contains(&data.slot()), "the program's own memory");
}

fn ask_kernel(op: EcallOp, subject: CapRef, object: CapRef, [a0, a1, a2, a3]: [u64; 4]) -> [u64; 2] {
    let number = u64::from(op.number().unwrap_or(u32::MAX));
    imp::ecall([a0, a1, a2, a3, number, operands(subject, object)])
}

/// An operation that leaves φ7 alone when it succeeds.
fn plain(op: EcallOp, subject: CapRef, object: CapRef, arguments: [u64; 4]) -> Result<(), Refused> {
    let [result, _] = ask_kernel(op, subject, object, arguments);
    if result == WHAT { Err(Refused) } else { Ok(()) }
}

/// Calls what is in a slot, with the registers as they are: φ7 and φ8 afterwards. For protocol capabilities, and
/// for callables that stand in for one.
#[must_use]
pub fn ask(cap: CapRef, arguments: [u64; 4]) -> (u64, u64) {
    let [a0, a1] = ask_kernel(EcallOp::Call, cap, CapRef(0), arguments);
    (a0, a1)
}

/// Calls a VM (CALL), by a handle or callable. `pass` is a slot whose capability it gets for the time of the call.
///
/// A reply of 2^64 - 2 to a call whose second argument is 0 cannot be told from a refusal.
///
/// # Errors
/// [`Refused`] when there is none, or it is not idle.
pub fn call(vm: CapRef, arguments: [u64; 4], pass: Option<u8>) -> Result<Ended, Refused> {
    let pass = CapRef::local(pass.unwrap_or(PASSED));
    check(pass);
    let [value, status] = ask_kernel(EcallOp::Call, vm, pass, arguments);
    if value == WHAT && status == arguments[1] { Err(Refused) } else { Ok(ended(value, status)) }
}

fn ended(value: u64, status: u64) -> Ended {
    match status {
        0 => Ended::Reply(value),
        1 => Ended::Trap(value),
        2 => Ended::Panic,
        3 => Ended::OutOfGas,
        _ => Ended::PageFault(value),
    }
}

/// Answers the call that this VM is in (REPLY), and waits for the next: its arguments. A VM that others are to call
/// with any first argument has been called once before by who made it, to come here.
#[must_use]
pub fn reply(value: u64) -> [u64; 4] {
    imp::reply(value)
}

/// Makes DATA of `pages` fresh pages of zeros in an empty slot (RETYPE).
///
/// # Errors
/// [`Refused`]: no pages left (they are not used up then) or no empty slot (they are).
pub fn retype(untyped: CapRef, pages: u64, to: CapRef) -> Result<(), Refused> {
    plain(EcallOp::Call, untyped, to, [pages, 0, 0, 0])
}

/// Makes a VM of a code (CREATE), its handle in an empty slot. It gets copies of the capabilities of slots 0 to 63
/// that `copied` has a bit for, of the table that the code is in, as far as they can be copied.
///
/// # Errors
/// [`Refused`]: no code, no empty slot.
pub fn create(code: CapRef, copied: u64, to: CapRef) -> Result<(), Refused> {
    plain(EcallOp::Call, code, to, [copied, 0, 0, 0])
}

/// Copies bytes of a DATA to another, mapped or not.
///
/// # Errors
/// [`Refused`]: not inside, or no DATA.
///
/// # Panics
/// When the bytes would go to the program's own memory.
pub fn copy_bytes(from: CapRef, offset: u64, len: u64, to: CapRef, to_offset: u64) -> Result<(), Refused> {
    check(to);
    plain(EcallOp::Call, from, to, [offset, len, to_offset, 0])
}

/// Maps pages of a DATA, page 0 at `base` (MAP), in the VM that has it.
///
/// # Errors
/// [`Refused`]: not inside, another base or access than before, or something is there.
///
/// # Panics
/// When this VM would get a page that is not of a [`Window`].
pub fn map(data: CapRef, base: u32, first: u32, count: u32, access: Access) -> Result<(), Refused> {
    check(data);
    let from = u64::from(base) + u64::from(first);
    let window = u64::from(Window::FIRST) / PAGE..=u64::from(Window::END) / PAGE;
    let inside = window.contains(&from) && window.contains(&(from + u64::from(count)));
    assert!(data.hops() != [0; 3] || inside, "no place for a window");
    let arguments = [u64::from(base), u64::from(first), u64::from(count), access as u64];
    plain(EcallOp::Map, data, CapRef(0), arguments)
}

/// Unmaps pages of a DATA (UNMAP).
///
/// # Errors
/// [`Refused`]: no DATA.
pub fn unmap(data: CapRef, first: u32, count: u32) -> Result<(), Refused> {
    check(data);
    plain(EcallOp::Unmap, data, CapRef(0), [first.into(), count.into(), 0, 0])
}

/// Leaves `pages` pages in a DATA and puts the rest into an empty slot (SPLIT).
///
/// # Errors
/// [`Refused`]: something is mapped, not so many pages, no empty slot.
pub fn split(data: CapRef, pages: u64, to: CapRef) -> Result<(), Refused> {
    check(data);
    plain(EcallOp::Split, data, to, [pages, 0, 0, 0])
}

/// Empties a slot (DROP). A VM goes with its handle, and what it owns with it.
///
/// # Errors
/// [`Refused`]: the VM, or one that it owns, is being called.
pub fn drop_cap(cap: CapRef) -> Result<(), Refused> {
    check(cap);
    plain(EcallOp::Drop, cap, CapRef(0), [0; 4])
}

/// Moves a capability to an empty slot (MOVE).
///
/// # Errors
/// [`Refused`]: nothing to move, no empty slot.
pub fn move_cap(from: CapRef, to: CapRef) -> Result<(), Refused> {
    check(from);
    plain(EcallOp::Move, from, to, [0; 4])
}

/// Copies a capability to an empty slot (COPY).
///
/// # Errors
/// [`Refused`]: DATA, a handle or nothing; no empty slot.
pub fn copy_cap(from: CapRef, to: CapRef) -> Result<(), Refused> {
    plain(EcallOp::Copy, from, to, [0; 4])
}

/// Puts a callable of a handle's VM into an empty slot (DOWNGRADE).
///
/// # Errors
/// [`Refused`]: no handle, no empty slot.
pub fn downgrade(handle: CapRef, to: CapRef) -> Result<(), Refused> {
    plain(EcallOp::Downgrade, handle, to, [0; 4])
}

/// Sets the most gas that a call through a handle hands over (SET_MAX_GAS).
///
/// # Errors
/// [`Refused`]: no handle.
pub fn set_max_gas(handle: CapRef, gas: u64) -> Result<(), Refused> {
    // A limit that looks like the refusal is no limit.
    plain(EcallOp::SetMaxGas, handle, CapRef(0), [gas.min(WHAT - 1), 0, 0, 0])
}

/// Asks which pages of a DATA were written since it was asked last (DIRTY): a bit each, least significant first.
/// Returns how many.
///
/// # Errors
/// [`Refused`]: no DATA, or `bitmap` has fewer bits than it has pages; nothing is forgotten then.
pub fn dirty(data: CapRef, bitmap: &mut [u8]) -> Result<u64, Refused> {
    let [pages] = imp::with_memory(bitmap, |address, len| {
        let [pages, _] = ask_kernel(EcallOp::Dirty, data, CapRef(0), [address, len, 0, 0]);
        [pages]
    });
    if pages == WHAT { Err(Refused) } else { Ok(pages) }
}

/// A VM that this one holds the handle of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vm(u8);

impl Vm {
    /// The VM whose handle is in a slot of this one.
    ///
    /// # Panics
    /// For slot 0, through which nothing can be reached.
    #[must_use]
    pub const fn new(handle: u8) -> Self {
        assert!(handle != 0, "slot 0 is no way to a VM");
        Self(handle)
    }

    /// Makes a VM of the program's own code, its handle in slot `handle`: it gets copies of the capabilities that
    /// `copied` says ([`create`]) and a stack of its own in slot 65. It has neither constants nor statics: entry
    /// points that run in it do with code and stack.
    ///
    /// # Errors
    /// [`Refused`]: no memory, or the slot is not empty.
    pub fn spawn(handle: u8, copied: u64, stack_pages: u32) -> Result<Self, Refused> {
        let vm = Self::new(handle);
        create(CODE, copied, vm.handle())?;
        let stack = vm.slot(*OWN.start());
        retype(UNTYPED, u64::from(stack_pages), stack)?;
        map(stack, STACK_END as u32 - stack_pages, 0, stack_pages, Access::ReadWrite)?;
        Ok(vm)
    }

    /// Its handle.
    #[must_use]
    pub const fn handle(self) -> CapRef {
        CapRef::local(self.0)
    }

    /// A slot of its table. It can be reached while the VM does not run and does not wait.
    #[must_use]
    pub const fn slot(self, slot: u8) -> CapRef {
        CapRef(u32::from_le_bytes([slot, self.0, 0, 0]))
    }

    /// Calls it: see [`call`].
    ///
    /// # Errors
    /// [`Refused`]: it is not idle.
    pub fn call(self, arguments: [u64; 4]) -> Result<Ended, Refused> {
        call(self.handle(), arguments, None)
    }

    /// Goes on with it after a fault (RESUME), where it stands: what faulted is tried again.
    ///
    /// # Errors
    /// [`Refused`]: it has not faulted.
    pub fn resume(self) -> Result<Ended, Refused> {
        let no_status = u64::MAX;
        let [value, status] = ask_kernel(EcallOp::Resume, self.handle(), CapRef(0), [0, no_status, 0, 0]);
        if status == no_status { Err(Refused) } else { Ok(ended(value, status)) }
    }
}

#[cfg(all(target_arch = "riscv64", target_feature = "e"))]
mod imp {
    use crate::link::Metadata;

    /// The instruction `ecall`: `javm pack` puts it where this import is called.
    pub(super) fn ecall([a0, a1, a2, a3, op, references]: [u64; 6]) -> [u64; 2] {
        // A number that is no slot's, so that nothing else is taken for it.
        #[unsafe(link_section = ".polkavm_metadata")]
        static METADATA: Metadata = Metadata::import("ecall", 256, 6);
        let (value, status);
        // SAFETY: the linker turns these bytes into one instruction. The kernel reads the argument registers and
        // writes the first two; the linker takes every caller-saved register as overwritten, and so does this list.
        // Memory is taken as read and written. Pages of this program that hold Rust objects are not touched: the
        // functions above see to that.
        unsafe {
            core::arch::asm!(
                ".insn r 0xb, 0, 0, zero, zero, zero",
                "auipc zero, %pcrel_hi({metadata})",
                ".4byte 0",
                metadata = sym METADATA,
                inlateout("a0") a0 => value,
                inlateout("a1") a1 => status,
                inlateout("a2") a2 => _,
                inlateout("a3") a3 => _,
                inlateout("a4") op => _,
                inlateout("a5") references => _,
                lateout("t0") _,
                lateout("t1") _,
                lateout("t2") _,
            );
        }
        [value, status]
    }

    /// `ecalli 0`.
    pub(super) fn reply(value: u64) -> [u64; 4] {
        #[unsafe(link_section = ".polkavm_metadata")]
        static METADATA: Metadata = Metadata::import("reply", 0, 1);
        let (a0, a1, a2, a3);
        // SAFETY: as above; the next caller's arguments arrive in the first four registers.
        unsafe {
            core::arch::asm!(
                ".insn r 0xb, 0, 0, zero, zero, zero",
                "auipc zero, %pcrel_hi({metadata})",
                ".4byte 0",
                metadata = sym METADATA,
                inlateout("a0") value => a0,
                lateout("a1") a1,
                lateout("a2") a2,
                lateout("a3") a3,
                lateout("a4") _,
                lateout("a5") _,
                lateout("t0") _,
                lateout("t1") _,
                lateout("t2") _,
            );
        }
        [a0, a1, a2, a3]
    }

    /// The address and length of memory that the kernel writes.
    pub(super) fn with_memory<T>(memory: &mut [u8], ask: impl FnOnce(u64, u64) -> T) -> T {
        ask(memory.as_mut_ptr().expose_provenance() as u64, memory.len() as u64)
    }
}

/// On the host, operations go to the backend that a test installs, as number 256; `reply` as number 0.
#[cfg(not(all(target_arch = "riscv64", target_feature = "e")))]
mod imp {
    use crate::host::perform;

    pub(super) fn ecall(registers: [u64; 6]) -> [u64; 2] {
        // SAFETY: the number is no operation with memory.
        let [a0, a1, _] = unsafe { perform(256, registers) };
        [a0, a1]
    }

    pub(super) fn reply(value: u64) -> [u64; 4] {
        // SAFETY: as above.
        let [a0, a1, a2] = unsafe { perform(0, [value, 0, 0, 0, 0, 0]) };
        [a0, a1, a2, 0]
    }

    /// The backend sees no memory of this kind: it is told the length alone, and the bitmap stays zero.
    pub(super) fn with_memory<T>(memory: &mut [u8], ask: impl FnOnce(u64, u64) -> T) -> T {
        ask(0, memory.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Operation, install};

    #[test]
    fn operations_are_in_their_registers() {
        install(|operation: Operation<'_>| {
            let [a0, a1, a2, a3, op, references] = operation.registers;
            assert_eq!(operation.number, 256);
            match op {
                2 => {
                    assert_eq!((a0, a1, a2, a3), (16, 1, 2, 0));
                    assert_eq!(references, (66 << 8 | 70) << 32);
                    [a0, a1, a2]
                }
                4 => [WHAT, 0, 0],
                0xD => [0x5000, 4, 0],
                0 => [WHAT, a1, 0],
                other => unreachable!("{other}"),
            }
        });
        let vm = Vm::new(66);
        assert_eq!(map(vm.slot(70), 16, 1, 2, Access::ReadOnly), Ok(()));
        assert_eq!(split(CapRef::local(70), 1, CapRef::local(71)), Err(Refused));
        assert_eq!(vm.resume(), Ok(Ended::PageFault(0x5000)));
        assert_eq!(vm.call([1, 2, 3, 4]), Err(Refused));
    }

    #[test]
    #[should_panic(expected = "the program's own memory")]
    fn the_program_keeps_its_stack() {
        let _ = unmap(CapRef::local(65), 0, 1);
    }

    #[test]
    #[should_panic(expected = "no place for a window")]
    fn the_program_maps_windows_only() {
        let _ = map(CapRef::local(70), 16, 0, 1, Access::ReadWrite);
    }
}
