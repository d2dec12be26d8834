//! How long pricing takes: `cargo run --release -p javm-gas --example price [KiB of code] [mix]`.
//!
//! The mixes: `compiled` has the operations in about the proportions of compiled code, in blocks of five
//! or so; `uniform` has all of them equally often; `straight` is one block of memory accesses; `blocks` is
//! terminators only.

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::Instant;

use common::{Program, Rng, instruction};
use javm_gas::{BlockCosts, GasModel, block_cost};
use javm_isa::{Code, Op};

/// Operations of compiled code, each with its weight.
const COMPILED: &[(Op, usize)] = &[
    (Op::LoadIndU64, 14),
    (Op::LoadIndU8, 3),
    (Op::LoadIndI32, 3),
    (Op::StoreIndU64, 13),
    (Op::StoreIndU8, 2),
    (Op::AddImm64, 14),
    (Op::MoveReg, 7),
    (Op::LoadImm, 7),
    (Op::Add64, 6),
    (Op::ShloLImm64, 3),
    (Op::ShloRImm64, 2),
    (Op::AndImm, 2),
    (Op::Xor, 2),
    (Op::Or, 2),
    (Op::Sub64, 1),
    (Op::Add32, 1),
    (Op::SetLtU, 1),
    (Op::CmovNz, 1),
    (Op::Mul64, 1),
    (Op::BranchEqImm, 4),
    (Op::BranchNeImm, 3),
    (Op::BranchLtU, 2),
    (Op::BranchGeU, 2),
    (Op::Jump, 3),
    (Op::LoadImmJump, 3),
    (Op::Fallthrough, 3),
    (Op::JumpInd, 1),
    (Op::Trap, 1),
];

fn code(mix: &str, bytes: usize) -> Code {
    let of = |ops: &[Op]| ops.iter().map(|op| (*op, 1)).collect::<Vec<_>>();
    let weights = match mix {
        "uniform" => of(Op::ALL),
        "straight" => of(&[Op::LoadIndU64, Op::StoreIndU64]),
        "blocks" => of(&[Op::Fallthrough, Op::Jump]),
        _ => COMPILED.to_vec(),
    };
    let choices: Vec<Op> = weights.iter().flat_map(|(op, n)| std::iter::repeat_n(*op, *n)).collect();
    let mut rng = Rng(7);
    let mut program = Program::default();
    while program.bytes.len() < bytes {
        let op = *rng.one_of(&choices);
        let i = instruction(&mut rng, op, 13, program.bytes.len());
        program.push(&i);
    }
    program.code()
}

fn main() {
    let mut args = std::env::args().skip(1);
    let kib: usize = args.next().map_or(1024, |arg| arg.parse().expect("the size is a number of KiB"));
    let mix = args.next().unwrap_or_else(|| "compiled".to_owned());
    let code = code(&mix, kib << 10);
    let instructions = code.instructions(0).count();
    println!("{mix}: {} bytes, {instructions} instructions, {} blocks", code.len(), code.block_count());
    let report = |what: &str, run: &dyn Fn() -> u64| {
        let mut best = f64::INFINITY;
        for _ in 0..20 {
            let start = Instant::now();
            std::hint::black_box(run());
            best = best.min(start.elapsed().as_secs_f64());
        }
        println!(
            "{what:32} {:7.2} ns per instruction {:8.2} ms per MB",
            best * 1e9 / instructions as f64,
            best * 1e3 * 1e6 / f64::from(code.len())
        );
    };
    report("decoding alone", &|| code.instructions(0).map(|(_, i)| u64::from(i.a as u8)).sum());
    for model in GasModel::ALL {
        report(&format!("BlockCosts, {model}"), &|| {
            BlockCosts::new(&code, model).iter().map(|(_, cost)| u64::from(cost)).sum()
        });
        report(&format!("block_cost, {model}"), &|| {
            code.block_starts().map(|start| u64::from(block_cost(&code, model, start))).sum()
        });
    }
}
