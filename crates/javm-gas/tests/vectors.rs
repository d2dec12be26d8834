//! Conformance vectors and worked examples: the numbers themselves, not only agreement with the oracle.
//!
//! The vectors live beside the repository, in `../shared/vectors`; without them that test says so and the
//! examples remain.

use std::path::Path;

use javm_gas::{BlockCosts, GasModel, block_cost, table};
use javm_isa::{Code, Flow, Instruction, Numbering, Op, Reg};

/// Splits a raw blob: natural number of jump-table entries, bytes per entry, natural number of code bytes,
/// jump table, code, bitmask.
fn deblob(blob: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut at = 0;
    let mut natural = || {
        let first = blob[at];
        let extra = first.leading_ones() as usize;
        let low = (0..extra).map(|n| u64::from(blob[at + 1 + n]) << (8 * n)).sum::<u64>();
        at += 1 + extra;
        let high = if extra < 7 { u64::from(first & (0x7F >> extra)) << (8 * extra) } else { 0 };
        (high + low) as usize
    };
    let entries = natural();
    let width = natural();
    let len = natural();
    let code = at + entries * width;
    (blob[code..code + len].to_vec(), blob[code + len..].to_vec())
}

#[test]
fn every_block_of_the_vectors() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    if !vectors.exists() {
        eprintln!("no conformance vectors beside the repository: nothing compared");
        return;
    }
    let mut blocks = 0;
    for file in ["pvm-0.8", "pvm-0.8-edge", "pvm-0.8-gas-fuzz", "pvm-0.8-isa-fuzz"] {
        let text = std::fs::read_to_string(vectors.join(format!("{file}.jsonl"))).unwrap();
        for line in text.lines() {
            let vector: serde_json::Value = serde_json::from_str(line).unwrap();
            let name = &vector["name"];
            let blob: Vec<u8> = serde_json::from_value(vector["program"].clone()).unwrap();
            let (mut code, mask) = deblob(&blob);
            Numbering::V08.rewrite(&mut code, &mask).unwrap();
            let Ok(code) = Code::new(&code, &mask, &[]) else {
                assert_eq!(vector["block-gas-costs"], serde_json::json!([]), "{name}");
                continue;
            };
            let ours: Vec<_> = BlockCosts::new(&code, GasModel::Pipeline)
                .iter()
                .map(|(pc, cost)| serde_json::json!({ "pc": pc, "cost": cost }))
                .collect();
            assert_eq!(serde_json::Value::from(ours.clone()), vector["block-gas-costs"], "{file} {name}");
            blocks += ours.len();
        }
    }
    assert!(blocks > 2_000, "{blocks} blocks compared");
}

fn code(instructions: &[Instruction]) -> Code {
    let mut bytes = Vec::new();
    let mut starts = Vec::new();
    for i in instructions {
        starts.push(bytes.len());
        bytes.extend_from_slice(i.encode(bytes.len() as u32).as_slice());
    }
    let mut mask = vec![0; bytes.len().div_ceil(8)];
    starts.into_iter().for_each(|at| mask[at / 8] |= 1 << (at % 8));
    Code::new(&bytes, &mask, &[]).unwrap()
}

fn cost(instructions: &[Instruction]) -> u32 {
    block_cost(&code(instructions), GasModel::Pipeline, 0)
}

/// `op` with registers a, b, d by index, x = 0 and y = 0.
fn i(op: Op, a: usize, b: usize, d: usize) -> Instruction {
    let reg = |n| Reg::from_index(n).unwrap();
    Instruction { a: reg(a), b: reg(b), d: reg(d), ..Instruction::new(op) }
}

#[test]
fn worked_examples() {
    let trap = Instruction::new(Op::Trap);
    let add = |d, a, b| i(Op::Add64, a, b, d);
    let load_imm_64 = |a| i(Op::LoadImm64, a, 0, 0);
    // The second addition overwrites a source: 2 + 1 + 1 slots, one cycle; they run side by side.
    assert_eq!(cost(&[add(7, 8, 9), add(8, 8, 9), trap]), 2);
    // Neither does: the trap is decoded a cycle later.
    assert_eq!(cost(&[add(7, 8, 9), add(8, 7, 9), trap]), 3);
    assert_eq!(cost(&[load_imm_64(7), load_imm_64(8), load_imm_64(9), load_imm_64(10), trap]), 4);
    // One multiplier, held for three cycles.
    assert_eq!(cost(&[i(Op::Mul64, 8, 9, 7), i(Op::Mul64, 11, 12, 10), trap]), 6);
    let moves: Vec<_> = (0..4).map(|n| i(Op::MoveReg, n, 0, n + 5)).chain([trap]).collect();
    assert_eq!(cost(&moves), 3);
    let ecalli = Instruction::new(Op::Ecalli);
    let load_imm = i(Op::LoadImm, 7, 0, 0);
    assert_eq!(cost(&[ecalli, load_imm, add(7, 8, 9), ecalli, i(Op::JumpInd, 0, 0, 0)]), 102);
    // Renaming: the second load waits for the addition, not for the first load.
    let load = |a, b| i(Op::LoadIndU64, a, b, 0);
    assert_eq!(cost(&[load(5, 1), add(5, 8, 9), load(5, 5), i(Op::JumpInd, 5, 0, 0)]), 48);
}

/// A conditional move does not wait for the value that it may leave as it is: the branch starts in cycle 4,
/// when both the maximum and the move are complete.
#[test]
fn conditional_moves_do_not_read_their_destination() {
    let block = [i(Op::Max, 0, 3, 1), i(Op::CmovNzImm, 1, 3, 0), i(Op::BranchEqImm, 1, 0, 0)];
    assert_eq!(cost(&[&block[..], &[Instruction::new(Op::Fallthrough)]].concat()), 23);
    let block = [i(Op::Max, 0, 3, 1), i(Op::CmovNz, 2, 3, 1), i(Op::BranchEqImm, 1, 0, 0)];
    assert_eq!(cost(&[&block[..], &[Instruction::new(Op::Fallthrough)]].concat()), 23);
}

/// The largest program, one block of the slowest kind: time stays linear, and cycles are counted without
/// overflow. Every byte is a division with the next bytes as its operands.
#[test]
fn the_longest_block() {
    let len = javm_isa::code::MAX_CODE_LEN;
    let code = Code::new(&vec![Op::DivU32.opcode(); len], &vec![0xFF; len / 8], &[]).unwrap();
    let costs = BlockCosts::new(&code, GasModel::Pipeline);
    assert_eq!(costs.iter().len(), 1);
    // One divider: each waits for the one before.
    assert_eq!(costs.cost(0), Some(60 * len as u32));
}

/// A block of one instruction costs its latency, if that is not less than 1.
#[test]
fn single_instructions_cost_their_latency() {
    for op in Op::ALL.iter().filter(|op| op.is_terminator()) {
        // The target is the instruction itself, the byte behind it is not cheap.
        let code = code(&[Instruction::new(*op), Instruction::new(Op::Fallthrough)]);
        let latency = u32::from(table::row(op.cost_class()).latency);
        assert_eq!(block_cost(&code, GasModel::Pipeline, 0), latency, "{op}");
    }
    assert_eq!(cost(&[Instruction::new(Op::Jump)]), 15);
    assert_eq!(cost(&[Instruction::new(Op::Trap)]), 2);
}

#[test]
fn branches_to_what_seldom_runs_are_cheap() {
    let branch = |target: u64| Instruction { y: target, ..i(Op::BranchEq, 0, 0, 0) };
    let [trap, unlikely, fallthrough] = [Op::Trap, Op::Unlikely, Op::Fallthrough].map(Instruction::new);
    assert_eq!(cost(&[branch(0), fallthrough]), 20);
    assert_eq!(cost(&[branch(0), trap]), 1);
    assert_eq!(cost(&[branch(0), unlikely]), 1);
    // Past the end and before the start of the code there are traps.
    assert_eq!(cost(&[branch(0)]), 1);
    assert_eq!(cost(&[branch(100), fallthrough]), 1);
    assert_eq!(cost(&[branch(u64::MAX), fallthrough]), 1);
    // Bytes count, whether or not an instruction starts there: byte 1 is an operand, 0 like `trap`.
    assert_eq!(cost(&[branch(1), fallthrough]), 1);
}

#[test]
fn per_instruction_counts_the_trap_past_the_end() {
    let add = i(Op::Add32, 7, 8, 9);
    let per_instruction = |code: &Code| block_cost(code, GasModel::PerInstruction, 0);
    assert_eq!(per_instruction(&code(&[add])), 2);
    assert_eq!(per_instruction(&code(&[add, Instruction::new(Op::Trap)])), 2);
    assert_eq!(per_instruction(&code(&[add, Instruction::new(Op::MoveReg), Instruction::new(Op::Jump)])), 3);
    let two = code(&[add, Instruction::new(Op::Fallthrough), add]);
    assert_eq!(BlockCosts::new(&two, GasModel::PerInstruction).iter().collect::<Vec<_>>(), [(0, 2), (4, 2)]);
}

/// The cost columns of the instruction reference: `JAVM_BLESS=1` rewrites the file, the diff is read.
#[test]
fn cost_table() {
    let mut text = String::from("# operation: latency, decode slots, units\n");
    for op in Op::ALL {
        let row = table::row(op.cost_class());
        let slots = match row.slots {
            table::Slots::Fixed(n) => format!("{n}"),
            table::Slots::AnySource(n) => format!("{n}, {} unless the destination is a source", n + 1),
            table::Slots::FirstSource(n) => {
                format!("{n}, {} unless the destination is the first source", n + 1)
            }
        };
        let latency = match op.flow() {
            Flow::Branch => format!("{} or {}", row.latency, table::PREDICTED_BRANCH_LATENCY),
            _ => row.latency.to_string(),
        };
        let units: String = [
            ("A", row.units.alu),
            ("L", row.units.load),
            ("S", row.units.store),
            ("M", row.units.mul),
            ("D", row.units.div),
        ]
        .into_iter()
        .map(|(name, n)| name.repeat(usize::from(n)))
        .collect();
        text += &format!("{op}: {latency}; {slots}; {}\n", if units.is_empty() { "-" } else { &units });
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/gas/table.txt");
    if std::env::var_os("JAVM_BLESS").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text, "JAVM_BLESS=1 rewrites {}", file.display());
}
