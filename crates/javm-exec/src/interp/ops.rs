//! [`IOp`]: an instruction as the interpreter runs it: operands decoded, targets resolved.
//!
//! The names and fields are those of the instruction table, with these differences: immediates are 32 bits
//! and sign-extended where they are used; targets are block numbers; what differs only by where a constant
//! comes from is one operation (`load_imm` and a sign-extendable `load_imm_64`).

use javm_isa::Reg;

/// Expands to the enum with one variant per row, its fields given by the shape.
macro_rules! define {
    ($($shape:ident $variant:ident $name:ident $v07:tt $v08:tt $flow:ident $class:ident $effect:literal;)*) => {
        define!(@ [] $($shape $variant)*);
    };
    (@ [$($done:tt)*] none $v:ident $($rest:tt)*) => { define!(@ [$($done)* $v,] $($rest)*); };
    (@ [$($done:tt)*] imm $v:ident $($rest:tt)*) => { define!(@ [$($done)* $v(u32),] $($rest)*); };
    (@ [$($done:tt)*] dst_imm64 $v:ident $($rest:tt)*) => { define!(@ [$($done)* $v(Reg, u32),] $($rest)*); };
    (@ [$($done:tt)*] imm_imm $v:ident $($rest:tt)*) => { define!(@ [$($done)* $v(u32, i32),] $($rest)*); };
    (@ [$($done:tt)*] offset $v:ident $($rest:tt)*) => { define!(@ [$($done)* $v(u32),] $($rest)*); };
    (@ [$($done:tt)*] dst_imm $v:ident $($rest:tt)*) => { define!(@ [$($done)* $v(Reg, i32),] $($rest)*); };
    (@ [$($done:tt)*] src_imm $v:ident $($rest:tt)*) => { define!(@ [$($done)* $v(Reg, i32),] $($rest)*); };
    (@ [$($done:tt)*] src_imm_imm $v:ident $($rest:tt)*) => {
        define!(@ [$($done)* $v(Reg, i32, i32),] $($rest)*);
    };
    (@ [$($done:tt)*] dst_imm_offset $v:ident $($rest:tt)*) => {
        define!(@ [$($done)* $v(Reg, i32, u32),] $($rest)*);
    };
    (@ [$($done:tt)*] src_imm_offset $v:ident $($rest:tt)*) => {
        define!(@ [$($done)* $v(Reg, i32, u32),] $($rest)*);
    };
    (@ [$($done:tt)*] dst_src $v:ident $($rest:tt)*) => { define!(@ [$($done)* $v(Reg, Reg),] $($rest)*); };
    (@ [$($done:tt)*] dst_src_imm $v:ident $($rest:tt)*) => {
        define!(@ [$($done)* $v(Reg, Reg, i32),] $($rest)*);
    };
    (@ [$($done:tt)*] src_src_imm $v:ident $($rest:tt)*) => {
        define!(@ [$($done)* $v(Reg, Reg, i32),] $($rest)*);
    };
    (@ [$($done:tt)*] src_src_offset $v:ident $($rest:tt)*) => {
        define!(@ [$($done)* $v(Reg, Reg, u32),] $($rest)*);
    };
    (@ [$($done:tt)*] dst_src_imm_imm $v:ident $($rest:tt)*) => {
        define!(@ [$($done)* $v(Reg, Reg, i32, i32),] $($rest)*);
    };
    (@ [$($done:tt)*] dst_src_src $v:ident $($rest:tt)*) => {
        define!(@ [$($done)* $v(Reg, Reg, Reg),] $($rest)*);
    };
    (@ [$($done:tt)*]) => {
        /// An instruction as the interpreter runs it.
        #[derive(Clone, Copy, Debug)]
        pub(super) enum IOp {
            $($done)*
            /// The end of the code: panics there.
            EndOfCode,
        }
    };
}
javm_isa::for_each_op!(define);

const _: () = assert!(size_of::<IOp>() == 12);
