//! What is seen of pages: by a VM through what its capabilities map, by hosts through a capability.

use super::{Cap, Data, Fault, Model, PAGE, PAGES};

impl Model {
    /// The contents of a page.
    #[must_use]
    pub fn page(&self, page: u32) -> &[u8; PAGE as usize] {
        const ZEROS: [u8; PAGE as usize] = [0; PAGE as usize];
        self.pages.get(&page).map_or(&ZEROS, |page| page)
    }

    pub(super) fn page_mut(&mut self, page: u32) -> &mut [u8; PAGE as usize] {
        self.pages.entry(page).or_insert_with(|| Box::new([0; PAGE as usize]))
    }

    /// What a VM has at a page of its address space: the page, and whether it may write.
    #[must_use]
    pub fn window(&self, vm: u16, at: u32) -> Option<(u32, bool)> {
        self.vms.get(&vm)?.slots.values().find_map(|cap| match cap {
            Cap::Data(data) => {
                let page = at.checked_sub(data.base?)?;
                data.mapped.contains(&page).then_some((data.first + page, data.access?))
            }
            _ => None,
        })
    }

    /// Whether a VM has anything mapped below 64 KiB.
    fn maps_low(&self, vm: u16) -> bool {
        (0..16).any(|page| self.window(vm, page).is_some())
    }

    /// Whether a VM can access bytes: the first page that it cannot says how that ends.
    ///
    /// # Errors
    /// The fault.
    pub fn check(&self, vm: u16, address: u32, len: u64, write: bool) -> Result<(), Fault> {
        let (mut first, end) = (u64::from(address), u64::from(address) + len);
        let mut refused = Vec::new();
        while first < end {
            let at = (first / PAGE % PAGES) as u32;
            if self.window(vm, at).is_none_or(|(_, writable)| write && !writable) {
                // The smallest byte before addresses wrap.
                refused.push(first % (1 << 32));
                break;
            }
            first = (first / PAGE + 1) * PAGE;
        }
        match refused.first() {
            None => Ok(()),
            Some(at) if *at < 1 << 16 && !self.maps_low(vm) => Err(Fault::Panic),
            Some(at) => Err(Fault::Page((at / PAGE * PAGE) as u32)),
        }
    }

    /// Writes bytes as a VM would.
    ///
    /// # Errors
    /// The fault; nothing is written then.
    pub fn store(&mut self, vm: u16, address: u32, bytes: &[u8]) -> Result<(), Fault> {
        self.check(vm, address, bytes.len() as u64, true)?;
        for (n, byte) in bytes.iter().enumerate() {
            let at = (u64::from(address) + n as u64) % (1 << 32);
            if let Some((page, _)) = self.window(vm, (at / PAGE) as u32) {
                self.page_mut(page)[(at % PAGE) as usize] = *byte;
                self.written.insert(page);
            }
        }
        Ok(())
    }

    /// Reads bytes as a VM would.
    ///
    /// # Errors
    /// The fault.
    pub fn load(&self, vm: u16, address: u32, len: u64) -> Result<Vec<u8>, Fault> {
        self.check(vm, address, len, false)?;
        let byte = |n: u64| {
            let at = (u64::from(address) + n) % (1 << 32);
            let (page, _) = self.window(vm, (at / PAGE) as u32)?;
            Some(self.page(page)[(at % PAGE) as usize])
        };
        Ok((0..len).filter_map(byte).collect())
    }

    /// Bytes of a capability, which must have them.
    pub(super) fn bytes(&self, data: &Data, offset: u64, len: u64) -> Vec<u8> {
        let at = |n: u64| self.page(data.first + (n / PAGE) as u32)[(n % PAGE) as usize];
        (offset..offset + len).map(at).collect()
    }

    /// Writes bytes of a capability, which must have them.
    pub(super) fn set_bytes(&mut self, data: &Data, offset: u64, bytes: &[u8]) {
        for (n, byte) in (offset..).zip(bytes) {
            let page = data.first + (n / PAGE) as u32;
            self.page_mut(page)[(n % PAGE) as usize] = *byte;
            self.written.insert(page);
        }
    }
}
