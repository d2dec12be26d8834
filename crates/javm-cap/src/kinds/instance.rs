//! `Cap::Instance`: the unit of state.
//!
//! Lineage, current image, root cnode, status, anonymous memory. Most instances are idle with zero
//! registers and without anonymous memory; those three fields take one empty pointer and two constant
//! hashes.
//!
//! Where section 3 is silent:
//! * the *ephemeral page tree* of a pause has depth 20, its leaf `i` is the page at address `4096 * i`: the
//!   whole address space, so that no size need be written down;
//! * the *memory page tree* has as many pages as `mem_size` rounded up, and the last page is whole: access
//!   is granted by page;
//! * the *target path* of a suspension without a callee is 0: slot 0 never holds a callee.

use std::sync::{Arc, LazyLock};

use javm_abi::SlotPath;
use javm_abi::reg::{NUM_REGS, PAGE_SIZE};

use crate::hash::{self, CapHash, Tag};
use crate::name::CapHashOrRef;
use crate::tree::pages::{PageTree, depth_for};

/// Depth of the page tree of ephemeral pages: `2^20` pages are 4 GiB.
pub const EPHEMERAL_DEPTH: u8 = 20;

/// An instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceCap {
    /// The table of slots: a cnode of 256 slots.
    pub root_cnode: CapHashOrRef,
    /// The current image.
    pub image_hash: CapHash,
    /// The lineage: how the instance came to be. Only the rules of [`crate::lineage`] derive one.
    pub image_hash_chain: CapHash,
    /// `None`: idle, zero registers, no memory.
    state: Option<Arc<State>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Default)]
struct State {
    status: Status,
    memory: Memory,
}

/// What an instance is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Nothing: it can be called. Registers that are not zero are what its publisher gave it.
    Idle {
        /// Saved registers.
        regs: [u64; NUM_REGS],
        /// Saved program counter.
        pc: u64,
    },
    /// Inside the value of its caller, below an instance that is paused.
    Waiting(Suspension),
    /// A call that stopped and can be resumed.
    Paused(Suspension),
}

/// Where a call stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspension {
    /// Registers.
    pub regs: [u64; NUM_REGS],
    /// Program counter.
    pub pc: u64,
    /// Whether the block, or the operation, at `pc` has been paid.
    pub gas_charged: bool,
    /// Where, in this instance's table, the callee sits that it waits for; root slot 0: there is none.
    pub target: SlotPath,
    /// The marker that was yielded, on the instance that yielded it.
    pub marker: Option<CapHashOrRef>,
    /// Its ephemeral pages, by page number.
    pub ephemeral: PageTree,
}

/// Anonymous memory `[0, mem_size)`, read-write, part of the instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    size: u32,
    pages: PageTree,
}

static IDLE: Status = Status::Idle { regs: [0; NUM_REGS], pc: 0 };
static NO_MEMORY: Memory = Memory::new(0);
static IDLE_HASH: LazyLock<CapHash> = LazyLock::new(|| IDLE.digest());
static NO_MEMORY_HASH: LazyLock<CapHash> = LazyLock::new(|| NO_MEMORY.hash());

impl Default for Status {
    fn default() -> Self {
        IDLE.clone()
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Memory {
    /// Zeros, `size` bytes of them.
    #[must_use]
    pub const fn new(size: u32) -> Self {
        Self { size, pages: PageTree::new((size as u64).div_ceil(PAGE_SIZE as u64)) }
    }

    /// `mem_size` in bytes.
    #[must_use]
    pub const fn size(&self) -> u32 {
        self.size
    }

    /// How many pages `[0, mem_size)` touches.
    #[must_use]
    pub const fn page_count(&self) -> u64 {
        (self.size as u64).div_ceil(PAGE_SIZE as u64)
    }

    /// The pages; leaf `i` is the page at address `4096 * i`.
    #[must_use]
    pub const fn pages(&self) -> &PageTree {
        &self.pages
    }

    /// Replaces a page, zero padded. Returns whether there is such a page.
    pub fn set_page(&mut self, index: u64, bytes: &[u8]) -> bool {
        index < self.page_count() && self.pages.set_page(index, bytes)
    }

    /// Writes bytes from `start` on; what lies at or past `mem_size` is clipped.
    pub fn overlay(&mut self, start: u32, bytes: &[u8]) {
        let room = self.size.saturating_sub(start) as usize;
        self.pages.write(u64::from(start), &bytes[..bytes.len().min(room)]);
    }

    fn hash(&self) -> CapHash {
        hash::digest(Tag::Memory, &[&self.size.to_le_bytes(), &self.pages.root()])
    }
}

impl Suspension {
    /// A suspension without callee, marker or ephemeral pages.
    #[must_use]
    pub const fn new(regs: [u64; NUM_REGS], pc: u64, gas_charged: bool) -> Self {
        Self {
            regs,
            pc,
            gas_charged,
            target: SlotPath::root(0),
            marker: None,
            ephemeral: PageTree::with_depth(EPHEMERAL_DEPTH),
        }
    }
}

impl Status {
    /// The number that is hashed: 0 Idle, 1 Waiting, 2 Paused.
    #[must_use]
    pub const fn number(&self) -> u8 {
        match self {
            Self::Idle { .. } => 0,
            Self::Waiting(_) => 1,
            Self::Paused(_) => 2,
        }
    }

    /// Where a call stopped; `None` of an idle instance.
    #[must_use]
    pub const fn suspension(&self) -> Option<&Suspension> {
        match self {
            Self::Idle { .. } => None,
            Self::Waiting(suspension) | Self::Paused(suspension) => Some(suspension),
        }
    }

    const fn suspension_mut(&mut self) -> Option<&mut Suspension> {
        match self {
            Self::Idle { .. } => None,
            Self::Waiting(suspension) | Self::Paused(suspension) => Some(suspension),
        }
    }

    /// Saved registers and program counter.
    #[must_use]
    pub const fn machine(&self) -> (&[u64; NUM_REGS], u64) {
        match self {
            Self::Idle { regs, pc } => (regs, *pc),
            Self::Waiting(suspension) | Self::Paused(suspension) => (&suspension.regs, suspension.pc),
        }
    }

    /// The hash of a status without working values.
    fn digest(&self) -> CapHash {
        let (regs, pc) = self.machine();
        let regs = regs.map(u64::to_le_bytes);
        let (number, pc) = ([self.number()], pc.to_le_bytes());
        let Some(stopped) = self.suspension() else {
            return hash::digest(Tag::Status, &[&number, regs.as_flattened(), &pc]);
        };
        let marker = stopped.marker.and_then(|name| name.as_hash().copied()).unwrap_or_default();
        hash::digest(
            Tag::Status,
            &[
                &number,
                regs.as_flattened(),
                &pc,
                &[u8::from(stopped.gas_charged)],
                &stopped.target.encode().to_le_bytes(),
                &marker,
                &stopped.ephemeral.root(),
            ],
        )
    }

    fn hash_cost(&self, limit: u64) -> u64 {
        self.suspension().map_or(1, |stopped| 2 + stopped.ephemeral.hash_cost(limit))
    }
}

impl InstanceCap {
    /// An idle instance with zero registers and without anonymous memory.
    #[must_use]
    pub const fn new(image_hash_chain: CapHash, image_hash: CapHash, root_cnode: CapHashOrRef) -> Self {
        Self { root_cnode, image_hash, image_hash_chain, state: None }
    }

    /// What the instance is doing.
    #[must_use]
    pub fn status(&self) -> &Status {
        self.state.as_ref().map_or(&IDLE, |state| &state.status)
    }

    /// Whether it is idle with zero registers and has no anonymous memory.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        self.state.is_none()
    }

    /// Its anonymous memory.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        self.state.as_ref().map_or(&NO_MEMORY, |state| &state.memory)
    }

    /// Replaces the status. An ephemeral page tree of another depth than [`EPHEMERAL_DEPTH`] is brought to it;
    /// pages past 4 GiB are dropped. A marker of 32 zero bytes is none.
    pub fn set_status(&mut self, mut status: Status) {
        if let Some(stopped) = status.suspension_mut() {
            if stopped.ephemeral.depth() != EPHEMERAL_DEPTH {
                stopped.ephemeral.resize(1 << EPHEMERAL_DEPTH);
            }
            stopped.marker = stopped.marker.filter(|name| *name != CapHashOrRef::Hash([0; 32]));
        }
        if self.state.is_some() || status != IDLE {
            Arc::make_mut(self.state.get_or_insert_default()).status = status;
            self.normalise();
        }
    }

    /// Replaces the anonymous memory.
    pub fn set_memory(&mut self, memory: Memory) {
        if self.state.is_some() || memory.size != 0 {
            Arc::make_mut(self.state.get_or_insert_default()).memory = memory;
            self.normalise();
        }
    }

    fn normalise(&mut self) {
        if self.state.as_ref().is_some_and(|state| state.memory.size == 0 && state.status == IDLE) {
            self.state = None;
        }
    }

    /// The values that the instance names: image, root cnode, marker.
    pub fn children(&self) -> impl Iterator<Item = CapHashOrRef> {
        let marker = self.status().suspension().and_then(|stopped| stopped.marker);
        [CapHashOrRef::Hash(self.image_hash), self.root_cnode].into_iter().chain(marker)
    }

    /// Whether the instance names working values.
    #[must_use]
    pub fn has_refs(&self) -> bool {
        self.children().any(|name| name.is_ref())
    }

    /// Replaces the working values that the instance names.
    pub(crate) fn replace_refs<E>(
        &mut self,
        mut settled: impl FnMut(CapHashOrRef) -> Result<CapHash, E>,
    ) -> Result<(), E> {
        if self.root_cnode.is_ref() {
            self.root_cnode = settled(self.root_cnode)?.into();
        }
        if let Some(marker) = self.status().suspension().and_then(|stopped| stopped.marker)
            && marker.is_ref()
            && let Some(state) = &mut self.state
        {
            let hash = settled(marker)?;
            if let Some(stopped) = Arc::make_mut(state).status.suspension_mut() {
                stopped.marker = Some(hash.into());
            }
        }
        Ok(())
    }

    /// The name of an instance without working values.
    pub(crate) fn digest(&self) -> CapHash {
        let root = self.root_cnode.as_hash().copied().unwrap_or_default();
        let (status, memory) = match &self.state {
            None => (*IDLE_HASH, *NO_MEMORY_HASH),
            Some(state) => (state.status.digest(), state.memory.hash()),
        };
        hash::digest(Tag::Instance, &[&self.image_hash_chain, &self.image_hash, &root, &status, &memory])
    }

    pub(crate) fn hash_cost(&self, limit: u64) -> u64 {
        // Five hashes are two blocks.
        2 + self
            .state
            .as_ref()
            .map_or(0, |state| state.status.hash_cost(limit) + 1 + state.memory.pages.hash_cost(limit))
    }

    pub(crate) fn take_fresh(&mut self) -> u64 {
        let Some(state) = &mut self.state else { return 0 };
        let stopped = state.status.suspension();
        let fresh = state.memory.pages.fresh() + stopped.map_or(0, |stopped| stopped.ephemeral.fresh());
        if fresh > 0 {
            let state = Arc::make_mut(state);
            state.memory.pages.take_fresh();
            if let Some(stopped) = state.status.suspension_mut() {
                stopped.ephemeral.take_fresh();
            }
        }
        fresh
    }
}

const _: () = assert!(depth_for(1 << EPHEMERAL_DEPTH) == EPHEMERAL_DEPTH);
