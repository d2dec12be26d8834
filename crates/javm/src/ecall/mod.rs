//! Guest operations: what an `ecall` or `ecalli` of an instance means.
//!
//! [`Handler`] is made for one run of one entry. It finds the operation in the table of `javm-abi`, takes
//! its price, and does it; operations that change who runs it only announces ([`Stop::Control`]), the loop
//! of [`Vm`](crate::Vm) does them when the machine has stopped.
//!
//! A refused operation costs its fixed price and changes nothing; one whose price cannot be paid costs
//! nothing and changes nothing. Each family has a file: `mgmt` for slots, `data` for bytes.
//!
//! Source: capability machine, section 7.

mod data;
mod mgmt;

use javm_abi::{
    GuestOp, SlotPath,
    ops::{FIRST_USER_OP, USER_OP_PRICE},
    reg::{A0, A4},
};
use javm_cap::{CacheDirectory, CapError, CapHashOrRef, OpError, OpFailure, path};
use javm_exec::{EcallHandler, EcallKind, EcallResult, ExitReason, GasCounter, Mem, Regs};

use crate::{
    call::decode_path,
    callstack::InstanceEntry,
    kernel_assist::{KernelAssist, UserCall, UserCallResult},
};

/// Numbers of the operations on slots, by name.
pub mod mgmt_op {
    pub use javm_abi::ops::number::{
        MGMT_CNODE_MINT, MGMT_CNODE_SWAP, MGMT_COPY, MGMT_DROP, MGMT_KIND, MGMT_MOVE, REPLY,
    };
}

/// Numbers of the other operations, by name.
pub mod host_op {
    pub use javm_abi::ops::number::{
        CALL_RESUME, DERIVE_SPAWN, DROP_PAUSED, EMIT, GAS_LEFT, HOST_CALL, HOST_DATA_SIZE,
        HOST_MINT_DATA_CAP, HOST_OPEN, HOST_READ_DATA_CAP, HOST_SAME_TYPE, HOST_SAME_TYPE_AS, HOST_SAVE,
        HOST_SUBTYPE, HOST_TYPE_EQ, HOST_TYPE_OF, HOST_YIELD, MAKE_IMAGE, SET_IMAGE,
    };
}

/// Why a handler ended a run.
pub(crate) enum Stop {
    /// An operation that changes who runs; its price is paid.
    Control(GuestOp),
    /// The operation is refused.
    Refused { number: u64, error: OpError },
    /// The operation's price cannot be paid.
    Price { number: u64 },
    /// The invocation ends in a host error.
    Host(CapError),
}

/// How an operation fails.
pub(crate) enum Failure {
    Refused(OpError),
    OutOfGas,
    Host(CapError),
}

impl From<OpError> for Failure {
    fn from(error: OpError) -> Self {
        Self::Refused(error)
    }
}

impl From<CapError> for Failure {
    fn from(error: CapError) -> Self {
        Self::Host(error)
    }
}

impl From<OpFailure> for Failure {
    fn from(failure: OpFailure) -> Self {
        match failure {
            OpFailure::Refused(error) => Self::Refused(error),
            OpFailure::Host(error) => Self::Host(error),
        }
    }
}

/// Answers the calls of the instance that runs.
pub(crate) struct Handler<'a, K> {
    pub(crate) entry: &'a mut InstanceEntry,
    pub(crate) cache: &'a mut CacheDirectory,
    pub(crate) assist: &'a mut K,
    pub(crate) stop: &'a mut Option<Stop>,
}

/// One operation under way: the handler's parts and the machine as it stands.
pub(crate) struct Op<'a> {
    entry: &'a mut InstanceEntry,
    cache: &'a mut CacheDirectory,
    regs: &'a mut Regs,
    mem: &'a mut dyn Mem,
    gas: &'a mut GasCounter,
    op: GuestOp,
}

impl<K: KernelAssist> EcallHandler for Handler<'_, K> {
    fn ecall(
        &mut self,
        kind: EcallKind,
        regs: &mut Regs,
        mem: &mut dyn Mem,
        gas: &mut GasCounter,
    ) -> EcallResult {
        let number = match kind {
            EcallKind::Ecalli(n) => i64::from(n as i32) as u64,
            EcallKind::Ecall => regs.gpr[A4],
        };
        let result = match GuestOp::from_number(number) {
            Some(op) => {
                let (entry, cache) = (&mut *self.entry, &mut *self.cache);
                Op { entry, cache, regs, mem, gas, op }.perform()
            }
            None if number >= u64::from(FIRST_USER_OP) && number <= u64::from(u32::MAX) => {
                self.user_call(number as u32, regs, mem, gas)
            }
            None => Err(OpError::UnknownOperation { number }.into()),
        };
        let (stop, reason) = match result {
            Ok(None) => return EcallResult::Continue,
            Ok(Some(op)) => (Stop::Control(op), kind.exit()),
            Err(Failure::Refused(error)) => (Stop::Refused { number, error }, ExitReason::Trap),
            Err(Failure::OutOfGas) => (Stop::Price { number }, ExitReason::OutOfGas),
            Err(Failure::Host(error)) => (Stop::Host(error), ExitReason::Trap),
        };
        *self.stop = Some(stop);
        EcallResult::Exit(reason)
    }
}

impl<K: KernelAssist> Handler<'_, K> {
    fn user_call(
        &mut self,
        number: u32,
        regs: &mut Regs,
        mem: &mut dyn Mem,
        gas: &mut GasCounter,
    ) -> Result<Option<GuestOp>, Failure> {
        let before = *gas;
        if !gas.charge(USER_OP_PRICE.fixed) {
            return Err(Failure::OutOfGas);
        }
        match self.assist.user_call(UserCall { number, regs, gas }, mem) {
            UserCallResult::Done => Ok(None),
            UserCallResult::Refused => Err(OpError::UnknownOperation { number: u64::from(number) }.into()),
            UserCallResult::OutOfGas => {
                *gas = before;
                Err(Failure::OutOfGas)
            }
        }
    }
}

impl Op<'_> {
    /// Takes the price and does the operation; `Some` announces one that changes who runs.
    fn perform(mut self) -> Result<Option<GuestOp>, Failure> {
        let before = *self.gas;
        if !self.gas.charge(self.op.price().fixed) {
            return Err(Failure::OutOfGas);
        }
        let result = self.dispatch();
        if let Err(Failure::OutOfGas) = result {
            *self.gas = before;
        }
        result
    }

    fn dispatch(&mut self) -> Result<Option<GuestOp>, Failure> {
        match self.op {
            // Halting has its price taken with the commit, whichever way the instance halts.
            GuestOp::Reply => {
                self.gas.add(self.op.price().fixed);
                return Ok(Some(self.op));
            }
            GuestOp::HostCall => {
                let mappings = self.callee_mappings()?;
                self.pay(mappings)?;
                return Ok(Some(self.op));
            }
            GuestOp::MgmtCopy => self.copy()?,
            GuestOp::MgmtMove => self.mv()?,
            GuestOp::MgmtDrop => self.drop_slot()?,
            GuestOp::MgmtCnodeSwap => self.swap()?,
            GuestOp::MgmtCnodeMint => self.mint_cnode()?,
            GuestOp::MgmtKind => self.kind()?,
            GuestOp::HostReadDataCap => self.read_data()?,
            GuestOp::HostMintDataCap => self.mint_data()?,
            GuestOp::HostDataSize => self.data_size()?,
            GuestOp::GasLeft => self.regs.gpr[A0] = self.gas.remaining(),
            _ => {
                return Err(OpError::NotAvailable {
                    reason: "this machine does not offer the operation yet",
                }
                .into());
            }
        }
        Ok(None)
    }

    /// Takes the variable part of the price, before anything is done.
    fn pay(&mut self, units: u64) -> Result<(), Failure> {
        let price = self.op.price().per_unit.saturating_mul(units);
        if self.gas.charge(price) { Ok(()) } else { Err(Failure::OutOfGas) }
    }

    /// Operand `n`, counted from φ7.
    const fn operand(&self, n: usize) -> u64 {
        self.regs.gpr[A0 + n]
    }

    /// Operand `n` as a slot path.
    fn path(&self, n: usize) -> Result<SlotPath, OpError> {
        decode_path(self.operand(n))
    }

    /// A path that may be written: not pinned by the image.
    fn writable(&self, n: usize) -> Result<SlotPath, OpError> {
        let path = self.path(n)?;
        let slot = path.root_slot();
        // A pinned slot holds a Data or an Image, so nothing lies below it that could be written.
        if self.entry.image.image().pinned_slots.contains_key(&slot.into()) && path.is_root() {
            return Err(OpError::PinnedSlot { slot });
        }
        Ok(path)
    }

    /// What the slot holds; refused where the path leads nowhere.
    fn slot(&mut self, path: SlotPath) -> Result<Option<CapHashOrRef>, Failure> {
        Ok(path::read_path(self.cache, &self.entry.table, path)?)
    }

    /// What the slot holds; refused when it is empty.
    fn full(&mut self, path: SlotPath) -> Result<CapHashOrRef, Failure> {
        self.slot(path)?.ok_or_else(|| OpError::EmptySource { path }.into())
    }

    /// Fills or empties a slot.
    fn put(&mut self, path: SlotPath, name: Option<CapHashOrRef>) -> Result<(), Failure> {
        path::write_path(self.cache, &mut self.entry.table, path, name, self.entry.owner)?;
        Ok(())
    }

    /// How many mappings the image of the instance in φ7 has; 0 where the call will be refused anyway.
    fn callee_mappings(&mut self) -> Result<u64, Failure> {
        let path = self.path(0)?;
        let name = self.full(path)?;
        let cap = self.cache.fetch(name)?;
        let javm_cap::Cap::Instance(instance) = &*cap else { return Ok(0) };
        match self.cache.get(CapHashOrRef::Hash(instance.image_hash)).as_deref() {
            Some(javm_cap::Cap::Image(image)) => Ok(image.memory_mappings.len() as u64),
            _ => Ok(0),
        }
    }
}
