//! [`GasCounter`]: what is left to spend.

/// Gas left. It never goes below zero: a charge is paid whole or not at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GasCounter {
    remaining: u64,
}

impl GasCounter {
    /// A counter with this much gas.
    #[must_use]
    pub const fn new(gas: u64) -> Self {
        Self { remaining: gas }
    }

    /// Gas left.
    #[must_use]
    pub const fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Pays `price`; `false` and unchanged when it cannot be paid.
    #[must_use]
    pub const fn charge(&mut self, price: u64) -> bool {
        match self.remaining.checked_sub(price) {
            Some(rest) => {
                self.remaining = rest;
                true
            }
            None => false,
        }
    }

    /// Adds gas, saturating.
    pub const fn add(&mut self, gas: u64) {
        self.remaining = self.remaining.saturating_add(gas);
    }

    /// What is left, for emitted code to count down in place.
    pub(crate) const fn in_place(&mut self) -> &mut u64 {
        &mut self.remaining
    }

    /// Sets what is left.
    pub const fn set(&mut self, gas: u64) {
        self.remaining = gas;
    }
}
