//! [`CacheDirectory`]: where a call finds values and makes new ones.
//!
//! * **Settled** values are held by hash. Content that is not held is fetched from the [`CapStore`] behind the
//!   directory, if there is one, and verified. Fetched values are a cache of their own: they may go at any
//!   time and are fetched again.
//! * **Working** values are held by [`CapRef`]. Making one, or changing one in place, hashes nothing.
//!   [`CacheDirectory::settle`] (`directory/settle.rs`) turns the graph under a reference into hashes.
//! * Values come with the **call** that is running, and leave with it unless its outcome reaches them
//!   (`directory/collect.rs`). What is put in while no call is running stays.
//!
//! A directory belongs to its caller. Looking up takes `&self`, everything else `&mut self`.

mod collect;
mod persist;
mod settle;
mod table;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::encode::decode;
use crate::error::CapError;
use crate::hash::{self, CapHash};
use crate::image::{ImageCap, ImageError};
use crate::kinds::Cap;
use crate::name::{CapHashOrRef, CapRef};
use crate::store::CapStore;
pub use collect::CallMark;
pub use table::{CapMap, Keyed};
use table::{Content, Settled, Slab};

/// How many bytes of encodings a directory keeps of fetched values unless told otherwise: 256 MiB.
pub const DEFAULT_FETCH_BUDGET: u64 = 256 << 20;

/// About what a value weighs beyond its bytes, and what a change of one adds.
const BASE_WEIGHT: u64 = 256;

/// Numbers that no two directories share: epochs and cycles stamp tree nodes, which directories may share.
static UNIQUE: AtomicU64 = AtomicU64::new(1);

fn unique() -> u64 {
    UNIQUE.fetch_add(1, Ordering::Relaxed)
}

/// Who may change a working value in place, see [`CacheDirectory::insert_owned`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner(u64);

impl Owner {
    /// Nobody: every change of a nested value makes a new one.
    pub const NONE: Self = Self(0);
}

/// Values that were fetched from the store.
struct Fetched {
    caps: CapMap<Arc<Cap>>,
    bytes: u64,
    budget: u64,
}

/// The values that a caller holds. The module's text tells how they come and go.
pub struct CacheDirectory {
    settled: CapMap<Settled>,
    working: Slab,
    fetched: Mutex<Fetched>,
    store: Option<Arc<dyn CapStore>>,
    calls: collect::Calls,
    owners: u64,
}

impl Default for CacheDirectory {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for CacheDirectory {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (settled, working) = (self.settled.len(), self.working.working());
        write!(f, "CacheDirectory({settled} settled, {working} working)")
    }
}

impl CacheDirectory {
    /// An empty directory without a store: what is not put in is missing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            settled: CapMap::default(),
            working: Slab::default(),
            fetched: Mutex::new(Fetched { caps: CapMap::default(), bytes: 0, budget: DEFAULT_FETCH_BUDGET }),
            store: None,
            calls: collect::Calls::new(),
            owners: 0,
        }
    }

    /// An empty directory over a store: what is not held is fetched, and verified against its hash.
    #[must_use]
    pub fn with_store(store: Arc<dyn CapStore>) -> Self {
        Self { store: Some(store), ..Self::new() }
    }

    /// The store behind the directory.
    #[must_use]
    pub fn store(&self) -> Option<&Arc<dyn CapStore>> {
        self.store.as_ref()
    }

    /// How many bytes of encodings to keep of fetched values ([`DEFAULT_FETCH_BUDGET`]). When more come, all
    /// are let go.
    pub fn set_fetch_budget(&mut self, bytes: u64) {
        self.fetched.get_mut().unwrap_or_else(PoisonError::into_inner).budget = bytes;
    }

    /// Holds a value, and returns its name. Working values that it names are settled. Values that it names by
    /// hash need not be at hand.
    ///
    /// # Errors
    /// [`CapError::Dangling`] or [`CapError::Cycle`] for references that cannot be settled;
    /// [`CapError::Image`] for an image that pins a value that is at hand and is neither Data nor image.
    pub fn put_cap(&mut self, cap: &Cap) -> Result<CapHash, CapError> {
        if let Cap::Image(image) = cap {
            self.check_pinned(image)?;
        }
        let mut cap = cap.clone();
        if cap.has_refs() {
            self.settle_children(&mut cap)?;
        }
        let weight = BASE_WEIGHT + take_fresh(&mut cap);
        let hash = cap.hash()?;
        self.hold(hash, Arc::new(cap), weight);
        Ok(hash)
    }

    /// Checks that the pinned values of an image that are at hand are Data or images.
    ///
    /// # Errors
    /// [`ImageError::PinnedKind`].
    pub fn check_pinned(&self, image: &ImageCap) -> Result<(), ImageError> {
        image.check_pinned(|hash| self.get((*hash).into()).map(|cap| cap.kind()))
    }

    /// Holds a settled value under its name.
    fn hold(&mut self, hash: CapHash, cap: Arc<Cap>, weight: u64) {
        let call = self.calls.current();
        if let Some(held) = self.settled.get_mut(&hash) {
            if held.call != call {
                // Two calls, or a call and the embedder, made the same value: it stays.
                held.call = 0;
            }
            return;
        }
        self.settled.insert(hash, Settled { cap, call, seen: 0, weight, stored: false });
        self.calls.came(hash.into(), weight);
    }

    /// The value that a name stands for; `None` if it is missing, or the store cannot answer. Never hashes
    /// what is held.
    #[must_use]
    pub fn get(&self, name: CapHashOrRef) -> Option<Arc<Cap>> {
        self.fetch(name).ok()
    }

    /// The value that a name stands for.
    ///
    /// # Errors
    /// [`CapError::Missing`] with the hash that is neither held nor in the store; [`CapError::Dangling`];
    /// [`CapError::Store`], [`CapError::Malformed`], [`CapError::Image`] or [`CapError::HashMismatch`] for
    /// what the store returned.
    pub fn fetch(&self, name: CapHashOrRef) -> Result<Arc<Cap>, CapError> {
        let hash = match name {
            CapHashOrRef::Hash(hash) => hash,
            CapHashOrRef::Ref(reference) => match self.working.get(reference).map(|place| &place.content) {
                Some(Content::Working(cap)) => return Ok(Arc::clone(cap)),
                Some(Content::Settled(hash)) => *hash,
                Some(Content::Free) | None => return Err(CapError::Dangling { reference }),
            },
        };
        match self.settled.get(&hash) {
            Some(held) => Ok(Arc::clone(&held.cap)),
            None => self.fetch_missing(hash),
        }
    }

    /// The value that a name stands for, where the directory itself holds it: never asks the store.
    #[must_use]
    pub fn held(&self, name: CapHashOrRef) -> Option<&Cap> {
        let hash = match name {
            CapHashOrRef::Hash(hash) => hash,
            CapHashOrRef::Ref(reference) => match &self.working.get(reference)?.content {
                Content::Working(cap) => return Some(cap),
                Content::Settled(hash) => *hash,
                Content::Free => return None,
            },
        };
        self.settled.get(&hash).map(|held| &*held.cap)
    }

    #[cold]
    fn fetch_missing(&self, hash: CapHash) -> Result<Arc<Cap>, CapError> {
        let Some(store) = &self.store else { return Err(CapError::Missing { hash }) };
        if let Some(cap) = self.fetched.lock().unwrap_or_else(PoisonError::into_inner).caps.get(&hash) {
            return Ok(Arc::clone(cap));
        }
        // The lock is not held while the store works. Two readers may fetch the same value; no harm.
        let bytes = store.get(&hash)?.ok_or(CapError::Missing { hash })?;
        let cap = decode(&bytes)?;
        let found = cap.hash()?;
        if found != hash {
            return Err(CapError::HashMismatch { expected: hash, found });
        }
        let cap = Arc::new(cap);
        let mut fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        let fetched = &mut *fetched;
        fetched.bytes += bytes.len() as u64 + BASE_WEIGHT;
        if fetched.bytes > fetched.budget {
            fetched.caps.clear();
            fetched.bytes = bytes.len() as u64 + BASE_WEIGHT;
        }
        fetched.caps.insert(hash, Arc::clone(&cap));
        Ok(cap)
    }

    /// Whether the content of a name is at hand: held, or in the store. Kernel images, of which no value
    /// exists, count as present.
    #[must_use]
    pub fn contains(&self, name: CapHashOrRef) -> bool {
        match name {
            CapHashOrRef::Ref(reference) => self.working.get(reference).is_some(),
            CapHashOrRef::Hash(hash) => {
                self.settled.contains_key(&hash)
                    || hash::kernel_image(&hash).is_some()
                    || self.store.as_ref().is_some_and(|store| store.contains(&hash).unwrap_or(false))
            }
        }
    }

    /// How many values the directory holds, settled and working. Fetched ones, which the store has, are not
    /// counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.settled.len() + self.working.working()
    }

    /// Whether the directory holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many working values there are.
    #[must_use]
    pub const fn working_len(&self) -> usize {
        self.working.working()
    }

    /// Holds a value without naming it. Hashes nothing.
    pub fn insert_working(&mut self, cap: Cap) -> CapRef {
        self.insert_owned(cap, Owner::NONE)
    }

    /// Holds a working value that `owner` may change in place where it walks paths
    /// ([`path::write_path`](crate::path::write_path)).
    ///
    /// A holder of an owner promises that a value it owns is named by one slot, and that no copy of the table
    /// which holds that slot is kept that must not change. It takes a new owner
    /// ([`CacheDirectory::new_owner`]) whenever a snapshot of what it reached may exist from then on: before
    /// each call that it makes, and after each return.
    pub fn insert_owned(&mut self, mut cap: Cap, owner: Owner) -> CapRef {
        let weight = BASE_WEIGHT + take_fresh(&mut cap);
        let reference = self.working.insert(Arc::new(cap), self.calls.current(), owner.0, weight);
        self.calls.came(reference.into(), weight);
        reference
    }

    /// An owner that nobody had before.
    pub const fn new_owner(&mut self) -> Owner {
        self.owners += 1;
        Owner(self.owners)
    }

    /// Whether `owner` may change the working value in place.
    #[must_use]
    pub fn is_owned(&self, reference: CapRef, owner: Owner) -> bool {
        owner != Owner::NONE
            && self
                .working
                .get(reference)
                .is_some_and(|place| place.owner == owner.0 && matches!(place.content, Content::Working(_)))
    }

    /// Changes a working value in place. Every slot that names it sees the change; copies of the value that
    /// somebody got before do not. `None`, and `change` is not called, where the reference names no working
    /// value: it has left, or it has been settled.
    pub fn modify<R>(&mut self, reference: CapRef, change: impl FnOnce(&mut Cap) -> R) -> Option<R> {
        let current = self.calls.current();
        let place = self.working.get_mut(reference)?;
        let Content::Working(cap) = &mut place.content else { return None };
        let cap = Arc::make_mut(cap);
        let result = change(cap);
        let weight = BASE_WEIGHT + take_fresh(cap);
        place.weight += weight;
        let outsider = place.call != current && place.remembered != current;
        if outsider {
            place.remembered = current;
        }
        self.calls.changed(reference, weight, outsider);
        Some(result)
    }

    /// How many BLAKE2b compressions of 128 bytes settling the value would take now: what settling is priced
    /// by. Stops counting past `limit`, so that a price which cannot be paid costs no more to find out. 0 for a
    /// settled value, and for a reference that names nothing.
    #[must_use]
    pub fn hash_cost(&mut self, name: CapHashOrRef, limit: u64) -> u64 {
        self.settling_cost(name, limit)
    }
}

/// Bytes that a value holds and no directory has counted.
fn take_fresh(cap: &mut Cap) -> u64 {
    match cap {
        Cap::Data(data) => data.take_fresh(),
        Cap::Instance(instance) => instance.take_fresh(),
        Cap::Image(image) => image.code.len() as u64 * 2 + image.jump_table.len() as u64 * 4,
        Cap::CNode(_) | Cap::Type(_) => 0,
    }
}
