//! Kernel-assisted instances: calls that the kernel answers itself.
//!
//! They are called like any instance, but nothing runs: arguments come from φ9 on, a slot argument is a path
//! in the caller's table, numbers go to φ7, values to the caller's slot 0.
//!
//! Source: capability machine, section 9.

use javm_abi::{
    GuestOp, SlotPath,
    kernel::{CREATE, MINT, SET, catcher},
    status,
};
use javm_cap::{
    CNodeCap, CacheDirectory, Cap, CapHash, CapHashOrRef, DataCap, InstanceCap, Kind, OpError, OpFailure,
    SlotIdx, path,
};

use crate::{
    call::{SCRATCHPAD, Start, decode_path, write_slot},
    error::VmError,
    fault::NotStarted,
    kernel_assist::{KernelAssist, KernelImage, working_handle},
    vm::{Flow, Vm},
};

/// How a native call comes out.
enum Answer {
    /// A number in φ7.
    Number(u64),
    /// A value in slot 0; φ7 = 0.
    Value(CapHashOrRef),
    /// The callee's own value changes; φ7 = the number.
    Changed(InstanceCap, u64),
    /// The caller sees a code.
    Refused(NotStarted),
}

impl<K: KernelAssist> Vm<K> {
    /// A `HOST_CALL` of a kernel-assisted instance.
    pub(crate) fn native_call(
        &mut self,
        cache: &mut CacheDirectory,
        index: usize,
        image: KernelImage,
        start: &Start,
    ) -> Result<Flow, VmError> {
        let answer = match self.answer(cache, index, image, start) {
            Ok(answer) => answer,
            Err(OpFailure::Refused(error)) => {
                return self.refuse(cache, index, u64::from(GuestOp::HostCall.number()), error);
            }
            Err(OpFailure::Host(error)) => return Err(error.into()),
        };
        let value = match answer {
            Answer::Refused(why) => {
                self.not_started(index, start.instance.image_hash, start.endpoint, why);
                return Ok(Flow::Continue);
            }
            Answer::Number(value) => value,
            Answer::Value(name) => {
                self.stack.at_mut(index).table.set(SCRATCHPAD, Some(name))?;
                0
            }
            Answer::Changed(instance, value) => {
                let name = CapHashOrRef::Ref(cache.insert_working(Cap::Instance(instance)));
                write_slot(cache, self.stack.at_mut(index), start.target, Some(name))?;
                value
            }
        };
        self.return_to(index, value, status::OK);
        Ok(Flow::Continue)
    }

    fn answer(
        &mut self,
        cache: &mut CacheDirectory,
        index: usize,
        image: KernelImage,
        start: &Start,
    ) -> Result<Answer, OpFailure> {
        let Start { endpoint, args, instance, .. } = start;
        let Ok(number) = u8::try_from(*endpoint) else {
            return Ok(Answer::Refused(NotStarted::NoSuchEndpoint { endpoint: *endpoint }));
        };
        Ok(match (image, number) {
            (KernelImage::YieldCatcher, catcher::ADD) => {
                let marker = self.marker_argument(cache, index, args[0])?;
                catcher_add(cache, instance, marker)?
            }
            (KernelImage::YieldCatcher, catcher::REMOVE) => {
                let marker = self.marker_argument(cache, index, args[0])?;
                catcher_remove(cache, instance, marker)?
            }
            (KernelImage::YieldCatcher, catcher::READ) => {
                let bytes: Vec<u8> = markers(cache, instance)?.concat();
                Answer::Value(CapHashOrRef::Ref(cache.insert_working(Cap::Data(DataCap::new(&bytes)))))
            }
            (KernelImage::SetGasMeter, SET) => Answer::Number(self.set_balance(args[0], args[1])),
            (KernelImage::SetStorageQuota, SET) => {
                Answer::Number(self.kernel_assist.set_quota(args[0], args[1]))
            }
            (KernelImage::MintGas, MINT) => {
                Answer::Value(working_handle(cache, KernelImage::Gas, Some(args[0])))
            }
            (KernelImage::MintQuota, MINT) => {
                Answer::Value(working_handle(cache, KernelImage::Quota, Some(args[0])))
            }
            (KernelImage::CreateYieldCatcher, CREATE) => {
                Answer::Value(working_handle(cache, KernelImage::YieldCatcher, None))
            }
            _ => Answer::Refused(NotStarted::NoSuchEndpoint { endpoint: *endpoint }),
        })
    }

    /// The name of the instance in the slot that an argument names.
    fn marker_argument(
        &self,
        cache: &CacheDirectory,
        index: usize,
        raw: u64,
    ) -> Result<CapHashOrRef, OpFailure> {
        let path: SlotPath = decode_path(raw)?;
        let name = path::read_source(cache, &self.stack.at(index).table, path)?;
        match &*cache.fetch(name)? {
            Cap::Instance(_) => Ok(name),
            other => {
                Err(OpError::WrongKind { path, expected: &[Kind::Instance], found: other.kind() }.into())
            }
        }
    }
}

/// `add`: the marker is named by hash.
fn catcher_add(
    cache: &mut CacheDirectory,
    catcher: &InstanceCap,
    marker: CapHashOrRef,
) -> Result<Answer, OpFailure> {
    let marker = cache.settle(marker)?;
    let listed = markers(cache, catcher)?;
    if listed.contains(&marker) {
        return Ok(Answer::Refused(NotStarted::Kernel { reason: "the catcher lists the marker already" }));
    }
    if listed.len() == catcher::SLOTS.count() {
        return Ok(Answer::Refused(NotStarted::Kernel { reason: "the catcher is full" }));
    }
    let mut table = catcher_table(cache, catcher)?;
    table.set(SlotIdx(listed.len() as u32 + 1), Some(CapHashOrRef::Hash(marker)))?;
    Ok(Answer::Changed(with_table(cache, catcher, table), listed.len() as u64))
}

/// `remove`: what follows closes the gap.
fn catcher_remove(
    cache: &mut CacheDirectory,
    catcher: &InstanceCap,
    marker: CapHashOrRef,
) -> Result<Answer, OpFailure> {
    let marker = cache.settle(marker)?;
    let listed = markers(cache, catcher)?;
    let position = listed.iter().position(|m| *m == marker);
    let Some(position) = position else {
        return Ok(Answer::Refused(NotStarted::Kernel { reason: "the catcher does not list the marker" }));
    };
    let mut table = catcher_table(cache, catcher)?;
    for (at, next) in (position + 1..).zip(listed[position + 1..].iter().map(Some).chain([None])) {
        table.set(SlotIdx(at as u32), next.map(|hash| CapHashOrRef::Hash(*hash)))?;
    }
    Ok(Answer::Changed(with_table(cache, catcher, table), position as u64))
}

fn with_table(cache: &mut CacheDirectory, catcher: &InstanceCap, table: CNodeCap) -> InstanceCap {
    let mut catcher = catcher.clone();
    catcher.root_cnode = CapHashOrRef::Ref(cache.insert_working(Cap::CNode(table)));
    catcher
}

fn catcher_table(cache: &CacheDirectory, catcher: &InstanceCap) -> Result<CNodeCap, OpFailure> {
    match &*cache.fetch(catcher.root_cnode)? {
        Cap::CNode(table) if table.size_log() == javm_cap::ROOT_SIZE_LOG => Ok(table.clone()),
        _ => Err(OpError::NotAvailable { reason: "the catcher's table is no root cnode" }.into()),
    }
}

/// The markers of a catcher, in order.
fn markers(cache: &CacheDirectory, catcher: &InstanceCap) -> Result<Vec<CapHash>, OpFailure> {
    let table = catcher_table(cache, catcher)?;
    Ok(catcher::SLOTS.map_while(|slot| table.get(SlotIdx(slot))?.as_hash().copied()).collect())
}
