//! What a call does to the kernel's tables (meters, quotas, files) stands, whatever becomes of the call.
//!
//! A fault takes back values: every name that the caller can reach is what it was. Tables are no values: like gas,
//! what was spent, set or saved is so from then on. `docs/capability-machine.md` says why: a paused computation is a
//! value that can be resumed elsewhere and more than once, so nobody could say what is to be taken back, and a run
//! that was paused would differ from one that was not. `p6_pause_transparency.rs` has the other half: the tables
//! are the same however a run was paused.

mod support;

use javm::{CallResult, InProcessKernelAssist, KernelAssist, KernelImage};
use javm_cap::{CapHash, SlotIdx};
use javm_exec::ExitReason;
use support::{GAS, MEM, Rig, load_args, persistent};

const METER: u64 = 9;
const QUOTA: u64 = 5;

fn ask(number: u32, args: &[u64]) -> String {
    format!("{}ecalli {number}\n", load_args(args))
}

/// One effect after the other; slot 6 holds an instance that writes two pages and halts.
fn steps() -> Vec<String> {
    vec![
        ask(26, &[2, 0, METER, 77]),
        ask(26, &[3, 0, QUOTA, 50_000]),
        ask(25, &[1, 4, 5]),
        ask(23, &[MEM, 300, 4, 9]),
        // What faults here would not be an effect that stands.
        format!("{}branch_ne_imm a1, 0, @failed\n", ask(26, &[6, 0])),
        ask(25, &[1, u64::MAX, 5]),
        ask(26, &[2, 0, METER, 5]),
    ]
}

/// The tables after so many steps.
fn expected(done: usize, content: CapHash) -> InProcessKernelAssist {
    let mut tables = Rig::new().vm.kernel_assist.inner;
    tables.set_quota(QUOTA, 1);
    if done > 0 {
        tables.set_gas_meter(METER, if done > 6 { 5 } else { 77 });
    }
    if done > 1 {
        tables.set_quota(QUOTA, 50_000);
    }
    if done > 2 {
        tables.save_file(content, 7, Some(QUOTA));
    }
    if done > 3 {
        tables.set_quota(QUOTA, 50_000 - 7 - 300);
    }
    if done > 4 {
        tables.set_quota(QUOTA, 50_000 - 7 - 300 - 2 * 4096);
    }
    if done > 5 {
        // The active quota pays.
        tables.save_file(content, 7, Some(QUOTA));
    }
    tables
}

struct World {
    rig: Rig,
    content: CapHash,
    marker: CapHash,
    callee: CapHash,
}

/// A callee that does so many steps, has dirty pages, and ends so.
fn world(done: usize, end: &str) -> World {
    let mut rig = Rig::new();
    rig.vm.kernel_assist.set_quota(QUOTA, 1);
    let (content, old, marker) = (rig.data(b"content"), rig.data(&[3; 8000]), rig.marker("m"));
    let tweak = |image: &mut javm_cap::image::Image| {
        image.memory_mappings = vec![persistent(MEM, 2, 7)];
        image.quota_slots = vec![SlotIdx(4)];
    };
    let slots = [
        (1, content),
        (2, rig.kernel(KernelImage::SetGasMeter)),
        (3, rig.kernel(KernelImage::SetStorageQuota)),
        (4, rig.handle(KernelImage::Quota, QUOTA)),
        (5, rig.kernel(KernelImage::HostSave)),
        (7, old),
        (8, marker),
    ];
    let writer = format!("store_imm_u8 {MEM:#x}, 1\nstore_imm_u8 {:#x}, 1\necalli 0\ntrap", MEM + 4096);
    let writer = rig.image(&writer, tweak);
    let writer = rig.instance(writer, &slots);
    let text = format!("{}store_imm_u8 {MEM:#x}, 4\n{end}\nfailed: trap", steps()[..done].concat());
    let image = rig.image(&text, tweak);
    let callee = rig.instance(image, &[&slots[..], &[(6, writer)]].concat());
    World { rig, content, marker, callee }
}

/// Calls it from an instance that must not notice but by the registers: φ8 and φ7.
fn below_a_caller(world: &mut World) -> (u64, u64) {
    let rig = &mut world.rig;
    let text = format!("{}ecalli 100\nload_imm a0, 0\necalli 0\ntrap", ask(26, &[2, 0]));
    let caller = rig.program(&text, &[(2, world.callee)]);
    assert_eq!(rig.halt(caller), (0, caller), "no name has changed");
    let seen = rig.seen();
    (seen[0].a(1), seen[0].a(0))
}

#[test]
fn effects_of_a_callee_that_faults_stand() {
    for done in 0..=steps().len() {
        for (end, code) in
            [("trap", 1), ("load_u8 a0, 0\necalli 0\ntrap", 2), ("load_u8 a0, 0x90000\ntrap", 4)]
        {
            let mut world = world(done, end);
            assert_eq!(below_a_caller(&mut world), (2, code));
            // The page that it had written itself is neither stored nor charged.
            let tables = expected(done, world.content);
            assert_eq!(world.rig.vm.kernel_assist.inner, tables, "{done} steps, then {end}");
        }
    }
}

#[test]
fn effects_of_an_outermost_call_that_faults_stand() {
    for done in 0..=steps().len() {
        let mut world = world(done, "trap");
        let before = world.rig.cache.len();
        assert_eq!(world.rig.fault(world.callee), ExitReason::Trap);
        assert_eq!(world.rig.vm.kernel_assist.inner, expected(done, world.content));
        // Of values, only what a file names has come.
        assert_eq!(world.rig.cache.len(), before);
    }
}

#[test]
fn effects_of_a_call_that_runs_out_of_gas_stand() {
    // Every budget at which it stops between two effects; what the last one cost is gone, too.
    let mut met = vec![false; steps().len() + 1];
    let mut straight = world(steps().len(), "trap");
    let CallResult::Faulted { gas_used: all, .. } = straight.rig.call(straight.callee, 0, &[], GAS) else {
        panic!()
    };
    for budget in (0..all).step_by(53) {
        let mut world = world(steps().len(), "trap");
        let result = world.rig.call(world.callee, 0, &[], budget);
        // Where the instance below it runs out, it gets a code, and traps.
        assert!(matches!(result, CallResult::Faulted { .. }), "{result:?}");
        let tables = &world.rig.vm.kernel_assist.inner;
        let done = (0..=steps().len()).find(|done| *tables == expected(*done, world.content));
        met[done.unwrap_or_else(|| panic!("{tables:?} with {budget}"))] = true;
    }
    // The last one stands only where there is gas for all.
    assert_eq!(met.iter().filter(|met| **met).count(), steps().len(), "{met:?}");
}

#[test]
fn effects_of_a_call_that_is_dropped_stand() {
    for done in 0..=steps().len() {
        // By its handler.
        let mut here = world(done, &format!("{}ecalli 0\ntrap", ask(16, &[8])));
        let catcher = here.rig.catcher(&[here.marker]);
        let text = format!("{}{}load_imm a0, 0\necalli 0\ntrap", ask(26, &[2, 0]), ask(28, &[2]));
        let image = here.rig.image(&text, |image| image.yield_marker_slot = Some(SlotIdx(1)));
        let handler = here.rig.instance(image, &[(1, catcher), (2, here.callee)]);
        assert_eq!(here.rig.halt(handler), (0, handler));
        assert_eq!(here.rig.vm.kernel_assist.inner, expected(done, here.content));
        // By the embedder.
        let mut here = world(done, &format!("{}ecalli 0\ntrap", ask(16, &[8])));
        here.rig.vm.kernel_assist.inner.catch_at_root(here.marker);
        let before = here.rig.vm.kernel_assist.inner.clone();
        let paused = here.rig.call(here.callee, 0, &[], GAS);
        assert!(matches!(paused, CallResult::Paused { .. }));
        here.rig.vm.drop_paused(javm_cap::SlotPath::root(0)).unwrap();
        let mut tables = expected(done, here.content);
        tables.catch_at_root(here.marker);
        assert_eq!(here.rig.vm.kernel_assist.inner, tables);
        // An embedder that wants them undone has kept its tables, and puts them back.
        here.rig.vm.kernel_assist.inner = before;
        let again = here.rig.call(here.callee, 0, &[], GAS);
        assert_eq!(again, paused);
        assert_eq!(here.rig.vm.kernel_assist.inner, tables);
    }
}

/// Gas that a callee took from a meter stays taken, and so does what it set the meter to.
#[test]
fn gas_of_a_meter_is_conserved_across_a_fault() {
    let mut rig = Rig::new();
    let (set, marker) = (rig.kernel(KernelImage::SetGasMeter), rig.marker("m"));
    let handle = rig.handle(KernelImage::Gas, METER);
    rig.vm.kernel_assist.inner.catch_at_root(marker);
    let text = format!("{}ecalli 100\ntrap", ask(26, &[2, 0, METER, 20_000]));
    let image = rig.image(&text, |image| image.gas_slots = vec![SlotIdx(6)]);
    let callee = rig.instance(image, &[(2, set), (6, handle)]);
    let text = format!("{}ecalli 100\n{}trap", ask(26, &[3, 0]), ask(16, &[8]));
    let caller = rig.program(&text, &[(3, callee), (8, marker)]);
    rig.vm.kernel_assist.set_gas_meter(METER, 10_000);
    let paused = rig.call(caller, 0, &[], GAS);
    let CallResult::Paused { gas_used, .. } = paused else { panic!("{paused:?}") };
    let seen = rig.seen();
    assert_eq!((seen[1].a(0), seen[1].a(1)), (1, 2), "it faulted");
    let (_, pool) = rig.vm.suspend(&mut rig.cache).unwrap();
    let (previous, left) = (seen[0].a(0), rig.vm.kernel_assist.gas_meter(METER));
    assert!(previous < 10_000 && left < 20_000);
    assert_eq!(gas_used, (GAS - pool) + (10_000 - previous) + (20_000 - left));
}
