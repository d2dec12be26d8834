//! Trees against models: what they hold, what they hash to, and how many compressions that takes.

use std::collections::{BTreeMap, BTreeSet};

use super::pages::PageTree;
use super::slots::SlotTree;
use super::*;
use crate::hash::{self, PAGE_COST, meter};
use crate::name::CapHashOrRef;

/// A small generator with a fixed seed: the same run every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

fn name(seed: u64) -> CapHashOrRef {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&(seed | 1).to_le_bytes());
    CapHashOrRef::Hash(hash)
}

/// Root of the subtree over `leaves`, whose keys are relative to it.
fn scratch(leaves: &BTreeMap<u64, CapHash>, first: u64, depth: u32, zeros: &[CapHash]) -> CapHash {
    if leaves.range(first..first + (1 << depth)).next().is_none() {
        return zeros[depth as usize];
    }
    if depth == 0 {
        return leaves[&first];
    }
    let half = 1 << (depth - 1);
    let left = scratch(leaves, first, depth - 1, zeros);
    hash::node(&left, &scratch(leaves, first + half, depth - 1, zeros))
}

/// Inner nodes that cover a dirty leaf and are not all zero.
fn nodes_to_hash(held: &BTreeMap<u64, CapHash>, dirty: &BTreeSet<u64>, depth: u32) -> u64 {
    let mut nodes = BTreeSet::new();
    for leaf in dirty {
        for height in 1..=depth {
            let at = leaf >> height;
            if held.range(at << height..(at + 1) << height).next().is_some() {
                nodes.insert((height, at));
            }
        }
    }
    nodes.len() as u64
}

#[test]
fn slots_agree_with_a_map_and_cost_what_they_say() {
    let zeros: Vec<_> = (0..=16).map(|depth| SlotTree::new(depth).root()).collect();
    for depth in 0..=16u8 {
        let mut random = Random(0x1234_5678 + u64::from(depth));
        let (mut tree, mut map) = (SlotTree::new(depth), BTreeMap::new());
        let mut dirty = BTreeSet::new();
        for _ in 0..400 {
            let at = random.below(1 << depth);
            let leaf = (random.below(3) > 0).then(|| name(random.next()));
            let old = match leaf {
                Some(leaf) => map.insert(at, leaf.name()),
                None => map.remove(&at),
            };
            assert_eq!(tree.set(at, leaf).map(|old| old.name()), old);
            if old.is_some() || leaf.is_some() {
                dirty.insert(at);
            }
            assert_eq!(tree.count(), map.len() as u64);
            if random.below(8) == 0 {
                let expected = nodes_to_hash(&map, &dirty, u32::from(depth));
                assert_eq!(tree.cost(u64::MAX), expected, "depth {depth}");
                let root = scratch(&map, 0, u32::from(depth), &zeros);
                meter::take();
                assert_eq!(tree.root(), root);
                assert_eq!(meter::take(), expected);
                assert_eq!(tree.cost(u64::MAX), 0);
                dirty.clear();
            }
            if random.below(16) == 0 {
                // A copy that goes its own way leaves the original alone.
                let mut copy = tree.clone();
                copy.set(at, Some(name(random.next())));
                assert_eq!(copy.root() == tree.root(), copy == tree);
                dirty.clear();
            }
        }
        let held: Vec<_> = tree.iter().map(|(at, leaf)| (at, leaf.name())).collect();
        assert_eq!(held, map.clone().into_iter().collect::<Vec<_>>());
        assert_eq!(tree.last().map(|(at, _)| at), map.keys().next_back().copied());
        map.keys().copied().collect::<Vec<_>>().into_iter().for_each(|at| {
            tree.set(at, None);
        });
        assert!(tree == SlotTree::new(depth) && tree.root.is_none());
    }
}

#[test]
fn working_values_are_found_without_looking_at_the_rest() {
    let mut tree = SlotTree::new(16);
    let reference = CapHashOrRef::Ref(crate::name::CapRef { index: 1, generation: 2 });
    for at in 0..5000 {
        tree.set(at * 13, Some(name(at)));
    }
    assert!(!tree.has_refs());
    for at in [64_999, 0, 77] {
        tree.set(at, Some(reference));
    }
    assert_eq!(tree.refs().map(|(at, _)| at).collect::<Vec<_>>(), [0, 77, 64_999]);
    tree.set(0, Some(name(9)));
    tree.set(77, None);
    tree.set(64_999, None);
    assert!(!tree.has_refs());
}

#[test]
fn pages_cost_the_page_and_its_path() {
    let mut tree = PageTree::new(4096);
    for index in 0..4096u64 {
        tree.set_page(index, &(index + 1).to_le_bytes());
    }
    assert_eq!(tree.hash_cost(u64::MAX), 4096 * PAGE_COST + 4095);
    let _ = tree.root();
    let before = tree.clone();
    tree.set_page(1234, &[7; 4096]);
    assert_eq!(tree.hash_cost(u64::MAX), PAGE_COST + 12);
    meter::take();
    let root = tree.root();
    assert_eq!(meter::take(), PAGE_COST + 12);
    assert_ne!(root, before.root());
    assert_eq!(before.hash_cost(u64::MAX), 0);
    // The limit ends the count early, past the limit.
    tree.resize(4096);
    let mut fresh = PageTree::new(4096);
    (0..4096).for_each(|index| assert!(fresh.set_page(index, &[1])));
    let early = fresh.hash_cost(100);
    assert!(early > 100 && early < 100 + 16 * PAGE_COST + 64);
}

#[test]
fn depth_changes_keep_what_is_known() {
    let mut random = Random(99);
    let mut tree = PageTree::new(1);
    let mut map: BTreeMap<u64, CapHash> = BTreeMap::new();
    let zeros: Vec<_> = (0..=12).map(|depth| PageTree::with_depth(depth).root()).collect();
    for round in 0..600 {
        let most = 1 << random.below(11);
        let pages = 1 + random.below(most);
        tree.resize(pages);
        map.retain(|at, _| *at < pages);
        for _ in 0..random.below(4) {
            let at = random.below(pages);
            let page = random.next().to_le_bytes();
            assert!(tree.set_page(at, &page));
            map.insert(at, hash::page(&page));
        }
        let depth = pages::depth_for(pages);
        assert_eq!(tree.depth(), depth);
        if random.below(3) > 0 {
            let expected = tree.hash_cost(u64::MAX);
            let root = scratch(&map, 0, u32::from(depth), &zeros);
            meter::take();
            assert_eq!(tree.root(), root, "round {round}");
            assert_eq!(meter::take(), expected);
        }
    }
    // Growing by one level costs the new nodes, not the old ones.
    let mut tree = PageTree::new(16);
    (0..16).for_each(|index| assert!(tree.set_page(index, &[1])));
    let _ = tree.root();
    tree.resize(17);
    tree.set_page(16, &[2]);
    assert_eq!(tree.hash_cost(u64::MAX), PAGE_COST + 5);
}

#[test]
fn stamps_are_cleared_by_changes() {
    let mut tree = SlotTree::new(8);
    (0..256).for_each(|at| {
        tree.set(at, Some(name(at)));
    });
    let visits = |tree: &SlotTree, cycle, stays: bool| {
        let mut count = 0;
        tree.scan(cycle, 1, |_| {
            count += 1;
            stays
        });
        count
    };
    assert_eq!((visits(&tree, 2, false), visits(&tree, 2, false), visits(&tree, 3, true)), (256, 0, 256));
    assert_eq!(visits(&tree, 4, true), 0);
    let mut copy = tree.clone();
    copy.set(100, None);
    assert_eq!((visits(&copy, 5, true), visits(&tree, 6, true)), (15, 0));
    copy.set(100, Some(name(3)));
    assert_eq!(visits(&copy, 7, true), 16);
}

#[test]
fn siblings_lead_to_the_root() {
    let mut random = Random(5);
    for depth in 0..=13u8 {
        let mut tree = SlotTree::new(depth);
        for _ in 0..60 {
            tree.set(random.below(1 << depth), Some(name(random.next())));
        }
        for _ in 0..60 {
            let at = random.below(1 << depth);
            let leaf = tree.get(at).map_or([0; 32], Leaf::name);
            let siblings = tree.siblings(at);
            assert_eq!(siblings.len(), usize::from(depth));
            let root = siblings.iter().enumerate().fold(leaf, |below, (height, beside)| {
                if at >> height & 1 == 0 { hash::node(&below, beside) } else { hash::node(beside, &below) }
            });
            assert_eq!(root, tree.root(), "depth {depth} leaf {at}");
        }
    }
}
