//! Programs as WebAssembly modules, for comparisons with engines that run those: the same source, built by
//! `cargo xtask guests` for `wasm32v1-none`. The capability machine knows nothing of it.
//!
//! An endpoint is an export named as elsewhere (`get@0`). An operation is an import of the module `javm`,
//! named as its row, that takes its operands and returns φ7; the other results read as zero, so programs that
//! need them (calls, for one) mean nothing here. Memory is the module's own, with one thread, as in a guest.

/// Defines the function of one operation, `NUMBER NAME [operands]`, by an import.
#[macro_export]
#[doc(hidden)]
macro_rules! __operation {
    ($(#[$attribute:meta])* $number:literal $name:ident [$($operand:ident)*]) => {
        $(#[$attribute])*
        #[allow(non_snake_case)]
        #[inline(always)]
        pub unsafe fn $name($($operand: u64),*) -> $crate::raw::Returned {
            #[link(wasm_import_module = "javm")]
            unsafe extern "C" {
                fn $name($($operand: u64),*) -> u64;
            }
            // SAFETY: the contract is this function's own.
            [unsafe { $name($($operand),*) }, 0, 0]
        }
    };
}

/// Exports a function: `"NAME@N", number of arguments, path`. Must be used inside a module of its own.
#[macro_export]
#[doc(hidden)]
macro_rules! __export {
    ($symbol:expr, 0u8, $entry:path) => { $crate::__export! { @function $symbol, $entry, } };
    ($symbol:expr, 1u8, $entry:path) => { $crate::__export! { @function $symbol, $entry, a0 } };
    ($symbol:expr, 2u8, $entry:path) => { $crate::__export! { @function $symbol, $entry, a0 a1 } };
    ($symbol:expr, 3u8, $entry:path) => { $crate::__export! { @function $symbol, $entry, a0 a1 a2 } };
    ($symbol:expr, 4u8, $entry:path) => { $crate::__export! { @function $symbol, $entry, a0 a1 a2 a3 } };
    // A declaration of the image: nobody reads it here.
    ($symbol:expr, 0, $entry:path) => {};
    (@function $symbol:expr, $entry:path, $($argument:ident)*) => {
        #[unsafe(export_name = $symbol)]
        extern "C" fn export($($argument: u64),*) -> u64 {
            $entry($($argument),*)
        }
    };
}

/// The `unreachable` instruction.
pub(crate) fn trap() -> ! {
    core::arch::wasm32::unreachable()
}
