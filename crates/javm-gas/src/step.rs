//! [`Step`]: what the pipeline model needs to know of one instruction.
//!
//! Made from the tables of this crate and of `javm-isa`, by opcode, once; both ways of pricing a block,
//! `schedule.rs` and `pipeline.rs`, work on steps alone.

use core::hint::select_unpredictable;

use javm_isa::{Code, CostClass, Instruction, Op, shape::OperandRole};

use crate::table::{DECODE_SLOTS, PREDICTED_BRANCH_LATENCY, Slots, UNITS, row};

/// Places of the register file that no instruction writes, and that none reads.
const NEVER_WRITTEN: u8 = 15;
const NEVER_READ: u8 = 14;

/// Units as a number: how many ALUs in the low bits, then a bit for each unit of which there is one. Load and
/// store units are left out: whoever takes one takes an ALU too, and there are no fewer of them than of ALUs.
pub(crate) const ALUS: u8 = 7;
pub(crate) const MUL: u8 = 8;
pub(crate) const DIV: u8 = 16;
pub(crate) const ALL_UNITS: u8 = UNITS.alu | MUL | DIV;

const _: () = assert!(UNITS.alu <= ALUS && UNITS.mul == 1 && UNITS.div == 1);
const _: () = assert!(UNITS.load >= UNITS.alu && UNITS.store >= UNITS.alu);

/// One instruction of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Cycles of execution; 0 for a move, which only renames.
    pub(crate) latency: u8,
    /// Decode slots, at least 1.
    pub(crate) slots: u8,
    pub(crate) units: u8,
    /// Places in a register file of 16: two sources and the destination.
    pub(crate) a: u8,
    pub(crate) b: u8,
    pub(crate) destination: u8,
}

/// The part of a [`Step`] that the opcode fixes.
#[derive(Clone, Copy)]
struct Row {
    latency: u8,
    slots: u8,
    /// Slots on top when the destination is a new register.
    extra: u8,
    units: u8,
    /// Or-ed to the numbers of registers a and b: turns one that is no source into [`NEVER_WRITTEN`].
    no_a: u8,
    no_b: u8,
    /// Or-ed to b when the destination is compared with the sources.
    no_compare_b: u8,
    destination_is_d: bool,
    /// Or-ed to the destination: turns one that is none into [`NEVER_READ`].
    no_destination: u8,
    branch: bool,
}

const fn make(op: Op) -> Row {
    let row = row(op.cost_class());
    let (slots, extra, no_compare_b) = match row.slots {
        Slots::Fixed(n) => (n, 0, 0),
        Slots::AnySource(n) => (n, 1, 0),
        Slots::FirstSource(n) => (n, 1, NEVER_WRITTEN),
    };
    let units = row.units;
    let (mut no_a, mut no_b) = (NEVER_WRITTEN, NEVER_WRITTEN);
    let sources = op.shape().sources();
    let mut n = 0;
    while n < sources.len() {
        match sources[n] {
            OperandRole::A => no_a = 0,
            OperandRole::B => no_b = 0,
            _ => panic!("only a and b are ever read"),
        }
        n += 1;
    }
    assert!(slots + extra <= DECODE_SLOTS && units.load <= units.alu && units.store <= units.alu);
    Row {
        latency: row.latency,
        slots,
        extra,
        units: units.alu | (units.mul * MUL) | (units.div * DIV),
        no_a,
        no_b,
        no_compare_b,
        destination_is_d: matches!(op.shape().destination(), Some(OperandRole::D)),
        no_destination: if op.shape().destination().is_none() { NEVER_WRITTEN } else { 0 },
        branch: matches!(op.cost_class(), CostClass::Branch),
    }
}

/// [`Row`] by opcode.
static ROWS: [Row; 256] = {
    let mut table = [make(Op::Trap); 256];
    let mut n = 0;
    while n < Op::ALL.len() {
        table[Op::ALL[n].opcode() as usize] = make(Op::ALL[n]);
        n += 1;
    }
    table
};

impl Step {
    /// The `trap` that follows the end of the code.
    pub(crate) const TRAP: Self = {
        let row = make(Op::Trap);
        Self {
            latency: row.latency,
            slots: row.slots,
            units: row.units,
            a: NEVER_WRITTEN,
            b: NEVER_WRITTEN,
            destination: NEVER_READ,
        }
    };

    /// All of it in a number.
    #[inline(always)]
    pub(crate) const fn bits(&self) -> u64 {
        let Self { latency, slots, units, a, b, destination } = *self;
        u64::from_le_bytes([latency, slots, units, a, b, destination, 0, 0])
    }

    /// What there is to know of `i`, in front of the instruction at `next_pc`.
    #[inline]
    pub(crate) fn of(i: &Instruction, next_pc: u32, code: &Code) -> Self {
        let row = &ROWS[i.op.opcode() as usize];
        let a = i.a as u8 | row.no_a;
        let b = i.b as u8 | row.no_b;
        let destination =
            select_unpredictable(row.destination_is_d, i.d as u8, i.a as u8) | row.no_destination;
        // One that is no destination is never equal to one that is no source.
        let destination = destination.min(NEVER_READ);
        let overlaps = (destination == a) | (destination == b | row.no_compare_b);
        let cheap = row.branch && (seldom(code, u64::from(next_pc)) || seldom(code, i.y));
        Self {
            latency: if cheap { PREDICTED_BRANCH_LATENCY } else { row.latency },
            slots: row.slots + (row.extra & u8::from(overlaps).wrapping_sub(1)),
            units: row.units,
            a,
            b,
            destination,
        }
    }
}

/// Whether the byte at one of a branch's ways, target or fallthrough, makes the branch predicted. It is the
/// raw byte, marked or not; past the end of the code it is a `trap`.
#[inline]
fn seldom(code: &Code, offset: u64) -> bool {
    let byte = code.byte_at(offset);
    byte == Op::Trap.opcode() || byte == Op::Unlikely.opcode()
}
