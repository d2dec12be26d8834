//! What the operations of the capability microkernel cost beyond the guests' own instructions.
//!
//! Each measurement runs a guest that repeats something in a loop, and the same instructions with `load_imm` in place
//! of every operation, those of a callee in the same VM; the difference of the two, divided by the number of rounds,
//! is the cost. Rounds are interleaved, figures are medians over runs with their spread.
//!
//! `cargo run --release -p javm-bench --bin microkernel [-- --record] [-- NAME]`: with `--record`, also writes
//! `benches/record/microkernel.md`; with a name, measures only what has it in its own.

use std::{fmt::Write as _, time::Instant};

use javm_exec::{Backend, Config, Engine};
use javm_invocation::{CapRef, DispatchResult, EcallOp, Invocation, Prepared};
use javm_isa::asm::assemble;

const GAS: u64 = 1 << 60;
const RUNS: usize = 15;

/// One measurement. The parent counts down s0; the child of slot 65 is in slot 66 and has a page in its slot 1; the
/// page of slot 70 is mapped nowhere; slots 100 to 163 hold callables of as many other children.
struct Case {
    name: &'static str,
    what: &'static str,
    rounds: u64,
    /// Instructions of one round, and those of the child.
    body: &'static str,
    child: &'static str,
    /// The same without operations.
    baseline: &'static str,
    /// Operations of a round, among which the cost is divided.
    ops: f64,
    /// VMs that are only there.
    idle: usize,
}

const CALL: Case = Case {
    name: "CALL and REPLY",
    what: "of a child that does nothing else",
    rounds: 100_000,
    body: "load_imm a5, 0\necalli 66",
    child: "ecalli 0\njump @0",
    baseline: "load_imm a5, 0\nload_imm t0, 66\nload_imm t0, 0\nfallthrough",
    ops: 1.0,
    idle: 0,
};

const CASES: &[Case] = &[
    CALL,
    Case { name: "CALL and REPLY, 60,000 VMs", what: "the same among 60,000 idle VMs", idle: 60_000, ..CALL },
    Case {
        name: "CALL and REPLY with memory",
        what: "both write to a page of their own",
        body: "load_imm a5, 0\nstore_u64 s0, 0x30000\necalli 66",
        child: "store_u64 a0, 0x20000\necalli 0\njump @0",
        baseline: "load_imm a5, 0\nstore_u64 s0, 0x30000\nload_imm t0, 66\nstore_u64 a0, 0x30008\nload_imm t0, 0\nfallthrough",
        ..CALL
    },
    Case {
        name: "CALL and REPLY, 64 in turn",
        what: "of 64 children, one after another, that write to a page of their own",
        rounds: 2_000,
        body: concat!("load_imm a5, 0\n", "CALLS"),
        child: "store_u64 a0, 0x20000\necalli 0\njump @0",
        baseline: "load_imm a5, 0\nPLAIN",
        ops: 64.0,
        ..CALL
    },
    Case {
        name: "CALL and REPLY with DATA",
        what: "passes a page that is mapped, and gets it back mapped",
        rounds: 50_000,
        body: "load_imm a5, 71\necalli 66",
        child: "ecalli 0\njump @0",
        baseline: "load_imm a5, 71\nload_imm t0, 66\nload_imm t0, 0\nfallthrough",
        ..CALL
    },
    Case {
        name: "MAP and UNMAP",
        what: "of one page that nobody touches",
        rounds: 50_000,
        body: "load_imm a0, 0x40\nload_imm a1, 0\nload_imm a2, 1\nload_imm a3, 1
            load_imm_64 a5, 0x4600000000\nload_imm a4, 2\necall
            load_imm a0, 0\nload_imm a1, 1\nload_imm a4, 3\necall",
        baseline: "load_imm a0, 0x40\nload_imm a1, 0\nload_imm a2, 1\nload_imm a3, 1\nload_imm_64 a5, 0x4600000000\nload_imm a4, 2
            load_imm t0, 0\nload_imm a0, 0\nload_imm a1, 1\nload_imm a4, 3\nload_imm t0, 0",
        ops: 2.0,
        ..CALL
    },
    Case {
        name: "MAP, write, UNMAP",
        what: "of one page that is written between; per round",
        rounds: 20_000,
        body: "load_imm a0, 0x40\nload_imm a1, 0\nload_imm a2, 1\nload_imm a3, 1
            load_imm_64 a5, 0x4600000000\nload_imm a4, 2\necall
            store_u64 s0, 0x40000\nload_imm a0, 0\nload_imm a1, 1\nload_imm a4, 3\necall",
        baseline: "load_imm a0, 0x40\nload_imm a1, 0\nload_imm a2, 1\nload_imm a3, 1\nload_imm_64 a5, 0x4600000000\nload_imm a4, 2
            load_imm t0, 0\nstore_u64 s0, 0x30000\nload_imm a0, 0\nload_imm a1, 1\nload_imm a4, 3\nload_imm t0, 0",
        ..CALL
    },
    Case {
        name: "fault, MAP, RESUME, REPLY",
        what: "the child reads a page that the parent maps when it faults, and unmaps afterwards; per round",
        rounds: 10_000,
        body: "load_imm a5, 0\necalli 66\nload_imm a0, 0x20\nload_imm a1, 0\nload_imm a2, 1\nload_imm a3, 1
            load_imm_64 a5, 0x420100000000\nload_imm a4, 2\necall\nload_imm_64 a5, 0x4200000000\nload_imm a4, 13\necall
            load_imm a0, 0\nload_imm a1, 1\nload_imm_64 a5, 0x420100000000\nload_imm a4, 3\necall",
        child: "load_u64 a0, 0x20000\necalli 0\njump @0",
        baseline: "load_imm a5, 0\nload_imm t0, 66\nload_imm a0, 0x20\nload_imm a1, 0\nload_imm a2, 1\nload_imm a3, 1
            load_imm_64 a5, 0x420100000000\nload_imm a4, 2\nload_imm t0, 0\nload_imm_64 a5, 0x4200000000
            load_imm a4, 13\nload_imm t0, 0
            load_imm a0, 0\nload_imm a1, 1\nload_imm_64 a5, 0x420100000000\nload_imm a4, 3\nload_imm t0, 0
            load_u64 a0, 0x30000\nload_imm t0, 0\nfallthrough",
        ..CALL
    },
    Case {
        name: "CREATE and DROP",
        what: "of a VM with copies of 28 capabilities; per round",
        rounds: 50_000,
        body: "load_imm a0, -1\nload_imm a5, 80\necalli 65\nload_imm_64 a5, 0x5000000000\nload_imm a4, 5\necall",
        baseline: "load_imm a0, -1\nload_imm a5, 80\nload_imm t0, 65\nload_imm_64 a5, 0x5000000000
            load_imm a4, 5\nload_imm t0, 0",
        ..CALL
    },
    Case {
        name: "COPY and DROP",
        what: "of a protocol capability; per round",
        rounds: 50_000,
        body: "load_imm_64 a5, 0x100000050\nload_imm a4, 7\necall\nload_imm_64 a5, 0x5000000000\nload_imm a4, 5\necall",
        baseline: "load_imm_64 a5, 0x100000050\nload_imm a4, 7\nload_imm t0, 0\nload_imm_64 a5, 0x5000000000
            load_imm a4, 5\nload_imm t0, 0",
        ..CALL
    },
];

/// A manifest with two codes, and pages in slots 70 and up.
fn manifest(parent: &str, child: &str) -> Vec<u8> {
    let mut blob = b"JAR\x02".to_vec();
    blob.extend(4096u32.to_le_bytes());
    let mut section: Vec<u8> = Vec::new();
    let mut entries = Vec::new();
    let mut entry = |slot: u8, kind: u8, base: u32, pages: u32, bytes: &[u8]| {
        entries.extend([slot, kind]);
        entries.extend([base.to_le_bytes(), pages.to_le_bytes()].concat());
        entries.push(1);
        entries.extend([(section.len() as u32).to_le_bytes(), (bytes.len() as u32).to_le_bytes()].concat());
        section.extend(bytes);
    };
    for (slot, text) in [(64, parent), (65, child)] {
        let program = assemble(text).unwrap_or_else(|e| panic!("{e}"));
        let mut code = 0u32.to_le_bytes().to_vec();
        code.push(1);
        code.extend((program.code.len() as u32).to_le_bytes());
        code.extend(&program.code);
        code.extend(&program.packed_bitmask);
        entry(slot, 0, 0, 0, &code);
    }
    entry(71, 1, 0x50, 1, &[]);
    entry(72, 1, 0x30, 1, &[]);
    blob.extend([4, 64]);
    blob.extend(entries);
    blob.extend(section);
    blob
}

/// Does an operation of the first VM before it runs.
fn op(k: &mut Invocation, op: EcallOp, subject: u32, object: u32, registers: &[u64]) {
    let gpr = &mut k.regs_mut().gpr;
    gpr[7..7 + registers.len()].copy_from_slice(registers);
    gpr[12] = references(subject, object);
    let result = k.dispatch_ecall(u64::from(op.number().unwrap_or(u32::MAX)));
    assert_eq!((result, k.regs().gpr[7] == u64::MAX - 1), (DispatchResult::Continue, false));
}

/// φ12 of two references.
const fn references(subject: u32, object: u32) -> u64 {
    (CapRef(subject).0 as u64) << 32 | CapRef(object).0 as u64
}

/// Makes a child in slot 66 with a page in its slot 1, mapped or not.
fn make_child(k: &mut Invocation, mapped: bool) {
    op(k, EcallOp::Call, 65, 66, &[0]);
    op(k, EcallOp::Call, 254, 66 << 8 | 1, &[1]);
    if mapped {
        op(k, EcallOp::Map, 66 << 8 | 1, 0, &[0x20, 0, 1, 1]);
    }
}

/// Runs one variant; nanoseconds of the run alone.
fn time(prepared: &Prepared, case: &Case) -> f64 {
    let mut k = prepared.invoke(&[], GAS).expect("there is enough of everything");
    op(&mut k, EcallOp::Call, 254, 70, &[1]);
    for n in 0..64 {
        make_child(&mut k, true);
        op(&mut k, EcallOp::Downgrade, 66, 100 + n, &[]);
        op(&mut k, EcallOp::Move, 66, 180 + n, &[]);
    }
    for n in 0..case.idle {
        op(&mut k, EcallOp::Call, 65, 66, &[0]);
        if n != 0 {
            op(&mut k, EcallOp::Move, 90, 66 << 8 | 1, &[]);
        }
        op(&mut k, EcallOp::Move, 66, 90, &[]);
    }
    make_child(&mut k, !case.name.starts_with("fault"));
    k.regs_mut().gpr = [0; 13];
    k.regs_mut().gpr[5] = case.rounds;
    let start = Instant::now();
    let result = k.run();
    let elapsed = start.elapsed().as_nanos() as f64;
    assert_eq!(result, DispatchResult::RootHalt(0), "{}", case.name);
    elapsed
}

/// The cost of an operation, in nanoseconds: median, least and most.
fn measure(case: &Case, backend: Backend) -> (f64, f64, f64) {
    let engine = Engine::new(Config::new().backend(backend)).expect("it was there before");
    let calls: String = (100..164).map(|slot| format!("ecalli {slot}\n")).collect();
    let plain = "load_imm t0, 0\nstore_u64 a0, 0x30000\nload_imm t0, 0\nfallthrough\n".repeat(64);
    let program = |body: &str| {
        let body = body.replace("CALLS", &calls).replace("PLAIN", &plain);
        let end = "add_imm_64 s0, s0, -1\nbranch_ne_imm s0, 0, @loop\nload_imm a0, 0\necalli 0";
        let blob = manifest(&format!("loop: {body}\n{end}"), case.child);
        Prepared::new(&engine, &blob).expect("the manifest is good")
    };
    let (with, without) = (program(case.body), program(case.baseline));
    let mut costs: Vec<f64> = (0..=RUNS)
        .map(|_| (time(&with, case) - time(&without, case)) / case.rounds as f64 / case.ops)
        .skip(1)
        .collect();
    costs.sort_by(f64::total_cmp);
    (costs[RUNS / 2], costs[0], costs[RUNS - 1])
}

/// The processor's name, where the system tells it.
fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    model.map_or_else(|| "unknown processor".to_owned(), |(_, name)| name.trim().to_owned())
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let record = args.iter().any(|arg| arg == "--record");
    let wanted =
        |name: &str| args.iter().filter(|arg| !arg.starts_with("--")).all(|arg| name.contains(&**arg));
    let mut table = String::from(
        "| operation | backend | ns, median | min | max | what |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    for case in CASES.iter().filter(|case| wanted(case.name)) {
        for backend in [Backend::Interpreter, Backend::Recompiler] {
            if Engine::new(Config::new().backend(backend)).is_err() {
                continue;
            }
            let (median, min, max) = measure(case, backend);
            println!("{:<28} {backend:<12} {median:8.0} ns  ({min:.0} to {max:.0})", case.name);
            let _ = writeln!(
                table,
                "| {} | {backend} | {median:.0} | {min:.0} | {max:.0} | {} |",
                case.name, case.what
            );
        }
    }
    if record {
        let text = format!(
            "# What the capability microkernel costs\n\nMade by `cargo run --release -p javm-bench --bin microkernel -- \
             --record` on {} ({} cores). The cost of one operation, or of one round where it says so, beyond the guests' \
             own instructions: the difference to the same instructions with `load_imm` in place of operations, median of \
             {RUNS} interleaved runs.\n\n{table}",
            processor(),
            std::thread::available_parallelism().map_or(1, usize::from),
        );
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../record/microkernel.md");
        if let Err(error) = std::fs::write(path, text) {
            eprintln!("cannot write {path}: {error}");
            std::process::exit(1);
        }
    }
}
