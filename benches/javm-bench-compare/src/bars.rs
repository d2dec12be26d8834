//! What our recompiler shall reach, and whether it does: one line per bar, from the measurements.

use crate::{
    columns::Column,
    kernels::Kernel,
    measure::{Row, What},
    report::Table,
    rival::Class,
    singles::Singles,
    stats::geometric_mean,
};

/// The rows of one measurement, with the columns that they are compared by.
struct Rows<'a> {
    columns: &'a [Column],
    rows: &'a [Row],
    ours: usize,
}

/// A value that was measured and where it comes from.
struct Found {
    value: f64,
    remark: String,
}

impl Rows<'_> {
    fn rival(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// Our time over the rival's, by row.
    fn ratios(&self, rival: &str) -> Vec<(&str, f64)> {
        let Some(rival) = self.rival(rival) else { return Vec::new() };
        let ratio = |row: &Row| row.times[self.ours].ratio(&row.times[rival]).map(|ratio| ratio.median);
        self.rows.iter().filter_map(|row| Some((&*row.name, ratio(row)?))).collect()
    }

    /// The largest of them.
    fn each(&self, rival: &str, bound: f64) -> Option<Found> {
        let ratios = self.ratios(rival);
        let met = ratios.iter().filter(|(_, ratio)| *ratio <= bound).count();
        let (name, value) = ratios.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
        Some(Found { value: *value, remark: format!("{name}; {met} of {} meet it", ratios.len()) })
    }

    /// Their geometric mean.
    fn mean(&self, rival: &str) -> Option<Found> {
        let ratios: Vec<f64> = self.ratios(rival).into_iter().map(|(_, ratio)| ratio).collect();
        geometric_mean(&ratios).map(|value| Found { value, remark: format!("of {}", ratios.len()) })
    }

    /// Nanoseconds per host call, the loop around it and the instance included; the slower of the kernels.
    fn host_call(&self, kernels: &[Kernel], scale: f64) -> Option<Found> {
        let kernels = kernels.iter().filter(|kernel| kernel.name.starts_with("hostcall"));
        let per_call = |kernel: &Kernel| {
            let row = self.rows.iter().find(|row| row.name == kernel.name)?;
            let calls = *kernel.warm_args(scale).first()? as f64;
            Some((row.times[self.ours].median()? * 1e9 / calls, kernel.name))
        };
        let (value, name) = kernels.filter_map(per_call).max_by(|a, b| a.0.total_cmp(&b.0))?;
        Some(Found { value, remark: format!("{name}, with the loop around it") })
    }
}

/// The table of the bars; `None` when our recompiler was not measured.
pub(crate) fn table(
    columns: &[Column],
    measured: &[(What, Vec<Row>)],
    singles: Option<Singles>,
    kernels: &[Kernel],
    scale: f64,
) -> Option<Table> {
    let ours = columns.iter().position(|column| column.ours && column.class == Class::Recompiler)?;
    let rows = |what: What| {
        let rows = measured.iter().find(|(measured, _)| *measured == what).map(|(_, rows)| &rows[..]);
        Rows { columns, rows: rows.unwrap_or_default(), ours }
    };
    let (warm, cold, compile) = (rows(What::Warm), rows(What::Cold), rows(What::Compile));
    let singles = singles.unwrap_or_default();
    let single = |value: Option<f64>, factor: f64, remark: &str| {
        value.map(|value| Found { value: value * factor, remark: remark.to_owned() })
    };
    let checked = singles.second_start_checked.unwrap_or(f64::NAN) * 1e6;
    let remark = format!("from its bytes to the first block; {checked:.0} µs after it was checked");
    let second_start = single(singles.second_start, 1e3, &remark);
    let bars = [
        ("warm, each kernel, over PolkaVM's full model", 0.95, warm.each("polkavm-full", 0.95)),
        ("warm, geometric mean, over PolkaVM without gas", 1.0, warm.mean("polkavm")),
        ("warm, geometric mean, over native code", 1.8, warm.mean("native")),
        ("cold, each kernel, over PolkaVM's full model", 0.8, cold.each("polkavm-full", 0.8)),
        ("cold, geometric mean, over PolkaVM without gas", 1.0, cold.mean("polkavm")),
        ("compile only, each program, over PolkaVM's full model", 0.6, compile.each("polkavm-full", 0.6)),
        ("compile only, geometric mean, over PolkaVM's full model", 0.6, compile.mean("polkavm-full")),
        ("warm, each kernel, over javm 0.4", 0.6, warm.each("javm04", 0.6)),
        ("cold, each kernel, over javm 0.4", 0.6, cold.each("javm04", 0.6)),
        ("one host call and back in process, ns", 10.0, warm.host_call(kernels, scale)),
        (
            "nested capability call and return, µs",
            1.0,
            single(singles.nested, 1e6, "a page of memory, a stack"),
        ),
        (
            "fresh instance with 64 KiB touched, µs",
            20.0,
            single(singles.fresh, 1e6, "mapped, run, given back"),
        ),
        (
            "memory of an idle instance, KiB",
            64.0,
            single(singles.idle, 1.0 / 1024.0, "two pages of it written"),
        ),
        ("second start of a 1 MB program, code on disk, ms", 1.0, second_start),
    ];
    let header = ["bar", "at most", "measured", "", "where"].map(str::to_owned).to_vec();
    let lines = bars.into_iter().map(|(name, bound, found)| {
        let bound_text = format!("{bound:.2}");
        match found {
            Some(Found { value, remark }) => {
                let verdict = if value <= bound { "met" } else { "missed" };
                vec![name.to_owned(), bound_text, format!("{value:.2}"), verdict.to_owned(), remark]
            }
            None => {
                vec![name.to_owned(), bound_text, "–".to_owned(), "not measured".to_owned(), String::new()]
            }
        }
    });
    Some(Table {
        title: "Bars".to_owned(),
        note: "What `javm-recompiler` shall reach, gas counted (`Pipeline`); ratios are its median time over the \
               other's, PolkaVM's the better of its two sandboxes. For a bar of each kernel the worst is given."
            .to_owned(),
        lines: std::iter::once(header).chain(lines).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Times;
    use std::time::Duration;

    fn column(name: &str, ours: bool) -> Column {
        Column { name: name.to_owned(), class: Class::Recompiler, ours, compiles: true, part: false }
    }

    fn row(name: &str, milliseconds: [u64; 2]) -> Row {
        let times = milliseconds.map(|milliseconds| {
            let mut times = Times::default();
            times.push(Duration::from_millis(milliseconds));
            times
        });
        Row { name: name.to_owned(), code_len: vec![1; 2], times: times.into(), failed: vec![false; 2] }
    }

    #[test]
    fn a_bar_of_each_kernel_is_met_by_the_worst() {
        let columns = [column("javm-recompiler", true), column("polkavm-full", false)];
        let line = |rows| {
            let table = table(&columns, &[(What::Warm, rows)], None, &[], 1.0).unwrap();
            table.lines[1].clone()
        };
        assert_eq!(
            line(vec![row("a", [9, 10]), row("b", [8, 10])])[2..],
            ["0.90", "met", "a; 2 of 2 meet it"]
        );
        assert_eq!(line(vec![row("a", [96, 100]), row("b", [8, 10])])[3..], ["missed", "a; 1 of 2 meet it"]);
        assert_eq!(line(vec![])[2..], ["–", "not measured", ""]);
    }
}
