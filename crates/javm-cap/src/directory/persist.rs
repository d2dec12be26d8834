//! Writing values to a store: everything below a name that the store does not have, children first.

use std::collections::HashSet;

use super::CacheDirectory;
use super::table::Keyed;
use crate::encode::encode;
use crate::error::CapError;
use crate::hash::{self, CapHash};
use crate::store::{CapStore, StoreError};

impl CacheDirectory {
    /// Writes the value `root` and all that it reaches to `store`, children first; what the store has is taken
    /// to be there with all below it. Returns how many values were written. Asks the store once for every
    /// name that a written value holds.
    ///
    /// # Errors
    /// [`CapError::Missing`] if something reachable is neither held nor in a store; [`CapError::Store`]. Values
    /// that were written stay written; `root` is there only when the result is `Ok`.
    pub fn persist(&self, root: CapHash, store: &dyn CapStore) -> Result<u64, CapError> {
        let mut written = 0;
        self.persist_with(
            root,
            |hash| store.contains(hash),
            |hash, bytes| {
                written += 1;
                store.put(hash, bytes)
            },
        )?;
        Ok(written)
    }

    /// [`CacheDirectory::persist`] to the directory's own store, without asking it about values that an earlier
    /// flush has written.
    ///
    /// # Errors
    /// As for [`CacheDirectory::persist`]; [`StoreError::ReadOnly`] if the directory has no store.
    pub fn flush(&mut self, root: CapHash) -> Result<u64, CapError> {
        let Some(store) = self.store.clone() else { return Err(StoreError::ReadOnly.into()) };
        let mut written = Vec::new();
        let result = self.persist_with(
            root,
            |hash| match self.settled.get(hash) {
                Some(held) if held.stored => Ok(true),
                Some(_) | None => store.contains(hash),
            },
            |hash, bytes| {
                written.push(*hash);
                store.put(hash, bytes)
            },
        );
        if result.is_err() {
            // Whether the last one arrived is not known; to write it again does no harm.
            written.pop();
        }
        for hash in &written {
            if let Some(held) = self.settled.get_mut(hash) {
                held.stored = true;
            }
        }
        result.map(|()| written.len() as u64)
    }

    fn persist_with(
        &self,
        root: CapHash,
        has: impl Fn(&CapHash) -> Result<bool, StoreError>,
        mut put: impl FnMut(&CapHash, &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), CapError> {
        let mut begun: HashSet<CapHash, Keyed> = HashSet::default();
        // The flag: all below it is written.
        let mut stack = vec![(root, false)];
        while let Some((hash, ready)) = stack.pop() {
            if ready {
                put(&hash, &encode(&*self.fetch(hash.into())?)?)?;
                continue;
            }
            if hash::kernel_image(&hash).is_some() || !begun.insert(hash) || has(&hash)? {
                continue;
            }
            let cap = self.fetch(hash.into())?;
            stack.push((hash, true));
            cap.for_each_child(|child| {
                if let Some(child) = child.as_hash() {
                    stack.push((*child, false));
                }
            });
        }
        Ok(())
    }
}
