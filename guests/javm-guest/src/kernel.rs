//! Instances that the kernel answers for itself.
//!
//! They are called like any instance. A slot argument is a path in the *caller's* table and is read, not
//! moved. Meters, quotas and markers need no code of their own here: handles are shown to other operations,
//! markers are listed in a catcher.

use javm_abi::kernel::catcher;

use crate::instance::CallError;
use crate::slot::{Instance, Slot};

/// A YieldCatcher: the list of markers that this instance handles. It counts where it lies in the slot that the
/// program declares as `yield_marker_slot` ([`image!`](crate::image)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Catcher(Slot<Instance>);

impl Catcher {
    /// The catcher in a slot.
    #[must_use]
    pub const fn new(slot: Slot<Instance>) -> Self {
        Self(slot)
    }

    /// Lists one more marker, at the end; returns its position, from 0.
    ///
    /// # Errors
    /// [`CallError::Faulted`]: it is listed already, or 255 are.
    #[expect(clippy::should_implement_trait, reason = "the endpoint's name; a marker is no catcher")]
    pub fn add(self, marker: Slot<Instance>) -> Result<u64, CallError> {
        self.0.call(catcher::ADD, [marker.register(), 0, 0, 0])
    }

    /// Takes a marker off the list; those behind it move up. Returns where it was. From then on whoever yields
    /// it faults, unless somebody further up lists it.
    ///
    /// # Errors
    /// [`CallError::Faulted`]: it is not listed.
    pub fn remove(self, marker: Slot<Instance>) -> Result<u64, CallError> {
        self.0.call(catcher::REMOVE, [marker.register(), 0, 0, 0])
    }

    /// Puts the list into slot 0: a Data, 32 bytes for each marker.
    ///
    /// # Errors
    /// [`CallError::Faulted`]: the slot holds something that only looks like a catcher.
    pub fn read(self) -> Result<(), CallError> {
        self.0.call(catcher::READ, [0; 4]).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GuestOp;
    use crate::host::{Operation, install};

    #[test]
    fn a_marker_is_named_by_its_slot() {
        install(|operation: Operation<'_>| {
            assert_eq!(operation.row(), Some(GuestOp::HostCall));
            let [catcher, endpoint, marker, ..] = operation.registers;
            assert_eq!(catcher, 5);
            if endpoint == 2 { [0, 0, 0] } else { [endpoint * 100 + marker, 0, 0] }
        });
        let catcher = Catcher::new(Slot::root(5));
        assert_eq!((catcher.add(Slot::root(9)), catcher.remove(Slot::root(8))), (Ok(9), Ok(108)));
        assert_eq!(catcher.read(), Ok(()));
    }
}
