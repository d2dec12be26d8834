//! [`Instruction`]: one decoded instruction.

use crate::{
    op::Op,
    reg::Reg,
    shape::{self, Encoded, OperandRole},
};

/// One decoded instruction.
///
/// Which fields mean something is up to `op.shape()`; the others hold leftovers of decoding, which
/// [`Instruction::eq`] ignores.
#[derive(Clone, Copy)]
pub struct Instruction {
    /// What it is.
    pub op: Op,
    /// First register.
    pub a: Reg,
    /// Second register.
    pub b: Reg,
    /// Destination of register-only instructions.
    pub d: Reg,
    /// First immediate, sign-extended.
    pub x: u64,
    /// Second immediate, sign-extended; or the absolute target of a jump or branch, where a target before
    /// the code wraps to a number that no code offset reaches.
    pub y: u64,
}

impl Instruction {
    /// An instruction without operands that matter: fill in those that its shape has.
    #[must_use]
    pub const fn new(op: Op) -> Self {
        Self { op, a: Reg::RA, b: Reg::RA, d: Reg::RA, x: 0, y: 0 }
    }

    /// The register in a role; `None` where the role is no register.
    #[must_use]
    pub const fn register(&self, role: OperandRole) -> Option<Reg> {
        match role {
            OperandRole::A => Some(self.a),
            OperandRole::B => Some(self.b),
            OperandRole::D => Some(self.d),
            OperandRole::X | OperandRole::Y | OperandRole::Target => None,
        }
    }

    /// The register that it writes.
    #[must_use]
    pub const fn destination(&self) -> Option<Reg> {
        match self.op.shape().destination() {
            Some(role) => self.register(role),
            None => None,
        }
    }

    /// Its shortest encoding at code offset `pc`.
    #[must_use]
    pub fn encode(&self, pc: u32) -> Encoded {
        shape::write(self, pc)
    }

    /// The target of a jump or branch, absolute; may lie outside the code.
    #[must_use]
    pub const fn target(&self) -> Option<u64> {
        if self.op.shape().has_target() { Some(self.y) } else { None }
    }
}

impl PartialEq for Instruction {
    fn eq(&self, other: &Self) -> bool {
        self.op == other.op
            && self.op.shape().operands().iter().all(|role| match role {
                OperandRole::A => self.a == other.a,
                OperandRole::B => self.b == other.b,
                OperandRole::D => self.d == other.d,
                OperandRole::X => self.x == other.x,
                OperandRole::Y | OperandRole::Target => self.y == other.y,
            })
    }
}

impl Eq for Instruction {}

/// The text form, for example `add_imm_64 a0, a1, -8`.
impl core::fmt::Display for Instruction {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.op.name())?;
        for (n, role) in self.op.shape().operands().iter().enumerate() {
            f.write_str(if n == 0 { " " } else { ", " })?;
            match role {
                OperandRole::A => write!(f, "{}", self.a)?,
                OperandRole::B => write!(f, "{}", self.b)?,
                OperandRole::D => write!(f, "{}", self.d)?,
                OperandRole::X => write_imm(f, self.x)?,
                OperandRole::Y => write_imm(f, self.y)?,
                // A target before the start of the code prints as a negative number.
                OperandRole::Target if (self.y as i64) < 0 => write!(f, "@{}", self.y as i64)?,
                OperandRole::Target => write!(f, "@{}", self.y)?,
            }
        }
        Ok(())
    }
}

impl core::fmt::Debug for Instruction {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{self}")
    }
}

/// Small numbers in decimal, the rest in hexadecimal, negative ones with a sign.
fn write_imm(f: &mut core::fmt::Formatter<'_>, v: u64) -> core::fmt::Result {
    match v as i64 {
        small @ -4096..=4096 => write!(f, "{small}"),
        negative if negative < 0 => write!(f, "-{:#x}", negative.unsigned_abs()),
        _ => write!(f, "{v:#x}"),
    }
}
