//! The directory: settling, collecting, stores. Nothing recurses, nothing costs more than what is new.

mod common;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use common::*;
use javm_cap::{
    CNodeCap, CacheDirectory, Cap, CapError, CapHash, CapHashOrRef, CapRef, CapStore, DataCap, InstanceCap,
    Kind, Owner, SlotIdx, StoreError, decode, encode, kernel_image_hash,
};

/// A cnode of one slot that holds `name`.
fn boxed(name: CapHashOrRef) -> Cap {
    let mut cnode = CNodeCap::new(0).unwrap();
    cnode.set(SlotIdx(0), Some(name)).unwrap();
    cnode.into()
}

fn hash_cap(dir: &mut CacheDirectory, bytes: &[u8]) -> CapHashOrRef {
    dir.put_cap(&Cap::data_inline(bytes)).unwrap().into()
}

/// Runs on a stack on which recursion over a million values would not live.
fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(128 << 10).spawn(test).unwrap().join().unwrap();
}

#[derive(Default)]
struct Memory {
    values: Mutex<HashMap<CapHash, Vec<u8>>>,
    gets: AtomicUsize,
    puts: AtomicUsize,
    asked: AtomicUsize,
    fails: std::sync::atomic::AtomicBool,
}

impl CapStore for Memory {
    fn get(&self, hash: &CapHash) -> Result<Option<Vec<u8>>, StoreError> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        if self.fails.load(Ordering::Relaxed) {
            return Err(StoreError::Io);
        }
        Ok(self.values.lock().unwrap().get(hash).cloned())
    }

    fn put(&self, hash: &CapHash, bytes: &[u8]) -> Result<(), StoreError> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(StoreError::Io);
        }
        self.puts.fetch_add(1, Ordering::Relaxed);
        self.values.lock().unwrap().insert(*hash, bytes.to_vec());
        Ok(())
    }

    fn contains(&self, hash: &CapHash) -> Result<bool, StoreError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(self.values.lock().unwrap().contains_key(hash))
    }
}

#[test]
fn settling_names_what_from_scratch_would() {
    let mut random = Random(8);
    for _ in 0..60 {
        let mut dir = CacheDirectory::new();
        // A random graph: each value names earlier ones, working or settled.
        let mut names: Vec<CapHashOrRef> = vec![hash_cap(&mut dir, b"first")];
        for _ in 0..30 {
            let pick = |random: &mut Random| names[random.below(names.len() as u64) as usize];
            let cap = match random.below(3) {
                0 => random_data(&mut random).into(),
                1 => {
                    let mut cnode = CNodeCap::new(5).unwrap();
                    for slot in 0..random.below(32) as u32 {
                        cnode.set(SlotIdx(slot), Some(pick(&mut random))).unwrap();
                    }
                    cnode.into()
                }
                _ => {
                    let mut instance = InstanceCap::new(random.hash(), random.hash(), pick(&mut random));
                    let mut stopped = random_suspension(&mut random);
                    stopped.marker = Some(pick(&mut random));
                    instance.set_status(javm_cap::Status::Paused(stopped));
                    instance.into()
                }
            };
            names.push(if random.below(4) == 0 {
                dir.put_cap(&cap).unwrap().into()
            } else {
                dir.insert_working(cap).into()
            });
        }
        for name in names {
            assert!(name.is_ref() || dir.hash_cost(name, u64::MAX) == 0);
            let hash = dir.settle(name).unwrap();
            assert_eq!(dir.settle(name), Ok(hash));
            assert_eq!(dir.hash_cost(name, u64::MAX), 0);
            let cap = dir.get(name).unwrap();
            assert!(!cap.has_refs());
            assert_eq!(cap.hash(), Ok(hash));
            assert_eq!(reference_hash(&cap), hash);
            assert!(Arc::ptr_eq(&cap, &dir.get(hash.into()).unwrap()));
        }
        assert_eq!(dir.working_len(), 0);
    }
}

#[test]
fn settling_costs_what_it_says() {
    let mut dir = CacheDirectory::new();
    let data = dir.insert_working(Cap::data_inline(&[1; 4096 * 3]));
    let inner = dir.insert_working(boxed(data.into()));
    let mut cnode = CNodeCap::new(8).unwrap();
    for slot in [1, 2, 200] {
        cnode.set(SlotIdx(slot), Some(inner.into())).unwrap();
    }
    let outer = dir.insert_working(cnode.into());
    // Three pages, two and one nodes above, the Data; the box; 3 + 6 * 2 + 1 nodes, the cnode.
    let table = 3 + 6 * 2 + 1 + 1;
    assert_eq!(dir.hash_cost(outer.into(), u64::MAX), (3 * 32 + 2 + 1 + 1) + 1 + table);
    assert!(dir.hash_cost(outer.into(), 5) > 5);
    dir.settle(inner.into()).unwrap();
    assert_eq!(dir.hash_cost(outer.into(), u64::MAX), table);
    dir.settle(outer.into()).unwrap();
    assert_eq!(dir.hash_cost(outer.into(), u64::MAX), 0);
}

#[test]
fn references_that_cannot_be_settled() {
    let mut dir = CacheDirectory::new();
    let a = dir.insert_working(Cap::empty_cnode(0).unwrap());
    let b = dir.insert_working(boxed(a.into()));
    let put = |name: CapRef| {
        move |cap: &mut Cap| {
            let Cap::CNode(cnode) = cap else { panic!("kind") };
            cnode.set(SlotIdx(0), Some(name.into())).unwrap();
        }
    };
    dir.modify(a, put(b)).unwrap();
    assert!(matches!(dir.settle(a.into()), Err(CapError::Cycle { .. })));
    dir.modify(a, put(a)).unwrap();
    assert!(matches!(dir.settle(b.into()), Err(CapError::Cycle { .. })));
    let mark = dir.begin_call();
    let gone = dir.insert_working(Cap::data_inline(b"x"));
    dir.end_call(mark, &[]);
    dir.modify(a, put(gone)).unwrap();
    assert_eq!(dir.settle(b.into()), Err(CapError::Dangling { reference: gone }));
    assert_eq!(dir.get(gone.into()), None);
    // The place is used again, the name is not.
    let new = dir.insert_working(Cap::data_inline(b"y"));
    assert_ne!(new, gone);
    assert_eq!(dir.modify(gone, |_| ()), None);
    // Nothing was lost: with the circle gone it settles.
    dir.modify(a, put(new)).unwrap();
    let hash = dir.settle(b.into()).unwrap();
    assert_eq!(reference_hash(&dir.get(hash.into()).unwrap()), hash);
    assert_eq!(dir.modify(a, |_| ()), None, "settled values do not change");
}

#[test]
fn shared_children_settle_once() {
    // 2^64 paths lead to the bottom; 64 values.
    let mut dir = CacheDirectory::new();
    let mut name: CapHashOrRef = dir.insert_working(Cap::data_inline(b"bottom")).into();
    for _ in 0..64 {
        let mut cnode = CNodeCap::new(1).unwrap();
        cnode.set(SlotIdx(0), Some(name)).unwrap();
        cnode.set(SlotIdx(1), Some(name)).unwrap();
        name = dir.insert_working(cnode.into()).into();
    }
    assert_eq!(dir.hash_cost(name, u64::MAX), 64 * 2 + 33);
    dir.settle(name).unwrap();
    assert_eq!(dir.len(), 65);
    let mark = dir.begin_call();
    dir.end_call(mark, &[name]);
    dir.retain(&[name]);
    assert_eq!(dir.len(), 65);
}

#[test]
fn a_million_nested_cnodes_need_no_stack() {
    on_a_small_stack(|| {
        let mut dir = CacheDirectory::new();
        let mark = dir.begin_call();
        let mut name: CapHashOrRef = hash_cap(&mut dir, b"core");
        for _ in 0..1_000_000 {
            name = dir.insert_working(boxed(name)).into();
        }
        assert_eq!(dir.hash_cost(name, u64::MAX), 1_000_000);
        assert!(dir.hash_cost(name, 1000) <= 1002);
        let hash = dir.settle(name).unwrap();
        assert_eq!(dir.len(), 1_000_001);
        dir.end_call(mark, &[hash.into()]);
        assert_eq!(dir.len(), 1_000_001);
        let store = Memory::default();
        assert_eq!(dir.persist(hash, &store), Ok(1_000_001));
        assert_eq!(dir.persist(hash, &store), Ok(0));
        dir.retain(&[]);
        assert_eq!(dir.len(), 0);
        let mark = dir.begin_call();
        let mut name: CapHashOrRef = hash_cap(&mut dir, b"core");
        for _ in 0..1_000_000 {
            name = dir.insert_working(boxed(name)).into();
        }
        assert_eq!(dir.len(), 1_000_001);
        dir.end_call(mark, &[]);
        assert_eq!(dir.len(), 0);
        drop(dir);
        let dir = CacheDirectory::with_store(Arc::new(store));
        let mut name = hash;
        for _ in 0..1000 {
            let Cap::CNode(cnode) = &*dir.get(name.into()).unwrap() else { panic!("kind") };
            name = *cnode.get(SlotIdx(0)).unwrap().as_hash().unwrap();
        }
        drop(dir);
    });
}

#[test]
fn what_the_outcome_does_not_reach_leaves_with_the_call() {
    let mut dir = CacheDirectory::new();
    let before = hash_cap(&mut dir, b"before");
    let outside = dir.insert_working(Cap::data_inline(b"the embedder's"));
    let mark = dir.begin_call();
    let hashed = hash_cap(&mut dir, b"made and named inside");
    let kept = hash_cap(&mut dir, b"kept");
    let working = dir.insert_working(boxed(hashed));
    let root = dir.insert_working(boxed(kept));
    let settled_in_between = dir.insert_working(Cap::data_inline(b"copied"));
    dir.settle(settled_in_between.into()).unwrap();
    assert_eq!(dir.len(), 7);
    let root = dir.settle(root.into()).unwrap();
    dir.end_call(mark, &[root.into()]);
    assert_eq!(dir.len(), 4);
    for name in [before, kept, root.into(), outside.into()] {
        assert!(dir.get(name).is_some());
    }
    for name in [hashed, working.into(), settled_in_between.into()] {
        assert!(dir.get(name).is_none() && !dir.contains(name));
    }
    // What was kept is here to stay: the next call does not take it along.
    let mark = dir.begin_call();
    assert_eq!(hash_cap(&mut dir, b"kept"), kept);
    dir.end_call(mark, &[]);
    assert!(dir.get(kept).is_some() && dir.get(outside.into()).is_some());
}

#[test]
fn outsiders_that_were_changed_keep_what_they_name() {
    let mut dir = CacheDirectory::new();
    let outside = dir.insert_working(Cap::empty_cnode(4).unwrap());
    let mark = dir.begin_call();
    let (a, b) = (dir.insert_working(Cap::data_inline(b"a")), hash_cap(&mut dir, b"b"));
    dir.modify(outside, |cap| {
        let Cap::CNode(cnode) = cap else { panic!("kind") };
        cnode.set(SlotIdx(0), Some(a.into())).unwrap();
        cnode.set(SlotIdx(1), Some(b)).unwrap();
    });
    dir.insert_working(Cap::data_inline(b"c"));
    dir.end_call(mark, &[]);
    assert!(dir.get(a.into()).is_some() && dir.get(b).is_some());
    assert_eq!(dir.len(), 3);
}

#[test]
fn a_name_that_was_missing_is_kept_when_its_content_comes() {
    let content = Cap::data_inline(b"late");
    let mut dir = CacheDirectory::new();
    let mut cnode = CNodeCap::new(8).unwrap();
    cnode.set(SlotIdx(7), Some(content.hash().unwrap().into())).unwrap();
    let root = dir.put_cap(&cnode.clone().into()).unwrap();
    for round in 0..3u8 {
        // Each round changes another slot, so that the node with the missing name is shared with the past.
        cnode.set(SlotIdx(100 + u32::from(round)), Some([round + 1; 32].into())).unwrap();
        let mark = dir.begin_call();
        if round == 2 {
            dir.put_cap(&content).unwrap();
        }
        let name = dir.put_cap(&cnode.clone().into()).unwrap();
        dir.end_call(mark, &[name.into()]);
    }
    assert!(dir.get(content.hash().unwrap().into()).is_some());
    assert!(dir.get(root.into()).is_some());
}

#[test]
fn calls_nest_and_pause_in_any_order() {
    let mut dir = CacheDirectory::new();
    let outer = dir.begin_call();
    let mine = dir.insert_working(Cap::data_inline(b"outer's"));
    let inner = dir.begin_call();
    let (garbage, result) =
        (dir.insert_working(Cap::data_inline(b"garbage")), dir.insert_working(Cap::data_inline(b"result")));
    dir.end_call(inner, &[result.into()]);
    assert!(dir.get(garbage.into()).is_none() && dir.get(result.into()).is_some());
    // What the inner call left behind belongs to the outer one.
    dir.pause_call(&outer, || vec![mine.into(), result.into()]);
    let other = dir.begin_call();
    let hers = dir.insert_working(boxed(mine.into()));
    let lost = dir.insert_working(boxed(result.into()));
    dir.pause_call(&other, || vec![hers.into()]);
    dir.resume_call(&outer);
    dir.end_call(outer, &[]);
    assert!(dir.get(result.into()).is_none(), "nobody reached it");
    assert!(dir.get(mine.into()).is_some(), "the other call has it");
    assert!(dir.get(lost.into()).is_none());
    dir.resume_call(&other);
    let hash = dir.settle(hers.into()).unwrap();
    dir.end_call(other, &[hash.into()]);
    assert_eq!(reference_hash(&dir.get(hash.into()).unwrap()), hash);
    assert!(dir.get(hers.into()).is_none());
}

#[test]
fn the_same_value_made_by_two_calls_outlives_both() {
    let mut dir = CacheDirectory::new();
    let first = dir.begin_call();
    let name = hash_cap(&mut dir, b"same");
    dir.pause_call(&first, || vec![name]);
    let second = dir.begin_call();
    assert_eq!(hash_cap(&mut dir, b"same"), name);
    dir.end_call(second, &[name]);
    dir.resume_call(&first);
    dir.end_call(first, &[]);
    assert!(dir.get(name).is_some());
}

#[test]
fn a_million_calls_stay_bounded() {
    let mut dir = CacheDirectory::new();
    let image = [9; 32];
    let mut root = CNodeCap::new_root();
    for slot in 0..200 {
        root.set(SlotIdx(slot), Some([7; 32].into())).unwrap();
    }
    let mark = dir.begin_call();
    let mut live: CapHashOrRef = dir.insert_working(Cap::CNode(root.clone())).into();
    let (mut most, mut collections) = (0, 0);
    for call in 0..1_000_000u64 {
        // A call: the callee's table changes, it gets new data, becomes a new value.
        let data = dir.insert_working(Cap::data_inline(&call.to_le_bytes()));
        root.set(SlotIdx((call % 256) as u32), Some(data.into())).unwrap();
        let table = dir.insert_working(root.clone().into());
        live = dir.insert_working(InstanceCap::new(image, image, table.into()).into()).into();
        collections += u32::from(dir.collect_if_due(&mark, || vec![live]));
        most = most.max(dir.working_len());
    }
    assert!(most < 10_000, "{most}");
    assert!(collections > 100 && collections < 2000, "{collections}");
    let hash = dir.settle(live).unwrap();
    dir.end_call(mark, &[hash.into()]);
    // The instance, its table, 256 data.
    assert_eq!(dir.len(), 258);
}

#[test]
fn what_is_live_is_not_collected_over_and_over() {
    let mut dir = CacheDirectory::new();
    let mark = dir.begin_call();
    let mut chain: CapHashOrRef = dir.insert_working(Cap::data_inline(b"x")).into();
    let mut collections = 0;
    for _ in 0..1_000_000 {
        chain = dir.insert_working(boxed(chain)).into();
        collections += u32::from(dir.collect_if_due(&mark, || vec![chain]));
    }
    assert_eq!(dir.working_len(), 1_000_001);
    assert!(collections < 20, "{collections}");
    dir.end_call(mark, &[]);
    assert!(dir.is_empty());
}

#[test]
fn a_store_stands_behind_the_directory() {
    let mut random = Random(55);
    let store = Arc::new(Memory::default());
    let mut dir = CacheDirectory::with_store(store.clone());
    let mut root = CNodeCap::new_root();
    let mut model = BTreeMap::new();
    for slot in 1..100 {
        let cap = random_data(&mut random).into();
        let name = dir.put_cap(&cap).unwrap();
        model.insert(slot, cap);
        root.set(SlotIdx(slot), Some(name.into())).unwrap();
    }
    // A kernel image has a name and no value: it counts as present.
    let kernel = kernel_image_hash("Gas");
    let instance = InstanceCap::new(kernel, kernel, dir.put_cap(&root.clone().into()).unwrap().into());
    let name = dir.put_cap(&instance.into()).unwrap();
    assert!(dir.contains(kernel.into()) && dir.get(kernel.into()).is_none());
    let count = dir.flush(name).unwrap();
    assert_eq!(count as usize, store.values.lock().unwrap().len());
    // Only what is new is written, and the store is not asked about the rest.
    store.asked.store(0, Ordering::Relaxed);
    let new = hash_cap(&mut dir, b"new");
    root.set(SlotIdx(5), Some(new)).unwrap();
    let table = dir.put_cap(&root.clone().into()).unwrap();
    assert_eq!(dir.flush(table), Ok(2));
    assert!(store.asked.load(Ordering::Relaxed) <= 2);

    let mut cold = CacheDirectory::with_store(store.clone());
    let Cap::Instance(instance) = &*cold.get(name.into()).unwrap() else { panic!("kind") };
    let Cap::CNode(table) = &*cold.get(instance.root_cnode).unwrap() else { panic!("kind") };
    for (slot, cap) in &model {
        assert_eq!(&*cold.fetch(table.get(SlotIdx(*slot)).unwrap()).unwrap(), cap);
    }
    let gets = store.gets.load(Ordering::Relaxed);
    assert!(cold.get(name.into()).is_some());
    assert_eq!(store.gets.load(Ordering::Relaxed), gets, "kept");
    cold.set_fetch_budget(0);
    for slot in [1, 2, 1] {
        assert!(cold.get(table.get(SlotIdx(slot)).unwrap()).is_some(), "let go, and fetched again");
    }
    assert!(cold.is_empty() && cold.contains(name.into()));
}

#[test]
fn a_store_is_not_believed() {
    let store = Arc::new(Memory::default());
    let (good, other) = (Cap::data_inline(b"good"), Cap::data_inline(b"other"));
    let (hash, found) = (good.hash().unwrap(), other.hash().unwrap());
    store.put(&hash, &encode(&other).unwrap()).unwrap();
    store.put(&[1; 32], &[9, 9]).unwrap();
    let mut dir = CacheDirectory::with_store(store.clone());
    assert_eq!(dir.fetch(hash.into()), Err(CapError::HashMismatch { expected: hash, found }));
    assert!(matches!(dir.fetch([1; 32].into()), Err(CapError::Malformed { .. })));
    assert_eq!(dir.fetch([2; 32].into()), Err(CapError::Missing { hash: [2; 32] }));
    assert_eq!(dir.get(hash.into()), None);
    // A value that is put in is held, whatever the store says.
    dir.put_cap(&good).unwrap();
    assert_eq!(*dir.get(hash.into()).unwrap(), good);
    store.fails.store(true, Ordering::Relaxed);
    assert_eq!(dir.fetch([3; 32].into()), Err(CapError::Store(StoreError::Io)));
    let name = dir.put_cap(&Cap::data_inline(b"unwritten")).unwrap();
    assert_eq!(dir.flush(name), Err(CapError::Store(StoreError::Io)));
    store.fails.store(false, Ordering::Relaxed);
    assert_eq!(dir.flush(name), Ok(1));
}

#[test]
fn a_missing_value_is_named() {
    let mut dir = CacheDirectory::new();
    let name = dir.put_cap(&boxed([7; 32].into())).unwrap();
    assert!(!dir.contains([7; 32].into()));
    assert_eq!(dir.fetch([7; 32].into()), Err(CapError::Missing { hash: [7; 32] }));
    let store = Memory::default();
    assert_eq!(dir.persist(name, &store), Err(CapError::Missing { hash: [7; 32] }));
    assert!(!store.contains(&name).unwrap(), "a parent is not written before its children");
    assert!(matches!(dir.flush(name), Err(CapError::Store(StoreError::ReadOnly))));
}

#[test]
fn pinned_values_are_data_or_images() {
    let mut dir = CacheDirectory::new();
    let data = dir.put_cap(&Cap::data_inline(b"rodata")).unwrap();
    let table = dir.put_cap(&Cap::empty_cnode(3).unwrap()).unwrap();
    let image = |hash| Cap::image_with_slots(&plain_image(3), &[(SlotIdx(9), hash)], &[]).unwrap();
    let first = dir.put_cap(&image(data)).unwrap();
    for good in [first, [8; 32], kernel_image_hash("Gas")] {
        dir.put_cap(&image(good)).unwrap();
    }
    let error = dir.put_cap(&image(table)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid image: pinned slot 9 holds a CNode: only Data and images can be pinned"
    );
    assert_eq!(dir.get(first.into()).unwrap().kind(), Kind::Image);
}

#[test]
fn copies_do_not_see_changes() {
    let mut dir = CacheDirectory::new();
    let reference = dir.insert_owned(Cap::data_inline(b"one"), Owner::NONE);
    let before = dir.get(reference.into()).unwrap();
    dir.modify(reference, |cap| *cap = Cap::Data(DataCap::new(b"two"))).unwrap();
    assert_eq!(*before, Cap::data_inline(b"one"));
    assert_eq!(*dir.get(reference.into()).unwrap(), Cap::data_inline(b"two"));
    assert!(!dir.is_owned(reference, Owner::NONE));
    let hash = dir.settle(reference.into()).unwrap();
    assert_eq!(decode(&encode(&dir.get(hash.into()).unwrap()).unwrap()).unwrap(), Cap::data_inline(b"two"));
}
