//! Pauses as values: a paused computation is hashed, copied, stored, moved and resumed, and nothing shows that.

mod support;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use javm::{
    CallResult, Emit, ExitReason, KernelImage, Vm, VmError, kernel_assist::marker_hash, kernel_image_hash,
};
use javm_abi::status::FaultCode;
use javm_cap::{
    CNodeCap, CacheDirectory, Cap, CapHash, CapHashOrRef, CapStore, InstanceCap, SlotIdx, SlotPath, Status,
    StoreError, decode, encode, lineage,
};
use support::{GAS, MEM, Rig, Seen, at, ephemeral, load_args, persistent};

/// A store in memory.
#[derive(Default)]
struct MapStore(Mutex<BTreeMap<CapHash, Vec<u8>>>);

impl CapStore for MapStore {
    fn get(&self, hash: &CapHash) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.lock().unwrap().get(hash).cloned())
    }

    fn put(&self, hash: &CapHash, bytes: &[u8]) -> Result<(), StoreError> {
        self.0.lock().unwrap().insert(*hash, bytes.to_vec());
        Ok(())
    }
}

/// Everything that a value reaches, each after what it names.
fn reachable(cache: &CacheDirectory, root: CapHash) -> Vec<(CapHash, Cap)> {
    let mut done = BTreeMap::new();
    let mut order = Vec::new();
    let mut stack = vec![(root, false)];
    while let Some((hash, ready)) = stack.pop() {
        if ready {
            if done.insert(hash, ()).is_none() {
                order.push((hash, (*cache.get(hash.into()).unwrap()).clone()));
            }
        } else if !done.contains_key(&hash)
            && let Some(cap) = cache.get(hash.into())
        {
            stack.push((hash, true));
            cap.for_each_child(|name| stack.push((*name.as_hash().unwrap(), false)));
        }
    }
    order
}

/// What becomes of a pause before it is resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// It stays on the stack.
    Stay,
    /// It is taken off the machine and put back.
    Suspend,
    /// It goes through a store, to a fresh machine.
    Store,
    /// It goes as bytes, value by value, to a fresh machine.
    Bytes,
}

const WAYS: [Way; 4] = [Way::Stay, Way::Suspend, Way::Store, Way::Bytes];

fn fresh(rig: &Rig, cache: CacheDirectory) -> Rig {
    Rig { vm: Vm::new(rig.vm.kernel_assist.clone()), cache }
}

/// Moves a paused stack; what is left of the gas goes along.
fn go(rig: Rig, way: Way) -> Rig {
    let mut rig = rig;
    if way == Way::Stay {
        return rig;
    }
    let (value, left) = rig.vm.suspend(&mut rig.cache).unwrap();
    assert!(rig.vm.stack.is_empty());
    let mut rig = match way {
        Way::Stay | Way::Suspend => rig,
        Way::Store => {
            let store = MapStore::default();
            rig.cache.persist(value, &store).unwrap();
            fresh(&rig, CacheDirectory::with_store(Arc::new(store)))
        }
        Way::Bytes => {
            let mut cache = CacheDirectory::new();
            for (hash, cap) in reachable(&rig.cache, value) {
                let bytes = encode(&cap).unwrap();
                assert_eq!(cache.put_cap(&decode(&bytes).unwrap()), Ok(hash));
            }
            fresh(&rig, cache)
        }
    };
    rig.vm.restore(&mut rig.cache, value).unwrap();
    rig.vm.add_gas(left);
    rig
}

/// What is left of a run, and all that anybody could see of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct End {
    result: CallResult,
    gas: u64,
    emits: Vec<Emit>,
    seen: Vec<(u64, [u64; 13])>,
    yields: Vec<Option<CapHash>>,
}

/// Runs an instance, beginning with so much gas and getting plenty when that is gone; the second number says how
/// often it was paused for gas, the third what had been used at the first time.
fn run(mut rig: Rig, instance: CapHash, gas: u64, way: Way) -> (End, u64, u64) {
    let mut result = rig.call(instance, 0, &[], gas);
    let (mut used, mut yields, mut stops, mut first) = (result.gas_used(), Vec::new(), 0, 0);
    let mut emits = Vec::new();
    while let CallResult::Paused { .. } = result {
        let payload = Rig::slot0(&result);
        let kernel =
            |image| payload.is_some_and(|p| rig.as_instance(p).image_hash == kernel_image_hash(image));
        let is_instance = payload.is_some_and(|p| matches!(rig.get(p), Cap::Instance(_)));
        let out_of_gas = is_instance && kernel(KernelImage::Gas);
        emits.extend(rig.vm.take_emits());
        rig = go(rig, way);
        result = if out_of_gas {
            stops += 1;
            if stops == 1 {
                first = used;
            }
            rig.vm.add_gas(GAS);
            rig.resume(None)
        } else {
            yields.push(payload);
            let answer = rig.data(&[1, yields.len() as u8]);
            rig.resume(Some(answer))
        };
        used += result.gas_used();
    }
    let seen = rig.seen().iter().map(|Seen { pc, gpr, .. }| (*pc, *gpr)).collect();
    emits.extend(rig.vm.take_emits());
    let result = match result {
        CallResult::Halt { return_value, post_instance_hash, reflected_slot0, .. } => {
            CallResult::Halt { return_value, post_instance_hash, reflected_slot0, gas_used: 0 }
        }
        other => panic!("{other:?}: {}", rig.words()),
    };
    (End { result, gas: used, emits, seen, yields }, stops, first)
}

fn ask(number: u32, args: &[u64]) -> String {
    format!("{}ecalli {number}\necalli 100\n", load_args(args))
}

/// Calls slot 2, and as long as that comes back paused does `meanwhile` and resumes.
fn handling(meanwhile: &str) -> String {
    format!(
        "{}ecalli 26
        fallthrough
        again: ecalli 100
        branch_ne_imm a1, 1, @done
        {meanwhile}
        {}ecalli 27
        jump @again
        done: ecalli 0
        trap",
        load_args(&[2, 0]),
        load_args(&[2]),
    )
}

/// Four instances deep, with every kind of memory, markers that the embedder, a handler and nobody between catch,
/// pages from a pager, events, a table that changes, and a change of the image on the way.
fn scenario() -> (Rig, CapHash) {
    let mut rig = Rig::new();
    rig.catch_kernel(KernelImage::OogMarker);
    let (inner, outer) = (rig.marker("handler"), rig.marker("embedder"));
    rig.vm.kernel_assist.inner.catch_at_root(outer);
    let (old, new, page) = (rig.data(&[7; 5000]), rig.data(b"new"), rig.data(&[9; 4096]));

    let body = format!(
        "store_imm_u8 {MEM:#x}, 1\nstore_imm_u8 {:#x}, 0\nstore_imm_u8 {:#x}, 3\nstore_imm_u8 0x1234, 4\n\
         store_imm_u8 0x3000, 0\n{}{}{}{}{}{}{}",
        // A byte of the persistent page becomes zero, one of the ephemeral page is written.
        MEM + 4097,
        MEM + 0x2_0005,
        ask(5, &[9, 2]),
        ask(23, &[MEM, 200, u64::MAX, at(9, &[1])]),
        ask(33, &[9, 8]),
        ask(16, &[1]),
        ask(16, &[3]),
        // Slot 0 goes to slot 10; a page that only a pager has is read and written.
        ask(2, &[0, 10]),
        "load_u8 t0, 0x90001\nstore_imm_u8 0x90002, 5\nload_u8 t1, 0x90002\necalli 100\n",
    );
    let rest = format!(
        "{}{}{}{}load_u8 t0, {:#x}\nload_u8 t1, {:#x}\nload_u8 t2, 0x1234\nload_u8 s0, 0x90002\nload_u8 s1, {:#x}\n\
         ecalli 100\n{}",
        // The slot that memory came from changes: the slot stands, the memory goes on.
        ask(1, &[8, 7]),
        ask(16, &[3]),
        ask(16, &[1]),
        "store_imm_u8 0x40002, 77\n",
        MEM + 2,
        MEM + 0x2_0005,
        MEM + 4999,
        ask(17, &[4, 0]),
    );
    let text = format!("{body}{rest}{}load_imm a0, 21\necalli 0\ntrap", ask(16, &[3]));
    let tweak = |image: &mut javm_cap::image::Image| {
        image.memory_mappings = vec![persistent(MEM, 2, 7), ephemeral(MEM + 0x2_0000, 1)];
    };
    let first = rig.image(&text, tweak);
    let second = rig.image(&text, |image| {
        image.memory_mappings = vec![ephemeral(MEM + 0x2_0000, 2)];
    });
    let slots = [(1, inner), (3, outer), (4, second), (7, old), (8, new)];
    let table = rig.cnode(8, &slots);
    let worker = rig.put(Cap::instance_with_overlays(
        lineage::genesis(first),
        first,
        table,
        &[(0x1000, b"anonymous"), (0x3000, &[6; 100])],
        0x3500,
        [0; 13],
        0,
        0,
    ));

    let middle = rig.image(
        &format!(
            "store_imm_u8 {MEM:#x}, 8\n{}store_imm_u8 {:#x}, 9\necalli 0\ntrap",
            ask(26, &[2, 0]),
            MEM + 1
        ),
        |image| image.memory_mappings = vec![persistent(MEM, 1, 7)],
    );
    let middle = rig.instance(middle, &[(2, worker)]);

    // The handler calls another, shows the embedder something, and gives the page.
    let helper = rig.image(
        &format!("load_u8 a0, {MEM:#x}\nadd_imm_64 a0, a0, 1\nstore_u8 a0, {MEM:#x}\necalli 0\ntrap"),
        |image| {
            image.memory_mappings = vec![persistent(MEM, 1, 7)];
        },
    );
    let helper = rig.instance(helper, &[]);
    let meanwhile = [
        "move_reg s1, a0\n".to_owned(),
        ask(4, &[0, 20]),
        ask(26, &[5, 0]),
        ask(33, &[5, u64::MAX]),
        ask(16, &[6]),
        ask(1, &[8, 0]),
    ]
    .concat();
    let pager = rig.kernel(KernelImage::Pager);
    let catcher = rig.catcher(&[inner, pager]);
    let handler = rig.image(&handling(&meanwhile), |image| image.yield_marker_slot = Some(SlotIdx(1)));
    let handler = rig.instance(handler, &[(1, catcher), (2, middle), (5, helper), (6, outer), (8, page)]);
    let cnode = rig.cnode(2, &[(3, handler)]);
    let root = rig.program(
        &format!("{}{}ecalli 0\ntrap", ask(33, &[9, 9]), ask(26, &[at(4, &[3]), 0])),
        &[(4, cnode), (9, new)],
    );
    rig.seen();
    (rig, root)
}

fn same(a: &End, b: &End, words: &str) {
    assert_eq!(a.result, b.result, "{words}");
    assert_eq!(a.gas, b.gas, "{words}");
    assert_eq!(a.emits, b.emits, "{words}");
    assert_eq!(a.seen, b.seen, "{words}");
    assert_eq!(a.yields, b.yields, "{words}");
}

#[test]
fn a_run_that_was_paused_equals_one_that_was_not() {
    let (rig, root) = scenario();
    let (straight, stops, _) = run(rig, root, GAS, Way::Stay);
    assert_eq!(stops, 0);
    assert!(matches!(straight.result, CallResult::Halt { return_value: 21, .. }), "{straight:?}");
    // Three markers of the worker go to the embedder, and one of the handler each time that it handles.
    assert_eq!((straight.yields.len(), straight.emits.len()), (6, 5), "{straight:?}");
    for way in WAYS {
        let (rig, root) = scenario();
        let (end, ..) = run(rig, root, GAS, way);
        same(&end, &straight, &format!("{way:?} at every yield"));
    }
    // Out of gas at every charge: the least gas that gets past each point, found by bisection.
    let stops_at = |gas: u64| {
        let (rig, root) = scenario();
        let (_, stops, used) = run(rig, root, gas, Way::Stay);
        (stops > 0).then_some(used)
    };
    let (mut gas, mut points) = (0, 0);
    while let Some(used) = stops_at(gas) {
        for way in WAYS {
            let (rig, root) = scenario();
            let (end, stops, first) = run(rig, root, gas, way);
            same(&end, &straight, &format!("{way:?} with {gas} gas"));
            assert_eq!((stops, first), (1, used));
        }
        points += 1;
        let mut past = straight.gas;
        while gas + 1 < past {
            let middle = gas + (past - gas) / 2;
            if stops_at(middle) == Some(used) { gas = middle } else { past = middle }
        }
        gas = past;
    }
    assert_eq!(gas, straight.gas, "with what it costs it does not stop");
    assert!(points > 80, "{points}");
}

/// Every point of out of gas in one run: it gets next to nothing each time, and moves each time.
#[test]
fn a_run_in_the_smallest_steps_equals_one_in_one() {
    let (rig, root) = scenario();
    let (straight, ..) = run(rig, root, GAS, Way::Stay);
    for (way, step) in [(Way::Stay, 1), (Way::Bytes, 40), (Way::Store, 97)] {
        let (mut rig, root) = scenario();
        let mut result = rig.call(root, 0, &[], 0);
        let (mut used, mut answers, mut moves) = (result.gas_used(), 0, 0);
        let mut last = u64::MAX;
        while let CallResult::Paused { .. } = result {
            let payload = Rig::slot0(&result);
            let gas = payload.is_some_and(|p| match rig.get(p) {
                Cap::Instance(i) => i.image_hash == kernel_image_hash(KernelImage::Gas),
                _ => false,
            });
            // Moved once at every point.
            if last != used || !gas {
                rig = go(rig, way);
                moves += 1;
            }
            last = used;
            result = if gas {
                rig.vm.add_gas(step);
                rig.resume(None)
            } else {
                answers += 1;
                let answer = rig.data(&[1, answers]);
                rig.resume(Some(answer))
            };
            used += result.gas_used();
        }
        let (value, after) = rig.halted(&result);
        let CallResult::Halt { return_value, post_instance_hash, .. } = straight.result else {
            unreachable!()
        };
        assert_eq!((value, after, used), (return_value, post_instance_hash, straight.gas), "{way:?}");
        assert_eq!(rig.vm.take_emits(), straight.emits);
        assert!(moves > 60, "{moves}");
    }
}

#[test]
fn a_value_carries_no_gas() {
    let mut names = Vec::new();
    for gas in [GAS, GAS + 1, 2 * GAS] {
        let (mut rig, root) = scenario();
        let paused = rig.call(root, 0, &[], gas);
        let (value, left) = rig.vm.suspend(&mut rig.cache).unwrap();
        assert_eq!(left + paused.gas_used(), gas);
        names.push(value);
        // It starts with none.
        rig.vm.restore(&mut rig.cache, value).unwrap();
        let result = rig.resume(None);
        let CallResult::Paused { gas_used: 0, .. } = result else { panic!("{result:?}") };
        assert_eq!(Rig::slot0(&result), Some(rig.handle(KernelImage::Gas, 0)));
        assert_eq!(rig.vm.suspend(&mut rig.cache).unwrap().1, 0);
    }
    assert!(names.iter().all(|name| *name == names[0]));
}

/// A handler that halts over the call that it handles; slot 2 of what it becomes.
fn left_behind(rig: &mut Rig) -> CapHash {
    let marker = rig.marker("m");
    let worker = rig.image(
        &format!(
            "store_imm_u8 {MEM:#x}, 1\nstore_imm_u8 {:#x}, 2\n{}load_u8 s0, {:#x}\nload_u8 s1, {MEM:#x}\n\
             add_64 a0, s0, s1\n{}add_64 a0, s0, s1\necalli 0\ntrap",
            MEM + 0x2_0000,
            ask(16, &[1]),
            MEM + 0x2_0000,
            ask(2, &[0, 9]),
        ),
        |image| image.memory_mappings = vec![persistent(MEM, 1, 7), ephemeral(MEM + 0x2_0000, 1)],
    );
    let worker = rig.instance(worker, &[(1, marker)]);
    let between = rig.program(&format!("{}ecalli 0\ntrap", ask(26, &[2, 0])), &[(2, worker)]);
    let catcher = rig.catcher(&[marker]);
    let image = rig.image(&format!("{}ecalli 0\ntrap", ask(26, &[2, 0])), |image| {
        image.yield_marker_slot = Some(SlotIdx(1));
    });
    let handler = rig.instance(image, &[(1, catcher), (2, between)]);
    let (value, after) = rig.halt(handler);
    assert_eq!(value, 1);
    rig.seen();
    rig.slot(after, 2).unwrap()
}

/// Resumes slot 2 with slot 8 in slot 0.
fn resumer(rig: &mut Rig, paused: CapHash) -> CapHash {
    let answer = rig.data(b"answer");
    let text = format!("{}{}ecalli 0\ntrap", ask(1, &[8, 0]), ask(27, &[2]));
    rig.program(&text, &[(2, paused), (8, answer)])
}

#[test]
fn a_pause_outlives_its_handler_and_is_resumed_any_number_of_times() {
    let mut rig = Rig::new();
    let paused = left_behind(&mut rig);
    let Status::Paused(outer) = rig.as_instance(paused).status().clone() else { panic!() };
    assert_eq!(outer.target, SlotPath::root(2), "it waits for its own callee");
    let inner = rig.as_instance(rig.slot(paused, 2).unwrap());
    let Status::Waiting(stopped) = inner.status() else { panic!("{:?}", inner.status()) };
    assert!(stopped.gas_charged && stopped.marker.is_some() && stopped.ephemeral.count() > 0);
    let resumer = resumer(&mut rig, paused);
    let mut ends = Vec::new();
    for _ in 0..3 {
        let result = rig.call(resumer, 0, &[], GAS);
        assert_eq!(rig.halted(&result).0, 3);
        ends.push((result, rig.seen()));
    }
    // On another machine.
    let store = MapStore::default();
    rig.cache.persist(resumer, &store).unwrap();
    let mut other = fresh(&rig, CacheDirectory::with_store(Arc::new(store)));
    let result = other.call(resumer, 0, &[], GAS);
    ends.push((result, other.seen()));
    assert!(ends.iter().all(|end| *end == ends[0]), "{ends:?}");
    let (_, after) = rig.halted(&ends[0].0);
    let between = rig.slot(after, 2).unwrap();
    assert_eq!(rig.as_instance(between).status(), &Status::default());
    let worker = rig.slot(between, 2).unwrap();
    assert_eq!((rig.slot_bytes(worker, 7), rig.slot_bytes(worker, 9)), (vec![1], b"answer".to_vec()));
    assert_eq!(rig.table(between).size_log(), 8, "an ordinary table again");
}

#[test]
fn a_paused_value_is_copied_kept_dropped_but_never_called() {
    let mut rig = Rig::new();
    let paused = left_behind(&mut rig);
    // A copy is another computation.
    let answer = rig.data(b"answer");
    let text = format!(
        "{}{}{}{}{}ecalli 0\ntrap",
        ask(1, &[2, 3]),
        ask(1, &[8, 0]),
        ask(27, &[2]),
        ask(1, &[8, 0]),
        ask(27, &[3])
    );
    let both = rig.program(&text, &[(2, paused), (8, answer)]);
    let (value, after) = rig.halt(both);
    assert_eq!((value, rig.slot(after, 2)), (3, rig.slot(after, 3)));
    // Dropped.
    let text = format!("{}{}ecalli 0\ntrap", ask(28, &[2]), ask(6, &[2]));
    let drop = rig.program(&text, &[(2, paused)]);
    let (_, after) = rig.halt(drop);
    assert_eq!(rig.slot(after, 2), None);
    // Not called, neither by a guest nor from outside; what waits in it is not resumed by itself.
    let call = rig.program(&ask(26, &[2, 0]), &[(2, paused)]);
    assert_eq!(rig.fault(call), ExitReason::Trap);
    assert!(rig.what().starts_with(
        "HOST_CALL refused: the instance in slot 2 is not idle: it can only be resumed or dropped"
    ));
    assert_eq!(rig.vm.invoke_cached(&mut rig.cache, paused, 0, [0; 4], GAS), Err(VmError::NotIdle));
    let waiting = rig.slot(paused, 2).unwrap();
    let resumer = resumer(&mut rig, waiting);
    assert_eq!(rig.fault(resumer), ExitReason::Trap);
    assert!(rig.what().starts_with("CALL_RESUME refused: slot 2 holds no paused call"), "{}", rig.what());
    assert_eq!(rig.vm.restore(&mut rig.cache, waiting), Err(VmError::NotPaused));
}

#[test]
fn a_resumed_call_that_faults_gives_the_paused_value_back() {
    let mut rig = Rig::new();
    let marker = rig.marker("m");
    let worker = rig.program(&format!("{}trap", ask(16, &[1])), &[(1, marker)]);
    let catcher = rig.catcher(&[marker]);
    let image = rig.image(&format!("{}ecalli 0\ntrap", ask(26, &[2, 0])), |image| {
        image.yield_marker_slot = Some(SlotIdx(1));
    });
    let handler = rig.instance(image, &[(1, catcher), (2, worker)]);
    let (_, after) = rig.halt(handler);
    let paused = rig.slot(after, 2).unwrap();
    let text = format!("{}ecalli 0\ntrap", ask(27, &[2]));
    let resumer = rig.program(&text, &[(2, paused)]);
    assert_eq!(rig.halt(resumer), (FaultCode::Trap.number(), resumer));
}

#[test]
fn a_resumed_call_may_be_caught_and_paused_again() {
    let mut rig = Rig::new();
    let marker = rig.marker("m");
    let yields = ask(16, &[1]).repeat(3);
    let worker = rig.program(&format!("{yields}load_imm a0, 5\necalli 0\ntrap"), &[(1, marker)]);
    let catcher = rig.catcher(&[marker]);
    // Endpoint 0 calls, endpoint 1 resumes; both halt whatever comes.
    let text = format!(
        "{}ecalli 0\ntrap\nresume: {}ecalli 0\ntrap\n.export call @0\n.export resume @resume",
        ask(26, &[2, 0]),
        ask(27, &[2])
    );
    let image = rig.image(&text, |image| image.yield_marker_slot = Some(SlotIdx(1)));
    let mut instance = rig.instance(image, &[(1, catcher), (2, worker)]);
    for (endpoint, value) in [(0, 1), (1, 1), (1, 1), (1, 5)] {
        let result = rig.call(instance, endpoint, &[], GAS);
        assert_eq!(rig.halted(&result).0, value);
        instance = rig.halted(&result).1;
    }
    assert_eq!(rig.slot(instance, 2), Some(worker), "as if it had run straight through");
}

#[test]
fn a_deep_chain_is_frozen_and_thawed_within_the_depth_limit() {
    const DEPTH: usize = 200;
    let mut rig = Rig::with_max_depth(DEPTH);
    let marker = rig.marker("m");
    rig.vm.kernel_assist.inner.catch_at_root(marker);
    let mut instance = rig.program(&format!("{}ecalli 0\ntrap", ask(16, &[1])), &[(1, marker)]);
    let image = rig.image(&format!("{}ecalli 0\ntrap", ask(26, &[2, 0])), |_| ());
    for _ in 1..DEPTH {
        instance = rig.instance(image, &[(2, instance)]);
    }
    let paused = rig.call(instance, 0, &[], GAS);
    assert!(matches!(paused, CallResult::Paused { .. }));
    let (value, left) = rig.vm.suspend(&mut rig.cache).unwrap();
    rig.vm.restore(&mut rig.cache, value).unwrap();
    rig.vm.add_gas(left);
    let result = rig.resume(None);
    assert_eq!(rig.halted(&result), (1, instance));
    // A machine with a lower limit cannot take it.
    let mut low = Rig::with_max_depth(DEPTH - 1);
    std::mem::swap(&mut low.cache, &mut rig.cache);
    let error = low.vm.restore(&mut low.cache, value).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("the paused value cannot be restored: the call would be deeper than {}", DEPTH - 1)
    );
    assert!(low.vm.stack.is_empty());
    // Below a caller, the same is a code.
    let resumer = low.program(&format!("{}ecalli 0\ntrap", ask(27, &[2])), &[(2, value)]);
    assert_eq!(low.halt(resumer), (FaultCode::Depth.number(), resumer));
}

#[test]
fn a_marker_that_sat_in_slot_0_stays_with_the_pause() {
    // The yielder spawns its marker into slot 0; the handler gets it there, drops it, and makes so much garbage
    // that the directory is cleaned up before it halts over the pause.
    let worker = |rig: &mut Rig| {
        let (quiet, table) = (rig.image("trap", |_| ()), rig.cnode(8, &[]));
        let text = format!("{}{}load_imm a0, 5\necalli 0\ntrap", ask(18, &[3, 4, 0]), ask(16, &[0]));
        rig.program(&text, &[(3, quiet), (4, table)])
    };
    // What it is called, another machine says.
    let mut other = Rig::new();
    let yields = worker(&mut other);
    assert_eq!(other.fault(yields), ExitReason::Trap);
    let Some(javm::FaultDetail::UnhandledMarker { marker }) = other.vm.last_fault().map(|f| f.detail.clone())
    else {
        panic!("{}", other.words())
    };
    let mut rig = Rig::new();
    let worker = worker(&mut rig);
    let catcher = rig.catcher(&[marker]);
    let garbage = "load_imm_64 s0, 20000
        fallthrough
        loop: load_imm a0, 9
        load_imm a1, 3
        ecalli 5
        add_imm_64 s0, s0, -1
        branch_ne_imm s0, 0, @loop";
    let text = format!("{}{}{garbage}\necalli 0\ntrap", ask(26, &[2, 0]), ask(3, &[0]));
    let image = rig.image(&text, |image| image.yield_marker_slot = Some(SlotIdx(1)));
    let handler = rig.instance(image, &[(1, catcher), (2, worker)]);
    let (_, after) = rig.halt(handler);
    let paused = rig.slot(after, 2).unwrap();
    rig.cache.persist(paused, &MapStore::default()).unwrap();
    let resume = rig.program(&format!("{}ecalli 0\ntrap", ask(27, &[2])), &[(2, paused)]);
    assert_eq!(rig.halt(resume).0, 5);
}

#[test]
fn what_a_pause_has_shown_outlives_the_stack() {
    // The payload is new, and nothing but the pause shows it.
    let mut rig = Rig::new();
    let marker = rig.marker("m");
    rig.vm.kernel_assist.inner.catch_at_root(marker);
    let image =
        rig.image(&format!("{}{}ecalli 0\ntrap", ask(23, &[MEM, 9, u64::MAX, 0]), ask(16, &[1])), |image| {
            image.memory_mappings = vec![persistent(MEM, 1, 7)];
        });
    let memory = rig.data(b"something");
    let instance = rig.instance(image, &[(1, marker), (7, memory)]);
    for other in [false, true] {
        let paused = rig.call(instance, 0, &[], GAS);
        let payload = Rig::slot0(&paused).unwrap();
        if other {
            rig.vm.drop_paused(SlotPath::root(0)).unwrap();
        } else {
            rig.vm.suspend(&mut rig.cache).unwrap();
        }
        let nothing = rig.program("ecalli 0\ntrap", &[]);
        rig.halt(nothing);
        assert_eq!(rig.bytes(payload), b"something");
    }
}

#[test]
fn putting_a_call_aside_and_back_is_paid_by_the_page() {
    for pages in [0u64, 1, 5] {
        let mut rig = Rig::new();
        let marker = rig.marker("m");
        let writes: String = (0..pages).map(|n| format!("store_imm_u8 {:#x}, 1\n", MEM + n * 4096)).collect();
        // A page of zeros is none.
        let zero = format!("store_imm_u8 {:#x}, 0\n", MEM + 7 * 4096);
        let text = format!("{writes}{zero}{}ecalli 16\nload_imm a0, 5\necalli 0\ntrap", load_args(&[1]));
        let worker = rig.image(&text, |image| image.memory_mappings = vec![ephemeral(MEM, 8)]);
        let worker = rig.instance(worker, &[(1, marker)]);
        let catcher = rig.catcher(&[marker]);
        let image = rig.image(&format!("{}ecalli 0\ntrap", ask(26, &[2, 0])), |image| {
            image.yield_marker_slot = Some(SlotIdx(1));
        });
        let handler = rig.instance(image, &[(1, catcher), (2, worker)]);
        let result = rig.call(handler, 0, &[], GAS);
        let (_, after) = rig.halted(&result);
        let at_halt = rig.seen().last().unwrap().gas;
        assert_eq!(at_halt - (GAS - result.gas_used()), 100 + 6000 * (1 + pages));
        let paused = rig.slot(after, 2).unwrap();
        let text = format!("{}ecalli 100\necalli 27\necalli 100\necalli 0\ntrap", load_args(&[2]));
        let resumer = rig.program(&text, &[(2, paused)]);
        assert_eq!(rig.halt(resumer).0, 5);
        let seen = rig.seen();
        // The probe, and the halt of the worker.
        assert_eq!(seen[0].gas - seen[1].gas, 100 + 2000 + 3000 * (1 + pages) + 100);
    }
}

#[test]
fn what_is_missing_is_named() {
    let (mut rig, root) = scenario();
    assert!(matches!(rig.call(root, 0, &[], GAS), CallResult::Paused { .. }));
    let (value, _) = rig.vm.suspend(&mut rig.cache).unwrap();
    let all = reachable(&rig.cache, value);
    let mut named = 0;
    for (missing, _) in &all {
        let mut cache = CacheDirectory::new();
        for (hash, cap) in all.iter().filter(|(hash, _)| hash != missing) {
            assert_eq!(cache.put_cap(cap), Ok(*hash));
        }
        let mut other = fresh(&rig, cache);
        match other.vm.restore(&mut other.cache, value) {
            Err(VmError::Cap(javm_cap::CapError::Missing { hash })) => {
                assert_eq!(hash, *missing);
                assert!(other.vm.stack.is_empty());
                named += 1;
            }
            // Not needed yet.
            Ok(()) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert!(named > 10 && named < all.len(), "{named} of {}", all.len());
}

/// The value with one of those that it reaches replaced; `None` where that cannot be named.
fn rebuild(
    cache: &mut CacheDirectory,
    all: &[(CapHash, Cap)],
    target: usize,
    changed: &Cap,
) -> Option<CapHash> {
    let mut renamed: BTreeMap<CapHash, CapHash> = BTreeMap::new();
    let mut last = None;
    for (n, (hash, cap)) in all.iter().enumerate() {
        let mut cap = if n == target { changed.clone() } else { cap.clone() };
        let name =
            |old: CapHashOrRef| old.as_hash().and_then(|h| renamed.get(h)).map(|h| CapHashOrRef::Hash(*h));
        if n != target {
            match &mut cap {
                Cap::CNode(cnode) => {
                    let slots: Vec<_> = cnode.iter().collect();
                    for (slot, old) in slots {
                        if let Some(new) = name(old) {
                            cnode.set(slot, Some(new)).unwrap();
                        }
                    }
                }
                Cap::Instance(instance) => {
                    if let Some(new) = name(instance.root_cnode) {
                        instance.root_cnode = new;
                    }
                    if let Some(CapHashOrRef::Hash(new)) = name(instance.image_hash.into()) {
                        instance.image_hash = new;
                    }
                }
                Cap::Image(_) | Cap::Data(_) | Cap::Type(_) => {}
            }
        }
        let new = cache.put_cap(&cap).ok()?;
        if new != *hash {
            renamed.insert(*hash, new);
        }
        last = Some(new);
    }
    last
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        (x ^ x >> 31) % n.max(1)
    }
}

fn tamper_instance(instance: &mut InstanceCap, all: &[(CapHash, Cap)], random: &mut Random) {
    let any = |random: &mut Random| all[random.below(all.len() as u64) as usize].0;
    let mut status = instance.status().clone();
    let number = status.number();
    if let Status::Waiting(stopped) | Status::Paused(stopped) = &mut status {
        match random.below(14) {
            0 => stopped.pc = random.below(400),
            1 => stopped.pc = u64::MAX - random.below(3),
            2 => stopped.gas_charged = !stopped.gas_charged,
            3 => stopped.regs[random.below(13) as usize] = random.below(u64::MAX),
            4 => stopped.target = SlotPath::root(random.below(256) as u8),
            5 => {
                let path = SlotPath::root(random.below(12) as u8);
                stopped.target = path.step(random.below(5) as u16).unwrap();
            }
            6 => stopped.marker = None,
            7 => stopped.marker = Some(any(random).into()),
            8 => {
                let image = [KernelImage::OogMarker, KernelImage::StorageExhaustedMarker, KernelImage::Pager];
                stopped.marker = Some(marker_hash(image[random.below(3) as usize]).into());
            }
            9 => {
                stopped.ephemeral.set_page(random.below(1 << 20), &[1; 77]);
            }
            10 => {
                let idle = Status::Idle { regs: stopped.regs, pc: stopped.pc };
                return instance.set_status(idle);
            }
            11 => {
                let other = stopped.clone();
                let status = if number == 1 { Status::Paused(other) } else { Status::Waiting(other) };
                return instance.set_status(status);
            }
            12 => return instance.root_cnode = any(random).into(),
            _ => {
                instance.image_hash = match random.below(3) {
                    0 => any(random),
                    1 => kernel_image_hash(KernelImage::Gas),
                    _ => [7; 32],
                };
                return;
            }
        }
        instance.set_status(status);
    } else {
        instance.image_hash = any(random);
    }
    if random.below(6) == 0 {
        instance.set_memory(javm_cap::Memory::new(random.below(1 << 32) as u32));
    }
}

fn tamper(cap: &Cap, all: &[(CapHash, Cap)], random: &mut Random) -> Cap {
    let any = |random: &mut Random| all[random.below(all.len() as u64) as usize].0;
    match cap {
        Cap::Instance(instance) => {
            let mut instance = instance.clone();
            tamper_instance(&mut instance, all, random);
            Cap::Instance(instance)
        }
        Cap::CNode(cnode) => {
            let mut cnode = if random.below(8) == 0 {
                CNodeCap::new(random.below(11) as u8).unwrap()
            } else {
                cnode.clone()
            };
            for _ in 0..=random.below(3) {
                // The upper half of a frozen table is where the kernel's own things are.
                let slot = match random.below(3) {
                    0 => 256 + random.below(8),
                    1 => random.below(12),
                    _ => random.below(512),
                };
                let slot = SlotIdx((slot % u64::from(cnode.slots())) as u32);
                let name = if random.below(3) == 0 { None } else { Some(any(random).into()) };
                cnode.set(slot, name).unwrap();
            }
            Cap::CNode(cnode)
        }
        Cap::Data(data) => {
            let mut bytes = data.to_vec();
            bytes.truncate(300);
            bytes.resize(bytes.len() + random.below(20) as usize, 0);
            for _ in 0..=random.below(4) {
                if let Some(n) = (bytes.len() as u64).checked_sub(1) {
                    bytes[random.below(n + 1) as usize] = random.below(256) as u8;
                }
            }
            Cap::data_inline(&bytes)
        }
        Cap::Image(_) | Cap::Type(_) => Cap::data_inline(&[random.below(256) as u8]),
    }
}

/// The values of the scenario where it is paused for the `n`th time.
fn paused_scenario(n: u64) -> (Rig, Vec<(CapHash, Cap)>) {
    let (mut rig, root) = scenario();
    let mut result = rig.call(root, 0, &[], GAS);
    for _ in 0..n {
        assert!(matches!(result, CallResult::Paused { .. }));
        let answer = rig.data(&[1, 1]);
        result = rig.resume(Some(answer));
    }
    assert!(matches!(result, CallResult::Paused { .. }));
    let (value, _) = rig.vm.suspend(&mut rig.cache).unwrap();
    let all = reachable(&rig.cache, value);
    assert_eq!(all.last().map(|(hash, _)| *hash), Some(value));
    (rig, all)
}

#[test]
fn a_forged_pause_is_refused_or_runs_but_never_breaks_the_host() {
    let (mut refused, mut taken, mut ended) = (BTreeMap::<String, u64>::new(), 0, 0);
    for pause in 0..6 {
        let (rig, all) = paused_scenario(pause);
        for seed in 0..400 {
            let mut random = Random(pause << 32 | seed);
            let mut cache = CacheDirectory::new();
            // What is frozen is where the interesting things are; everything else in passing.
            let frozen: Vec<usize> = (0..all.len())
                .filter(|n| match &all[*n].1 {
                    Cap::Instance(i) => i.status().number() != 0,
                    Cap::CNode(cnode) => cnode.size_log() >= 8,
                    Cap::Data(_) | Cap::Image(_) | Cap::Type(_) => false,
                })
                .collect();
            let target = match random.below(4) {
                0 => random.below(all.len() as u64) as usize,
                _ => frozen[random.below(frozen.len() as u64) as usize],
            };
            let changed = tamper(&all[target].1, &all, &mut random);
            // What it may name by now is at hand.
            for (hash, cap) in &all {
                assert_eq!(cache.put_cap(cap), Ok(*hash));
            }
            let Some(value) = rebuild(&mut cache, &all, target, &changed) else { continue };
            let mut forged = fresh(&rig, cache);
            match forged.vm.restore(&mut forged.cache, value) {
                Err(error) => {
                    assert!(forged.vm.stack.is_empty());
                    *refused.entry(error.to_string().split(" 0").next().unwrap().to_owned()).or_default() +=
                        1;
                }
                Ok(()) => {
                    taken += 1;
                    forged.vm.add_gas(1_000_000);
                    for n in 0..12 {
                        let answer = forged.data(&[1, n]);
                        match forged.vm.call_resume(&mut forged.cache, Some(answer.into())) {
                            Ok(CallResult::Paused { .. }) => {}
                            Ok(_) | Err(_) => {
                                ended += 1;
                                break;
                            }
                        }
                    }
                }
            }
            // A guest that resumes it meets the same.
            let mut below = fresh(&rig, forged.cache);
            let resumer = resumer(&mut below, value);
            let _ = below.vm.invoke_cached(&mut below.cache, resumer, 0, [0; 4], 1_000_000);
        }
    }
    assert!(refused.len() > 8, "{refused:?}");
    assert!(taken > 250 && ended > 250, "{taken} {ended} {refused:?}");
}
