//! Items to bytes: how long code offsets are, where labels lie, what `&label` is.
//!
//! A code offset takes as few bytes as its distance allows, and the distance depends on how many bytes those
//! in between take. All start with the least; passes over the code lengthen those that turn out too short
//! until none is. A text without labels among its targets needs one pass, because an instruction then depends
//! only on those before it: so what the disassembler writes comes back byte for byte. A text made to need
//! many passes gets offsets of 4 bytes instead after [`PASSES`].

use alloc::{borrow::ToOwned, collections::BTreeMap, vec, vec::Vec};

use super::{
    AsmErrorKind, Assembled, Error, Place,
    parse::{Parsed, Reference, Target, What},
};
use crate::{
    code::{JUMP_ALIGNMENT, MAX_CODE_LEN},
    shape::{imm_len, sx, write_with},
};

/// Passes in which offsets are lengthened one by one.
const PASSES: usize = 16;

/// An offset of this many bytes reaches everything.
const LONGEST: u8 = 4;

pub(super) fn lay_out(mut parsed: Parsed<'_>) -> Result<Assembled, Error> {
    resolve_addresses(&mut parsed)?;
    let mut layout = Layout {
        lengths: vec![0; parsed.items.len()],
        offsets: vec![0; parsed.items.len() + 1],
        parsed: &parsed,
    };
    layout.pass(Lengthen::No)?;
    for _ in 0..PASSES {
        if !layout.pass(Lengthen::AsNeeded)? {
            return layout.emit();
        }
    }
    layout.pass(Lengthen::Labels)?;
    layout.emit()
}

/// Replaces each `&label` by the address of a jump-table entry.
fn resolve_addresses<'a>(parsed: &mut Parsed<'a>) -> Result<(), Error> {
    let mut entries = BTreeMap::new();
    for (n, (_, target)) in parsed.jump_table.iter().enumerate() {
        if let Target::Label(label) = target {
            entries.entry(*label).or_insert(n);
        }
    }
    let mut address = |reference: Reference<'a>| {
        let n = *entries.entry(reference.label).or_insert_with(|| {
            parsed.jump_table.push((reference.place, Target::Label(reference.label)));
            parsed.jump_table.len() - 1
        });
        let address = (n as u64 + 1) * JUMP_ALIGNMENT;
        if sx(address, 4) == address {
            Ok(address)
        } else {
            Err((reference.place, AsmErrorKind::ImmediateTooLarge))
        }
    };
    for item in &mut parsed.items {
        if let What::Instruction { instruction, x, y, .. } = &mut item.what {
            if let Some(reference) = x {
                instruction.x = address(*reference)?;
            }
            if let Some(reference) = y {
                instruction.y = address(*reference)?;
            }
        }
    }
    Ok(())
}

/// What a pass does to the length of code offsets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lengthen {
    /// Gives those to labels the least, the others what they need.
    No,
    /// Lengthens those that are too short.
    AsNeeded,
    /// Gives those to labels the most, the others what they need.
    Labels,
}

struct Layout<'a> {
    parsed: &'a Parsed<'a>,
    /// Bytes of each item's code offset.
    lengths: Vec<u8>,
    /// Code offset of each item, and of the end.
    offsets: Vec<u32>,
}

impl Layout<'_> {
    /// Goes once through the code; whether a length changed.
    fn pass(&mut self, lengthen: Lengthen) -> Result<bool, Error> {
        let mut changed = false;
        let mut at = 0;
        for (n, item) in self.parsed.items.iter().enumerate() {
            let before = core::mem::replace(&mut self.offsets[n], at as u32);
            if let What::Instruction { target: Some((place, target)), .. } = &item.what {
                // Labels ahead are still where the last pass had them: so is the start of their distance.
                let from = match target {
                    Target::Label(label) if self.parsed.labels.get(label) > Some(&n) => before,
                    _ => at as u32,
                };
                let needed = imm_len(self.target(*place, *target)?.wrapping_sub(u64::from(from))) as u8;
                let length = match (lengthen, target) {
                    (Lengthen::No, Target::Label(_)) => 0,
                    (Lengthen::Labels, Target::Label(_)) => LONGEST,
                    (Lengthen::No | Lengthen::Labels, Target::Offset(_)) => needed,
                    (Lengthen::AsNeeded, _) => needed.max(self.lengths[n]),
                };
                changed |= length != self.lengths[n];
                self.lengths[n] = length;
            }
            at += self.with_bytes(n, <[u8]>::len)?;
            if at > MAX_CODE_LEN {
                return Err((item.place, AsmErrorKind::CodeTooLong));
            }
        }
        if let Some(end) = self.offsets.last_mut() {
            *end = at as u32;
        }
        Ok(changed)
    }

    /// A code offset as a number.
    fn target(&self, place: Place, target: Target<'_>) -> Result<u64, Error> {
        match target {
            Target::Offset(offset) => Ok(offset),
            Target::Label(label) => {
                let item = self.parsed.labels.get(label).ok_or((place, AsmErrorKind::UnknownLabel))?;
                Ok(u64::from(self.offsets[*item]))
            }
        }
    }

    /// Calls `f` with the bytes of an item, as the layout is now.
    fn with_bytes<T>(&self, n: usize, f: impl FnOnce(&[u8]) -> T) -> Result<T, Error> {
        match &self.parsed.items[n].what {
            What::Bytes(bytes) => Ok(f(bytes)),
            What::Instruction { instruction, target, .. } => {
                let mut instruction = *instruction;
                if let Some((place, target)) = target {
                    instruction.y = self.target(*place, *target)?;
                }
                let length = usize::from(self.lengths[n]);
                Ok(f(write_with(&instruction, self.offsets[n], Some(length)).as_slice()))
            }
        }
    }

    fn emit(&self) -> Result<Assembled, Error> {
        let len = self.offsets.last().map_or(0, |end| *end as usize);
        let mut code = Vec::with_capacity(len);
        let mut packed_bitmask = vec![0; len.div_ceil(8)];
        for (n, item) in self.parsed.items.iter().enumerate() {
            let at = code.len();
            if let What::Instruction { target: Some((place, target)), .. } = &item.what {
                let offset = self.target(*place, *target)?.wrapping_sub(at as u64);
                if sx(offset, u32::from(LONGEST)) != offset {
                    return Err((*place, AsmErrorKind::TargetTooFar));
                }
            }
            packed_bitmask[at / 8] |= 1 << (at % 8);
            self.with_bytes(n, |bytes| code.extend_from_slice(bytes))?;
        }
        let offset = |(place, target): (Place, Target<'_>)| {
            u32::try_from(self.target(place, target)?).map_err(|_| (place, AsmErrorKind::OffsetTooLarge))
        };
        let labels = self.parsed.labels.iter();
        let exports = self.parsed.exports.iter();
        Ok(Assembled {
            code,
            packed_bitmask,
            jump_table: self
                .parsed
                .jump_table
                .iter()
                .map(|entry| offset(*entry))
                .collect::<Result<_, _>>()?,
            labels: labels.map(|(name, item)| ((*name).to_owned(), self.offsets[*item])).collect(),
            exports: exports
                .map(|(name, place, target)| Ok(((*name).to_owned(), offset((*place, *target))?)))
                .collect::<Result<_, Error>>()?,
        })
    }
}
