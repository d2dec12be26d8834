//! The call stack: who called whom, and the state of each that is not a value yet.
//!
//! An [`InstanceEntry`] is a call: an instance between its start and its end, with its table of slots as a
//! private copy (copying is O(1); tables are persistent), its machine, and what must be known to undo it.
//! A [`ReferenceEntry`] is a yield that was routed to an earlier entry, its *referent*, which runs in its
//! place; everything between the two waits. Exactly the top runs: the top entry itself, or its referent.
//!
//! Invariants:
//! * `caller` of an entry is the index of an instance entry below it; only the outermost has none;
//! * an entry has as many `pauses` as there are references to it on the stack, in the same order, and
//!   while it runs with any the top is the newest of those references.
//!
//! The stack is data: a call pushes, an end pops, and the host's own stack does not grow.

use std::{collections::VecDeque, sync::Arc};

use javm_abi::SlotPath;
use javm_cap::{CNodeCap, CapHash, CapHashOrRef, Owner};
use javm_exec::Instance;

use crate::{held::HeldInstance, image_cache::LoadedImage};

/// How many calls deep an invocation may go unless [`Vm::with_max_depth`](crate::Vm::with_max_depth) says
/// otherwise.
pub const DEFAULT_MAX_DEPTH: usize = 1024;

/// The calls of one invocation, outermost first.
#[derive(Debug, Default)]
pub struct CallStack {
    entries: Vec<Entry>,
}

/// One element of the stack.
#[derive(Debug)]
pub enum Entry {
    /// A call.
    Instance(Box<InstanceEntry>),
    /// A yield that was routed to an earlier entry.
    Reference(ReferenceEntry),
}

/// A yield that was routed to an earlier entry, which runs in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReferenceEntry {
    /// Index of the entry that handles the yield.
    pub referent: usize,
    /// What was yielded.
    pub(crate) kind: PauseKind,
}

/// Who paused a call, and so what resuming it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PauseKind {
    /// The guest, by `HOST_YIELD`.
    Yield,
    /// The kernel: a price could not be paid.
    OutOfGas,
    /// The kernel: storage could not be paid.
    Storage,
    /// The kernel: this page was not accessible.
    PageFault(u32),
}

/// A call of an entry that is paused: it sits on the stack above the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pause {
    /// The slot that the callee left.
    pub(crate) target: SlotPath,
    /// Index of the callee's entry.
    pub(crate) base: usize,
}

/// An event that waits for its instance to halt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PendingEmit {
    pub(crate) payload: CapHashOrRef,
    pub(crate) on_failure: Option<CapHashOrRef>,
    pub(crate) lineage: CapHash,
}

/// A call: a running or waiting instance.
#[derive(Debug)]
pub struct InstanceEntry {
    /// Index of the entry that called it.
    pub(crate) caller: Option<usize>,
    /// The name that the caller's slot had for it: what a fault returns to.
    pub(crate) name: CapHashOrRef,
    /// Where it sits in the caller's table; meaningless for the outermost.
    pub(crate) target: SlotPath,
    /// The endpoint it was entered by.
    pub(crate) endpoint: u8,
    /// Anonymous memory and saved registers as last committed.
    pub(crate) base: HeldInstance,
    /// Its table of slots, as it stands.
    pub(crate) table: CNodeCap,
    /// The current image.
    pub(crate) image: Arc<LoadedImage>,
    /// Lineage.
    pub(crate) lineage: CapHash,
    /// Registers and memory; gas only while it runs. `None` only while the engine has it.
    pub(crate) machine: Option<Box<Instance>>,
    /// For each mapping of the image: what was laid out.
    pub(crate) laid_out: Vec<LaidOut>,
    /// Pages that a pager gave it, in the order given.
    pub(crate) paged: Vec<u32>,
    /// What it may change in place.
    pub(crate) owner: Owner,
    /// Index of the entry whose gas slots pay for it; `None`: the root pool.
    pub(crate) gas_payer: Option<usize>,
    /// Index of the entry whose quota slots pay for it; `None`: storage is free.
    pub(crate) quota_payer: Option<usize>,
    /// Its calls that are paused, oldest first.
    pub(crate) pauses: Vec<Pause>,
    /// Events that it, and callees that halted, appended.
    pub(crate) emits: VecDeque<PendingEmit>,
    /// What a halt or a SET_IMAGE that could not be paid would commit. Resuming asks for just that again, and
    /// nothing of it has changed then, so that it need not be looked for each time.
    pub(crate) unpaid: Option<Commitment>,
    /// The marker of its last yield.
    pub(crate) marker: Option<CapHash>,
    /// While it is being frozen: how it was paused, if it is the yielder.
    pub(crate) yielded: Option<PauseKind>,
    /// While it is being frozen: where the callee sits that it waits for.
    pub(crate) awaiting: Option<SlotPath>,
}

/// What an instance pays for before it commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Commitment {
    /// Its dirty pages.
    pub(crate) pages: u64,
    /// What the calls count that it leaves paused.
    pub(crate) left: u64,
}

/// What a mapping was laid out from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LaidOut {
    /// The slot's name at that time.
    pub(crate) name: Option<CapHashOrRef>,
    /// The slot has changed since, in a life before a pause: whatever it holds now, it stands.
    pub(crate) stale: bool,
}

impl CallStack {
    /// Whether no call is under way.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many entries there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// The entries, outermost first.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(crate) fn push(&mut self, entry: Box<InstanceEntry>) {
        self.entries.push(Entry::Instance(entry));
    }

    pub(crate) fn push_reference(&mut self, reference: ReferenceEntry) {
        self.entries.push(Entry::Reference(reference));
    }

    pub(crate) fn pop(&mut self) -> Option<Entry> {
        self.entries.pop()
    }

    /// Index of the instance that runs.
    pub(crate) fn running(&self) -> Option<usize> {
        match self.entries.last()? {
            Entry::Instance(_) => Some(self.entries.len() - 1),
            Entry::Reference(reference) => Some(reference.referent),
        }
    }

    /// The reference on top, if the top is one.
    pub(crate) fn top_reference(&self) -> Option<ReferenceEntry> {
        match self.entries.last()? {
            Entry::Instance(_) => None,
            Entry::Reference(reference) => Some(*reference),
        }
    }

    /// The instance entry at an index that is known to be one.
    pub(crate) fn at(&self, index: usize) -> &InstanceEntry {
        match &self.entries[index] {
            Entry::Instance(entry) => entry,
            Entry::Reference(_) => unreachable!("links lead to instance entries only"),
        }
    }

    /// The instance entry at an index that is known to be one.
    pub(crate) fn at_mut(&mut self, index: usize) -> &mut InstanceEntry {
        match &mut self.entries[index] {
            Entry::Instance(entry) => entry,
            Entry::Reference(_) => unreachable!("links lead to instance entries only"),
        }
    }

    /// Every value that the entries hold: what must outlive a collection.
    pub(crate) fn roots(&self) -> Vec<CapHashOrRef> {
        let mut roots = Vec::new();
        for entry in &self.entries {
            let Entry::Instance(entry) = entry else { continue };
            roots.push(entry.name);
            roots.push(CapHashOrRef::Hash(entry.image.hash));
            roots.extend(entry.table.iter().map(|(_, name)| name));
            roots.extend(entry.laid_out.iter().filter_map(|m| m.name));
            // Slot 0 may have held it, and that has gone to the handler.
            roots.extend(entry.marker.map(CapHashOrRef::Hash));
            roots.extend(entry.emits.iter().flat_map(|e| [Some(e.payload), e.on_failure]).flatten());
        }
        roots
    }
}

impl InstanceEntry {
    /// Hash of the image that runs.
    #[must_use]
    pub fn image_hash(&self) -> CapHash {
        self.image.hash
    }

    /// The lineage of the instance.
    #[must_use]
    pub const fn lineage(&self) -> CapHash {
        self.lineage
    }

    /// The endpoint that the call entered; 0 for a call that was resumed from a value.
    #[must_use]
    pub const fn endpoint(&self) -> u8 {
        self.endpoint
    }

    /// The table of slots as it stands.
    #[must_use]
    pub const fn table(&self) -> &CNodeCap {
        &self.table
    }

    /// Appends the events of a callee that halted. The shorter list moves, so that events which are handed up a
    /// deep chain do not cost their number at each step.
    pub(crate) fn append_emits(&mut self, mut emits: VecDeque<PendingEmit>) {
        if emits.len() > self.emits.len() {
            std::mem::swap(&mut self.emits, &mut emits);
            while let Some(earlier) = emits.pop_back() {
                self.emits.push_front(earlier);
            }
        } else {
            self.emits.append(&mut emits);
        }
    }

    /// The machine, which only the engine's run takes away.
    pub(crate) fn machine(&mut self) -> &mut Instance {
        match self.machine.as_deref_mut() {
            Some(machine) => machine,
            None => unreachable!("the loop gives the machine back before anything looks at it"),
        }
    }

    /// The registers; zeros while the engine has the machine.
    pub(crate) fn regs(&self) -> [u64; javm_abi::reg::NUM_REGS] {
        self.machine.as_deref().map_or([0; _], |machine| machine.regs.gpr)
    }

    /// Whether writing, moving or dropping what `path` names would disturb a paused call.
    pub(crate) fn paused_target(&self, path: SlotPath) -> Option<SlotPath> {
        self.pauses.iter().map(|pause| pause.target).find(|target| path.is_prefix_of(target))
    }
}
