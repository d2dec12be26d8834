//! Code memory that cannot be had.

use core::convert::Infallible;

/// Memory that code is being written to: has no values here.
#[derive(Debug)]
pub struct Draft(Infallible);

impl Draft {
    /// Never.
    #[must_use]
    pub const fn new(_capacity: usize) -> Option<Self> {
        None
    }

    /// The bytes.
    pub fn bytes(&mut self) -> &mut [u8] {
        match self.0 {}
    }

    /// Address of the first byte.
    #[must_use]
    pub fn base(&self) -> u64 {
        match self.0 {}
    }

    /// Makes the code executable.
    ///
    /// # Safety
    /// There is nothing to call it on.
    #[must_use]
    pub unsafe fn publish(self, _len: usize) -> Option<CodeMemory> {
        match self.0 {}
    }
}

/// Published code: has no values here.
#[derive(Clone, Debug)]
pub struct CodeMemory(Infallible);

impl CodeMemory {
    /// Address of the first byte.
    #[must_use]
    pub fn base(&self) -> u64 {
        match self.0 {}
    }

    /// Bytes of memory.
    #[must_use]
    pub fn size(&self) -> usize {
        match self.0 {}
    }

    /// The code.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self.0 {}
    }
}
