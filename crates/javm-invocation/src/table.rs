//! [`CapTable`]: the 256 slots of a VM. Memory is used for the parts that have something in them.

use javm_abi::microkernel::SLOTS;

use crate::Cap;

/// Slots of a part.
const PART: usize = 16;

type Part = Box<[Option<Cap>; PART]>;

/// A table of capabilities.
#[derive(Clone, Debug, Default)]
pub struct CapTable {
    parts: [Option<Part>; SLOTS / PART],
    /// The original bitmap: slots that hold what the kernel put there when the invocation was made, and that
    /// nobody touched since.
    original: [u64; SLOTS / 64],
}

impl CapTable {
    /// A table of empty slots.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What a slot holds.
    #[inline]
    #[must_use]
    pub fn get(&self, slot: u8) -> Option<&Cap> {
        self.parts[usize::from(slot) / PART].as_ref()?[usize::from(slot) % PART].as_ref()
    }

    /// As [`Self::get`], to change what is there without moving it.
    pub(crate) fn get_mut(&mut self, slot: u8) -> Option<&mut Cap> {
        self.parts[usize::from(slot) / PART].as_mut()?[usize::from(slot) % PART].as_mut()
    }

    /// Whether a slot holds a protocol capability that the kernel put there and nobody touched since.
    #[must_use]
    pub const fn is_original(&self, slot: u8) -> bool {
        self.original[slot as usize / 64] >> (slot % 64) & 1 != 0
    }

    /// The slots that hold something, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &Cap)> + '_ {
        self.parts.iter().enumerate().filter_map(|(n, part)| Some((n, part.as_ref()?))).flat_map(
            |(n, part)| {
                part.iter()
                    .enumerate()
                    .filter_map(move |(k, cap)| Some(((n * PART + k) as u8, cap.as_ref()?)))
            },
        )
    }

    /// Puts something into a slot; gives what was there.
    pub(crate) fn set(&mut self, slot: u8, cap: Cap) -> Option<Cap> {
        self.original[usize::from(slot) / 64] &= !(1 << (slot % 64));
        let part = self.parts[usize::from(slot) / PART].get_or_insert_with(|| Box::new([None; PART]));
        part[usize::from(slot) % PART].replace(cap)
    }

    /// Empties a slot; gives what was there.
    pub(crate) fn take(&mut self, slot: u8) -> Option<Cap> {
        self.original[usize::from(slot) / 64] &= !(1 << (slot % 64));
        self.parts[usize::from(slot) / PART].as_mut()?[usize::from(slot) % PART].take()
    }

    /// Puts a protocol capability of the kernel into a slot.
    pub(crate) fn set_original(&mut self, slot: u8, id: u8) {
        self.set(slot, Cap::Protocol(id));
        self.original[usize::from(slot) / 64] |= 1 << (slot % 64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_touched_slot_is_no_longer_original() {
        let mut table = CapTable::new();
        for slot in [1, 2, 63, 64, 255] {
            table.set_original(slot, slot);
            assert!(table.is_original(slot));
        }
        assert_eq!(table.take(1), Some(Cap::Protocol(1)));
        table.set(1, Cap::Protocol(1));
        table.set(64, Cap::Untyped);
        assert_eq!(table.take(0), None);
        let original: Vec<u8> = (0..=255).filter(|s| table.is_original(*s)).collect();
        assert_eq!(original, [2, 63, 255]);
        let slots: Vec<u8> = table.iter().map(|(slot, _)| slot).collect();
        assert_eq!(slots, [1, 2, 63, 64, 255]);
    }
}
