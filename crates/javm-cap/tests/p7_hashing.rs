//! Property 7: incremental hashing equals hashing from scratch, whatever the order of writes; a proof verifies against
//! its root and no other.
//!
//! The reference is a model of values that knows nothing of names, trees or directories, and a recursive hasher
//! over it, from section 3's table with plain BLAKE2b (`common`). Generated graphs with sharing and depth are
//! settled; tables are worked on in place, by the walks that guests' operations use, and named again and again.

mod common;

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use common::*;
use javm_cap::image::Image;
use javm_cap::path::{move_path, swap_paths, write_path};
use javm_cap::tree::pages::PageTree;
use javm_cap::tree::proof::{PageProof, SlotProof};
use javm_cap::{
    CNodeCap, CacheDirectory, Cap, CapHash, CapHashOrRef, DataCap, ImageCap, InstanceCap, Memory, SlotIdx,
    SlotPath, Status, Suspension, TypeCap, decode, encode,
};

/// A value, with what it holds instead of names.
enum Model {
    Data(Vec<u8>),
    Type(CapHash),
    Image(Image),
    CNode(u8, BTreeMap<u64, Rc<Model>>),
    Instance {
        lineage: CapHash,
        image: Rc<Model>,
        root: Rc<Model>,
        marker: Option<Rc<Model>>,
        status: Status,
        memory: (u32, BTreeMap<u64, Vec<u8>>),
    },
}

type Done = HashMap<*const Model, CapHash>;

/// Section 3, recursively.
fn naive(node: &Rc<Model>, done: &mut Done) -> CapHash {
    if let Some(hash) = done.get(&Rc::as_ptr(node)) {
        return *hash;
    }
    let hash = match &**node {
        Model::Data(bytes) => reference_data(bytes),
        Model::Type(lineage) => blake("javm:type", lineage),
        Model::Image(image) => blake("javm:image", &reference_image(image)),
        Model::CNode(k, slots) => {
            reference_cnode(*k, &slots.iter().map(|(slot, child)| (*slot, naive(child, done))).collect())
        }
        Model::Instance { lineage, image, root, marker, status, memory: (size, pages) } => {
            let mut status = status.clone();
            if let Status::Waiting(stopped) | Status::Paused(stopped) = &mut status {
                stopped.marker = marker.as_ref().map(|marker| naive(marker, done).into());
            }
            let pages = page_root(pages, depth_of(u64::from(*size).div_ceil(4096)));
            let memory = blake("javm:memory", &[&size.to_le_bytes()[..], &pages].concat());
            let parts = [*lineage, naive(image, done), naive(root, done), reference_status(&status), memory];
            blake("javm:instance", parts.as_flattened())
        }
    };
    done.insert(Rc::as_ptr(node), hash);
    hash
}

fn some(random: &mut Random, nodes: &[Rc<Model>], fits: impl Fn(&Model) -> bool) -> Option<Rc<Model>> {
    let fitting: Vec<_> = nodes.iter().filter(|node| fits(node)).collect();
    // The newest half of the time, so that graphs get deep.
    match fitting.len() as u64 {
        0 => None,
        n if random.below(2) == 0 => Some(Rc::clone(fitting[n as usize - 1])),
        n => Some(Rc::clone(fitting[random.below(n) as usize])),
    }
}

/// One more value, over those that there are.
fn generate(random: &mut Random, nodes: &[Rc<Model>]) -> Rc<Model> {
    let any = |random: &mut Random| some(random, nodes, |_| true);
    let image = some(random, nodes, |node| matches!(node, Model::Image(_)));
    let root = some(random, nodes, |node| matches!(node, Model::CNode(..)));
    Rc::new(match (random.below(8), image, root) {
        (0, ..) => {
            let far = if random.below(4) == 0 { random.below(9) * 4096 } else { 0 };
            let mut bytes = vec![0; far as usize];
            bytes.extend(random.bytes(9000));
            Model::Data(bytes)
        }
        (1, ..) => Model::Type(random.hash()),
        (2, ..) => {
            let mut image = full_image();
            image.jump_table = (0..random.below(5)).map(|_| random.next() as u32).collect();
            // What is pinned is Data or an image wherever it is at hand.
            image.pinned_slots.insert(SlotIdx(7), random.hash());
            Model::Image(image)
        }
        (3..=4, Some(image), Some(root)) => {
            let marker = if random.below(2) == 0 { any(random) } else { None };
            let mut regs = [0; 13];
            regs[random.below(13) as usize] = random.next();
            let mut stopped = random_suspension(random);
            stopped.marker = None;
            let status = match random.below(3) {
                0 => Status::Idle { regs, pc: random.next() },
                1 => Status::Waiting(stopped),
                _ => Status::Paused(stopped),
            };
            let size = random.below(40_000) as u32;
            let mut pages = BTreeMap::new();
            for _ in 0..random.below(4) {
                let index = random.below(u64::from(size).div_ceil(4096).max(1));
                let room = u64::from(size).saturating_sub(index * 4096).min(4096);
                pages.insert(index, random.bytes(room));
            }
            Model::Instance { lineage: random.hash(), image, root, marker, status, memory: (size, pages) }
        }
        _ => {
            let k = random.below(17) as u8;
            let mut slots = BTreeMap::new();
            for _ in 0..random.below(6) {
                if let Some(child) = any(random) {
                    slots.insert(random.below(1 << k), child);
                }
            }
            Model::CNode(k, slots)
        }
    })
}

/// The value of a node whose parts have these names.
fn cap(node: &Model, name: impl Fn(&Rc<Model>) -> CapHashOrRef) -> Cap {
    match node {
        Model::Data(bytes) => Cap::data_inline(bytes),
        Model::Type(lineage) => Cap::Type(TypeCap::new(*lineage)),
        Model::Image(image) => Cap::Image(ImageCap::new(image.clone()).unwrap()),
        Model::CNode(k, slots) => {
            let mut cnode = CNodeCap::new(*k).unwrap();
            for (slot, child) in slots {
                cnode.set(SlotIdx(*slot as u32), Some(name(child))).unwrap();
            }
            cnode.into()
        }
        Model::Instance { lineage, image, root, marker, status, memory: (size, pages) } => {
            let image = *name(image).as_hash().expect("images are put in settled");
            let mut instance = InstanceCap::new(*lineage, image, name(root));
            let mut status = status.clone();
            if let Status::Waiting(stopped) | Status::Paused(stopped) = &mut status {
                stopped.marker = marker.as_ref().map(&name);
            }
            instance.set_status(status);
            let mut memory = Memory::new(*size);
            for (index, bytes) in pages {
                memory.set_page(*index, bytes);
            }
            instance.set_memory(memory);
            instance.into()
        }
    }
}

/// How deep a graph is.
fn depth(node: &Rc<Model>, done: &mut HashMap<*const Model, u64>) -> u64 {
    if let Some(depth) = done.get(&Rc::as_ptr(node)) {
        return *depth;
    }
    let mut deepest = 0;
    match &**node {
        Model::CNode(_, slots) => slots.values().for_each(|child| deepest = deepest.max(depth(child, done))),
        Model::Instance { image, root, marker, .. } => {
            for child in [Some(image), Some(root), marker.as_ref()].into_iter().flatten() {
                deepest = deepest.max(depth(child, done));
            }
        }
        Model::Data(_) | Model::Type(_) | Model::Image(_) => {}
    }
    done.insert(Rc::as_ptr(node), deepest + 1);
    deepest + 1
}

#[test]
fn settled_graphs_are_named_as_by_recursion_from_scratch() {
    let (mut nodes_seen, mut deep) = (0, 0);
    for seed in 1..=120u64 {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut nodes: Vec<Rc<Model>> = Vec::new();
        for _ in 0..40 {
            let next = generate(&mut random, &nodes);
            nodes.push(next);
        }
        let (mut dir, mut names) = (CacheDirectory::new(), HashMap::new());
        let mark = dir.begin_call();
        for node in &nodes {
            let cap = cap(node, |child| names[&Rc::as_ptr(child)]);
            let name = match &**node {
                // Some parts come settled, which settles what is below them.
                Model::Image(_) => dir.put_cap(&cap).unwrap().into(),
                _ if random.below(10) == 0 => dir.put_cap(&cap).unwrap().into(),
                _ => CapHashOrRef::Ref(dir.insert_working(cap)),
            };
            names.insert(Rc::as_ptr(node), name);
        }
        let mut done = Done::new();
        // In any order: what is below is settled by the way, or was.
        let mut order: Vec<usize> = (0..nodes.len()).collect();
        order.sort_by_cached_key(|_| random.next());
        for n in order {
            let node = &nodes[n];
            let name = names[&Rc::as_ptr(node)];
            let hash = naive(node, &mut done);
            assert_eq!(dir.settle(name), Ok(hash), "seed {seed}, node {n}");
            assert_eq!(dir.settle(name), Ok(hash), "again");
            // The value that is held, and the one that its bytes give, are named so too.
            let held = dir.get(hash.into()).unwrap();
            assert_eq!((held.hash(), reference_hash(&held)), (Ok(hash), hash));
            assert_eq!(decode(&encode(&held).unwrap()).unwrap().hash(), Ok(hash));
        }
        let roots: Vec<_> = nodes.iter().map(|node| CapHashOrRef::Hash(done[&Rc::as_ptr(node)])).collect();
        dir.end_call(mark, &roots);
        assert_eq!(dir.working_len(), 0);
        assert!(roots.iter().all(|root| dir.contains(*root)));
        nodes_seen += nodes.len();
        deep += u64::from(nodes.iter().map(|node| depth(node, &mut HashMap::new())).max() > Some(6));
    }
    assert!(nodes_seen >= 4800 && deep > 60, "{nodes_seen} values, {deep} deep graphs");
}

/// A table in the model: `k`, and what its slots hold.
type Slots = BTreeMap<u64, Rc<Model>>;

/// What is at a path, and the same table with something else there; `None`: the path leads nowhere.
fn replace(table: &Slots, way: &[u64], new: Option<Rc<Model>>) -> Option<(Option<Rc<Model>>, Slots)> {
    let (slot, rest) = way.split_first()?;
    let mut table = table.clone();
    let old = table.get(slot).cloned();
    let (found, put) = match rest {
        [] => (old, new),
        _ => {
            let Model::CNode(k, slots) = &*old? else { return None };
            if rest[0] >= 1 << k {
                return None;
            }
            let (found, slots) = replace(slots, rest, new)?;
            (found, Some(Rc::new(Model::CNode(*k, slots))))
        }
    };
    match put {
        None => table.remove(slot),
        Some(node) => table.insert(*slot, node),
    };
    Some((found, table))
}

fn look(table: &Slots, way: &[u64]) -> Option<Option<Rc<Model>>> {
    replace(table, way, None).map(|(found, _)| found)
}

fn random_way(random: &mut Random) -> Vec<u64> {
    let mut way = vec![random.below(4)];
    (0..random.below(4)).for_each(|_| way.push(random.below(4)));
    way
}

fn path(way: &[u64]) -> SlotPath {
    way[1..].iter().fold(SlotPath::root(way[0] as u8), |path, step| path.step(*step as u16).unwrap())
}

/// Tables that are worked on in place, three cnodes deep, by the walks of the guests' operations, and named in between:
/// what a name costs is what changed, and what it is does not depend on what was named before.
#[test]
fn tables_worked_on_are_named_as_by_recursion_from_scratch() {
    let mut done_ops = [0u32; 5];
    for seed in 1..=60u64 {
        let mut random = Random(seed.wrapping_mul(0xD134_2543_DE82_EF95));
        let mut dir = CacheDirectory::new();
        let owner = dir.new_owner();
        let (mut table, mut model) = (CNodeCap::new(8).unwrap(), Slots::new());
        for _ in 0..900 {
            let (a, b) = (random_way(&mut random), random_way(&mut random));
            let apart = !a.starts_with(&b) && !b.starts_with(&a);
            let (at_a, at_b) = (look(&model, &a), look(&model, &b));
            let op = random.below(5);
            match (op, at_a, at_b) {
                // Something new: a cnode half of the time.
                (0, Some(_), _) => {
                    let (node, cap) = if random.below(2) == 0 {
                        let k = random.below(3) as u8 + 1;
                        (Model::CNode(k, Slots::new()), Cap::empty_cnode(k).unwrap())
                    } else {
                        let bytes = random.bytes(100);
                        (Model::Data(bytes.clone()), Cap::data_inline(&bytes))
                    };
                    let name = dir.insert_owned(cap, owner);
                    write_path(&mut dir, &mut table, path(&a), Some(name.into()), owner).unwrap();
                    model = replace(&model, &a, Some(Rc::new(node))).unwrap().1;
                }
                // A copy shares, and is named for that.
                (1, Some(Some(node)), Some(_)) => {
                    let name = javm_cap::path::read_source(&dir, &table, path(&a)).unwrap();
                    let hash = dir.settle(name).unwrap();
                    assert_eq!(hash, naive(&node, &mut Done::new()));
                    write_path(&mut dir, &mut table, path(&b), Some(hash.into()), owner).unwrap();
                    model = replace(&model, &b, Some(node)).unwrap().1;
                }
                (2, Some(Some(node)), Some(_)) if apart => {
                    move_path(&mut dir, &mut table, path(&a), path(&b), owner).unwrap();
                    model = replace(&model, &a, None).unwrap().1;
                    model = replace(&model, &b, Some(node)).unwrap().1;
                }
                (3, Some(one), Some(other)) if apart => {
                    swap_paths(&mut dir, &mut table, path(&a), path(&b), owner).unwrap();
                    model = replace(&model, &a, other).unwrap().1;
                    model = replace(&model, &b, one).unwrap().1;
                }
                (4, Some(Some(_)), _) if random.below(6) == 0 => {
                    write_path(&mut dir, &mut table, path(&a), None, owner).unwrap();
                    model = replace(&model, &a, None).unwrap().1;
                }
                _ => continue,
            }
            done_ops[op as usize] += 1;
            if random.below(8) == 0 {
                let name = dir.put_cap(&Cap::CNode(table.clone())).unwrap();
                let root = Rc::new(Model::CNode(8, model.clone()));
                assert_eq!(name, naive(&root, &mut Done::new()), "seed {seed}");
            }
        }
    }
    assert!(done_ops.iter().all(|n| *n > 100), "{done_ops:?}");
}

/// Every kind that is written piece by piece, in three orders, named in between or not.
#[test]
fn the_order_of_writes_does_not_matter() {
    for seed in 1..=80u64 {
        let mut random = Random(seed.wrapping_mul(0xA076_1D64_78BD_642F));
        // Each place is written more than once; what counts is the last time.
        let mut last: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        let mut writes: Vec<(u64, Vec<u8>)> = Vec::new();
        for _ in 0..random.below(30) + 2 {
            let bits = random.below(12);
            let index = random.below(1 << bits);
            let bytes = if random.below(4) == 0 { Vec::new() } else { random.bytes(4096) };
            last.insert(index, bytes.clone());
            writes.push((index, bytes));
        }
        let mut orders = vec![writes];
        for _ in 0..2 {
            let mut order: Vec<_> = last.iter().map(|(index, bytes)| (*index, bytes.clone())).collect();
            order.sort_by_cached_key(|_| random.next());
            orders.push(order);
        }
        orders.push(last.iter().rev().map(|(index, bytes)| (*index, bytes.clone())).collect());
        let len = last.iter().rev().find_map(|(index, bytes)| {
            let used = bytes.iter().rposition(|byte| *byte != 0)?;
            Some(index * 4096 + used as u64 + 1)
        });
        let size = (last.keys().last().unwrap() + 1) as u32 * 4096;
        let slots: BTreeMap<u64, CapHash> =
            last.iter().filter(|(_, b)| !b.is_empty()).map(|(i, b)| (*i, blake("x", b))).collect();
        let mut stopped = Suspension::new([seed; 13], 7, true);
        for (index, bytes) in &last {
            stopped.ephemeral.set_page(*index, bytes);
        }
        let expected = [
            {
                let len = len.unwrap_or(0);
                let pages = last.iter().filter(|(index, _)| **index < len.div_ceil(4096));
                let root =
                    page_root(&pages.map(|(i, b)| (*i, b.clone())).collect(), depth_of(len.div_ceil(4096)));
                blake("javm:data", &[&len.to_le_bytes()[..], &root].concat())
            },
            reference_cnode(12, &slots),
            blake(
                "javm:memory",
                &[&size.to_le_bytes()[..], &page_root(&last, depth_of(u64::from(size / 4096)))].concat(),
            ),
            reference_status(&Status::Paused(stopped)),
        ];
        for order in orders {
            for ask in [false, true] {
                let (mut data, mut cnode) = (DataCap::default(), CNodeCap::new(12).unwrap());
                let (mut memory, mut stopped) = (Memory::new(size), Suspension::new([seed; 13], 7, true));
                let mut instance = InstanceCap::new([1; 32], [2; 32], [3; 32].into());
                for (index, bytes) in &order {
                    data = data.with_pages([(*index, &bytes[..])]);
                    let name = (!bytes.is_empty()).then(|| blake("x", bytes).into());
                    cnode.set(SlotIdx(*index as u32), name).unwrap();
                    memory.set_page(*index, bytes);
                    stopped.ephemeral.set_page(*index, bytes);
                    if ask && random.below(3) == 0 {
                        let _ = (data.hash(), Cap::CNode(cnode.clone()).hash(), stopped.ephemeral.root());
                        instance.set_memory(memory.clone());
                        instance.set_status(Status::Paused(stopped.clone()));
                        let _ = Cap::Instance(instance.clone()).hash();
                    }
                }
                instance.set_memory(memory);
                instance.set_status(Status::Paused(stopped));
                assert_eq!(data.hash(), expected[0], "seed {seed}");
                assert_eq!(Cap::CNode(cnode).hash(), Ok(expected[1]), "seed {seed}");
                let parts = [[1; 32], [2; 32], [3; 32], expected[3], expected[2]];
                let name = blake("javm:instance", parts.as_flattened());
                assert_eq!(Cap::Instance(instance).hash(), Ok(name), "seed {seed}");
            }
        }
    }
}

#[test]
fn an_image_has_one_name_however_it_is_written_down() {
    let image = full_image();
    let name = ImageCap::new(image.clone()).unwrap().hash();
    assert_eq!(name, blake("javm:image", &reference_image(&image)));
    // Padding of the bitmask, and the order in which maps were filled.
    let mut other = Image::default();
    for (slot, hash) in image.initial_slots.iter().rev() {
        other.initial_slots.insert(*slot, *hash);
    }
    other.endpoints = image.endpoints.iter().rev().map(|(n, def)| (*n, def.clone())).collect();
    other.packed_bitmask = image.packed_bitmask.iter().copied().chain([0xFF, 3]).collect();
    let bits = image.code.len() % 8;
    other.packed_bitmask[image.code.len() / 8] |= (0xFFu32 << bits) as u8;
    let Image {
        code,
        jump_table,
        memory_mappings,
        gas_slots,
        quota_slots,
        pinned_slots,
        yield_marker_slot,
        ..
    } = image.clone();
    let other = Image {
        code,
        jump_table,
        memory_mappings,
        gas_slots,
        quota_slots,
        pinned_slots,
        yield_marker_slot,
        ..other
    };
    assert_eq!(ImageCap::new(other).unwrap().hash(), name);
    // What counts for execution counts for the name.
    let changes: [fn(&mut Image); 9] = [
        |i| i.jump_table[0] += 1,
        |i| i.endpoints.retain(|number, _| *number != 7),
        |i| i.memory_mappings.swap(0, 1),
        |i| i.gas_slots.reverse(),
        |i| i.quota_slots.clear(),
        |i| i.pinned_slots.extend([(SlotIdx(255), [0x12; 32])]),
        |i| i.initial_slots.retain(|slot, _| slot.0 != 3),
        |i| i.yield_marker_slot = None,
        |i| i.code[3] = 0,
    ];
    let mut names = vec![name];
    for change in changes {
        let mut changed = image.clone();
        change(&mut changed);
        names.push(ImageCap::new(changed).unwrap().hash());
    }
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

/// Proofs of every leaf of a population against every root of it: they hold where the leaf is that leaf, and nowhere
/// else. And every node of a proof counts: it can neither be changed, left out, nor put elsewhere.
#[test]
fn a_proof_holds_for_its_root_and_no_other() {
    let mut random = Random(4711);
    let datas: Vec<DataCap> = (0..12)
        .map(|n| {
            // Neighbours share all pages but one.
            let pages = [0, 1, 3, 4, 5, 8, 9][n % 7];
            let shared: Vec<u8> = (0..pages * 4096).map(|i| (i / 4096) as u8 + 1).collect();
            DataCap::new(&shared).with_pages([(pages as u64, &[n as u8 + 1; 7][..])])
        })
        .collect();
    let mut held = 0;
    for data in &datas {
        for index in 0..data.content_len().div_ceil(4096) {
            let proof = PageProof::new(data, index).unwrap();
            let page = data.page(index).unwrap_or_default();
            for other in &datas {
                let same = other.hash() == data.hash();
                assert_eq!(proof.verify(&other.hash(), index, page), same);
                held += u32::from(same);
            }
            each_node_counts(&proof.to_bytes()[8..], |nodes| {
                let bytes = [&data.content_len().to_le_bytes()[..], nodes].concat();
                PageProof::from_bytes(&bytes).is_ok_and(|proof| proof.verify(&data.hash(), index, page))
            });
            // Another length with the same tree is another Data.
            for delta in [1, 4096] {
                let bytes =
                    [&(data.content_len() + delta).to_le_bytes()[..], &proof.to_bytes()[8..]].concat();
                let verdict =
                    PageProof::from_bytes(&bytes).map(|proof| proof.verify(&data.hash(), index, page));
                assert_ne!(verdict, Ok(true));
            }
        }
    }
    assert!(held > 50, "{held}");
    let cnodes: Vec<(u8, BTreeMap<u64, CapHash>)> = (0..14)
        .map(|n| {
            let k = [0u8, 1, 2, 4, 5, 8, 16][n % 7];
            (k, (0..9).map(|i| (i * 7 % (1 << k), [i as u8 + 1; 32])).chain([(0, random.hash())]).collect())
        })
        .collect();
    let caps: Vec<CNodeCap> = cnodes
        .iter()
        .map(|(k, slots)| {
            let mut cnode = CNodeCap::new(*k).unwrap();
            for (slot, hash) in slots {
                cnode.set(SlotIdx(*slot as u32), Some((*hash).into())).unwrap();
            }
            cnode
        })
        .collect();
    let names: Vec<CapHash> = cnodes.iter().map(|(k, slots)| reference_cnode(*k, slots)).collect();
    for (n, (k, slots)) in cnodes.iter().enumerate() {
        for slot in 0..(1u64 << k).min(64) {
            let (content, at) = (slots.get(&slot), SlotIdx(slot as u32));
            let proof = SlotProof::new(&caps[n], at).unwrap();
            for (other, name) in names.iter().enumerate() {
                assert_eq!(
                    proof.verify(name, at, content),
                    other == n,
                    "cnode {n}, slot {slot}, root {other}"
                );
            }
            // Of another slot it says what is so: both may be empty, side by side.
            for wrong in (0..(1u64 << k).min(64)).filter(|wrong| *wrong != slot) {
                let holds = proof.verify(&names[n], SlotIdx(wrong as u32), content);
                assert!(!holds || slots.get(&wrong) == content);
            }
            each_node_counts(&proof.to_bytes()[1..], |nodes| {
                let bytes = [&[*k][..], nodes].concat();
                SlotProof::from_bytes(&bytes).is_ok_and(|proof| proof.verify(&names[n], at, content))
            });
        }
    }
    // Neither a page nor a slot of one kind is one of the other: the roots are made with different tags.
    assert!(names.iter().all(|name| datas.iter().all(|data| data.hash() != *name)));
}

fn each_node_counts(nodes: &[u8], holds: impl Fn(&[u8]) -> bool) {
    assert!(holds(nodes));
    for n in 0..nodes.len() / 32 {
        for bit in [0, 100, 255] {
            let mut bad = nodes.to_vec();
            bad[n * 32 + bit / 8] ^= 1 << (bit % 8);
            assert!(!holds(&bad), "node {n}");
        }
        let mut bad = nodes.to_vec();
        bad[n * 32..][..32].fill(0);
        // An empty slot beside the lowest leaf is the zero hash itself.
        assert!(bad == nodes || !holds(&bad), "node {n}");
        let mut shorter = nodes.to_vec();
        shorter.drain(n * 32..(n + 1) * 32);
        assert!(!holds(&shorter), "without node {n}");
        for other in 0..n {
            let mut swapped = nodes.to_vec();
            swapped[n * 32..][..32].copy_from_slice(&nodes[other * 32..][..32]);
            swapped[other * 32..][..32].copy_from_slice(&nodes[n * 32..][..32]);
            assert!(swapped == nodes || !holds(&swapped), "nodes {other} and {n} exchanged");
        }
    }
}

/// The page tree alone: whatever it went through, it is what its pages say.
#[test]
fn page_trees_grow_and_shrink() {
    for seed in 1..=60u64 {
        let mut random = Random(seed.wrapping_mul(0xE703_7ED1_A0B4_28DB));
        let (mut tree, mut model, mut depth) = (PageTree::new(1), BTreeMap::new(), 0);
        for _ in 0..60 {
            match random.below(6) {
                0 => {
                    let bits = random.below(10);
                    let pages = random.below(1 << bits) + 1;
                    tree.resize(pages);
                    depth = depth_of(pages);
                    model.retain(|index, _| *index < pages);
                }
                _ => {
                    let index = random.below(1 << depth);
                    let bytes = if random.below(3) == 0 { Vec::new() } else { random.bytes(4096) };
                    tree.set_page(index, &bytes);
                    model.insert(index, bytes);
                }
            }
            if random.below(3) == 0 {
                assert_eq!(tree.root(), page_root(&model, depth), "seed {seed}");
            }
        }
        assert_eq!(tree.root(), page_root(&model, depth));
    }
}
