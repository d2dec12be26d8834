//! The call stack: who called whom, and the state of each that is not a value yet.
//!
//! An [`InstanceEntry`] is a call: an instance between its start and its end, with its table of slots as a
//! private copy (copying is O(1); tables are persistent), its machine, and what must be known to undo it.
//! Exactly the top entry runs. The stack is data: a call pushes, an end pops, and the host's own stack does
//! not grow.

use std::sync::Arc;

use javm_abi::SlotPath;
use javm_cap::{CNodeCap, CapHash, CapHashOrRef, InstanceCap, Owner};
use javm_exec::Instance;

use crate::image_cache::LoadedImage;

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
#[non_exhaustive]
pub enum Entry {
    /// A call.
    Instance(Box<InstanceEntry>),
    /// A yield that was routed to an earlier entry, which runs in its place.
    Reference(ReferenceEntry),
}

/// A yield routed to an earlier entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReferenceEntry {
    /// Index of the entry that handles the yield.
    pub referent: usize,
}

/// A call: a running or waiting instance.
#[derive(Debug)]
pub struct InstanceEntry {
    /// The instance as it was before the call: its lineage, image and memory, and what a fault returns to.
    pub(crate) before: Arc<InstanceCap>,
    /// The name that the caller's slot had for it.
    pub(crate) name: CapHashOrRef,
    /// Where it sits in the caller's table; meaningless for the outermost.
    pub(crate) target: SlotPath,
    /// The endpoint it was entered by.
    pub(crate) endpoint: u8,
    /// Its table of slots, as it stands.
    pub(crate) table: CNodeCap,
    /// The current image.
    pub(crate) image: Arc<LoadedImage>,
    /// Lineage.
    pub(crate) lineage: CapHash,
    /// Registers, memory; gas only while it runs. `None` only while the engine has it.
    pub(crate) machine: Option<Box<Instance>>,
    /// For each mapping of the image: what was laid out.
    pub(crate) laid_out: Vec<LaidOut>,
    /// What it may change in place.
    pub(crate) owner: Owner,
}

/// What a mapping was laid out from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LaidOut {
    /// The slot's name at that time.
    pub(crate) name: Option<CapHashOrRef>,
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

    pub(crate) fn push(&mut self, entry: InstanceEntry) {
        self.entries.push(Entry::Instance(Box::new(entry)));
    }

    pub(crate) fn pop(&mut self) -> Option<Box<InstanceEntry>> {
        loop {
            if let Entry::Instance(entry) = self.entries.pop()? {
                return Some(entry);
            }
        }
    }

    pub(crate) fn top(&mut self) -> Option<&mut InstanceEntry> {
        self.entries.iter_mut().rev().find_map(|entry| match entry {
            Entry::Instance(entry) => Some(&mut **entry),
            Entry::Reference(_) => None,
        })
    }

    /// Every value that the entries hold: what must outlive a collection.
    pub(crate) fn roots(&self) -> Vec<CapHashOrRef> {
        let mut roots = Vec::new();
        for entry in &self.entries {
            let Entry::Instance(entry) = entry else { continue };
            roots.push(entry.name);
            roots.extend(entry.before.children());
            roots.extend(entry.table.iter().map(|(_, name)| name));
            roots.extend(entry.laid_out.iter().filter_map(|m| m.name));
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

    /// The endpoint that the call entered.
    #[must_use]
    pub const fn endpoint(&self) -> u8 {
        self.endpoint
    }

    /// The table of slots as it stands.
    #[must_use]
    pub const fn table(&self) -> &CNodeCap {
        &self.table
    }
}
