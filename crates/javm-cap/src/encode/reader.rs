//! A cursor over hostile bytes: every read is checked, every error knows its offset.

use crate::error::CapError;
use crate::hash::CapHash;

pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The error for what was just read.
    pub(super) const fn malformed(&self, reason: &'static str) -> CapError {
        CapError::Malformed { offset: self.at, reason }
    }

    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], CapError> {
        let part = self.rest().get(..len).ok_or_else(|| self.malformed("the encoding is broken off"))?;
        self.at += len;
        Ok(part)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], CapError> {
        let part = self.rest().first_chunk().ok_or_else(|| self.malformed("the encoding is broken off"))?;
        self.at += N;
        Ok(*part)
    }

    pub(super) fn u8(&mut self) -> Result<u8, CapError> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn hash(&mut self) -> Result<CapHash, CapError> {
        self.array()
    }

    /// LEB128 in the shortest form.
    pub(super) fn varint(&mut self) -> Result<u64, CapError> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.u8()?;
            let part = u64::from(byte & 0x7F);
            if part << shift >> shift != part {
                return Err(self.malformed("a number does not fit 64 bits"));
            }
            number |= part << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    return Err(self.malformed("a number is not in its shortest form"));
                }
                return Ok(number);
            }
        }
        Err(self.malformed("a number does not fit 64 bits"))
    }

    /// What is left.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Refuses bytes that follow.
    pub(super) fn end(&self) -> Result<(), CapError> {
        if self.rest().is_empty() { Ok(()) } else { Err(self.malformed("bytes follow the end of the value")) }
    }
}
