//! Slots: names of places in this instance's table, typed by what the author keeps there.
//!
//! A [`Slot`] is a number and owns nothing: the value lies in the table. The type parameter is the author's
//! promise; the kernel checks it at each operation and faults the instance where it does not hold
//! ([`Slot::kind`] asks first). What only one kind can do is in `instance.rs` and `data.rs`.

use crate::raw;
use core::marker::PhantomData;
use javm_abi::SlotPath;

/// A place in the root table of this instance, or in a cnode below it, that holds a `K` or nothing.
pub struct Slot<K: Kind> {
    path: u64,
    kind: PhantomData<K>,
}

/// A slot of which no kind is promised.
pub type AnySlot = Slot<Any>;

/// Slot 0: what a caller hands over and gets back. It moves into the callee at a call and, as the callee
/// leaves it, back at the end.
pub const SCRATCHPAD: AnySlot = Slot::root(0);

/// A kind of capability, as the type parameter of [`Slot`].
pub trait Kind: sealed::Sealed {
    /// What [`Slot::kind`] says of a slot that holds one; `None` for [`Any`].
    const KIND: Option<SlotKind>;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $kind:expr;)*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {}
        impl sealed::Sealed for $name {}
        impl Kind for $name {
            const KIND: Option<SlotKind> = $kind;
        }
    )* };
}
kinds! {
    /// A running program's state: what can be called.
    Instance = Some(SlotKind::Instance);
    /// A program.
    Image = Some(SlotKind::Image);
    /// Bytes.
    Data = Some(SlotKind::Data);
    /// A table of slots.
    CNode = Some(SlotKind::CNode);
    /// The lineage of an instance: what it is an instance of.
    Type = Some(SlotKind::Type);
    /// Anything.
    Any = None;
}

/// What lies in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotKind {
    /// Nothing.
    Empty,
    /// An instance.
    Instance,
    /// An image.
    Image,
    /// A Data.
    Data,
    /// A cnode.
    CNode,
    /// A type.
    Type,
}

impl<K: Kind> Clone for Slot<K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: Kind> Copy for Slot<K> {}

impl<K: Kind> PartialEq for Slot<K> {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl<K: Kind> Eq for Slot<K> {}

impl<K: Kind> core::fmt::Debug for Slot<K> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Slot({})", self.path())
    }
}

impl<K: Kind> Slot<K> {
    /// A slot of the root table. Images keep their own things in 254 (read-write data) and 255 (read-only
    /// data, pinned); 0 is the scratchpad; the rest is the author's.
    #[must_use]
    pub const fn root(slot: u8) -> Self {
        Self { path: slot as u64, kind: PhantomData }
    }

    /// The slot at a path.
    #[must_use]
    pub const fn at(path: SlotPath) -> Self {
        Self { path: path.encode(), kind: PhantomData }
    }

    /// The path.
    #[must_use]
    pub const fn path(self) -> SlotPath {
        match SlotPath::decode(self.path) {
            Ok(path) => path,
            // Every constructor takes a path; this is unreachable and needs no formatting code.
            Err(_) => SlotPath::root(0),
        }
    }

    /// The register that names the slot in an operation.
    #[must_use]
    #[inline]
    pub const fn register(self) -> u64 {
        self.path
    }

    /// The same slot, promised to hold another kind.
    #[must_use]
    pub const fn cast<L: Kind>(self) -> Slot<L> {
        Slot { path: self.path, kind: PhantomData }
    }

    /// The same slot with no promise.
    #[must_use]
    pub const fn any(self) -> AnySlot {
        self.cast()
    }

    /// What lies in the slot (operation MGMT_KIND).
    #[must_use]
    pub fn kind(self) -> SlotKind {
        // SAFETY: no address operand.
        let [kind, ..] = unsafe { raw::MGMT_KIND(self.path) };
        match kind {
            0 => SlotKind::Empty,
            1 => SlotKind::Instance,
            2 => SlotKind::Image,
            3 => SlotKind::Data,
            4 => SlotKind::CNode,
            5 => SlotKind::Type,
            _ => panic!("a kind that this SDK does not know"),
        }
    }

    /// Whether nothing lies in the slot.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.kind() == SlotKind::Empty
    }

    /// This slot as one of another kind, if that is what it holds.
    #[must_use]
    pub fn holds<L: Kind>(self) -> Option<Slot<L>> {
        (L::KIND.is_none() || L::KIND == Some(self.kind())).then(|| self.cast())
    }

    /// Makes `dst` name the same value (MGMT_COPY). Faults if this slot is empty.
    pub fn copy_to(self, dst: Self) {
        // SAFETY: no address operand.
        unsafe { raw::MGMT_COPY(self.path, dst.path) };
    }

    /// Moves the value to `dst`, dropping what was there (MGMT_MOVE). Faults if this slot is empty.
    pub fn move_to(self, dst: Self) {
        // SAFETY: no address operand.
        unsafe { raw::MGMT_MOVE(self.path, dst.path) };
    }

    /// Empties the slot (MGMT_DROP). Faults if it is empty already.
    pub fn clear(self) {
        // SAFETY: no address operand.
        unsafe { raw::MGMT_DROP(self.path) };
    }

    /// Exchanges two slots, of which either may be empty (MGMT_CNODE_SWAP).
    pub fn swap(self, other: Self) {
        // SAFETY: no address operand.
        unsafe { raw::MGMT_CNODE_SWAP(self.path, other.path) };
    }
}

impl Slot<CNode> {
    /// Puts a fresh, empty cnode of `2^size_log` slots here, `size_log <= 16` (MGMT_CNODE_MINT).
    pub fn mint_cnode(self, size_log: u8) {
        // SAFETY: no address operand.
        unsafe { raw::MGMT_CNODE_MINT(self.path, u64::from(size_log)) };
    }

    /// Slot `index` of the cnode here.
    ///
    /// # Panics
    /// When this slot is three steps below the root table already: a path has no fourth. In a `const` that
    /// is a compile error.
    #[must_use]
    pub const fn entry<K: Kind>(self, index: u16) -> Slot<K> {
        match self.path().step(index) {
            Some(path) => Slot::at(path),
            None => panic!("a slot path has at most three steps"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOK: Slot<CNode> = Slot::root(7);
    const PAGE: Slot<Data> = BOOK.entry::<CNode>(2).entry(65_535);

    #[test]
    fn paths_are_those_of_the_machine() {
        assert_eq!(BOOK.register(), 7);
        assert_eq!(PAGE.register(), 7 | 3 << 8 | 65_536 << 26);
        assert_eq!(Slot::<Any>::at(PAGE.path()), PAGE.any());
    }

    #[test]
    #[should_panic(expected = "at most three steps")]
    fn a_fourth_step_is_refused() {
        let _ = BOOK.entry::<CNode>(0).entry::<CNode>(0).entry::<CNode>(0).entry::<Data>(0);
    }
}
