//! A played scenario as text.

use std::fmt::Write as _;

use super::player::{Called, Event, Report};
use crate::show::{Paint, Style, count, grouped, short};

/// Width of the column with calls.
const CALL: usize = 34;
/// Width of the column with results.
const RESULT: usize = 28;

pub(super) fn text(report: &Report, paint: Paint) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{}", paint.text(Style::Heading, &report.title));
    for line in report.about.lines() {
        let _ = writeln!(out, "{line}");
    }
    let _ = writeln!(out);
    for program in &report.programs {
        let size = format!(
            "{} of code, {}",
            count(program.code_bytes, "byte"),
            count(program.endpoints, "endpoint")
        );
        let _ = writeln!(out, "  program   {:<10} {}  {size}", program.name, short(&program.image));
    }
    for event in &report.steps {
        event_text(&mut out, event, paint);
    }
    let calls = report.steps.iter().filter(|e| matches!(e, Event::Call(_))).count();
    let used = format!("{}, {} gas", count(calls, "call"), grouped(report.gas_used));
    let how = format!("{} on the {}", report.gas_model, report.backend);
    match &report.failure {
        None => {
            let _ = writeln!(out, "\n{}: {used} ({how})", paint.text(Style::Good, "as expected"));
        }
        Some(failure) => {
            let what = format!("step {}: {}", failure.step, failure.difference);
            let _ = writeln!(out, "\n{}", paint.text(Style::Bad, what));
        }
    }
    out
}

fn event_text(out: &mut String, event: &Event, paint: Paint) {
    let faint = |text: String| paint.text(Style::Faint, text);
    let _ = match event {
        Event::Say { text } => writeln!(out, "\n{}", paint.text(Style::Heading, text)),
        Event::Instance { name, program, hash, slots } => {
            let slots: Vec<_> = slots.iter().map(|(slot, value)| format!("slot {slot}: {value}")).collect();
            let of = if name == program { String::new() } else { format!("of {program}  ") };
            let line = format!("  instance  {name:<10} {}  {of}{}", short(hash), slots.join(", "));
            writeln!(out, "{}", line.trim_end())
        }
        Event::Put { instance, slot, value, after, .. } => {
            writeln!(out, "  put       {instance:<10} {}  slot {slot}: {value}", short(after))
        }
        Event::Call(call) => {
            call_text(out, call, paint);
            Ok(())
        }
        Event::Snapshot { of, name, hash } => {
            writeln!(out, "  snapshot  {name:<10} {}  of {of}", short(hash))
        }
        Event::Revert { instance, to, before, after } => {
            let from = faint(format!("from {}", short(before)));
            writeln!(out, "  revert    {instance:<10} {}  to {to}, {from}", short(after))
        }
        Event::Same { a, b, hash } => {
            writeln!(out, "  same      {a} and {b}: {}", paint.text(Style::Good, short(hash)))
        }
        Event::Different { a, b, hashes: [left, right] } => {
            writeln!(out, "  different {a} and {b}: {} and {}", short(left), short(right))
        }
        Event::Show { instance, hash, image, slots } => {
            let mut result = writeln!(out, "  {instance}, instance of {image}, {}", short(hash));
            for (slot, held) in slots {
                result = writeln!(out, "    slot {slot:>3}  {}", held.line());
            }
            result
        }
    };
}

fn call_text(out: &mut String, call: &Called, paint: Paint) {
    let args: Vec<_> = call.args.iter().map(|n| number(*n)).collect();
    let what = format!("{}.{}({})", call.instance, call.endpoint, args.join(", "));
    let (style, result) = match (call.value, &call.fault) {
        (Some(value), _) if call.handled_fault.is_some() => {
            (Style::Bad, format!("→ {} refused", number(value)))
        }
        (Some(value), _) => (Style::Good, format!("→ {}", number(value))),
        (None, Some(fault)) => (Style::Bad, format!("✗ {}", fault.reason)),
        (None, None) => (Style::Bad, "… paused".to_owned()),
    };
    let gas = format!("{:>9} gas", grouped(call.gas_used));
    let hashes = if call.before == call.after {
        paint.text(Style::Faint, format!("{} unchanged", short(&call.before)))
    } else {
        format!("{} → {}", short(&call.before), short(&call.after))
    };
    let result = paint.pad(style, result, RESULT);
    let _ = writeln!(out, "  {what:<CALL$} {result} {gas}   {hashes}");
    if let Some(output) = &call.output {
        let _ = writeln!(out, "      slot 0: {}", output.line());
    }
    for fault in call.fault.iter().chain(&call.handled_fault) {
        let program = fault.program.as_deref().unwrap_or("an instance");
        let text = format!("      {program}: {} at {}", fault.headline(), fault.place());
        let _ = writeln!(out, "{}", paint.text(Style::Bad, text));
    }
    if let Some(note) = &call.note {
        let _ = writeln!(out, "      {}", paint.text(Style::Faint, note));
    }
}

/// Small numbers in decimal, those that look like codes in hexadecimal.
fn number(n: u64) -> String {
    if n >> 63 == 0 { n.to_string() } else { format!("{n:#x}") }
}
