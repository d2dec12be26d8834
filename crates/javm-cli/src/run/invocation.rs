//! A blob of the capability microkernel, run once.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{
    Args,
    report::{Gas, HostCalls, Outcome, RunReport},
};
use crate::{
    Exit,
    error::CliError,
    load::{self, path_name},
    options::required_number,
    show::{Fields, Output, Paint, Style, count, grouped},
    vms::{End, NUMBERS, Session, Start},
};

/// What a run shows.
#[derive(Debug, Serialize)]
struct Report {
    program: String,
    format: &'static str,
    kind: &'static str,
    operation: u64,
    backend: String,
    gas_model: String,
    outcome: Outcome,
    value: Option<u64>,
    value_hex: Option<String>,
    /// `panic`, `out-of-gas`, `page-fault`.
    reason: Option<&'static str>,
    /// Of a page fault.
    address: Option<u32>,
    gas: Gas,
    /// Operations, faults included.
    operations: u64,
    /// VMs at the end.
    vms: usize,
    /// Pages that were given out.
    pages: u32,
    /// Bytes that the value names.
    output_bytes: u32,
    /// Protocol calls that were answered with WHAT.
    host_calls: HostCalls,
    wall_time_ns: u64,
}

pub(super) fn run(args: &Args, bytes: &[u8], out: &mut Output) -> Result<Exit, CliError> {
    if !args.slots.is_empty() || args.state.is_some() {
        return Err(CliError::NotHere(
            "--slot and --state: a blob of the microkernel has its capabilities, and no value",
        ));
    }
    let (numbers, input) = args.arguments(NUMBERS)?;
    let start = Start {
        operation: args.endpoint.as_deref().map_or(Ok(0), required_number)?,
        numbers,
        input: input.map_or_else(|| Ok(Vec::new()), |file| load::bytes(&file))?,
        gas: args.gas,
    };
    let engine = args.engine.engine()?;
    let mut session = Session::new(&args.program, bytes, &engine, &start)?;
    let begin = Instant::now();
    session.run(None, args.trace);
    let wall_time_ns = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);

    let (outcome, value, reason, address) = match session.end {
        Some(End::Halt(value)) => (Outcome::Halt, Some(value), None, None),
        Some(End::Fault(reason, address)) => (Outcome::Fault, None, Some(reason), address),
        None => (Outcome::Pause, None, None, None),
    };
    if let Some(file) = args.output.as_ref().filter(|_| outcome == Outcome::Halt) {
        load::write(file, &session.output())?;
    }
    // Gas of the first VM: at the end nobody else has any, unless the first VM faulted under way.
    let left = session.invocation.vm(0).map_or(0, javm_invocation::Vm::gas);
    let report = Report {
        program: path_name(&args.program),
        format: "capability manifest",
        kind: "invocation",
        operation: start.operation,
        backend: RunReport::backend(&engine),
        gas_model: engine.gas_model().to_string(),
        outcome,
        value,
        value_hex: value.map(|v| format!("{v:#x}")),
        reason,
        address,
        gas: Gas::new(args.gas, args.gas.saturating_sub(left)),
        operations: session.steps,
        vms: session.invocation.vms().count(),
        pages: session.invocation.untyped().0,
        output_bytes: session.output_place().1,
        host_calls: HostCalls {
            count: session.unknown,
            numbers: session.ids.iter().map(|id| u32::from(*id)).collect(),
        },
        wall_time_ns,
    };
    out.report(&report, text)?;
    Ok(match outcome {
        Outcome::Halt => Exit::Success,
        _ => Exit::Failure,
    })
}

fn text(report: &Report, paint: Paint) -> String {
    let mut fields = Fields::new(paint);
    fields.add("program", format!("{}, {}", report.program, report.format));
    fields.add("operation", report.operation);
    let outcome = match (report.reason, report.address) {
        (None, _) => paint.text(Style::Good, "halt"),
        (Some(reason), None) => paint.text(Style::Bad, reason),
        (Some(reason), Some(address)) => paint.text(Style::Bad, format!("{reason} at {address:#x}")),
    };
    fields.add("outcome", outcome);
    if let (Some(value), Some(hex)) = (report.value, &report.value_hex) {
        fields.add("value", format!("{value} ({hex})"));
    }
    let Gas { used, limit, .. } = report.gas;
    let (used, limit) = (grouped(used), grouped(limit));
    fields.add("gas", format!("{used} of {limit} ({}, {})", report.gas_model, report.backend));
    let (operations, vms) = (count(report.operations, "operation"), count(report.vms as u64, "VM"));
    fields
        .add("kernel", format!("{operations}, {vms} at the end, {} given out", count(report.pages, "page")));
    if report.output_bytes > 0 {
        fields.add("output", count(report.output_bytes, "byte"));
    }
    if report.host_calls.count > 0 {
        let ids: Vec<_> = report.host_calls.numbers.iter().map(u32::to_string).collect();
        let calls = count(report.host_calls.count, "protocol call");
        fields.add("calls", format!("{calls}, answered WHAT: {}", ids.join(", ")));
    }
    fields.add("time", format!("{:?}", Duration::from_nanos(report.wall_time_ns)));
    fields.finish()
}
