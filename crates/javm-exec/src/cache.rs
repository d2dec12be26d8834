//! [`Lru`]: values by key, within a number of bytes; [`module_key`]: a key for a program that nobody named.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
};

use javm_isa::Code;

/// Values by key, which together have no more than so many bytes as far as is known: those that were longest not
/// asked for go first. Values are handles, which live on where they are used.
///
/// A value may grow; how large it is now is asked whenever it is asked for. Asking is cheap, and so is adding on the
/// average: an eighth of the bytes is made free at once.
#[derive(Debug)]
pub struct Lru<K, V, S = RandomState> {
    entries: HashMap<K, Entry<V>, S>,
    now: u64,
    size: usize,
    limit: usize,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    used: u64,
    size: usize,
}

impl<K: Clone + Eq + Hash, V: Clone, S: BuildHasher + Default> Lru<K, V, S> {
    /// An empty cache of at most `limit` bytes. A value that is larger by itself is kept until the next comes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { entries: HashMap::default(), now: 0, size: 0, limit }
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of the values, as they were when they were last asked for.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.size
    }

    /// Whether there is a value. It is not asked for.
    pub fn contains_key(&self, key: &K) -> bool {
        self.entries.contains_key(key)
    }

    /// A value, whose size is asked again.
    #[inline]
    pub fn get(&mut self, key: &K, size: impl FnOnce(&V) -> usize) -> Option<V> {
        let entry = self.entries.get_mut(key)?;
        let new = size(&entry.value);
        self.size = self.size - entry.size + new;
        entry.size = new;
        self.now += 1;
        entry.used = self.now;
        let value = entry.value.clone();
        if self.size > self.limit {
            self.shrink();
        }
        Some(value)
    }

    /// Adds a value, unless somebody else was faster; gives the one that is there.
    pub fn insert(&mut self, key: K, value: V, size: impl FnOnce(&V) -> usize) -> V {
        if self.entries.contains_key(&key) {
            return self.get(&key, size).unwrap_or(value);
        }
        let size = size(&value);
        self.now += 1;
        self.entries.insert(key, Entry { value: value.clone(), used: self.now, size });
        self.size += size;
        if self.size > self.limit {
            self.shrink();
        }
        value
    }

    /// Removes a value.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let entry = self.entries.remove(key)?;
        self.size -= entry.size;
        Some(entry.value)
    }

    /// Removes values until seven eighths are left, or one value.
    #[cold]
    fn shrink(&mut self) {
        let mut order: Vec<(u64, K)> = self.entries.iter().map(|(key, e)| (e.used, key.clone())).collect();
        order.sort_unstable_by_key(|(used, _)| *used);
        // The last is the one that was just asked for.
        order.pop();
        for (_, key) in order {
            if self.size <= self.limit / 8 * 7 {
                break;
            }
            self.remove(&key);
        }
    }
}

/// A key for a program by what it is: the BLAKE2b-256 hash of its code, bitmask and jump table. Where a program
/// comes from a value that has a hash, that hash is cheaper.
#[must_use]
pub fn module_key(code: &Code) -> [u8; 32] {
    let mut state = blake2b_simd::Params::new().hash_length(32).to_state();
    state.update(&code.len().to_le_bytes()).update(code.bytes()).update(&code.packed_bitmask());
    code.jump_table().iter().for_each(|target| {
        state.update(&target.to_le_bytes());
    });
    let mut key = [0; 32];
    key.copy_from_slice(state.finalize().as_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_longest_not_asked_for_goes_first() {
        let mut cache = Lru::<_, _>::new(80);
        for key in ["a", "b", "c"] {
            assert_eq!(cache.insert(key, key.len(), |_| 24), 1);
        }
        assert_eq!(cache.get(&"a", |_| 24), Some(1));
        cache.insert("d", 4, |_| 20);
        assert_eq!((cache.get(&"b", |_| 24), cache.get(&"a", |_| 24), cache.len()), (None, Some(1), 3));
        // One that has grown drives others out.
        assert_eq!(cache.get(&"d", |_| 60), Some(4));
        assert_eq!((cache.len(), cache.size(), cache.get(&"a", |_| 24)), (1, 60, None));
        // Too large by itself: there until the next comes.
        cache.insert("e", 5, |_| 90);
        assert_eq!((cache.len(), cache.size(), cache.get(&"e", |_| 90)), (1, 90, Some(5)));
        cache.insert("f", 6, |_| 1);
        assert_eq!((cache.len(), cache.size()), (1, 1));
        assert_eq!((cache.remove(&"f"), cache.size(), cache.is_empty()), (Some(6), 0, true));
    }

    #[test]
    fn the_first_that_was_added_counts() {
        let mut cache = Lru::<_, _>::new(10);
        assert_eq!((cache.insert(1, "first", |_| 1), cache.insert(1, "second", |_| 1)), ("first", "first"));
    }

    #[test]
    fn keys_tell_programs_apart() {
        let key =
            |code: &[u8], mask: &[u8], table: &[u32]| module_key(&Code::new(code, mask, table).unwrap());
        let keys = [
            key(&[0], &[1], &[]),
            key(&[1], &[1], &[]),
            key(&[0], &[1], &[0]),
            key(&[0, 0], &[3], &[]),
            key(&[0, 0], &[1], &[]),
        ];
        (0..keys.len()).for_each(|n| assert!(!keys[..n].contains(&keys[n]), "{n}"));
    }
}
