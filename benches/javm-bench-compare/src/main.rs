//! `cargo run --release -p javm-bench-compare`: our backends, their rivals and native code on the same
//! kernels, interleaved in one process. With `--features wasmtime`, `wasmtime` is one of them.
//!
//! * [`kernels`], [`megabyte`], [`wasm`]: what is run; [`rival`], [`rivals`]: on what; [`measure`]: how;
//!   [`singles`]: what is measured once; [`stats`], [`columns`], [`bars`], [`report`], [`chart`]: what comes
//!   out; [`machine`]: on which machine; [`profile`]: what the machine code looks like where the time goes.
//!
//! The exit code is 1 when results differ between engines or one of ours fails, 2 when the command line is
//! wrong or a record cannot be written. A rival that cannot run a kernel is told and left out there.
#![forbid(unsafe_code)]

mod bars;
mod chart;
mod columns;
mod kernels;
mod machine;
mod measure;
mod megabyte;
mod profile;
mod report;
mod rival;
mod rivals;
mod singles;
mod stats;
mod wasm;

use std::{fs, path::Path, process::ExitCode};

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    columns::Column,
    kernels::Kernel,
    measure::{Bench, Row, What, Wrong},
};

/// Compares engines on the same kernels. Ratios mean something on a machine that does other things too;
/// absolute times hardly.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Only kernels whose name contains one of these.
    #[arg(long, value_delimiter = ',')]
    kernels: Vec<String>,
    /// Only engines whose name is one of these, or starts with one that ends with `*`.
    #[arg(long, value_delimiter = ',')]
    engines: Vec<String>,
    /// What is measured.
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = [What::Warm, What::Cold, What::Compile])]
    measure: Vec<What>,
    /// Rounds; each runs every engine once.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Stretches the kernels: 1 is 1 to 20 ms of native code.
    #[arg(long, default_value_t = 1.0, value_parser = positive)]
    scale: f64,
    /// Three rounds of a quarter of the work.
    #[arg(long)]
    quick: bool,
    /// Writes `benches/record/NAME.md` and `NAME.svg`.
    #[arg(long, value_name = "NAME", value_parser = file_name)]
    record: Option<String>,
    /// A date for the record.
    #[arg(long, requires = "record")]
    date: Option<String>,
    /// Measures nothing: shows the blocks of each kernel that run most, their instructions beside the machine code
    /// of `javm-recompiler` and `polkavm-linux-full`. Runs a sixteenth of the work in steps.
    #[arg(long, conflicts_with_all = ["record", "list"])]
    profile: bool,
    /// How many blocks a profile shows of each kernel.
    #[arg(long, default_value_t = 6, requires = "profile")]
    blocks: usize,
    /// How many instructions of each block; all are counted.
    #[arg(long, default_value_t = 60, requires = "profile")]
    instructions: usize,
    /// Lists kernels and engines and runs nothing.
    #[arg(long)]
    list: bool,
}

fn positive(text: &str) -> Result<f64, &'static str> {
    match text.parse() {
        Ok(number) if number > 0.0 && number <= 1000.0 => Ok(number),
        _ => Err("a number above 0 and at most 1000 is needed"),
    }
}

fn file_name(text: &str) -> Result<String, &'static str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !text.is_empty() && text.chars().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("letters, digits, - and _ only")
    }
}

fn wanted(filters: &[String], name: &str) -> bool {
    let matches = |filter: &String| match filter.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == filter,
    };
    filters.is_empty() || filters.iter().any(matches)
}

fn main() -> ExitCode {
    let mut options = Options::parse();
    if options.quick {
        options.runs = options.runs.min(3);
        options.scale /= 4.0;
    }
    measure::install_panic_hook();
    let (subjects, mut kernels) = kernels::all();
    kernels.retain(|kernel| {
        options.kernels.is_empty() || options.kernels.iter().any(|part| kernel.name.contains(part.as_str()))
    });
    let (mut rivals, missing) = rivals::all();
    rivals.retain(|rival| wanted(&options.engines, rival.name()));
    for (name, why) in missing.iter().filter(|(name, _)| wanted(&options.engines, name)) {
        eprintln!("{name} is left out: {why}");
    }
    if options.profile {
        return match profile::print(
            &subjects,
            &kernels,
            options.scale,
            (options.blocks, options.instructions),
        ) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("no profile: {error}");
                ExitCode::FAILURE
            }
        };
    }
    if options.list {
        kernels
            .iter()
            .for_each(|kernel| println!("kernel {} {:?}", kernel.name, kernel.warm_args(options.scale)));
        rivals.iter().for_each(|rival| println!("engine {}", rival.name()));
        return ExitCode::SUCCESS;
    }
    if kernels.is_empty() || rivals.is_empty() {
        eprintln!("no kernel or no engine has such a name; --list shows them");
        return ExitCode::from(2);
    }

    let mut programs: Vec<usize> = kernels.iter().map(|kernel| kernel.subject).collect();
    programs.dedup();
    let rows = options
        .measure
        .iter()
        .map(|what| if *what == What::Compile { programs.len() + 1 } else { kernels.len() });
    let steps = rows.sum::<usize>() * rivals.len() * (usize::from(options.runs) + 1);
    let progress = ProgressBar::new(steps as u64);
    if let Ok(style) = ProgressStyle::with_template("{elapsed_precise} {bar:40} {percent}% {msg}") {
        progress.set_style(style);
    }
    let mut bench = Bench {
        rivals: &rivals,
        subjects: &subjects,
        runs: options.runs.into(),
        scale: options.scale,
        progress: &progress,
        wrong: Vec::new(),
    };
    let megabyte = megabyte::megabyte(&subjects);
    let mut measured: Vec<(What, Vec<Row>)> = Vec::new();
    for what in &options.measure {
        measured.push((
            *what,
            match what {
                What::Warm | What::Cold => {
                    kernels.iter().map(|kernel: &Kernel| bench.kernel(kernel, *what)).collect()
                }
                What::Compile => {
                    let programs = programs.iter().map(|n| &subjects[*n]);
                    programs.chain([&megabyte]).map(|subject| bench.compile(subject)).collect()
                }
            },
        ));
    }
    let wrong = bench.wrong;
    progress.set_message("single figures");
    let singles = singles::measure(&megabyte, options.runs.into());
    progress.finish_and_clear();

    let (columns, better) = columns::columns(&rivals);
    measured.iter_mut().flat_map(|(_, rows)| rows).for_each(|row| columns::complete(row, &better));
    let bars = match &singles {
        Ok(singles) => bars::table(&columns, &measured, *singles, &kernels, options.scale),
        Err(_) => None,
    };
    let tables: Vec<_> = bars
        .into_iter()
        .chain(measured.iter().flat_map(|(what, rows)| report::tables(&columns, rows, *what)))
        .collect();
    tables.iter().for_each(|table| print!("{}", table.to_text()));
    let mut told: Vec<String> = wrong.iter().map(Wrong::to_string).collect();
    told.sort();
    told.dedup();
    told.iter().for_each(|wrong| eprintln!("wrong: {wrong}"));
    if let Err(error) = &singles {
        eprintln!("wrong: single figures: {error}");
    }
    if let Some(name) = &options.record {
        let mut text: String = tables.iter().map(report::Table::to_markdown).collect();
        if !told.is_empty() {
            text.push_str("## What went wrong\n\n");
            told.iter().for_each(|wrong| text.push_str(&format!("* {wrong}\n")));
        }
        if let Err(error) = record(name, &options, text.trim_end(), &columns, &measured) {
            eprintln!("the record cannot be written: {error}");
            return ExitCode::from(2);
        }
    }
    if wrong.iter().any(Wrong::counts) || singles.is_err() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Writes `benches/record/NAME.md` and, where warm runs were measured, `NAME.svg`.
fn record(
    name: &str,
    options: &Options,
    tables: &str,
    columns: &[Column],
    measured: &[(What, Vec<Row>)],
) -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../record");
    fs::create_dir_all(&folder)?;
    let warm = measured.iter().find(|(what, _)| *what == What::Warm);
    let chart = warm.and_then(|(_, rows)| chart::svg(columns, rows));
    let mut text = format!(
        "# {name}\n\nWritten by `cargo run --release -p javm-bench-compare --features wasmtime -- --record {name}`{}: \
         {} rounds, interleaved in one process, scale {}. {}, {} cores; {}. Ours counts gas (`Pipeline`) in every \
         row.\n\n`wasmtime` takes minutes to build, so it is behind a feature, which CI does not build.\n\n",
        options.date.as_ref().map_or_else(String::new, |date| format!(", {date}")),
        options.runs,
        options.scale,
        machine::processor(),
        machine::cores(),
        machine::versions(),
    );
    if let Some(chart) = chart {
        fs::write(folder.join(format!("{name}.svg")), chart)?;
        text.push_str(&format!("![Warm runs as multiples of native code]({name}.svg)\n\n"));
    }
    fs::write(folder.join(format!("{name}.md")), text + tables + "\n")
}
