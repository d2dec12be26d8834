//! Where no code is emitted for: types without values, so that what uses them compiles and never runs.

pub(crate) mod code;
pub(crate) mod enter;
pub(crate) mod object;
pub(crate) mod trap;
pub(crate) mod window;
pub(crate) mod zero;
