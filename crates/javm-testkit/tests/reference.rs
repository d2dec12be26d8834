//! `docs/instructions.md` is what the instruction table and the cost table say.
//!
//! The page is made from `Op::ALL` and from `javm_gas::table`, so that it cannot fall behind them;
//! `JAVM_BLESS=1` rewrites it. What is written by hand here is how operands lie in bytes, which no table has;
//! an example that the encoder makes stands next to each.

use std::fmt::Write;

use javm_gas::table::{self, Row, Slots, Units};
use javm_isa::{CostClass, Flow, Instruction, Op, Reg, Shape, shape::OperandRole};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/instructions.md");

/// Code offset at which the examples are encoded.
const EXAMPLE_PC: u32 = 100;

const HEAD: &str = "\
# Instructions

This page is generated from the instruction table (`crates/javm-isa/src/table.rs`) and the cost table
(`crates/javm-gas/src/table.rs`). Do not edit it: `JAVM_BLESS=1 cargo test -p javm-testkit --test reference`
rewrites it. How blocks are priced and charged is described in [gas.md](gas.md), how programs are packed into
files in [formats.md](formats.md).

## How to read the tables

* **Canonical** is the opcode that the engine runs: the Gray Paper 0.8 numbering, which is also that of
  PolkaVM's `JamV1`, and `ecall` = 3. **0.7** is the opcode in the Gray Paper 0.7 numbering, which is also that of
  PolkaVM's `ReviveV1`; programs that use it are rewritten when they are loaded. Opcodes are decimal. A dash
  means that the numbering has no such instruction. Opcode 101 of 0.7 is `sbrk`: a program that uses it is
  refused.
* An opcode that is in no row is invalid, and a program that contains one is refused as a whole.
* There are 13 registers of 64 bits: ra, sp, t0, t1, t2, s0, s1, a0, a1, a2, a3, a4, a5, numbered 0 to 12. In
  operands and effects, A, B and D are registers, X and Y immediates, and `target` is a code offset. `m[a]` is the
  memory at address a, taken modulo 2^32, little endian; no alignment is required.
* \"32 bits\" means that the operation is done on the low 32 bits of its operands and that the result is
  sign-extended to 64 bits. All other arithmetic is modulo 2^64.
* Shifts and rotations take their distance modulo 32 or 64, the width of the operation. Comparisons that
  set a register give 1 or 0.
* Division by zero gives 2^64 − 1, the remainder of a division by zero is the dividend (sign-extended if the
  operation has 32 bits). The smallest signed number divided by −1 gives itself, with remainder 0.
* **Ends a block**: the instruction is the last one of its basic block. The instruction behind it starts a
  block, and jumps can only go to instructions that start a block. `ecall` and `ecalli` end no block.
";

const SHAPES: &str = "
## Operands in bytes

The bytes of an instruction are its opcode, then its operands in one of the layouts below. `[A B]` is one byte with A
in its low and B in its high 4 bits, `–` are bits that mean nothing, and `lX` is the length of X in bytes, in the low 3
of its 4 bits. `X:8` has 8 bytes; the last other immediate or target has the bytes that are left, at most 4. What is left
counts up to the next set bit of the bitmask, which is at most 25 bytes behind the opcode's own. Immediates and targets
are little endian and sign-extended, and no bytes are a 0. A target is encoded as its distance from the opcode.

A register number above 12 means 12; of the byte `D`, which is a whole byte, too. A length above 4 means 4. Bytes that
no operand takes are ignored; operand bytes behind the end of the code read as 0.

| operands | bytes | example | encoded at offset 100 |
| --- | --- | --- | --- |
";

const COSTS: &str = "\
**Latency**, **slots** and **units** are the instruction's row in the pipeline cost model. They are no costs by
themselves: they are what the model simulates a block with. Latency counts cycles of execution. Slots are the part
of the four decode slots of a cycle that the instruction takes; `1 or 2` means that one more is taken when the
destination is not one of the sources, `2 or 3 (A)` that one more is taken when the destination is not A. Units
are those that it holds until it is done. In the per-instruction model each instruction counts 1.
";

fn operand(role: OperandRole) -> &'static str {
    match role {
        OperandRole::A => "A",
        OperandRole::B => "B",
        OperandRole::D => "D",
        OperandRole::X => "X",
        OperandRole::Y => "Y",
        OperandRole::Target => "target",
    }
}

fn operands(shape: Shape) -> String {
    shape.operands().iter().map(|role| operand(*role)).collect::<Vec<_>>().join(", ")
}

/// How the operands lie in the bytes behind the opcode, in the notation that [`SHAPES`] explains.
fn layout(shape: Shape) -> &'static str {
    match shape {
        Shape::none => "",
        Shape::imm => "X",
        Shape::dst_imm64 => "[A –] X:8",
        Shape::imm_imm => "[lX –] X Y",
        Shape::offset => "target",
        Shape::dst_imm | Shape::src_imm => "[A –] X",
        Shape::src_imm_imm => "[A lX] X Y",
        Shape::dst_imm_offset | Shape::src_imm_offset => "[A lX] X target",
        Shape::dst_src => "[D A]",
        Shape::dst_src_imm | Shape::src_src_imm => "[A B] X",
        Shape::src_src_offset => "[A B] target",
        Shape::dst_src_imm_imm => "[A B] [lX –] X Y",
        Shape::dst_src_src => "[A B] D",
    }
}

/// An instruction with operands that can be told apart in its bytes.
fn example(op: Op) -> Instruction {
    let target = u64::from(EXAMPLE_PC) + 6;
    let y = if op.shape().has_target() { target } else { 0x55 };
    Instruction { op, a: Reg::A0, b: Reg::A1, d: Reg::A2, x: 0x1234, y }
}

fn push_shapes(page: &mut String) {
    page.push_str(SHAPES);
    let mut seen = Vec::new();
    for op in Op::ALL {
        let (operands, layout) = (operands(op.shape()), layout(op.shape()));
        if seen.contains(&layout) {
            continue;
        }
        let instruction = example(*op);
        let bytes = instruction.encode(EXAMPLE_PC);
        let bytes: Vec<_> = bytes.as_slice().iter().map(|byte| format!("{byte:02x}")).collect();
        let layout_text = if layout.is_empty() { String::new() } else { format!("`{layout}`") };
        let row = format!("| {operands} | {layout_text} | `{instruction}` | `{}` |", bytes.join(" "));
        writeln!(page, "{row}").unwrap();
        seen.push(layout);
    }
}

fn units(units: Units) -> String {
    let Units { alu, load, store, mul, div } = units;
    let kinds = [(alu, "ALU"), (load, "load"), (store, "store"), (mul, "multiply"), (div, "divide")];
    let held = kinds.into_iter().filter(|(count, _)| *count > 0).map(|(count, name)| match count {
        1 => name.to_owned(),
        _ => format!("{count} {name}"),
    });
    held.collect::<Vec<_>>().join(", ")
}

fn slots(slots: Slots) -> String {
    match slots {
        Slots::Fixed(n) => n.to_string(),
        Slots::AnySource(n) => format!("{n} or {}", n + 1),
        Slots::FirstSource(n) => format!("{n} or {} (A)", n + 1),
    }
}

fn latency(class: CostClass, row: Row) -> String {
    match class {
        CostClass::Branch => format!("{} or {}", table::PREDICTED_BRANCH_LATENCY, row.latency),
        _ => row.latency.to_string(),
    }
}

type Belongs = fn(Op) -> bool;

/// The headings, and which instructions stand under each: the first that fits.
const GROUPS: [(&str, Belongs); 6] = [
    ("Control flow", |op| op.is_terminator() || op == Op::Unlikely),
    ("Host calls", |op| op.flow() == Flow::Host),
    ("Memory", |op| matches!(op.flow(), Flow::Load | Flow::Store)),
    ("Constants and moves", |op| {
        matches!(op, Op::LoadImm | Op::LoadImm64 | Op::MoveReg)
            || matches!(op.cost_class(), CostClass::Cmov | CostClass::CmovImm)
    }),
    ("With an immediate", |op| op.shape() == Shape::dst_src_imm),
    ("With registers alone", |_| true),
];

fn push_group(page: &mut String, heading: &str, ops: &[Op]) {
    writeln!(
        page,
        "\n### {heading}\n\n\
         | canonical | 0.7 | name | operands | effect | ends a block | latency | slots | units |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    )
    .unwrap();
    for op in ops {
        let row = table::row(op.cost_class());
        writeln!(
            page,
            "| {} | {} | `{op}` | {} | {} | {} | {} | {} | {} |",
            op.opcode(),
            op.opcode_07().map_or("–".to_owned(), |opcode| opcode.to_string()),
            operands(op.shape()),
            op.effect(),
            if op.is_terminator() { "yes" } else { "" },
            latency(op.cost_class(), row),
            slots(row.slots),
            units(row.units),
        )
        .unwrap();
    }
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    push_shapes(&mut page);
    page.push_str("\n## The instructions\n\n");
    page.push_str(COSTS);
    let mut left = Op::ALL.to_vec();
    for (heading, belongs) in GROUPS {
        let (here, others) = left.into_iter().partition::<Vec<_>, _>(|op| belongs(*op));
        push_group(&mut page, heading, &here);
        left = others;
    }
    assert!(left.is_empty(), "in no group: {left:?}");
    page
}

#[test]
fn the_reference_page_is_what_the_tables_say() {
    let found = page();
    if std::env::var_os("JAVM_BLESS").is_some_and(|v| v == "1") {
        std::fs::write(PAGE, found).unwrap();
        return;
    }
    let wanted =
        std::fs::read_to_string(PAGE).unwrap_or_else(|e| panic!("{PAGE}: {e}; JAVM_BLESS=1 writes it"));
    let difference = wanted.lines().zip(found.lines()).position(|(a, b)| a != b);
    let at = difference.unwrap_or(wanted.lines().count().min(found.lines().count()));
    assert!(
        wanted == found,
        "docs/instructions.md differs from line {} on; JAVM_BLESS=1 rewrites it",
        at + 1
    );
}

#[test]
fn examples_decode_to_themselves() {
    for op in Op::ALL {
        let instruction = example(*op);
        let bytes = instruction.encode(EXAMPLE_PC);
        let mut window = [0; 16];
        window[..bytes.as_slice().len()].copy_from_slice(bytes.as_slice());
        let read = javm_isa::shape::read(*op, &window, bytes.as_slice().len() - 1, EXAMPLE_PC);
        assert_eq!(read.to_string(), instruction.to_string());
    }
}
