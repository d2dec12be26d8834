//! [`Op`]: an instruction's identity, and what the table says about it.

use crate::shape::Shape;

/// What an instruction does to control flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flow {
    /// Goes on at the next instruction, touches no memory.
    Next,
    /// Reads memory, then goes on.
    Load,
    /// Writes memory, then goes on.
    Store,
    /// Asks the host; goes on when the host says so. Ends no basic block.
    Host,
    /// Panics. Ends a basic block.
    Trap,
    /// Goes on, but ends a basic block.
    Fallthrough,
    /// Goes to a fixed target. Ends a basic block.
    Jump,
    /// Goes to a fixed target or on. Ends a basic block.
    Branch,
    /// Goes through the jump table. Ends a basic block.
    Indirect,
}

impl Flow {
    /// Whether the instruction ends its basic block (Gray Paper: the set T).
    #[must_use]
    pub const fn is_terminator(self) -> bool {
        matches!(self, Self::Trap | Self::Fallthrough | Self::Jump | Self::Branch | Self::Indirect)
    }
}

/// Rows of the pipeline cost model; what each costs is in `javm-gas`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is described by the cost table of javm-gas")]
pub enum CostClass {
    Nop,
    Unlikely,
    Host,
    LoadImm,
    LoadImm64,
    Load,
    Store,
    Jump,
    JumpInd,
    Branch,
    Move,
    Bits,
    TrailingZeros,
    Alu64,
    Alu32,
    Shift64,
    Shift32,
    ShiftAlt64,
    ShiftAlt32,
    Compare,
    Cmov,
    CmovImm,
    MinMax,
    Div,
    Inverted,
    NegAdd64,
    NegAdd32,
    Mul64,
    Mul32,
    MulUpper,
    MulUpperSu,
}

macro_rules! number {
    (none) => {
        None
    };
    ($n:literal) => {
        Some($n)
    };
}

macro_rules! define_op {
    ($($shape:ident $variant:ident $name:ident $v07:tt $v08:tt $flow:ident $class:ident $effect:literal;)*) => {
        /// An instruction's identity. The discriminant is its canonical opcode.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Op {
            $(#[doc = concat!("`", $effect, "`")] $variant = $v08,)*
        }

        impl Op {
            /// Every instruction, in order of its canonical opcode.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name, for example `add_imm_64`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($name),)* }
            }

            /// Operands and their layout.
            #[must_use]
            pub const fn shape(self) -> Shape {
                const SHAPES: [Shape; 256] = {
                    let mut t = [Shape::none; 256];
                    $(t[$v08] = Shape::$shape;)*
                    t
                };
                SHAPES[self as usize]
            }

            /// What it does to control flow.
            #[must_use]
            pub const fn flow(self) -> Flow {
                const FLOWS: [Flow; 256] = {
                    let mut t = [Flow::Next; 256];
                    $(t[$v08] = Flow::$flow;)*
                    t
                };
                FLOWS[self as usize]
            }

            /// Its row in the pipeline cost model.
            #[must_use]
            pub const fn cost_class(self) -> CostClass {
                const CLASSES: [CostClass; 256] = {
                    let mut t = [CostClass::Nop; 256];
                    $(t[$v08] = CostClass::$class;)*
                    t
                };
                CLASSES[self as usize]
            }

            /// What it does, in one line.
            #[must_use]
            pub const fn effect(self) -> &'static str {
                match self { $(Self::$variant => $effect,)* }
            }

            /// Its opcode in the Gray Paper 0.7 numbering, if it has one there.
            #[must_use]
            pub const fn opcode_07(self) -> Option<u8> {
                match self { $(Self::$variant => number!($v07),)* }
            }

            /// The instruction with this canonical opcode; `None` for an invalid opcode.
            #[must_use]
            pub const fn from_opcode(opcode: u8) -> Option<Self> {
                const OPS: [Option<Op>; 256] = {
                    let mut t = [None; 256];
                    $(t[$v08] = Some(Op::$variant);)*
                    t
                };
                OPS[opcode as usize]
            }

            /// The instruction with this name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $(stringify!($name) => Some(Self::$variant),)* _ => None }
            }
        }
    };
}
crate::for_each_op!(define_op);

impl Op {
    /// The canonical opcode.
    #[must_use]
    pub const fn opcode(self) -> u8 {
        self as u8
    }

    /// Whether it ends its basic block.
    #[must_use]
    pub const fn is_terminator(self) -> bool {
        // A table of its own: compilers and interpreters ask for every instruction, and answers are mixed.
        const TERMINATORS: [bool; 256] = {
            let mut t = [false; 256];
            let mut n = 0;
            while n < Op::ALL.len() {
                t[Op::ALL[n] as usize] = Op::ALL[n].flow().is_terminator();
                n += 1;
            }
            t
        };
        TERMINATORS[self as usize]
    }
}

impl core::fmt::Display for Op {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_139_operations_and_ecall() {
        assert_eq!(Op::ALL.len(), 140);
        assert!(Op::ALL.windows(2).all(|w| w[0].opcode() < w[1].opcode()));
        for op in Op::ALL {
            assert_eq!(Op::from_opcode(op.opcode()), Some(*op));
            assert_eq!(Op::from_name(op.name()), Some(*op));
        }
        // 0.7 has `sbrk` instead of `unlikely`, and no `ecall`.
        assert_eq!(Op::ALL.iter().filter(|op| op.opcode_07().is_some()).count(), 138);
    }
}
