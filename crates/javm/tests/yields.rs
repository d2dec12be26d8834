//! Yields: who handles them, what each side sees, what is locked meanwhile; those that the kernel raises.

mod support;

use javm::{
    CallResult, ExitReason, KernelAssist, KernelImage, VmError, kernel_assist::marker_hash, kernel_image_hash,
};
use javm_abi::status::FaultCode;
use javm_cap::{Cap, CapHash, InstanceCap, Kind, SlotIdx, SlotPath, image::Image};
use support::{GAS, MEM, Rig, at, ephemeral, load_args, persistent};

/// An operation with these operands, and a probe behind it.
fn ask(number: u32, args: &[u64]) -> String {
    format!("{}ecalli {number}\necalli 100\n", load_args(args))
}

const CALL: u32 = 26;
const RESUME: u32 = 27;
const DROP: u32 = 28;

/// An instance whose catcher, in slot 1, lists these markers.
fn catching(rig: &mut Rig, text: &str, markers: &[CapHash], slots: &[(u32, CapHash)]) -> CapHash {
    catching_with(rig, text, markers, slots, |_| ())
}

fn catching_with(
    rig: &mut Rig,
    text: &str,
    markers: &[CapHash],
    slots: &[(u32, CapHash)],
    tweak: impl FnOnce(&mut Image),
) -> CapHash {
    let catcher = rig.catcher(markers);
    let image = rig.image(text, |image| {
        image.yield_marker_slot = Some(SlotIdx(1));
        tweak(image);
    });
    let slots: Vec<_> = slots.iter().copied().chain([(1, catcher)]).collect();
    rig.instance(image, &slots)
}

/// Yields the marker in slot 1 with slot 8 in slot 0, and returns the size of what comes back.
fn yielder(rig: &mut Rig, marker: CapHash) -> CapHash {
    let payload = rig.data(b"payload");
    let text = format!("{}{}{}ecalli 0\ntrap", ask(1, &[8, 0]), ask(16, &[1]), ask(32, &[0]));
    rig.program(&text, &[(1, marker), (8, payload)])
}

/// Registers φ7, φ8 of each probe.
fn pairs(rig: &mut Rig) -> Vec<(u64, u64)> {
    rig.seen().iter().map(|seen| (seen.a(0), seen.a(1))).collect()
}

#[test]
fn the_nearest_catcher_handles_and_nobody_between_sees() {
    let mut rig = Rig::new();
    let (marker, other) = (rig.marker("m"), rig.marker("other"));
    let answer = rig.data(b"an answer");
    let yielder = yielder(&mut rig, marker);
    let forward = format!("{}ecalli 0\ntrap", ask(CALL, &[2, 0]));
    let between = catching(&mut rig, &forward, &[other], &[(2, yielder)]);
    let handle = format!(
        "{}{}{}{}ecalli 0\ntrap",
        ask(CALL, &[2, 0]),
        ask(2, &[0, 9]),
        ask(1, &[8, 0]),
        ask(RESUME, &[2])
    );
    let near = catching(&mut rig, &handle, &[other, marker], &[(2, between), (8, answer)]);
    let far = catching(&mut rig, &forward, &[marker], &[(2, near)]);
    let (value, after) = rig.halt(far);
    assert_eq!(value, 9, "the size of the answer");
    let pairs = pairs(&mut rig);
    // The yielder copied, the handler got its second marker and acts, the yielder goes on, all return.
    assert_eq!(pairs[1], (2, 1));
    assert_eq!(pairs[4], (1, 0), "φ8 = 0, φ7 as it was");
    assert_eq!(pairs[5..], [(9, 0), (9, 0), (9, 0), (9, 0)], "size, between, near, far");
    let near = rig.slot(after, 2).unwrap();
    assert_eq!(rig.slot_bytes(near, 9), b"payload");
    let between = rig.slot(near, 2).unwrap();
    assert_eq!((rig.kind(between, 2), rig.slot(between, 0)), (Some(Kind::Instance), None));
    // What came back with the call is what the yielder left: the answer.
}

#[test]
fn a_dropped_call_is_as_if_it_had_not_been_made() {
    let mut rig = Rig::new();
    let marker = rig.marker("m");
    let yielder = yielder(&mut rig, marker);
    let text = format!("{}{}{}ecalli 0\ntrap", ask(CALL, &[2, 0]), ask(6, &[2]), ask(DROP, &[2]));
    let handler = catching(&mut rig, &text, &[marker], &[(2, yielder)]);
    let result = rig.call(handler, 0, &[], GAS);
    let (_, after) = rig.halted(&result);
    assert_eq!(pairs(&mut rig)[1..], [(1, 1), (0, 1), (2, 1)], "empty while it is paused");
    assert_eq!(after, handler, "the slot has its value from before the call");
    assert_eq!(rig.bytes(Rig::slot0(&result).unwrap()), b"payload", "slot 0 stays");
}

#[test]
fn nobody_catches_code_5() {
    let mut rig = Rig::new();
    let (marker, other) = (rig.marker("m"), rig.marker("other"));
    // Its own catcher is not asked.
    let own = catching(&mut rig, &format!("{}trap", ask(16, &[2])), &[marker], &[(2, marker)]);
    let caller = catching(&mut rig, &format!("{}ecalli 0\ntrap", ask(CALL, &[2, 0])), &[other], &[(2, own)]);
    assert_eq!(rig.halt(caller), (FaultCode::UnhandledMarker.number(), caller));
    assert_eq!(pairs(&mut rig), [(5, 2)]);
    let hex: String = marker.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(
        rig.what().starts_with(&format!("nobody catches the marker {hex} at offset 10")),
        "{}",
        rig.what()
    );
    // A catcher in another slot than the image declares is none.
    let forward = format!("{}ecalli 0\ntrap", ask(CALL, &[2, 0]));
    let caller = catching_with(&mut rig, &forward, &[marker], &[(2, own)], |image| {
        image.yield_marker_slot = Some(SlotIdx(3));
    });
    assert_eq!(rig.halt(caller), (5, caller));
    // Nor is something that only looks like one.
    let catcher = rig.catcher(&[marker]);
    let mut fake = rig.as_instance(catcher);
    fake.image_hash = rig.as_instance(marker).image_hash;
    let fake = rig.put(InstanceCap::new(fake.image_hash_chain, fake.image_hash, fake.root_cnode));
    let image = rig.image(&forward, |image| image.yield_marker_slot = Some(SlotIdx(1)));
    let caller = rig.instance(image, &[(1, fake), (2, own)]);
    assert_eq!(rig.halt(caller), (5, caller));
}

#[test]
fn the_embedder_catches_what_nobody_on_the_stack_does() {
    let mut rig = Rig::new();
    let marker = rig.marker("m");
    rig.vm.kernel_assist.inner.catch_at_root(marker);
    let yielder = yielder(&mut rig, marker);
    let caller = rig.program(&format!("{}ecalli 0\ntrap", ask(CALL, &[2, 0])), &[(2, yielder)]);
    let paused = rig.call(caller, 0, &[], GAS);
    assert!(matches!(paused, CallResult::Paused { .. }));
    assert_eq!(rig.bytes(Rig::slot0(&paused).unwrap()), b"payload");
    assert_eq!(rig.vm.stack.len(), 2);
    // The stack is taken until the call ends.
    let busy = rig.vm.invoke_cached(&mut rig.cache, caller, 0, [0; 4], GAS);
    assert_eq!(busy, Err(VmError::Busy));
    let answer = rig.data(b"four");
    let result = rig.resume(Some(answer));
    assert_eq!((rig.halted(&result).0, Rig::slot0(&result)), (4, Some(answer)));
    assert_eq!(rig.vm.call_resume(&mut rig.cache, None), Err(VmError::NotPaused));
    // Dropped, nothing is left of it.
    let len = rig.cache.len();
    let paused = rig.call(caller, 0, &[], GAS);
    assert!(matches!(paused, CallResult::Paused { .. }));
    rig.vm.drop_paused(SlotPath::root(0)).unwrap();
    assert_eq!(rig.vm.drop_paused(SlotPath::root(0)), Err(VmError::NotPaused));
    assert!(rig.vm.stack.is_empty());
    let again = rig.call(caller, 0, &[], GAS);
    assert!(matches!(again, CallResult::Paused { .. }));
    let result = rig.resume(Some(answer));
    assert_eq!(rig.halted(&result).0, 4);
    assert!(rig.cache.len() <= len + 1, "{} {len}", rig.cache.len());
}

#[test]
fn only_the_newest_paused_call_can_be_resumed_or_dropped() {
    let mut rig = Rig::new();
    let marker = rig.marker("m");
    let yielder = yielder(&mut rig, marker);
    let idle = rig.program("add_64 a0, a0, a1\necalli 0\ntrap", &[]);
    let both = [ask(CALL, &[2, 0]), ask(CALL, &[3, 0])].concat();
    let slots = [(2, yielder), (3, yielder), (4, idle)];
    for op in [RESUME, DROP] {
        let handler = catching(&mut rig, &format!("{both}{}trap", ask(op, &[2])), &[marker], &slots);
        assert_eq!(rig.fault(handler), ExitReason::Trap);
        let name = if op == RESUME { "CALL_RESUME" } else { "DROP_PAUSED" };
        let words =
            format!("{name} refused: slot 2 holds no paused call that can be resumed or dropped now at ");
        assert!(rig.what().starts_with(&words), "{}", rig.what());
        rig.seen();
    }
    // In order, with another call in between.
    let text = format!(
        "{both}{}{}{}ecalli 0\ntrap",
        ask(CALL, &[4, 0, 20, 3]),
        ask(RESUME, &[3]),
        ask(RESUME, &[2])
    );
    let handler = catching(&mut rig, &text, &[marker], &slots);
    let (value, after) = rig.halt(handler);
    assert_eq!(value, 7);
    let pairs: Vec<_> = pairs(&mut rig).into_iter().filter(|(_, status)| *status < 2).collect();
    assert!(pairs.contains(&(23, 0)), "{pairs:?}");
    assert_eq!((rig.kind(after, 2), rig.kind(after, 3)), (Some(Kind::Instance), Some(Kind::Instance)));
}

#[test]
fn a_handler_calls_and_yields_itself_meanwhile() {
    // far catches A, near catches B; the yielder yields B, near yields A while it handles B.
    let mut rig = Rig::new();
    let (a, b) = (rig.marker("a"), rig.marker("b"));
    let yielder = yielder(&mut rig, b);
    let near = format!("{}{}{}ecalli 0\ntrap", ask(CALL, &[2, 0]), ask(16, &[5]), ask(RESUME, &[2]));
    let near = catching(&mut rig, &near, &[b], &[(2, yielder), (5, a)]);
    let far = format!("{}{}ecalli 0\ntrap", ask(CALL, &[2, 0]), ask(RESUME, &[2]));
    let far = catching(&mut rig, &far, &[a], &[(2, near)]);
    let result = rig.call(far, 0, &[], GAS);
    assert_eq!(rig.halted(&result).0, 7, "the payload went up twice and came back");
    assert_eq!(pairs(&mut rig)[1..], [(1, 1), (1, 1), (5, 0), (1, 0), (7, 0), (7, 0), (7, 0)]);
}

#[test]
fn the_slot_of_a_paused_call_is_locked() {
    let mut rig = Rig::new();
    let marker = rig.marker("m");
    let yielder = yielder(&mut rig, marker);
    let child = rig.image("trap", |_| ());
    let ty = rig.put(javm_cap::TypeCap::new([1; 32]));
    let open = rig.kernel(KernelImage::HostOpen);
    let file = rig.data(b"file");
    rig.vm.kernel_assist.save_file(file, 0, None);
    let table = rig.cnode(8, &[]);
    let quiet = rig.program("trap", &[]);
    let none = u64::MAX;
    // The call sits in slot 2, or in slot 1 of the cnode in slot 5.
    for (target, on_the_way) in [(2, vec![2]), (at(5, &[1]), vec![5, at(5, &[1])])] {
        for path in on_the_way {
            let mut refused = vec![
                (1, vec![10, path]),
                (2, vec![10, path]),
                (2, vec![path, 11]),
                (3, vec![path]),
                (4, vec![path, 10]),
                (4, vec![10, path]),
                (5, vec![path, 3]),
                (18, vec![12, 13, path]),
                (18, vec![12, path, 11]),
                (21, vec![14, path]),
                (23, vec![MEM, 1, none, path]),
                (24, vec![0, path, 15]),
                (29, vec![16, MEM, 0, path]),
            ];
            refused.push((19, vec![10, path, none]));
            for (op, args) in refused {
                let cnode = rig.cnode(1, &[(1, yielder), (0, file)]);
                let slots = [
                    (2, yielder),
                    (5, cnode),
                    (10, file),
                    (12, child),
                    (13, table),
                    (14, quiet),
                    (15, open),
                    (16, ty),
                ];
                let text = format!("{}{}trap", ask(CALL, &[target, 0]), ask(op, &args));
                let handler = catching_with(&mut rig, &text, &[marker], &slots, |image| {
                    image.memory_mappings = vec![ephemeral(MEM, 1)];
                });
                assert_eq!(rig.fault(handler), ExitReason::Trap);
                let words = format!(
                    "refused: slot {} belongs to the paused call in slot {}",
                    SlotPath::decode(path).unwrap(),
                    SlotPath::decode(target).unwrap()
                );
                assert!(rig.what().contains(&words), "{op} {args:x?}: {}", rig.what());
            }
        }
    }
    // Beside it, and in it as far as it reads empty, everything goes.
    let cnode = rig.cnode(1, &[(1, yielder), (0, file)]);
    let text = format!(
        "{}{}{}{}ecalli 0\ntrap",
        ask(CALL, &[at(5, &[1]), 0]),
        ask(3, &[at(5, &[0])]),
        ask(1, &[5, 6]),
        ask(RESUME, &[at(5, &[1])])
    );
    let handler = catching(&mut rig, &text, &[marker], &[(5, cnode)]);
    let (_, after) = rig.halt(handler);
    assert_eq!(rig.as_cnode(rig.slot(after, 6).unwrap()).occupied(), 0, "a copy made meanwhile lacks it");
    assert_eq!((rig.kind(after, at(5, &[1])), rig.slot(after, at(5, &[0]))), (Some(Kind::Instance), None));
    // HOST_CALL finds nothing there.
    let text = format!("{}{}trap", ask(CALL, &[2, 0]), ask(CALL, &[2, 0]));
    let handler = catching(&mut rig, &text, &[marker], &[(2, yielder)]);
    assert_eq!(rig.fault(handler), ExitReason::Trap);
    assert!(rig.what().starts_with("HOST_CALL refused: slot 2 is empty at"), "{}", rig.what());
}

#[test]
fn a_mapped_slot_that_is_paused_is_not_written_at_halt() {
    // The image maps slot 2, whose instance is called: the callee's slot reads empty at layout of others only.
    let mut rig = Rig::new();
    let marker = rig.marker("m");
    let yielder = yielder(&mut rig, marker);
    let text = format!("{}{}store_imm_u8 {MEM:#x}, 1\necalli 0\ntrap", ask(2, &[9, 2]), ask(CALL, &[2, 0]));
    let handler = catching_with(&mut rig, &text, &[marker], &[(9, yielder)], |image| {
        image.memory_mappings = vec![persistent(MEM, 1, 2)];
    });
    let (_, after) = rig.halt(handler);
    let paused = rig.as_instance(rig.slot(after, 2).unwrap());
    assert_eq!(paused.status().number(), 2, "the slot stands, and holds the paused call");
}

/// A call that pays from meter 9; returns φ7 + φ8 after some work.
fn metered(rig: &mut Rig) -> CapHash {
    let meter = rig.handle(KernelImage::Gas, 9);
    let image = rig.image(
        "load_imm t0, 20
        fallthrough
        loop: add_imm_64 t0, t0, -1
        branch_ne_imm t0, 0, @loop
        add_64 a0, a0, a1
        ecalli 100
        ecalli 0
        trap",
        |image| image.gas_slots = vec![SlotIdx(1)],
    );
    rig.instance(image, &[(1, meter)])
}

/// Calls slot 2; whenever it comes back paused, gives meter or quota `id` `amount` through slot 3 and resumes.
fn topping_up(id: u64, amount: u64) -> String {
    format!(
        "{}ecalli 26
        fallthrough
        again: branch_ne_imm a1, 1, @done
        move_reg s0, a0
        {}ecalli 26
        load_imm a0, 2
        ecalli 27
        jump @again
        done: ecalli 100
        ecalli 0
        trap",
        load_args(&[2, 0, 40, 2]),
        load_args(&[3, 0, id, amount]),
    )
}

#[test]
fn out_of_gas_is_caught_topped_up_and_resumed() {
    let mut rig = Rig::new();
    let callee = metered(&mut rig);
    let set = rig.kernel(KernelImage::SetGasMeter);
    let pad = rig.data(b"pad");
    rig.vm.kernel_assist.set_gas_meter(9, GAS);
    let caller = rig.program(&format!("{}ecalli 0\ntrap", ask(CALL, &[2, 0, 40, 2])), &[(2, callee)]);
    let straight = rig.call_with(caller, 0, &[], Some(pad), GAS);
    let cost = GAS - rig.vm.kernel_assist.gas_meter(9);
    let (_, after) = rig.halted(&straight);
    let new = rig.slot(after, 2);
    let seen = rig.seen()[0];
    // Stopped at every charge that it makes, and at every other amount too.
    for gas in (0..cost).chain([cost]) {
        rig.vm.kernel_assist.set_gas_meter(9, gas);
        let marker = marker_hash(KernelImage::OogMarker);
        let text = topping_up(9, cost);
        let handler = catching(&mut rig, &text, &[marker], &[(2, callee), (3, set)]);
        let result = rig.call_with(handler, 0, &[], Some(pad), GAS);
        let (value, after) = rig.halted(&result);
        assert_eq!((value, rig.slot(after, 2)), (42, new), "{gas}: {}", rig.words());
        let found = rig.seen();
        assert_eq!((found[0].pc, found[0].gpr), (seen.pc, seen.gpr), "the yielder saw nothing");
        assert_eq!(Rig::slot0(&result), Some(pad), "its slot 0 came back with the call");
    }
}

#[test]
fn the_payload_of_out_of_gas_is_a_handle_of_the_meter() {
    let mut rig = Rig::new();
    let callee = metered(&mut rig);
    let marker = marker_hash(KernelImage::OogMarker);
    let text = format!("{}{}ecalli 0\ntrap", ask(CALL, &[2, 0]), ask(DROP, &[2]));
    let handler = catching(&mut rig, &text, &[marker], &[(2, callee)]);
    let result = rig.call(handler, 0, &[], GAS);
    assert_eq!(rig.halted(&result).1, handler);
    assert_eq!(pairs(&mut rig)[0], (1, 1));
    let meter = rig.as_instance(Rig::slot0(&result).unwrap());
    assert_eq!(meter.image_hash, kernel_image_hash(KernelImage::Gas));
    assert_eq!(meter.memory().pages().page(0), Some(&[9][..]));
    assert_eq!(Rig::slot0(&result), Some(rig.handle(KernelImage::Gas, 9)), "the canonical handle");
}

#[test]
fn who_draws_on_the_exhausted_meter_cannot_handle_that() {
    let mut rig = Rig::new();
    let marker = marker_hash(KernelImage::OogMarker);
    let meter = rig.handle(KernelImage::Gas, 9);
    let callee = metered(&mut rig);
    let forward = format!("{}ecalli 0\ntrap", ask(CALL, &[2, 0]));
    // Between the handler and the yielder: one that catches, but pays from the same meter.
    let between = catching_with(&mut rig, &forward, &[marker], &[(2, callee), (3, meter)], |image| {
        image.gas_slots = vec![SlotIdx(3)];
    });
    let text = format!("{}{}ecalli 0\ntrap", ask(CALL, &[2, 0]), ask(DROP, &[2]));
    let far = catching(&mut rig, &text, &[marker], &[(2, between)]);
    rig.vm.kernel_assist.set_gas_meter(9, 2000);
    let (_, after) = rig.halt(far);
    assert_eq!(after, far);
    assert_eq!(pairs(&mut rig), [(1, 1), (2, 1)], "the far one dropped it");
    // With another meter to go on with, it can.
    let other = rig.handle(KernelImage::Gas, 10);
    rig.vm.kernel_assist.set_gas_meter(9, 2000);
    rig.vm.kernel_assist.set_gas_meter(10, GAS);
    let between =
        catching_with(&mut rig, &forward, &[marker], &[(2, callee), (3, meter), (4, other)], |image| {
            image.gas_slots = vec![SlotIdx(3), SlotIdx(4)];
        });
    let far = catching(&mut rig, &text, &[marker], &[(2, between)]);
    rig.call(far, 0, &[], GAS);
    assert_eq!(pairs(&mut rig)[0], (1, 1));
    // On the root pool nobody can handle that the root pool is empty, but the embedder.
    let spin = rig.program("loop: jump @loop", &[]);
    let handler = catching(&mut rig, &forward, &[marker], &[(2, spin)]);
    let result = rig.call(handler, 0, &[], 50_000);
    assert!(matches!(result, CallResult::Faulted { reason: ExitReason::OutOfGas, .. }), "{result:?}");
    rig.catch_kernel(KernelImage::OogMarker);
    let result = rig.call(handler, 0, &[], 50_000);
    assert!(matches!(result, CallResult::Paused { .. }), "{result:?}");
    assert_eq!(Rig::slot0(&result), Some(rig.handle(KernelImage::Gas, 0)));
}

/// `k` blocks of the same cost, each asking for a kind, then REPLY.
fn blocks(rig: &mut Rig, k: usize, meters: &[CapHash]) -> CapHash {
    let text = format!("{}ecalli 0\ntrap", "load_imm a0, 200\necalli 6\nfallthrough\n".repeat(k));
    let slots: Vec<(u32, CapHash)> = (1..).zip(meters.iter().copied()).collect();
    let image =
        rig.image(&text, |image| image.gas_slots = slots.iter().map(|(slot, _)| SlotIdx(*slot)).collect());
    rig.instance(image, &slots)
}

#[test]
fn each_charge_comes_whole_from_the_first_meter_that_can_pay() {
    const BLOCKS: usize = 12;
    let mut rig = Rig::new();
    let mut gas_of = |k| {
        let instance = blocks(&mut rig, k, &[]);
        rig.call(instance, 0, &[], GAS).gas_used()
    };
    let (kind, reply) = (40, 100);
    let last = gas_of(0) - reply;
    let block = gas_of(1) - last - reply - kind;
    assert_eq!(gas_of(BLOCKS), BLOCKS as u64 * (block + kind) + last + reply);
    let charges: Vec<u64> = [block, kind].repeat(BLOCKS).into_iter().chain([last, reply]).collect();
    let mut outcomes = [0; 2];
    for seed in 0..400u64 {
        let mut rig = Rig::new();
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut next = |n: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % n
        };
        let mut balances: Vec<u64> = [700, 900, 1300].map(&mut next).into();
        // Slots that hold no handle are skipped; one meter may be named twice.
        let handles: Vec<CapHash> = (0..3).map(|n| rig.handle(KernelImage::Gas, 20 + n)).collect();
        let not = rig.data(b"no handle");
        for (n, balance) in (20..).zip(&balances) {
            rig.vm.kernel_assist.set_gas_meter(n, *balance);
        }
        let slots = [handles[0], not, handles[1], handles[0], handles[2]];
        let instance = blocks(&mut rig, BLOCKS, &slots);
        let result = rig.call(instance, 0, &[], GAS);
        let mut taken = 0;
        let done = charges.iter().all(|charge| {
            let payer = balances.iter().position(|balance| balance >= charge);
            payer.is_some_and(|payer| {
                balances[payer] -= charge;
                taken += charge;
                true
            })
        });
        let found: Vec<u64> = (20..23).map(|n| rig.vm.kernel_assist.gas_meter(n)).collect();
        assert_eq!((found, result.gas_used()), (balances, taken), "seed {seed}");
        let halted = matches!(result, CallResult::Halt { .. });
        assert_eq!(halted, done, "seed {seed}: {result:?}");
        outcomes[usize::from(done)] += 1;
    }
    assert!(outcomes.iter().all(|n| *n > 20), "{outcomes:?}");
}

#[test]
fn an_instance_with_gas_slots_and_no_handle_has_no_gas() {
    let mut rig = Rig::new();
    let image = rig.image("ecalli 0\ntrap", |image| image.gas_slots = vec![SlotIdx(5)]);
    let instance = rig.instance(image, &[]);
    assert_eq!(rig.fault(instance), ExitReason::OutOfGas);
}

#[test]
fn gas_left_is_that_of_the_paying_meter() {
    let mut rig = Rig::new();
    let meter = rig.handle(KernelImage::Gas, 9);
    rig.vm.kernel_assist.set_gas_meter(9, 5000);
    let image = rig.image("ecalli 34\necalli 0\ntrap", |image| image.gas_slots = vec![SlotIdx(1)]);
    let instance = rig.instance(image, &[(1, meter)]);
    let (left, _) = rig.halt(instance);
    assert_eq!(left, rig.vm.kernel_assist.gas_meter(9) + 100, "REPLY was paid after that");
}

#[test]
fn dropping_the_own_handle_takes_effect_at_once() {
    let mut rig = Rig::new();
    let meter = rig.handle(KernelImage::Gas, 9);
    rig.vm.kernel_assist.set_gas_meter(9, 1_000_000);
    for (op, args) in [(3, vec![1]), (2, vec![1, 7]), (4, vec![1, 7]), (1, vec![8, 1])] {
        let image =
            rig.image(&format!("{}ecalli {op}\necalli 6\necalli 0\ntrap", load_args(&args)), |image| {
                image.gas_slots = vec![SlotIdx(1)];
            });
        let other = rig.data(b"other");
        let instance = rig.instance(image, &[(1, meter), (8, other)]);
        assert_eq!(rig.fault(instance), ExitReason::OutOfGas, "{op}");
        assert!(rig.what().starts_with("out of gas: cannot pay for MGMT_KIND at"), "{}", rig.what());
    }
}

/// A call that writes `pages` pages and halts, paid by quota 3.
fn writing(rig: &mut Rig, pages: u64, reply: bool) -> CapHash {
    let quota = rig.handle(KernelImage::Quota, 3);
    let writes: String = (0..pages).map(|n| format!("store_imm_u8 {:#x}, 7\n", MEM + n * 4096)).collect();
    // By REPLY, or by a jump to the halt address.
    let end = if reply {
        "ecalli 0\ntrap"
    } else {
        "load_imm ra, -65536\nshlo_l_imm_64 ra, ra, 32\nshlo_r_imm_64 ra, ra, 32\njump_ind ra, 0"
    };
    let image = rig.image(&format!("{writes}load_imm a0, 42\n{end}"), |image| {
        image.quota_slots = vec![SlotIdx(1)];
        image.memory_mappings = vec![persistent(MEM, 8, 7)];
    });
    rig.instance(image, &[(1, quota)])
}

#[test]
fn the_first_quota_that_can_pay_pays_all() {
    let mut rig = Rig::new();
    let slots = [
        (1, rig.handle(KernelImage::Quota, 3)),
        // No quota: skipped.
        (2, rig.handle(KernelImage::Gas, 4)),
        (4, rig.handle(KernelImage::Quota, 4)),
    ];
    let writes = format!("store_imm_u8 {MEM:#x}, 7\nstore_imm_u8 {:#x}, 7\necalli 0\ntrap", MEM + 4096);
    let quotas = vec![SlotIdx(1), SlotIdx(2), SlotIdx(9), SlotIdx(4)];
    let image = rig.image(&writes, |image| {
        image.quota_slots = quotas.clone();
        image.memory_mappings = vec![persistent(MEM, 2, 7)];
    });
    let own = rig.instance(image, &slots);
    // Without quotas of its own it is its caller's that pay, and the caller's caller's.
    let image = rig.image(&writes, |image| image.memory_mappings = vec![persistent(MEM, 2, 7)]);
    let callee = rig.instance(image, &[]);
    let image = rig.image(&format!("{}ecalli 0\ntrap", ask(26, &[2, 0])), |_| ());
    let between = rig.instance(image, &[(2, callee)]);
    let image = rig.image(&format!("{}move_reg a0, a1\necalli 0\ntrap", ask(26, &[8, 0])), |image| {
        image.quota_slots = quotas.clone();
    });
    let caller = rig.instance(image, &[&slots[..], &[(8, between)]].concat());
    for (before, after) in [
        ([8191, 10_000], Some([8191, 1808])),
        ([8192, 10_000], Some([0, 10_000])),
        ([0, 8192], Some([0, 0])),
        ([8191, 8191], None),
    ] {
        for who in [own, caller] {
            rig.vm.kernel_assist.set_quota(3, before[0]);
            rig.vm.kernel_assist.set_quota(4, before[1]);
            let result = rig.call(who, 0, &[], GAS);
            let left = [3, 4].map(|id| rig.vm.kernel_assist.quota(id));
            assert_eq!(left, after.unwrap_or(before));
            if after.is_none() {
                // The first is named; below a caller it is a code that the one between hands on.
                assert!(matches!(result, CallResult::Faulted { .. }) == (who == own), "{result:?}");
                assert!(rig.what().starts_with("storage exhausted: quota 3 cannot pay"), "{}", rig.what());
            }
        }
    }
}

#[test]
fn exhausted_storage_is_caught_topped_up_and_resumed() {
    for (pages, reply) in [(1, true), (3, true), (3, false)] {
        let mut rig = Rig::new();
        let callee = writing(&mut rig, pages, reply);
        let set = rig.kernel(KernelImage::SetStorageQuota);
        rig.vm.kernel_assist.set_quota(3, 1 << 20);
        let (value, done) = rig.halt(callee);
        assert_eq!((value, rig.vm.kernel_assist.quota(3)), (42, (1 << 20) - 4096 * pages));
        let straight = rig.call(callee, 0, &[], GAS).gas_used();
        let marker = marker_hash(KernelImage::StorageExhaustedMarker);
        let handler = catching(&mut rig, &topping_up(3, 20_000), &[marker], &[(2, callee), (3, set)]);
        for quota in [0, 1, 4095, 4096 * pages - 1] {
            rig.vm.kernel_assist.set_quota(3, quota);
            let (value, after) = rig.halt(handler);
            assert_eq!((value, rig.slot(after, 2)), (42, Some(done)), "{}", rig.words());
            assert_eq!(rig.vm.kernel_assist.quota(3), 20_000 - 4096 * pages);
        }
        // The embedder as the handler: nothing is charged until it is done, and then as in a straight run.
        rig.vm.kernel_assist.set_quota(3, 4096 * pages - 1);
        rig.catch_kernel(KernelImage::StorageExhaustedMarker);
        let paused = rig.call(callee, 0, &[], GAS);
        assert_eq!(Rig::slot0(&paused), Some(rig.handle(KernelImage::Quota, 3)));
        assert_eq!(rig.vm.kernel_assist.quota(3), 4096 * pages - 1);
        rig.vm.kernel_assist.set_quota(3, 4096 * pages);
        let result = rig.resume(None);
        assert_eq!(rig.halted(&result), (42, done));
        assert_eq!(paused.gas_used() + result.gas_used(), straight);
        assert_eq!(rig.vm.kernel_assist.quota(3), 0);
    }
}

#[test]
fn minting_and_saving_repeat_when_storage_is_there() {
    for (op, args, result) in [(23, [MEM, 5, u64::MAX, 6], 6), (25, [8, u64::MAX, 4, 0], 0)] {
        let mut rig = Rig::new();
        let (quota, save) = (rig.handle(KernelImage::Quota, 3), rig.kernel(KernelImage::HostSave));
        let bytes = rig.data(b"bytes");
        let image = rig.image(&format!("{}ecalli 0\ntrap", ask(op, &args)), |image| {
            image.quota_slots = vec![SlotIdx(1)];
            image.memory_mappings = vec![persistent(MEM, 1, 8)];
        });
        let instance = rig.instance(image, &[(1, quota), (4, save), (8, bytes)]);
        rig.vm.kernel_assist.set_quota(3, 5);
        let straight = rig.call(instance, 0, &[], GAS);
        let expected = rig.halted(&straight);
        assert_eq!(rig.vm.kernel_assist.quota(3), 0);
        // Nobody catches it: code 6, and nothing is done.
        let files = rig.vm.kernel_assist.inner.files().clone();
        assert_eq!(rig.fault(instance), ExitReason::Trap);
        assert_eq!(rig.vm.last_fault().unwrap().code(), FaultCode::StorageExhausted);
        assert_eq!(rig.vm.kernel_assist.inner.files(), &files);
        rig.catch_kernel(KernelImage::StorageExhaustedMarker);
        rig.vm.kernel_assist.set_quota(3, 4);
        let paused = rig.call(instance, 0, &[], GAS);
        assert!(matches!(paused, CallResult::Paused { .. }), "{paused:?}");
        rig.vm.kernel_assist.set_quota(3, 6);
        let done = rig.resume(None);
        assert_eq!(paused.gas_used() + done.gas_used(), straight.gas_used());
        assert_eq!(rig.vm.kernel_assist.quota(3), 1);
        let (value, after) = rig.halted(&done);
        if op == 23 {
            assert_eq!((value, after), expected);
            assert_eq!(rig.slot_bytes(after, result), b"bytes");
        } else {
            assert_eq!((after, rig.vm.kernel_assist.inner.files()[&value]), (expected.1, bytes));
        }
    }
}

#[test]
fn a_change_of_image_repeats_when_storage_is_there() {
    let mut rig = Rig::new();
    let quota = rig.handle(KernelImage::Quota, 3);
    let text = format!("store_imm_u8 {MEM:#x}, 7\n{}ecalli 0\ntrap", ask(17, &[4, 0]));
    let tweak = |image: &mut Image| {
        image.quota_slots = vec![SlotIdx(1)];
        image.memory_mappings = vec![persistent(MEM, 1, 7)];
    };
    let image = rig.image(&text, tweak);
    let next = rig.image(&text, |image| {
        tweak(image);
        image.yield_marker_slot = Some(SlotIdx(9));
    });
    let instance = rig.instance(image, &[(1, quota), (4, next)]);
    rig.vm.kernel_assist.set_quota(3, 4096);
    let straight = rig.call(instance, 0, &[], GAS);
    let expected = rig.halted(&straight);
    rig.vm.kernel_assist.set_quota(3, 4095);
    assert_eq!(rig.fault(instance), ExitReason::Trap);
    assert!(rig.what().starts_with("storage exhausted: quota 3 cannot pay, and nobody catches that"));
    rig.catch_kernel(KernelImage::StorageExhaustedMarker);
    let paused = rig.call(instance, 0, &[], GAS);
    assert!(matches!(paused, CallResult::Paused { .. }), "{paused:?}");
    rig.vm.kernel_assist.set_quota(3, 4096);
    let done = rig.resume(None);
    assert_eq!(rig.halted(&done), expected);
    assert_eq!(paused.gas_used() + done.gas_used(), straight.gas_used());
    assert_eq!((rig.as_instance(expected.1).image_hash, rig.slot_bytes(expected.1, 7)), (next, vec![7]));
}

/// Reads a byte of page 0x90, writes the next, reads it back, yields nothing.
const PAGED: &str = "load_u8 a0, 0x90001
    store_imm_u8 0x90002, 5
    load_u8 a1, 0x90002
    add_64 a0, a0, a1
    ecalli 0
    trap";

#[test]
fn a_pager_gives_pages() {
    let mut rig = Rig::new();
    let marker = marker_hash(KernelImage::Pager);
    let callee = rig.program(PAGED, &[]);
    let (full, large, cnode) = (rig.data(&[3; 4096]), rig.data(&[3; 4097]), rig.cnode(1, &[]));
    let give = format!("{}{}{}ecalli 0\ntrap", ask(CALL, &[2, 0]), ask(4, &[8, 0]), ask(RESUME, &[2]));
    for (page, outcome) in
        [(Some(full), (8, 0)), (None, (5, 0)), (Some(large), (4, 2)), (Some(cnode), (4, 2))]
    {
        let mut slots = vec![(2, callee)];
        slots.extend(page.map(|page| (8, page)));
        let handler = catching(&mut rig, &give, &[marker], &slots);
        let result = rig.call(handler, 0, &[], GAS);
        let (value, after) = rig.halted(&result);
        let seen = rig.seen();
        assert_eq!((seen[0].a(0), seen[0].a(1), seen[0].a(2)), (1, 1, 0x9_0000));
        assert_eq!((value, seen[2].a(1)), outcome, "{}", rig.words());
        // The page was ephemeral: the callee is what it was.
        assert_eq!(rig.slot(after, 2), Some(callee));
        assert_eq!(Rig::slot0(&result), None, "what the handler gave is gone");
        let (_, again) = rig.halt(after);
        let _ = again;
        let seen = rig.seen();
        assert_eq!((seen[0].a(0), seen[0].a(2)), (1, 0x9_0000), "the next call needs it again");
    }
}

#[test]
fn an_address_inside_a_mapping_cannot_be_paged() {
    let mut rig = Rig::new();
    let marker = marker_hash(KernelImage::Pager);
    let pin = rig.data(b"pinned");
    let image = rig.image(&format!("store_imm_u8 {MEM:#x}, 1\ntrap"), |image| {
        image.pinned_slots.insert(SlotIdx(7), pin);
        image.memory_mappings = vec![persistent(MEM, 1, 7)];
    });
    let callee = rig.instance(image, &[]);
    let text = format!("{}{}ecalli 0\ntrap", ask(CALL, &[2, 0]), ask(RESUME, &[2]));
    let handler = catching(&mut rig, &text, &[marker], &[(2, callee)]);
    assert_eq!(rig.halt(handler), (FaultCode::PageFault.number(), handler));
    assert_eq!(pairs(&mut rig), [(1, 1), (4, 2)]);
    // Nor is the low zone paged: that is a panic.
    let callee = rig.program("load_u8 a0, 0x100\ntrap", &[]);
    let handler = catching(&mut rig, &text, &[marker], &[(2, callee)]);
    let handler = rig.call(handler, 0, &[], GAS);
    assert!(matches!(handler, CallResult::Faulted { reason: ExitReason::Trap, .. }), "{handler:?}");
    assert_eq!(pairs(&mut rig), [(2, 2)], "the call ended with a panic, there is nothing to resume");
}

#[test]
fn nobody_pages() {
    let mut rig = Rig::new();
    let callee = rig.program(PAGED, &[]);
    assert_eq!(rig.fault(callee), ExitReason::PageFault(0x9_0000));
    rig.catch_kernel(KernelImage::Pager);
    let paused = rig.call(callee, 0, &[], GAS);
    assert!(matches!(paused, CallResult::Paused { marker_payload: None, .. }), "{paused:?}");
    let page = rig.data(&[0, 9]);
    let result = rig.resume(Some(page));
    assert_eq!(rig.halted(&result), (14, callee));
}

#[test]
fn a_marker_must_be_an_instance_of_a_guest() {
    let mut rig = Rig::new();
    for image in [KernelImage::OogMarker, KernelImage::StorageExhaustedMarker, KernelImage::Pager] {
        let marker = rig.kernel(image);
        rig.vm.kernel_assist.inner.catch_at_root(marker);
        assert_eq!(marker, marker_hash(image));
        let instance = rig.program("load_imm a0, 1\necalli 16\ntrap", &[(1, marker)]);
        assert_eq!(rig.fault(instance), ExitReason::Trap);
        assert!(
            rig.what().starts_with("HOST_YIELD refused: not available: only the kernel yields this marker")
        );
    }
}

#[test]
fn a_million_pauses_in_bounded_memory() {
    const PAUSES: u64 = 1_000_000;
    let mut rig = Rig::new();
    let marker = rig.marker("m");
    let yielder = rig.program("load_imm a0, 1\nfallthrough\nloop: ecalli 16\njump @loop", &[(1, marker)]);
    let text = format!(
        "load_imm_64 s0, {PAUSES}
        load_imm a0, 2
        load_imm a1, 0
        ecalli 26
        fallthrough
        loop: load_imm a0, 2
        ecalli 27
        add_imm_64 s0, s0, -1
        branch_ne_imm s0, 0, @loop
        load_imm a0, 2
        ecalli 28
        ecalli 0
        trap"
    );
    let handler = catching(&mut rig, &text, &[marker], &[(2, yielder)]);
    let len = rig.cache.len();
    let result = rig.call(handler, 0, &[], u64::MAX);
    assert_eq!(rig.halted(&result).1, handler);
    assert_eq!(rig.cache.len(), len);
    assert!(matches!(rig.get(handler), Cap::Instance(_)));
}
