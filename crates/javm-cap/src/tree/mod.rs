//! Persistent hashed trees.
//!
//! [`pages`] and `slots` are what the rest of the world uses; [`proof`] proves leaves of both. All of
//! them are the one `Tree` of this file, made of the nodes of `node.rs`.
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
//!   `Tree::cost` says.
//! * Inner hashes lie in order (left subtree, node, right subtree): the leftmost `2^k` leaves of a node own
//!   the first `2^k - 1` places. A tree that grows or shrinks therefore keeps what it knew.
//!
//! Invariant: no leaf is zero, no node is empty, no leaf lies at or past `2^depth`.

mod node;
pub mod pages;
pub mod proof;
pub(crate) mod slots;

use std::sync::Arc;

use crate::hash::{CapHash, HEIGHTS};
use node::{Kids, Node, in_order, rank, span};

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

impl<L> Clone for Tree<L> {
    fn clone(&self) -> Self {
        Self { root: self.root.clone(), depth: self.depth }
    }
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

    /// Whether the two are made of the same nodes.
    pub(crate) fn is_copy_of(&self, other: &Self) -> bool {
        self.depth == other.depth
            && match (&self.root, &other.root) {
                (None, None) => true,
                (Some(a), Some(b)) => Arc::ptr_eq(a, b),
                _ => false,
            }
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
