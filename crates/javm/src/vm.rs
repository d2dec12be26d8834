//! [`Vm`]: the loop that runs the top of the stack, and the embedder's way in.
//!
//! The loop has one shape: run the machine on top until it exits, then do what the exit says. A call
//! pushes, an end pops; neither grows the host's stack. While a machine runs, simple operations are
//! answered from inside (`ecall`); those that change who runs end the run first and are done by the loop.
//!
//! Three things may stop the loop: the outermost call ends, the embedder catches a yield (the stack then
//! stays until [`Vm::call_resume`], [`Vm::drop_paused`] or [`Vm::suspend`]), or a host error.

use javm_abi::{GuestOp, SlotPath};
use javm_cap::{CacheDirectory, CallMark, CapHash, CapHashOrRef, OpError};
use javm_exec::{Engine, ExitReason, GasCounter};

use crate::{
    callstack::{CallStack, DEFAULT_MAX_DEPTH, PauseKind, PendingEmit},
    ecall::{Handler, Quotas, Stop},
    error::VmError,
    fault::{FaultDetail, FaultInfo},
    image_cache::ImageCache,
    kernel_assist::KernelAssist,
    yields::{Catchers, Raised},
};

/// The capability machine.
///
/// A `Vm` owns the call stack and the compiled images; values live in the [`CacheDirectory`] that each call
/// borrows. A stack that is paused must be gone on with over the directory that it began with.
#[derive(Debug)]
pub struct Vm<K: KernelAssist> {
    /// The calls under way; empty between invocations, unless one is paused.
    pub stack: CallStack,
    /// What the embedder brought.
    pub kernel_assist: K,
    /// Images, decoded and compiled.
    pub image_cache: ImageCache,
    pub(crate) max_depth: usize,
    /// Meter 0.
    pub(crate) pool: GasCounter,
    /// Gas that the invocation took, from all meters.
    pub(crate) consumed: u64,
    pub(crate) last_fault: Option<FaultInfo>,
    pub(crate) emits: Vec<Emit>,
    /// The yield that the embedder has caught.
    pub(crate) root_pause: Option<RootPause>,
    /// What catchers list.
    pub(crate) catchers: Catchers,
    /// Pauses that were dropped while no directory was at hand.
    pub(crate) abandoned: Vec<RootPause>,
}

/// A stack that waits for the embedder.
#[derive(Debug)]
pub(crate) struct RootPause {
    pub(crate) kind: PauseKind,
    pub(crate) mark: CallMark,
    /// What the embedder was shown: it outlives the stack.
    pub(crate) payload: Option<CapHashOrRef>,
}

/// An event that an instance appended to the outcome by `EMIT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Emit {
    /// Lineage of the instance that emitted it.
    pub lineage: CapHash,
    /// What it emitted, settled.
    pub payload: CapHash,
    /// What it gave for the case that handling the event fails.
    pub on_failure: Option<CapHash>,
}

/// How an invocation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallResult {
    /// The instance halted. Its new value, and everything it reaches, is in the directory.
    Halt {
        /// φ7 at the end.
        return_value: u64,
        /// The new value of the instance.
        post_instance_hash: CapHash,
        /// What the instance left in its slot 0, settled.
        reflected_slot0: Option<CapHashOrRef>,
        /// Gas that the invocation took.
        gas_used: u64,
    },
    /// The instance faulted. The value that was invoked is as it was.
    Faulted {
        /// How. [`Vm::last_fault`] says more.
        reason: ExitReason,
        /// What the instance left in its slot 0, settled.
        reflected_slot0: Option<CapHashOrRef>,
        /// Gas that the invocation took.
        gas_used: u64,
    },
    /// A yield that only the embedder catches; the stack stays.
    Paused {
        /// Slot 0 of the instance that yielded, or the handle that the kernel's yield carries, settled.
        marker_payload: Option<CapHashOrRef>,
        /// Gas that the invocation took so far.
        gas_used: u64,
    },
}

impl CallResult {
    /// Gas that the invocation took.
    #[must_use]
    pub const fn gas_used(&self) -> u64 {
        match self {
            Self::Halt { gas_used, .. } | Self::Faulted { gas_used, .. } | Self::Paused { gas_used, .. } => {
                *gas_used
            }
        }
    }
}

/// How a step of the loop leaves things.
pub(crate) enum Flow {
    /// The top of the stack goes on.
    Continue,
    /// The outermost call ended.
    Ended(CallResult),
    /// The embedder has caught a yield.
    Paused(PauseKind, Option<CapHashOrRef>),
}

impl<K: KernelAssist> Vm<K> {
    /// A machine with the default engine and depth limit.
    #[must_use]
    pub fn new(kernel_assist: K) -> Self {
        Self::with_engine(kernel_assist, Engine::default())
    }

    /// A machine whose code runs on `engine`.
    #[must_use]
    pub fn with_engine(kernel_assist: K, engine: Engine) -> Self {
        Self {
            stack: CallStack::default(),
            kernel_assist,
            image_cache: ImageCache::new(engine),
            max_depth: DEFAULT_MAX_DEPTH,
            pool: GasCounter::new(0),
            consumed: 0,
            last_fault: None,
            emits: Vec::new(),
            root_pause: None,
            catchers: Catchers::default(),
            abandoned: Vec::new(),
        }
    }

    /// A machine in which at most `max_depth` entries may be on the stack (at least 1).
    #[must_use]
    pub fn with_max_depth(kernel_assist: K, max_depth: usize) -> Self {
        Self { max_depth: max_depth.max(1), ..Self::new(kernel_assist) }
    }

    /// What the last fault of the last invocation was; `None` if nothing faulted in it. A fault below that a
    /// caller handled counts.
    #[must_use]
    pub const fn last_fault(&self) -> Option<&FaultInfo> {
        self.last_fault.as_ref()
    }

    /// The events of invocations that halted since this was last asked, in order.
    pub fn take_emits(&mut self) -> Vec<Emit> {
        std::mem::take(&mut self.emits)
    }

    /// Adds gas to the root pool, meter 0, saturating: before [`Vm::call_resume`], to go on after out of gas.
    pub const fn add_gas(&mut self, gas: u64) {
        self.pool.add(gas);
    }

    /// Invokes an instance with an empty scratchpad.
    ///
    /// # Errors
    /// As [`Vm::invoke_with`].
    pub fn invoke_cached(
        &mut self,
        cache: &mut CacheDirectory,
        instance: CapHash,
        endpoint: u8,
        args: [u64; 4],
        gas_budget: u64,
    ) -> Result<CallResult, VmError> {
        self.invoke_with(cache, instance, endpoint, args, None, gas_budget)
    }

    /// Invokes an instance: `args` in φ7 … φ10, `scratchpad` in its slot 0.
    ///
    /// On a halt the new value and what it reaches stay in the directory; values that the call made and its
    /// outcome does not reach leave it.
    ///
    /// # Errors
    /// [`VmError`] for what is not the guest's doing: a missing value, something that is no idle instance.
    /// No value has changed then, and the stack is empty; [`VmError::Busy`] leaves a paused stack as it is.
    pub fn invoke_with(
        &mut self,
        cache: &mut CacheDirectory,
        instance: CapHash,
        endpoint: u8,
        args: [u64; 4],
        scratchpad: Option<CapHashOrRef>,
        gas_budget: u64,
    ) -> Result<CallResult, VmError> {
        self.begin(cache)?;
        let mark = cache.begin_call();
        self.pool = GasCounter::new(gas_budget);
        let started = self.start_root(cache, instance, endpoint, args, scratchpad);
        self.go_on(cache, mark, started)
    }

    /// Goes on with the call that the embedder has caught a yield of.
    ///
    /// After a yield of the guest, `scratchpad` becomes its slot 0. After one of the kernel it is left alone;
    /// a page fault takes the Data in `scratchpad` as the page.
    ///
    /// # Errors
    /// [`VmError::NotPaused`] when nothing is paused, and as [`Vm::invoke_with`].
    pub fn call_resume(
        &mut self,
        cache: &mut CacheDirectory,
        scratchpad: Option<CapHashOrRef>,
    ) -> Result<CallResult, VmError> {
        let RootPause { kind, mark, .. } = self.root_pause.take().ok_or(VmError::NotPaused)?;
        cache.resume_call(&mark);
        self.consumed = 0;
        self.last_fault = None;
        let resumed = self.resume_yielder(cache, kind, scratchpad);
        self.go_on(cache, mark, resumed)
    }

    /// Discards the call that the embedder has caught a yield of, as a fault would. `target` is where the
    /// embedder's own table has the instance, if it has one; a stack holds one outermost call, so it is not
    /// looked at.
    ///
    /// # Errors
    /// [`VmError::NotPaused`] when nothing is paused.
    pub fn drop_paused(&mut self, target: SlotPath) -> Result<(), VmError> {
        let _ = target;
        let pause = self.root_pause.take().ok_or(VmError::NotPaused)?;
        self.unwind(0);
        // The values leave with the next call over the directory.
        self.abandoned.push(pause);
        Ok(())
    }

    /// Readies the machine for another invocation.
    pub(crate) fn begin(&mut self, cache: &mut CacheDirectory) -> Result<(), VmError> {
        if !self.stack.is_empty() {
            return Err(VmError::Busy);
        }
        for RootPause { mark, payload, .. } in self.abandoned.drain(..) {
            cache.end_call(mark, payload.as_slice());
        }
        self.catchers = Catchers::default();
        self.consumed = 0;
        self.last_fault = None;
        Ok(())
    }

    /// Runs the stack from where `flow` leaves it, and takes the invocation to its end or its pause.
    fn go_on(
        &mut self,
        cache: &mut CacheDirectory,
        mark: CallMark,
        flow: Result<Flow, VmError>,
    ) -> Result<CallResult, VmError> {
        match flow
            .and_then(|flow| self.run_stack(cache, &mark, flow))
            .and_then(|flow| self.settle(cache, flow))
        {
            Ok((result, None)) => {
                let mut roots = outcome(&result);
                let emitted = self.emits.iter().flat_map(|e| [Some(e.payload), e.on_failure]).flatten();
                roots.extend(emitted.map(CapHashOrRef::Hash));
                cache.end_call(mark, &roots);
                Ok(result)
            }
            Ok((result, Some(kind))) => {
                let stack = &self.stack;
                cache.pause_call(&mark, || stack.roots());
                let payload = outcome(&result).pop();
                self.root_pause = Some(RootPause { kind, mark, payload });
                Ok(result)
            }
            Err(error) => {
                self.unwind(0);
                cache.end_call(mark, &[]);
                Err(error)
            }
        }
    }

    /// Discards every entry from `base` on.
    pub(crate) fn unwind(&mut self, base: usize) {
        while self.stack.len() > base {
            if let Some(crate::Entry::Instance(mut entry)) = self.stack.pop() {
                self.recycle(&mut entry);
            }
        }
    }

    /// Runs until the outermost call ends or pauses.
    fn run_stack(
        &mut self,
        cache: &mut CacheDirectory,
        mark: &CallMark,
        mut flow: Flow,
    ) -> Result<Flow, VmError> {
        while let Flow::Continue = flow {
            flow = self.run_top(cache)?;
            // What an end or a pause names is on no stack: it is settled before anything is collected.
            if let Flow::Continue = flow {
                let stack = &self.stack;
                cache.collect_if_due(mark, || stack.roots());
            }
        }
        Ok(flow)
    }

    /// Runs the instance that runs until it stops, and does what its exit says.
    fn run_top(&mut self, cache: &mut CacheDirectory) -> Result<Flow, VmError> {
        let Some(index) = self.stack.running() else { unreachable!("the loop runs while there is an entry") };
        let (exit, stop) = match self.stack.at(index).gas_payer {
            None => self.run_machine(cache, index, self.pool.remaining(), 0, |vm, left| {
                vm.consumed = vm.consumed.saturating_add(vm.pool.remaining() - left);
                vm.pool.set(left);
            })?,
            Some(_) => self.run_metered(cache, index)?,
        };
        match stop {
            None => match exit {
                ExitReason::Halt => self.halt(cache, index),
                ExitReason::OutOfGas => self.raise(cache, index, Raised::OutOfGas(FaultDetail::Machine)),
                ExitReason::PageFault(address) => self.raise(cache, index, Raised::PageFault(address)),
                reason => self.fault(cache, index, reason, FaultDetail::Machine),
            },
            Some(Stop::Control(op)) => self.control(cache, index, op),
            Some(Stop::Again) => {
                self.stack.at_mut(index).machine().skip_ecall();
                Ok(Flow::Continue)
            }
            Some(Stop::Refused { number, error }) => self.refuse(cache, index, number, error),
            Some(Stop::Price { number, .. }) => {
                self.raise(cache, index, Raised::OutOfGas(FaultDetail::Price { number }))
            }
            Some(Stop::Storage { quota }) => self.raise(cache, index, Raised::Storage(quota)),
            Some(Stop::Host(error)) => Err(error.into()),
        }
    }

    /// Runs a machine on `gas`, and hands what is left to `give_back`.
    fn run_machine(
        &mut self,
        cache: &mut CacheDirectory,
        index: usize,
        gas: u64,
        kept: u64,
        give_back: impl FnOnce(&mut Self, u64),
    ) -> Result<(ExitReason, Option<Stop>), VmError> {
        let quotas = match self.stack.at(index).quota_payer {
            None => Quotas::Free,
            Some(payer) if payer == index => Quotas::Own,
            Some(_) => Quotas::Fixed(self.quotas(cache, index)?.unwrap_or_default()),
        };
        let entry = self.stack.at_mut(index);
        let Some(mut machine) = entry.machine.take() else { unreachable!("only the loop takes machines") };
        machine.gas = GasCounter::new(gas);
        let mut stop = None;
        let assist = &mut self.kernel_assist;
        let exit = machine.run(&mut Handler { entry, cache, assist, quotas: &quotas, kept, stop: &mut stop });
        let left = machine.gas.remaining();
        entry.machine = Some(machine);
        give_back(self, left);
        Ok((exit, stop))
    }

    /// Runs a machine that meters pay for, asking the next meter when one cannot pay.
    fn run_metered(
        &mut self,
        cache: &mut CacheDirectory,
        index: usize,
    ) -> Result<(ExitReason, Option<Stop>), VmError> {
        let mut need = None;
        loop {
            let meters = self.meters(cache, index)?;
            let Some(loan) = self.lend(&meters, need) else {
                // What could not be paid is found out again, with nothing to pay it with, so that the
                // machine says itself where it stands.
                return self.run_machine(cache, index, 0, 0, |_, _| ());
            };
            let (exit, stop) =
                self.run_machine(cache, index, loan.lent, loan.kept, |vm, left| vm.take_back(loan, left))?;
            need = match (&exit, &stop) {
                (ExitReason::OutOfGas, None) => {
                    let machine = self.stack.at_mut(index).machine();
                    Some(machine.module.block_cost(machine.regs.pc))
                }
                (ExitReason::OutOfGas, Some(Stop::Price { amount, .. })) => Some(*amount),
                _ => return Ok((exit, stop)),
            };
        }
    }

    /// Does an operation that changes who runs.
    fn control(&mut self, cache: &mut CacheDirectory, index: usize, op: GuestOp) -> Result<Flow, VmError> {
        match op {
            GuestOp::Reply => self.halt(cache, index),
            GuestOp::HostCall => self.host_call(cache, index),
            GuestOp::HostYield => self.host_yield(cache, index),
            GuestOp::CallResume => self.resume_call(cache, index),
            GuestOp::DropPaused => self.drop_call(cache, index),
            GuestOp::SetImage => self.set_image(cache, index),
            op => unreachable!("{} is answered from inside a run", op.name()),
        }
    }

    /// Faults the instance that asked for a refused operation.
    pub(crate) fn refuse(
        &mut self,
        cache: &mut CacheDirectory,
        index: usize,
        number: u64,
        error: OpError,
    ) -> Result<Flow, VmError> {
        self.fault(cache, index, ExitReason::Trap, FaultDetail::Refused { number, error })
    }

    /// Settles what an end or a pause names, and says how much gas it took.
    fn settle(
        &mut self,
        cache: &mut CacheDirectory,
        flow: Flow,
    ) -> Result<(CallResult, Option<PauseKind>), VmError> {
        let mut settle = |slot: Option<CapHashOrRef>| {
            slot.map(|name| cache.settle(name).map(CapHashOrRef::Hash)).transpose()
        };
        let gas_used = self.consumed;
        Ok(match flow {
            Flow::Continue => unreachable!("the loop goes on until it need not"),
            Flow::Paused(kind, payload) => {
                (CallResult::Paused { marker_payload: settle(payload)?, gas_used }, Some(kind))
            }
            Flow::Ended(CallResult::Halt { return_value, post_instance_hash, reflected_slot0, .. }) => {
                let reflected_slot0 = settle(reflected_slot0)?;
                (CallResult::Halt { return_value, post_instance_hash, reflected_slot0, gas_used }, None)
            }
            Flow::Ended(CallResult::Faulted { reason, reflected_slot0, .. }) => {
                (CallResult::Faulted { reason, reflected_slot0: settle(reflected_slot0)?, gas_used }, None)
            }
            Flow::Ended(CallResult::Paused { marker_payload, .. }) => {
                (CallResult::Paused { marker_payload: settle(marker_payload)?, gas_used }, None)
            }
        })
    }

    /// Commits the events of the outermost instance.
    pub(crate) fn commit_emits(
        &mut self,
        cache: &mut CacheDirectory,
        pending: impl IntoIterator<Item = PendingEmit>,
    ) -> Result<(), VmError> {
        for PendingEmit { payload, on_failure, lineage } in pending {
            let payload = cache.settle(payload)?;
            let on_failure = on_failure.map(|name| cache.settle(name)).transpose()?;
            self.emits.push(Emit { lineage, payload, on_failure });
        }
        Ok(())
    }
}

/// What a result reaches.
fn outcome(result: &CallResult) -> Vec<CapHashOrRef> {
    match result {
        CallResult::Halt { post_instance_hash, reflected_slot0, .. } => {
            [Some(CapHashOrRef::Hash(*post_instance_hash)), *reflected_slot0].into_iter().flatten().collect()
        }
        CallResult::Faulted { reflected_slot0: slot, .. }
        | CallResult::Paused { marker_payload: slot, .. } => slot.iter().copied().collect(),
    }
}
