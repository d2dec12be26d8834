//! A reservation that cannot be made.

use core::convert::Infallible;

use crate::window::Rights;

/// Has no values.
#[derive(Debug)]
pub(crate) struct Reservation(Infallible);

impl Reservation {
    pub(crate) const fn new() -> Option<Self> {
        None
    }

    pub(crate) fn base(&self) -> usize {
        match self.0 {}
    }

    pub(crate) fn protect(&self, _: u32, _: u32, _: Option<Rights>) -> bool {
        match self.0 {}
    }

    pub(crate) fn discard(&self, _: u32, _: u32) -> bool {
        match self.0 {}
    }

    pub(crate) fn renew(&self) -> bool {
        match self.0 {}
    }

    /// # Safety
    /// There is nothing to call it on.
    pub(crate) unsafe fn bytes(&self, _: usize, _: usize) -> &[u8] {
        match self.0 {}
    }

    /// # Safety
    /// There is nothing to call it on.
    pub(crate) unsafe fn bytes_mut(&mut self, _: usize, _: usize) -> &mut [u8] {
        match self.0 {}
    }

    pub(crate) fn touched(&self, _: u32, _: u32, _: &mut dyn FnMut(u32, u32)) -> bool {
        match self.0 {}
    }
}
