//! The seam to the host: what an `ecall` or `ecalli` means is the handler's business.

use crate::{ExitReason, GasCounter, Mem, Regs};

/// Which instruction asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EcallKind {
    /// `ecall`: register φ11 says what is asked.
    Ecall,
    /// `ecalli`: the immediate says what is asked. It is the low half of the sign-extended immediate.
    Ecalli(u32),
}

impl EcallKind {
    /// The exit that leaves this call to whoever called `run`.
    #[must_use]
    pub const fn exit(self) -> ExitReason {
        match self {
            Self::Ecall => ExitReason::Ecall,
            Self::Ecalli(n) => ExitReason::HostCall(n),
        }
    }
}

/// What a handler wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EcallResult {
    /// Go on at the next instruction. The gas-charged flag stays set.
    Continue,
    /// End the run with this reason, the program counter still at the call. Running again repeats the call;
    /// [`Instance::skip_ecall`](crate::Instance::skip_ecall) first goes on behind it.
    Exit(ExitReason),
}

/// Answers the calls of a guest.
///
/// The handler sees the machine as it stands at the call: `regs.pc` is the offset of the call itself, the
/// block's gas is paid. It may change registers, memory and gas; what it sets `regs.pc` to is ignored on
/// [`EcallResult::Continue`].
pub trait EcallHandler {
    /// Answers one call.
    fn ecall(
        &mut self,
        kind: EcallKind,
        regs: &mut Regs,
        mem: &mut dyn Mem,
        gas: &mut GasCounter,
    ) -> EcallResult;
}

/// A handler that answers nothing: every call ends the run.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExitOnEcall;

impl EcallHandler for ExitOnEcall {
    fn ecall(&mut self, kind: EcallKind, _: &mut Regs, _: &mut dyn Mem, _: &mut GasCounter) -> EcallResult {
        EcallResult::Exit(kind.exit())
    }
}

impl<H: EcallHandler + ?Sized> EcallHandler for &mut H {
    fn ecall(
        &mut self,
        kind: EcallKind,
        regs: &mut Regs,
        mem: &mut dyn Mem,
        gas: &mut GasCounter,
    ) -> EcallResult {
        (**self).ecall(kind, regs, mem, gas)
    }
}
