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
use javm_bench::{CASES, GAS, RUNS, image, measure};
use javm_cap::{CacheDirectory, Cap, CapHash, SlotIdx};
use javm_exec::{Backend, Config, Engine};

/// How many pages the commit measurement's instance has: a tree of 12 levels.
const COMMIT_PAGES: u64 = 4096;

/// What a commit of `dirty` pages of [`COMMIT_PAGES`] costs, and what hashing those pages and the nodes above
/// them costs by itself, one input at a time; both in nanoseconds, medians.
fn commit(dirty: u64) -> (f64, f64) {
    let text = "move_reg s0, a0\nmove_reg s1, a1\nload_imm t0, 0x20000\nbranch_eq_imm s0, 0, @out\nround: \
                store_ind_u64 s1, t0, 16\nadd_imm_64 t0, t0, 4096\nadd_imm_64 s0, s0, -1\n\
                branch_ne_imm s0, 0, @round\nout: ecalli 0";
    let mut cache = CacheDirectory::new();
    let bytes: Vec<u8> = (0..COMMIT_PAGES * 4096).map(|i| (i % 251) as u8 + 1).collect();
    let data = cache.put_cap(&Cap::data_inline(&bytes)).expect("plain data");
    let code = image(&mut cache, text, COMMIT_PAGES);
    let instance = first_instance(&mut cache, code, &[(SlotIdx(200), data)]).expect("it is an image");
    let mut vm = Vm::new(InProcessKernelAssist::new());
    let mut time = |pages: u64, salt: u64| {
        let start = Instant::now();
        let result = vm.invoke_cached(&mut cache, instance, 0, [pages, salt, 0, 0], GAS);
        assert!(matches!(result, Ok(CallResult::Halt { .. })), "{result:?}");
        start.elapsed().as_nanos() as f64
    };
    time(dirty, 1);
    let mut costs: Vec<f64> = (0..RUNS as u64).map(|n| time(dirty, n + 2) - time(0, 0)).collect();
    costs.sort_by(f64::total_cmp);
    let mut hashing: Vec<f64> = (0..RUNS)
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
            assert_eq!(std::hint::black_box(level).len(), 1);
            start.elapsed().as_nanos() as f64
        })
        .collect();
    hashing.sort_by(f64::total_cmp);
    (costs[RUNS / 2], hashing[RUNS / 2])
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
            println!("{:<34} {backend:<12} {median:8.0} ns  ({min:.0} to {max:.0})", case.name);
            let _ = writeln!(
                table,
                "| {} | {backend} | {median:.0} | {min:.0} | {max:.0} | {} |",
                case.name, case.what
            );
        }
    }
    let mut commits =
        String::from("| dirty pages | commit, µs | hashing alone, µs | ratio |\n| --- | --- | --- | --- |\n");
    for dirty in [1, 16, 256, 4096].into_iter().filter(|_| wanted("commit")) {
        let (whole, hashing) = commit(dirty);
        let (whole, hashing, ratio) = (whole / 1e3, hashing / 1e3, whole / hashing);
        println!(
            "commit of {dirty:4} of {COMMIT_PAGES} pages {whole:10.1} µs; hashing alone {hashing:.1} µs: {ratio:.2}"
        );
        let _ = writeln!(commits, "| {dirty} of {COMMIT_PAGES} | {whole:.1} | {hashing:.1} | {ratio:.2} |");
    }
    if record {
        let text = format!(
            "# What the capability machine costs\n\nMade by `cargo run --release -p javm-bench -- --record` on {} \
             ({} cores). The cost of one operation beyond the loop around it: the difference to the same loop with \
             `GAS_LEFT` in its place, median of {RUNS} interleaved runs.\n\n{table}\n## Commits\n\nAn \
             invocation that writes a word to each of k pages of a Data of {COMMIT_PAGES}, less one that writes \
             none; beside it, the hashing of those pages and of the nodes above them by itself, one input at a \
             time.\n\n{commits}",
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
