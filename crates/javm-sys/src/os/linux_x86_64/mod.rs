//! Linux on x86-64: anonymous mappings, the GS base, a `SIGSEGV` handler.

pub(crate) mod code;
pub(crate) mod enter;
pub(crate) mod object;
pub(crate) mod trap;
pub(crate) mod window;
pub(crate) mod zero;
