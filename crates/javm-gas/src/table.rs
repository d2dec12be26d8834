//! The numbers of the pipeline model: one row per [`CostClass`].
//!
//! How the rows are used is in `pipeline.rs`, which class an instruction has in the table of `javm-isa`.
//! Latencies are cycles of execution, slots are the part of a cycle's decoding capacity that an instruction
//! takes. Source: Gray Paper 0.8, appendix on gas; PolkaVM's full cost model with L2 hits.

use javm_isa::CostClass;

/// Decode slots per cycle.
pub const DECODE_SLOTS: u8 = 4;

/// Instructions that can start per cycle.
pub const STARTS: u32 = 5;

/// Entries of the reorder buffer.
pub const REORDER_BUFFER: u32 = 32;

/// How many units of each kind there are.
pub const UNITS: Units = Units { alu: 4, load: 4, store: 4, mul: 1, div: 1 };

/// Cycles that a memory read takes: a hit in the second-level cache.
pub const LOAD_LATENCY: u8 = 25;

/// Latency of a branch one of whose two ways begins with `trap` or `unlikely`: it is taken to be predicted.
pub const PREDICTED_BRANCH_LATENCY: u8 = 1;

/// Cycles at both ends of a block that it does not pay for, because blocks overlap.
pub const OVERLAP_CYCLES: u32 = 3;

/// Execution units that an instruction holds from its start until its last cycle of execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Units {
    /// Arithmetic.
    pub alu: u8,
    /// Memory reads.
    pub load: u8,
    /// Memory writes.
    pub store: u8,
    /// Multiplication.
    pub mul: u8,
    /// Division.
    pub div: u8,
}

impl Units {
    const NONE: Self = Self { alu: 0, load: 0, store: 0, mul: 0, div: 0 };
    const ALU: Self = Self { alu: 1, ..Self::NONE };
    const TWO_ALUS: Self = Self { alu: 2, ..Self::NONE };
    const LOAD: Self = Self { load: 1, ..Self::ALU };
    const STORE: Self = Self { store: 1, ..Self::ALU };
    const MUL: Self = Self { mul: 1, ..Self::ALU };
    const DIV: Self = Self { div: 1, ..Self::ALU };
}

/// Decode slots of an instruction. It takes one more when its destination is a new register, because the
/// processor that is modelled would need a move for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slots {
    /// Always as many.
    Fixed(u8),
    /// As many when the destination is one of the sources, else one more.
    AnySource(u8),
    /// As many when the destination is the first source, else one more.
    FirstSource(u8),
}

/// What instructions of one class cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Cycles of execution. Zero means that decoding does all the work, by renaming a register.
    pub latency: u8,
    /// Decode slots.
    pub slots: Slots,
    /// Units held.
    pub units: Units,
}

/// The row of a class. A branch's latency is the one of a branch that is not
/// [predicted](PREDICTED_BRANCH_LATENCY).
#[must_use]
pub const fn row(class: CostClass) -> Row {
    use Slots::{AnySource, FirstSource, Fixed};
    const fn r(latency: u8, slots: Slots, units: Units) -> Row {
        Row { latency, slots, units }
    }
    match class {
        CostClass::Move => r(0, Fixed(1), Units::NONE),
        CostClass::Nop => r(2, Fixed(1), Units::NONE),
        CostClass::Unlikely => r(40, Fixed(1), Units::NONE),
        CostClass::LoadImm => r(1, Fixed(1), Units::NONE),
        CostClass::LoadImm64 => r(1, Fixed(2), Units::NONE),
        CostClass::Jump => r(15, Fixed(1), Units::NONE),
        CostClass::JumpInd => r(22, Fixed(1), Units::NONE),
        CostClass::Branch => r(20, Fixed(1), Units::ALU),
        CostClass::Host => r(100, Fixed(4), Units::ALU),
        CostClass::Load => r(LOAD_LATENCY, Fixed(1), Units::LOAD),
        CostClass::Store => r(25, Fixed(1), Units::STORE),
        CostClass::Alu64 => r(1, AnySource(1), Units::ALU),
        CostClass::Alu32 => r(2, AnySource(2), Units::ALU),
        CostClass::Bits => r(1, Fixed(1), Units::ALU),
        CostClass::TrailingZeros => r(2, Fixed(1), Units::TWO_ALUS),
        CostClass::Shift64 => r(1, FirstSource(2), Units::ALU),
        CostClass::Shift32 => r(2, FirstSource(3), Units::ALU),
        CostClass::ShiftAlt64 => r(1, Fixed(3), Units::ALU),
        CostClass::ShiftAlt32 => r(2, Fixed(4), Units::ALU),
        CostClass::Compare => r(3, Fixed(3), Units::ALU),
        CostClass::Cmov => r(2, Fixed(2), Units::ALU),
        CostClass::CmovImm => r(2, Fixed(3), Units::ALU),
        CostClass::MinMax => r(3, AnySource(2), Units::ALU),
        CostClass::Inverted => r(2, Fixed(3), Units::ALU),
        CostClass::NegAdd64 => r(2, Fixed(3), Units::ALU),
        CostClass::NegAdd32 => r(3, Fixed(4), Units::ALU),
        CostClass::Mul64 => r(3, AnySource(1), Units::MUL),
        CostClass::Mul32 => r(4, AnySource(2), Units::MUL),
        CostClass::MulUpper => r(4, Fixed(4), Units::MUL),
        CostClass::MulUpperSu => r(6, Fixed(4), Units::MUL),
        CostClass::Div => r(60, Fixed(4), Units::DIV),
    }
}
