//! The columns of the tables: the engines that were measured, and the better of PolkaVM's two sandboxes as
//! one more for each way to count gas.

use crate::{
    measure::Row,
    rival::{Class, Rival},
};

/// A column.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    /// Its name.
    pub(crate) name: String,
    /// What kind of engine it is.
    pub(crate) class: Class,
    /// Whether it is one of ours.
    pub(crate) ours: bool,
    /// Whether the measurement of compiling says something.
    pub(crate) compiles: bool,
    /// Whether another column holds the better of this one and of others.
    pub(crate) part: bool,
}

/// The columns of the engines, and the indices of those that each further column is the better of.
pub(crate) fn columns(rivals: &[Box<dyn Rival>]) -> (Vec<Column>, Vec<Vec<usize>>) {
    let mut columns: Vec<Column> = rivals
        .iter()
        .map(|rival| Column {
            name: rival.name().to_owned(),
            class: rival.class(),
            ours: rival.is_ours(),
            compiles: rival.compiles(),
            part: false,
        })
        .collect();
    let mut better = Vec::new();
    for gas in ["", "-simple", "-full"] {
        let sandboxes = ["linux", "generic"].map(|sandbox| format!("polkavm-{sandbox}{gas}"));
        let of: Vec<usize> = (0..rivals.len()).filter(|n| sandboxes.contains(&columns[*n].name)).collect();
        if let Some(first) = of.first() {
            let column = Column { name: format!("polkavm{gas}"), ..columns[*first].clone() };
            of.iter().for_each(|n| columns[*n].part = true);
            columns.push(column);
            better.push(of);
        }
    }
    (columns, better)
}

/// Adds the further columns to a row.
pub(crate) fn complete(row: &mut Row, better: &[Vec<usize>]) {
    for of in better {
        let measured = of.iter().filter_map(|n| Some((row.times[*n].median()?, *n)));
        let best = measured.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(of[0], |(_, n)| n);
        row.times.push(row.times[best].clone());
        row.failed.push(row.failed[best]);
        row.code_len.push(row.code_len[best]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Times;
    use std::time::Duration;

    #[test]
    fn the_better_sandbox_is_chosen_row_by_row() {
        let times = |milliseconds: u64| {
            let mut times = Times::default();
            times.push(Duration::from_millis(milliseconds));
            times
        };
        let mut row = Row {
            name: "row".to_owned(),
            code_len: vec![1, 2, 3],
            times: vec![Times::default(), times(5), times(3)],
            failed: vec![true, false, false],
        };
        complete(&mut row, &[vec![1, 2], vec![0, 1], vec![0]]);
        let medians: Vec<_> = row.times[3..].iter().map(Times::median).collect();
        assert_eq!(medians, [Some(0.003), Some(0.005), None]);
        assert_eq!((&row.failed[3..], &row.code_len[3..]), (&[false, false, true][..], &[3, 2, 1][..]));
    }
}
