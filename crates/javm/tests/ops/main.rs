//! Every guest operation: what it does, each way in which it is refused, and what it costs.
//!
//! A case names its operation, its operands and what is expected over one [world](world::World); the runner
//! puts it to a guest that asks by `ecalli` and to one that asks by `ecall`, stops it one short of its price,
//! moves it off the machine there and resumes it, and calls a refused one from a caller that must see nothing
//! but a code. [`every_operation_has_cases`] walks the table of `javm-abi`.

#[path = "../support/mod.rs"]
mod support;

mod bytes;
mod calls;
mod images;
mod paths;
mod run;
mod slots;
mod types;
mod user;
mod world;

use javm_abi::GuestOp;
use run::{Case, Expect};

fn cases() -> Vec<Case> {
    [slots::cases(), bytes::cases(), images::cases(), types::cases(), calls::cases()].concat()
}

macro_rules! one_test_per_operation {
    ($($test:ident $op:ident;)*) => {
        $(#[test]
        fn $test() {
            let cases: Vec<_> = cases().into_iter().filter(|case| case.op == GuestOp::$op).collect();
            cases.iter().for_each(run::run);
        })*

        const TESTED: &[GuestOp] = &[$(GuestOp::$op),*];
    };
}
one_test_per_operation! {
    reply Reply;
    mgmt_copy MgmtCopy;
    mgmt_move MgmtMove;
    mgmt_drop MgmtDrop;
    mgmt_cnode_swap MgmtCnodeSwap;
    mgmt_cnode_mint MgmtCnodeMint;
    mgmt_kind MgmtKind;
    host_yield HostYield;
    set_image SetImage;
    derive_spawn DeriveSpawn;
    make_image MakeImage;
    host_same_type HostSameType;
    host_type_of HostTypeOf;
    host_read_data_cap HostReadDataCap;
    host_mint_data_cap HostMintDataCap;
    host_open HostOpen;
    host_save HostSave;
    host_call HostCall;
    call_resume CallResume;
    drop_paused DropPaused;
    host_subtype HostSubtype;
    host_type_eq HostTypeEq;
    host_same_type_as HostSameTypeAs;
    host_data_size HostDataSize;
    emit Emit;
    gas_left GasLeft;
}

/// These take no operand that could be wrong: only their price can be wanting, which every case of success
/// tries.
const NEVER_REFUSED: [GuestOp; 2] = [GuestOp::Reply, GuestOp::GasLeft];

#[test]
fn every_operation_has_cases() {
    let cases = cases();
    for op in GuestOp::ALL {
        let has =
            |done: bool| cases.iter().any(|c| c.op == *op && matches!(c.expect, Expect::Done { .. }) == done);
        assert!(TESTED.contains(op), "{} has no test", op.name());
        assert!(has(true), "{} has no case of success", op.name());
        assert!(has(false) != NEVER_REFUSED.contains(op), "{}: a case of refusal", op.name());
    }
    assert_eq!(TESTED.len(), GuestOp::ALL.len());
}
