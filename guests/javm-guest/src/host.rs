//! Native runs: operations go to the [`Backend`] that a test installs on its thread.
//!
//! There is no kernel here. Code that asks nothing of the kernel runs as it is; code that does needs a
//! backend that answers, and panics with the operation's name without one.

use crate::raw::Returned;
use javm_abi::{GuestOp, OperandKind};
use std::boxed::Box;
use std::cell::RefCell;
use std::vec::Vec;

/// One operation, as the kernel would see it.
#[derive(Debug)]
pub struct Operation<'a> {
    /// The number: a row of `javm_abi::ops`, or one of the chain's from 64 on.
    pub number: u32,
    /// φ7..φ12.
    pub registers: [u64; 6],
    /// What lies at the operation's address operand; empty for operations that have none, and for the
    /// chain's. HOST_READ_DATA_CAP writes here; the others have a copy. A list of paths is native u64s.
    pub memory: &'a mut [u8],
}

impl Operation<'_> {
    /// The row of the table, if the number is in it.
    #[must_use]
    pub fn row(&self) -> Option<GuestOp> {
        GuestOp::from_number(u64::from(self.number))
    }
}

/// Answers operations in place of the kernel. Every `FnMut(Operation) -> [u64; 3]` is one.
pub trait Backend {
    /// Performs an operation; the result is φ7, φ8, φ9. A refusal, and the end of a run (REPLY), is a panic.
    fn perform(&mut self, operation: Operation<'_>) -> Returned;
}

impl<F: FnMut(Operation<'_>) -> Returned> Backend for F {
    fn perform(&mut self, operation: Operation<'_>) -> Returned {
        self(operation)
    }
}

std::thread_local! {
    static BACKEND: RefCell<Option<Box<dyn Backend>>> = const { RefCell::new(None) };
}

/// Installs the backend of this thread, replacing the one before.
pub fn install(backend: impl Backend + 'static) {
    BACKEND.with_borrow_mut(|current| *current = Some(Box::new(backend)));
}

/// Sends an operation to the backend of this thread.
///
/// # Safety
/// As for the operation's function in [`raw`](crate::raw).
///
/// # Panics
/// When no backend is installed, or the backend performs an operation itself.
#[doc(hidden)]
pub unsafe fn perform(number: u32, registers: [u64; 6]) -> Returned {
    let (address, length) = memory_operand(number, &registers);
    let mut copy = Vec::new();
    let memory: &mut [u8] = if length == 0 {
        &mut []
    } else if number == javm_abi::ops::number::HOST_READ_DATA_CAP {
        // SAFETY: the caller says that the operation may write this memory, and lends it for the whole of it.
        unsafe { core::slice::from_raw_parts_mut(address as *mut u8, length) }
    } else {
        // SAFETY: the caller says that the operation may read this memory.
        copy.extend_from_slice(unsafe { core::slice::from_raw_parts(address as *const u8, length) });
        &mut copy
    };
    // The backend is taken out while it works: one that runs other guest code gets a clear panic, not a
    // borrow error.
    let mut backend = BACKEND.with_borrow_mut(Option::take).unwrap_or_else(|| {
        let name = GuestOp::from_number(u64::from(number)).map_or("a chain operation", GuestOp::name);
        panic!("{name} (operation {number}) needs a kernel: install one with javm_guest::host::install")
    });
    let returned = backend.perform(Operation { number, registers, memory });
    BACKEND.with_borrow_mut(|current| {
        current.get_or_insert(backend);
    });
    returned
}

/// Where the memory of an operation lies and how many bytes it has.
fn memory_operand(number: u32, registers: &[u64; 6]) -> (u64, usize) {
    let operands = GuestOp::from_number(u64::from(number)).map_or(&[][..], GuestOp::operands);
    let Some(at) = operands.iter().position(|operand| operand.kind == OperandKind::Address) else {
        return (0, 0);
    };
    let size = match operands[at + 1].kind {
        OperandKind::Length => 1,
        _ => size_of::<u64>(),
    };
    (registers[at], registers[at + 1] as usize * size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AnySlot, Data, Instance, Slot, SlotKind, SlotPath, Type};
    use std::rc::Rc;

    #[test]
    #[should_panic(expected = "MGMT_KIND (operation 6) needs a kernel")]
    fn without_a_backend_an_operation_says_what_is_missing() {
        let _ = AnySlot::root(1).kind();
    }

    #[test]
    fn operations_reach_the_backend_with_their_memory() {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let log = Rc::clone(&seen);
        install(move |operation: Operation<'_>| {
            log.borrow_mut().push((operation.number, operation.registers, operation.memory.to_vec()));
            match operation.row() {
                Some(GuestOp::HostReadDataCap) => {
                    operation.memory[..2].copy_from_slice(b"ok");
                    [2, 0, 0]
                }
                Some(GuestOp::MgmtKind) => [3, 0, 0],
                _ => [1, 0, 0],
            }
        });
        let mut buffer = [0; 4];
        let slot = Slot::<Data>::root(9);
        assert_eq!((slot.read_into(&mut buffer, 5), &buffer), (2, b"ok\0\0"));
        assert_eq!(slot.kind(), SlotKind::Data);
        slot.mint(b"xyz");
        let images = [SlotPath::root(4), SlotPath::root(5)];
        assert!(Slot::<Type>::root(1).same_type_as(Slot::<Instance>::root(2), &images));

        let seen = seen.borrow();
        assert_eq!((seen[0].0, seen[0].1[0], seen[0].1[2], seen[0].1[3]), (22, 9, 4, 5));
        assert_eq!(
            (seen[2].0, &seen[2].2[..], seen[2].1[2..4].to_vec()),
            (23, &b"xyz"[..], [u64::MAX, 9].to_vec())
        );
        assert_eq!(seen[3].2, [4u64.to_ne_bytes(), 5u64.to_ne_bytes()].concat());
    }
}
