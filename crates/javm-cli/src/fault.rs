//! What went wrong in a guest, for a report: of an instance from [`FaultInfo`], of a flat run from the
//! machine as it stands.

use javm::FaultInfo;
use javm_abi::status::FaultCode;
use javm_exec::{ExitReason, NUM_REGS, Regs};
use javm_program::Program;
use serde::Serialize;

use crate::show::{Fields, Paint, Style, clean, hex, registers};

/// A fault.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FaultReport {
    /// `trap`, `panic`, `out-of-gas`, `page-fault`, …
    pub(crate) reason: &'static str,
    /// What happened, in words.
    message: String,
    /// The code that a calling instance sees in φ7; not for flat runs.
    code: Option<u64>,
    /// The page that was touched.
    address: Option<u32>,
    /// How deep the call was: 0 is the outermost.
    depth: Option<usize>,
    /// The image that ran.
    image: Option<String>,
    /// The program that the image is of, where it has a name here.
    pub(crate) program: Option<String>,
    pc: u64,
    /// Disassembled.
    instruction: Option<String>,
    function: Option<String>,
    file: Option<String>,
    line: Option<u32>,
    registers: [u64; NUM_REGS],
}

/// The word for a fault code, as scenarios and JSON spell it.
pub(crate) const fn code_name(code: FaultCode) -> &'static str {
    match code {
        FaultCode::Trap => "trap",
        FaultCode::Panic => "panic",
        FaultCode::OutOfGas => "out-of-gas",
        FaultCode::PageFault => "page-fault",
        FaultCode::UnhandledMarker => "unhandled-marker",
        FaultCode::StorageExhausted => "storage-exhausted",
        FaultCode::Depth => "depth",
        FaultCode::Layout => "layout",
        FaultCode::NoSuchEndpoint => "no-such-endpoint",
        FaultCode::Refused => "refused",
        // A code that is newer than this command.
        _ => "fault",
    }
}

const fn exit_name(reason: ExitReason) -> &'static str {
    match reason {
        ExitReason::Halt => "halt",
        ExitReason::Trap => "trap",
        ExitReason::Panic => "panic",
        ExitReason::OutOfGas => "out-of-gas",
        ExitReason::PageFault(_) => "page-fault",
        ExitReason::HostCall(_) => "host-call",
        ExitReason::Ecall => "ecall",
    }
}

const fn page(reason: ExitReason) -> Option<u32> {
    match reason {
        ExitReason::PageFault(address) => Some(address),
        _ => None,
    }
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| clean(text))
}

impl FaultReport {
    /// The fault of an instance; `program` is what its image is called here.
    pub(crate) fn of_instance(info: &FaultInfo, program: Option<&str>) -> Self {
        Self {
            reason: code_name(info.code()),
            message: clean(&info.to_string()),
            code: Some(info.code().number()),
            address: page(info.reason),
            depth: Some(info.depth),
            image: Some(hex(&info.image)),
            program: program.map(clean),
            pc: info.regs.pc,
            instruction: some(&info.instruction),
            function: info.function.as_deref().and_then(some),
            file: info.source.as_ref().and_then(|(file, _)| some(file)),
            line: info.source.as_ref().map(|(_, line)| *line),
            registers: info.regs.gpr,
        }
    }

    /// The fault of a machine that ran flat.
    pub(crate) fn of_machine(reason: ExitReason, regs: &Regs, program: &Program) -> Self {
        let pc = u32::try_from(regs.pc).unwrap_or(u32::MAX);
        let instruction = program.code().instruction(pc).map(|i| i.to_string());
        let source = program.source_location(pc);
        let at = instruction.as_ref().map_or_else(|| "outside the code".to_owned(), |i| format!("`{i}`"));
        Self {
            reason: exit_name(reason),
            message: format!("{reason} at offset {}, {at}", regs.pc),
            code: None,
            address: page(reason),
            depth: None,
            image: None,
            program: None,
            pc: regs.pc,
            instruction,
            function: program.function_at(pc).and_then(|(_, name)| some(&name)),
            file: source.and_then(|s| some(s.file?)),
            line: source.and_then(|s| s.line),
            registers: regs.gpr,
        }
    }

    /// What happened, in one line without the place.
    pub(crate) fn headline(&self) -> &str {
        self.message.split_once(" at offset ").map_or(&self.message, |(what, _)| what)
    }

    /// `ledger::transfer (src/lib.rs:48)`, or as much of it as is known.
    pub(crate) fn place(&self) -> String {
        let source = match (&self.file, self.line) {
            (Some(file), Some(line)) => format!(" ({file}:{line})"),
            (Some(file), None) => format!(" ({file})"),
            _ => String::new(),
        };
        let instruction = self.instruction.as_ref().map_or_else(String::new, |i| format!(", `{i}`"));
        let function = self.function.as_ref().map_or_else(String::new, |f| format!(", in {f}"));
        format!("offset {}{instruction}{function}{source}", self.pc)
    }

    /// Adds the fault to a report: reason, place, instance, registers.
    pub(crate) fn fields(&self, fields: &mut Fields, paint: Paint) {
        fields.add("fault", paint.text(Style::Bad, self.headline()));
        fields.maybe("instruction", self.instruction.as_ref());
        fields.add("offset", self.pc);
        fields.maybe("function", self.function.as_ref());
        let line = self.line.map_or_else(String::new, |line| format!(":{line}"));
        fields.maybe("source", self.file.as_ref().map(|file| format!("{file}{line}")));
        if let (Some(depth), Some(image)) = (self.depth.filter(|d| *d > 0), &self.image) {
            let name = self.program.as_ref().unwrap_or(image);
            fields.add("inside", format!("{name}, {depth} below the outermost call"));
        }
        fields
            .add("registers", registers(&self.registers, &" ".repeat(Fields::WIDTH)).trim_start().trim_end());
    }
}
