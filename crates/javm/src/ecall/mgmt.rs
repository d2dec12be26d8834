//! Operations on slots: copy, move, drop, exchange, mint a cnode, ask for the kind.

use javm_abi::reg::A0;
use javm_cap::{Cap, CapHashOrRef, OpError, path};

use super::{Failure, Op};
use crate::kernel_assist::KernelAssist;

impl<K: KernelAssist> Op<'_, K> {
    /// `MGMT_COPY`: dst names the same value. A working value is settled first, so that both names are one.
    pub(super) fn copy(&mut self) -> Result<(), Failure> {
        let (src, dst) = (self.path(0)?, self.writable(1)?);
        let name = self.full(src)?;
        // The destination must be a slot before anything is hashed for it.
        self.slot(dst)?;
        self.pay_steps(&[dst])?;
        let hash = self.cache.settle(name)?;
        self.put(dst, Some(CapHashOrRef::Hash(hash)))
    }

    /// `MGMT_MOVE`: dst gets the value, src becomes empty.
    pub(super) fn mv(&mut self) -> Result<(), Failure> {
        let (src, dst) = (self.writable(0)?, self.writable(1)?);
        path::check_apart(src, dst)?;
        self.full(src)?;
        self.slot(dst)?;
        self.pay_steps(&[src, dst])?;
        self.touch(src);
        self.touch(dst);
        Ok(path::move_path(self.cache, &mut self.entry.table, src, dst, self.entry.owner)?)
    }

    /// `MGMT_DROP`: empties the slot.
    pub(super) fn drop_slot(&mut self) -> Result<(), Failure> {
        let src = self.writable(0)?;
        self.full(src)?;
        self.pay_steps(&[src])?;
        self.put(src, None)
    }

    /// `MGMT_CNODE_SWAP`: exchanges two slots, of which either may be empty.
    pub(super) fn swap(&mut self) -> Result<(), Failure> {
        let (a, b) = (self.writable(0)?, self.writable(1)?);
        path::check_apart(a, b)?;
        self.slot(a)?;
        self.slot(b)?;
        self.pay_steps(&[a, b])?;
        self.touch(a);
        self.touch(b);
        Ok(path::swap_paths(self.cache, &mut self.entry.table, a, b, self.entry.owner)?)
    }

    /// `MGMT_CNODE_MINT`: dst = a fresh empty cnode of 2^k slots.
    pub(super) fn mint_cnode(&mut self) -> Result<(), Failure> {
        let (dst, k) = (self.writable(0)?, self.operand(1));
        let size = u8::try_from(k).ok().filter(|k| *k <= javm_cap::MAX_SIZE_LOG);
        let Some(size) = size else { return Err(OpError::BadNumber { name: "k", value: k }.into()) };
        self.slot(dst)?;
        self.pay_steps(&[dst])?;
        let name = self.cache.insert_working(Cap::empty_cnode(size)?);
        self.put(dst, Some(CapHashOrRef::Ref(name)))
    }

    /// `MGMT_KIND`: φ7 = what the slot holds.
    pub(super) fn kind(&mut self) -> Result<(), Failure> {
        let path = self.path(0)?;
        let kind = match self.slot(path)? {
            None => 0,
            Some(name) => self.cache.fetch(name)?.kind().number(),
        };
        self.regs.gpr[A0] = u64::from(kind);
        Ok(())
    }
}
