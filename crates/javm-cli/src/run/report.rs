//! [`RunReport`]: what a run shows.

use std::time::Duration;

use javm_exec::{Engine, Instance, PAGE_SIZE, memory::same_page};
use javm_program::Region;
use serde::Serialize;

use super::syscalls::Seen;
use crate::{
    Exit,
    fault::FaultReport,
    show::{Fields, Paint, Style, count, grouped},
    world::Held,
};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// It halted.
    Halt,
    /// It faulted.
    Fault,
    /// It waits for an answer.
    Pause,
}

/// What a run shows.
#[derive(Debug, Serialize)]
pub(crate) struct RunReport {
    pub(crate) program: String,
    pub(crate) format: String,
    /// `instance` or `flat`.
    pub(crate) kind: &'static str,
    pub(crate) entry: Entry,
    pub(crate) backend: String,
    pub(crate) gas_model: String,
    pub(crate) outcome: Outcome,
    /// φ7 at a halt.
    pub(crate) value: Option<u64>,
    pub(crate) value_hex: Option<String>,
    pub(crate) gas: Gas,
    pub(crate) memory: Memory,
    pub(crate) instance: Option<InstanceHashes>,
    /// What slot 0 holds at the end; of a JAM program, its output.
    pub(crate) output: Option<Held>,
    /// What a host call was answered with, flat.
    pub(crate) host_calls: Option<HostCalls>,
    /// With a script: the first thousand syscalls.
    pub(crate) syscalls: Option<Vec<Seen>>,
    pub(crate) fault: Option<FaultReport>,
    /// A fault below the call, which a caller handled.
    pub(crate) handled_fault: Option<FaultReport>,
    pub(crate) wall_time_ns: u64,
}

/// Where a run began.
#[derive(Debug, Serialize)]
pub(crate) struct Entry {
    pub(crate) endpoint: Option<u8>,
    pub(crate) name: Option<String>,
    pub(crate) pc: u64,
}

/// Gas.
#[derive(Debug, Serialize)]
pub(crate) struct Gas {
    pub(crate) limit: u64,
    pub(crate) used: u64,
    pub(crate) left: u64,
}

/// Memory, in pages of 4,096 bytes.
#[derive(Debug, Serialize)]
pub(crate) struct Memory {
    /// Laid out when the run began.
    pub(crate) pages: u64,
    /// Pages whose contents differ afterwards; of an instance, of those that last.
    pub(crate) changed: u64,
}

/// Names of an instance.
#[derive(Debug, Serialize)]
pub(crate) struct InstanceHashes {
    pub(crate) image: String,
    pub(crate) before: String,
    pub(crate) after: String,
}

/// Host calls of a flat run.
#[derive(Debug, Serialize)]
pub(crate) struct HostCalls {
    /// How many there were.
    pub(crate) count: u64,
    /// The numbers of those that were answered with WHAT, ascending.
    pub(crate) numbers: Vec<u32>,
}

impl Gas {
    pub(crate) const fn new(limit: u64, used: u64) -> Self {
        Self { limit, used, left: limit.saturating_sub(used) }
    }
}

impl Memory {
    /// Of a machine that ran flat on these regions.
    pub(crate) fn of(instance: &Instance, regions: &[&Region]) -> Self {
        let (mut pages, mut changed) = (0, 0);
        for region in regions {
            let (first, count) = (region.start / PAGE_SIZE as u32, region.size / PAGE_SIZE as u32);
            let differs = |page: &u32| {
                let from = (page - first) as usize * PAGE_SIZE;
                let before = region.contents.get(from..).unwrap_or_default();
                let now = instance.memory.page(*page).unwrap_or_default();
                !same_page(&before[..before.len().min(PAGE_SIZE)], now)
            };
            pages += u64::from(count);
            changed +=
                instance.memory.written(first, count).iter().filter(|page| differs(page)).count() as u64;
        }
        Self { pages, changed }
    }
}

impl RunReport {
    /// The name of what really ran, for `backend`: never `auto`.
    pub(crate) fn backend(engine: &Engine) -> String {
        engine.backend().to_string()
    }

    pub(crate) const fn exit(&self) -> Exit {
        match self.outcome {
            Outcome::Halt => Exit::Success,
            Outcome::Fault => Exit::Failure,
            Outcome::Pause => Exit::Paused,
        }
    }

    pub(crate) fn text(&self, paint: Paint) -> String {
        let mut fields = Fields::new(paint);
        fields.add("program", format!("{}, {}", self.program, self.format));
        let entry = match (self.entry.endpoint, &self.entry.name) {
            (Some(index), Some(name)) => format!("endpoint {index}, {name}, at offset {}", self.entry.pc),
            (Some(index), None) => format!("endpoint {index}, at offset {}", self.entry.pc),
            (None, Some(name)) => format!("{name}, at offset {}", self.entry.pc),
            (None, None) => format!("at offset {}", self.entry.pc),
        };
        fields.add("entry", entry);
        let outcome = match self.outcome {
            Outcome::Halt => paint.text(Style::Good, "halt"),
            Outcome::Fault => paint.text(Style::Bad, "fault"),
            Outcome::Pause if self.syscalls.is_some() => "pause: a syscall without an answer".to_owned(),
            Outcome::Pause => "pause: a yield that nobody below caught".to_owned(),
        };
        fields.add("outcome", outcome);
        if let (Some(value), Some(hex)) = (self.value, &self.value_hex) {
            fields.add("value", format!("{value} ({hex})"));
        }
        let Gas { used, limit, .. } = self.gas;
        fields.add(
            "gas",
            format!("{} of {} ({}, {})", grouped(used), grouped(limit), self.gas_model, self.backend),
        );
        let Memory { pages, changed } = self.memory;
        fields.add("memory", format!("{} laid out, {} changed", count(pages, "page"), grouped(changed)));
        if let Some(InstanceHashes { image, before, after }) = &self.instance {
            fields.add("image", image);
            fields.add("before", before);
            fields.add("after", if after == before { format!("{after} (the same)") } else { after.clone() });
        }
        fields.maybe("output", self.output.as_ref().map(Held::line));
        if let Some(calls) = self.host_calls.as_ref().filter(|calls| calls.count > 0) {
            let numbers: Vec<_> = calls.numbers.iter().map(u32::to_string).collect();
            let text = match &self.syscalls {
                Some(_) => count(calls.count, "syscall"),
                None => format!("{}, answered WHAT: {}", count(calls.count, "host call"), numbers.join(", ")),
            };
            fields.add("calls", text);
        }
        if let Some(fault) = &self.fault {
            fault.fields(&mut fields, paint);
        }
        if let Some(fault) = &self.handled_fault {
            let inside = fault.program.as_deref().unwrap_or("a callee");
            fields.add("handled", format!("{inside}: {} at {}", fault.headline(), fault.place()));
        }
        fields.add("time", format!("{:?}", Duration::from_nanos(self.wall_time_ns)));
        fields.finish()
    }
}
