//! Lineages: what an instance is, as far as anybody can prove it.

use javm_abi::{SlotPath, reg::A0};
use javm_cap::{Cap, CapHash, CapHashOrRef, Kind, OpError, TypeCap, lineage};
use javm_exec::Access;

use super::{Failure, Op};
use crate::kernel_assist::KernelAssist;

/// Bytes of one entry of a list of slot paths.
const ENTRY: u64 = 8;

impl<K: KernelAssist> Op<'_, K> {
    /// The lineage of what operand `n` names.
    fn lineage(&mut self, n: usize, expected: &'static [Kind]) -> Result<CapHash, Failure> {
        let path = self.path(n)?;
        let name = self.full(path)?;
        let cap = self.cache.fetch(name)?;
        match &*cap {
            Cap::Instance(instance) if expected.contains(&Kind::Instance) => Ok(instance.image_hash_chain),
            Cap::Type(ty) if expected.contains(&Kind::Type) => Ok(ty.lineage),
            other => Err(OpError::WrongKind { path, expected, found: other.kind() }.into()),
        }
    }

    /// The lineage `start`, extended by each of the images whose slots are listed in memory: operands `n`
    /// (address) and `n + 1` (count).
    fn fold(&mut self, start: CapHash, n: usize) -> Result<CapHash, Failure> {
        let (address, count) = (self.operand(n), self.operand(n + 1));
        let length = count.saturating_mul(ENTRY);
        let refused = OpError::UnmappedMemory { address, length };
        let (Ok(from), Ok(len)) = (u32::try_from(address), u32::try_from(length)) else {
            return Err(refused.into());
        };
        if u64::from(from) + u64::from(len) > 1 << 32
            || self.mem.check(from, len as usize, Access::ReadOnly).is_err()
        {
            return Err(refused.into());
        }
        self.pay(count)?;
        let mut lineage = start;
        for at in (0..len).step_by(ENTRY as usize) {
            let mut raw = [0; ENTRY as usize];
            if self.mem.read(from + at, &mut raw).is_err() {
                unreachable!("the whole range was checked");
            }
            let path = SlotPath::decode(u64::from_le_bytes(raw))
                .map_err(|reason| OpError::BadPath { raw: u64::from_le_bytes(raw), reason })?;
            let name = self.full(path)?;
            let cap = self.cache.fetch(name)?;
            let Cap::Image(image) = &*cap else {
                return Err(OpError::WrongKind { path, expected: &[Kind::Image], found: cap.kind() }.into());
            };
            lineage = lineage::step(&lineage, &image.hash());
        }
        Ok(lineage)
    }

    /// `HOST_SAME_TYPE`: φ7 = whether two lineages are equal.
    pub(super) fn same_type(&mut self) -> Result<(), Failure> {
        let any = &[Kind::Instance, Kind::Type];
        let equal = self.lineage(0, any)? == self.lineage(1, any)?;
        self.regs.gpr[A0] = u64::from(equal);
        Ok(())
    }

    /// `HOST_TYPE_EQ`: φ7 = whether two types are equal.
    pub(super) fn type_eq(&mut self) -> Result<(), Failure> {
        let equal = self.lineage(0, &[Kind::Type])? == self.lineage(1, &[Kind::Type])?;
        self.regs.gpr[A0] = u64::from(equal);
        Ok(())
    }

    /// `HOST_TYPE_OF`: dst = the type of an instance.
    pub(super) fn type_of(&mut self) -> Result<(), Failure> {
        let lineage = self.lineage(0, &[Kind::Instance])?;
        let dst = self.writable(1)?;
        self.slot(dst)?;
        self.put_type(dst, lineage)
    }

    /// `HOST_SUBTYPE`: dst = a type, extended by images.
    pub(super) fn subtype(&mut self) -> Result<(), Failure> {
        let start = self.lineage(0, &[Kind::Type])?;
        let dst = self.writable(3)?;
        self.slot(dst)?;
        let lineage = self.fold(start, 1)?;
        self.put_type(dst, lineage)
    }

    /// `HOST_SAME_TYPE_AS`: φ7 = whether the comparer's lineage, extended by images, is the comparee's.
    pub(super) fn same_type_as(&mut self) -> Result<(), Failure> {
        let any = &[Kind::Instance, Kind::Type];
        let (comparer, comparee) = (self.lineage(0, any)?, self.lineage(1, any)?);
        let equal = self.fold(comparer, 2)? == comparee;
        self.regs.gpr[A0] = u64::from(equal);
        Ok(())
    }

    fn put_type(&mut self, dst: SlotPath, lineage: CapHash) -> Result<(), Failure> {
        let name = self.cache.insert_working(Cap::Type(TypeCap::new(lineage)));
        self.put(dst, Some(CapHashOrRef::Ref(name)))
    }
}
