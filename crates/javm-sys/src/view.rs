//! [`View`]: what emitted code is let into: the addresses of a window, and nothing else touched meanwhile.

use core::marker::PhantomData;

use crate::Window;

/// A window for as long as emitted code runs on it. While it lives nobody holds a reference to bytes that the
/// code can reach: it borrows all that gives such references.
#[derive(Debug)]
pub struct View<'a> {
    base: u64,
    _exclusive: PhantomData<&'a mut ()>,
}

impl View<'_> {
    /// A view of the window whose guest address 0 is `base`. What it is made from must be borrowed mutably for as
    /// long as it lives.
    pub(crate) const fn new(base: u64) -> Self {
        Self { base, _exclusive: PhantomData }
    }

    /// The address that guest address 0 has.
    #[allow(dead_code, reason = "where no code is emitted nothing is entered")]
    pub(crate) const fn base(&self) -> u64 {
        self.base
    }
}

impl Window {
    /// The window, to run emitted code on.
    #[inline]
    pub fn view(&mut self) -> View<'_> {
        View::new(self.base())
    }
}
