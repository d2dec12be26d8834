//! [`IOp`]: an instruction as the interpreter runs it: operands decoded, targets resolved.
//!
//! The names and fields are those of the instruction table, with these differences: immediates are 32 bits
//! and sign-extended where they are used; targets are the numbers of operations; what differs only by where a constant
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
    (@ [$($done:tt)*]) => { for_each_fused! { define_all [$($done)*] } };
}

/// Expands to the enum and what takes instructions together and apart.
macro_rules! define_all {
    (
        [$($single:tt)*]
        pairs { $($p:ident = $pa:ident($($paf:ident: $pat:ty),*), $pb:ident($($pbf:ident: $pbt:ty),*);)* }
        triples { $($t:ident = $ta:ident($($taf:ident: $tat:ty),*), $tb:ident($($tbf:ident: $tbt:ty),*),
            $tc:ident($($tcf:ident: $tct:ty),*);)* }
    ) => {
        /// What the interpreter does at once: an instruction, or two or three that follow each other.
        #[derive(Clone, Copy, Debug)]
        pub(super) enum IOp {
            $($single)*
            /// Stands before each block: its cost. Executed, it is the end of the code, and panics there.
            Enter(u32),
            /// The same before a block that starts with an `unlikely`, which does nothing and is passed over.
            EnterUnlikely(u32),
            /// The end of the code: panics there.
            EndOfCode,
            $($p($($pat,)* $($pbt),*),)*
            $($t($($tat,)* $($tbt,)* $($tct),*),)*
        }

        impl IOp {
            /// Two in one, where there is such a pair.
            pub(super) const fn paired(self, second: Self) -> Option<Self> {
                match (self, second) {
                    $((Self::$pa($($paf),*), Self::$pb($($pbf),*)) => Some(Self::$p($($paf,)* $($pbf),*)),)*
                    _ => None,
                }
            }

            /// Three in one, where there is such a triple.
            pub(super) const fn tripled(self, second: Self, third: Self) -> Option<Self> {
                match (self, second, third) {
                    $((Self::$ta($($taf),*), Self::$tb($($tbf),*), Self::$tc($($tcf),*)) => {
                        Some(Self::$t($($taf,)* $($tbf,)* $($tcf),*))
                    })*
                    _ => None,
                }
            }

            /// The first of several; itself where it is one.
            #[expect(unused_variables, reason = "the others' operands")]
            pub(super) const fn first(self) -> Self {
                match self {
                    $(Self::$p($($paf,)* $($pbf),*) => Self::$pa($($paf),*),)*
                    $(Self::$t($($taf,)* $($tbf,)* $($tcf),*) => Self::$ta($($taf),*),)*
                    single => single,
                }
            }
        }
    };
}

/// Calls the macro `$m` with the tokens behind its name and with what is executed in one step: the pairs and
/// triples that ran most often, one behind the other, over the programs of the benches
/// (`docs/interpreter.md`).
#[rustfmt::skip]
macro_rules! for_each_fused {
    ($m:ident $($before:tt)*) => { $m! { $($before)*
        pairs {
            StoreIndU64AddImm64 = StoreIndU64(a: Reg, b: Reg, x: i32), AddImm64(d: Reg, e: Reg, y: i32);
            AddImm64BranchLtU = AddImm64(a: Reg, b: Reg, x: i32), BranchLtU(d: Reg, e: Reg, u: u32);
            LoadIndU64LoadIndU64 = LoadIndU64(a: Reg, b: Reg, x: i32), LoadIndU64(d: Reg, e: Reg, y: i32);
            LoadIndU64Add64 = LoadIndU64(a: Reg, b: Reg, x: i32), Add64(d: Reg, e: Reg, f: Reg);
            AddImm64AddImm64 = AddImm64(a: Reg, b: Reg, x: i32), AddImm64(d: Reg, e: Reg, y: i32);
            Add64StoreIndU64 = Add64(a: Reg, b: Reg, c: Reg), StoreIndU64(d: Reg, e: Reg, y: i32);
            Add64Add64 = Add64(a: Reg, b: Reg, c: Reg), Add64(d: Reg, e: Reg, f: Reg);
            Add64LoadIndU64 = Add64(a: Reg, b: Reg, c: Reg), LoadIndU64(d: Reg, e: Reg, y: i32);
            StoreIndU64LoadIndU64 = StoreIndU64(a: Reg, b: Reg, x: i32), LoadIndU64(d: Reg, e: Reg, y: i32);
            AddImm64Add64 = AddImm64(a: Reg, b: Reg, x: i32), Add64(d: Reg, e: Reg, f: Reg);
            LoadIndU64StoreIndU64 = LoadIndU64(a: Reg, b: Reg, x: i32), StoreIndU64(d: Reg, e: Reg, y: i32);
            MoveRegMoveReg = MoveReg(a: Reg, b: Reg), MoveReg(d: Reg, e: Reg);
            ShloRImm64Xor = ShloRImm64(a: Reg, b: Reg, x: i32), Xor(d: Reg, e: Reg, f: Reg);
            StoreIndU64StoreIndU64 = StoreIndU64(a: Reg, b: Reg, x: i32), StoreIndU64(d: Reg, e: Reg, y: i32);
            Add64BranchLtU = Add64(a: Reg, b: Reg, c: Reg), BranchLtU(d: Reg, e: Reg, u: u32);
            Add64AddImm64 = Add64(a: Reg, b: Reg, c: Reg), AddImm64(d: Reg, e: Reg, y: i32);
            Add64BranchNeImm = Add64(a: Reg, b: Reg, c: Reg), BranchNeImm(d: Reg, y: i32, u: u32);
            ShloLImm64Add64 = ShloLImm64(a: Reg, b: Reg, x: i32), Add64(d: Reg, e: Reg, f: Reg);
            Mul64Add64 = Mul64(a: Reg, b: Reg, c: Reg), Add64(d: Reg, e: Reg, f: Reg);
            ShloLImm64AddImm64 = ShloLImm64(a: Reg, b: Reg, x: i32), AddImm64(d: Reg, e: Reg, y: i32);
            AddImm64MoveReg = AddImm64(a: Reg, b: Reg, x: i32), MoveReg(d: Reg, e: Reg);
            StoreIndU8Add64 = StoreIndU8(a: Reg, b: Reg, x: i32), Add64(d: Reg, e: Reg, f: Reg);
            ShloLImm64Xor = ShloLImm64(a: Reg, b: Reg, x: i32), Xor(d: Reg, e: Reg, f: Reg);
            LoadIndU64SetLtU = LoadIndU64(a: Reg, b: Reg, x: i32), SetLtU(d: Reg, e: Reg, f: Reg);
            LoadIndU8LoadIndU8 = LoadIndU8(a: Reg, b: Reg, x: i32), LoadIndU8(d: Reg, e: Reg, y: i32);
            XorStoreIndU64 = Xor(a: Reg, b: Reg, c: Reg), StoreIndU64(d: Reg, e: Reg, y: i32);
            LoadIndU64Xor = LoadIndU64(a: Reg, b: Reg, x: i32), Xor(d: Reg, e: Reg, f: Reg);
            XorShloRImm64 = Xor(a: Reg, b: Reg, c: Reg), ShloRImm64(d: Reg, e: Reg, y: i32);
            LoadIndU64AddImm64 = LoadIndU64(a: Reg, b: Reg, x: i32), AddImm64(d: Reg, e: Reg, y: i32);
            AddImm64Xor = AddImm64(a: Reg, b: Reg, x: i32), Xor(d: Reg, e: Reg, f: Reg);
            AddImm64ShloLImm64 = AddImm64(a: Reg, b: Reg, x: i32), ShloLImm64(d: Reg, e: Reg, y: i32);
            StoreIndU8AddImm64 = StoreIndU8(a: Reg, b: Reg, x: i32), AddImm64(d: Reg, e: Reg, y: i32);
            MoveRegBranchNeImm = MoveReg(a: Reg, b: Reg), BranchNeImm(d: Reg, y: i32, u: u32);
            XorBranchNeImm = Xor(a: Reg, b: Reg, c: Reg), BranchNeImm(d: Reg, y: i32, u: u32);
            XorStoreIndU8 = Xor(a: Reg, b: Reg, c: Reg), StoreIndU8(d: Reg, e: Reg, y: i32);
            AddImm64StoreIndU64 = AddImm64(a: Reg, b: Reg, x: i32), StoreIndU64(d: Reg, e: Reg, y: i32);
            XorLoadIndU64 = Xor(a: Reg, b: Reg, c: Reg), LoadIndU64(d: Reg, e: Reg, y: i32);
            Add64LoadIndU8 = Add64(a: Reg, b: Reg, c: Reg), LoadIndU8(d: Reg, e: Reg, y: i32);
            ShloLImm64ShloLImm64 = ShloLImm64(a: Reg, b: Reg, x: i32), ShloLImm64(d: Reg, e: Reg, y: i32);
            AddImm64BranchNeImm = AddImm64(a: Reg, b: Reg, x: i32), BranchNeImm(d: Reg, y: i32, u: u32);
            XorMul64 = Xor(a: Reg, b: Reg, c: Reg), Mul64(d: Reg, e: Reg, f: Reg);
            AddImm64JumpInd = AddImm64(a: Reg, b: Reg, x: i32), JumpInd(d: Reg, y: i32);
            MoveRegBranchNe = MoveReg(a: Reg, b: Reg), BranchNe(d: Reg, e: Reg, u: u32);
            Add64RotR64Imm = Add64(a: Reg, b: Reg, c: Reg), RotR64Imm(d: Reg, e: Reg, y: i32);
            AddImm64ShloRImm64 = AddImm64(a: Reg, b: Reg, x: i32), ShloRImm64(d: Reg, e: Reg, y: i32);
            RotR64ImmMoveReg = RotR64Imm(a: Reg, b: Reg, x: i32), MoveReg(d: Reg, e: Reg);
            LoadIndU8BranchNe = LoadIndU8(a: Reg, b: Reg, x: i32), BranchNe(d: Reg, e: Reg, u: u32);
            MoveRegLoadIndU64 = MoveReg(a: Reg, b: Reg), LoadIndU64(d: Reg, e: Reg, y: i32);
            XorXor = Xor(a: Reg, b: Reg, c: Reg), Xor(d: Reg, e: Reg, f: Reg);
            AddImm64BranchNe = AddImm64(a: Reg, b: Reg, x: i32), BranchNe(d: Reg, e: Reg, u: u32);
            RotR64ImmLoadIndU64 = RotR64Imm(a: Reg, b: Reg, x: i32), LoadIndU64(d: Reg, e: Reg, y: i32);
            StoreIndU64MoveReg = StoreIndU64(a: Reg, b: Reg, x: i32), MoveReg(d: Reg, e: Reg);
            RotR32ImmXor = RotR32Imm(a: Reg, b: Reg, x: i32), Xor(d: Reg, e: Reg, f: Reg);
            RotR32ImmRotR32Imm = RotR32Imm(a: Reg, b: Reg, x: i32), RotR32Imm(d: Reg, e: Reg, y: i32);
            AndImmAdd64 = AndImm(a: Reg, b: Reg, x: i32), Add64(d: Reg, e: Reg, f: Reg);
            AddImm64Mul64 = AddImm64(a: Reg, b: Reg, x: i32), Mul64(d: Reg, e: Reg, f: Reg);
            LoadIndU64RotR64Imm = LoadIndU64(a: Reg, b: Reg, x: i32), RotR64Imm(d: Reg, e: Reg, y: i32);
            RotR64ImmRotR64Imm = RotR64Imm(a: Reg, b: Reg, x: i32), RotR64Imm(d: Reg, e: Reg, y: i32);
            SetLtUAdd64 = SetLtU(a: Reg, b: Reg, c: Reg), Add64(d: Reg, e: Reg, f: Reg);
            Add64SetLtU = Add64(a: Reg, b: Reg, c: Reg), SetLtU(d: Reg, e: Reg, f: Reg);
            SetLtULoadIndU64 = SetLtU(a: Reg, b: Reg, c: Reg), LoadIndU64(d: Reg, e: Reg, y: i32);
            StoreIndU64ShloLImm64 = StoreIndU64(a: Reg, b: Reg, x: i32), ShloLImm64(d: Reg, e: Reg, y: i32);
            MoveRegLoadImm = MoveReg(a: Reg, b: Reg), LoadImm(d: Reg, y: i32);
            LoadImmBranchLtU = LoadImm(a: Reg, x: i32), BranchLtU(d: Reg, e: Reg, u: u32);
            AndInvXor = AndInv(a: Reg, b: Reg, c: Reg), Xor(d: Reg, e: Reg, f: Reg);
            StoreIndU64AndInv = StoreIndU64(a: Reg, b: Reg, x: i32), AndInv(d: Reg, e: Reg, f: Reg);
            Add64BranchGeU = Add64(a: Reg, b: Reg, c: Reg), BranchGeU(d: Reg, e: Reg, u: u32);
            StoreIndU64MulUpperUU = StoreIndU64(a: Reg, b: Reg, x: i32), MulUpperUU(d: Reg, e: Reg, f: Reg);
            AddImm64LoadIndU64 = AddImm64(a: Reg, b: Reg, x: i32), LoadIndU64(d: Reg, e: Reg, y: i32);
            Add64LoadIndI32 = Add64(a: Reg, b: Reg, c: Reg), LoadIndI32(d: Reg, e: Reg, y: i32);
            Mul64StoreIndU64 = Mul64(a: Reg, b: Reg, c: Reg), StoreIndU64(d: Reg, e: Reg, y: i32);
            MulUpperUUStoreIndU64 = MulUpperUU(a: Reg, b: Reg, c: Reg), StoreIndU64(d: Reg, e: Reg, y: i32);
            StoreIndU64Mul64 = StoreIndU64(a: Reg, b: Reg, x: i32), Mul64(d: Reg, e: Reg, f: Reg);
            LoadIndU8ShloLImm64 = LoadIndU8(a: Reg, b: Reg, x: i32), ShloLImm64(d: Reg, e: Reg, y: i32);
            LoadIndU64ShloLImm64 = LoadIndU64(a: Reg, b: Reg, x: i32), ShloLImm64(d: Reg, e: Reg, y: i32);
            StoreIndU64Xor = StoreIndU64(a: Reg, b: Reg, x: i32), Xor(d: Reg, e: Reg, f: Reg);
            LoadImmAdd64 = LoadImm(a: Reg, x: i32), Add64(d: Reg, e: Reg, f: Reg);
            XorRotR64Imm = Xor(a: Reg, b: Reg, c: Reg), RotR64Imm(d: Reg, e: Reg, y: i32);
            ShloLImm64Or = ShloLImm64(a: Reg, b: Reg, x: i32), Or(d: Reg, e: Reg, f: Reg);
            AddImm64BranchGeU = AddImm64(a: Reg, b: Reg, x: i32), BranchGeU(d: Reg, e: Reg, u: u32);
            MoveRegBranchLtU = MoveReg(a: Reg, b: Reg), BranchLtU(d: Reg, e: Reg, u: u32);
            Add64RotR32Imm = Add64(a: Reg, b: Reg, c: Reg), RotR32Imm(d: Reg, e: Reg, y: i32);
            LoadIndU64BranchGeU = LoadIndU64(a: Reg, b: Reg, x: i32), BranchGeU(d: Reg, e: Reg, u: u32);
            ShloLImm64LoadIndU64 = ShloLImm64(a: Reg, b: Reg, x: i32), LoadIndU64(d: Reg, e: Reg, y: i32);
            LoadIndI32Add64 = LoadIndI32(a: Reg, b: Reg, x: i32), Add64(d: Reg, e: Reg, f: Reg);
            Add64Xor = Add64(a: Reg, b: Reg, c: Reg), Xor(d: Reg, e: Reg, f: Reg);
            XorRotR32Imm = Xor(a: Reg, b: Reg, c: Reg), RotR32Imm(d: Reg, e: Reg, y: i32);
            LoadIndU64And = LoadIndU64(a: Reg, b: Reg, x: i32), And(d: Reg, e: Reg, f: Reg);
            LoadIndU64Mul64 = LoadIndU64(a: Reg, b: Reg, x: i32), Mul64(d: Reg, e: Reg, f: Reg);
        }
        triples {
            StoreIndU64AddImm64BranchLtU = StoreIndU64(a: Reg, b: Reg, x: i32), AddImm64(d: Reg, e: Reg, y: i32), BranchLtU(g: Reg, h: Reg, v: u32);
            StoreIndU64AddImm64AddImm64 = StoreIndU64(a: Reg, b: Reg, x: i32), AddImm64(d: Reg, e: Reg, y: i32), AddImm64(g: Reg, h: Reg, z: i32);
            LoadIndU64StoreIndU64AddImm64 = LoadIndU64(a: Reg, b: Reg, x: i32), StoreIndU64(d: Reg, e: Reg, y: i32), AddImm64(g: Reg, h: Reg, z: i32);
            AddImm64AddImm64BranchLtU = AddImm64(a: Reg, b: Reg, x: i32), AddImm64(d: Reg, e: Reg, y: i32), BranchLtU(g: Reg, h: Reg, v: u32);
            LoadIndU64Add64StoreIndU64 = LoadIndU64(a: Reg, b: Reg, x: i32), Add64(d: Reg, e: Reg, f: Reg), StoreIndU64(g: Reg, h: Reg, z: i32);
            AddImm64Add64BranchNeImm = AddImm64(a: Reg, b: Reg, x: i32), Add64(d: Reg, e: Reg, f: Reg), BranchNeImm(g: Reg, z: i32, v: u32);
            Add64Add64BranchLtU = Add64(a: Reg, b: Reg, c: Reg), Add64(d: Reg, e: Reg, f: Reg), BranchLtU(g: Reg, h: Reg, v: u32);
            StoreIndU8Add64Add64 = StoreIndU8(a: Reg, b: Reg, x: i32), Add64(d: Reg, e: Reg, f: Reg), Add64(g: Reg, h: Reg, i: Reg);
            LoadIndU64LoadIndU64LoadIndU64 = LoadIndU64(a: Reg, b: Reg, x: i32), LoadIndU64(d: Reg, e: Reg, y: i32), LoadIndU64(g: Reg, h: Reg, z: i32);
            ShloLImm64XorShloRImm64 = ShloLImm64(a: Reg, b: Reg, x: i32), Xor(d: Reg, e: Reg, f: Reg), ShloRImm64(g: Reg, h: Reg, z: i32);
            XorShloRImm64Xor = Xor(a: Reg, b: Reg, c: Reg), ShloRImm64(d: Reg, e: Reg, y: i32), Xor(g: Reg, h: Reg, i: Reg);
            Add64LoadIndU64Add64 = Add64(a: Reg, b: Reg, c: Reg), LoadIndU64(d: Reg, e: Reg, y: i32), Add64(g: Reg, h: Reg, i: Reg);
            ShloRImm64XorStoreIndU8 = ShloRImm64(a: Reg, b: Reg, x: i32), Xor(d: Reg, e: Reg, f: Reg), StoreIndU8(g: Reg, h: Reg, z: i32);
            AddImm64XorBranchNeImm = AddImm64(a: Reg, b: Reg, x: i32), Xor(d: Reg, e: Reg, f: Reg), BranchNeImm(g: Reg, z: i32, v: u32);
            Add64StoreIndU64LoadIndU64 = Add64(a: Reg, b: Reg, c: Reg), StoreIndU64(d: Reg, e: Reg, y: i32), LoadIndU64(g: Reg, h: Reg, z: i32);
            MoveRegMoveRegMoveReg = MoveReg(a: Reg, b: Reg), MoveReg(d: Reg, e: Reg), MoveReg(g: Reg, h: Reg);
            Add64AddImm64MoveReg = Add64(a: Reg, b: Reg, c: Reg), AddImm64(d: Reg, e: Reg, y: i32), MoveReg(g: Reg, h: Reg);
            MoveRegMoveRegBranchNeImm = MoveReg(a: Reg, b: Reg), MoveReg(d: Reg, e: Reg), BranchNeImm(g: Reg, z: i32, v: u32);
            LoadIndU64LoadIndU64AddImm64 = LoadIndU64(a: Reg, b: Reg, x: i32), LoadIndU64(d: Reg, e: Reg, y: i32), AddImm64(g: Reg, h: Reg, z: i32);
            Add64LoadIndU64LoadIndU64 = Add64(a: Reg, b: Reg, c: Reg), LoadIndU64(d: Reg, e: Reg, y: i32), LoadIndU64(g: Reg, h: Reg, z: i32);
            StoreIndU64LoadIndU64Add64 = StoreIndU64(a: Reg, b: Reg, x: i32), LoadIndU64(d: Reg, e: Reg, y: i32), Add64(g: Reg, h: Reg, i: Reg);
            LoadIndU64Add64LoadIndU64 = LoadIndU64(a: Reg, b: Reg, x: i32), Add64(d: Reg, e: Reg, f: Reg), LoadIndU64(g: Reg, h: Reg, z: i32);
            AddImm64AddImm64AddImm64 = AddImm64(a: Reg, b: Reg, x: i32), AddImm64(d: Reg, e: Reg, y: i32), AddImm64(g: Reg, h: Reg, z: i32);
            Add64RotR64ImmMoveReg = Add64(a: Reg, b: Reg, c: Reg), RotR64Imm(d: Reg, e: Reg, y: i32), MoveReg(g: Reg, h: Reg);
            ShloRImm64XorMul64 = ShloRImm64(a: Reg, b: Reg, x: i32), Xor(d: Reg, e: Reg, f: Reg), Mul64(g: Reg, h: Reg, i: Reg);
            LoadIndU8LoadIndU8BranchNe = LoadIndU8(a: Reg, b: Reg, x: i32), LoadIndU8(d: Reg, e: Reg, y: i32), BranchNe(g: Reg, h: Reg, v: u32);
            ShloLImm64ShloLImm64Add64 = ShloLImm64(a: Reg, b: Reg, x: i32), ShloLImm64(d: Reg, e: Reg, y: i32), Add64(g: Reg, h: Reg, i: Reg);
            ShloLImm64Add64Add64 = ShloLImm64(a: Reg, b: Reg, x: i32), Add64(d: Reg, e: Reg, f: Reg), Add64(g: Reg, h: Reg, i: Reg);
            ShloLImm64Add64LoadIndU64 = ShloLImm64(a: Reg, b: Reg, x: i32), Add64(d: Reg, e: Reg, f: Reg), LoadIndU64(g: Reg, h: Reg, z: i32);
            Add64Add64LoadIndU64 = Add64(a: Reg, b: Reg, c: Reg), Add64(d: Reg, e: Reg, f: Reg), LoadIndU64(g: Reg, h: Reg, z: i32);
            XorMul64Add64 = Xor(a: Reg, b: Reg, c: Reg), Mul64(d: Reg, e: Reg, f: Reg), Add64(g: Reg, h: Reg, i: Reg);
            RotR64ImmMoveRegBranchNe = RotR64Imm(a: Reg, b: Reg, x: i32), MoveReg(d: Reg, e: Reg), BranchNe(g: Reg, h: Reg, v: u32);
            StoreIndU64LoadIndU64LoadIndU64 = StoreIndU64(a: Reg, b: Reg, x: i32), LoadIndU64(d: Reg, e: Reg, y: i32), LoadIndU64(g: Reg, h: Reg, z: i32);
            Add64StoreIndU64AddImm64 = Add64(a: Reg, b: Reg, c: Reg), StoreIndU64(d: Reg, e: Reg, y: i32), AddImm64(g: Reg, h: Reg, z: i32);
            XorStoreIndU64LoadIndU64 = Xor(a: Reg, b: Reg, c: Reg), StoreIndU64(d: Reg, e: Reg, y: i32), LoadIndU64(g: Reg, h: Reg, z: i32);
            Mul64Add64StoreIndU64 = Mul64(a: Reg, b: Reg, c: Reg), Add64(d: Reg, e: Reg, f: Reg), StoreIndU64(g: Reg, h: Reg, z: i32);
            StoreIndU64StoreIndU64StoreIndU64 = StoreIndU64(a: Reg, b: Reg, x: i32), StoreIndU64(d: Reg, e: Reg, y: i32), StoreIndU64(g: Reg, h: Reg, z: i32);
            StoreIndU64AddImm64BranchNe = StoreIndU64(a: Reg, b: Reg, x: i32), AddImm64(d: Reg, e: Reg, y: i32), BranchNe(g: Reg, h: Reg, v: u32);
            LoadIndU64XorStoreIndU64 = LoadIndU64(a: Reg, b: Reg, x: i32), Xor(d: Reg, e: Reg, f: Reg), StoreIndU64(g: Reg, h: Reg, z: i32);
            StoreIndU64LoadIndU64Xor = StoreIndU64(a: Reg, b: Reg, x: i32), LoadIndU64(d: Reg, e: Reg, y: i32), Xor(g: Reg, h: Reg, i: Reg);
            LoadIndU64LoadIndU64Add64 = LoadIndU64(a: Reg, b: Reg, x: i32), LoadIndU64(d: Reg, e: Reg, y: i32), Add64(g: Reg, h: Reg, i: Reg);
            LoadIndU64AddImm64JumpInd = LoadIndU64(a: Reg, b: Reg, x: i32), AddImm64(d: Reg, e: Reg, y: i32), JumpInd(g: Reg, z: i32);
            AndImmAdd64BranchGeU = AndImm(a: Reg, b: Reg, x: i32), Add64(d: Reg, e: Reg, f: Reg), BranchGeU(g: Reg, h: Reg, v: u32);
            RotR64ImmLoadIndU64RotR64Imm = RotR64Imm(a: Reg, b: Reg, x: i32), LoadIndU64(d: Reg, e: Reg, y: i32), RotR64Imm(g: Reg, h: Reg, z: i32);
            Add64LoadIndU64SetLtU = Add64(a: Reg, b: Reg, c: Reg), LoadIndU64(d: Reg, e: Reg, y: i32), SetLtU(g: Reg, h: Reg, i: Reg);
            RotR32ImmRotR32ImmXor = RotR32Imm(a: Reg, b: Reg, x: i32), RotR32Imm(d: Reg, e: Reg, y: i32), Xor(g: Reg, h: Reg, i: Reg);
            RotR32ImmXorLoadIndU64 = RotR32Imm(a: Reg, b: Reg, x: i32), Xor(d: Reg, e: Reg, f: Reg), LoadIndU64(g: Reg, h: Reg, z: i32);
            XorLoadIndU64Xor = Xor(a: Reg, b: Reg, c: Reg), LoadIndU64(d: Reg, e: Reg, y: i32), Xor(g: Reg, h: Reg, i: Reg);
            AndInvXorStoreIndU64 = AndInv(a: Reg, b: Reg, c: Reg), Xor(d: Reg, e: Reg, f: Reg), StoreIndU64(g: Reg, h: Reg, z: i32);
            LoadIndU8ShloLImm64ShloLImm64 = LoadIndU8(a: Reg, b: Reg, x: i32), ShloLImm64(d: Reg, e: Reg, y: i32), ShloLImm64(g: Reg, h: Reg, z: i32);
            Add64LoadIndU8LoadIndU8 = Add64(a: Reg, b: Reg, c: Reg), LoadIndU8(d: Reg, e: Reg, y: i32), LoadIndU8(g: Reg, h: Reg, z: i32);
            Add64AddImm64JumpInd = Add64(a: Reg, b: Reg, c: Reg), AddImm64(d: Reg, e: Reg, y: i32), JumpInd(g: Reg, z: i32);
            SetLtULoadIndU64Add64 = SetLtU(a: Reg, b: Reg, c: Reg), LoadIndU64(d: Reg, e: Reg, y: i32), Add64(g: Reg, h: Reg, i: Reg);
            LoadIndU64Add64SetLtU = LoadIndU64(a: Reg, b: Reg, x: i32), Add64(d: Reg, e: Reg, f: Reg), SetLtU(g: Reg, h: Reg, i: Reg);
            StoreIndU64MulUpperUUStoreIndU64 = StoreIndU64(a: Reg, b: Reg, x: i32), MulUpperUU(d: Reg, e: Reg, f: Reg), StoreIndU64(g: Reg, h: Reg, z: i32);
            StoreIndU64Mul64StoreIndU64 = StoreIndU64(a: Reg, b: Reg, x: i32), Mul64(d: Reg, e: Reg, f: Reg), StoreIndU64(g: Reg, h: Reg, z: i32);
            StoreIndU64LoadIndU64StoreIndU64 = StoreIndU64(a: Reg, b: Reg, x: i32), LoadIndU64(d: Reg, e: Reg, y: i32), StoreIndU64(g: Reg, h: Reg, z: i32);
            SetLtUAdd64StoreIndU64 = SetLtU(a: Reg, b: Reg, c: Reg), Add64(d: Reg, e: Reg, f: Reg), StoreIndU64(g: Reg, h: Reg, z: i32);
            LoadIndU64LoadIndU64SetLtU = LoadIndU64(a: Reg, b: Reg, x: i32), LoadIndU64(d: Reg, e: Reg, y: i32), SetLtU(g: Reg, h: Reg, i: Reg);
            LoadIndU64Add64Add64 = LoadIndU64(a: Reg, b: Reg, x: i32), Add64(d: Reg, e: Reg, f: Reg), Add64(g: Reg, h: Reg, i: Reg);
            XorXorXor = Xor(a: Reg, b: Reg, c: Reg), Xor(d: Reg, e: Reg, f: Reg), Xor(g: Reg, h: Reg, i: Reg);
        }
    } };
}
pub(super) use for_each_fused;

javm_isa::for_each_op!(define);

const _: () = assert!(size_of::<IOp>() == 20);
