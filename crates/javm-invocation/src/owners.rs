//! [`Owners`]: who has the handle of which VM, and whether something below a VM is marked.
//!
//! DROP must know whether a VM that goes is on the call stack. Walking over all that goes would make a DROP that is
//! refused cost as much as there are VMs, again and again. So the forest of owners is kept as a link-cut tree (Sleator
//! and Tarjan), in which every question and every change takes time logarithmic in the number of VMs, on average.
//!
//! Each preferred path is a splay tree in which what is left is nearer to the root; `beside` of a node sums up the
//! subtrees that hang on it by other paths. A VM can come to be owned by a VM below it, through a handle that it was
//! passed. Such an edge would close a circle: it is kept aside, at the root (`loops`), until an edge of the circle
//! goes away.

const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Node {
    /// In the splay tree; of its root, the node that the path hangs on.
    parent: u32,
    /// Nearer to the root, farther away.
    children: [u32; 2],
    /// How often it is marked.
    marks: u32,
    /// Marks of the subtrees that hang on it by other paths.
    beside: u32,
    /// Marks of its splay subtree, with all that hangs on it.
    sum: u32,
    /// Of a root: its owner, if that is below it.
    loops: u32,
}

const ALONE: Node = Node { parent: NONE, children: [NONE; 2], marks: 0, beside: 0, sum: 0, loops: NONE };

/// A forest of VMs, by their places.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    nodes: Vec<Node>,
}

impl Owners {
    /// A new VM, or one that is as new: nobody owns it, and it owns nobody.
    pub(crate) fn reset(&mut self, vm: u16) {
        let at = usize::from(vm);
        if at >= self.nodes.len() {
            self.nodes.resize(at + 1, ALONE);
        }
        self.nodes[at] = ALONE;
    }

    /// Makes `owner` the owner of a VM, whoever was before.
    pub(crate) fn set(&mut self, vm: u16, owner: u16) {
        let (vm, owner) = (u32::from(vm), u32::from(owner));
        self.cut(vm);
        if self.root(owner) == vm {
            self.node(vm).loops = owner;
        } else {
            self.link(vm, owner);
        }
    }

    /// Takes a VM from its owner.
    pub(crate) fn take(&mut self, vm: u16) {
        self.cut(u32::from(vm));
    }

    /// Marks a VM, or takes a mark away.
    pub(crate) fn mark(&mut self, vm: u16, marked: bool) {
        let vm = u32::from(vm);
        self.access(vm);
        let node = self.node(vm);
        node.marks = if marked { node.marks + 1 } else { node.marks.saturating_sub(1) };
        self.pull(vm);
    }

    /// Whether a VM, or one that it owns, through others too, is marked.
    pub(crate) fn is_any_marked(&mut self, vm: u16) -> bool {
        let vm = u32::from(vm);
        let root = self.root(vm);
        let owner = self.node(root).loops;
        // On a circle everybody owns everybody.
        let top = if owner != NONE && self.common(owner, vm) == vm { root } else { vm };
        self.access(top);
        let Node { marks, beside, .. } = *self.node(top);
        marks + beside != 0
    }

    fn node(&mut self, n: u32) -> &mut Node {
        &mut self.nodes[n as usize]
    }

    fn sum(&self, n: u32) -> u32 {
        if n == NONE { 0 } else { self.nodes[n as usize].sum }
    }

    fn pull(&mut self, n: u32) {
        let Node { children: [left, right], marks, beside, .. } = self.nodes[n as usize];
        self.nodes[n as usize].sum = marks + beside + self.sum(left) + self.sum(right);
    }

    /// Which child of its splay parent a node is; `None` for the root of a splay tree.
    fn side(&self, n: u32) -> Option<usize> {
        let parent = self.nodes[n as usize].parent;
        self.nodes.get(parent as usize)?.children.iter().position(|child| *child == n)
    }

    /// Puts a node in the place of its splay parent.
    fn rotate(&mut self, n: u32) {
        let Some(side) = self.side(n) else { return };
        let parent = self.node(n).parent;
        let (grand, parents_side) = (self.node(parent).parent, self.side(parent));
        let inner = self.node(n).children[1 - side];
        self.node(parent).children[side] = inner;
        if inner != NONE {
            self.node(inner).parent = parent;
        }
        self.node(n).children[1 - side] = parent;
        self.node(parent).parent = n;
        self.node(n).parent = grand;
        if let Some(side) = parents_side {
            self.node(grand).children[side] = n;
        }
        self.pull(parent);
        self.pull(n);
    }

    fn splay(&mut self, n: u32) {
        while let Some(side) = self.side(n) {
            let parent = self.node(n).parent;
            if let Some(parents_side) = self.side(parent) {
                self.rotate(if side == parents_side { parent } else { n });
            }
            self.rotate(n);
        }
    }

    /// Makes the way from the root to a node a path that ends there, with the node on top of its splay tree. Gives the
    /// node at which this way left the path that was accessed before.
    fn access(&mut self, n: u32) -> u32 {
        let (mut last, mut at) = (NONE, n);
        while at != NONE {
            self.splay(at);
            let right = self.node(at).children[1];
            let beside = self.node(at).beside + self.sum(right) - self.sum(last);
            let node = self.node(at);
            node.beside = beside;
            node.children[1] = last;
            self.pull(at);
            last = at;
            at = self.node(at).parent;
        }
        self.splay(n);
        last
    }

    fn root(&mut self, n: u32) -> u32 {
        self.access(n);
        let mut root = n;
        while self.node(root).children[0] != NONE {
            root = self.node(root).children[0];
        }
        self.splay(root);
        root
    }

    /// The lowest node above both, of one tree.
    fn common(&mut self, a: u32, b: u32) -> u32 {
        self.access(a);
        self.access(b)
    }

    /// Hangs a root on a node of another tree.
    fn link(&mut self, root: u32, owner: u32) {
        self.access(root);
        self.access(owner);
        let sum = self.sum(root);
        self.node(root).parent = owner;
        self.node(owner).beside += sum;
        self.pull(owner);
    }

    fn cut(&mut self, n: u32) {
        let root = self.root(n);
        if root == n {
            self.node(n).loops = NONE;
            return;
        }
        self.access(n);
        let above = self.node(n).children[0];
        self.node(above).parent = NONE;
        self.node(n).children[0] = NONE;
        self.pull(n);
        // The circle is open if the root's owner is among what was cut off.
        let owner = self.node(root).loops;
        if owner != NONE && self.root(owner) != root {
            self.node(root).loops = NONE;
            self.link(root, owner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VMS: usize = 24;

    /// The same, as simply as it can be said.
    #[derive(Default)]
    struct Plain {
        owner: [Option<u16>; VMS],
        marks: [u32; VMS],
    }

    impl Plain {
        fn is_any_marked(&self, vm: u16) -> bool {
            let mut below = vec![vm];
            let mut next = 0;
            while next < below.len() {
                let at = below[next];
                next += 1;
                let owned = (0..VMS as u16).filter(|n| self.owner[usize::from(*n)] == Some(at));
                let new: Vec<u16> = owned.filter(|n| !below.contains(n)).collect();
                below.extend(new);
            }
            below.iter().any(|n| self.marks[usize::from(*n)] != 0)
        }
    }

    #[test]
    fn as_a_plain_forest_with_circles() {
        let mut seed = 7u64;
        let mut random = |n: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % n
        };
        for _ in 0..300 {
            let (mut owners, mut plain) = (Owners::default(), Plain::default());
            (0..VMS as u16).for_each(|vm| owners.reset(vm));
            for _ in 0..300 {
                let (vm, other) = (random(VMS) as u16, random(VMS) as u16);
                match random(8) {
                    0..=2 => {
                        owners.set(vm, other);
                        plain.owner[usize::from(vm)] = Some(other);
                    }
                    3 => {
                        owners.take(vm);
                        plain.owner[usize::from(vm)] = None;
                    }
                    4 if plain.marks.iter().sum::<u32>() < 3 => {
                        owners.mark(vm, true);
                        plain.marks[usize::from(vm)] += 1;
                    }
                    5 if plain.marks[usize::from(vm)] != 0 => {
                        owners.mark(vm, false);
                        plain.marks[usize::from(vm)] -= 1;
                    }
                    _ => assert_eq!(owners.is_any_marked(vm), plain.is_any_marked(vm)),
                }
            }
        }
    }

    #[test]
    fn questions_about_a_long_chain_are_quick() {
        let mut owners = Owners::default();
        (0..65_535u16).for_each(|vm| owners.reset(vm));
        (1..65_535u16).for_each(|vm| owners.set(vm, vm - 1));
        // A walk over the chain each time would be some 10^10 steps.
        for n in 0..100_000u32 {
            let vm = (n * 40_503 % 65_535) as u16;
            owners.mark(65_534, true);
            assert!(owners.is_any_marked(vm));
            owners.mark(65_534, false);
            assert!(!owners.is_any_marked(vm));
        }
    }
}
