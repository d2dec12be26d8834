//! Files: `HOST_OPEN`, `HOST_SAVE`. Whoever holds the right handle may.

use javm_abi::reg::A0;
use javm_cap::{Cap, CapHashOrRef, OpError};

use super::{Failure, Op};
use crate::{
    kernel_assist::{KernelAssist, KernelImage, SaveResult},
    meter,
};

impl<K: KernelAssist> Op<'_, K> {
    /// Refuses unless the slot in operand `n` holds one of these handles; a file's must be this file's.
    fn check_handle(&mut self, n: usize, right: KernelImage, file: Option<u64>) -> Result<(), Failure> {
        let path = self.path(n)?;
        let name = self.full(path)?;
        let has_right = meter::handle(self.cache, name, right)?.is_some();
        let is_file = file.is_some() && meter::handle(self.cache, name, KernelImage::File)? == file;
        if has_right || is_file {
            return Ok(());
        }
        Err(OpError::NotAHandle { path, expected: right.name() }.into())
    }

    /// `HOST_OPEN`: dst = the file's Data.
    pub(super) fn open_file(&mut self) -> Result<(), Failure> {
        let file = self.operand(0);
        let dst = self.writable(1)?;
        self.check_handle(2, KernelImage::HostOpen, Some(file))?;
        self.slot(dst)?;
        let Some(hash) = self.assist.open_file(file) else {
            return Err(OpError::BadNumber { name: "file", value: file }.into());
        };
        self.put(dst, Some(CapHashOrRef::Hash(hash)))
    }

    /// `HOST_SAVE`: φ7 = the id of a new file; a quota pays the stripped size.
    pub(super) fn save_file(&mut self) -> Result<(), Failure> {
        let cap = self.data(0)?;
        let Cap::Data(data) = &*cap else { unreachable!("checked by data()") };
        self.check_handle(2, KernelImage::HostSave, None)?;
        let size = data.content_len();
        let quota = self.paying_quota(1, size)?;
        let path = self.path(0)?;
        let name = self.full(path)?;
        let content = self.cache.settle(name)?;
        match self.assist.save_file(content, size, quota) {
            SaveResult::Saved(id) => {
                self.regs.gpr[A0] = id;
                Ok(())
            }
            SaveResult::QuotaExhausted => Err(Failure::Storage { quota: quota.unwrap_or(0) }),
        }
    }
}
