//! σ: what a chain is between blocks.
//!
//! [`State::root`] is the hash of the canonical encoding: SCALE, fields in the order in which they stand here,
//! files ascending by id. Two states with equal content have equal roots, however they came about.

use std::collections::BTreeMap;

use javm_cap::{CapHash, hash};
use parity_scale_codec::{Decode, DecodeAll, Encode};

/// A file: content that the chain keeps, and who pays for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct FileEntry {
    /// Hash of the Data.
    pub content: CapHash,
    /// Its stripped size in bytes: what the quota was debited.
    pub size: u64,
    /// How often it was saved and not released since; at least 1.
    pub references: u64,
    /// The quota that backs it; `None`: storage was free.
    pub quota: Option<u64>,
}

/// σ.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct State {
    /// The chain instance.
    pub chain: CapHash,
    /// Files by id.
    pub files: BTreeMap<u64, FileEntry>,
    /// The id that the next new file gets. No id is ever used twice.
    pub next_file: u64,
    /// How many blocks were applied.
    pub height: u64,
}

/// Bytes that are no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Not the canonical encoding of a state.
    #[error("the bytes are not the canonical encoding of a state")]
    Malformed,
    /// A file that no kernel can have made.
    #[error("file {id} cannot be: {reason}")]
    File {
        /// Its id.
        id: u64,
        /// Why not.
        reason: &'static str,
    },
}

impl State {
    /// A state with this chain instance, no files, at height 0.
    #[must_use]
    pub const fn new(chain: CapHash) -> Self {
        Self { chain, files: BTreeMap::new(), next_file: 0, height: 0 }
    }

    /// The state root.
    #[must_use]
    pub fn root(&self) -> CapHash {
        hash::state_root(&self.encode())
    }

    /// Reads a state that [`Encode::encode`] wrote.
    ///
    /// # Errors
    /// [`StateError`] for bytes that are no canonical encoding, or a state that cannot be.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        let state = Self::decode_all(&mut &*bytes).map_err(|_| StateError::Malformed)?;
        // SCALE maps may come in any order; ours is one.
        if state.encode() != bytes {
            return Err(StateError::Malformed);
        }
        for (id, file) in &state.files {
            if *id >= state.next_file {
                return Err(StateError::File { id: *id, reason: "its id was not given out yet" });
            }
            if file.references == 0 {
                return Err(StateError::File { id: *id, reason: "nobody refers to it" });
            }
        }
        Ok(state)
    }

    /// Takes one reference of a file back. When it was the last the file goes. Returns the quota that is to be
    /// credited, and with how much; `None` if there is no such file.
    pub fn release_file(&mut self, id: u64) -> Option<(Option<u64>, u64)> {
        let file = self.files.get_mut(&id)?;
        let credit = (file.quota, file.size);
        file.references -= 1;
        if file.references == 0 {
            self.files.remove(&id);
        }
        Some(credit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_files(files: &[(u64, FileEntry)]) -> State {
        let next_file = files.iter().map(|(id, _)| id + 1).max().unwrap_or(0);
        State { files: files.iter().copied().collect(), next_file, ..State::new([1; 32]) }
    }

    const FILE: FileEntry = FileEntry { content: [2; 32], size: 10, references: 2, quota: Some(1) };

    #[test]
    fn the_root_is_of_the_content() {
        let a = with_files(&[(0, FILE), (3, FileEntry { quota: None, ..FILE })]);
        let mut b = with_files(&[(3, FileEntry { quota: None, ..FILE }), (0, FILE)]);
        assert_eq!(a.root(), b.root());
        assert_eq!(State::from_bytes(&a.encode()), Ok(a.clone()));
        b.height += 1;
        assert_ne!(a.root(), b.root());
    }

    #[test]
    fn references_count() {
        let mut state = with_files(&[(0, FILE)]);
        assert_eq!(state.release_file(0), Some((Some(1), 10)));
        assert_eq!(state.files[&0].references, 1);
        assert_eq!(state.release_file(0), Some((Some(1), 10)));
        assert_eq!(state.release_file(0), None);
        assert_eq!(state.next_file, 1, "an id is never used twice");
    }

    #[test]
    fn hostile_states_are_refused() {
        let mut state = with_files(&[(0, FILE)]);
        let good = state.encode();
        for cut in 0..good.len() {
            assert!(State::from_bytes(&good[..cut]).is_err());
        }
        let mut long = good.clone();
        long.push(0);
        assert_eq!(State::from_bytes(&long), Err(StateError::Malformed));
        state.files.insert(0, FileEntry { references: 0, ..FILE });
        let error = State::from_bytes(&state.encode()).unwrap_err();
        assert_eq!(error.to_string(), "file 0 cannot be: nobody refers to it");
        state.files.insert(0, FILE);
        state.next_file = 0;
        assert!(State::from_bytes(&state.encode()).is_err());
    }
}
