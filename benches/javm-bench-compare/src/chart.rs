//! The chart: a line per kernel, a dot per engine (native code and the sandboxes of PolkaVM left out: 1, and
//! the better of them), how many times as long as native code on a logarithmic
//! scale.

use std::fmt::Write;

use crate::{columns::Column, measure::Row, report::ratios, rival::Class, stats::geometric_mean};

const LEFT: f64 = 150.0;
const RIGHT: f64 = 880.0;
const LINE: f64 = 22.0;
const COLORS: [&str; 12] = [
    "#d62728", "#1f77b4", "#2ca02c", "#ff7f0e", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22",
    "#17becf", "#aec7e8", "#98df8a",
];

/// The chart of warm runs; `None` without native code to compare with.
pub(crate) fn svg(columns: &[Column], rows: &[Row]) -> Option<String> {
    let native = columns.iter().position(|column| column.class == Class::Native)?;
    let shown: Vec<usize> = (0..columns.len()).filter(|n| *n != native && !columns[*n].part).collect();
    let of_row = |row: &Row| {
        let ratios = ratios(&row.times[native], row);
        shown.iter().map(|n| ratios[*n]).collect()
    };
    let mut lines: Vec<(String, Vec<Option<f64>>)> =
        rows.iter().map(|row| (row.name.clone(), of_row(row))).collect();
    let mean =
        |n: usize| geometric_mean(&lines.iter().filter_map(|(_, ratios)| ratios[n]).collect::<Vec<_>>());
    let means: Vec<_> = (0..shown.len()).map(mean).collect();
    lines.push(("geometric mean".to_owned(), means));

    let largest =
        lines.iter().flat_map(|(_, ratios)| ratios.iter().flatten()).fold(2.0, |a: f64, b| a.max(*b));
    let smallest =
        lines.iter().flat_map(|(_, ratios)| ratios.iter().flatten()).fold(1.0, |a: f64, b| a.min(*b));
    let x = |ratio: f64| LEFT + (ratio / smallest).ln() / (largest / smallest).ln() * (RIGHT - LEFT);
    let top = 30.0 + LINE * shown.len().div_ceil(4) as f64;
    let height = top + LINE * (lines.len() as f64 + 2.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 900 {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"900\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for (n, name) in shown.iter().map(|n| &columns[*n].name).enumerate() {
        let (cx, cy) = (20.0 + 220.0 * (n % 4) as f64, 20.0 + LINE * (n / 4) as f64);
        let color = COLORS[n % COLORS.len()];
        let _ = writeln!(
            svg,
            "<circle cx=\"{cx}\" cy=\"{cy}\" r=\"5\" fill=\"{color}\"/><text x=\"{}\" y=\"{}\">{}</text>",
            cx + 10.0,
            cy + 4.0,
            name
        );
    }
    for tick in [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0] {
        if (smallest..=largest).contains(&tick) {
            let (x, bottom) = (x(tick), height - LINE * 1.5);
            let _ = writeln!(
                svg,
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{bottom}\" stroke=\"#ddd\"/>\
                 <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{tick}×</text>",
                bottom + 14.0
            );
        }
    }
    for (n, (name, ratios)) in lines.iter().enumerate() {
        let y = top + LINE * (n as f64 + 0.5);
        let weight = if n + 1 == lines.len() { "bold" } else { "normal" };
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" font-weight=\"{weight}\">{name}</text>\
             <line x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y}\" y2=\"{y}\" stroke=\"#eee\"/>",
            LEFT - 10.0,
            y + 4.0
        );
        for (n, ratio) in ratios.iter().enumerate() {
            if let Some(ratio) = ratio {
                let color = COLORS[n % COLORS.len()];
                let _ = writeln!(
                    svg,
                    "<circle cx=\"{:.1}\" cy=\"{y}\" r=\"5\" fill=\"{color}\" fill-opacity=\"0.8\">\
                     <title>{}: {ratio:.2}×</title></circle>",
                    x(*ratio),
                    columns[shown[n]].name
                );
            }
        }
    }
    svg.push_str("</svg>\n");
    Some(svg)
}
