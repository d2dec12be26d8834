//! [`FaultInfo`]: what happened, in words a person can use.

use javm_abi::GuestOp;
use javm_abi::status::FaultCode;
use javm_cap::{CapHash, OpError, hash::Hex};
use javm_exec::{ExitReason, Regs};

/// Why a call faulted, beyond the exit reason.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultDetail {
    /// The machine itself: see the reason.
    Machine,
    /// The kernel refused an operation.
    Refused {
        /// The operation's number as the guest gave it.
        number: u64,
        /// Why.
        error: OpError,
    },
    /// The price of an operation could not be paid.
    Price {
        /// The operation's number.
        number: u64,
    },
    /// Nobody catches the marker that the guest yielded.
    UnhandledMarker {
        /// The marker.
        marker: CapHash,
    },
    /// Storage could not be paid, and nobody catches that.
    StorageExhausted {
        /// The quota that could not pay.
        quota: u64,
    },
    /// The call could not be started.
    NotStarted(NotStarted),
}

impl FaultDetail {
    /// Whether storage ran out.
    pub(crate) const fn is_storage(&self) -> bool {
        matches!(self, Self::StorageExhausted { .. })
    }
}

/// Why a call was refused before its first instruction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotStarted {
    /// The depth limit.
    #[error("the call would be deeper than {limit}")]
    Depth {
        /// The limit.
        limit: usize,
    },
    /// Memory mappings and values do not fit.
    #[error("mapping {mapping} cannot be laid out: {reason}")]
    Layout {
        /// Which mapping of the image, counted from 0; the number of mappings stands for anonymous memory.
        mapping: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// Slot 0 is not what the endpoint takes.
    #[error("the endpoint takes a cnode of 2^{expected} slots in slot 0")]
    Argument {
        /// The size it takes, as a power of two.
        expected: u8,
    },
    /// No such endpoint.
    #[error("the image has no endpoint {endpoint}")]
    NoSuchEndpoint {
        /// The number that was asked for.
        endpoint: u64,
    },
    /// The kernel answers for the instance, and it refused.
    #[error("the kernel refused: {reason}")]
    Kernel {
        /// Why.
        reason: &'static str,
    },
}

impl NotStarted {
    /// The code that the caller sees in φ7.
    #[must_use]
    pub const fn code(&self) -> FaultCode {
        match self {
            Self::Depth { .. } => FaultCode::Depth,
            Self::Layout { .. } | Self::Argument { .. } => FaultCode::Layout,
            Self::NoSuchEndpoint { .. } => FaultCode::NoSuchEndpoint,
            Self::Kernel { .. } => FaultCode::Refused,
        }
    }
}

/// The last fault of a [`Vm`](crate::Vm): which instance, which instruction, which operation, why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FaultInfo {
    /// How the run ended.
    pub reason: ExitReason,
    /// Why, beyond that.
    pub detail: FaultDetail,
    /// How deep the faulting call was: 0 is the outermost.
    pub depth: usize,
    /// Image of the instance that faulted; of the one that would have been called when the call could not be
    /// started.
    pub image: CapHash,
    /// The endpoint it had been entered by.
    pub endpoint: u64,
    /// Registers at the fault; `regs.pc` is the offset of the instruction.
    pub regs: Regs,
    /// The instruction at `regs.pc`, disassembled; empty where there is none.
    pub instruction: String,
    /// The function that the instruction lies in, where names are attached to the image.
    pub function: Option<String>,
    /// Source file and line, where known.
    pub source: Option<(String, u32)>,
}

impl FaultInfo {
    /// The code that a caller sees in φ7.
    #[must_use]
    pub const fn code(&self) -> FaultCode {
        match (&self.detail, self.reason) {
            (FaultDetail::NotStarted(why), _) => why.code(),
            (FaultDetail::UnhandledMarker { .. }, _) => FaultCode::UnhandledMarker,
            (FaultDetail::StorageExhausted { .. }, _) => FaultCode::StorageExhausted,
            (_, ExitReason::OutOfGas) => FaultCode::OutOfGas,
            (_, ExitReason::PageFault(_)) => FaultCode::PageFault,
            (_, ExitReason::Panic) => FaultCode::Panic,
            (_, ExitReason::Trap | ExitReason::Halt | ExitReason::HostCall(_) | ExitReason::Ecall) => {
                FaultCode::Trap
            }
        }
    }
}

/// `operation 26`, or its name.
struct OpName(u64);

impl core::fmt::Display for OpName {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match GuestOp::from_number(self.0) {
            Some(op) => f.write_str(op.name()),
            None => write!(f, "operation {}", self.0),
        }
    }
}

impl core::fmt::Display for FaultInfo {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match &self.detail {
            FaultDetail::Machine => write!(f, "{}", self.reason)?,
            FaultDetail::Refused { number, error } => {
                write!(f, "{} refused: {error}", OpName(*number))?;
            }
            FaultDetail::Price { number } => write!(f, "out of gas: cannot pay for {}", OpName(*number))?,
            FaultDetail::UnhandledMarker { marker } => {
                write!(f, "nobody catches the marker {}", Hex(marker))?
            }
            FaultDetail::StorageExhausted { quota } => {
                write!(f, "storage exhausted: quota {quota} cannot pay, and nobody catches that")?;
            }
            FaultDetail::NotStarted(why) => return write!(f, "call not started: {why}"),
        }
        write!(f, " at offset {}", self.regs.pc)?;
        if !self.instruction.is_empty() {
            write!(f, ", `{}`", self.instruction)?;
        }
        if let Some(function) = &self.function {
            write!(f, ", in {function}")?;
        }
        if let Some((file, line)) = &self.source {
            write!(f, " ({file}:{line})")?;
        }
        let image = Hex(&self.image).to_string();
        write!(f, "; image {}…, endpoint {}, depth {}", &image[..8], self.endpoint, self.depth)
    }
}
