//! Externalities with a main trie, child tries and extensions: what virtualization asks for, and nothing else.

use std::{
    any::{Any, TypeId},
    collections::BTreeMap,
};

use sp_externalities::{Error, Extension, ExtensionStore, Extensions, Externalities, MultiRemovalResults};
use sp_storage::{ChildInfo, StateVersion, TrackedStorageKey};

/// Values by key.
type Trie = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Default)]
pub(crate) struct TestExternalities {
    pub(crate) main: Trie,
    /// By the storage key of the child.
    pub(crate) children: BTreeMap<Vec<u8>, Trie>,
    extensions: Extensions,
}

fn place(trie: &mut Trie, key: Vec<u8>, value: Option<Vec<u8>>) {
    match value {
        Some(value) => drop(trie.insert(key, value)),
        None => drop(trie.remove(&key)),
    }
}

fn not_asked() -> ! {
    unreachable!("virtualization reads storage and extensions only")
}

impl ExtensionStore for TestExternalities {
    fn extension_by_type_id(&mut self, id: TypeId) -> Option<&mut dyn Any> {
        self.extensions.get_mut(id)
    }

    fn register_extension_with_type_id(&mut self, id: TypeId, it: Box<dyn Extension>) -> Result<(), Error> {
        self.extensions.register_with_type_id(id, it)
    }

    fn deregister_extension_by_type_id(&mut self, id: TypeId) -> Result<(), Error> {
        if self.extensions.deregister(id) { Ok(()) } else { Err(Error::ExtensionIsNotRegistered(id)) }
    }
}

impl Externalities for TestExternalities {
    fn storage(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        self.main.get(key).cloned()
    }

    fn child_storage(&mut self, child: &ChildInfo, key: &[u8]) -> Option<Vec<u8>> {
        self.children.get(child.storage_key())?.get(key).cloned()
    }

    fn place_storage(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        place(&mut self.main, key, value);
    }

    fn place_child_storage(&mut self, child: &ChildInfo, key: Vec<u8>, value: Option<Vec<u8>>) {
        place(self.children.entry(child.storage_key().to_vec()).or_default(), key, value);
    }

    fn set_offchain_storage(&mut self, _: &[u8], _: Option<&[u8]>) {
        not_asked()
    }

    fn storage_hash(&mut self, _: &[u8]) -> Option<Vec<u8>> {
        not_asked()
    }

    fn child_storage_hash(&mut self, _: &ChildInfo, _: &[u8]) -> Option<Vec<u8>> {
        not_asked()
    }

    fn next_storage_key(&mut self, _: &[u8]) -> Option<Vec<u8>> {
        not_asked()
    }

    fn next_child_storage_key(&mut self, _: &ChildInfo, _: &[u8]) -> Option<Vec<u8>> {
        not_asked()
    }

    fn kill_child_storage(&mut self, _: &ChildInfo, _: Option<u32>, _: Option<&[u8]>) -> MultiRemovalResults {
        not_asked()
    }

    fn clear_prefix(&mut self, _: &[u8], _: Option<u32>, _: Option<&[u8]>) -> MultiRemovalResults {
        not_asked()
    }

    fn clear_child_prefix(
        &mut self,
        _: &ChildInfo,
        _: &[u8],
        _: Option<u32>,
        _: Option<&[u8]>,
    ) -> MultiRemovalResults {
        not_asked()
    }

    fn storage_root(&mut self, _: StateVersion) -> Vec<u8> {
        not_asked()
    }

    fn child_storage_root(&mut self, _: &ChildInfo, _: StateVersion) -> Vec<u8> {
        not_asked()
    }

    fn storage_append(&mut self, _: Vec<u8>, _: Vec<u8>) {
        not_asked()
    }

    fn storage_start_transaction(&mut self) {
        not_asked()
    }

    fn storage_rollback_transaction(&mut self) -> Result<(), ()> {
        not_asked()
    }

    fn storage_commit_transaction(&mut self) -> Result<(), ()> {
        not_asked()
    }

    fn wipe(&mut self) {
        not_asked()
    }

    fn commit(&mut self) {
        not_asked()
    }

    fn read_write_count(&self) -> (u32, u32, u32, u32) {
        not_asked()
    }

    fn reset_read_write_count(&mut self) {
        not_asked()
    }

    fn get_whitelist(&self) -> Vec<TrackedStorageKey> {
        not_asked()
    }

    fn set_whitelist(&mut self, _: Vec<TrackedStorageKey>) {
        not_asked()
    }

    fn get_read_and_written_keys(&self) -> Vec<(Vec<u8>, u32, u32, bool)> {
        not_asked()
    }
}
