//! Slot paths, for every operand of every operation that is one.

use crate::{
    cases,
    run::{Case, Expect, refused, run},
    support::{GAS, Rig, at},
    world::*,
};
use javm::CallResult;
use javm_abi::{GuestOp, OperandKind};
use javm_cap::SlotPath;

/// The first case of success of an operation, with every operand of which it takes a slot.
fn good(op: GuestOp) -> (Case, Vec<usize>) {
    let is_path = |kind| {
        matches!(kind, OperandKind::Src | OperandKind::Dst | OperandKind::Place | OperandKind::OptionalSrc)
    };
    let case = cases().into_iter().find(|c| c.op == op && matches!(c.expect, Expect::Done { .. })).unwrap();
    let operands =
        op.operands().iter().enumerate().filter(|(_, o)| is_path(o.kind)).map(|(n, _)| n).collect();
    (case, operands)
}

/// What must have been paid before a path is looked at: operations that read what they copy first.
fn paid(op: GuestOp, operand: usize) -> u64 {
    match (op, operand) {
        (GuestOp::HostMintDataCap, 2) => 1,
        (GuestOp::MakeImage, 2) => 32,
        _ => 0,
    }
}

#[test]
fn a_bad_path_is_refused_by_every_operation() {
    let bad = [
        (1 << 62, "0x4000000000000000 is no slot path: bits 62..64 of a slot path must be zero"),
        (1 << 63 | 1, "0x8000000000000001 is no slot path: bits 62..64 of a slot path must be zero"),
        (3 | 1 << 26, "0x4000003 is no slot path: a slot path goes on after its end"),
        (3 | 1 << 8 | 1 << 44, "0x100000000103 is no slot path: a slot path goes on after its end"),
        (2 | 0x1_0001 << 8, "0x1000102 is no slot path: a step of a slot path is larger than any cnode"),
        (at(2, &[4]), "slot 2/4: index 4 is outside a cnode of 4 slots"),
        (at(2, &[1, 2]), "slot 2/1/2: index 2 is outside a cnode of 2 slots"),
        (at(2, &[1, 0, 65535]), "slot 2/1/0/65535: index 65535 is outside a cnode of 8 slots"),
        (at(28, &[0]), "slot 28/0: step 1 goes through something that is no cnode"),
        (at(29, &[0]), "slot 29/0: step 1 goes through something that is no cnode"),
        (at(99, &[0]), "slot 99/0: step 1 goes through something that is no cnode"),
        (at(2, &[2, 0]), "slot 2/2/0: step 2 goes through something that is no cnode"),
        (at(2, &[1, 0, 7]) & !(0xFF) | 9, "slot 9/1/0/7: step 1 goes through something that is no cnode"),
    ];
    let mut tried = 0;
    for op in GuestOp::ALL {
        let (case, operands) = good(*op);
        for operand in operands {
            for (raw, words) in bad {
                let mut args = case.args.clone();
                args[operand] = raw;
                run(&refused(*op, &args, words).image(case.tweak).paid(paid(*op, operand)));
                tried += 1;
            }
        }
    }
    assert_eq!(tried, 41 * bad.len(), "the table has 41 operands that are slot paths");
}

/// What an operation does with a slot it does with the same value one, two and three steps away.
#[test]
fn nested_slots_are_slots() {
    let mut tried = [0; 3];
    for case in cases() {
        if !matches!(case.expect, Expect::Done { .. }) {
            continue;
        }
        let (_, operands) = good(case.op);
        for operand in operands {
            let slot = case.args[operand];
            if !(1..23).contains(&slot) || slot == PINNED {
                continue;
            }
            let plain = outcome(&case);
            for (n, prefix) in NESTED.iter().enumerate() {
                let steps: Vec<u16> = prefix[1..].iter().copied().chain([slot as u16]).collect();
                let path = at(prefix[0] as u8, &steps);
                let mut nested = case.clone();
                nested.args[operand] = path;
                let (rig, after, seen, value) = outcome(&nested);
                let words = format!("{} {:x?}", case.op.name(), nested.args);
                assert_eq!(value, plain.3, "{words}");
                if let (Some(a), Some(b)) = (seen.get(1), plain.2.get(1))
                    && case.op.operands().len() > 1
                {
                    // Registers that hold the operand itself differ.
                    let same = a.a(0) == b.a(0) || a.a(0) == path || case.op == GuestOp::GasLeft;
                    assert!(same, "{words}: {a:?} {b:?}");
                }
                let root = |arg: u64| SlotPath::decode(arg).map_or(0, |path| u64::from(path.root_slot()));
                let aliased =
                    (0..).zip(&case.args).any(|(other, arg)| other != operand && root(*arg) == slot);
                // The image of who asks, which a lineage and a twin depend on, has the path in its code.
                if !aliased && !matches!(case.op, GuestOp::DeriveSpawn | GuestOp::SetImage) {
                    assert_eq!(rig.slot(after, path), plain.0.slot(plain.1, slot), "{words}");
                }
                tried[n] += 1;
            }
        }
    }
    assert!(tried.iter().all(|n| *n == tried[0] && *n > 60), "{tried:?}");
}

fn outcome(case: &Case) -> (Rig, javm_cap::CapHash, Vec<crate::support::Seen>, u64) {
    let mut world = case.world(By::Ecalli);
    let mut result = world.rig.call_with(world.subject, 0, &[], Some(world.pad), GAS);
    while let CallResult::Paused { .. } = result {
        result = world.rig.resume(Some(world.pad));
    }
    let (value, after) = world.rig.halted(&result);
    let seen = world.rig.seen();
    (world.rig, after, seen, value)
}

#[test]
fn paths_print_as_they_are_walked() {
    assert_eq!(SlotPath::decode(at(2, &[1, 0, 7])).unwrap().to_string(), "2/1/0/7");
}
