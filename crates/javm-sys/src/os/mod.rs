//! One folder per platform, with equal file names: `window`, `code`, `trap`, `enter`. To port, add a folder.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod linux_x86_64;
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
mod portable;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
use linux_x86_64 as this;
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
use portable as this;

pub(crate) use this::window::Reservation;
pub use this::{
    code::{CodeMemory, Draft},
    enter::{Session, enter},
    trap::check_support,
};
