//! [`Vm`]: the loop that runs the top of the stack, and the embedder's way in.
//!
//! The loop has one shape: run the machine on top until it exits, then do what the exit says. A call
//! pushes, an end pops; neither grows the host's stack. While a machine runs, simple operations are
//! answered from inside (`ecall`); those that change who runs end the run first and are done here and in
//! `call`.
//!
//! Gas: the root pool is one counter. It is lent to the machine that runs and taken back when it stops, so
//! a caller and its callees draw on the same pool.

use javm_abi::GuestOp;
use javm_cap::{CacheDirectory, CapHash, CapHashOrRef, OpError};
use javm_exec::{Engine, ExitReason, GasCounter};

use crate::{
    callstack::{CallStack, DEFAULT_MAX_DEPTH},
    ecall::{Handler, Stop},
    error::VmError,
    fault::{FaultDetail, FaultInfo},
    image_cache::ImageCache,
    kernel_assist::KernelAssist,
};

/// The capability machine.
///
/// A `Vm` owns the call stack and the compiled images; values live in the [`CacheDirectory`] that each call
/// borrows.
#[derive(Debug)]
pub struct Vm<K: KernelAssist> {
    /// The calls under way; empty between invocations.
    pub stack: CallStack,
    /// What the embedder brought.
    pub kernel_assist: K,
    /// Images, decoded and compiled.
    pub image_cache: ImageCache,
    pub(crate) max_depth: usize,
    pub(crate) pool: GasCounter,
    pub(crate) last_fault: Option<FaultInfo>,
}

/// How an invocation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
        /// Slot 0 of the instance that yielded.
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
            last_fault: None,
        }
    }

    /// A machine in which at most `max_depth` calls may be on the stack (at least 1).
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
    /// No value has changed then, and the stack is empty.
    pub fn invoke_with(
        &mut self,
        cache: &mut CacheDirectory,
        instance: CapHash,
        endpoint: u8,
        args: [u64; 4],
        scratchpad: Option<CapHashOrRef>,
        gas_budget: u64,
    ) -> Result<CallResult, VmError> {
        if !self.stack.is_empty() {
            return Err(VmError::Busy);
        }
        let mark = cache.begin_call();
        self.last_fault = None;
        self.pool = GasCounter::new(gas_budget);
        let ended = self
            .start_root(cache, instance, endpoint, args, scratchpad)
            .and_then(|flow| match flow {
                Flow::Ended(result) => Ok(result),
                Flow::Continue => self.run_stack(cache, &mark),
            })
            .and_then(|result| settle(cache, result));
        let result = match ended {
            Ok(result) => with_gas(result, gas_budget - self.pool.remaining()),
            Err(error) => {
                while let Some(mut entry) = self.stack.pop() {
                    self.recycle(&mut entry);
                }
                cache.end_call(mark, &[]);
                return Err(error);
            }
        };
        cache.end_call(mark, &outcome(&result));
        Ok(result)
    }

    /// Runs until the outermost call ends.
    fn run_stack(
        &mut self,
        cache: &mut CacheDirectory,
        mark: &javm_cap::CallMark,
    ) -> Result<CallResult, VmError> {
        loop {
            if let Flow::Ended(result) = self.run_top(cache)? {
                return Ok(result);
            }
            let stack = &self.stack;
            cache.collect_if_due(mark, || stack.roots());
        }
    }

    /// Runs the machine on top until it stops, and does what its exit says.
    fn run_top(&mut self, cache: &mut CacheDirectory) -> Result<Flow, VmError> {
        let Some(entry) = self.stack.top() else { unreachable!("the loop runs while there is an entry") };
        let Some(mut machine) = entry.machine.take() else { unreachable!("only the loop takes machines") };
        machine.gas = self.pool;
        let mut stop = None;
        let exit =
            machine.run(&mut Handler { entry, cache, assist: &mut self.kernel_assist, stop: &mut stop });
        self.pool = machine.gas;
        entry.machine = Some(machine);
        match stop {
            None => match exit {
                ExitReason::Halt => self.halt(cache),
                reason => self.fault(cache, reason, FaultDetail::Machine),
            },
            Some(Stop::Control(op)) => self.control(cache, op),
            Some(Stop::Refused { number, error }) => {
                self.fault(cache, ExitReason::Trap, FaultDetail::Refused { number, error })
            }
            Some(Stop::Price { number }) => {
                self.fault(cache, ExitReason::OutOfGas, FaultDetail::Price { number })
            }
            Some(Stop::Host(error)) => Err(error.into()),
        }
    }

    /// Does an operation that changes who runs.
    fn control(&mut self, cache: &mut CacheDirectory, op: GuestOp) -> Result<Flow, VmError> {
        match op {
            GuestOp::Reply => self.halt(cache),
            GuestOp::HostCall => self.host_call(cache),
            // `ecall` refuses every other operation before it gets here.
            op => {
                let error = OpError::NotAvailable { reason: "the operation does not change who runs" };
                let number = u64::from(op.number());
                self.fault(cache, ExitReason::Trap, FaultDetail::Refused { number, error })
            }
        }
    }
}

/// Settles what a result names.
fn settle(cache: &mut CacheDirectory, result: CallResult) -> Result<CallResult, VmError> {
    let mut settle =
        |slot: Option<CapHashOrRef>| slot.map(|name| cache.settle(name).map(CapHashOrRef::Hash)).transpose();
    Ok(match result {
        CallResult::Halt { return_value, post_instance_hash, reflected_slot0, gas_used } => {
            CallResult::Halt {
                return_value,
                post_instance_hash,
                reflected_slot0: settle(reflected_slot0)?,
                gas_used,
            }
        }
        CallResult::Faulted { reason, reflected_slot0, gas_used } => {
            CallResult::Faulted { reason, reflected_slot0: settle(reflected_slot0)?, gas_used }
        }
        CallResult::Paused { marker_payload, gas_used } => {
            CallResult::Paused { marker_payload: settle(marker_payload)?, gas_used }
        }
    })
}

fn with_gas(mut result: CallResult, used: u64) -> CallResult {
    match &mut result {
        CallResult::Halt { gas_used, .. }
        | CallResult::Faulted { gas_used, .. }
        | CallResult::Paused { gas_used, .. } => *gas_used = used,
    }
    result
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
