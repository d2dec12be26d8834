//! Slot paths: which slot of which cnode, packed into one register.
//!
//! Bits 0..8 name a slot of the root cnode; then follow up to three steps of 18 bits (8..26, 26..44,
//! 44..62), each `index + 1` into the cnode that the previous step named, `0` = the path ends there; bits
//! 62..64 are zero (capability machine, section 2). A plain number below 256 is therefore a root slot.

/// How many steps a path can take below the root slot.
pub const MAX_STEPS: usize = 3;

/// A cnode has at most `2^16` slots.
pub const MAX_CNODE_LOG: u8 = 16;

/// A decoded slot path. Indices are within `0..2^16`; whether the cnodes on the way exist and are that
/// large is known only where the path is walked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotPath {
    root: u8,
    len: u8,
    steps: [u16; MAX_STEPS],
}

/// Why a register does not hold a slot path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathError {
    /// Bits 62..64 are not zero.
    HighBits,
    /// A step follows the end of the path.
    StepAfterEnd,
    /// A step's index is `2^16` or more: no cnode has such a slot.
    StepTooLarge,
}

impl core::fmt::Display for PathError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::HighBits => "bits 62..64 of a slot path must be zero",
            Self::StepAfterEnd => "a slot path goes on after its end",
            Self::StepTooLarge => "a step of a slot path is larger than any cnode",
        })
    }
}

impl core::error::Error for PathError {}

impl SlotPath {
    /// The path that ends at a slot of the root cnode.
    #[must_use]
    pub const fn root(slot: u8) -> Self {
        Self { root: slot, len: 0, steps: [0; MAX_STEPS] }
    }

    /// This path, one step further: slot `index` of the cnode that this path names. `None` when the path
    /// already has [`MAX_STEPS`] steps.
    #[must_use]
    pub const fn step(mut self, index: u16) -> Option<Self> {
        if self.len as usize == MAX_STEPS {
            return None;
        }
        self.steps[self.len as usize] = index;
        self.len += 1;
        Some(self)
    }

    /// Reads a path from a register.
    ///
    /// # Errors
    /// [`PathError`] when the number is not the one encoding of a path.
    pub const fn decode(raw: u64) -> Result<Self, PathError> {
        if raw >> 62 != 0 {
            return Err(PathError::HighBits);
        }
        let mut path = Self::root((raw & 0xFF) as u8);
        let mut rest = raw >> 8;
        while rest != 0 {
            let step = rest & 0x3_FFFF;
            if step == 0 {
                return Err(PathError::StepAfterEnd);
            }
            if step > 1 << MAX_CNODE_LOG {
                return Err(PathError::StepTooLarge);
            }
            path.steps[path.len as usize] = (step - 1) as u16;
            path.len += 1;
            rest >>= 18;
        }
        Ok(path)
    }

    /// The register that holds this path: the inverse of [`SlotPath::decode`].
    #[must_use]
    pub const fn encode(self) -> u64 {
        let mut raw = self.root as u64;
        let mut i = 0;
        while i < self.len as usize {
            raw |= (self.steps[i] as u64 + 1) << (8 + 18 * i);
            i += 1;
        }
        raw
    }

    /// The slot of the root cnode where the path starts.
    #[must_use]
    pub const fn root_slot(self) -> u8 {
        self.root
    }

    /// The indices below the root slot, outermost first.
    #[must_use]
    pub fn steps(&self) -> &[u16] {
        &self.steps[..self.len as usize]
    }

    /// Whether the path ends at the root cnode itself.
    #[must_use]
    pub const fn is_root(self) -> bool {
        self.len == 0
    }

    /// Whether this path is `other` or leads to it: every path that starts with this one lies inside the
    /// value that this one names.
    #[must_use]
    pub fn is_prefix_of(&self, other: &Self) -> bool {
        self.root == other.root && other.steps().starts_with(self.steps())
    }
}

impl From<u8> for SlotPath {
    fn from(slot: u8) -> Self {
        Self::root(slot)
    }
}

/// `7`, or `7/0/65535` for a path into nested cnodes.
impl core::fmt::Display for SlotPath {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}", self.root)?;
        self.steps().iter().try_for_each(|s| write!(f, "/{s}"))
    }
}

impl core::fmt::Debug for SlotPath {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "SlotPath({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_bounds() {
        for raw in [0u64, 255, 7 | 1 << 8, 7 | 0x1_0000 << 8, 3 | 1 << 8 | 2 << 26 | 0x1_0000 << 44] {
            assert_eq!(SlotPath::decode(raw).unwrap().encode(), raw);
        }
        assert_eq!(SlotPath::decode(1 << 62), Err(PathError::HighBits));
        assert_eq!(SlotPath::decode(1 << 26), Err(PathError::StepAfterEnd));
        assert_eq!(SlotPath::decode(0x1_0001 << 8), Err(PathError::StepTooLarge));
        assert_eq!(SlotPath::decode(u64::MAX), Err(PathError::HighBits));
    }

    #[test]
    fn prefixes() {
        let a = SlotPath::root(4);
        let b = a.step(9).unwrap();
        assert!(a.is_prefix_of(&b) && a.is_prefix_of(&a) && !b.is_prefix_of(&a));
        assert!(!SlotPath::root(5).is_prefix_of(&b));
        assert_eq!(b.step(1).unwrap().step(2).unwrap().step(3), None);
    }
}
