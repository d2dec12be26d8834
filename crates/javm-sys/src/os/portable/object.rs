//! Memory that cannot be had.

use core::convert::Infallible;

use super::window::Reservation;
use crate::{PAGE_SIZE, window::Rights};

/// Has no values.
#[derive(Debug)]
pub(crate) struct Object(Infallible);

impl Object {
    pub(crate) const fn new(_pages: u32) -> Option<Self> {
        None
    }

    /// # Safety
    /// There is nothing to call it on.
    pub(crate) unsafe fn pages(&self) -> &[[u8; PAGE_SIZE]] {
        match self.0 {}
    }

    /// # Safety
    /// There is nothing to call it on.
    pub(crate) unsafe fn pages_mut(&mut self) -> &mut [[u8; PAGE_SIZE]] {
        match self.0 {}
    }

    pub(crate) fn discard(&mut self, _: u32, _: u32) -> bool {
        match self.0 {}
    }

    pub(crate) fn map(&self, _: &Reservation, _: (u32, u32), _: u32, _: Rights) -> bool {
        match self.0 {}
    }

    pub(crate) fn unmap(to: &Reservation, _: (u32, u32)) -> bool {
        to.renew()
    }
}
