//! Tables from the measurements: the same for the terminal and for `benches/record`.

use std::fmt::Write;

use crate::{
    measure::{Row, What},
    rival::{Class, Rival},
    stats::{Ratio, Times, geometric_mean},
};

/// A table: a title, what its columns mean, lines of cells.
pub(crate) struct Table {
    title: String,
    note: String,
    lines: Vec<Vec<String>>,
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
pub(crate) fn tables(rivals: &[Box<dyn Rival>], rows: &[Row], what: What) -> Vec<Table> {
    let mut tables = vec![match what {
        What::Warm | What::Cold => against_native(rivals, rows, what),
        What::Compile => per_byte(rivals, rows),
    }];
    tables.extend(
        (0..rivals.len()).filter(|n| rivals[*n].is_ours()).filter_map(|n| against(rivals, rows, what, n)),
    );
    tables
}

fn cell(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"))
}

fn header(first: &str, rest: impl IntoIterator<Item = String>) -> Vec<String> {
    core::iter::once(first.to_owned()).chain(rest).collect()
}

/// Milliseconds of native code; how many times that long each engine takes.
fn against_native(rivals: &[Box<dyn Rival>], rows: &[Row], what: What) -> Table {
    let native = rivals.iter().position(|rival| rival.class() == Class::Native);
    let others: Vec<usize> = (0..rivals.len()).filter(|n| Some(*n) != native).collect();
    let ratio = |row: &Row, n: usize| row.times[n].ratio(&row.times[native?]).map(|ratio| ratio.median);
    let milliseconds = |row: &Row, n: usize| row.times[n].median().map(|seconds| seconds * 1e3);
    let mut lines =
        vec![header("kernel", core::iter::once("native, ms".to_owned()).chain(names(rivals, &others)))];
    for row in rows {
        let mut line = header(&row.name, [cell(native.and_then(|n| milliseconds(row, n)))]);
        // Without native code there are only milliseconds.
        line.extend(
            others
                .iter()
                .map(|n| cell(if native.is_some() { ratio(row, *n) } else { milliseconds(row, *n) })),
        );
        lines.push(line);
    }
    if native.is_some() {
        lines.push(header(
            "geometric mean",
            core::iter::once(String::new()).chain(others.iter().map(|n| {
                cell(geometric_mean(&rows.iter().filter_map(|row| ratio(row, *n)).collect::<Vec<_>>()))
            })),
        ));
    }
    let (title, what) = match what {
        What::Warm => {
            ("Warm", "a fresh instance of a program that was compiled before, one run, instance given back")
        }
        _ => ("Cold", "from the bytes of the program: compiled, run once, a sixteenth as long as warm"),
    };
    let note = format!("Times as multiples of native code (medians): {what}.");
    Table { title: title.to_owned(), note, lines }
}

/// Nanoseconds per byte of code.
fn per_byte(rivals: &[Box<dyn Rival>], rows: &[Row]) -> Table {
    let compiling: Vec<usize> = (0..rivals.len()).filter(|n| rivals[*n].compiles()).collect();
    let mut lines =
        vec![header("program", core::iter::once("code, bytes".to_owned()).chain(names(rivals, &compiling)))];
    for row in rows {
        let per_byte =
            |n: &usize| row.times[*n].median().map(|seconds| seconds * 1e9 / row.code_len.max(1) as f64);
        let mut line = header(&row.name, [row.code_len.to_string()]);
        line.extend(compiling.iter().map(|n| cell(per_byte(n))));
        lines.push(line);
    }
    Table {
        title: "Compile only".to_owned(),
        note: "Nanoseconds per byte of code (medians), from the bytes of the file to something that runs, every block \
               priced and compiled. Engines that compile while they run are left out."
            .to_owned(),
        lines,
    }
}

fn names(rivals: &[Box<dyn Rival>], which: &[usize]) -> Vec<String> {
    which.iter().map(|n| rivals[*n].name().to_owned()).collect()
}

/// One of ours against each rival of its class, and against the best of them on each row.
fn against(rivals: &[Box<dyn Rival>], rows: &[Row], what: What, ours: usize) -> Option<Table> {
    let of_class = |n: &usize| {
        let rival = &rivals[*n];
        rival.class() == rivals[ours].class()
            && !rival.is_ours()
            && (what != What::Compile || rival.compiles())
    };
    let rivals_of_class: Vec<usize> = (0..rivals.len()).filter(of_class).collect();
    if rivals_of_class.is_empty() {
        return None;
    }
    let mut lines = vec![header(
        if what == What::Compile { "program" } else { "kernel" },
        names(rivals, &rivals_of_class).into_iter().chain(["best rival".to_owned(), "spread".to_owned()]),
    )];
    let best = |row: &Row| -> Option<Ratio> {
        let time = |n: &&usize| row.times[**n].median();
        let best = rivals_of_class.iter().filter(|n| time(n).is_some());
        let best = best.min_by(|a, b| f64::total_cmp(&time(a).unwrap_or(0.0), &time(b).unwrap_or(0.0)))?;
        row.times[ours].ratio(&row.times[*best])
    };
    let ratio = |row: &Row, n: usize| row.times[ours].ratio(&row.times[n]).map(|ratio| ratio.median);
    for row in rows {
        let mut line = header(&row.name, rivals_of_class.iter().map(|n| cell(ratio(row, *n))));
        let best = best(row);
        line.push(cell(best.map(|ratio| ratio.median)));
        line.push(best.map_or_else(String::new, |Ratio { min, max, .. }| format!("{min:.2}..{max:.2}")));
        lines.push(line);
    }
    let mean = |ratios: Vec<f64>| cell(geometric_mean(&ratios));
    let mut line = header(
        "geometric mean",
        rivals_of_class.iter().map(|n| mean(rows.iter().filter_map(|row| ratio(row, *n)).collect())),
    );
    line.push(mean(rows.iter().filter_map(|row| Some(best(row)?.median)).collect()));
    lines.push(line);
    let name = rivals[ours].name();
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
             smallest and largest ratio to that one in any round."
        ),
        lines,
    })
}

/// The ratio to native code of each engine on each row, for the chart.
pub(crate) fn ratios(native: &Times, row: &Row) -> Vec<Option<f64>> {
    row.times.iter().map(|times| times.ratio(native).map(|ratio| ratio.median)).collect()
}
