//! [`VirtManager`]: the backend of Substrate's virtualization host functions over the engine.
//!
//! A node registers it with its externalities, where the runtime's host functions of `sp-virtualization` find it.
//! What a storage key holds those functions look up themselves. What is observable is that of the node's stock
//! backend: identifiers count from zero and are never used twice, memory is reachable from `prepare` to the end
//! of the call, a call finds on the stack what the one before left there, and [`GasModel::Pipeline`], the
//! engine's default, is the stock backend's cost model. Source: `virtualization.md` section 2.
//!
//! [`GasModel::Pipeline`]: javm_exec::GasModel::Pipeline

use std::{collections::BTreeMap, vec::Vec};

use javm_exec::Engine;
use sp_externalities::{Externalities, ExternalitiesExt as _};
use sp_virtualization::{
    DestroyError, ExecBuffer, ExecError, ExecStatus, InstanceId, InstantiateError, MemoryError, ModuleError,
    ModuleId, VirtManagerBackend, VirtManagerExt,
};

use crate::{
    ExecOutcome, VirtConfig, VirtModule,
    machine::{Machine, State},
};

/// The modules and instances of one set of externalities: of a block, as a rule.
///
/// Managers that are made with clones of one [`VirtConfig`] share compiled code and limits, and nothing else.
#[derive(Debug)]
pub struct VirtManager {
    engine: Engine,
    config: VirtConfig,
    modules: BTreeMap<u32, VirtModule>,
    by_identifier: BTreeMap<Vec<u8>, VirtModule>,
    instances: BTreeMap<u32, Machine>,
    next_module: u32,
    next_instance: u32,
}

impl Default for VirtManager {
    /// The default engine, and no limits but those of the engine, as the stock backend has none.
    fn default() -> Self {
        let config =
            VirtConfig::new().max_code_size(usize::MAX).max_pages(u32::MAX).max_instances(usize::MAX);
        Self::new(&Engine::default(), &config)
    }
}

impl VirtManager {
    /// A manager without modules and instances.
    #[must_use]
    pub fn new(engine: &Engine, config: &VirtConfig) -> Self {
        Self {
            engine: engine.clone(),
            config: config.clone(),
            modules: BTreeMap::new(),
            by_identifier: BTreeMap::new(),
            instances: BTreeMap::new(),
            next_module: 0,
            next_instance: 0,
        }
    }

    /// Registers the manager where the host functions look for it.
    ///
    /// # Errors
    /// Those of the externalities, for example when they have a manager already.
    pub fn register(self, mut externalities: &mut dyn Externalities) -> Result<(), sp_externalities::Error> {
        externalities.register_extension(VirtManagerExt::new(self))
    }

    /// Gives a module a number; `None` when there are none left.
    fn number(&mut self, module: VirtModule) -> Option<ModuleId> {
        let id = self.next_module;
        self.next_module = id.checked_add(1)?;
        self.modules.insert(id, module);
        Some(id.into())
    }

    /// The instance, where memory may be accessed.
    fn reachable(&mut self, id: InstanceId) -> Result<&mut Machine, MemoryError> {
        let machine = self.instances.get_mut(&id.into()).ok_or(MemoryError::InvalidInstance)?;
        if machine.state() == State::Idle { Err(MemoryError::InvalidInstance) } else { Ok(machine) }
    }
}

impl VirtManagerBackend for VirtManager {
    fn compile_from_bytes(
        &mut self,
        program: &[u8],
        identifier: Option<&[u8]>,
    ) -> Result<ModuleId, ModuleError> {
        let module = self.config.module(&self.engine, program).map_err(|_| ModuleError::InvalidImage)?;
        let id = self.number(module.clone()).ok_or(ModuleError::InvalidImage)?;
        if let Some(identifier) = identifier {
            self.by_identifier.insert(identifier.to_vec(), module);
        }
        Ok(id)
    }

    fn lookup(&mut self, identifier: &[u8]) -> Result<ModuleId, ModuleError> {
        let module = self.by_identifier.get(identifier).cloned().ok_or(ModuleError::NotCached)?;
        self.number(module).ok_or(ModuleError::InvalidImage)
    }

    fn instantiate(&mut self, module_id: ModuleId) -> Result<InstanceId, InstantiateError> {
        let module = self.modules.get(&module_id.into()).ok_or(InstantiateError::InvalidModule)?;
        let id = self.next_instance;
        // There is no word for a limit; a module that makes no instances is the nearest.
        let next = id.checked_add(1).ok_or(InstantiateError::InvalidImage)?;
        let admission = self.config.counted().admit().ok_or(InstantiateError::InvalidImage)?;
        let machine = Machine::new(module, admission).map_err(|_| InstantiateError::InvalidImage)?;
        self.next_instance = next;
        self.instances.insert(id, machine);
        Ok(id.into())
    }

    fn prepare(&mut self, instance_id: InstanceId, function: &[u8]) -> Result<(), ExecError> {
        let machine = self.instances.get_mut(&instance_id.into()).ok_or(ExecError::InvalidInstance)?;
        machine.prepare(function).map_err(exec_error)
    }

    fn run(
        &mut self,
        instance_id: InstanceId,
        gas_left: i64,
        a0: u64,
    ) -> Result<(ExecStatus, ExecBuffer), ExecError> {
        let machine = self.instances.get_mut(&instance_id.into()).ok_or(ExecError::InvalidInstance)?;
        Ok(match machine.run(gas_left, a0).map_err(exec_error)? {
            ExecOutcome::Finished { gas_left } => {
                (ExecStatus::Finished, ExecBuffer { gas_left, ..ExecBuffer::default() })
            }
            ExecOutcome::Syscall { gas_left, syscall_symbol, a0, a1, a2, a3, a4, a5 } => {
                // Both have 32 bytes at most.
                let syscall_symbol =
                    sp_virtualization::SyscallSymbol::new(&syscall_symbol).unwrap_or_default();
                (ExecStatus::Syscall, ExecBuffer { gas_left, syscall_symbol, a0, a1, a2, a3, a4, a5 })
            }
        })
    }

    fn destroy(&mut self, instance_id: InstanceId) -> Result<(), DestroyError> {
        match self.instances.remove(&instance_id.into()) {
            Some(_) => Ok(()),
            None => Err(DestroyError::InvalidInstance),
        }
    }

    fn read_memory(
        &mut self,
        instance_id: InstanceId,
        offset: u32,
        dest: &mut [u8],
    ) -> Result<(), MemoryError> {
        self.reachable(instance_id)?.read(offset, dest).map_err(memory_error)
    }

    fn write_memory(&mut self, instance_id: InstanceId, offset: u32, src: &[u8]) -> Result<(), MemoryError> {
        self.reachable(instance_id)?.write(offset, src).map_err(memory_error)
    }
}

const fn exec_error(error: crate::ExecError) -> ExecError {
    match error {
        crate::ExecError::InvalidInstance => ExecError::InvalidInstance,
        crate::ExecError::InvalidImage => ExecError::InvalidImage,
        crate::ExecError::OutOfGas => ExecError::OutOfGas,
        crate::ExecError::Trap => ExecError::Trap,
    }
}

const fn memory_error(error: crate::MemoryError) -> MemoryError {
    match error {
        crate::MemoryError::InvalidInstance => MemoryError::InvalidInstance,
        crate::MemoryError::OutOfBounds => MemoryError::OutOfBounds,
    }
}
