//! A node of a [`Tree`](super::Tree): up to 16 children, and the inner hashes of the binary subtree of height
//! 4 that it stands for. What is hashed again after a change, and what that costs, is decided here.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{FAN, FAN_LOG, Leaf};
use crate::hash::{self, CapHash, Tag};

pub(super) enum Kids<L> {
    Leaves(Vec<L>),
    Nodes(Vec<Arc<Node<L>>>),
}

pub(super) struct Node<L> {
    /// Which of the 16 children there are. `kids` holds those, in order.
    pub(super) present: u16,
    /// Which children name working values, or hold leaves that do.
    pub(super) refs: u16,
    /// Which children changed since `base` was right.
    pub(super) dirty: u16,
    /// Leaves below.
    pub(super) count: u64,
    pub(super) kids: Kids<L>,
    /// Inner hashes, in order; right as they stand.
    pub(super) known: OnceLock<Arc<[CapHash]>>,
    /// Inner hashes from before the changes that `dirty` lists.
    pub(super) base: Option<Arc<[CapHash]>>,
    /// When a collector last saw this node; see [`Tree::scan`].
    pub(super) stamp: AtomicU64,
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
pub(super) const fn in_order(height: u32, at: usize) -> usize {
    ((2 * at + 1) << (height - 1)) - 1
}

/// The children that the `at`-th subtree of height `height` covers.
pub(super) const fn span(height: u32, at: usize) -> u16 {
    let width = 1usize << height;
    (((1u32 << width) - 1) << (at * width)) as u16
}

/// Position in `kids` of the child `i`.
pub(super) const fn rank(present: u16, i: u32) -> usize {
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

impl<L: Leaf> Node<L> {
    pub(super) fn new(level: u32) -> Self {
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
    pub(super) fn is_known(&self, height: u32) -> bool {
        self.known.get().is_some_and(|known| known.len() + 1 >= 1 << height)
    }

    /// Says that children are about to change: what was known becomes the base.
    pub(super) fn touch(&mut self, children: u16) {
        if let Some(known) = self.known.take() {
            self.base = Some(known);
            self.dirty = 0;
        }
        self.dirty |= children;
        *self.stamp.get_mut() = 0;
    }

    /// Puts a leaf at `index` below this node, or clears it, and returns what was there.
    pub(super) fn put(this: &mut Arc<Self>, level: u32, index: u64, leaf: Option<L>) -> Option<L> {
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
    pub(super) fn hash(&self, level: u32, height: u32) -> CapHash {
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
    pub(super) fn cost(&self, height: u32, limit: u64, total: &mut u64) {
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
    pub(super) fn scan(&self, cycle: u64, old: u64, visit: &mut impl FnMut(&L) -> bool) -> bool {
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
