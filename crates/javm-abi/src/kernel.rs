//! Kernel-assisted instances as callers see them: endpoint numbers, and how a program declares its slots.
//!
//! What the endpoints do is the kernel's (`javm`); which image is which is told by its hash. Endpoints count
//! from 0 in the order in which section 9 of the capability machine gives them.

/// `YieldCatcher`: the list of markers that an instance handles.
pub mod catcher {
    /// Endpoint `add(slot)`: lists one more marker, at the end; returns its position.
    pub const ADD: u8 = 0;
    /// Endpoint `remove(slot)`: takes a marker off the list; returns where it was.
    pub const REMOVE: u8 = 1;
    /// Endpoint `read()`: the list as a Data of 32-byte hashes, in the caller's slot 0.
    pub const READ: u8 = 2;

    /// The slots that hold the markers, in order of adding, without a gap.
    pub const SLOTS: core::ops::RangeInclusive<u32> = 1..=255;
}

/// `SetGasMeter` and `SetStorageQuota`: endpoint `set(id, value)`; returns the previous value.
pub const SET: u8 = 0;

/// `MintGas` and `MintQuota`: endpoint `mint(id)`; the handle is in the caller's slot 0.
pub const MINT: u8 = 0;

/// `CreateYieldCatcher`: endpoint `create()`; the empty catcher is in the caller's slot 0.
pub const CREATE: u8 = 0;

/// [`DECLARATION_PREFIX`] as a literal, for `concat!`.
#[macro_export]
macro_rules! declaration_prefix {
    () => {
        "@image:"
    };
}

/// What the name of an export starts with that is no endpoint but declares something of the program's image:
/// `@image:gas_slots=6,7` (capability machine, section 4).
pub const DECLARATION_PREFIX: &str = declaration_prefix!();
