//! What an invocation consists of, as a report and as a drawing: VMs in the order of who owns whom, their tables.

use std::collections::BTreeSet;

use javm_invocation::{Cap, Invocation, Vm, VmState};
use serde::Serialize;

use crate::show::{Paint, Style, count, grouped};

/// All that there is.
#[derive(Debug, Serialize)]
pub(crate) struct Live {
    /// Place of the VM that runs.
    active: u16,
    /// Places of the VMs that wait for it, outermost first.
    waiting: Vec<u16>,
    /// Pages that somebody got, and that there are.
    pages_used: u32,
    pages_total: u32,
    vms: Vec<VmReport>,
}

/// A VM.
#[derive(Debug, Serialize)]
struct VmReport {
    index: u16,
    /// How many handles lead to it.
    depth: usize,
    state: &'static str,
    code: u8,
    pc: u64,
    gas: u64,
    caps: Vec<CapReport>,
}

/// A capability in a slot.
#[derive(Debug, Serialize)]
struct CapReport {
    slot: u8,
    kind: &'static str,
    /// What it is, in words.
    what: String,
    /// Of DATA: pages that are mapped.
    mapped_pages: Option<u32>,
    /// The kernel put it there and nobody touched it.
    original: bool,
}

impl Live {
    /// What there is. VMs come behind the one that has their handle; those that nobody has come last.
    pub(crate) fn of(invocation: &Invocation) -> Self {
        let mut order: Vec<(u16, usize)> = Vec::new();
        let mut seen = BTreeSet::new();
        for root in invocation.vms() {
            let mut next = vec![(root.id().index, 0)];
            while let Some((index, depth)) = next.pop() {
                let Some(vm) = invocation.vm(index) else { continue };
                if !seen.insert(index) {
                    continue;
                }
                order.push((index, depth));
                let children = vm.table().iter().filter_map(|(_, cap)| match cap {
                    Cap::Handle(handle) => Some((handle.vm.index, depth + 1)),
                    _ => None,
                });
                // The last that is pushed comes first.
                let from = next.len();
                next.extend(children);
                next[from..].reverse();
            }
        }
        let vms = order.into_iter().filter_map(|(index, depth)| Some(report(invocation.vm(index)?, depth)));
        let (pages_used, pages_total) = invocation.untyped();
        Self {
            active: invocation.active(),
            waiting: invocation.callers().map(|(vm, _)| vm).collect(),
            pages_used,
            pages_total,
            vms: vms.collect(),
        }
    }

    /// The drawing.
    pub(crate) fn text(&self, paint: Paint) -> String {
        let Self { active, waiting, pages_used, pages_total, vms } = self;
        let mut out = paint.text(Style::Heading, count(vms.len() as u64, "VM"));
        out += &format!(", {} of {} given out", grouped((*pages_used).into()), count(*pages_total, "page"));
        let stack: Vec<String> = waiting.iter().chain([active]).map(|vm| format!("VM {vm}")).collect();
        out += &format!("\nrunning: {}\n", stack.join(" → "));
        for vm in vms {
            vm.draw(&mut out, paint);
        }
        out
    }
}

fn report(vm: &Vm, depth: usize) -> VmReport {
    let state = match vm.state() {
        VmState::Idle => "idle",
        VmState::Running => "running",
        VmState::WaitingForReply => "waiting",
        VmState::Halted => "halted",
        VmState::Faulted => "faulted",
    };
    let cap = |(slot, cap): (u8, &Cap)| CapReport {
        slot,
        kind: cap.kind(),
        what: cap.to_string(),
        mapped_pages: match cap {
            Cap::Data(data) => Some(vm.space().mapped_pages(data.backing)),
            _ => None,
        },
        original: vm.table().is_original(slot),
    };
    let caps = vm.table().iter().map(cap).collect();
    let (index, pc) = (vm.id().index, vm.regs().pc);
    VmReport { index, depth, state, code: vm.code(), pc, gas: vm.gas(), caps }
}

impl VmReport {
    fn draw(&self, out: &mut String, paint: Paint) {
        let Self { index, depth, state, code, pc, gas, caps } = self;
        // A chain of handles may be longer than a line.
        let indent = "   ".repeat((*depth).min(12));
        let style = match *state {
            "running" | "halted" => Style::Good,
            "faulted" => Style::Bad,
            _ => Style::Faint,
        };
        let state = paint.text(style, state);
        let gas = grouped(*gas);
        *out += &format!("\n{indent}┌ VM {index}   {state}   code {code} at {pc}   {gas} gas\n");
        let mut caps = caps.iter().peekable();
        while let Some(cap) = caps.next() {
            if !cap.original {
                let mapped = cap.mapped_pages.map_or_else(String::new, |n| format!(", {n} mapped"));
                *out += &format!("{indent}│ {:>9}  {}{mapped}\n", cap.slot, cap.what);
                continue;
            }
            // What the kernel put there is one line.
            let mut last = cap.slot;
            while let Some(next) = caps.next_if(|next| next.original && next.slot == last + 1) {
                last = next.slot;
            }
            let slots = if last == cap.slot { last.to_string() } else { format!("{} – {last}", cap.slot) };
            *out += &format!("{indent}│ {slots:>9}  PROTOCOL, each its slot's number\n");
        }
        *out += &format!("{indent}└\n");
    }
}
