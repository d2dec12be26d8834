//! The operations as the machine has them: one function per row of `javm_abi::ops`, registers in and out.
//!
//! Nothing is checked here and nothing is typed: [`crate::Slot`] and its friends are the checked layer, and
//! the place to look for what an operation is good for. The functions carry the names of the specification.
//! In a program each is exactly one `ecalli N`; on the host it goes to [`host`](../host/index.html).
//!
//! An operation that the kernel refuses does not return: the instance faults.
#![allow(non_snake_case)]

/// φ7, φ8 and φ9 after an operation. Which of them mean something, the operation's row says.
pub type Returned = [u64; 3];

/// Defines the function of one operation, `NUMBER NAME [operands]`, by the instruction.
#[cfg(all(target_arch = "riscv64", target_feature = "e"))]
#[macro_export]
#[doc(hidden)]
macro_rules! __operation {
    ($(#[$attribute:meta])* $number:literal $name:ident [$($operand:ident)*]) => {
        $(#[$attribute])*
        #[allow(non_snake_case)]
        #[inline(always)]
        pub unsafe fn $name($($operand: u64),*) -> $crate::raw::Returned {
            #[unsafe(link_section = ".polkavm_metadata")]
            static METADATA: $crate::link::Metadata = $crate::link::Metadata::import(
                stringify!($name),
                $number,
                <[&str]>::len(&[$(stringify!($operand)),*]) as u8,
            );
            let [a0, a1, a2, a3, a4, a5] = $crate::raw::registers([$($operand),*]);
            let (value, status, detail);
            // SAFETY: the linker turns these bytes into `ecalli` and drops them. The operation reads the
            // argument registers; the linker takes every caller-saved register as overwritten, and so does
            // this list. Memory is taken as read and written, which is `asm!`'s default. What an operation
            // does with an address is the caller's contract.
            unsafe {
                core::arch::asm!(
                    ".insn r 0xb, 0, 0, zero, zero, zero",
                    "auipc zero, %pcrel_hi({metadata})",
                    ".4byte 0",
                    metadata = sym METADATA,
                    inlateout("a0") a0 => value,
                    inlateout("a1") a1 => status,
                    inlateout("a2") a2 => detail,
                    inlateout("a3") a3 => _,
                    inlateout("a4") a4 => _,
                    inlateout("a5") a5 => _,
                    lateout("t0") _,
                    lateout("t1") _,
                    lateout("t2") _,
                );
            }
            [value, status, detail]
        }
    };
}

/// Defines the function of one operation, `NUMBER NAME [operands]`, over the host's backend.
#[cfg(not(target_os = "none"))]
#[macro_export]
#[doc(hidden)]
macro_rules! __operation {
    ($(#[$attribute:meta])* $number:literal $name:ident [$($operand:ident)*]) => {
        $(#[$attribute])*
        #[allow(non_snake_case)]
        pub unsafe fn $name($($operand: u64),*) -> $crate::raw::Returned {
            // SAFETY: the contract is this function's own.
            unsafe { $crate::host::perform($number, $crate::raw::registers([$($operand),*])) }
        }
    };
}

/// φ7..φ12 from the operands of an operation. The linker drops the zeros: they are read by nobody.
#[doc(hidden)]
#[inline(always)]
pub fn registers<const N: usize>(operands: [u64; N]) -> [u64; 6] {
    let mut all = [0; 6];
    all[..N].copy_from_slice(&operands);
    all
}

macro_rules! operations {
    ($($number:literal $variant:ident $name:ident [$($register:literal $operand:ident $kind:ident),*]
        $fixed:literal $per:literal $unit:ident $effect:literal;)*) => {
        $(crate::__operation! {
            #[doc = concat!("Operation ", stringify!($number), ": ", $effect, ".")]
            ///
            /// # Safety
            /// An address operand names memory of this program that the operation may read or write for
            /// the length given; nothing else is required.
            $number $name [$($operand)*]
        })*
    };
}
javm_abi::for_each_guest_op!(operations);

/// Defines functions for operations of the chain that embeds the machine (numbers 64 and up), beside those
/// of this module: `chain_operations! { 64 BLOCK_HEIGHT []; 65 BALANCE_OF [account]; }`.
///
/// Each becomes an `unsafe fn NAME(operands: u64, …) -> raw::Returned` of at most six operands, φ7..φ12. With
/// `safe` behind the number, as in `64 safe BLOCK_HEIGHT [];`, it is a safe function: the author's word that
/// the operation touches no memory of the program.
#[macro_export]
macro_rules! chain_operations {
    ($(#[$attribute:meta])* $number:literal safe $name:ident [$($operand:ident),*]; $($rest:tt)*) => {
        $(#[$attribute])*
        #[allow(non_snake_case)]
        pub fn $name($($operand: u64),*) -> $crate::raw::Returned {
            mod operation {
                $crate::chain_operations! { $number $name [$($operand),*]; }
            }
            // SAFETY: the author says that the operation touches no memory.
            unsafe { operation::$name($($operand),*) }
        }
        $crate::chain_operations! { $($rest)* }
    };
    () => {};
    ($(#[$attribute:meta])* $number:literal $name:ident [$($operand:ident),*]; $($rest:tt)*) => {
        const _: () = assert!($number >= $crate::raw::FIRST_CHAIN_OPERATION, "chain operations count from 64");
        $crate::__operation! { $(#[$attribute])* $number $name [$($operand)*] }
        $crate::chain_operations! { $($rest)* }
    };
}

/// The first number that a chain gives a meaning.
pub const FIRST_CHAIN_OPERATION: u32 = javm_abi::ops::FIRST_USER_OP;

#[cfg(test)]
#[expect(unreachable_pub, reason = "the macro is for modules that other crates see")]
mod tests {
    use crate::host::{Operation, install};

    crate::chain_operations! {
        /// Height of a block.
        64 safe BLOCK_HEIGHT [];
        66 WRITE [address];
        65 safe ADD [a, b];
    }

    #[test]
    fn operations_of_a_chain_are_functions() {
        install(|op: Operation<'_>| [u64::from(op.number), op.registers[0], op.registers[1]]);
        assert_eq!((BLOCK_HEIGHT(), ADD(1, 2)), ([64, 0, 0], [65, 1, 2]));
        // SAFETY: the backend above writes nowhere.
        assert_eq!(unsafe { WRITE(7) }, [66, 7, 0]);
    }
}
