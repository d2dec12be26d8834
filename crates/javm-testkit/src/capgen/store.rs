//! [`MemoryStore`]: a store in memory that remembers what it was asked for.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use javm_cap::{CapHash, CapStore, StoreError};

/// Values by hash, in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    values: Mutex<HashMap<CapHash, Vec<u8>>>,
    asked: Mutex<BTreeSet<CapHash>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryStore {
    /// What was asked for since this was last called, whether it was there or not.
    pub fn take_asked(&self) -> BTreeSet<CapHash> {
        std::mem::take(&mut lock(&self.asked))
    }
}

impl CapStore for MemoryStore {
    fn get(&self, hash: &CapHash) -> Result<Option<Vec<u8>>, StoreError> {
        lock(&self.asked).insert(*hash);
        Ok(lock(&self.values).get(hash).cloned())
    }

    fn put(&self, hash: &CapHash, bytes: &[u8]) -> Result<(), StoreError> {
        lock(&self.values).entry(*hash).or_insert_with(|| bytes.to_vec());
        Ok(())
    }

    fn contains(&self, hash: &CapHash) -> Result<bool, StoreError> {
        Ok(lock(&self.values).contains_key(hash))
    }
}
