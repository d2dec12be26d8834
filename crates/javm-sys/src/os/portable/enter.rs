//! A way in that nobody can take.

use core::convert::Infallible;

use super::code::CodeMemory;
use crate::{Exit, Machine, View};

/// A stretch of time in which emitted code runs: has no values here.
#[derive(Debug)]
pub struct Session(Infallible);

impl Session {
    /// Never.
    #[must_use]
    pub const fn new() -> Option<Self> {
        None
    }
}

/// Runs emitted code.
///
/// # Safety
/// There is no session to call it with.
pub unsafe fn enter(session: &Session, _: &CodeMemory, _: u32, _: View<'_>, _: Machine<'_>) -> Exit {
    match session.0 {}
}
