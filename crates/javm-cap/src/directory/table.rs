//! Where a directory keeps values: settled ones by hash, working ones in a slab.
//!
//! Both are on the path of every nested call, so both are one probe. The hash function for hashes is keyed
//! (digests can be ground, and a table whose collisions an attacker chooses is slow) and far cheaper than
//! a general one, because its input is uniform to begin with. Nothing observable depends on the key.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use crate::hash::CapHash;
use crate::kinds::Cap;
use crate::name::CapRef;

/// A map whose keys are hashes of values.
pub type CapMap<V> = HashMap<CapHash, V, Keyed>;

/// Builds hashers with one random key.
#[derive(Clone, Debug)]
pub struct Keyed([u64; 2]);

impl Default for Keyed {
    fn default() -> Self {
        let random = RandomState::new();
        Self([random.hash_one(0u8), random.hash_one(1u8)])
    }
}

impl BuildHasher for Keyed {
    type Hasher = Fold;

    fn build_hasher(&self) -> Fold {
        Fold { key: self.0, state: self.0[0] }
    }
}

/// Multiplies and folds: 16 bytes a step.
#[derive(Debug)]
pub struct Fold {
    key: [u64; 2],
    state: u64,
}

const fn fold(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}

impl Hasher for Fold {
    fn finish(&self) -> u64 {
        self.state
    }

    fn write(&mut self, bytes: &[u8]) {
        for pair in bytes.chunks(16) {
            let mut words = [0; 16];
            words[..pair.len()].copy_from_slice(pair);
            let pair = u128::from_le_bytes(words);
            self.state = fold(pair as u64 ^ self.key[1] ^ self.state, (pair >> 64) as u64 ^ self.key[0]);
        }
    }

    /// The length prefix of an array: always the same.
    fn write_usize(&mut self, _: usize) {}
}

/// A settled value that the directory holds.
pub(super) struct Settled {
    pub(super) cap: Arc<Cap>,
    /// The open call in which it came; 0: here to stay.
    pub(super) call: u64,
    /// The last collection that reached it.
    pub(super) seen: u64,
    /// About how many bytes it added.
    pub(super) weight: u64,
    /// Whether the directory's own store has it, and all below it.
    pub(super) stored: bool,
}

/// What a reference names.
pub(super) enum Content {
    Free,
    Working(Arc<Cap>),
    /// It has been settled; other slots may still name it by the reference.
    Settled(CapHash),
}

/// A place for a working value.
pub(super) struct Place {
    generation: u32,
    pub(super) content: Content,
    pub(super) call: u64,
    pub(super) seen: u64,
    pub(super) weight: u64,
    /// Who may change it in place; 0: nobody.
    pub(super) owner: u64,
    /// The call that has it in its list of changed outsiders.
    pub(super) remembered: u64,
}

/// Places, used again under a new generation.
#[derive(Default)]
pub(super) struct Slab {
    places: Vec<Place>,
    free: Vec<u32>,
    working: usize,
}

impl Slab {
    /// How many working values there are.
    pub(super) const fn working(&self) -> usize {
        self.working
    }

    pub(super) fn insert(&mut self, cap: Arc<Cap>, call: u64, owner: u64, weight: u64) -> CapRef {
        self.working += 1;
        let content = Content::Working(cap);
        if let Some(index) = self.free.pop() {
            let place = &mut self.places[index as usize];
            let generation = place.generation;
            *place = Place { generation, content, call, seen: 0, weight, owner, remembered: 0 };
            return CapRef { index, generation };
        }
        // Memory ends long before 2^32 places of more than 64 bytes each do.
        let index = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        self.places.push(Place { generation: 0, content, call, seen: 0, weight, owner, remembered: 0 });
        CapRef { index, generation: 0 }
    }

    pub(super) fn get(&self, reference: CapRef) -> Option<&Place> {
        let place = self.places.get(reference.index as usize)?;
        (place.generation == reference.generation && !matches!(place.content, Content::Free)).then_some(place)
    }

    pub(super) fn get_mut(&mut self, reference: CapRef) -> Option<&mut Place> {
        let place = self.places.get_mut(reference.index as usize)?;
        (place.generation == reference.generation && !matches!(place.content, Content::Free)).then_some(place)
    }

    /// Turns a working value into the name of a settled one.
    pub(super) fn set_settled(&mut self, reference: CapRef, hash: CapHash) {
        if let Some(place) = self.get_mut(reference)
            && matches!(place.content, Content::Working(_))
        {
            place.content = Content::Settled(hash);
            self.working -= 1;
        }
    }

    pub(super) fn remove(&mut self, reference: CapRef) {
        let Some(place) = self.get_mut(reference) else { return };
        let was_working = matches!(place.content, Content::Working(_));
        place.content = Content::Free;
        // A place whose generations are used up is not used again.
        if let Some(next) = place.generation.checked_add(1) {
            place.generation = next;
            self.free.push(reference.index);
        }
        self.working -= usize::from(was_working);
    }

    /// The references of all values, for a full collection.
    pub(super) fn references(&self) -> impl Iterator<Item = CapRef> {
        self.places.iter().enumerate().filter(|(_, place)| !matches!(place.content, Content::Free)).map(
            |(index, place)| CapRef {
                index: u32::try_from(index).unwrap_or(u32::MAX),
                generation: place.generation,
            },
        )
    }
}
