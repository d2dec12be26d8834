//! Guest code on every backend: what the operations do to the machine that asks for them.

mod support;

use javm_abi::microkernel::MAX_VMS;
use javm_exec::Engine;
use javm_invocation::{DispatchResult, Invocation, VmState};
use support::{Item, Ops, engines, manifest};

fn start(engine: &Engine, memory_pages: u32, items: &[Item], gas: u64) -> Invocation {
    Invocation::new(engine, &manifest(memory_pages, 64, items), &[], gas).unwrap()
}

/// Runs on every backend; the results, with registers, gas and what else is shown, are the same.
fn everywhere<T: PartialEq + core::fmt::Debug>(mut run: impl FnMut(&Engine) -> T) -> T {
    let mut results: Vec<T> = engines().iter().map(&mut run).collect();
    let first = results.pop().unwrap();
    results.iter().for_each(|other| assert_eq!(*other, first));
    first
}

/// Makes the VM of slot 65 in slot 66, calls it with a0 = 5, and tells the embedder what came of it, again and again.
const PAGER: &str =
    "load_imm a0, 0\n load_imm a5, 66\n ecalli 65\n load_imm a5, 0\n load_imm a0, 5\n ecalli 66
    fallthrough
    again: ecalli 3\n load_imm a4, 13\n load_imm_64 a5, 0x4200000000\n ecall\n jump @again";

#[test]
fn a_pager_repairs_and_resumes_in_the_middle_of_a_block() {
    // The store is the third instruction of its block; the block is charged once.
    let child =
        "load_imm a1, 0x30010\n add_imm_64 a0, a0, 1\n store_ind_u64 a0, a1, 0\n load_ind_u64 a0, a1, 0
        ecalli 0\n jump @0";
    let result = everywhere(|engine| {
        let mut k = start(engine, 10, &[Item::Code(64, PAGER), Item::Code(65, child)], 1_000_000);
        let result = k.run();
        assert!(matches!(result, DispatchResult::ProtocolCall { slot: 3, .. }));
        assert_eq!((k.reg(7), k.reg(8)), (0x3_0000, 4));
        let faulted = k.vm(1).unwrap();
        assert_eq!((faulted.state(), faulted.gas_charged()), (VmState::Faulted, true));
        assert_eq!(faulted.regs().gpr[7], 6);
        k.resume(0, 0).unwrap();
        // Nothing was repaired: the same again, for the price of RESUME and of the code around it only.
        let before = k.gas();
        k.run();
        assert_eq!((k.reg(7), k.reg(8)), (0x3_0000, 4));
        assert_eq!(k.vm(1).unwrap().regs().gpr[7], 6);
        let once = before - k.gas();
        // The embedder stands in for the parent's policy here: a page for the child.
        k.resume(0, 0).unwrap();
        let (pc, gpr) = (k.regs().pc, k.regs().gpr);
        k.retype(1, 70);
        assert!(k.done(javm_invocation::EcallOp::Move, 70, 66 << 8 | 9, &[]));
        assert!(k.done(javm_invocation::EcallOp::Map, 66 << 8 | 9, 0, &[0x30, 0, 1, 1]));
        k.regs_mut().pc = pc;
        k.regs_mut().gpr = gpr;
        let before = k.gas();
        let result = k.run();
        assert_eq!((k.reg(7), k.reg(8)), (6, 0));
        // The rest of the block is paid: what is new is REPLY.
        assert_eq!(before - k.gas(), once + 10);
        (result, k.gas(), k.vm(1).unwrap().regs().pc)
    });
    assert!(matches!(result.0, DispatchResult::ProtocolCall { .. }));
}

#[test]
fn every_fault_reaches_the_parent() {
    let cases = [
        ("trap", 5, 1),
        ("load_imm a0, 2\n jump_ind a0, 0", u64::MAX - 8, 2),
        ("load_ind_u8 a0, a0, 0", u64::MAX - 8, 2),
        ("load_imm a1, 0x20000\n store_ind_u8 a0, a1, 0", 0x20000, 4),
        ("loop: jump @loop", u64::MAX - 7, 3),
        ("fallthrough", u64::MAX - 8, 2),
    ];
    for (child, detail, status) in cases {
        everywhere(|engine| {
            let mut k = start(engine, 1, &[Item::Code(64, PAGER), Item::Code(65, child)], 20_000);
            let result = k.run();
            if status == 3 {
                // The child had all the gas: the parent cannot go on far.
                assert!(k.gas() < 100, "{child}");
            } else {
                assert_eq!((k.reg(7), k.reg(8)), (detail, status), "{child}");
            }
            (result, k.regs().gpr, k.gas(), k.vm(1).map(|vm| (*vm.regs(), vm.gas(), vm.gas_charged())))
        });
    }
}

#[test]
fn a_page_below_64_kib_makes_faults_of_panics() {
    let child = "load_imm a1, 0x5000\n load_ind_u8 a0, a1, 0\n ecalli 0";
    everywhere(|engine| {
        let root = "load_imm a1, 0x5000\n load_ind_u8 a0, a1, 0\n ecalli 0";
        let mut k = start(engine, 1, &[Item::Code(64, root)], 10_000);
        assert_eq!(k.run(), DispatchResult::RootPanic);
        let mut k = start(engine, 1, &[Item::Code(64, child), Item::Data(65, 0, 1, true, vec![])], 10_000);
        assert_eq!(k.run(), DispatchResult::RootPageFault(0x5000));
        // The embedder may do something about it.
        let regs = *k.regs();
        k.set(7, 5);
        assert!(!k.done(javm_invocation::EcallOp::Map, 65, 0, &[5, 0, 1, 1]));
        *k.regs_mut() = regs;
        k.run()
    });
}

#[test]
fn a_return_to_the_halt_address_replies() {
    // Counts its calls in s0: the next one starts at the beginning.
    let child = "add_imm_64 s0, s0, 1\n load_imm ra, -0x10000\n move_reg a0, s0\n jump_ind ra, 0\n trap";
    let root =
        "load_imm a0, 0\n load_imm a5, 66\n ecalli 65\n load_imm a5, 0\n ecalli 66\n ecalli 66\n ecalli 66
        ecalli 0";
    everywhere(|engine| {
        let mut k = start(engine, 0, &[Item::Code(64, root), Item::Code(65, child)], 100_000);
        let result = k.run();
        assert_eq!((result, k.reg(8)), (DispatchResult::RootHalt(3), 0));
        let child = k.vm(1).unwrap();
        assert_eq!((child.regs().pc, child.gas_charged(), child.state()), (0, false, VmState::Idle));
        k.gas()
    });
    // The first VM halts in the same way.
    everywhere(|engine| {
        let mut k = start(
            engine,
            0,
            &[Item::Code(64, "load_imm ra, -0x10000\n load_imm a0, 9\n jump_ind ra, 0")],
            1000,
        );
        (k.run(), k.gas())
    });
}

#[test]
fn a_coroutine_goes_on_behind_its_reply() {
    let child = "load_imm a0, 1\n ecalli 0\n load_imm a0, 2\n ecalli 0\n load_imm a0, 3\n ecalli 0\n trap";
    let root = "load_imm a0, 0\n load_imm a5, 66\n ecalli 65\n load_imm a5, 0\n ecalli 66\n move_reg s0, a0\n ecalli 66
        add_64 s0, s0, a0\n ecalli 66\n add_64 s0, s0, a0\n ecalli 66\n move_reg a0, s0\n ecalli 0";
    everywhere(|engine| {
        let mut k = start(engine, 0, &[Item::Code(64, root), Item::Code(65, child)], 100_000);
        let result = k.run();
        assert_eq!((result, k.reg(8)), (DispatchResult::RootHalt(6), 1));
        k.gas()
    });
}

#[test]
fn what_cannot_be_paid_is_asked_again() {
    // A dispatch, a call, and a RETYPE that the gas does not reach: then the embedder gives more.
    for code in [
        "ecalli 2\n ecalli 0",
        "load_imm a0, 2\n load_imm_64 a5, 0xFE00000046\n load_imm a4, 0\n ecall\n ecalli 0",
    ] {
        everywhere(|engine| {
            let mut k = start(engine, 8, &[Item::Code(64, code)], 205);
            let mut seen = Vec::new();
            loop {
                let result = k.run();
                seen.push((result, k.gas(), *k.regs()));
                match result {
                    DispatchResult::RootOutOfGas => k.set_gas(k.gas() + 97),
                    DispatchResult::ProtocolCall { .. } => k.resume(7, 8).unwrap(),
                    _ => break,
                }
                assert!(seen.len() < 100);
            }
            assert!(matches!(seen.last(), Some((DispatchResult::RootHalt(_), ..))));
            seen
        });
    }
}

#[test]
fn handlers_answer_protocol_calls() {
    everywhere(|engine| {
        let code = "load_imm a0, 3\n ecalli 4\n add_64 a0, a0, a1\n ecalli 5\n ecalli 0";
        let items = [Item::Code(64, code), Item::Data(65, 0x10, 1, true, vec![])];
        let mut k = start(engine, 1, &items, 100_000);
        let mut calls = Vec::new();
        let result = k.run_with(|k, id| {
            calls.push((id, k.reg(7)));
            // Both views of the same bytes.
            k.write_memory(k.active(), 0x1_0000, &[id]).unwrap();
            let mut byte = [0];
            k.read_data(0, 65, 0, &mut byte).unwrap();
            (id == 4).then_some((u64::from(byte[0]), 20))
        });
        assert!(matches!(result, DispatchResult::ProtocolCall { slot: 5, .. }));
        assert_eq!(calls, [(4, 3), (5, 24)]);
        k.resume(1, 0).unwrap();
        (k.run(), k.gas())
    });
}

#[test]
fn pages_are_shared_by_passing_them() {
    // The parent fills its page, passes it, and reads what the child made of it.
    let root = "load_imm a0, 0\n load_imm a5, 66\n ecalli 65
        load_imm s0, 0x20000\n load_imm a0, 41\n store_ind_u64 a0, s0, 0\n load_imm a0, 0x20000\n load_imm a5, 70\n ecalli 66
        load_ind_u64 a0, s0, 0\n ecalli 0";
    let child = "move_reg s0, a0\n load_imm a0, 0x20\n load_imm a1, 0\n load_imm a2, 8\n load_imm a3, 1\n load_imm a4, 2
        load_imm_64 a5, 0\n ecall\n load_ind_u64 a2, s0, 0\n add_imm_64 a2, a2, 1\n store_ind_u64 a2, s0, 0\n ecalli 0";
    everywhere(|engine| {
        let items = [Item::Code(64, root), Item::Code(65, child), Item::Data(70, 0x20, 8, true, vec![])];
        let mut k = start(engine, 8, &items, 100_000);
        assert_eq!(k.run(), DispatchResult::RootHalt(42));
        (k.gas(), k.written(0, 70).unwrap())
    });
}

/// Makes s0 VMs of the code in slot 65, each with a page at 0x20000 if there is one left and with the handle of the one
/// before in slot 2; calls the last one twice.
const CHAIN: &str = "loop: load_imm a0, 0\n load_imm a5, 66\n ecalli 65
    load_imm a0, 1\n load_imm_64 a5, 0xFE00004201\n load_imm a4, 0\n ecall
    load_imm a0, 0x20\n load_imm a1, 0\n load_imm a2, 1\n load_imm a3, 1\n load_imm_64 a5, 0x420100000000\n load_imm a4, 2\n ecall
    load_imm_64 a5, 0x4400004202\n load_imm a4, 6\n ecall
    load_imm_64 a5, 0x4200000044\n ecall
    add_imm_64 s0, s0, -1\n branch_ne_imm s0, 0, @loop
    load_imm a5, 0\n ecalli 68\n ecalli 68\n ecalli 0";

#[test]
fn a_chain_of_calls_as_deep_as_there_are_vms() {
    let child = "load_imm a5, 0\n ecalli 2\n add_imm_64 a0, a0, 1\n ecalli 0\n jump @0";
    everywhere(|engine| {
        let mut k = start(engine, 0, &[Item::Code(64, CHAIN), Item::Code(65, child)], u64::MAX / 2);
        k.set(5, MAX_VMS as u64 - 1);
        // The innermost one asks an empty slot, which is 2^64 - 2.
        assert_eq!((k.run(), k.vms().count()), (DispatchResult::RootHalt(MAX_VMS as u64 - 3), MAX_VMS));
        k.gas()
    });
}

#[test]
fn more_vms_with_memory_than_there_are_windows() {
    const VMS: u64 = 1500;
    // Counts in its page before and behind the call.
    let child =
        "load_imm s0, 0x20000\n load_ind_u64 a0, s0, 0\n add_imm_64 a0, a0, 1\n store_ind_u64 a0, s0, 0
        load_imm a5, 0\n ecalli 2\n load_ind_u64 a1, s0, 0\n add_imm_64 a1, a1, 1\n store_ind_u64 a1, s0, 0
        add_64 a0, a0, a1\n ecalli 0\n jump @0";
    everywhere(|engine| {
        let items = [Item::Code(64, CHAIN), Item::Code(65, child)];
        let mut k = start(engine, VMS as u32, &items, u64::MAX / 2);
        k.set(5, VMS);
        // At the second call each page goes from 2 to 4; the innermost one adds it to 2^64 - 2.
        assert_eq!((k.run(), k.reg(8)), (DispatchResult::RootHalt(4 * VMS - 2), 0));
        k.gas()
    });
}

#[test]
fn dirty_knows_what_guests_wrote() {
    // Writes pages 0, 2 and 4 of 40, asks, reads all of them, writes page 39, asks again.
    let code = "load_imm s0, 0x100000\n store_ind_u8 s0, s0, 0\n store_imm_ind_u8 s0, 0x2000, 0\n store_imm_ind_u64 s0, 0x4ff0, 7
        ecalli 3
        load_imm a0, 0x20000\n load_imm a1, 5\n load_imm a4, 12\n load_imm_64 a5, 0x4600000000\n ecall\n ecalli 4
        load_imm a2, 40\n fallthrough\n loop: load_ind_u8 a3, s0, 0\n add_imm_64 s0, s0, 4096\n add_imm_64 a2, a2, -1
        branch_ne_imm a2, 0, @loop\n add_imm_64 s0, s0, -4096\n store_ind_u8 s0, s0, 0
        load_imm a0, 0x20000\n ecall\n ecalli 5\n ecalli 0";
    everywhere(|engine| {
        let items = [
            Item::Code(64, code),
            Item::Data(70, 0x100, 40, true, vec![1; 100]),
            Item::Data(71, 0x20, 1, true, vec![]),
        ];
        let mut k = start(engine, 41, &items, 200_000);
        let mut seen = Vec::new();
        let result = k.run_with(|k, id| {
            let mut bytes = [0; 5];
            k.read_memory(0, 0x2_0000, &mut bytes).unwrap();
            seen.push((id, k.reg(7), bytes, k.written(0, 70).unwrap()));
            let (a0, a1) = if id == 3 { (0, 0) } else { (k.reg(7), 5) };
            Some((a0, a1))
        });
        assert!(matches!(result, DispatchResult::RootHalt(_)));
        let written: Vec<_> = seen.iter().map(|(.., written)| written.clone()).collect();
        assert_eq!(written, [[0b10101, 0, 0, 0, 0], [0; 5], [0; 5]]);
        assert_eq!(seen[1].1, 3);
        assert_eq!((seen[1].2, seen[2].1, seen[2].2), ([0b10101, 0, 0, 0, 0], 1, [0, 0, 0, 0, 0x80]));
        (seen, k.gas())
    });
}

#[test]
fn mapping_changes_between_instructions() {
    // Unmaps the page that it writes to and maps it again, over and over; then writes where it is unmapped.
    let code = "load_imm s0, 0x100000\n load_imm s1, 3000\n fallthrough
        loop: store_ind_u64 s1, s0, 0\n load_imm a0, 0\n load_imm a1, 1\n load_imm a4, 3\n load_imm_64 a5, 0x4600000000\n ecall
        load_imm a0, 0x100\n load_imm a1, 0\n load_imm a2, 1\n load_imm a3, 1\n load_imm a4, 2\n ecall
        load_ind_u64 a0, s0, 0\n branch_ne a0, s1, @bad
        add_imm_64 s1, s1, -1\n branch_ne_imm s1, 0, @loop
        load_imm a0, 0\n load_imm a1, 1\n load_imm a4, 3\n ecall\n store_ind_u64 s1, s0, 0\n fallthrough\n bad: trap";
    everywhere(|engine| {
        let items = [Item::Code(64, code), Item::Data(70, 0x100, 3, true, vec![])];
        let mut k = start(engine, 3, &items, 10_000_000);
        assert_eq!(k.run(), DispatchResult::RootPageFault(0x10_0000));
        (*k.regs(), k.gas())
    });
}
