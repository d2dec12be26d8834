//! [`CapStore`]: what a directory asks of a database.
//!
//! Backends live in other crates; this one only says what they must keep:
//!
//! * Content is addressed by the hash of the value it encodes. A store does not look into content: readers
//!   verify every value against its hash, so a store that lies is found out, never believed.
//! * `put` of a hash that is there changes nothing and succeeds: values are immutable, so puts may be
//!   repeated, reordered among values, and retried.
//! * What `put` returned `Ok` for is there for later `get`s of this process. When it is durable is the
//!   backend's to say (commit of a block, write of an object).
//! * Children first: [`CacheDirectory::persist`](crate::CacheDirectory::persist) puts a value after all that
//!   it names, and takes a value that is there to mean that all below it is. A backend that removes values
//!   removes parents before children, or everything at once.
//! * `get` of what is not there is `Ok(None)`. `Err` is for a store that cannot answer.
//! * Methods take `&self` and may be called from several threads.

use crate::hash::CapHash;

/// A store that cannot answer. What exactly went wrong is the backend's to log; callers can only retry or
/// give up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The medium failed: a disk, a network.
    #[error("the medium failed")]
    Io,
    /// The store's own structures are damaged.
    #[error("the store is damaged")]
    Corrupt,
    /// The store does not take writes: opened for reading, full, or another writer has won.
    #[error("the store takes no writes")]
    ReadOnly,
}

/// Values by hash. The module's text is the contract.
pub trait CapStore: Send + Sync {
    /// The canonical encoding of the value with this hash; `None` if it is not there.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot answer.
    fn get(&self, hash: &CapHash) -> Result<Option<Vec<u8>>, StoreError>;

    /// Keeps the canonical encoding of the value with this hash.
    ///
    /// # Errors
    /// [`StoreError`] if it is not kept.
    fn put(&self, hash: &CapHash, bytes: &[u8]) -> Result<(), StoreError>;

    /// Whether the value is there. Cheaper than [`CapStore::get`] where a backend can.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot answer.
    fn contains(&self, hash: &CapHash) -> Result<bool, StoreError> {
        Ok(self.get(hash)?.is_some())
    }
}
