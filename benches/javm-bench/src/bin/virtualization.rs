//! What a syscall costs: natively, through the layers of our own, inside a guest, and in `polkavm`.
//!
//! One program calls an import without end; a round is one syscall and its answer. Each way of running it is
//! measured in turn, again and again; figures are medians over those runs with their spread.
//!
//! `cargo run --release -p javm-bench --bin virtualization [-- --record] [-- NAME]`: with `--record`, also writes
//! `benches/record/virtualization.md`; with a name, measures only what has it in its own.

use std::{fmt::Write as _, time::Instant};

use javm_bench::processor;
use javm_exec::{
    Backend, Config, EcallHandler, EcallKind, EcallResult, Engine, ExitOnEcall, ExitReason, GasCounter,
    Instance, Mem, Reg as R, Regs,
};
use javm_program::Program;
use javm_virt::{
    ExecAction, ExecOutcome, Flat, MemoryT as _, Nested, Virt, VirtConfig, VirtMemory, VirtT,
    wire::{Call, OUTCOME_LEN},
};
use polkavm::{
    BackendKind, CacheModel, Config as Theirs, CostModelKind, GasMeteringKind, InterruptKind, Module,
    ModuleConfig, ProgramBlob, RawInstance, Reg, SandboxKind,
};
use polkavm_common::{
    program::{InstructionSetKind, asm},
    writer::ProgramBlobBuilder,
};

/// Few, so that most runs fit between two switches of a busy machine, and many runs of them.
const ROUNDS: u32 = 1_000;
const RUNS: usize = 301;
const GAS: i64 = 1 << 60;

/// Where data lies: of the outer program, of the one without constants, and how much of that is read.
const RO: u32 = 0x1_0000;
const RW: u32 = 0x3_0000;
const TICKING_RW: u32 = 0x2_0000;
const SHOWN: usize = 64;

/// Calls import 0 without end.
fn ticking() -> Vec<u8> {
    let mut builder = ProgramBlobBuilder::new(InstructionSetKind::JamV1);
    builder.set_code(&[asm::fallthrough(), asm::ecalli(0), asm::jump(1)], &[]);
    builder.set_rw_data_size(4096);
    builder.add_import(b"tick");
    builder.add_export_by_basic_block(0, b"go");
    builder.into_vec().expect("the program is small")
}

/// Runs [`ticking`] as its guest; each round answers one of its syscalls, with `read` after having read some of its
/// memory. Calls import 6 after each [`ROUNDS`].
fn nesting(read: bool) -> Vec<u8> {
    use polkavm_common::program::Reg::{A0, A1, A2, A3, A4, S0};
    let inner = ticking();
    let (name, outcome, buffer) = (RO, RW, RW + 1024);
    let program = RO + 16;
    let number = |call: Call| Call::ALL.iter().position(|c| *c == call).expect("is one") as i32;
    let set = |reg, value: u32| asm::load_imm(reg, value as i32);
    let round = asm::load_imm(S0, ROUNDS as i32);
    let mut code = vec![
        set(A0, program),
        set(A1, inner.len() as u32),
        asm::ecalli(number(Call::Instantiate)),
        asm::load_imm64(A1, GAS as u64),
        set(A2, name),
        set(A3, 2),
        set(A4, outcome),
        asm::ecalli(number(Call::Execute)),
        round,
        asm::fallthrough(),
        set(A0, 0),
        asm::load_imm64(A1, GAS as u64),
        set(A2, 7),
        set(A3, outcome),
        asm::ecalli(number(Call::Resume)),
    ];
    if read {
        code.extend([set(A0, 0), set(A1, TICKING_RW), set(A2, buffer), set(A3, SHOWN as u32)]);
        code.push(asm::ecalli(number(Call::Read)));
    }
    code.extend([
        asm::add_imm_64(S0, S0, -1),
        asm::branch_not_eq_imm(S0, 0, 1),
        asm::ecalli(6),
        round,
        asm::jump(1),
    ]);
    let mut data = b"go".to_vec();
    data.resize(16, 0);
    data.extend(inner);
    let mut builder = ProgramBlobBuilder::new(InstructionSetKind::JamV1);
    builder.set_code(&code, &[]);
    builder.set_ro_data_size(data.len() as u32);
    builder.set_ro_data(data);
    builder.set_rw_data_size((1024 + OUTCOME_LEN) as u32);
    Call::ALL.iter().for_each(|call| builder.add_import(call.symbol().as_bytes()));
    builder.add_import(b"rounds");
    builder.add_export_by_basic_block(0, b"go");
    builder.into_vec().expect("the program is small")
}

/// One way of answering syscalls: does this many rounds.
struct Way {
    name: String,
    what: &'static str,
    rounds: u32,
    run: Box<dyn FnMut(u32)>,
    costs: Vec<f64>,
}

/// Answers in place so many times.
struct Answer(u32);

impl EcallHandler for Answer {
    fn ecall(
        &mut self,
        kind: EcallKind,
        regs: &mut Regs,
        _: &mut dyn Mem,
        _: &mut GasCounter,
    ) -> EcallResult {
        regs.set(R::A0, 7);
        self.0 -= 1;
        if self.0 == 0 { EcallResult::Exit(kind.exit()) } else { EcallResult::Continue }
    }
}

fn way(name: String, what: &'static str, rounds: u32, run: impl FnMut(u32) + 'static) -> Way {
    Way { name, what, rounds, run: Box::new(run), costs: Vec::new() }
}

fn machine(engine: &Engine) -> Instance {
    let flat = Flat::new(engine, Program::load(&ticking()).expect("is a program"));
    let pc = flat.export(b"go").expect("is exported");
    flat.instance(pc, &[], GAS as u64).expect("its memory is its own")
}

/// Answers a syscall, and begins with the first.
fn next(virt: &mut impl VirtT, begun: &mut bool) {
    let action = match core::mem::replace(begun, true) {
        true => ExecAction::Resume { return_value: 7 },
        false => ExecAction::Execute { function: b"go" },
    };
    let outcome = virt.run(GAS, action);
    assert!(matches!(outcome, Ok(ExecOutcome::Syscall { .. })), "{outcome:?}");
}

/// Through a trait: the syscall, and with `read` some memory.
fn through<V: VirtT<Memory = VirtMemory> + 'static>(mut virt: V, read: bool) -> impl FnMut(u32) {
    let (mut memory, mut begun) = (virt.memory(), false);
    move |rounds| {
        for _ in 0..rounds {
            next(&mut virt, &mut begun);
            if read {
                let mut bytes = [0; SHOWN];
                memory.read(TICKING_RW, &mut bytes).expect("is mapped");
                std::hint::black_box(&bytes);
            }
        }
    }
}

/// Ours, on one backend.
fn ours(backend: Backend) -> Vec<Way> {
    let Ok(engine) = Engine::new(Config::new().backend(backend)) else { return Vec::new() };
    let config = VirtConfig::new();
    let named = |what: &str| format!("{backend}: {what}");
    let virt = || Virt::with(&engine, &config, &ticking()).expect("is a program");
    let nested = |program: &[u8]| Nested::with(&engine, &config, program).expect("is a program");
    let (mut raw, mut resumed) = (machine(&engine), machine(&engine));
    let inside = |name: &str, what, read| {
        let (mut outer, mut begun) = (nested(&nesting(read)), false);
        way(named(name), what, ROUNDS, move |rounds| {
            assert_eq!(rounds % ROUNDS, 0, "the guest counts");
            next(&mut outer, &mut begun);
        })
    };
    vec![
        way(named("raw host call"), "an `EcallHandler` that answers in place", ROUNDS, move |rounds| {
            raw.gas.set(GAS as u64);
            assert_eq!(raw.run(&mut Answer(rounds)), ExitReason::HostCall(0));
            raw.skip_ecall();
        }),
        way(named("engine, out and in"), "`Instance::run`, `skip_ecall`", ROUNDS, move |rounds| {
            for _ in 0..rounds {
                resumed.gas.set(GAS as u64);
                assert_eq!(resumed.run(&mut ExitOnEcall), ExitReason::HostCall(0));
                resumed.skip_ecall();
                resumed.regs.set(R::A0, 7);
            }
        }),
        way(named("`Virt`"), "`run(Resume)`", ROUNDS, through(virt(), false)),
        way(named("`Virt`, 64 bytes read"), "and `VirtMemory::read`", ROUNDS, through(virt(), true)),
        way(
            named("`Nested`"),
            "as `Virt`: a syscall of the root",
            ROUNDS,
            through(nested(&ticking()), false),
        ),
        inside("inside a guest", "`virt_resume`: a syscall of an inner program", false),
        inside("inside a guest, 64 bytes read", "and `virt_read`", true),
    ]
}

/// `polkavm`, one sandbox; with gas as the Substrate node has it.
fn theirs(name: &str, backend: BackendKind, sandbox: Option<SandboxKind>, rounds: u32) -> Option<Way> {
    let mut config = Theirs::new();
    config.set_backend(Some(backend)).set_sandbox(sandbox).set_allow_experimental(true);
    let engine = polkavm::Engine::new(&config).ok()?;
    let mut config = ModuleConfig::new();
    config
        .set_gas_metering(Some(GasMeteringKind::Sync))
        .set_cost_model(Some(CostModelKind::Full(CacheModel::L2Hit)));
    let blob = ProgramBlob::parse(ticking().into()).expect("is a program");
    let module = Module::from_blob(&engine, &config, blob).expect("is a program");
    let pc = module.exports().next()?.program_counter();
    let mut instance: RawInstance = module.instantiate().ok()?;
    instance.prepare_call_untyped(pc, &[]);
    Some(way(format!("polkavm {name}"), "`RawInstance::run`, gas and a0 set", rounds, move |rounds| {
        for _ in 0..rounds {
            instance.set_gas(GAS);
            instance.set_reg(Reg::A0, 7);
            let interrupt = instance.run().expect("its engine works");
            assert!(matches!(interrupt, InterruptKind::Ecalli(0)), "{interrupt:?}");
        }
    }))
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let record = args.iter().any(|arg| arg == "--record");
    let mut ways = ours(Backend::Interpreter);
    ways.extend(ours(Backend::Recompiler));
    ways.extend(theirs("interpreter", BackendKind::Interpreter, None, ROUNDS));
    ways.extend(theirs("generic sandbox", BackendKind::Compiler, Some(SandboxKind::Generic), ROUNDS));
    ways.extend(theirs("linux sandbox", BackendKind::Compiler, Some(SandboxKind::Linux), ROUNDS));
    let names = args.iter().filter(|arg| !arg.starts_with("--"));
    ways.retain(|way| names.clone().all(|name| way.name.contains(&**name)));
    for run in 0..=RUNS {
        for Way { rounds, run: go, costs, .. } in &mut ways {
            let start = Instant::now();
            go(*rounds);
            // The first run warms up.
            if run > 0 {
                costs.push(start.elapsed().as_nanos() as f64 / f64::from(*rounds));
            }
        }
    }
    let mut table =
        String::from("| way | ns, median | min | max | what |\n| --- | --- | --- | --- | --- |\n");
    for Way { name, what, costs, .. } in &mut ways {
        costs.sort_by(f64::total_cmp);
        let (median, min, max) = (costs[RUNS / 2], costs[0], costs[RUNS - 1]);
        let _ = writeln!(table, "| {name} | {median:.1} | {min:.1} | {max:.1} | {what} |");
    }
    print!("{table}");
    if record {
        let text = format!(
            "# What a syscall costs\n\nMade by `cargo run --release -p javm-bench --bin virtualization -- --record` on \
             {} ({} cores). A round is one syscall of a program that does nothing else, and its answer; nanoseconds \
             for a round, medians of {RUNS} interleaved runs. `polkavm` 0.37 meters with its full cost model, \
             synchronously, as the stock Substrate backend has it.\n\n{table}",
            processor(),
            std::thread::available_parallelism().map_or(1, usize::from),
        );
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../record/virtualization.md");
        if let Err(error) = std::fs::write(path, text) {
            eprintln!("cannot write {path}: {error}");
            std::process::exit(1);
        }
    }
}
