//! Images and new instances: `DERIVE_SPAWN`, `MAKE_IMAGE`.

use std::sync::Arc;

use javm_abi::SlotPath;
use javm_cap::{
    Cap, CapHash, CapHashOrRef, ImageCap, InstanceCap, Kind, OpError, ROOT_SIZE_LOG, SlotIdx, lineage, path,
};

use super::{Failure, Op};
use crate::kernel_assist::KernelAssist;

impl<K: KernelAssist> Op<'_, K> {
    /// The value of a kind at a path.
    fn of_kind(&mut self, path: SlotPath, expected: &'static [Kind]) -> Result<Arc<Cap>, Failure> {
        let name = self.full(path)?;
        let cap = self.cache.fetch(name)?;
        if expected.contains(&cap.kind()) {
            return Ok(cap);
        }
        Err(OpError::WrongKind { path, expected, found: cap.kind() }.into())
    }

    /// `DERIVE_SPAWN`: dst = an instance of the image over the cnode, which is consumed.
    pub(super) fn derive_spawn(&mut self) -> Result<(), Failure> {
        let image_path = self.path(0)?;
        let (cnode_path, dst) = (self.writable(1)?, self.writable(2)?);
        let cap = self.of_kind(image_path, &[Kind::Image])?;
        let Cap::Image(image) = &*cap else { unreachable!("checked by of_kind()") };
        let table = self.of_kind(cnode_path, &[Kind::CNode])?;
        let Cap::CNode(table) = &*table else { unreachable!("checked by of_kind()") };
        if table.size_log() != ROOT_SIZE_LOG {
            let (expected, found) = (ROOT_SIZE_LOG, table.size_log());
            return Err(OpError::CNodeSize { path: cnode_path, expected, found }.into());
        }
        if cnode_path != dst {
            path::check_apart(cnode_path, dst)?;
        }
        self.slot(dst)?;
        let mut table = table.clone();
        for (slot, hash) in &image.pinned_slots {
            table.set(*slot, Some(CapHashOrRef::Hash(*hash)))?;
        }
        for (slot, hash) in &image.initial_slots {
            if table.get(*slot).is_none() {
                table.set(*slot, Some(CapHashOrRef::Hash(*hash)))?;
            }
        }
        let hash = image.hash();
        let root = CapHashOrRef::Ref(self.cache.insert_working(Cap::CNode(table)));
        let instance = InstanceCap::new(lineage::step(&self.entry.lineage, &hash), hash, root);
        let name = self.cache.insert_working(Cap::Instance(instance));
        self.put(cnode_path, None)?;
        // What the cnode held is shared with the new instance.
        self.entry.owner = self.cache.new_owner();
        self.put(dst, Some(CapHashOrRef::Ref(name)))
    }

    /// `MAKE_IMAGE`: dst = the image that a Data describes, its slots taken from a cnode.
    pub(super) fn make_image(&mut self) -> Result<(), Failure> {
        let data = self.data(0)?;
        let Cap::Data(data) = &*data else { unreachable!("checked by data()") };
        let dst = self.writable(1)?;
        self.slot(dst)?;
        self.pay(u64::from(ImageCap::make_len(data)))?;
        let caps = match self.operand(2) {
            javm_abi::reg::NO_SLOT => None,
            _ => {
                let path = self.path(2)?;
                self.of_kind(path, &[Kind::CNode])?;
                let name = self.full(path)?;
                // An image names values by hash, so they get theirs now.
                let hash = self.cache.settle(name)?;
                Some(self.cache.fetch(CapHashOrRef::Hash(hash))?)
            }
        };
        let at = |slot: SlotIdx| -> Option<CapHash> {
            match caps.as_deref() {
                Some(Cap::CNode(cnode)) => cnode.get(slot)?.as_hash().copied(),
                _ => None,
            }
        };
        let image = ImageCap::make(data, at).map_err(OpError::Image)?;
        self.cache.check_pinned(&image).map_err(OpError::Image)?;
        let hash = self.cache.put_cap(&Cap::Image(image))?;
        self.put(dst, Some(CapHashOrRef::Hash(hash)))
    }
}
