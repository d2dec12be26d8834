//! Registers and machine constants of the PVM (Gray Paper appendix A; PolkaVM's register names).

/// How many registers a machine has: φ0 … φ12.
pub const NUM_REGS: usize = 13;

/// Size of a page in bytes: the unit of access rights, dirty tracking and hashing.
pub const PAGE_SIZE: usize = 4096;

/// A dynamic jump to this address halts the machine: `2^32 - 2^16`.
pub const HALT_ADDRESS: u64 = 0xFFFF_0000;

/// Below this address an access to an inaccessible page panics instead of faulting (`2^16`), unless the
/// instance maps something there itself.
pub const LOW_ZONE: u32 = 0x1_0000;

/// The "no slot" operand: an optional slot operand that is not used holds `2^64 - 1`.
pub const NO_SLOT: u64 = u64::MAX;

/// Names of the registers in the PolkaVM ABI, by index.
pub const NAMES: [&str; NUM_REGS] =
    ["ra", "sp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5"];

/// φ0: return address.
pub const RA: usize = 0;
/// φ1: stack pointer.
pub const SP: usize = 1;
/// φ7: first argument and return value.
pub const A0: usize = 7;
/// φ8: second argument and status of a call.
pub const A1: usize = 8;
/// φ9: third argument.
pub const A2: usize = 9;
/// φ10: fourth argument.
pub const A3: usize = 10;
/// φ11: fifth argument; the operation number of an `ecall`.
pub const A4: usize = 11;
/// φ12: sixth argument.
pub const A5: usize = 12;
