//! No faults to catch.

use crate::Unsupported;

/// Emitted code cannot run here.
///
/// # Errors
/// Always.
pub const fn check_support() -> Result<(), Unsupported> {
    Err(Unsupported::Platform)
}
