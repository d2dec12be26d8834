//! Guest operations: what an `ecall` or `ecalli` of an instance means.
//!
//! [`Handler`] is made for one run of one entry. It finds the operation in the table of `javm-abi`, takes
//! its price, and does it; operations that change who runs it only announces ([`Stop::Control`]), the loop
//! of [`Vm`](crate::Vm) does them when the machine has stopped.
//!
//! A refused operation costs its fixed price and changes nothing; one whose price cannot be paid costs
//! nothing and changes nothing. Each family has a file: `mgmt` for slots, `data` for bytes, `image` for images
//! and new instances, `types` for lineages, `file` for files, `event` for events.
//!
//! Source: capability machine, section 7.

mod data;
mod event;
mod file;
mod image;
mod mgmt;
mod types;

use javm_abi::{
    GuestOp, SlotPath,
    ops::{FIRST_USER_OP, USER_OP_PRICE},
    reg::{A0, A4},
};
use javm_cap::{CacheDirectory, CapError, CapHashOrRef, OpError, OpFailure, SlotIdx, path};
use javm_exec::{EcallHandler, EcallKind, EcallResult, ExitReason, GasCounter, Mem, Regs};

use crate::{
    call::decode_path,
    callstack::InstanceEntry,
    kernel_assist::{KernelAssist, KernelImage, UserCall, UserCallResult},
    meter,
    pause::frozen_units,
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
    /// The operation is done, but who pays for what comes next must be found out anew, or values collected.
    Again,
    /// The operation is refused.
    Refused { number: u64, error: OpError },
    /// The operation's price, `amount`, cannot be paid.
    Price { number: u64, amount: u64 },
    /// This quota cannot pay for what the operation stores.
    Storage { quota: u64 },
    /// The invocation ends in a host error.
    Host(CapError),
}

/// The quotas that pay for the instance that runs.
pub(crate) enum Quotas {
    /// Storage is free.
    Free,
    /// Those in its own table, as it stands.
    Own,
    /// Those of an entry that waits.
    Fixed(Vec<u64>),
}

/// How an operation fails.
pub(crate) enum Failure {
    Refused(OpError),
    OutOfGas { amount: u64 },
    Storage { quota: u64 },
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
    pub(crate) quotas: &'a Quotas,
    /// Gas of the paying meter that the engine was not given.
    pub(crate) kept: u64,
    pub(crate) stop: &'a mut Option<Stop>,
}

/// What an operation comes to.
enum Done {
    /// The guest goes on.
    Continue,
    /// The operation changes who runs: the loop does it.
    Control,
    /// The guest goes on, but the loop must look after something first.
    Again,
}

/// One operation under way: the handler's parts and the machine as it stands.
pub(crate) struct Op<'a, K> {
    entry: &'a mut InstanceEntry,
    cache: &'a mut CacheDirectory,
    assist: &'a mut K,
    quotas: &'a Quotas,
    kept: u64,
    regs: &'a mut Regs,
    mem: &'a mut dyn Mem,
    gas: &'a mut GasCounter,
    op: GuestOp,
    /// What the operation has paid so far.
    paid: u64,
    /// A slot was written that holds, or held, what pays; or a collection of values is due.
    look: bool,
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
            Some(op) => Op {
                entry: &mut *self.entry,
                cache: &mut *self.cache,
                assist: &mut *self.assist,
                quotas: self.quotas,
                kept: self.kept,
                regs,
                mem,
                gas,
                op,
                paid: 0,
                look: false,
            }
            .perform()
            .map(|done| match done {
                Done::Continue => None,
                Done::Control => Some(Stop::Control(op)),
                Done::Again => Some(Stop::Again),
            }),
            None if number >= u64::from(FIRST_USER_OP) && number <= u64::from(u32::MAX) => {
                self.user_call(number as u32, regs, mem, gas).map(|()| None)
            }
            None => Err(OpError::UnknownOperation { number }.into()),
        };
        let (stop, reason) = match result {
            Ok(None) => return EcallResult::Continue,
            Ok(Some(stop)) => (stop, kind.exit()),
            Err(Failure::Refused(error)) => (Stop::Refused { number, error }, ExitReason::Trap),
            Err(Failure::OutOfGas { amount }) => (Stop::Price { number, amount }, ExitReason::OutOfGas),
            Err(Failure::Storage { quota }) => (Stop::Storage { quota }, ExitReason::OutOfGas),
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
    ) -> Result<(), Failure> {
        let before = *gas;
        if !gas.charge(USER_OP_PRICE.fixed) {
            return Err(Failure::OutOfGas { amount: USER_OP_PRICE.fixed });
        }
        match self.assist.user_call(UserCall { number, regs, gas }, mem) {
            UserCallResult::Done => Ok(()),
            UserCallResult::Refused => Err(OpError::UnknownOperation { number: u64::from(number) }.into()),
            UserCallResult::OutOfGas { price } => {
                *gas = before;
                Err(Failure::OutOfGas { amount: USER_OP_PRICE.fixed.saturating_add(price) })
            }
        }
    }
}

impl<K: KernelAssist> Op<'_, K> {
    /// Takes the price and does the operation.
    fn perform(mut self) -> Result<Done, Failure> {
        let before = *self.gas;
        let result = self.pay_amount(self.op.price().fixed).and_then(|()| self.dispatch());
        match result {
            // Nothing was done: nothing is paid.
            Err(Failure::OutOfGas { .. } | Failure::Storage { .. }) => *self.gas = before,
            Ok(Done::Continue) if self.look => return Ok(Done::Again),
            _ => {}
        }
        result
    }

    fn dispatch(&mut self) -> Result<Done, Failure> {
        match self.op {
            // These have their price taken as a whole, with the commit: it can be paid only together with the
            // dirty pages, and a halt costs the same whichever way the instance halts.
            GuestOp::Reply | GuestOp::SetImage => {
                self.gas.add(self.op.price().fixed);
                return Ok(Done::Control);
            }
            GuestOp::HostCall => {
                let mappings = self.callee_mappings()?;
                self.pay(mappings)?;
                return Ok(Done::Control);
            }
            GuestOp::CallResume => {
                let units = self.resumed_units()?;
                self.pay(units)?;
                return Ok(Done::Control);
            }
            GuestOp::HostYield | GuestOp::DropPaused => {
                return Ok(Done::Control);
            }
            GuestOp::MgmtCopy => self.copy()?,
            GuestOp::MgmtMove => self.mv()?,
            GuestOp::MgmtDrop => self.drop_slot()?,
            GuestOp::MgmtCnodeSwap => self.swap()?,
            GuestOp::MgmtCnodeMint => self.mint_cnode()?,
            GuestOp::MgmtKind => self.kind()?,
            GuestOp::DeriveSpawn => self.derive_spawn()?,
            GuestOp::MakeImage => self.make_image()?,
            GuestOp::HostSameType => self.same_type()?,
            GuestOp::HostTypeOf => self.type_of()?,
            GuestOp::HostReadDataCap => self.read_data()?,
            GuestOp::HostMintDataCap => self.mint_data()?,
            GuestOp::HostOpen => self.open_file()?,
            GuestOp::HostSave => self.save_file()?,
            GuestOp::HostSubtype => self.subtype()?,
            GuestOp::HostTypeEq => self.type_eq()?,
            GuestOp::HostSameTypeAs => self.same_type_as()?,
            GuestOp::HostDataSize => self.data_size()?,
            GuestOp::Emit => self.emit()?,
            GuestOp::GasLeft => self.regs.gpr[A0] = self.gas.remaining().saturating_add(self.kept),
            op => unreachable!("{} is a row of the table without an arm", op.name()),
        }
        Ok(Done::Continue)
    }

    /// Takes the variable part of the price, before anything is done.
    fn pay(&mut self, units: u64) -> Result<(), Failure> {
        self.pay_amount(self.op.price().per_unit.saturating_mul(units))
    }

    fn pay_amount(&mut self, price: u64) -> Result<(), Failure> {
        self.paid = self.paid.saturating_add(price);
        if self.gas.charge(price) { Ok(()) } else { Err(Failure::OutOfGas { amount: self.paid }) }
    }

    /// Pays for writing the slots that these paths name, beyond the root table.
    fn pay_steps(&mut self, written: &[SlotPath]) -> Result<(), Failure> {
        self.pay(written.iter().map(|path| path.steps().len() as u64).sum())
    }

    /// Which quota pays for `bytes`: the one in the operand's slot, or the first active one that can.
    fn paying_quota(&mut self, operand: usize, bytes: u64) -> Result<Option<u64>, Failure> {
        let raw = self.operand(operand);
        let quotas = if raw == javm_abi::reg::NO_SLOT {
            match self.quotas {
                Quotas::Free => None,
                Quotas::Fixed(ids) => Some(ids.clone()),
                Quotas::Own => {
                    let slots = &self.entry.image.image().quota_slots;
                    Some(meter::handles(self.cache, &self.entry.table, slots, KernelImage::Quota)?)
                }
            }
        } else {
            let path = decode_path(raw)?;
            let name = self.full(path)?;
            let id = meter::handle(self.cache, name, KernelImage::Quota)?;
            Some(vec![id.ok_or(OpError::NotAHandle { path, expected: KernelImage::Quota.name() })?])
        };
        meter::paying_quota(self.assist, quotas.as_deref(), bytes).map_err(|quota| Failure::Storage { quota })
    }

    /// Operand `n`, counted from φ7.
    const fn operand(&self, n: usize) -> u64 {
        self.regs.gpr[A0 + n]
    }

    /// Operand `n` as a slot path.
    fn path(&self, n: usize) -> Result<SlotPath, OpError> {
        decode_path(self.operand(n))
    }

    /// A path that may be written: not pinned by the image, and no paused call's.
    fn writable(&self, n: usize) -> Result<SlotPath, OpError> {
        let path = self.path(n)?;
        let slot = path.root_slot();
        // A pinned slot holds a Data or an Image, so nothing lies below it that could be written.
        if self.entry.image.image().pinned_slots.contains_key(&slot.into()) && path.is_root() {
            return Err(OpError::PinnedSlot { slot });
        }
        match self.entry.paused_target(path) {
            Some(target) => Err(OpError::PausedTarget { path, target }),
            None => Ok(path),
        }
    }

    /// Notes that a slot is about to change.
    fn touch(&mut self, path: SlotPath) {
        let image = self.entry.image.image();
        let slot = SlotIdx::from(path.root_slot());
        // A guest that makes and drops values without ever calling anybody must not fill the host's memory.
        self.look |= image.gas_slots.contains(&slot) || self.cache.is_collection_due();
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
        self.touch(path);
        path::write_path(self.cache, &mut self.entry.table, path, name, self.entry.owner)?;
        Ok(())
    }

    /// What the paused value in φ7 counts; 0 for a call that is still on the stack, and where resuming will be
    /// refused anyway.
    fn resumed_units(&mut self) -> Result<u64, Failure> {
        let path = self.path(0)?;
        if self.entry.pauses.iter().any(|pause| pause.target == path) {
            return Ok(0);
        }
        let name = self.full(path)?;
        let limit = self.gas.remaining().saturating_add(self.kept) / self.op.price().per_unit.max(1);
        Ok(frozen_units(self.cache, name, limit)?)
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
