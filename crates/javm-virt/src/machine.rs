//! [`Machine`]: an instance and where it stands between two runs. All personalities of this crate drive it.
//!
//! What is not here: who holds it, who may ask, what a syscall means.

use std::vec;

use javm_exec::{
    Access, Engine, ExitOnEcall, ExitReason, GasCounter, Instance, MapError, Mem as _, Memory, PAGE_SIZE, Reg,
};

use crate::{
    ExecAction, ExecError, ExecOutcome, InstantiateError, MemoryError, VirtConfig, VirtModule,
    config::Admission,
};

/// Up to this many pages a stack is cleared by writing zeros, beyond it by mapping it anew.
const PAGES_TO_CLEAR: usize = 8;

/// Where an instance stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// No call is under way.
    Idle,
    /// A function is chosen; nothing of it has run.
    Prepared,
    /// A syscall waits for its answer.
    Syscall,
}

/// An instance.
#[derive(Debug)]
pub(crate) struct Machine {
    module: VirtModule,
    /// There until the end.
    instance: Option<Instance>,
    state: State,
    /// Whether the stack may hold something of a call before.
    used: bool,
    _admission: Admission,
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(instance) = self.instance.take() {
            self.module.engine().recycle(instance.memory);
        }
    }
}

impl Machine {
    /// An instance of a program, whose module may be there already.
    pub(crate) fn with(
        engine: &Engine,
        config: &VirtConfig,
        program: &[u8],
    ) -> Result<Self, InstantiateError> {
        let admission = config.counted().admit().ok_or(InstantiateError::Limit)?;
        Self::new(&config.module(engine, program)?, admission)
    }

    pub(crate) fn new(module: &VirtModule, admission: Admission) -> Result<Self, InstantiateError> {
        let instance = module.flat().instance(0, &[], 0).map_err(|_| InstantiateError::InvalidImage)?;
        let (module, state) = (module.clone(), State::Idle);
        Ok(Self { module, instance: Some(instance), state, used: false, _admission: admission })
    }

    pub(crate) const fn module(&self) -> &VirtModule {
        &self.module
    }

    pub(crate) const fn state(&self) -> State {
        self.state
    }

    /// What is left of the gas that the last run was given.
    pub(crate) fn gas_left(&self) -> i64 {
        self.instance.as_ref().map_or(0, |instance| instance.gas.remaining() as i64)
    }

    /// Ends the call that is under way.
    pub(crate) const fn abort(&mut self) {
        self.state = State::Idle;
    }

    /// Does what a host asks for.
    // An outcome is large: inlined, it is written once, where the host wants it.
    #[inline(always)]
    pub(crate) fn act(&mut self, gas_left: i64, action: ExecAction<'_>) -> Result<ExecOutcome, ExecError> {
        let value = match action {
            ExecAction::Execute { function } => {
                self.prepare(function)?;
                self.clear_stack();
                0
            }
            ExecAction::Resume { return_value } if self.state == State::Syscall => return_value,
            ExecAction::Resume { .. } => return Err(ExecError::InvalidInstance),
        };
        self.run(gas_left, value)
    }

    /// Stands at the start of a function, with the stack as it is.
    pub(crate) fn prepare(&mut self, function: &[u8]) -> Result<(), ExecError> {
        if self.state != State::Idle {
            return Err(ExecError::InvalidInstance);
        }
        let pc = self.module.flat().export(function).ok_or(ExecError::InvalidImage)?;
        let instance = self.instance.as_mut().ok_or(ExecError::InvalidInstance)?;
        instance.regs.gpr = *self.module.flat().registers();
        instance.regs.pc = u64::from(pc);
        instance.gas_charged = false;
        self.state = State::Prepared;
        Ok(())
    }

    /// Makes the stack what it is in a new instance.
    pub(crate) fn clear_stack(&mut self) {
        if let (true, Some((first, count)), Some(instance)) =
            (core::mem::take(&mut self.used), self.module.stack(), &mut self.instance)
            && clear(&mut instance.memory, first, count).is_err()
        {
            // Its pages are mapped: the module laid them out.
            self.used = true;
        }
    }

    /// Runs from where it stands; `value` goes into φ7. A negative amount of gas is none, and stays what it is.
    #[inline(always)]
    pub(crate) fn run(&mut self, gas_left: i64, value: u64) -> Result<ExecOutcome, ExecError> {
        let Some(instance) = self.instance.as_mut() else { return Err(ExecError::InvalidInstance) };
        match self.state {
            State::Idle => return Err(ExecError::InvalidInstance),
            State::Prepared => {}
            State::Syscall => instance.skip_ecall(),
        }
        instance.regs.set(Reg::A0, value);
        self.state = State::Idle;
        self.used = true;
        instance.gas = GasCounter::new(u64::try_from(gas_left).unwrap_or(0));
        let exit = instance.run(&mut ExitOnEcall);
        // No more than it was given, which was an i64.
        let gas_left = gas_left.min(instance.gas.remaining() as i64);
        match exit {
            ExitReason::HostCall(number) => {
                let syscall_symbol = self.module.symbol(number).ok_or(ExecError::InvalidImage)?;
                self.state = State::Syscall;
                let [_, _, _, _, _, _, _, a0, a1, a2, a3, a4, a5] = instance.regs.gpr;
                Ok(ExecOutcome::Syscall { gas_left, syscall_symbol, a0, a1, a2, a3, a4, a5 })
            }
            ExitReason::Halt => Ok(ExecOutcome::Finished { gas_left }),
            ExitReason::OutOfGas => Err(ExecError::OutOfGas),
            ExitReason::Trap | ExitReason::Panic | ExitReason::PageFault(_) | ExitReason::Ecall => {
                Err(ExecError::Trap)
            }
        }
    }

    pub(crate) fn read(&mut self, offset: u32, dest: &mut [u8]) -> Result<(), MemoryError> {
        let memory = &mut self.instance.as_mut().ok_or(MemoryError::InvalidInstance)?.memory;
        check(memory, offset, dest.len(), Access::ReadOnly)?;
        memory.read(offset, dest).map_err(|_| MemoryError::OutOfBounds)
    }

    pub(crate) fn write(&mut self, offset: u32, src: &[u8]) -> Result<(), MemoryError> {
        let memory = &mut self.instance.as_mut().ok_or(MemoryError::InvalidInstance)?.memory;
        check(memory, offset, src.len(), Access::ReadWrite)?;
        memory.write(offset, src).map_err(|_| MemoryError::OutOfBounds)
    }

    /// A range that two registers say, if the program may use it in this way. An empty one may be anywhere.
    pub(crate) fn buffer(&self, address: u64, len: u64, access: Access) -> Option<(u32, usize)> {
        let (address, len) = (u32::try_from(address).ok()?, usize::try_from(len).ok()?);
        check(&self.instance.as_ref()?.memory, address, len, access).ok()?;
        Some((address, len))
    }
}

/// Whether a range can be accessed, without going around the end of the address space.
fn check(memory: &Memory, offset: u32, len: usize, access: Access) -> Result<(), MemoryError> {
    let fits = u64::try_from(len).is_ok_and(|len| u64::from(offset) + len <= 1 << 32);
    if len > 0 && !(fits && memory.check(offset, len, access).is_ok()) {
        return Err(MemoryError::OutOfBounds);
    }
    Ok(())
}

/// Makes the pages of a stack zero again.
fn clear(memory: &mut Memory, first: u32, count: u32) -> Result<(), MapError> {
    let written = memory.written(first, count);
    if written.len() > PAGES_TO_CLEAR {
        memory.unmap(first, count);
        return memory.map(first, count, Access::ReadWrite, None);
    }
    let zeros = vec![0; PAGE_SIZE];
    written.into_iter().try_for_each(|page| memory.poke(page * PAGE_SIZE as u32, &zeros))
}
