//! The two schemas as they stand in the files, and how they become a [`Vector`].
//!
//! Keys that a schema does not have are refused inside steps and assertions, where they would be something
//! that is not compared; around them they are passed over.

use javm_exec::{GasModel, NUM_REGS};
use javm_isa::Numbering;
use serde::{Deserialize, de::IgnoredAny};

use super::{Expected, Status, Step, Vector};

/// The keys that tell the schemas apart.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Probe {
    expected_status: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Stepped {
    name: String,
    initial_pc: u64,
    initial_gas: i64,
    program: Vec<u8>,
    steps: Vec<RawStep>,
    block_gas_costs: Vec<BlockCost>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BlockCost {
    pc: u64,
    cost: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawStep {
    Map(Mapping),
    Write(Piece),
    SetReg(SetReg),
    Run(Nothing),
    Assert(Assertion),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Mapping {
    address: u64,
    length: u64,
    is_writable: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Piece {
    address: u64,
    contents: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetReg {
    reg: u64,
    value: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Assertion {
    status: Status,
    gas: i64,
    pc: u64,
    regs: [u64; NUM_REGS],
    memory: Vec<Piece>,
    page_fault_address: Option<u64>,
    hostcall: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Flat {
    name: String,
    initial_regs: [u64; NUM_REGS],
    initial_pc: u64,
    initial_page_map: Vec<Mapping>,
    initial_memory: Vec<Piece>,
    initial_gas: i64,
    program: Vec<u8>,
    expected_status: Status,
    expected_regs: [u64; NUM_REGS],
    expected_pc: u64,
    expected_memory: Vec<Piece>,
    expected_gas: i64,
    expected_page_fault_address: Option<u64>,
}

/// Reads one line.
pub(super) fn read(line: &[u8]) -> Result<Vector, serde_json::Error> {
    let probe: Probe = serde_json::from_slice(line)?;
    if probe.expected_status.is_some() {
        serde_json::from_slice(line).map(Flat::into_vector)
    } else {
        serde_json::from_slice(line).map(Stepped::into_vector)
    }
}

impl From<Mapping> for Step {
    fn from(m: Mapping) -> Self {
        Self::Map { address: m.address, length: m.length, writable: m.is_writable }
    }
}

impl From<Piece> for Step {
    fn from(p: Piece) -> Self {
        Self::Write { address: p.address, contents: p.contents }
    }
}

fn pieces(memory: Vec<Piece>) -> Vec<(u64, Vec<u8>)> {
    memory.into_iter().map(|p| (p.address, p.contents)).collect()
}

impl Stepped {
    fn into_vector(self) -> Vector {
        let step = |step| match step {
            RawStep::Map(m) => m.into(),
            RawStep::Write(p) => p.into(),
            RawStep::SetReg(s) => Step::SetReg { reg: s.reg, value: s.value },
            RawStep::Run(Nothing {}) => Step::Run,
            RawStep::Assert(a) => Step::Assert(Box::new(Expected {
                status: a.status,
                gas: a.gas,
                pc: a.pc,
                regs: a.regs,
                memory: pieces(a.memory),
                page_fault_address: a.page_fault_address,
                hostcall: a.hostcall,
            })),
        };
        Vector {
            name: self.name,
            program: self.program,
            numbering: Numbering::V08,
            gas_model: GasModel::Pipeline,
            initial_pc: self.initial_pc,
            initial_gas: self.initial_gas,
            steps: self.steps.into_iter().map(step).collect(),
            block_costs: Some(self.block_gas_costs.into_iter().map(|b| (b.pc, b.cost)).collect()),
        }
    }
}

impl Flat {
    fn into_vector(self) -> Vector {
        let mut steps: Vec<Step> = self.initial_page_map.into_iter().map(Step::from).collect();
        steps.extend(self.initial_memory.into_iter().map(Step::from));
        steps.extend((0..).zip(self.initial_regs).map(|(reg, value)| Step::SetReg { reg, value }));
        steps.push(Step::Run);
        steps.push(Step::Assert(Box::new(Expected {
            status: self.expected_status,
            gas: self.expected_gas,
            pc: self.expected_pc,
            regs: self.expected_regs,
            memory: pieces(self.expected_memory),
            page_fault_address: self.expected_page_fault_address,
            hostcall: None,
        })));
        Vector {
            name: self.name,
            program: self.program,
            numbering: Numbering::V07,
            gas_model: GasModel::PerInstruction,
            initial_pc: self.initial_pc,
            initial_gas: self.initial_gas,
            steps,
            block_costs: None,
        }
    }
}
