//! [`Virt`] and [`VirtMemory`]: the traits over the engine of this process.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use javm_exec::Engine;

use crate::{
    ExecAction, ExecError, ExecOutcome, InstantiateError, MemoryError, MemoryT, VirtConfig, VirtModule,
    VirtT, machine::Machine,
};

/// What [`VirtT::instantiate`] uses, which has no arguments for it.
pub(crate) static DEFAULTS: LazyLock<(Engine, VirtConfig)> = LazyLock::new(Default::default);

/// An instance on the engine of this process.
///
/// It may be moved between threads. While it runs, handles of its memory wait.
#[derive(Debug)]
pub struct Virt(Arc<Mutex<Machine>>);

/// A handle of the memory of a [`Virt`] or a [`Nested`](crate::Nested).
#[derive(Clone, Debug)]
pub struct VirtMemory(Weak<Mutex<Machine>>);

pub(crate) fn lock(machine: &Mutex<Machine>) -> MutexGuard<'_, Machine> {
    machine.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Virt {
    pub(crate) fn of(machine: Machine) -> Self {
        Self(Arc::new(Mutex::new(machine)))
    }

    /// Compiles a PolkaVM program for an engine, within limits, and makes an instance of it. A program that this
    /// configuration has seen lately is not compiled again.
    ///
    /// # Errors
    /// [`InstantiateError`]; [`VirtModule::new`] says it in more detail.
    pub fn with(engine: &Engine, config: &VirtConfig, program: &[u8]) -> Result<Self, InstantiateError> {
        Ok(Self::of(Machine::with(engine, config, program)?))
    }

    /// The program.
    #[must_use]
    pub fn module(&self) -> VirtModule {
        lock(&self.0).module().clone()
    }
}

impl VirtT for Virt {
    type Memory = VirtMemory;

    /// On the default engine, within the default limits, which all instances that are made in this way share.
    fn instantiate(program: &[u8]) -> Result<Self, InstantiateError> {
        let (engine, config) = &*DEFAULTS;
        Self::with(engine, config, program)
    }

    #[inline]
    fn run(&mut self, gas_left: i64, action: ExecAction<'_>) -> Result<ExecOutcome, ExecError> {
        lock(&self.0).act(gas_left, action)
    }

    fn memory(&self) -> VirtMemory {
        VirtMemory::of(&self.0)
    }
}

impl VirtMemory {
    pub(crate) fn of(machine: &Arc<Mutex<Machine>>) -> Self {
        Self(Arc::downgrade(machine))
    }
}

impl MemoryT for VirtMemory {
    fn read(&mut self, offset: u32, dest: &mut [u8]) -> Result<(), MemoryError> {
        let machine = self.0.upgrade().ok_or(MemoryError::InvalidInstance)?;
        lock(&machine).read(offset, dest)
    }

    fn write(&mut self, offset: u32, src: &[u8]) -> Result<(), MemoryError> {
        let machine = self.0.upgrade().ok_or(MemoryError::InvalidInstance)?;
        lock(&machine).write(offset, src)
    }
}
