//! [`OpVisitor`]: one method per row of the table, none with a default.
//!
//! A backend implements the trait; a new row stops it from compiling until it has its method.
//! [`Instruction::visit`] calls the method of the instruction at hand.

use crate::{instr::Instruction, op::Op, reg::Reg};

macro_rules! method {
    (none $name:ident) => {
        fn $name(&mut self) -> Self::Out;
    };
    (imm $name:ident) => {
        fn $name(&mut self, x: u64) -> Self::Out;
    };
    (dst_imm64 $name:ident) => {
        fn $name(&mut self, a: Reg, x: u64) -> Self::Out;
    };
    (imm_imm $name:ident) => {
        fn $name(&mut self, x: u64, y: u64) -> Self::Out;
    };
    (offset $name:ident) => {
        fn $name(&mut self, target: u64) -> Self::Out;
    };
    (dst_imm $name:ident) => {
        fn $name(&mut self, a: Reg, x: u64) -> Self::Out;
    };
    (src_imm $name:ident) => {
        fn $name(&mut self, a: Reg, x: u64) -> Self::Out;
    };
    (src_imm_imm $name:ident) => {
        fn $name(&mut self, a: Reg, x: u64, y: u64) -> Self::Out;
    };
    (dst_imm_offset $name:ident) => {
        fn $name(&mut self, a: Reg, x: u64, target: u64) -> Self::Out;
    };
    (src_imm_offset $name:ident) => {
        fn $name(&mut self, a: Reg, x: u64, target: u64) -> Self::Out;
    };
    (dst_src $name:ident) => {
        fn $name(&mut self, d: Reg, a: Reg) -> Self::Out;
    };
    (dst_src_imm $name:ident) => {
        fn $name(&mut self, a: Reg, b: Reg, x: u64) -> Self::Out;
    };
    (src_src_imm $name:ident) => {
        fn $name(&mut self, a: Reg, b: Reg, x: u64) -> Self::Out;
    };
    (src_src_offset $name:ident) => {
        fn $name(&mut self, a: Reg, b: Reg, target: u64) -> Self::Out;
    };
    (dst_src_imm_imm $name:ident) => {
        fn $name(&mut self, a: Reg, b: Reg, x: u64, y: u64) -> Self::Out;
    };
    (dst_src_src $name:ident) => {
        fn $name(&mut self, d: Reg, a: Reg, b: Reg) -> Self::Out;
    };
}

macro_rules! call {
    (none $v:ident $i:ident $name:ident) => {
        $v.$name()
    };
    (imm $v:ident $i:ident $name:ident) => {
        $v.$name($i.x)
    };
    (dst_imm64 $v:ident $i:ident $name:ident) => {
        $v.$name($i.a, $i.x)
    };
    (imm_imm $v:ident $i:ident $name:ident) => {
        $v.$name($i.x, $i.y)
    };
    (offset $v:ident $i:ident $name:ident) => {
        $v.$name($i.y)
    };
    (dst_imm $v:ident $i:ident $name:ident) => {
        $v.$name($i.a, $i.x)
    };
    (src_imm $v:ident $i:ident $name:ident) => {
        $v.$name($i.a, $i.x)
    };
    (src_imm_imm $v:ident $i:ident $name:ident) => {
        $v.$name($i.a, $i.x, $i.y)
    };
    (dst_imm_offset $v:ident $i:ident $name:ident) => {
        $v.$name($i.a, $i.x, $i.y)
    };
    (src_imm_offset $v:ident $i:ident $name:ident) => {
        $v.$name($i.a, $i.x, $i.y)
    };
    (dst_src $v:ident $i:ident $name:ident) => {
        $v.$name($i.d, $i.a)
    };
    (dst_src_imm $v:ident $i:ident $name:ident) => {
        $v.$name($i.a, $i.b, $i.x)
    };
    (src_src_imm $v:ident $i:ident $name:ident) => {
        $v.$name($i.a, $i.b, $i.x)
    };
    (src_src_offset $v:ident $i:ident $name:ident) => {
        $v.$name($i.a, $i.b, $i.y)
    };
    (dst_src_imm_imm $v:ident $i:ident $name:ident) => {
        $v.$name($i.a, $i.b, $i.x, $i.y)
    };
    (dst_src_src $v:ident $i:ident $name:ident) => {
        $v.$name($i.d, $i.a, $i.b)
    };
}

macro_rules! define_visitor {
    ($($shape:ident $variant:ident $name:ident $v07:tt $v08:tt $flow:ident $class:ident $effect:literal;)*) => {
        /// One method per instruction. Registers and immediates as in
        /// [`Instruction`](crate::Instruction); a `target` is an absolute code offset that may lie
        /// outside the code.
        #[expect(missing_docs, reason = "each method is documented by the table's effect column")]
        pub trait OpVisitor {
            /// What a method returns.
            type Out;
            $(method!($shape $name);)*
        }

        impl Instruction {
            /// Calls the visitor's method for this instruction.
            #[inline]
            pub fn visit<V: OpVisitor + ?Sized>(&self, v: &mut V) -> V::Out {
                let i = self;
                match self.op { $(Op::$variant => call!($shape v i $name),)* }
            }
        }
    };
}
crate::for_each_op!(define_visitor);
