//! What the capability machine costs beyond the guests' own instructions.
//!
//! Each measurement runs a guest that repeats one operation in a loop, and the same loop with a cheap
//! operation (`GAS_LEFT`) in its place; the difference of the two, divided by the number of rounds, is the
//! cost of the operation. Rounds are interleaved, figures are medians over runs with their spread.
//!
//! `cargo run --release -p javm-bench [-- --record] [-- NAME]`: with `--record`, also writes
//! `benches/record/capabilities.md`; with a name, measures only what has it in its own.

use std::{fmt::Write as _, time::Instant};

use javm::{CallResult, InProcessKernelAssist, Vm, first_instance};
use javm_bench::{
    CASES, GAS, RUNS, image,
    machines::{FRESH_BAR, IDLE_BAR, fresh, idle},
    measure, processor,
};
use javm_cap::{CacheDirectory, Cap, CapHash, SlotIdx};
use javm_exec::{Backend, Config, Engine};

/// A commit may cost as many times the hashing that it needs.
const COMMIT_BAR: f64 = 1.3;

/// How many pages the commit measurement's instance has: a tree of 12 levels.
const COMMIT_PAGES: u64 = 4096;

/// Compressions that the hashing rules demand besides pages and the nodes above them, whatever the number of
/// pages: the Data, the eight nodes above its slot, the cnode, and two for the instance.
const REST: u8 = 12;

/// What a commit of `dirty` pages of [`COMMIT_PAGES`] costs, and what the hashing that the rules demand for it
/// costs by itself, one input at a time; both in nanoseconds, medians.
fn commit(dirty: u64, backend: Backend) -> (f64, f64) {
    let text = "move_reg s0, a0\nmove_reg s1, a1\nload_imm t0, 0x20000\nbranch_eq_imm s0, 0, @out\nround: \
                store_ind_u64 s1, t0, 16\nadd_imm_64 t0, t0, 4096\nadd_imm_64 s0, s0, -1\n\
                branch_ne_imm s0, 0, @round\nout: ecalli 0";
    let mut cache = CacheDirectory::new();
    let bytes: Vec<u8> = (0..COMMIT_PAGES * 4096).map(|i| (i % 251) as u8 + 1).collect();
    let data = cache.put_cap(&Cap::data_inline(&bytes)).expect("plain data");
    let code = image(&mut cache, text, COMMIT_PAGES);
    let instance = first_instance(&mut cache, code, &[(SlotIdx(200), data)]).expect("it is an image");
    let engine = Engine::new(Config::new().backend(backend)).expect("the backend was asked for");
    let mut vm = Vm::with_engine(InProcessKernelAssist::new(), engine);
    let runs = if dirty < 100 { 20 * RUNS } else { RUNS };
    let mut time = |pages: u64, salt: u64| {
        let start = Instant::now();
        let result = vm.invoke_cached(&mut cache, instance, 0, [pages, salt, 0, 0], GAS);
        assert!(matches!(result, Ok(CallResult::Halt { .. })), "{result:?}");
        let elapsed = start.elapsed().as_nanos() as f64;
        // The values of earlier rounds go, or each round would measure how the system gives memory.
        cache.retain(&[instance.into()]);
        elapsed
    };
    time(dirty, 1);
    let mut costs: Vec<f64> = (0..runs as u64).map(|n| time(dirty, n + 2) - time(0, 0)).collect();
    costs.sort_by(f64::total_cmp);
    let mut hashing: Vec<f64> = (0..runs)
        .map(|_| {
            let start = Instant::now();
            let mut level: Vec<CapHash> =
                bytes.chunks(4096).take(dirty as usize).map(javm_cap::hash::page).collect();
            for _ in 0..COMMIT_PAGES.ilog2() {
                level = level
                    .chunks(2)
                    .map(|pair| javm_cap::hash::node(&pair[0], pair.get(1).unwrap_or(&pair[0])))
                    .collect();
            }
            let root = std::hint::black_box(level)[0];
            std::hint::black_box((0..REST).fold(root, |hash, _| javm_cap::hash::node(&hash, &root)));
            start.elapsed().as_nanos() as f64
        })
        .collect();
    hashing.sort_by(f64::total_cmp);
    (costs[runs / 2], hashing[runs / 2])
}

/// The backends that there are here.
fn backends() -> impl Iterator<Item = Backend> {
    [Backend::Interpreter, Backend::Recompiler]
        .into_iter()
        .filter(|backend| Engine::new(Config::new().backend(*backend)).is_ok())
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let record = args.iter().any(|arg| arg == "--record");
    let wanted =
        |name: &str| args.iter().filter(|arg| !arg.starts_with("--")).all(|arg| name.contains(&**arg));
    // First, while nothing has been freed that would be used again and not show.
    let idle: Vec<_> =
        backends().filter(|_| wanted("idle")).filter_map(|backend| Some((backend, idle(backend)?))).collect();
    let mut table = String::from(
        "| operation | backend | ns, median | min | max | what |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    for case in CASES.iter().filter(|case| wanted(case.name)) {
        for backend in backends() {
            let (median, min, max) = measure(case, backend);
            println!("{:<34} {backend:<12} {median:8.0} ns  ({min:.0} to {max:.0})", case.name);
            let _ = writeln!(
                table,
                "| {} | {backend} | {median:.0} | {min:.0} | {max:.0} | {} |",
                case.name, case.what
            );
        }
    }
    let mut commits = String::from(
        "| dirty pages | backend | commit, µs | hashing alone, µs | ratio |\n| --- | --- | --- | --- | --- |\n",
    );
    let cases = [1, 16, 256, 4096].into_iter().flat_map(|dirty| backends().map(move |b| (dirty, b)));
    for (dirty, backend) in cases.filter(|(dirty, _)| wanted(&format!("commit {dirty}"))) {
        let (whole, hashing) = commit(dirty, backend);
        let (whole, hashing, ratio) = (whole / 1e3, hashing / 1e3, whole / hashing);
        println!(
            "commit {dirty:4} of {COMMIT_PAGES} pages {backend:<12} {whole:10.1} µs; hashing alone {hashing:.1} µs: \
             {ratio:.2} (bar: {COMMIT_BAR})"
        );
        let _ = writeln!(
            commits,
            "| {dirty} of {COMMIT_PAGES} | {backend} | {whole:.1} | {hashing:.1} | {ratio:.2} |"
        );
    }
    let mut machines =
        String::from("| what | backend | figure | bar | while |\n| --- | --- | --- | --- | --- |\n");
    let mut machine = |what: &str, backend: Backend, figure: f64, unit: &str, bar: f64, still: &str| {
        println!("{what} {backend:<12} {figure:8.1} {unit} (bar: {bar} {unit}) {still}");
        let _ = writeln!(machines, "| {what} | {backend} | {figure:.1} {unit} | {bar} {unit} | {still} |");
    };
    for backend in backends().filter(|_| wanted("fresh instance")) {
        let (coming, staying) = fresh(backend);
        let what = "fresh instance, 64 KiB touched";
        machine(what, backend, coming, "µs", FRESH_BAR, "others come and go");
        machine(what, backend, staying, "µs", FRESH_BAR, "all others stay");
    }
    for (backend, (untouched, touched)) in idle {
        machine("idle instance", backend, untouched, "KiB", IDLE_BAR, "it has touched nothing yet");
        machine(
            "idle machine",
            backend,
            touched - 64.0,
            "KiB",
            IDLE_BAR,
            "beyond the 64 KiB that it has touched",
        );
    }
    if record {
        let text = format!(
            "# What the capability machine costs\n\nMade by `cargo run --release -p javm-bench -- --record` on {} \
             ({} cores). The cost of one operation beyond the loop around it: the difference to the same loop with \
             `GAS_LEFT` in its place, median of {RUNS} interleaved runs.\n\n{table}\n\
             Bar for the nested call: 1 µs.\n\n## Machines\n\nAn instance of a compiled module: made, run over 64 KiB \
             of its memory, given back; and the memory that one holds between runs, page tables included.\n\n\
             {machines}\n## Commits\n\nAn \
             invocation that writes a word to each of k pages of a Data of {COMMIT_PAGES}, less one that writes \
             none; beside it, the hashing that the rules demand for that change by itself, one input at a time: \
             the pages, the nodes above them, the Data, the nodes above its slot, the cnode, the instance. Bar: \
             {COMMIT_BAR}.\n\n{commits}",
            processor(),
            std::thread::available_parallelism().map_or(1, usize::from),
        );
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../record/capabilities.md");
        if let Err(error) = std::fs::write(path, text) {
            eprintln!("cannot write {path}: {error}");
            std::process::exit(1);
        }
    }
}
