//! Persistent hashed trees.
//!
//! [`pages`] and [`slots`] are what the rest of the world uses; [`proof`] proves leaves of both. All of
//! them are the one [`Tree`] of this file.
//!
//! Two trees lie over the same leaves. The *hashed* one is binary and complete: depth `d`, `2^d` leaves,
//! missing leaves are zero (capability machine, section 3). The one *in memory* has 16 children per node
//! and keeps only what is not zero; a node stands for a subtree of height 4 of the binary tree and keeps
//! the inner hashes of that subtree.
//!
//! * Nodes are shared (`Arc`): a clone of a tree is one pointer, a write copies the nodes on its path that
//!   others hold too.
//! * Nothing is hashed by a write. A write marks the child as dirty beside the inner hashes that were
//!   known; when somebody asks for the root, only inner nodes above dirty leaves are hashed again. So a
//!   root after changes to `d` of `n` leaves costs at most `d * log2(n)` digests, and exactly as many as
//!   [`Tree::cost`] says.
//! * Inner hashes lie in order (left subtree, node, right subtree): the leftmost `2^k` leaves of a node own
//!   the first `2^k - 1` places. A tree that grows or shrinks therefore keeps what it knew.
//!
//! Invariant: no leaf is zero, no node is empty, no leaf lies at or past `2^depth`.

pub mod pages;
pub mod proof;
pub(crate) mod slots;

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::hash::{self, CapHash, HEIGHTS, Tag};

/// Children of a node, as a power of two.
const FAN_LOG: u32 = 4;
const FAN: usize = 1 << FAN_LOG;

/// What a tree needs to know of its leaves.
pub(crate) trait Leaf: Clone + PartialEq {
    /// Roots of all-zero trees, by height.
    fn zeros() -> &'static [CapHash; HEIGHTS];
    /// Whether the leaf names a working value.
    fn is_ref(&self) -> bool;
    /// Computes the hashes of those leaves that have none yet.
    fn hash_all(leaves: &[Self]);
    /// The leaf's hash. Of a leaf that names a working value: zeros; callers refuse such trees before.
    fn name(&self) -> CapHash;
    /// Compressions that [`Leaf::hash_all`] would take for this leaf.
    fn cost(&self) -> u64;
}

/// A complete binary hash tree of `2^depth` leaves, most of them zero.
pub(crate) struct Tree<L> {
    root: Option<Arc<Node<L>>>,
    depth: u8,
}

enum Kids<L> {
    Leaves(Vec<L>),
    Nodes(Vec<Arc<Node<L>>>),
}

struct Node<L> {
    /// Which of the 16 children there are. `kids` holds those, in order.
    present: u16,
    /// Which children name working values, or hold leaves that do.
    refs: u16,
    /// Which children changed since `base` was right.
    dirty: u16,
    /// Leaves below.
    count: u64,
    kids: Kids<L>,
    /// Inner hashes, in order; right as they stand.
    known: OnceLock<Arc<[CapHash]>>,
    /// Inner hashes from before the changes that `dirty` lists.
    base: Option<Arc<[CapHash]>>,
    /// When a collector last saw this node; see [`Tree::scan`].
    stamp: AtomicU64,
}

impl<L> Clone for Tree<L> {
    fn clone(&self) -> Self {
        Self { root: self.root.clone(), depth: self.depth }
    }
}

impl<L: Clone> Clone for Kids<L> {
    fn clone(&self) -> Self {
        match self {
            Self::Leaves(leaves) => Self::Leaves(leaves.clone()),
            Self::Nodes(nodes) => Self::Nodes(nodes.clone()),
        }
    }
}

/// A node is cloned in order to be changed: the copy carries no stamp.
impl<L: Clone> Clone for Node<L> {
    fn clone(&self) -> Self {
        Self {
            present: self.present,
            refs: self.refs,
            dirty: self.dirty,
            count: self.count,
            kids: self.kids.clone(),
            known: self.known.clone(),
            base: self.base.clone(),
            stamp: AtomicU64::new(0),
        }
    }
}

/// Place, among the inner hashes of a node, of the root of the `at`-th subtree of height `height >= 1`.
const fn in_order(height: u32, at: usize) -> usize {
    ((2 * at + 1) << (height - 1)) - 1
}

/// The children that the `at`-th subtree of height `height` covers.
const fn span(height: u32, at: usize) -> u16 {
    let width = 1usize << height;
    (((1u32 << width) - 1) << (at * width)) as u16
}

/// Position in `kids` of the child `i`.
const fn rank(present: u16, i: u32) -> usize {
    (present & ((1 << i) - 1)).count_ones() as usize
}

/// The children in a mask, ascending.
fn members(mut mask: u16) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let i = mask.trailing_zeros();
        mask &= mask.wrapping_sub(1);
        (i < u16::BITS).then_some(i)
    })
}

/// How many nodes lie above each other in a tree of this depth.
const fn levels(depth: u8) -> u32 {
    let levels = (depth as u32).div_ceil(FAN_LOG);
    if levels == 0 { 1 } else { levels }
}

/// Height of the binary subtree that the topmost node stands for.
const fn top_height(depth: u8) -> u32 {
    depth as u32 - FAN_LOG * (levels(depth) - 1)
}

impl<L: Leaf> Node<L> {
    fn new(level: u32) -> Self {
        Self {
            present: 0,
            refs: 0,
            dirty: 0,
            count: 0,
            kids: if level == 0 {
                // Room for one, not for the four that a vector starts with: cnodes of one slot are common.
                Kids::Leaves(Vec::with_capacity(1))
            } else {
                Kids::Nodes(Vec::with_capacity(1))
            },
            known: OnceLock::new(),
            base: None,
            stamp: AtomicU64::new(0),
        }
    }

    /// Whether the inner hashes of the leftmost subtree of this height are known.
    fn is_known(&self, height: u32) -> bool {
        self.known.get().is_some_and(|known| known.len() + 1 >= 1 << height)
    }

    /// Says that children are about to change: what was known becomes the base.
    fn touch(&mut self, children: u16) {
        if let Some(known) = self.known.take() {
            self.base = Some(known);
            self.dirty = 0;
        }
        self.dirty |= children;
        *self.stamp.get_mut() = 0;
    }

    /// Puts a leaf at `index` below this node, or clears it, and returns what was there.
    fn put(this: &mut Arc<Self>, level: u32, index: u64, leaf: Option<L>) -> Option<L> {
        let node = Arc::make_mut(this);
        let i = (index >> (FAN_LOG * level)) as u32 % FAN as u32;
        let (bit, at) = (1u16 << i, rank(node.present, i));
        node.touch(bit);
        let (there, fills) = (node.present & bit != 0, leaf.is_some());
        let old = match &mut node.kids {
            Kids::Leaves(leaves) => {
                let refs = leaf.as_ref().is_some_and(L::is_ref);
                node.refs = if refs { node.refs | bit } else { node.refs & !bit };
                match leaf {
                    Some(leaf) if there => Some(std::mem::replace(&mut leaves[at], leaf)),
                    Some(leaf) => {
                        leaves.insert(at, leaf);
                        None
                    }
                    None if there => Some(leaves.remove(at)),
                    None => None,
                }
            }
            Kids::Nodes(nodes) => {
                if !there {
                    nodes.insert(at, Arc::new(Self::new(level - 1)));
                }
                let old = Self::put(&mut nodes[at], level - 1, index, leaf);
                let (refs, empty) = (nodes[at].refs != 0, nodes[at].present == 0);
                node.refs = if refs { node.refs | bit } else { node.refs & !bit };
                if empty {
                    nodes.remove(at);
                    node.present &= !bit;
                } else {
                    node.present |= bit;
                }
                node.count = node.count + u64::from(fills) - u64::from(old.is_some());
                return old;
            }
        };
        node.present = if fills { node.present | bit } else { node.present & !bit };
        node.count = node.count + u64::from(fills) - u64::from(old.is_some());
        old
    }

    /// The children above which inner hashes must be computed again.
    fn stale(&self, height: u32) -> u16 {
        match &self.base {
            None => u16::MAX,
            Some(base) if base.len() + 1 < 1 << height => self.dirty | 1 << (base.len() + 1),
            Some(_) => self.dirty,
        }
    }

    /// Root of the leftmost subtree of this height.
    fn hash(&self, level: u32, height: u32) -> CapHash {
        if height > 0 {
            return self.known.get_or_init(|| self.compute(level, height))[in_order(height, 0)];
        }
        match &self.kids {
            Kids::Leaves(leaves) => {
                L::hash_all(leaves);
                leaves.first().map_or(L::zeros()[0], L::name)
            }
            Kids::Nodes(nodes) => nodes[0].hash(level - 1, FAN_LOG),
        }
    }

    /// The inner hashes of the leftmost subtree of this height.
    fn compute(&self, level: u32, height: u32) -> Arc<[CapHash]> {
        let zeros = &L::zeros()[(FAN_LOG * level) as usize..];
        let width = 1usize << height;
        // A heap: the root at 1, the children of `i` at `2i` and `2i + 1`, so that siblings are adjacent.
        let mut heap = [CapHash::default(); 2 * FAN];
        heap[width..2 * width].fill(zeros[0]);
        match &self.kids {
            Kids::Leaves(leaves) => {
                L::hash_all(leaves);
                for (i, leaf) in members(self.present).zip(leaves) {
                    heap[width + i as usize] = leaf.name();
                }
            }
            Kids::Nodes(nodes) => {
                for (i, child) in members(self.present).zip(nodes) {
                    heap[width + i as usize] = child.hash(level - 1, FAN_LOG);
                }
            }
        }
        let stale = self.stale(height);
        let mut inner = vec![CapHash::default(); width - 1];
        for h in 1..=height {
            let row = width >> h;
            let (upper, lower) = heap[..4 * row].split_at_mut(2 * row);
            let mut todo = [0usize; FAN / 2];
            let mut pairs = [&[][..]; FAN / 2];
            let mut count = 0;
            for at in 0..row {
                if self.present & span(h, at) == 0 {
                    upper[row + at] = zeros[h as usize];
                } else if stale & span(h, at) == 0 {
                    // Not stale, so there is a base, and it reaches as far.
                    upper[row + at] = self.base.as_ref().map_or(zeros[0], |base| base[in_order(h, at)]);
                } else {
                    todo[count] = at;
                    pairs[count] = lower[2 * at..2 * at + 2].as_flattened();
                    count += 1;
                }
            }
            hash::digest_each(Tag::Node, &pairs[..count], |n, digest| upper[row + todo[n]] = digest);
            for at in 0..row {
                inner[in_order(h, at)] = upper[row + at];
            }
        }
        inner.into()
    }

    /// Adds the compressions that [`Node::hash`] would take; stops adding past `limit`.
    fn cost(&self, height: u32, limit: u64, total: &mut u64) {
        if *total > limit || (height > 0 && self.is_known(height)) {
            return;
        }
        match &self.kids {
            Kids::Leaves(leaves) => *total += leaves.iter().map(L::cost).sum::<u64>(),
            Kids::Nodes(nodes) => nodes.iter().for_each(|child| child.cost(FAN_LOG, limit, total)),
        }
        let stale = self.stale(height);
        for h in 1..=height {
            let row = 1usize << (height - h);
            // A node is hashed when it covers something and something under it is stale.
            *total += (0..row)
                .filter(|at| self.present & span(h, *at) != 0 && stale & span(h, *at) != 0)
                .count() as u64;
        }
    }

    /// See [`Tree::scan`]. Returns whether everything below is settled and at hand for good.
    fn scan(&self, cycle: u64, old: u64, visit: &mut impl FnMut(&L) -> bool) -> bool {
        let stamp = self.stamp.load(Ordering::Relaxed);
        if stamp == old || stamp == cycle {
            return stamp == old;
        }
        let mut complete = self.refs == 0;
        match &self.kids {
            Kids::Leaves(leaves) => leaves.iter().for_each(|leaf| complete &= visit(leaf)),
            Kids::Nodes(nodes) => nodes.iter().for_each(|n| complete &= n.scan(cycle, old, visit)),
        }
        self.stamp.store(if complete { old } else { cycle }, Ordering::Relaxed);
        complete
    }
}

impl<L: Leaf> Tree<L> {
    /// The all-zero tree of `2^depth` leaves.
    pub(crate) const fn new(depth: u8) -> Self {
        Self { root: None, depth }
    }

    pub(crate) const fn depth(&self) -> u8 {
        self.depth
    }

    /// How many leaves are not zero.
    pub(crate) fn count(&self) -> u64 {
        self.root.as_ref().map_or(0, |root| root.count)
    }

    /// Whether a leaf names a working value.
    pub(crate) fn has_refs(&self) -> bool {
        self.root.as_ref().is_some_and(|root| root.refs != 0)
    }

    /// Whether `index` is a leaf of a tree of this depth.
    pub(crate) const fn in_range(&self, index: u64) -> bool {
        self.depth as u32 >= u64::BITS || index >> self.depth == 0
    }

    pub(crate) fn get(&self, index: u64) -> Option<&L> {
        if !self.in_range(index) {
            return None;
        }
        let mut node = self.root.as_deref()?;
        let mut level = levels(self.depth) - 1;
        loop {
            let i = (index >> (FAN_LOG * level)) as u32 % FAN as u32;
            if node.present & (1 << i) == 0 {
                return None;
            }
            match &node.kids {
                Kids::Leaves(leaves) => return leaves.get(rank(node.present, i)),
                Kids::Nodes(nodes) => node = nodes.get(rank(node.present, i))?,
            }
            level -= 1;
        }
    }

    /// Puts a leaf, or clears it, and returns what was there. An index out of range is left alone.
    pub(crate) fn set(&mut self, index: u64, leaf: Option<L>) -> Option<L> {
        if !self.in_range(index) || (leaf.is_none() && self.get(index).is_none()) {
            return None;
        }
        let level = levels(self.depth) - 1;
        let root = self.root.get_or_insert_with(|| Arc::new(Node::new(level)));
        let old = Node::put(root, level, index, leaf);
        if root.present == 0 {
            self.root = None;
        }
        old
    }

    /// Changes the depth. The caller has cleared every leaf that does not fit.
    pub(crate) fn set_depth(&mut self, depth: u8) {
        let (before, after) = (levels(self.depth), levels(depth));
        let height = if after > before { FAN_LOG } else { top_height(depth) };
        if depth > self.depth
            && let Some(root) = &mut self.root
        {
            // The topmost node now stands for more leaves than its hashes cover.
            if root.known.get().is_some() && !root.is_known(height) {
                Arc::make_mut(root).touch(0);
            }
        }
        for _ in before..after {
            let Some(child) = self.root.take() else { break };
            let mut node = Node::new(1);
            (node.present, node.refs, node.count) = (1, u16::from(child.refs != 0), child.count);
            node.kids = Kids::Nodes(vec![child]);
            self.root = Some(Arc::new(node));
        }
        for _ in after..before {
            let Some(root) = self.root.take() else { break };
            self.root = match &root.kids {
                Kids::Nodes(nodes) => nodes.first().cloned(),
                Kids::Leaves(_) => None,
            };
        }
        self.depth = depth;
    }

    /// The root hash. Of a tree with working values it means nothing: ask [`Tree::has_refs`] first.
    pub(crate) fn root(&self) -> CapHash {
        match &self.root {
            None => L::zeros()[usize::from(self.depth)],
            Some(root) => root.hash(levels(self.depth) - 1, top_height(self.depth)),
        }
    }

    /// Compressions that [`Tree::root`] would take now; stops counting somewhere past `limit`.
    pub(crate) fn cost(&self, limit: u64) -> u64 {
        let mut total = 0;
        if let Some(root) = &self.root {
            root.cost(top_height(self.depth), limit, &mut total);
        }
        total
    }

    /// The last leaf that is not zero.
    pub(crate) fn last(&self) -> Option<(u64, &L)> {
        let mut node = self.root.as_deref()?;
        let mut index = 0;
        loop {
            index = index << FAN_LOG | u64::from(15 - node.present.leading_zeros());
            match &node.kids {
                Kids::Leaves(leaves) => return Some((index, leaves.last()?)),
                Kids::Nodes(nodes) => node = nodes.last()?,
            }
        }
    }

    /// The leaves that are not zero, ascending.
    pub(crate) fn iter(&self) -> Leaves<'_, L> {
        Leaves::new(self, |node| node.present)
    }

    /// The leaves that name working values, ascending; subtrees without any are not entered.
    pub(crate) fn refs(&self) -> Leaves<'_, L> {
        Leaves::new(self, |node| node.refs)
    }

    /// Shows `visit` every leaf under nodes that carry neither the stamp `cycle` nor the stamp `old`, and
    /// stamps the nodes: `old` where `visit` returned true for all leaves below and none is a working
    /// value, else `cycle`. Copying or changing a node clears its stamp.
    ///
    /// The collector of a directory uses it to see each node once in its life and once more per cycle.
    pub(crate) fn scan(&self, cycle: u64, old: u64, mut visit: impl FnMut(&L) -> bool) {
        if let Some(root) = &self.root {
            root.scan(cycle, old, &mut visit);
        }
    }

    /// The hashes beside the way from `index` to the root, lowest first.
    pub(crate) fn siblings(&self, index: u64) -> Vec<CapHash> {
        (0..u32::from(self.depth)).map(|height| self.subtree(height, (index >> height) ^ 1)).collect()
    }

    /// Root of the `at`-th subtree of this height.
    fn subtree(&self, height: u32, at: u64) -> CapHash {
        let zero = L::zeros()[height as usize];
        let Some(mut node) = self.root.as_deref() else { return zero };
        let mut level = levels(self.depth) - 1;
        let mut top = top_height(self.depth);
        let first = at << height;
        // Down to the node whose subtree contains the wanted one, below its root.
        loop {
            let local = height.saturating_sub(FAN_LOG * level);
            if height > FAN_LOG * level {
                let within = (at as usize) % (1 << (top - local));
                if node.present & span(local, within) == 0 {
                    return zero;
                }
                // Asking for the root makes the inner hashes known.
                node.hash(level, top);
                return node.known.get().map_or(zero, |known| known[in_order(local, within)]);
            }
            let i = (first >> (FAN_LOG * level)) as u32 % FAN as u32;
            if node.present & (1 << i) == 0 {
                return zero;
            }
            match &node.kids {
                Kids::Leaves(leaves) => {
                    L::hash_all(leaves);
                    return leaves.get(rank(node.present, i)).map_or(zero, L::name);
                }
                Kids::Nodes(nodes) => match nodes.get(rank(node.present, i)) {
                    Some(child) => node = child,
                    None => return zero,
                },
            }
            level -= 1;
            top = FAN_LOG;
        }
    }
}

/// Same depth, same leaves. What is known of the hashes does not matter.
impl<L: Leaf> PartialEq for Tree<L> {
    fn eq(&self, other: &Self) -> bool {
        let same = |a: &Arc<Node<L>>, b: &Arc<Node<L>>| Arc::ptr_eq(a, b);
        self.depth == other.depth
            && (self.root.as_ref().zip(other.root.as_ref()).is_some_and(|(a, b)| same(a, b))
                || (self.count() == other.count() && self.iter().eq(other.iter())))
    }
}

impl<L: Leaf> Eq for Tree<L> {}

/// Iterator over leaves, ascending.
pub(crate) struct Leaves<'a, L> {
    /// Nodes on the way down: the node, the index of its first leaf in units of its level, children to do.
    stack: Vec<(&'a Node<L>, u64, u16)>,
    mask: fn(&Node<L>) -> u16,
}

impl<'a, L: Leaf> Leaves<'a, L> {
    fn new(tree: &'a Tree<L>, mask: fn(&Node<L>) -> u16) -> Self {
        Self { stack: tree.root.as_deref().map(|root| (root, 0, mask(root))).into_iter().collect(), mask }
    }
}

impl<'a, L: Leaf> Iterator for Leaves<'a, L> {
    type Item = (u64, &'a L);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (node, first, left) = self.stack.last_mut()?;
            let i = left.trailing_zeros();
            if i >= u16::BITS {
                self.stack.pop();
                continue;
            }
            *left &= left.wrapping_sub(1);
            let index = *first << FAN_LOG | u64::from(i);
            let at = rank(node.present, i);
            match &node.kids {
                Kids::Leaves(leaves) => return Some((index, leaves.get(at)?)),
                Kids::Nodes(nodes) => {
                    let child: &'a Node<L> = nodes.get(at)?;
                    self.stack.push((child, index, (self.mask)(child)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
