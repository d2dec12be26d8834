//! Random guest code on the microkernel: every backend comes to the same, in one run and step by step.
//!
//! Programs make VMs of themselves, hand out and map memory, call, fault and resume, with operands that often make
//! sense. `kernel_model.rs` says what is right; here code runs freely, changes its own mappings and is entered anew
//! wherever it stopped.
#![forbid(unsafe_code)]

use std::{collections::BTreeMap, fmt::Write as _};

use javm_exec::{Backend, Config, Engine};
use javm_invocation::{Cap, DispatchResult, Invocation, Prepared};
use javm_isa::asm::assemble;
use javm_program::{Access, Manifest, ManifestCap, manifest::to_code_blob};
use javm_testkit::Rng;

/// Programs that are tried.
const PROGRAMS: u64 = 1_500;
const GAS: u64 = 400_000;

/// Pages where data is mapped, or looked for.
const PAGES: [u64; 6] = [16, 17, 18, 0x100, 0x101, 0xF_FFFF];

/// A slot: few, so that programs meet what they made.
fn slot(rng: &mut Rng) -> u64 {
    *rng.one_of(&[0, 1, 30, 31, 32, 33, 34, 35, 40, 41, 64])
}

/// A reference, a third of them through a handle.
fn reference(rng: &mut Rng) -> u64 {
    let hop = if rng.one_in(3) { rng.between(30, 35) } else { 0 };
    slot(rng) | hop << 8
}

/// An `ecall` with these operands.
fn ecall(text: &mut String, op: u64, [a0, a1, a2, a3]: [u64; 4], [subject, object]: [u64; 2]) {
    for (name, value) in
        [("a0", a0), ("a1", a1), ("a2", a2), ("a3", a3), ("a4", op), ("a5", subject << 32 | object)]
    {
        // Writing to a string cannot fail.
        let _ = writeln!(text, " load_imm_64 {name}, {value:#x}");
    }
    *text += " ecall\n";
}

/// One kernel operation with operands of its kind.
fn operation(rng: &mut Rng, text: &mut String) {
    let page = *rng.one_of(&PAGES);
    let (op, [a0, a1, a2, a3], [subject, object]) = match rng.below(16) {
        0 | 1 => (0, [rng.below(3), 0, 0, 0], [254, reference(rng)]),
        2 => (0, [rng.bits() | 1 << 30, 0, 0, 0], [64, rng.between(30, 35)]),
        3..=5 => (0, [rng.below(9), rng.below(9), 0, 0], [rng.between(30, 35), slot(rng)]),
        6..=8 => (2, [page, 0, rng.between(1, 2), rng.below(2)], [reference(rng), 0]),
        9 => (3, [0, 1, 0, 0], [reference(rng), 0]),
        10 => (6, [0; 4], [reference(rng), reference(rng)]),
        11 => (0xC, [page * 4096, 8, 0, 0], [reference(rng), 0]),
        12 => {
            (0, [rng.below(4096), rng.below(64), rng.below(4096), 0], [rng.between(40, 41), reference(rng)])
        }
        13 | 14 => (0xD, [0; 4], [rng.between(30, 35), 0]),
        _ => (rng.below(14), [rng.below(99), 0, 0, 0], [reference(rng), reference(rng)]),
    };
    ecall(text, op, [a0, a1, a2, a3], [subject, object]);
}

fn program(seed: u64) -> String {
    let mut rng = Rng::new(seed);
    let rng = &mut rng;
    let blocks = rng.between(10, 40);
    let mut text = String::new();
    // Two VMs, which get what can be copied of the slots below 64, and memory for one of them.
    for handle in [30, 31] {
        ecall(&mut text, 0, [rng.bits() | 1 << 35, 0, 0, 0], [64, handle]);
    }
    ecall(&mut text, 0, [2, 0, 0, 0], [254, 32 | 30 << 8]);
    ecall(&mut text, 2, [16, 0, 2, 1], [32 | 30 << 8, 0]);
    for block in 0..blocks {
        let _ = writeln!(text, "b{block}:");
        for _ in 0..rng.between(1, 3) {
            // The first VM has the first two pages, at the beginning.
            let page = if rng.one_in(16) { *rng.one_of(&PAGES) } else { *rng.one_of(&PAGES[..2]) };
            let address = page * 4096 + rng.below(4088);
            let _ = match rng.below(12) {
                0..=5 => {
                    operation(rng, &mut text);
                    Ok(())
                }
                6 => writeln!(text, " load_imm_64 t2, {address:#x}\n store_ind_u64 s0, t2, 0"),
                7 => writeln!(
                    text,
                    " load_imm_64 t2, {address:#x}\n load_ind_u64 t1, t2, 0\n add_64 s0, s0, t1"
                ),
                8 => writeln!(text, " ecalli {}", slot(rng)),
                9 => writeln!(text, " ecalli {}", u64::from(!rng.one_in(6))),
                10 => writeln!(text, " add_64 s0, s0, a0\n xor s1, s1, a1"),
                _ => writeln!(text, " load_imm_64 t0, {:#x}", rng.interesting()),
            };
        }
        let target = rng.below(blocks);
        let _ = match rng.below(60) {
            0 => writeln!(text, " trap"),
            1 => writeln!(text, " jump_ind t0, 0"),
            2..=10 => writeln!(text, " branch_lt_u_imm a0, 20, @b{target}"),
            11..=16 => writeln!(text, " jump @b{target}"),
            _ => writeln!(text, " fallthrough"),
        };
    }
    text + " jump @b0\n"
}

fn blob(seed: u64) -> Vec<u8> {
    let code = assemble(&program(seed)).unwrap().code().unwrap();
    let code = to_code_blob(&code);
    let caps = vec![
        ManifestCap::new_code(64, &code),
        ManifestCap::new_code(35, &code),
        ManifestCap::new_data(40, 16, 2, Access::ReadWrite, b"some bytes to begin with"),
        ManifestCap::new_data(41, 0x100, 1, Access::ReadOnly, &[3; 100]),
    ];
    Manifest { memory_pages: 40, invoke_slot: 64, caps }.to_bytes().unwrap()
}

/// Everything that is left of a run.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    result: DispatchResult,
    calls: u64,
    vms: Vec<String>,
    data: BTreeMap<(u16, u8), (Vec<u8>, Vec<u8>)>,
}

/// Runs; `single` step by step. Protocol calls are answered by their number.
fn run(prepared: &Prepared, single: bool) -> (Left, Invocation) {
    let mut invocation = prepared.invoke(&[], GAS).unwrap();
    let mut calls = 0;
    let result = loop {
        match if single { invocation.step() } else { invocation.run() } {
            DispatchResult::Continue => {}
            DispatchResult::ProtocolCall { slot, regs, .. } => {
                calls += 1;
                invocation.resume(regs[7] ^ u64::from(slot), calls).unwrap();
            }
            end => break end,
        }
    };
    let mut data = BTreeMap::new();
    let mut vms = Vec::new();
    for vm in invocation.vms() {
        let index = vm.id().index;
        let table: Vec<_> = vm.table().iter().map(|(slot, cap)| (slot, *cap)).collect();
        for (slot, cap) in &table {
            if let Cap::Data(cap) = cap {
                let mut bytes = vec![0; cap.backing.len() as usize];
                invocation.read_data(index, *slot, 0, &mut bytes).unwrap();
                data.insert((index, *slot), (bytes, invocation.written(index, *slot).unwrap()));
            }
        }
        let seen = PAGES.map(|page| vm.space().access(page as u32));
        vms.push(format!("{:?} {:?} {:?} {} {table:?} {seen:?}", vm.id(), vm.state(), vm.regs(), vm.gas()));
    }
    (Left { result, calls, vms, data }, invocation)
}

#[test]
fn every_backend_comes_to_the_same() {
    let engines = [Backend::Interpreter, Backend::Auto]
        .map(|backend| Engine::new(Config::new().backend(backend)).unwrap());
    let (mut vms, mut calls, mut shared) = (0, 0, 0);
    let mut ends = BTreeMap::<String, u64>::new();
    for seed in 0..PROGRAMS {
        let blob = blob(seed);
        let prepared = engines.each_ref().map(|engine| Prepared::new(engine, &blob).unwrap());
        let (expected, invocation) = run(&prepared[0], false);
        for (prepared, single) in [(&prepared[0], true), (&prepared[1], false), (&prepared[1], true)] {
            let (left, _) = run(prepared, single);
            assert!(
                left == expected,
                "seed {seed}, steps {single}:\n{left:#?}\n{expected:#?}\n{}",
                program(seed)
            );
        }
        vms += u64::from(invocation.vms().count() > 2);
        calls += expected.calls;
        shared += u64::from(expected.data.keys().any(|(vm, _)| *vm != 0));
        let end = format!("{:?}", expected.result);
        *ends.entry(end.split('(').next().unwrap_or_default().to_owned()).or_default() += 1;
    }
    println!("{vms} with several VMs, {shared} with memory of a child, {calls} protocol calls, {ends:?}");
    assert!(vms > PROGRAMS / 4 && shared > PROGRAMS / 20 && ends.len() >= 4, "too tame");
}
