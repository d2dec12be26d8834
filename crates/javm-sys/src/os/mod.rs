//! One folder per platform, with equal file names: `window`, `object`, `zero`, `code`, `trap`, `enter`. To port, add a folder.
//!
//! `RUSTFLAGS="--cfg javm_portable"` takes the portable one everywhere, so that it can be built and tested.

#[cfg(all(target_os = "linux", target_arch = "x86_64", not(javm_portable)))]
mod linux_x86_64;
#[cfg(not(all(target_os = "linux", target_arch = "x86_64", not(javm_portable))))]
mod portable;

#[cfg(all(target_os = "linux", target_arch = "x86_64", not(javm_portable)))]
use linux_x86_64 as this;
#[cfg(not(all(target_os = "linux", target_arch = "x86_64", not(javm_portable))))]
use portable as this;

pub use this::{
    code::{CodeMemory, Draft},
    enter::{Session, enter},
    trap::check_support,
};
pub(crate) use this::{object::Object, window::Reservation, zero::ZeroPages};
