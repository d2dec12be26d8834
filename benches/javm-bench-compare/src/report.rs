//! Tables from the measurements: the same for the terminal and for `benches/record`.

use std::fmt::Write;

use crate::{
    columns::Column,
    measure::{Row, What},
    rival::Class,
    stats::{Ratio, Times, geometric_mean},
};

/// A table: a title, what its columns mean, lines of cells.
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) note: String,
    /// The first is the header.
    pub(crate) lines: Vec<Vec<String>>,
}

impl Table {
    /// As text, columns aligned.
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("{}\n{}\n\n", self.title, self.note);
        self.write(&mut text, "  ", "", "  ");
        text
    }

    /// As Markdown.
    pub(crate) fn to_markdown(&self) -> String {
        let mut text = format!("## {}\n\n{}\n\n", self.title, self.note);
        self.write(&mut text, "| ", " |", " | ");
        text
    }

    fn write(&self, text: &mut String, start: &str, end: &str, between: &str) {
        let columns = self.lines.iter().map(Vec::len).max().unwrap_or(0);
        let width = |n| {
            self.lines.iter().filter_map(|line| line.get(n)).map(|cell: &String| cell.chars().count()).max()
        };
        let widths: Vec<usize> = (0..columns).map(|n| width(n).unwrap_or(0)).collect();
        for (number, line) in self.lines.iter().enumerate() {
            let cells = line.iter().zip(&widths).enumerate().map(|(n, (cell, width))| match n {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            text.push_str(format!("{start}{}{end}", cells.collect::<Vec<_>>().join(between)).trim_end());
            text.push('\n');
            if number == 0 && !end.is_empty() {
                let rule = widths.iter().enumerate().map(|(n, width)| match n {
                    0 => "-".repeat(*width),
                    _ => format!("{}:", "-".repeat(width.saturating_sub(1).max(1))),
                });
                let _ = writeln!(text, "{start}{}{end}", rule.collect::<Vec<_>>().join(between));
            }
        }
        text.push('\n');
    }
}

/// Makes the tables of one measurement.
pub(crate) fn tables(columns: &[Column], rows: &[Row], what: What) -> Vec<Table> {
    let of = |class: Class, part: bool| -> Vec<usize> {
        let wanted = |column: &Column| column.class == class && column.part == part;
        (0..columns.len()).filter(|n| wanted(&columns[*n])).collect()
    };
    let recompilers = of(Class::Recompiler, false);
    let sandboxes = of(Class::Recompiler, true);
    let interpreters = of(Class::Interpreter, false);
    let mut tables = Vec::new();
    match what {
        What::Warm | What::Cold => {
            tables.push(against_native(columns, rows, what, "recompilers", &recompilers));
            tables.push(against_native(columns, rows, what, "the sandboxes of PolkaVM", &sandboxes));
            tables.push(against_native(columns, rows, what, "interpreters", &interpreters));
        }
        What::Compile => {
            let all = (0..columns.len()).filter(|n| columns[*n].compiles).collect::<Vec<_>>();
            tables.push(per_byte(columns, rows, &all));
        }
    }
    let ours = (0..columns.len()).filter(|n| columns[*n].ours);
    tables.into_iter().flatten().chain(ours.filter_map(|n| against(columns, rows, what, n))).collect()
}

fn cell(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"))
}

/// The value of an engine in a row; or that it failed there.
fn cell_of(row: &Row, engine: usize, value: Option<f64>) -> String {
    if row.failed[engine] { "fails".to_owned() } else { cell(value) }
}

fn header(first: &str, rest: impl IntoIterator<Item = String>) -> Vec<String> {
    core::iter::once(first.to_owned()).chain(rest).collect()
}

/// Milliseconds of native code; how many times that long each engine takes.
fn against_native(
    columns: &[Column],
    rows: &[Row],
    what: What,
    group: &str,
    others: &[usize],
) -> Option<Table> {
    if others.is_empty() {
        return None;
    }
    let native = columns.iter().position(|column| column.class == Class::Native);
    let ratio = |row: &Row, n: usize| row.times[n].ratio(&row.times[native?]).map(|ratio| ratio.median);
    let milliseconds = |row: &Row, n: usize| row.times[n].median().map(|seconds| seconds * 1e3);
    let mut lines =
        vec![header("kernel", core::iter::once("native, ms".to_owned()).chain(names(columns, others)))];
    for row in rows {
        let mut line = header(&row.name, [cell(native.and_then(|n| milliseconds(row, n)))]);
        // Without native code there are only milliseconds.
        let value = |n| if native.is_some() { ratio(row, n) } else { milliseconds(row, n) };
        line.extend(others.iter().map(|n| cell_of(row, *n, value(*n))));
        lines.push(line);
    }
    if native.is_some() {
        let mean = |n: &usize| cell(mean(rows.iter().map(|row| ratio(row, *n))));
        lines.push(header("geometric mean", core::iter::once(String::new()).chain(others.iter().map(mean))));
    }
    let (title, what) = match what {
        What::Warm => {
            ("Warm", "a fresh instance of a program that was compiled before, one run, instance given back")
        }
        _ => ("Cold", "from the bytes of the program: compiled, run once, a sixteenth as long as warm"),
    };
    let unit = if native.is_some() { "Times as multiples of native code" } else { "Milliseconds" };
    let note = format!("{unit} (medians): {what}.");
    Some(Table { title: format!("{title}: {group}"), note, lines })
}

/// The geometric mean of what was measured.
fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    geometric_mean(&values.flatten().collect::<Vec<_>>())
}

/// Nanoseconds per byte of code.
fn per_byte(columns: &[Column], rows: &[Row], compiling: &[usize]) -> Option<Table> {
    if compiling.is_empty() {
        return None;
    }
    let mut lines =
        vec![header("program", core::iter::once("code, bytes".to_owned()).chain(names(columns, compiling)))];
    for row in rows {
        let per_byte =
            |n: usize| row.times[n].median().map(|seconds| seconds * 1e9 / row.code_len[n].max(1) as f64);
        let mut line = header(&row.name, [row.code_len[compiling[0]].to_string()]);
        line.extend(compiling.iter().map(|n| cell_of(row, *n, per_byte(*n))));
        lines.push(line);
    }
    Some(Table {
        title: "Compile only".to_owned(),
        note: "Nanoseconds per byte of code (medians), from the bytes of the file to something that runs, every \
               block priced and compiled. Engines that compile while they run are left out. `wasmtime` gets the \
               same source as a WebAssembly module, and its bytes are counted."
            .to_owned(),
        lines,
    })
}

fn names(columns: &[Column], which: &[usize]) -> Vec<String> {
    which.iter().map(|n| columns[*n].name.clone()).collect()
}

/// One of ours against each rival of its class, and against the best of them on each row.
fn against(columns: &[Column], rows: &[Row], what: What, ours: usize) -> Option<Table> {
    let of_class = |n: &usize| {
        let rival = &columns[*n];
        rival.class == columns[ours].class
            && !rival.ours
            && !rival.part
            && (what != What::Compile || rival.compiles)
    };
    let rivals: Vec<usize> = (0..columns.len()).filter(of_class).collect();
    if rivals.is_empty() {
        return None;
    }
    let best = |row: &Row| -> Option<(Ratio, usize)> {
        let medians = rivals.iter().filter_map(|n| Some((row.times[*n].median()?, *n)));
        let (_, best) = medians.min_by(|a, b| f64::total_cmp(&a.0, &b.0))?;
        Some((row.times[ours].ratio(&row.times[best])?, best))
    };
    let ratio = |row: &Row, n: usize| row.times[ours].ratio(&row.times[n]).map(|ratio| ratio.median);
    let last = ["best rival", "ratio", "spread"].map(str::to_owned);
    let first = if what == What::Compile { "program" } else { "kernel" };
    let mut lines = vec![header(first, names(columns, &rivals).into_iter().chain(last))];
    for row in rows {
        let mut line = header(&row.name, rivals.iter().map(|n| cell_of(row, *n, ratio(row, *n))));
        line.extend(match best(row) {
            Some((Ratio { median, min, max }, best)) => {
                [columns[best].name.clone(), cell(Some(median)), format!("{min:.2}..{max:.2}")]
            }
            None => [cell(None), cell(None), String::new()],
        });
        lines.push(line);
    }
    let means = rivals.iter().map(|n| cell(mean(rows.iter().map(|row| ratio(row, *n)))));
    let mut line = header("geometric mean", means);
    line.push(String::new());
    line.push(cell(mean(rows.iter().map(|row| Some(best(row)?.0.median)))));
    lines.push(line);
    let name = &columns[ours].name;
    Some(Table {
        title: format!(
            "{}: {name} against its rivals",
            match what {
                What::Warm => "Warm",
                What::Cold => "Cold",
                What::Compile => "Compile only",
            }
        ),
        note: format!(
            "Time of `{name}` over each rival's (medians; below 1 is faster), the best rival of each row, and the \
             smallest and largest ratio to that one in any round. `polkavm` is the better of its two sandboxes on \
             the row, with its workers started before."
        ),
        lines,
    })
}

/// The ratio to native code of each engine on each row, for the chart.
pub(crate) fn ratios(native: &Times, row: &Row) -> Vec<Option<f64>> {
    row.times.iter().map(|times| times.ratio(native).map(|ratio| ratio.median)).collect()
}
