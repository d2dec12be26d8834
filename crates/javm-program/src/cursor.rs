//! A reader over bytes that reports offsets from the start of the file.
//!
//! The number formats of all containers are here; what they mean is the readers' business. Lengths are
//! compared with what is left before anything is taken, so a lying length costs nothing.

use crate::error::ProgramError;

/// A position in bytes that lie at a known offset of a file.
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Cursor<'a> {
    /// Reads `bytes`, which start at `offset` of the file.
    pub(crate) const fn new(bytes: &'a [u8], offset: usize) -> Self {
        Self { rest: bytes, offset }
    }

    /// Offset of the next byte in the file.
    pub(crate) const fn offset(&self) -> usize {
        self.offset
    }

    /// How many bytes are left.
    pub(crate) const fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next `n` bytes.
    pub(crate) fn take(&mut self, n: u64) -> Result<&'a [u8], ProgramError> {
        match usize::try_from(n).ok().and_then(|n| self.rest.split_at_checked(n)) {
            Some((taken, rest)) => {
                self.rest = rest;
                self.offset += taken.len();
                Ok(taken)
            }
            None => {
                Err(ProgramError::Truncated { offset: self.offset, needed: n, found: self.rest.len() as u64 })
            }
        }
    }

    /// The next `n` bytes as a reader of their own.
    pub(crate) fn sub(&mut self, n: u64) -> Result<Self, ProgramError> {
        let offset = self.offset;
        Ok(Self::new(self.take(n)?, offset))
    }

    /// All that is left.
    pub(crate) fn take_rest(&mut self) -> &'a [u8] {
        self.offset += self.rest.len();
        core::mem::take(&mut self.rest)
    }

    /// Refuses bytes that nobody has read.
    pub(crate) const fn end(&self) -> Result<(), ProgramError> {
        if self.rest.is_empty() { Ok(()) } else { Err(ProgramError::TrailingBytes { offset: self.offset }) }
    }

    /// One byte.
    pub(crate) fn u8(&mut self) -> Result<u8, ProgramError> {
        Ok(self.take(1)?[0])
    }

    /// A little-endian number of `n` bytes, 1..=8.
    pub(crate) fn le(&mut self, n: u8) -> Result<u64, ProgramError> {
        let mut value = [0; 8];
        let taken = self.take(u64::from(n))?;
        value[..taken.len()].copy_from_slice(taken);
        Ok(u64::from_le_bytes(value))
    }

    /// A 4-byte little-endian number.
    pub(crate) fn u32(&mut self) -> Result<u32, ProgramError> {
        Ok(self.le(4)? as u32)
    }

    /// A JAM natural (`pvm.md` section 2), canonical form only.
    pub(crate) fn natural(&mut self) -> Result<u64, ProgramError> {
        let offset = self.offset;
        let first = self.u8()?;
        let extra = first.leading_ones() as u8;
        if extra == 0 {
            return Ok(u64::from(first));
        }
        let low = self.le(extra)?;
        // With eight bytes the first one holds nothing but the length.
        let high = if extra == 8 { 0 } else { u64::from(first & (0x7F >> extra)) << (8 * extra) };
        let value = high | low;
        if value >> (7 * extra) == 0 {
            return Err(ProgramError::NonCanonicalNumber { offset });
        }
        Ok(value)
    }

    /// A PolkaVM varint: as a JAM natural of at most 32 bits.
    pub(crate) fn varint(&mut self) -> Result<u32, ProgramError> {
        let offset = self.offset;
        let value = self.natural()?;
        u32::try_from(value).map_err(|_| ProgramError::NumberTooLarge { offset, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn naturals() {
        let read = |bytes: &[u8]| Cursor::new(bytes, 0).natural();
        assert_eq!(read(&[0x7F]), Ok(127));
        assert_eq!(read(&[0x80, 0x80]), Ok(128));
        assert_eq!(read(&[0xBF, 0xFF]), Ok(0x3FFF));
        assert_eq!(read(&[0xC0, 0x00, 0x40]), Ok(0x4000));
        assert_eq!(read(&[0xFE, 0, 0, 0, 0, 0, 0, 2]), Ok(1 << 49));
        assert_eq!(read(&[0xFF, 0, 0, 0, 0, 0, 0, 0, 1]), Ok(1 << 56));
        assert_eq!(read(&[0xFF; 9]), Ok(u64::MAX));
        for bytes in [&[0x80u8, 0x7F][..], &[0xC0, 0, 0], &[0xFF, 0, 0, 0, 0, 0, 0, 0, 0]] {
            assert_eq!(read(bytes), Err(ProgramError::NonCanonicalNumber { offset: 0 }));
        }
        assert_eq!(read(&[0xC0, 1]), Err(ProgramError::Truncated { offset: 1, needed: 2, found: 1 }));
    }

    #[test]
    fn varints() {
        let read = |bytes: &[u8]| Cursor::new(bytes, 7).varint();
        assert_eq!(read(&[0xF0, 0xFF, 0xFF, 0xFF, 0xFF]), Ok(u32::MAX));
        assert_eq!(
            read(&[0xF1, 0, 0, 0, 0]),
            Err(ProgramError::NumberTooLarge { offset: 7, value: 1 << 32 })
        );
    }
}
