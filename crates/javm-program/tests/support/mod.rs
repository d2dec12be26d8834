//! What the tests share: random numbers, random programs, and a mutator of bytes.
//!
//! Everything follows from a seed, so a failing case is the same one next time.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeSet;

use javm_isa::{Instruction as Canonical, Op, Reg, Shape};
use polkavm_common::{
    program::{ISA_JamV1, Instruction, InstructionSet, InstructionSetKind},
    writer::ProgramBlobBuilder,
};

/// SplitMix64.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(crate) fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    pub(crate) fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next() as u8).collect()
    }

    /// A number whose number of bytes is random.
    pub(crate) fn imm(&mut self) -> u64 {
        let bits = self.below(33) as u32;
        let value = if bits == 0 { 0 } else { (self.next() as u32) >> (32 - bits) };
        value as i32 as u64
    }

    pub(crate) fn reg(&mut self) -> Reg {
        *self.pick(&Reg::ALL)
    }
}

/// Instructions whose targets are numbers of basic blocks, the last of them `trap`.
pub(crate) fn instructions(rng: &mut Rng, count: usize, without: &[Op]) -> Vec<Canonical> {
    let ops: Vec<Op> = Op::ALL.iter().copied().filter(|op| !without.contains(op)).collect();
    let mut list: Vec<Canonical> = (1..count)
        .map(|_| Canonical {
            op: *rng.pick(&ops),
            a: rng.reg(),
            b: rng.reg(),
            d: rng.reg(),
            x: rng.imm(),
            y: rng.imm(),
        })
        .collect();
    list.push(Canonical::new(Op::Trap));
    for i in &mut list {
        if i.op.shape() == Shape::dst_imm64 {
            i.x = rng.next();
        }
    }
    let blocks = list.iter().filter(|i| i.op.is_terminator()).count();
    for i in &mut list {
        if i.op.shape().has_target() {
            i.y = rng.below(blocks) as u64;
        }
    }
    list
}

/// The same instruction as PolkaVM has it; its target is the number that `i` has.
pub(crate) fn polkavm(i: &Canonical) -> Instruction {
    let encoded = i.encode(0);
    let bytes = encoded.as_slice();
    let mut chunk = [0; 16];
    chunk[..bytes.len()].copy_from_slice(bytes);
    clean(ISA_JamV1.parse_instruction(bytes[0].into(), u128::from_le_bytes(chunk), 0, bytes.len() as u32))
}

/// Rids registers of what stood beside them: PolkaVM's writer would write it again where it does not belong.
fn clean(i: Instruction) -> Instruction {
    macro_rules! clean {
        ($($name:ident)*) => {
            match i {
                $(Instruction::$name(reg, x, y) => Instruction::$name(reg.get().into(), x, y),)*
                other => other,
            }
        };
    }
    clean!(
        load_imm_and_jump
        branch_eq_imm
        branch_not_eq_imm
        branch_less_unsigned_imm
        branch_less_signed_imm
        branch_greater_or_equal_unsigned_imm
        branch_greater_or_equal_signed_imm
        branch_less_or_equal_signed_imm
        branch_less_or_equal_unsigned_imm
        branch_greater_signed_imm
        branch_greater_unsigned_imm
        store_imm_indirect_u8
        store_imm_indirect_u16
        store_imm_indirect_u32
        store_imm_indirect_u64
    )
}

/// A number below 2^21 in the form of JAM and PolkaVM.
pub(crate) fn natural(n: u32) -> Vec<u8> {
    match n {
        0..0x80 => vec![n as u8],
        0x80..0x4000 => vec![0x80 | (n >> 8) as u8, n as u8],
        _ => vec![0xC0 | (n >> 16) as u8, n as u8, (n >> 8) as u8],
    }
}

/// A container of `list`, the rest of it random: the same for the same `seed`, whatever the set.
pub(crate) fn container(isa: InstructionSetKind, list: &[Canonical], seed: u64) -> Vec<u8> {
    let mut rng = Rng(seed);
    let rng = &mut rng;
    let mut builder = ProgramBlobBuilder::new(isa);
    let blocks = list.iter().filter(|i| i.op.is_terminator()).count();
    let table: Vec<u32> = (0..rng.below(6)).map(|_| rng.below(blocks) as u32).collect();
    builder.set_code(&list.iter().map(polkavm).collect::<Vec<_>>(), &table);
    let (ro, rw) = (rng.below(40), rng.below(40));
    builder.set_ro_data_size(ro as u32 + *rng.pick(&[0, 1, 5000]));
    builder.set_rw_data_size(rw as u32 + *rng.pick(&[0, 1, 100_000]));
    builder.set_stack_size(*rng.pick(&[0, 1, 4096, 70_000]));
    builder.set_ro_data(rng.bytes(ro));
    builder.set_rw_data(rng.bytes(rw));
    for name in [&b"first"[..], b"second@9", b"", b"x"].iter().take(rng.below(5)) {
        builder.add_export_by_basic_block(rng.below(blocks) as u32, name);
    }
    for name in [&b"read"[..], b"write", b"", b"exit"].iter().take(rng.below(5)) {
        builder.add_import(name);
    }
    if !rng.chance(3) {
        let (strings, programs, ranges) = debug_sections(rng, 40 + list.len() as u32);
        builder.add_custom_section(128, strings);
        builder.add_custom_section(129, programs);
        builder.add_custom_section(130, ranges);
    }
    builder.into_vec().unwrap()
}

/// Random debug sections for code of about `len` bytes.
pub(crate) fn debug_sections(rng: &mut Rng, len: u32) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let mut strings = vec![0];
    let mut offsets = vec![0];
    for text in ["demo", "run", "src/lib.rs", "inner", "a longer name"] {
        offsets.push(strings.len() as u8);
        strings.push(text.len() as u8);
        strings.extend(text.as_bytes());
    }
    let (mut programs, mut ranges) = (vec![1], Vec::new());
    let mut begin = 0;
    while begin < len {
        let end = begin + 1 + rng.below(60) as u32;
        for n in [begin, end, programs.len() as u32] {
            ranges.extend(n.to_le_bytes());
        }
        for _ in 0..rng.below(12) {
            match rng.below(20) as u8 {
                0 => {}
                op @ 5..=7 => programs.extend([op, *rng.pick(&offsets)]),
                op @ (1 | 10) => programs.extend([op, rng.below(18) as u8]),
                op @ (8 | 9 | 12 | 13 | 15 | 17 | 19) => programs.extend([op, rng.below(100) as u8]),
                op => programs.push(op),
            }
        }
        programs.push(0);
        begin = end + rng.below(4) as u32;
    }
    (strings, programs, ranges)
}

/// A container of random instructions for a set.
pub(crate) fn random_container(isa: InstructionSetKind, seed: u64) -> Vec<u8> {
    let mut rng = Rng(seed);
    let mut without = vec![Op::Ecall];
    if isa == InstructionSetKind::ReviveV1 {
        without.push(Op::Unlikely);
    }
    let count = 3 + rng.below(30);
    let list = instructions(&mut rng, count, &without);
    container(isa, &list, seed)
}

/// Makes the length of a container say what it is, as a careful attacker would.
pub(crate) fn fix_container(bytes: &mut [u8]) {
    let len = (bytes.len() as u64).to_le_bytes();
    if let Some(field) = bytes.get_mut(5..13) {
        field.copy_from_slice(&len);
    }
}

/// A service program around a bare blob.
pub(crate) fn service(
    meta: Option<&[u8]>,
    ro: &[u8],
    rw: &[u8],
    pages: u16,
    stack: u32,
    blob: &[u8],
) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(meta) = meta {
        out.extend(natural(meta.len() as u32));
        out.extend(meta);
    }
    let e3 = |n: u32| n.to_le_bytes()[..3].to_vec();
    out.extend(e3(ro.len() as u32));
    out.extend(e3(rw.len() as u32));
    out.extend(pages.to_le_bytes());
    out.extend(e3(stack));
    out.extend(ro);
    out.extend(rw);
    out.extend((blob.len() as u32).to_le_bytes());
    out.extend(blob);
    out
}

/// An entry of a capability manifest.
pub(crate) struct ManifestEntry {
    pub(crate) slot: u8,
    pub(crate) data: bool,
    pub(crate) base_page: u32,
    pub(crate) page_count: u32,
    pub(crate) writable: bool,
    pub(crate) start: u32,
    pub(crate) len: u32,
}

/// A capability manifest.
pub(crate) fn manifest(pages: u32, invoke: u8, entries: &[ManifestEntry], data: &[u8]) -> Vec<u8> {
    let mut out = b"JAR\x02".to_vec();
    out.extend(pages.to_le_bytes());
    out.push(entries.len() as u8);
    out.push(invoke);
    for e in entries {
        out.extend([e.slot, u8::from(e.data)]);
        out.extend(e.base_page.to_le_bytes());
        out.extend(e.page_count.to_le_bytes());
        out.push(u8::from(e.writable));
        out.extend(e.start.to_le_bytes());
        out.extend(e.len.to_le_bytes());
    }
    out.extend(data);
    out
}

/// The code blob of a manifest around the bytes of a program; the jump table is empty.
pub(crate) fn manifest_code(code: &[u8], bitmask: &[u8]) -> Vec<u8> {
    let mut out = vec![0, 0, 0, 0, 1];
    out.extend((code.len() as u32).to_le_bytes());
    out.extend(code);
    out.extend(bitmask);
    out
}

/// Numbers that readers trip over.
const INTERESTING: [u64; 14] = [
    0,
    1,
    2,
    0x7F,
    0x80,
    0xFF,
    0x3FFF,
    0x4000,
    0xFFFF,
    0xFF_FFFF,
    0x7FFF_FFFF,
    0xFFFF_FFFF,
    0x1_0000_0000,
    u64::MAX,
];

/// Changes bytes in one to four places, now and then in many: a bit, a byte, a number, or a stretch taken out, doubled, or taken
/// from another seed.
pub(crate) fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>, other: &[u8]) {
    let places = 1 + rng.below(8) / 5 + rng.below(8) / 7 * 2 + rng.below(16) / 15 * rng.below(20);
    for _ in 0..places {
        if bytes.is_empty() {
            bytes.push(rng.next() as u8);
        }
        let at = rng.below(bytes.len());
        let stretch = 1 + rng.below(8);
        match rng.below(16) {
            0..=4 => bytes[at] ^= 1 << rng.below(8),
            5..=8 => bytes[at] = rng.next() as u8,
            9 => bytes[at] = *rng.pick(&INTERESTING) as u8,
            10 => {
                let width = *rng.pick(&[2, 3, 4, 8]);
                let value = rng.pick(&INTERESTING).to_le_bytes();
                for (to, from) in bytes[at..].iter_mut().zip(&value[..width]) {
                    *to = *from;
                }
            }
            11 => bytes[at] = bytes[at].wrapping_add(1),
            12 => {
                bytes.drain(at..(at + stretch).min(bytes.len()));
            }
            13 => {
                let copy = bytes[at..(at + stretch).min(bytes.len())].to_vec();
                bytes.splice(at..at, copy);
            }
            14 if !other.is_empty() => {
                let from = rng.below(other.len());
                for (to, from) in bytes[at..].iter_mut().zip(&other[from..(from + stretch).min(other.len())])
                {
                    *to = *from;
                }
            }
            15 if rng.chance(4) => bytes.truncate(at),
            _ => bytes.insert(at, rng.next() as u8),
        }
    }
}

/// What a campaign of hostile inputs met.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) inputs: usize,
    /// Got past the header: magic numbers, lengths, structure.
    pub(crate) past_header: usize,
    pub(crate) accepted: usize,
    /// Distinct kinds of errors, by their text without digits.
    pub(crate) errors: BTreeSet<String>,
}
