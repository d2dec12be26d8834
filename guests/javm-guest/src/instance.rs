//! What instances, images and types can do: calls, pauses, spawning, lineage.

use crate::raw;
use crate::slot::{Any, CNode, Image, Instance, Kind, SCRATCHPAD, Slot, Type};
use javm_abi::SlotPath;
use javm_abi::reg::NO_SLOT;
use javm_abi::status::{FAULTED, FaultCode, OK, PAUSED};

/// Why a call has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallError {
    /// Something below yielded a marker that this instance's catcher lists. The callee's slot reads empty
    /// until [`Slot::resume`] or [`Slot::drop_paused`]; slot 0 holds the payload.
    Paused {
        /// The marker's position in the catcher, from 0.
        marker: u64,
        /// Address of the page, if the marker is the Pager's; meaningless otherwise.
        page: u64,
    },
    /// The callee faulted. All that it did is undone and its slot holds its value from before the call.
    Faulted(FaultCode),
}

impl CallError {
    fn check([value, status, detail]: raw::Returned) -> Result<u64, Self> {
        match (status, FaultCode::from_number(value)) {
            (OK, _) => Ok(value),
            (PAUSED, _) => Err(Self::Paused { marker: value.wrapping_sub(1), page: detail }),
            (FAULTED, Some(code)) => Err(Self::Faulted(code)),
            _ => panic!("a call's status that this SDK does not know"),
        }
    }
}

impl core::fmt::Display for CallError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Paused { marker, .. } => write!(f, "the call is paused at marker {marker}"),
            Self::Faulted(code) => write!(f, "the callee faulted: {code:?}"),
        }
    }
}

impl core::error::Error for CallError {}

impl Slot<Instance> {
    /// Calls an endpoint (HOST_CALL). Slot 0 moves to the callee and comes back as the callee left it.
    ///
    /// # Errors
    /// [`CallError`]: the callee faulted or is paused. This instance's own state stands either way.
    pub fn call(self, endpoint: u8, args: [u64; 4]) -> Result<u64, CallError> {
        let [a, b, c, d] = args;
        // SAFETY: no address operand.
        CallError::check(unsafe { raw::HOST_CALL(self.register(), u64::from(endpoint), a, b, c, d) })
    }

    /// [`call`](Self::call) with a value of another slot in the scratchpad, which afterwards holds what the
    /// callee left there. What lay in slot 0 is kept aside in `payload` and restored, so both slots may be
    /// empty.
    ///
    /// # Errors
    /// As [`call`](Self::call). When the call is paused, the exchange is made as well: the payload of the
    /// yield is in `payload`.
    pub fn call_with<K: Kind>(
        self,
        endpoint: u8,
        args: [u64; 4],
        payload: Slot<K>,
    ) -> Result<u64, CallError> {
        // The callee gets `payload` alone: what the scratchpad held waits in `payload` meanwhile.
        SCRATCHPAD.swap(payload.any());
        let result = self.call(endpoint, args);
        SCRATCHPAD.swap(payload.any());
        result
    }

    /// Goes on with a paused call (CALL_RESUME). Slot 0 moves to whoever yielded.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn resume(self) -> Result<u64, CallError> {
        // SAFETY: no address operand.
        CallError::check(unsafe { raw::CALL_RESUME(self.register()) })
    }

    /// Gives a paused call up: the slot gets its value from before the call (DROP_PAUSED).
    pub fn drop_paused(self) {
        // SAFETY: no address operand.
        unsafe { raw::DROP_PAUSED(self.register()) };
    }

    /// Pauses this run at the nearest caller whose catcher lists the instance here as a marker
    /// (HOST_YIELD); goes on when that one resumes it. Slot 0 moves to the handler and comes back.
    pub fn yield_marker(self) {
        // SAFETY: no address operand.
        unsafe { raw::HOST_YIELD(self.register()) };
    }

    /// Whether two instances have one lineage (HOST_SAME_TYPE).
    #[must_use]
    pub fn same_type(self, other: Self) -> bool {
        same_type(self, other)
    }

    /// Whether the instance is of a type (HOST_SAME_TYPE).
    #[must_use]
    pub fn is_a(self, ty: Slot<Type>) -> bool {
        same_type(self, ty)
    }

    /// Puts the instance's type into `dst` (HOST_TYPE_OF).
    pub fn type_of(self, dst: Slot<Type>) {
        // SAFETY: no address operand.
        unsafe { raw::HOST_TYPE_OF(self.register(), dst.register()) };
    }

    /// Whether `other`'s lineage is this one's extended by each of the images, in order
    /// (HOST_SAME_TYPE_AS).
    #[must_use]
    pub fn same_type_as(self, other: Self, images: &[SlotPath]) -> bool {
        same_type_as(self, other, images)
    }
}

impl Slot<Image> {
    /// Makes a new instance of the image over the slots of a cnode of 256 slots, which is consumed
    /// (DERIVE_SPAWN). The lineage extends this instance's own.
    pub fn spawn(self, cnode: Slot<CNode>, dst: Slot<Instance>) {
        // SAFETY: no address operand.
        unsafe { raw::DERIVE_SPAWN(self.register(), cnode.register(), dst.register()) };
    }

    /// Becomes an instance of the image, which goes on at its endpoint with these arguments (SET_IMAGE).
    /// Persistent memory is committed as at the end of a call, the stack is gone.
    pub fn become_at(self, endpoint: u8, args: [u64; 4]) -> ! {
        let [a, b, c, d] = args;
        crate::memory::leave_all();
        // SAFETY: no address operand; nothing of this run is used afterwards.
        unsafe { raw::SET_IMAGE(self.register(), u64::from(endpoint) + 1, a, b, c, d) };
        unreachable!("SET_IMAGE with a new entry does not return")
    }

    /// Becomes an instance of the image, which goes on where this code stands (SET_IMAGE, mode 0).
    ///
    /// # Safety
    /// The new code must have, at the address of the instruction after this operation, code that goes on
    /// with this stack, these registers and these statics: in practice the same program, patched.
    pub unsafe fn become_in_place(self) {
        // SAFETY: the caller's contract.
        unsafe { raw::SET_IMAGE(self.register(), 0, 0, 0, 0, 0) };
    }
}

impl Slot<Type> {
    /// Whether two types are equal (HOST_TYPE_EQ).
    #[must_use]
    pub fn type_eq(self, other: Self) -> bool {
        // SAFETY: no address operand.
        let [equal, ..] = unsafe { raw::HOST_TYPE_EQ(self.register(), other.register()) };
        equal != 0
    }

    /// Puts into `dst` the type whose lineage is this one's extended by each of the images, in order
    /// (HOST_SUBTYPE).
    pub fn subtype(self, images: &[SlotPath], dst: Self) {
        with_registers(images, |address, count| {
            // SAFETY: the list lies at the address for the whole operation.
            unsafe { raw::HOST_SUBTYPE(self.register(), address, count, dst.register()) };
        });
    }

    /// As [`Slot::same_type_as`] of instances, from a type.
    #[must_use]
    pub fn same_type_as(self, other: Slot<Instance>, images: &[SlotPath]) -> bool {
        same_type_as(self, other, images)
    }
}

fn same_type(a: Slot<impl Kind>, b: Slot<impl Kind>) -> bool {
    // SAFETY: no address operand.
    let [equal, ..] = unsafe { raw::HOST_SAME_TYPE(a.register(), b.register()) };
    equal != 0
}

fn same_type_as(comparer: Slot<impl Kind>, comparee: Slot<Instance>, images: &[SlotPath]) -> bool {
    with_registers(images, |address, count| {
        // SAFETY: the list lies at the address for the whole operation.
        let [equal, ..] =
            unsafe { raw::HOST_SAME_TYPE_AS(comparer.register(), comparee.register(), address, count) };
        equal != 0
    })
}

/// The paths as the machine reads a list: u64 registers, one after the other.
fn with_registers<R>(paths: &[SlotPath], operation: impl FnOnce(u64, u64) -> R) -> R {
    /// Longer lists of images have no use that the author could not split into two types.
    const MAX: usize = 32;
    assert!(paths.len() <= MAX, "a lineage is compared over at most 32 images at once");
    let mut registers = [0u64; MAX];
    for (register, path) in registers.iter_mut().zip(paths) {
        *register = path.encode();
    }
    operation(registers.as_ptr() as u64, paths.len() as u64)
}

/// The register of an operand that may be left out.
pub(crate) fn optional<K: Kind>(slot: Option<Slot<K>>) -> u64 {
    slot.map_or(NO_SLOT, |slot: Slot<K>| slot.cast::<Any>().register())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Operation, install};
    use crate::{Data, GuestOp};
    use std::vec::Vec;

    #[test]
    fn a_payload_is_exchanged_for_the_scratchpad_and_back() {
        // Slot contents by name; the callee replaces what it gets.
        let mut slots = Vec::from(["kept", "", "payload"]);
        let mut at_call = "";
        install(move |operation: Operation<'_>| {
            let [a, b, ..] = operation.registers;
            match operation.row() {
                Some(GuestOp::MgmtCnodeSwap) => slots.swap(a as usize, b as usize),
                Some(GuestOp::HostCall) => {
                    at_call = slots[0];
                    slots[0] = "answer";
                }
                Some(GuestOp::GasLeft) => {
                    assert_eq!((at_call, &slots[..]), ("payload", &["kept", "", "answer"][..]));
                }
                other => unreachable!("{other:?}"),
            }
            [7, 0, 0]
        });
        let payload: Slot<Data> = Slot::root(2);
        assert_eq!(Slot::<Instance>::root(1).call_with(3, [0; 4], payload), Ok(7));
        let _ = crate::gas_left();
    }

    #[test]
    fn status_and_value_become_a_result() {
        assert_eq!(CallError::check([7, OK, 0]), Ok(7));
        assert_eq!(CallError::check([2, PAUSED, 0x3000]), Err(CallError::Paused { marker: 1, page: 0x3000 }));
        for code in FaultCode::ALL {
            assert_eq!(CallError::check([code.number(), FAULTED, 9]), Err(CallError::Faulted(code)));
        }
    }
}
