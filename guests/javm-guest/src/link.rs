//! What the PolkaVM linker reads from a program's object file: which imports and exports there are.
//!
//! Records lie in the section `.polkavm_metadata` and are never loaded; an export is a pair of addresses
//! (its record, its code) in `.polkavm_exports`. Only macros of this crate use these types.

/// One import or export: the linker's record, version 2. Its layout is the linker's.
#[doc(hidden)]
#[repr(C, packed)]
pub struct Metadata {
    version: u8,
    flags: u32,
    symbol_length: u32,
    symbol: *const u8,
    input_registers: u8,
    output_registers: u8,
    has_index: bool,
    index: u32,
}

// SAFETY: a record is never written, and its pointer leads to a string literal.
unsafe impl Sync for Metadata {}

impl Metadata {
    /// An import that becomes `ecalli index`. Results are φ7 and φ8; the format has no place for more, and
    /// the linker takes all argument registers as overwritten in any case.
    pub const fn import(symbol: &'static str, index: u32, inputs: u8) -> Self {
        Self { has_index: true, index, output_registers: 2, ..Self::export(symbol, inputs) }
    }

    /// An export: arguments from φ7, result in φ7.
    pub const fn export(symbol: &'static str, inputs: u8) -> Self {
        Self {
            version: 2,
            flags: 0,
            symbol_length: symbol.len() as u32,
            symbol: symbol.as_ptr(),
            input_registers: inputs,
            output_registers: 1,
            has_index: false,
            index: 0,
        }
    }
}

/// Exports a function: `"NAME@N", number of arguments, path`. Must be used inside a module of its own.
#[cfg(all(target_arch = "riscv64", target_feature = "e"))]
#[macro_export]
#[doc(hidden)]
macro_rules! __export {
    ($symbol:expr, $inputs:literal, $entry:path) => {
        #[unsafe(link_section = ".polkavm_metadata")]
        static METADATA: $crate::link::Metadata = $crate::link::Metadata::export($symbol, $inputs);

        // A version byte, then two 8-byte places whose relocations the linker reads.
        core::arch::global_asm!(
            ".pushsection .polkavm_exports,\"Ra\",@note",
            ".byte 1",
            "auipc zero, %pcrel_hi({metadata})",
            ".4byte 0",
            "auipc zero, %pcrel_hi({entry})",
            ".4byte 0",
            ".popsection",
            metadata = sym METADATA,
            entry = sym $entry,
        );
    };
}

/// Native code exports nothing.
#[cfg(not(target_os = "none"))]
#[macro_export]
#[doc(hidden)]
macro_rules! __export {
    ($symbol:expr, $inputs:literal, $entry:path) => {};
}

/// Sets the size of the program's stack in bytes; once per program. The default is 8 KiB, and running off
/// the end is a trap. The stack is ephemeral: zero at entry, gone at the end of the call.
#[cfg(all(target_arch = "riscv64", target_feature = "e"))]
#[macro_export]
macro_rules! stack_size {
    ($bytes:expr) => {
        core::arch::global_asm!(
            ".pushsection .polkavm_min_stack_size,\"R\",@note",
            ".4byte {bytes}",
            ".popsection",
            bytes = const {
                let bytes: u32 = $bytes;
                bytes
            },
        );
    };
}

/// Sets the size of the program's stack in bytes; once per program. The default is 8 KiB, and running off
/// the end is a trap. The stack is ephemeral: zero at entry, gone at the end of the call.
#[cfg(not(all(target_arch = "riscv64", target_feature = "e")))]
#[macro_export]
macro_rules! stack_size {
    ($bytes:expr) => {
        const _: u32 = $bytes;
    };
}

/// The `trap` instruction.
#[cfg(all(target_arch = "riscv64", target_feature = "e"))]
pub(crate) fn trap() -> ! {
    // SAFETY: the instruction ends the run; nothing of it is used afterwards.
    unsafe { core::arch::asm!("unimp", options(noreturn, nomem, nostack)) }
}

/// A panic is a trap. Nobody could read its message, so none is made.
#[cfg(target_os = "none")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    trap()
}

#[cfg(target_arch = "wasm32")]
pub(crate) use crate::wasm::trap;
