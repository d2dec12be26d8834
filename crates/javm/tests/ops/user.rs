//! Operations of the chain that embeds the machine, and numbers that are nobody's.

use crate::{
    support::{ADD, GAS, MEM, Rig, load_args},
    world::{By, World},
};
use javm::{CallResult, ExitReason, KernelImage};
use javm_abi::ops::USER_OP_PRICE;

fn world(number: u32, by: By, args: &[u64]) -> World {
    World::of_number(number, by, "", args, |_| ())
}

#[test]
fn the_embedder_answers_from_64_on() {
    for by in [By::Ecalli, By::Ecall] {
        let mut w = world(ADD, by, &[40, 2, MEM, 0, 0, 1000]);
        let result = w.rig.call_with(w.subject, 0, &[], Some(w.pad), GAS);
        let (_, after) = w.rig.halted(&result);
        let seen = w.rig.seen();
        assert_eq!((seen[1].a(0), w.rig.slot_bytes(after, 22)[0]), (42, 42));
        // The embedder's own price comes on top of the fixed one.
        assert_eq!(seen[0].gas - seen[1].gas, USER_OP_PRICE.fixed + 1000 + 100);
    }
}

#[test]
fn a_price_of_the_embedder_that_cannot_be_paid_changes_nothing() {
    for by in [By::Ecalli, By::Ecall] {
        let price = USER_OP_PRICE.fixed + 1000;
        let mut w = world(ADD, by, &[40, 2, MEM, 0, 0, 1000]);
        let straight = w.rig.call_with(w.subject, 0, &[], Some(w.pad), GAS);
        let (before, gas) = (w.rig.seen()[0], straight.gas_used());
        for short in [1, 1000, 1001, price] {
            let mut w = world(ADD, by, &[40, 2, MEM, 0, 0, 1000]);
            w.rig.catch_kernel(KernelImage::OogMarker);
            let budget = GAS - before.gas + price - short;
            let paused = w.rig.call_with(w.subject, 0, &[], Some(w.pad), budget);
            assert!(matches!(paused, CallResult::Paused { .. }), "{paused:?}");
            assert_eq!(paused.gas_used(), GAS - before.gas);
            w.rig.vm.add_gas(GAS);
            let resumed = w.rig.resume(None);
            assert_eq!(w.rig.halted(&resumed).1, w.rig.halted(&straight).1);
            assert_eq!(paused.gas_used() + resumed.gas_used(), gas);
        }
    }
}

#[test]
fn what_the_embedder_refuses_traps() {
    for by in [By::Ecalli, By::Ecall] {
        for (args, number) in [(vec![1, 2, 16], ADD), (vec![], 64), (vec![], 0x7FFF_FFFF)] {
            let mut w = world(number, by, &args);
            let result = w.rig.call_with(w.subject, 0, &[], Some(w.pad), GAS);
            assert!(matches!(result, CallResult::Faulted { reason: ExitReason::Trap, .. }), "{result:?}");
            assert_eq!(Rig::slot0(&result), Some(w.pad));
            let words = format!(
                "operation {number} refused: there is no operation {number} at offset {}, `{}`",
                w.op_pc, w.instruction
            );
            // The disassembly prints large numbers in hexadecimal.
            assert_eq!(w.rig.what(), words.replace("`ecalli 2147483647`", "`ecalli 0x7fffffff`"));
        }
    }
}

#[test]
fn numbers_in_no_row_trap() {
    for number in (7..16).chain(35..64) {
        for by in [By::Ecalli, By::Ecall] {
            let mut w = world(number, by, &[]);
            let result = w.rig.call_with(w.subject, 0, &[], Some(w.pad), GAS);
            assert!(matches!(result, CallResult::Faulted { reason: ExitReason::Trap, .. }), "{result:?}");
            let words = format!("operation {number} refused: there is no operation {number} at offset ");
            assert!(w.rig.what().starts_with(&words), "{}", w.rig.what());
        }
    }
    // An immediate is sign-extended, φ11 is taken whole.
    let mut rig = Rig::new();
    for (text, number) in [
        ("ecalli -1\ntrap".to_owned(), u64::MAX),
        (format!("{}ecall\ntrap", load_args(&[0, 0, 0, 0, 1 << 32 | 100])), 1 << 32 | 100),
        (format!("{}ecall\ntrap", load_args(&[0, 0, 0, 0, 1 << 32])), 1 << 32),
    ] {
        let subject = rig.program(&text, &[]);
        assert_eq!(rig.fault(subject), ExitReason::Trap);
        assert!(
            rig.what().starts_with(&format!("operation {number} refused: there is no operation {number}"))
        );
    }
}
