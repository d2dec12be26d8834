//! Kernel-assisted instances: every endpoint, what is refused, and that gas is neither made nor lost.

mod support;

use javm::{
    CallResult, Entry, ExitReason, KernelAssist, KernelImage, VmError, kernel_assist::marker_hash,
    kernel_image_hash,
};
use javm_abi::status::FaultCode;
use javm_cap::{CapHash, SlotIdx, lineage};
use support::{GAS, Rig, Seen, at, load_args};

const CALL: u32 = 26;

fn ask(number: u32, args: &[u64]) -> String {
    format!("{}ecalli {number}\necalli 100\n", load_args(args))
}

/// Runs these calls one after the other: (slot, endpoint, argument, argument), and what each returned.
fn calls(
    rig: &mut Rig,
    slots: &[(u32, CapHash)],
    calls: &[[u64; 4]],
) -> (Vec<(u64, u64)>, CapHash, Option<CapHash>) {
    let text: String = calls.iter().map(|call| ask(CALL, call)).collect();
    let instance = rig.program(&format!("{text}ecalli 0\ntrap"), slots);
    let result = rig.call(instance, 0, &[], GAS);
    let (_, after) = rig.halted(&result);
    let seen = rig.seen().iter().map(|seen: &Seen| (seen.a(0), seen.a(1))).collect();
    (seen, after, Rig::slot0(&result))
}

const REFUSED: (u64, u64) = (FaultCode::Refused.number(), 2);
const NO_ENDPOINT: (u64, u64) = (FaultCode::NoSuchEndpoint.number(), 2);

#[test]
fn a_catcher_lists_markers_in_order_without_gaps() {
    let mut rig = Rig::new();
    let markers: Vec<CapHash> = ["a", "b", "c"].iter().map(|name| rig.marker(name)).collect();
    let catcher = rig.catcher(&[]);
    let mut slots: Vec<(u32, CapHash)> = (2..).zip(markers.iter().copied()).collect();
    slots.push((1, catcher));
    // In order of adding; again, refused; removal closes the gap; removed again, refused.
    let sequence = [[1, 0, 2, 0], [1, 0, 3, 0], [1, 0, 4, 0], [1, 0, 3, 0], [1, 1, 3, 0], [1, 1, 3, 0]];
    let (seen, after, _) = calls(&mut rig, &slots, &sequence);
    assert_eq!(seen, [(0, 0), (1, 0), (2, 0), REFUSED, (1, 0), REFUSED]);
    let after = rig.slot(after, 1).unwrap();
    assert_eq!(after, rig.catcher(&[markers[0], markers[2]]));
    assert_eq!(
        rig.as_instance(after).image_hash_chain,
        lineage::genesis(kernel_image_hash(KernelImage::YieldCatcher))
    );
    // The slots of the arguments are read, not moved.
    let (seen, after, read) = calls(&mut rig, &slots, &[[1, 0, 4, 0], [1, 0, 2, 0], [1, 2, 0, 0]]);
    assert_eq!(seen, [(0, 0), (1, 0), (0, 0)]);
    assert_eq!(rig.bytes(read.unwrap()), [markers[2], markers[0]].concat());
    assert_eq!(rig.slot(after, 2), Some(markers[0]));
    // Nothing is listed: an empty Data.
    let (_, _, read) = calls(&mut rig, &slots, &[[1, 2, 0, 0]]);
    assert_eq!(rig.bytes(read.unwrap()), b"");
}

#[test]
fn a_catcher_is_full_with_255_markers() {
    let mut rig = Rig::new();
    let mut markers: Vec<CapHash> = (0..255).map(|n| rig.marker(&n.to_string())).collect();
    let catcher = rig.catcher(&markers);
    let (first, more) = (markers[0], rig.marker("more"));
    let (seen, after, _) =
        calls(&mut rig, &[(1, catcher), (2, more), (3, first)], &[[1, 0, 2, 0], [1, 1, 3, 0], [1, 0, 2, 0]]);
    assert_eq!(seen, [REFUSED, (0, 0), (254, 0)]);
    assert_eq!(rig.what(), "call not started: the kernel refused: the catcher is full");
    markers.remove(0);
    markers.push(more);
    let expected = rig.catcher(&markers);
    assert_eq!(rig.slot(after, 1), Some(expected));
}

#[test]
fn only_instances_are_markers() {
    let mut rig = Rig::new();
    let (catcher, data) = (rig.catcher(&[]), rig.data(b"data"));
    let ty = rig.put(javm_cap::TypeCap::new([1; 32]));
    for endpoint in [0, 1] {
        for (slot, words) in [
            (2, "slot 2 holds a Data, Instance is needed"),
            (3, "slot 3 holds a Type, Instance is needed"),
            (9, "slot 9 is empty"),
            (1 << 62, "0x4000000000000000 is no slot path: bits 62..64 of a slot path must be zero"),
        ] {
            let text = format!("{}trap", ask(CALL, &[1, endpoint, slot]));
            let instance = rig.program(&text, &[(1, catcher), (2, data), (3, ty)]);
            assert_eq!(rig.fault(instance), ExitReason::Trap);
            assert!(
                rig.what().starts_with(&format!("HOST_CALL refused: {words} at offset 30")),
                "{}",
                rig.what()
            );
        }
    }
}

#[test]
fn a_marker_may_be_new_and_sit_in_a_cnode() {
    // A spawned instance has no hash until the catcher needs one.
    let mut rig = Rig::new();
    let (image, table, catcher) = (rig.image("trap", |_| ()), rig.cnode(8, &[]), rig.catcher(&[]));
    let cnode = rig.cnode(1, &[]);
    let text = format!("{}{}ecalli 0\ntrap", ask(18, &[3, 4, at(5, &[1])]), ask(CALL, &[1, 0, at(5, &[1])]),);
    let instance = rig.program(&text, &[(1, catcher), (3, image), (4, table), (5, cnode)]);
    let (_, after) = rig.halt(instance);
    let spawned = rig.slot(after, at(5, &[1])).unwrap();
    let expected = rig.catcher(&[spawned]);
    assert_eq!(rig.slot(after, 1), Some(expected));
}

#[test]
fn meters_and_quotas_are_set_and_handles_minted() {
    let mut rig = Rig::new();
    let slots: Vec<(u32, CapHash)> = [
        (1, KernelImage::SetGasMeter),
        (2, KernelImage::SetStorageQuota),
        (3, KernelImage::MintGas),
        (4, KernelImage::MintQuota),
        (5, KernelImage::CreateYieldCatcher),
    ]
    .map(|(slot, image)| (slot, rig.kernel(image)))
    .into();
    rig.vm.kernel_assist.set_gas_meter(7, 70);
    let (seen, after, _) =
        calls(&mut rig, &slots, &[[1, 0, 7, 700], [1, 0, 7, 7000], [2, 0, 7, 5], [2, 0, 7, u64::MAX]]);
    assert_eq!(seen, [(70, 0), (700, 0), (0, 0), (5, 0)]);
    assert_eq!((rig.vm.kernel_assist.gas_meter(7), rig.vm.kernel_assist.quota(7)), (7000, u64::MAX));
    assert!(
        (1..=5)
            .all(|slot| rig.slot(after, slot) == slots.iter().find(|s| u64::from(s.0) == slot).map(|s| s.1))
    );
    // Handles: equal to those that the embedder makes, whoever minted them.
    for (slot, image) in [(3, KernelImage::Gas), (4, KernelImage::Quota)] {
        for id in [0, 1, 255, 1 << 40, u64::MAX] {
            let (seen, _, minted) = calls(&mut rig, &slots, &[[slot, 0, id, 0]]);
            assert_eq!((seen, minted), (vec![(0, 0)], Some(rig.handle(image, id))));
        }
    }
    let (_, _, created) = calls(&mut rig, &slots, &[[5, 0, 0, 0]]);
    assert_eq!(created, Some(rig.catcher(&[])));
}

#[test]
fn the_root_pool_is_meter_0() {
    let mut rig = Rig::new();
    let set = rig.kernel(KernelImage::SetGasMeter);
    let text = format!("{}ecalli 34\necalli 0\ntrap", ask(CALL, &[1, 0, 0, 50_000]));
    let instance = rig.program(&text, &[(1, set)]);
    let (left, _) = rig.halt(instance);
    let seen = rig.seen();
    // What was in it is returned; what it holds now is spent from here on: the probe, and GAS_LEFT.
    assert_eq!((seen[0].gas, left), (50_000 - 100, 50_000 - 100 - 40));
    assert!(seen[0].a(0) > GAS - 10_000 && seen[0].a(1) == 0);
}

#[test]
fn what_has_no_endpoint_says_so() {
    let mut rig = Rig::new();
    let endpoints = |image| match image {
        KernelImage::YieldCatcher => 3,
        KernelImage::SetGasMeter
        | KernelImage::SetStorageQuota
        | KernelImage::MintGas
        | KernelImage::MintQuota
        | KernelImage::CreateYieldCatcher => 1,
        _ => 0,
    };
    for image in KernelImage::ALL {
        for endpoint in [endpoints(image), 255, 256, u64::MAX] {
            let instance = rig.kernel(image);
            let (seen, after, slot0) = calls(&mut rig, &[(1, instance)], &[[1, endpoint, 1, 1]]);
            assert_eq!(
                (seen, rig.slot(after, 1), slot0),
                (vec![NO_ENDPOINT], Some(instance), None),
                "{image:?}"
            );
            assert_eq!(rig.what(), format!("call not started: the image has no endpoint {endpoint}"));
        }
        // Guests call them; an embedder has the kernel itself.
        let instance = rig.kernel(image);
        let error = rig.vm.invoke_cached(&mut rig.cache, instance, 0, [0; 4], GAS);
        assert_eq!(error, Err(VmError::KernelAssisted { image: kernel_image_hash(image) }));
        assert_eq!(KernelImage::from_hash(&kernel_image_hash(image)), Some(image));
    }
}

#[test]
fn slot_0_stays_where_a_number_is_returned() {
    let mut rig = Rig::new();
    let (set, pad) = (rig.kernel(KernelImage::SetGasMeter), rig.data(b"pad"));
    let instance = rig.program(&format!("{}ecalli 0\ntrap", ask(CALL, &[1, 0, 9, 1])), &[(1, set)]);
    let result = rig.call_with(instance, 0, &[], Some(pad), GAS);
    assert_eq!(Rig::slot0(&result), Some(pad));
}

#[test]
fn a_catcher_made_by_a_guest_catches() {
    let mut rig = Rig::new();
    let (create, marker) = (rig.kernel(KernelImage::CreateYieldCatcher), rig.marker("m"));
    let yielder = rig.program(&format!("{}ecalli 0\ntrap", ask(16, &[1])), &[(1, marker)]);
    let text = format!(
        "{}{}{}{}{}{}{}ecalli 0\ntrap",
        ask(CALL, &[2, 0]),
        ask(2, &[0, 1]),
        ask(CALL, &[1, 0, 4]),
        ask(CALL, &[3, 0]),
        ask(28, &[3]),
        // Revoked, nobody catches it any more.
        ask(CALL, &[1, 1, 4]),
        ask(CALL, &[3, 0]),
    );
    let image = rig.image(&text, |image| image.yield_marker_slot = Some(SlotIdx(1)));
    let instance = rig.instance(image, &[(2, create), (3, yielder), (4, marker)]);
    let (value, _) = rig.halt(instance);
    assert_eq!(value, FaultCode::UnhandledMarker.number());
    let seen: Vec<_> = rig.seen().iter().map(|seen| (seen.a(0), seen.a(1))).collect();
    assert_eq!(seen[2..], [(0, 0), (1, 1), (3, 1), (0, 0), (5, 2)]);
}

/// Gas used is gas taken, whoever pays, whatever faults, is paused, topped up or dropped.
#[test]
fn gas_is_conserved() {
    let mut outcomes = [0; 2];
    for seed in 0..3000u64 {
        let mut state = seed;
        let mut random = |n: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % n
        };
        let mut rig = Rig::new();
        let oog = marker_hash(KernelImage::OogMarker);
        let (nine, ten) = (rig.handle(KernelImage::Gas, 9), rig.handle(KernelImage::Gas, 10));
        let marker = rig.marker("m");
        rig.vm.kernel_assist.inner.catch_at_root(marker);
        let work = "load_imm t0, 30\nfallthrough\nloop: add_imm_64 t0, t0, -1\nbranch_ne_imm t0, 0, @loop\n";
        let end = ["ecalli 0\ntrap", "trap", "load_imm a0, 1\necalli 16\necalli 0\ntrap"][random(3) as usize];
        let image =
            rig.image(&format!("{work}{end}"), |image| image.gas_slots = vec![SlotIdx(8), SlotIdx(9)]);
        let worker = rig.instance(image, &[(1, marker), (8, nine), (9, ten)]);
        let free = rig.program(&format!("{work}ecalli 0\ntrap"), &[]);
        let set = rig.kernel(KernelImage::SetGasMeter);
        let catcher = rig.catcher(&[oog]);
        // Out of gas is topped up or dropped; then another runs on the own pool.
        let handled = if random(2) == 0 {
            format!("{}{}", ask(CALL, &[4, 0, 9, 2000]), ask(27, &[2]))
        } else {
            ask(28, &[2])
        };
        let text = format!(
            "{}ecalli 26\nbranch_ne_imm a1, 1, @done\n{handled}fallthrough\ndone: {}load_imm a0, 5\necalli 16\ntrap",
            load_args(&[2, 0]),
            ask(CALL, &[3, 0]),
        );
        let image = rig.image(&text, |image| image.yield_marker_slot = Some(SlotIdx(1)));
        let root = rig.instance(image, &[(1, catcher), (2, worker), (3, free), (4, set), (5, marker)]);
        let (a, b) = (random(900), random(600));
        rig.vm.kernel_assist.set_gas_meter(9, a);
        rig.vm.kernel_assist.set_gas_meter(10, b);
        rig.catch_kernel(KernelImage::OogMarker);
        let budget = random(12_000);
        let mut given = budget;
        let mut result = rig.call(root, 0, &[], budget);
        let mut used = result.gas_used();
        let mut pauses = 0;
        let mut left = None;
        while let CallResult::Paused { marker_payload, .. } = result {
            let own = Some(rig.handle(KernelImage::Gas, 0));
            // The root runs: it is alone, or the worker is paused above it.
            let root_runs = match rig.vm.stack.entries().last() {
                Some(Entry::Reference(reference)) => reference.referent == 0,
                _ => rig.vm.stack.len() == 1,
            };
            let last = root_runs && marker_payload != own.map(Into::into);
            if last || random(2) == 0 {
                let (value, pool) = rig.vm.suspend(&mut rig.cache).unwrap();
                if last {
                    // The root's last yield: what is left in the pool shows.
                    left = Some(pool);
                    break;
                }
                rig.vm.restore(&mut rig.cache, value).unwrap();
                rig.vm.add_gas(pool);
            }
            pauses += 1;
            let more = random(5000);
            given += more;
            rig.vm.add_gas(more);
            result = rig.resume(None);
            used += result.gas_used();
        }
        // A top-up is known by what the call of SetGasMeter returned.
        let added: u64 = rig
            .seen()
            .iter()
            .filter(|seen| seen.a(3) == 2000 && seen.a(2) == 9 && seen.a(1) == 0)
            .map(|seen| 2000 - seen.a(0))
            .take(1)
            .sum();
        let from_meters =
            a + b + added - rig.vm.kernel_assist.gas_meter(9) - rig.vm.kernel_assist.gas_meter(10);
        let pool = left.unwrap_or_else(|| panic!("seed {seed}: {result:?}: {}", rig.words()));
        assert_eq!(used, from_meters + given - pool, "seed {seed}");
        outcomes[usize::from(pauses > 0)] += 1;
    }
    assert!(outcomes[0] > 100 && outcomes[1] > 100, "{outcomes:?}");
}
