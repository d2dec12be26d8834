//! [`SigmaKernelAssist`]: the machine's view of σ.
//!
//! Files are in σ and last. Meters and quotas belong to the block at hand: they start empty but for the root
//! meter and the root quota (id 0), which the block's budgets seed. Meter 0 itself is the machine's root pool:
//! [`SigmaKernelAssist::root_gas`] is what an invocation is to be given.
//!
//! What a call does here stands, also when the call faults. What is to be all or nothing, as a block is, works
//! on a copy.

use std::collections::BTreeMap;

use javm::{KernelAssist, SaveResult};
use javm_cap::CapHash;

use crate::{
    genesis::ROOT,
    state::{FileEntry, State},
};

/// The machine's view of a state that is being worked on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigmaKernelAssist {
    state: State,
    /// The file that holds a content backed by a quota.
    by_content: BTreeMap<(CapHash, Option<u64>), u64>,
    meters: BTreeMap<u64, u64>,
    quotas: BTreeMap<u64, u64>,
    root_gas: u64,
    root_markers: Vec<CapHash>,
}

impl SigmaKernelAssist {
    /// A view of this state, with nothing to spend.
    #[must_use]
    pub fn new(state: State) -> Self {
        let by_content = state.files.iter().map(|(id, file)| ((file.content, file.quota), *id)).collect();
        Self {
            state,
            by_content,
            meters: BTreeMap::new(),
            quotas: BTreeMap::new(),
            root_gas: 0,
            root_markers: Vec::new(),
        }
    }

    /// The state as it stands.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The state, to be kept. A block works on a copy, and throws it away when it is rejected.
    #[must_use]
    pub fn into_state(self) -> State {
        self.state
    }

    /// Makes another value the chain instance.
    pub const fn set_chain(&mut self, chain: CapHash) {
        self.state.chain = chain;
    }

    /// Forgets all meters and quotas: a block begins.
    pub fn reset_block_state(&mut self) {
        self.meters.clear();
        self.quotas.clear();
        self.root_gas = 0;
    }

    /// What the block may spend on gas, in all.
    pub const fn seed_root_gas(&mut self, gas: u64) {
        self.root_gas = gas;
    }

    /// What the block may store in bytes: the root quota.
    pub fn seed_root_quota(&mut self, bytes: u64) {
        self.quotas.insert(ROOT, bytes);
    }

    /// What is left of the block's gas: the budget of the next invocation.
    #[must_use]
    pub const fn root_gas(&self) -> u64 {
        self.root_gas
    }

    /// Takes what an invocation used from the block's gas; `false`, and nothing is taken, when that is more than
    /// there is.
    #[must_use]
    pub const fn spend_root_gas(&mut self, used: u64) -> bool {
        match self.root_gas.checked_sub(used) {
            Some(left) => {
                self.root_gas = left;
                true
            }
            None => false,
        }
    }

    /// Says that the block handles yields of this marker that nobody on the stack catches.
    pub fn catch_at_root(&mut self, marker: CapHash) {
        if !self.root_markers.contains(&marker) {
            self.root_markers.push(marker);
        }
    }

    /// Releases one reference of a file, crediting the quota that backed it in this block. `false` if there is no
    /// such file.
    pub fn release_file(&mut self, id: u64) -> bool {
        let Some(content) = self.state.files.get(&id).map(|file| file.content) else { return false };
        let Some((quota, size)) = self.state.release_file(id) else { return false };
        if !self.state.files.contains_key(&id) {
            self.by_content.remove(&(content, quota));
        }
        if let Some(quota) = quota {
            let left = self.quota(quota);
            self.quotas.insert(quota, left.saturating_add(size));
        }
        true
    }
}

impl KernelAssist for SigmaKernelAssist {
    fn gas_meter(&self, id: u64) -> u64 {
        self.meters.get(&id).copied().unwrap_or(0)
    }

    fn set_gas_meter(&mut self, id: u64, value: u64) -> u64 {
        self.meters.insert(id, value).unwrap_or(0)
    }

    fn quota(&self, id: u64) -> u64 {
        self.quotas.get(&id).copied().unwrap_or(0)
    }

    fn set_quota(&mut self, id: u64, value: u64) -> u64 {
        self.quotas.insert(id, value).unwrap_or(0)
    }

    fn open_file(&mut self, id: u64) -> Option<CapHash> {
        self.state.files.get(&id).map(|file| file.content)
    }

    fn save_file(&mut self, content: CapHash, size: u64, quota: Option<u64>) -> SaveResult {
        if let Some(quota) = quota {
            let Some(left) = self.quota(quota).checked_sub(size) else { return SaveResult::QuotaExhausted };
            self.quotas.insert(quota, left);
        }
        // The same content backed by the same quota is one file, referred to once more.
        let state = &mut self.state;
        let id = *self.by_content.entry((content, quota)).or_insert(state.next_file);
        state.next_file = state.next_file.max(id + 1);
        let file = FileEntry { content, size, references: 0, quota };
        state.files.entry(id).or_insert(file).references += 1;
        SaveResult::Saved(id)
    }

    fn catches_at_root(&self, marker: &CapHash) -> bool {
        self.root_markers.contains(marker)
    }
}
