//! Makes tallies and recognises its own.
//!
//! A spawned instance's lineage extends its maker's: nobody else makes the same, not even from the same image.
//! Published with the image of `tally_v1` in slot 1 and of `tally_v2` in slot 2.
#![no_std]
#![forbid(unsafe_code)]

use javm_guest::{CNode, Image, Instance, SCRATCHPAD, Slot, Type, endpoint, persistent};

const V1: Slot<Image> = Slot::root(1);
const V2: Slot<Image> = Slot::root(2);
const TABLE: Slot<CNode> = Slot::root(3);
/// The type of what this factory makes.
const OURS: Slot<Type> = Slot::root(4);

/// [`recognise`]: not made here.
pub const STRANGER: u64 = 0;
/// [`recognise`]: made here.
pub const AS_MADE: u64 = 1;
/// [`recognise`]: made here, and upgraded since to the image in slot 2.
pub const UPGRADED: u64 = 2;

persistent! {
    static MADE: u64 = 0;
}

/// Leaves a new tally in slot 0; returns how many were made.
#[endpoint(0)]
pub fn make() -> u64 {
    let tally: Slot<Instance> = SCRATCHPAD.cast();
    TABLE.mint_cnode(8);
    V1.spawn(TABLE, tally);
    tally.type_of(OURS);
    MADE.set(MADE.get() + 1);
    MADE.get()
}

/// What the instance in slot 0 is to this factory.
#[endpoint(1)]
pub fn recognise() -> u64 {
    let Some(candidate) = SCRATCHPAD.holds::<Instance>() else { return STRANGER };
    if MADE.get() == 0 {
        STRANGER
    } else if candidate.is_a(OURS) {
        AS_MADE
    } else if OURS.same_type_as(candidate, &[V2.path()]) {
        UPGRADED
    } else {
        STRANGER
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use javm_guest::GuestOp;
    use javm_guest::host::{Operation, install};

    #[test]
    fn lineages_decide() {
        install(|operation: Operation<'_>| match operation.row() {
            Some(GuestOp::MgmtKind) => [1, 0, 0],
            Some(GuestOp::HostSameType) => [0, 0, 0],
            Some(GuestOp::HostSameTypeAs) => {
                assert_eq!(operation.memory, V2.register().to_ne_bytes());
                [1, 0, 0]
            }
            other => {
                assert!(matches!(
                    other,
                    Some(GuestOp::MgmtCnodeMint | GuestOp::DeriveSpawn | GuestOp::HostTypeOf)
                ));
                [0; 3]
            }
        });
        assert_eq!((recognise(), make(), recognise()), (STRANGER, 1, UPGRADED));
    }
}
