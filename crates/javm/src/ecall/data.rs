//! Operations on bytes: reading a Data into memory, minting one from memory, its size.

use std::sync::Arc;

use javm_abi::reg::A0;
use javm_cap::{Cap, CapHashOrRef, DataCap, Kind, OpError};
use javm_exec::Access;

use super::{Failure, Op};
use crate::{kernel_assist::KernelAssist, meter};

/// Bytes that are copied at a time: enough to make the loop cheap, little enough to need no allocation.
const BUFFER: usize = 4096;

/// What the price counts as one chunk, in bytes.
const CHUNK: u64 = 64;

impl<K: KernelAssist> Op<'_, K> {
    /// The Data at operand `n`.
    pub(super) fn data(&mut self, n: usize) -> Result<Arc<Cap>, Failure> {
        let path = self.path(n)?;
        let name = self.full(path)?;
        let cap = self.cache.fetch(name)?;
        match &*cap {
            Cap::Data(_) => Ok(cap),
            other => Err(OpError::WrongKind { path, expected: &[Kind::Data], found: other.kind() }.into()),
        }
    }

    /// Operands `n` (address) and `n + 1` (length) as a range that the guest may access so.
    pub(super) fn range(&self, n: usize, access: Access) -> Result<(u32, u32), Failure> {
        let (address, length) = (self.operand(n), self.operand(n + 1));
        let refused = OpError::UnmappedMemory { address, length };
        let (Ok(start), Ok(len)) = (u32::try_from(address), u32::try_from(length)) else {
            return Err(refused.into());
        };
        // A range does not wrap: what the guest names is one stretch of its memory.
        if u64::from(start) + u64::from(len) > 1 << 32 || self.mem.check(start, len as usize, access).is_err()
        {
            return Err(refused.into());
        }
        Ok((start, len))
    }

    /// `HOST_READ_DATA_CAP`: copies into memory, zero-fills the rest; φ7 = bytes that came from the Data.
    pub(super) fn read_data(&mut self) -> Result<(), Failure> {
        let cap = self.data(0)?;
        let Cap::Data(data) = &*cap else { unreachable!("checked by data()") };
        let (address, len) = self.range(1, Access::ReadWrite)?;
        let offset = self.operand(3);
        self.pay(u64::from(len).div_ceil(CHUNK))?;
        let mut buffer = [0; BUFFER];
        let mut copied = 0;
        for at in (0..len).step_by(BUFFER) {
            let part = &mut buffer[..BUFFER.min((len - at) as usize)];
            copied += match offset.checked_add(u64::from(at)) {
                Some(from) => data.read(from, part),
                None => {
                    part.fill(0);
                    0
                }
            };
            if self.mem.write(address + at, part).is_err() {
                unreachable!("the whole range was checked");
            }
        }
        self.regs.gpr[A0] = copied as u64;
        Ok(())
    }

    /// `HOST_MINT_DATA_CAP`: dst = these bytes, trailing zeros stripped; a quota pays the stripped size.
    pub(super) fn mint_data(&mut self) -> Result<(), Failure> {
        let (address, len) = self.range(0, Access::ReadOnly)?;
        let dst = self.writable(3)?;
        self.slot(dst)?;
        self.pay(u64::from(len).div_ceil(CHUNK))?;
        let mut data = DataCap::default();
        let mut buffer = [0; BUFFER];
        for (page, at) in (0..len).step_by(BUFFER).enumerate() {
            let part = &mut buffer[..BUFFER.min((len - at) as usize)];
            if self.mem.read(address + at, part).is_err() {
                unreachable!("the whole range was checked");
            }
            data = data.with_pages([(page as u64, &*part)]);
        }
        let size = data.content_len();
        let quota = self.paying_quota(2, size)?;
        meter::debit(self.assist, quota, size);
        let name = self.cache.insert_working(Cap::Data(data));
        self.put(dst, Some(CapHashOrRef::Ref(name)))
    }

    /// `HOST_DATA_SIZE`: φ7 = stripped size.
    pub(super) fn data_size(&mut self) -> Result<(), Failure> {
        let cap = self.data(0)?;
        let Cap::Data(data) = &*cap else { unreachable!("checked by data()") };
        self.regs.gpr[A0] = data.content_len();
        Ok(())
    }
}
