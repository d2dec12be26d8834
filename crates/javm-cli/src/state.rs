//! A file of values: everything that one value reaches, so that state outlives a run.
//!
//! ```text
//! file  = "JAVMVALS" version:u8 root[32] count:u32 entry*
//! entry = hash[32] length:u32 encoding        children before parents, each value once
//! ```
//! Integers are little endian; an encoding is the canonical one of `javm-cap`. Nothing in the file is
//! believed: every value must hash to its name, every name must be there, and nothing may be left over.

use std::{
    collections::HashSet,
    path::Path,
    sync::{Mutex, PoisonError},
};

use javm_cap::{CacheDirectory, Cap, CapError, CapHash, CapStore, StoreError, decode, hash};

use crate::{error::CliError, load, show::hex};

/// What a file of values starts with.
pub(crate) const MAGIC: [u8; 8] = *b"JAVMVALS";
const VERSION: u8 = 1;

/// Why bytes are no file of values.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    /// The first bytes are others.
    #[error("not a file of values: it does not start with JAVMVALS")]
    Magic,
    /// A version that is not known here.
    #[error("version {found} of the file of values is not known, {VERSION} is")]
    Version { found: u8 },
    /// The file ends inside something.
    #[error("byte {offset}: the file ends here, inside {what}")]
    Truncated { offset: usize, what: &'static str },
    /// Something follows the last value.
    #[error("byte {offset}: the file goes on behind its last value")]
    Trailing { offset: usize },
    /// An encoding is none, or of another value than its name says.
    #[error("byte {offset}: {source}")]
    Value { offset: usize, source: CapError },
    /// A value is there twice, or before one that it names.
    #[error("byte {offset}: the value {hash} {what}")]
    Order { offset: usize, hash: String, what: &'static str },
    /// The value that the file is about is not in it.
    #[error("the root {hash} is not in the file")]
    NoRoot { hash: String },
}

/// Collects what is written, in order.
#[derive(Default)]
struct Archive {
    entries: Mutex<(HashSet<CapHash>, Vec<u8>)>,
}

impl CapStore for Archive {
    fn get(&self, _: &CapHash) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }

    fn put(&self, hash: &CapHash, bytes: &[u8]) -> Result<(), StoreError> {
        let length = u32::try_from(bytes.len()).map_err(|_| StoreError::ReadOnly)?;
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let (seen, out) = &mut *entries;
        if seen.insert(*hash) {
            out.extend(hash);
            out.extend(length.to_le_bytes());
            out.extend(bytes);
        }
        Ok(())
    }

    fn contains(&self, hash: &CapHash) -> Result<bool, StoreError> {
        Ok(self.entries.lock().unwrap_or_else(PoisonError::into_inner).0.contains(hash))
    }
}

/// The bytes of a file with everything that `root` reaches.
fn to_bytes(cache: &CacheDirectory, root: CapHash) -> Result<Vec<u8>, CapError> {
    let archive = Archive::default();
    let count = cache.persist(root, &archive)?;
    let count = u32::try_from(count).map_err(|_| StoreError::ReadOnly)?;
    let (_, entries) = archive.entries.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut out = Vec::with_capacity(MAGIC.len() + 1 + 32 + 4 + entries.len());
    out.extend(MAGIC);
    out.push(VERSION);
    out.extend(root);
    out.extend(count.to_le_bytes());
    out.extend(entries);
    Ok(out)
}

/// Takes bytes off the front.
struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], StateError> {
        let end = self.offset.checked_add(len);
        let taken = end.and_then(|end| self.bytes.get(self.offset..end));
        let taken = taken.ok_or(StateError::Truncated { offset: self.bytes.len(), what })?;
        self.offset += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], StateError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, what)?);
        Ok(array)
    }
}

/// Reads the bytes of a file; its values go into the directory. Returns the root.
pub(crate) fn from_bytes(cache: &mut CacheDirectory, bytes: &[u8]) -> Result<CapHash, StateError> {
    if !bytes.starts_with(&MAGIC) {
        return Err(StateError::Magic);
    }
    let mut reader = Reader { bytes, offset: MAGIC.len() };
    let [version] = reader.array("its header")?;
    if version != VERSION {
        return Err(StateError::Version { found: version });
    }
    let root: CapHash = reader.array("its header")?;
    let count = u32::from_le_bytes(reader.array("its header")?);
    let mut seen: HashSet<CapHash> = HashSet::new();
    let mut caps: Vec<Cap> = Vec::new();
    for _ in 0..count {
        let offset = reader.offset;
        let name: CapHash = reader.array("a value's name")?;
        let length = u32::from_le_bytes(reader.array("a value's length")?);
        let at = reader.offset;
        let encoding = reader.take(length as usize, "a value")?;
        let wrong = |source| StateError::Value { offset: at, source };
        let cap = decode(encoding).map_err(wrong)?;
        let found = cap.hash().map_err(wrong)?;
        if found != name {
            return Err(wrong(CapError::HashMismatch { expected: name, found }));
        }
        let mut missing = None;
        cap.for_each_child(|child| {
            if let Some(child) = child.as_hash()
                && !seen.contains(child)
                && hash::kernel_image(child).is_none()
            {
                missing = Some(*child);
            }
        });
        if let Some(missing) = missing {
            let what = "is named before it is there";
            return Err(StateError::Order { offset, hash: hex(&missing), what });
        }
        if !seen.insert(name) {
            return Err(StateError::Order { offset, hash: hex(&name), what: "is there twice" });
        }
        caps.push(cap);
    }
    if reader.offset != bytes.len() {
        return Err(StateError::Trailing { offset: reader.offset });
    }
    if !seen.contains(&root) {
        return Err(StateError::NoRoot { hash: hex(&root) });
    }
    for cap in &caps {
        cache.put_cap(cap).map_err(|source| StateError::Value { offset: bytes.len(), source })?;
    }
    Ok(root)
}

/// Writes everything that `root` reaches to a file.
pub(crate) fn save(cache: &CacheDirectory, root: CapHash, path: &Path) -> Result<(), CliError> {
    load::write(path, &to_bytes(cache, root)?)
}

/// Reads a file into the directory; returns its root.
pub(crate) fn load(cache: &mut CacheDirectory, path: &Path) -> Result<CapHash, CliError> {
    let bytes = load::bytes(path)?;
    from_bytes(cache, &bytes).map_err(|source| CliError::State { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use javm_cap::{CNodeCap, SlotIdx};

    use super::*;

    fn sample() -> (CacheDirectory, CapHash) {
        let mut cache = CacheDirectory::new();
        let mut cnode = CNodeCap::new(4).unwrap();
        for (slot, text) in ["one", "two", "one"].iter().enumerate() {
            let data = cache.put_cap(&Cap::data_inline(text.as_bytes())).unwrap();
            cnode.set(SlotIdx(slot as u32), Some(data.into())).unwrap();
        }
        let root = cache.put_cap(&cnode.into()).unwrap();
        (cache, root)
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let (cache, root) = sample();
        let bytes = to_bytes(&cache, root).unwrap();
        let mut other = CacheDirectory::new();
        assert_eq!(from_bytes(&mut other, &bytes).unwrap(), root);
        assert_eq!(other.len(), 3);
        assert_eq!(to_bytes(&other, root).unwrap(), bytes);
    }

    #[test]
    fn no_byte_may_be_changed_or_missing() {
        let (cache, root) = sample();
        let bytes = to_bytes(&cache, root).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(from_bytes(&mut CacheDirectory::new(), &changed).is_err(), "byte {at} changed");
            let cut = from_bytes(&mut CacheDirectory::new(), &bytes[..at]);
            assert!(cut.is_err(), "cut at {at}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        let error = from_bytes(&mut CacheDirectory::new(), &longer).unwrap_err();
        assert!(matches!(error, StateError::Trailing { .. }), "{error}");
    }

    #[test]
    fn a_parent_without_its_child_is_refused() {
        let (cache, root) = sample();
        let bytes = to_bytes(&cache, root).unwrap();
        let first = 8 + 1 + 32 + 4;
        let length = u32::from_le_bytes(bytes[first + 32..first + 36].try_into().unwrap()) as usize;
        let mut without = bytes[..first].to_vec();
        without[41..45].copy_from_slice(&2u32.to_le_bytes());
        without.extend(&bytes[first + 36 + length..]);
        let error = from_bytes(&mut CacheDirectory::new(), &without).unwrap_err();
        assert!(matches!(error, StateError::Order { .. }), "{error}");
    }
}
