//! Which machine register holds which guest register.
//!
//! The map is shared with the entry stub of `javm-sys`, whose table says the same. Guest registers that are
//! used most have numbers without a prefix bit. The scratch register is `rdx`, because wide products want a factor
//! there; `rax` and `rcx`, which division and rotations need, hold temporaries. `rsp` stays the host's: it points
//! to the frame.

use javm_isa::{Reg, reg::NUM_REGS};

/// A machine register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(clippy::upper_case_acronyms, reason = "the vendor's names")]
pub(super) enum Host {
    RAX = 0,
    RCX = 1,
    RDX = 2,
    RBX = 3,
    RBP = 5,
    RSI = 6,
    RDI = 7,
    R8 = 8,
    R9 = 9,
    R10 = 10,
    R11 = 11,
    R12 = 12,
    R13 = 13,
    R14 = 14,
    R15 = 15,
}

/// Free for every guest instruction; nothing lives in it from one to the next.
pub(super) const TMP: Host = Host::RDX;

/// Gas left.
pub(super) const GAS: Host = Host::R15;

const MAP: [Host; NUM_REGS] = [
    Host::R13,
    Host::RBP,
    Host::RAX,
    Host::RCX,
    Host::R12,
    Host::R11,
    Host::R14,
    Host::RDI,
    Host::RSI,
    Host::RBX,
    Host::R8,
    Host::R9,
    Host::R10,
];

/// The machine register of a guest register.
#[inline(always)]
pub(super) const fn host(reg: Reg) -> Host {
    MAP[reg as usize]
}
