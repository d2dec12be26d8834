//! Data: bytes in and out of this instance's memory, images made of bytes, files.

use crate::instance::optional;
use crate::raw;
use crate::slot::{CNode, Data, Image, Instance, Slot, SlotKind};

/// The slot holds no Data, so there is nothing to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoData {
    /// What it holds instead.
    pub found: SlotKind,
}

impl core::fmt::Display for NoData {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "the slot holds {:?}, not Data", self.found)
    }
}

impl core::error::Error for NoData {}

impl Slot<Data> {
    /// Size in bytes. Trailing zeros do not count: Data never has any (HOST_DATA_SIZE).
    #[must_use]
    pub fn size(self) -> u64 {
        // SAFETY: no address operand.
        let [size, ..] = unsafe { raw::HOST_DATA_SIZE(self.register()) };
        size
    }

    /// Fills `buffer` with the bytes from `offset` on, zeros where the Data has ended, and returns how many
    /// came from the Data (HOST_READ_DATA_CAP).
    pub fn read_into(self, buffer: &mut [u8], offset: u64) -> usize {
        let (address, length) = (buffer.as_mut_ptr() as u64, buffer.len() as u64);
        // SAFETY: the buffer is borrowed for the whole operation, which writes its length.
        let [read, ..] = unsafe { raw::HOST_READ_DATA_CAP(self.register(), address, length, offset) };
        read as usize
    }

    /// [`read_into`](Self::read_into) for a slot that another program filled, such as the scratchpad:
    /// checks the kind first.
    ///
    /// # Errors
    /// [`NoData`] when the slot holds something else or nothing.
    pub fn try_read_into(self, buffer: &mut [u8], offset: u64) -> Result<usize, NoData> {
        match self.kind() {
            SlotKind::Data => Ok(self.read_into(buffer, offset)),
            found => Err(NoData { found }),
        }
    }

    /// Puts a Data of these bytes here, trailing zeros stripped, paid by the active quota
    /// (HOST_MINT_DATA_CAP).
    pub fn mint(self, bytes: &[u8]) {
        self.mint_paid_by(bytes, None);
    }

    /// [`mint`](Self::mint) with a Quota handle that pays; `None` is the active one.
    pub fn mint_paid_by(self, bytes: &[u8], quota: Option<Slot<Instance>>) {
        let (address, length) = (bytes.as_ptr() as u64, bytes.len() as u64);
        // SAFETY: the bytes are borrowed for the whole operation, which reads them.
        unsafe { raw::HOST_MINT_DATA_CAP(address, length, optional(quota), self.register()) };
    }

    /// Puts the Data of a file here (HOST_OPEN). `handle` holds a HostOpen, or the File of that id.
    pub fn open(self, file: u64, handle: Slot<Instance>) {
        // SAFETY: no address operand.
        unsafe { raw::HOST_OPEN(file, self.register(), handle.register()) };
    }

    /// Saves the Data as a file and returns its id (HOST_SAVE). `handle` holds a HostSave; `quota` pays for
    /// the size, `None` is the active one.
    pub fn save(self, quota: Option<Slot<Instance>>, handle: Slot<Instance>) -> u64 {
        // SAFETY: no address operand.
        let [file, ..] = unsafe { raw::HOST_SAVE(self.register(), optional(quota), handle.register()) };
        file
    }

    /// Validates the Data as an encoded image and puts the image into `dst` (MAKE_IMAGE). Its pinned and
    /// initial slots are named by index into `caps`.
    pub fn make_image(self, dst: Slot<Image>, caps: Option<Slot<CNode>>) {
        // SAFETY: no address operand.
        unsafe { raw::MAKE_IMAGE(self.register(), dst.register(), optional(caps)) };
    }
}
