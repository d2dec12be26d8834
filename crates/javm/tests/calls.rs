//! `HOST_CALL`: what travels, what comes back, what a fault leaves, how deep and how often.

mod support;

use std::sync::Arc;

use javm::{CallResult, Entry, ExitReason, KernelAssist, KernelImage, first_instance, publish};
use javm_abi::status::FaultCode;
use javm_cap::{Cap, CapHash, ImageCap, InstanceCap, SlotIdx, Status, image::MappingSource, lineage};
use javm_program::Program;
use support::{GAS, MEM, Rig, at, load_args, persistent};

/// Calls `slot` at `endpoint` with these arguments, probing before and after.
fn calling(slot: u64, endpoint: u64, args: &[u64]) -> String {
    let all: Vec<u64> = [slot, endpoint].into_iter().chain(args.iter().copied()).collect();
    format!("{}ecalli 26\necalli 100\n", load_args(&all))
}

/// Calls slot 1, probes what came back, and replies with it.
fn caller_of(rig: &mut Rig, callee: CapHash, endpoint: u64) -> CapHash {
    rig.program(&format!("{}ecalli 0\ntrap", calling(1, endpoint, &[3, 4, 5, 6])), &[(1, callee)])
}

#[test]
fn arguments_go_down_and_a_value_comes_back() {
    let mut rig = Rig::new();
    let callee = rig.image(
        "trap\nmain: ecalli 100\nload_imm a0, 1234\nload_imm a1, 7\nload_imm ra, 1\necalli 0\n\
                            .export unused @0\n.export main @main",
        |image| {
            let def = image.endpoints.get_mut(&1).unwrap();
            def.initial_regs = std::array::from_fn(|n| 100 + n as u64);
        },
    );
    // Registers that the publisher gave it lie over the endpoint's, where they are not zero; arguments over both.
    let root = rig.cnode(8, &[]);
    let regs = [0, 0, 7, 0, 0, 8, 0, 55, 55, 0, 55, 0, 9];
    let genesis = lineage::genesis(callee);
    let callee = rig.put(Cap::instance_with_overlays(genesis, callee, root, &[], 0, regs, 999, 5));
    let caller = caller_of(&mut rig, callee, 1);
    let (value, after) = rig.halt(caller);
    let seen = rig.seen();
    assert_eq!(seen[0].gpr, [100, 101, 7, 103, 104, 8, 106, 3, 4, 5, 6, 111, 9]);
    assert_eq!(value, 1234);
    assert_eq!(seen[1].gpr[7..], [1234, 0, 3, 4, 5, 6], "the caller keeps its own");
    assert_eq!(seen[1].gpr[..7], [0; 7]);
    // A halted instance has neither registers nor a program counter.
    let callee = rig.as_instance(rig.slot(after, 1).unwrap());
    assert_eq!(callee.status(), &Status::default());
}

#[test]
fn slot_0_travels_with_the_call() {
    let mut rig = Rig::new();
    let (sent, own) = (rig.data(b"sent"), rig.data(b"own"));
    // The callee keeps what it got in slot 9 and leaves its slot 8.
    let callee = rig.program(
        &format!("{}ecalli 2\n{}ecalli 2\necalli 0\ntrap", load_args(&[0, 9]), load_args(&[8, 0])),
        &[(8, own)],
    );
    let caller = caller_of(&mut rig, callee, 0);
    let result = rig.call_with(caller, 0, &[], Some(sent), GAS);
    let (_, after) = rig.halted(&result);
    assert_eq!(Rig::slot0(&result), Some(own));
    let callee = rig.slot(after, 1).unwrap();
    assert_eq!((rig.slot(callee, 9), rig.slot(callee, 8), rig.slot(callee, 0)), (Some(sent), None, None));
    assert_eq!(rig.slot(after, 0), None, "a halted instance keeps no slot 0");
    // Empty travels too.
    let callee = rig.program(&format!("{}ecalli 6\necalli 0\ntrap", load_args(&[0])), &[]);
    let caller = caller_of(&mut rig, callee, 0);
    let result = rig.call(caller, 0, &[], GAS);
    assert_eq!((rig.halted(&result), Rig::slot0(&result)), ((0, caller), None));
}

#[test]
fn a_fault_returns_slot_0_as_the_callee_left_it_and_nothing_else() {
    let mut rig = Rig::new();
    let (sent, left) = (rig.data(b"sent"), rig.data(b"left"));
    let image = rig.image(
        &format!(
            "store_imm_u8 {MEM:#x}, 1\n{}ecalli 1\n{}ecalli 3\ntrap",
            load_args(&[8, 0]),
            load_args(&[8])
        ),
        |image| image.memory_mappings = vec![persistent(MEM, 1, 7)],
    );
    let callee = rig.instance(image, &[(8, left)]);
    let caller = caller_of(&mut rig, callee, 0);
    let result = rig.call_with(caller, 0, &[], Some(sent), GAS);
    let (code, after) = rig.halted(&result);
    assert_eq!((code, rig.seen()[0].a(1)), (FaultCode::Trap.number(), 2));
    assert_eq!((after, Rig::slot0(&result)), (caller, Some(left)));
}

#[test]
fn the_callees_slot_is_empty_while_it_runs() {
    let mut rig = Rig::new();
    let marker = rig.marker("look");
    let callee = rig.program(&format!("{}ecalli 16\necalli 0\ntrap", load_args(&[1])), &[(1, marker)]);
    let cnode = rig.cnode(1, &[(1, callee)]);
    let text = format!("{}ecalli 0\ntrap", calling(at(5, &[1]), 0, &[]));
    let caller = rig.program(&text, &[(5, cnode)]);
    rig.vm.kernel_assist.inner.catch_at_root(marker);
    let paused = rig.call(caller, 0, &[], GAS);
    assert!(matches!(paused, CallResult::Paused { .. }));
    let [Entry::Instance(caller), Entry::Instance(callee)] = rig.vm.stack.entries() else { panic!() };
    assert_eq!((caller.endpoint(), callee.endpoint()), (0, 0));
    let cnode = rig.as_cnode(caller.table().get(SlotIdx(5)).unwrap());
    assert_eq!(cnode.get(SlotIdx(1)), None);
    let (_, after) = {
        let result = rig.resume(None);
        rig.halted(&result)
    };
    assert_eq!(rig.kind(after, at(5, &[1])), Some(javm_cap::Kind::Instance));
}

/// Every code, what leads to it, and what `last_fault` says.
#[test]
fn every_way_to_fault_has_its_code() {
    use FaultCode::{
        Depth, Layout, NoSuchEndpoint, OutOfGas, PageFault, Panic, Refused, StorageExhausted, Trap,
        UnhandledMarker,
    };
    type Make = fn(&mut Rig) -> CapHash;
    let plain: [(FaultCode, ExitReason, Make, &str); 14] = [
        (Trap, ExitReason::Trap, |rig| rig.program("trap", &[]), "trap at offset 0, `trap`"),
        (
            Trap,
            ExitReason::Trap,
            |rig| rig.program("load_imm a0, 9\necalli 3\ntrap", &[]),
            "MGMT_DROP refused: slot 9 is empty at offset 3, `ecalli 3`",
        ),
        (
            Panic,
            ExitReason::Panic,
            |rig| rig.program("load_imm a0, 3\njump_ind a0, 0", &[]),
            "panic at offset 3, `jump_ind a0, 0`",
        ),
        (
            Panic,
            ExitReason::Panic,
            |rig| rig.program("load_u8 a0, 0x100", &[]),
            "panic at offset 0, `load_u8 a0, 256`",
        ),
        (Panic, ExitReason::Panic, |rig| rig.program("load_imm a0, 3", &[]), "panic at offset 3"),
        (
            OutOfGas,
            ExitReason::OutOfGas,
            |rig| {
                let meter = rig.handle(KernelImage::Gas, 9);
                rig.vm.kernel_assist.set_gas_meter(9, 1000);
                let image = rig.image("loop: jump @loop", |image| image.gas_slots = vec![SlotIdx(1)]);
                rig.instance(image, &[(1, meter)])
            },
            "out of gas at offset 0, `jump @0`",
        ),
        (
            OutOfGas,
            ExitReason::OutOfGas,
            |rig| {
                let meter = rig.handle(KernelImage::Gas, 9);
                rig.vm.kernel_assist.set_gas_meter(9, 1000);
                let image = rig.image("load_imm a0, 5\nload_imm a1, 1\necalli 5\necalli 5\ntrap", |image| {
                    image.gas_slots = vec![SlotIdx(1)]
                });
                rig.instance(image, &[(1, meter)])
            },
            "out of gas: cannot pay for MGMT_CNODE_MINT at offset 8, `ecalli 5`",
        ),
        (
            PageFault,
            ExitReason::PageFault(0x1_2000),
            |rig| rig.program("load_u8 a0, 0x12345", &[]),
            "page fault at 0x12000 at offset 0, `load_u8 a0, 0x12345`",
        ),
        (
            UnhandledMarker,
            ExitReason::Trap,
            |rig| {
                let marker = rig.marker("m");
                rig.program("load_imm a0, 1\necalli 16\ntrap", &[(1, marker)])
            },
            "nobody catches the marker",
        ),
        (
            StorageExhausted,
            ExitReason::Trap,
            |rig| {
                let quota = rig.handle(KernelImage::Quota, 3);
                rig.vm.kernel_assist.set_quota(3, 4095);
                let image = rig.image(&format!("store_imm_u8 {MEM:#x}, 1\necalli 0\ntrap"), |image| {
                    image.quota_slots = vec![SlotIdx(1)];
                    image.memory_mappings = vec![persistent(MEM, 1, 7)];
                });
                rig.instance(image, &[(1, quota)])
            },
            "storage exhausted: quota 3 cannot pay, and nobody catches that at offset 6, `ecalli 0`",
        ),
        (
            Layout,
            ExitReason::Trap,
            |rig| {
                let large = rig.data(&[1; 4097]);
                let image = rig.image("trap", |image| image.memory_mappings = vec![persistent(MEM, 1, 7)]);
                rig.instance(image, &[(7, large)])
            },
            "call not started: mapping 0 cannot be laid out: its source is larger than the mapping",
        ),
        (
            Layout,
            ExitReason::Trap,
            |rig| {
                let cnode = rig.cnode(1, &[]);
                let image = rig.image("trap", |image| {
                    image.memory_mappings = vec![persistent(MEM, 1, 6), persistent(2 * MEM, 1, 7)];
                });
                rig.instance(image, &[(7, cnode)])
            },
            "call not started: mapping 1 cannot be laid out: its source is no Data",
        ),
        (
            Layout,
            ExitReason::Trap,
            |rig| {
                let image = rig.image("trap\n.export main @0", |image| {
                    image.endpoints.get_mut(&0).unwrap().arg_cnode_size = 4;
                });
                rig.instance(image, &[])
            },
            "call not started: the endpoint takes a cnode of 2^4 slots in slot 0",
        ),
        (
            NoSuchEndpoint,
            ExitReason::Trap,
            |rig| {
                let image = rig.image("trap\n.export main @0", |image| {
                    let def = image.endpoints.remove(&0).unwrap();
                    image.endpoints.insert(1, def);
                });
                rig.instance(image, &[])
            },
            "call not started: the image has no endpoint 0",
        ),
    ];
    let mut met = Vec::new();
    for (code, reason, make, words) in plain {
        // Nested: the caller sees the code, and both slots are as they were.
        let mut rig = Rig::new();
        let pad = rig.data(b"pad");
        let callee = make(&mut rig);
        let caller = caller_of(&mut rig, callee, 0);
        let result = rig.call_with(caller, 0, &[], Some(pad), GAS);
        assert_eq!(rig.halted(&result), (code.number(), caller), "{words}");
        assert_eq!(rig.seen()[0].a(1), 2);
        assert_eq!(Rig::slot0(&result), Some(pad), "{words}");
        assert!(rig.what().starts_with(words), "{}", rig.what());
        assert_eq!((rig.vm.last_fault().unwrap().code(), rig.vm.last_fault().unwrap().depth), (code, 1));
        // At the root: the reason.
        let mut rig = Rig::new();
        let pad = rig.data(b"pad");
        let callee = make(&mut rig);
        let result = rig.call_with(callee, 0, &[], Some(pad), GAS);
        let CallResult::Faulted { reason: found, .. } = result else { panic!("{result:?}") };
        assert_eq!((found, Rig::slot0(&result)), (reason, Some(pad)), "{words}");
        assert!(rig.what().starts_with(words), "{}", rig.what());
        assert_eq!(rig.vm.last_fault().unwrap().code(), code);
        met.push(code);
    }
    // Depth: the second call of the stack.
    let mut rig = Rig::with_max_depth(1);
    let callee = rig.program("trap", &[]);
    let caller = caller_of(&mut rig, callee, 0);
    assert_eq!(rig.halt(caller), (Depth.number(), caller));
    assert_eq!(rig.what(), "call not started: the call would be deeper than 1");
    met.push(Depth);
    // The kernel refuses: a catcher does not list what is to be removed.
    let mut rig = Rig::new();
    let (catcher, marker) = (rig.catcher(&[]), rig.marker("m"));
    let caller = rig.program(&format!("{}ecalli 0\ntrap", calling(1, 1, &[2])), &[(1, catcher), (2, marker)]);
    assert_eq!(rig.halt(caller), (Refused.number(), caller));
    assert_eq!(rig.what(), "call not started: the kernel refused: the catcher does not list the marker");
    met.push(Refused);
    assert!(FaultCode::ALL.iter().all(|code| met.contains(code)));
}

#[test]
fn no_endpoint_beyond_a_byte() {
    let mut rig = Rig::new();
    let callee = rig.program("trap", &[]);
    for endpoint in [1, 256, 1 << 32, u64::MAX] {
        let caller = caller_of(&mut rig, callee, endpoint);
        assert_eq!(rig.halt(caller), (FaultCode::NoSuchEndpoint.number(), caller));
        assert_eq!(rig.what(), format!("call not started: the image has no endpoint {endpoint}"));
    }
}

#[test]
fn an_endpoint_gets_the_cnode_it_takes() {
    let mut rig = Rig::new();
    let inside = rig.data(b"inside");
    let image = rig.image(
        &format!("{}ecalli 32\necalli 0\ntrap\n.export main @0", load_args(&[at(0, &[9])])),
        |image| {
            image.endpoints.get_mut(&0).unwrap().arg_cnode_size = 4;
        },
    );
    let callee = rig.instance(image, &[]);
    let caller = caller_of(&mut rig, callee, 0);
    for (k, value, status) in [(4, 6, 0), (3, 8, 2), (5, 8, 2)] {
        let slots = [(9, inside)];
        let argument = rig.cnode(k, if k == 3 { &[] } else { &slots });
        let result = rig.call_with(caller, 0, &[], Some(argument), GAS);
        assert_eq!(rig.halted(&result).0, value, "{}", rig.words());
        assert_eq!(rig.seen()[0].a(1), status);
        assert_eq!(Rig::slot0(&result), Some(argument), "it comes back");
    }
}

#[test]
fn pinned_slots_are_the_images_whatever_a_publisher_left_there() {
    let mut rig = Rig::new();
    let (pin, other) = (rig.data(b"pinned"), rig.data(b"something else"));
    let image = rig.image(&format!("{}ecalli 32\necalli 0\ntrap", load_args(&[9])), |image| {
        image.pinned_slots.insert(SlotIdx(9), pin);
    });
    let root = rig.cnode(8, &[(9, other)]);
    let instance = rig.put(InstanceCap::new(lineage::genesis(image), image, root.into()));
    let (size, after) = rig.halt(instance);
    assert_eq!((size, rig.slot(after, 9)), (6, Some(pin)));
}

/// Slot 1 empty: 0. Else one more than what slot 1 returns; 1,000 more than the code of a fault.
const NESTED: &str = "load_imm a0, 1
    ecalli 6
    branch_eq_imm a0, 0, @leaf
    load_imm a0, 1
    load_imm a1, 0
    ecalli 26
    branch_ne_imm a1, 0, @fault
    add_imm_64 a0, a0, 1
    ecalli 0
    trap
    fault: add_imm_64 a0, a0, 1000
    ecalli 0
    trap
    leaf: ecalli 0
    trap";

fn nested(rig: &mut Rig, depth: usize) -> CapHash {
    let image = rig.image(NESTED, |_| ());
    let mut instance = rig.instance(image, &[]);
    for _ in 1..depth {
        instance = rig.instance(image, &[(1, instance)]);
    }
    instance
}

#[test]
fn the_depth_limit_is_exact() {
    for limit in [1, 2, 5, 40] {
        let mut rig = Rig::with_max_depth(limit);
        let fits = nested(&mut rig, limit);
        assert_eq!(rig.halt(fits).0, limit as u64 - 1);
        let deeper = nested(&mut rig, limit + 1);
        let (value, after) = rig.halt(deeper);
        assert_eq!(value, 1000 + FaultCode::Depth.number() + limit as u64 - 1);
        assert_eq!(after, deeper);
    }
}

/// With the stack of a thread this small, a host that recursed would not live to see the end.
fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(256 << 10).spawn(test).unwrap();
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn a_chain_as_deep_as_the_default_limit() {
    on_a_small_stack(|| {
        let mut rig = Rig::new();
        let chain = nested(&mut rig, javm::DEFAULT_MAX_DEPTH);
        assert_eq!(rig.halt(chain), (javm::DEFAULT_MAX_DEPTH as u64 - 1, chain));
        let deeper = nested(&mut rig, javm::DEFAULT_MAX_DEPTH + 1);
        assert_eq!(rig.halt(deeper).0, 1000 + FaultCode::Depth.number() + javm::DEFAULT_MAX_DEPTH as u64 - 1);
    });
}

#[test]
fn a_million_calls_in_bounded_memory() {
    const CALLS: u64 = 1_000_000;
    const LOOK: u64 = 100_000;
    on_a_small_stack(|| {
        let mut rig = Rig::new();
        // Counts in memory: each call makes a Data, a table and an instance.
        let counter = rig.image(
            &format!("load_u64 a0, {MEM:#x}\nadd_imm_64 a0, a0, 1\nstore_u64 a0, {MEM:#x}\necalli 0\ntrap"),
            |image| image.memory_mappings = vec![persistent(MEM, 1, 7)],
        );
        let counter = rig.instance(counter, &[]);
        let marker = rig.marker("look");
        rig.vm.kernel_assist.inner.catch_at_root(marker);
        let caller = rig.program(
            &format!(
                "load_imm_64 s0, {LOOK}
                fallthrough
                loop: load_imm a0, 1
                load_imm a1, 0
                ecalli 26
                add_imm_64 s0, s0, -1
                branch_ne_imm s0, 0, @loop
                move_reg s1, a0
                load_imm a0, 2
                ecalli 16
                load_imm_64 s0, {LOOK}
                branch_lt_u_imm s1, {CALLS}, @loop
                move_reg a0, s1
                ecalli 0
                trap"
            ),
            &[(1, counter), (2, marker)],
        );
        let len = rig.cache.len();
        let mut result = rig.call(caller, 0, &[], u64::MAX);
        let mut pauses = 0;
        while let CallResult::Paused { .. } = result {
            assert!(rig.cache.len() < len + 20_000, "{} values", rig.cache.len());
            pauses += 1;
            result = rig.resume(None);
        }
        assert_eq!((rig.halted(&result).0, pauses), (CALLS, CALLS / LOOK));
        assert!(rig.cache.len() < len + 10 && rig.cache.working_len() == 0, "{} values", rig.cache.len());
    });
}

/// What an instance makes and drops goes while it runs, also if it never calls anybody.
#[test]
fn a_million_values_of_one_run_in_bounded_memory() {
    const VALUES: u64 = 1_000_000;
    for (op, args) in [(5, [9, 16, 0, 0]), (23, [MEM, 64, u64::MAX, 9]), (21, [3, 9, 0, 0])] {
        let mut rig = Rig::new();
        let (marker, quiet) = (rig.marker("look"), rig.program("trap", &[]));
        rig.vm.kernel_assist.inner.catch_at_root(marker);
        let text = format!(
            "load_imm_64 s0, {VALUES}
            fallthrough
            loop: store_u64 s0, {MEM:#x}
            {}ecalli {op}
            add_imm_64 s0, s0, -1
            branch_ne_imm s0, 0, @loop
            load_imm a0, 2
            ecalli 16
            ecalli 0
            trap",
            load_args(&args)
        );
        let image = rig.image(&text, |image| image.memory_mappings = vec![persistent(MEM, 1, 7)]);
        let instance = rig.instance(image, &[(2, marker), (3, quiet)]);
        let len = rig.cache.len();
        let paused = rig.call(instance, 0, &[], u64::MAX);
        assert!(matches!(paused, CallResult::Paused { .. }), "{}", rig.words());
        assert!(rig.cache.len() < len + 20_000, "{} values", rig.cache.len());
        let result = rig.resume(None);
        rig.halted(&result);
        assert!(rig.cache.len() < len + 10, "{} values", rig.cache.len());
    }
}

/// The bank, paying from meter 9, and its ledger: account 0 has 100.
fn bank(rig: &mut Rig) -> CapHash {
    let mut load = |name: &str| {
        let path = format!("{}/../../guests/blobs/{name}.polkavm", env!("CARGO_MANIFEST_DIR"));
        let program = Program::load(&std::fs::read(path).unwrap()).unwrap();
        let image = publish(&mut rig.cache, &program).unwrap();
        rig.vm.image_cache.attach(image, Arc::new(program));
        image
    };
    let (ledger, bank) = (load("ledger"), load("bank"));
    let ledger = first_instance(&mut rig.cache, ledger, &[]).unwrap();
    let Cap::Image(image) = rig.get(bank) else { unreachable!() };
    let mut image = image.image().clone();
    image.gas_slots = vec![SlotIdx(100)];
    let image = rig.put(ImageCap::new(image).unwrap());
    let meter = rig.handle(KernelImage::Gas, 9);
    rig.vm.kernel_assist.set_gas_meter(9, GAS);
    let mut bank = rig.instance(image, &[(1, ledger), (100, meter)]);
    for (endpoint, args) in [(0, &[][..]), (0, &[]), (1, &[0, 100])] {
        let result = rig.call(bank, endpoint, args, GAS);
        bank = rig.halted(&result).1;
    }
    bank
}

#[test]
fn a_nested_call_stopped_at_any_gas_changes_nothing() {
    let mut rig = Rig::new();
    let bank = bank(&mut rig);
    let ledger = rig.slot(bank, 1).unwrap();
    let caller = rig.program(&format!("{}ecalli 0\ntrap", calling(1, 2, &[0, 1, 30])), &[(1, bank)]);
    let (value, done) = rig.halt(caller);
    assert_eq!(value, 70);
    let cost = GAS - rig.vm.kernel_assist.gas_meter(9);
    let cost = {
        // What came before is not this call's.
        rig.vm.kernel_assist.set_gas_meter(9, GAS);
        assert_eq!(rig.halt(caller), (70, done));
        assert!(GAS - rig.vm.kernel_assist.gas_meter(9) <= cost);
        GAS - rig.vm.kernel_assist.gas_meter(9)
    };
    rig.seen();
    let len = rig.cache.len();
    let (mut out_of_gas, mut bank_went_on) = (0, 0);
    for gas in 0..cost {
        rig.vm.kernel_assist.set_gas_meter(9, gas);
        let result = rig.call(caller, 0, &[], GAS);
        let (value, after) = rig.halted(&result);
        // The bank itself stopped, or its ledger did and the bank had enough left to say so.
        let status = rig.seen()[0].a(1);
        match (status, value) {
            (2, code) if code == FaultCode::OutOfGas.number() => out_of_gas += 1,
            (0, error) if error == 1 << 63 | FaultCode::OutOfGas.number() => bank_went_on += 1,
            other => panic!("{other:x?} with {gas}"),
        }
        assert_eq!(after, caller, "no name that the caller reaches has changed");
        let from_meter = gas - rig.vm.kernel_assist.gas_meter(9);
        assert!(from_meter <= result.gas_used());
    }
    assert_eq!(rig.cache.len(), len, "nothing is left behind");
    assert_eq!((out_of_gas + bank_went_on, rig.slot(bank, 1)), (cost, Some(ledger)));
    assert!(out_of_gas > 1000, "{out_of_gas} {bank_went_on}");
    rig.vm.kernel_assist.set_gas_meter(9, GAS);
    for (account, balance) in [(0, 100), (1, 0)] {
        let result = rig.call(bank, 3, &[account], GAS);
        assert_eq!(rig.halted(&result).0, balance);
    }
    rig.vm.kernel_assist.set_gas_meter(9, cost);
    assert_eq!(rig.halt(caller), (70, done), "at its cost it is done");
    assert_eq!(rig.vm.kernel_assist.gas_meter(9), 0);
    // An overdraft faults in the ledger, and changes nothing either.
    rig.vm.kernel_assist.set_gas_meter(9, GAS);
    let result = rig.call(bank, 2, &[0, 1, 101], GAS);
    assert_eq!(rig.halted(&result), (1 << 63 | FaultCode::Trap.number(), bank));
}

#[test]
fn a_persistent_slot_that_changed_stands() {
    // The program writes its memory and then the slot that the memory came from: the slot stands.
    let mut rig = Rig::new();
    let (old, new) = (rig.data(b"old"), rig.data(b"new"));
    for (op, is) in [("ecalli 1", Some(new)), ("ecalli 3", None)] {
        let args = if op == "ecalli 1" { load_args(&[8, 7]) } else { load_args(&[7]) };
        let image = rig.image(&format!("store_imm_u8 {MEM:#x}, 1\n{args}{op}\necalli 0\ntrap"), |image| {
            image.memory_mappings = vec![persistent(MEM, 1, 7)];
            assert!(matches!(image.memory_mappings[0].source, MappingSource::Slot(_)));
        });
        let instance = rig.instance(image, &[(7, old), (8, new)]);
        let (_, after) = rig.halt(instance);
        assert_eq!(rig.slot(after, 7), is);
    }
}
