//! Operations on memory: RETYPE, MAP, UNMAP, SPLIT, DIRTY, and the copy that calling DATA is.

use javm_abi::{
    microkernel::{CapRef, PAGE_GAS, RETYPE_GAS},
    reg,
};
use javm_exec::{
    Access, Mem,
    memory::{Extent, PAGE_COUNT},
};

use crate::{
    Cap, DataCap, Invocation,
    dispatch::Place,
    invocation::{Flow, Outcome, Refusal},
};

impl Invocation {
    fn data_at(&self, place: Place) -> Result<DataCap, Refusal> {
        match self.cap(place) {
            Some(Cap::Data(data)) => Ok(*data),
            _ => Err(Refusal::What),
        }
    }

    /// Unmaps an extent from a VM, and forgets that it was mapped.
    pub(crate) fn unmap_all(&mut self, vm: u16, backing: Extent) {
        if let Some(vm) = self.vms.at_mut(vm) {
            vm.space.remove(backing);
        }
    }

    /// RETYPE: pages of the pool become DATA.
    pub(crate) fn retype(&mut self) -> Outcome {
        let [pages, destination] = [reg::A0, reg::A5].map(|r| self.me().regs.gpr[r]);
        self.charge(PAGE_GAS.saturating_mul(pages).saturating_add(RETYPE_GAS))?;
        let pages = u32::try_from(pages).map_err(|_| Refusal::What)?;
        let backing = self.untyped.take(pages).ok_or(Refusal::What)?;
        // The pages are taken, whatever comes of the destination.
        let place = self.resolve_empty(CapRef(destination as u32))?;
        self.table_mut(place.vm)?.set(place.slot, Cap::Data(DataCap::fresh(backing)));
        self.me().regs.gpr[reg::A0] = u64::from(place.slot);
        Ok(Flow::Continue)
    }

    pub(crate) fn map(&mut self, place: Place) -> Result<(), Refusal> {
        let data = self.data_at(place)?;
        let [base, first, count, access] = [7, 8, 9, 10].map(|r| self.me().regs.gpr[r]);
        let access = match access {
            0 => Access::ReadOnly,
            1 => Access::ReadWrite,
            _ => return Err(Refusal::What),
        };
        // As the page behind the last is one that there can be, all of these are 32-bit numbers.
        let end = base.checked_add(first).and_then(|page| page.checked_add(count));
        if end.is_none_or(|end| end > u64::from(PAGE_COUNT)) {
            return Err(Refusal::What);
        }
        let [base, first, count] = [base as u32, first as u32, count as u32];
        if first + count > data.backing.count
            || data.base_page.is_some_and(|fixed| fixed != base)
            || data.access.is_some_and(|fixed| fixed != access)
        {
            return Err(Refusal::What);
        }
        let vm = self.vms.at_mut(place.vm).ok_or(Refusal::What)?;
        vm.space.map(data.backing, base, access, first, count).map_err(|_| Refusal::What)?;
        if let Some(Cap::Data(data)) = vm.table.get_mut(place.slot) {
            (data.base_page, data.access) = (Some(base), Some(access));
        }
        Ok(())
    }

    pub(crate) fn unmap(&mut self, place: Place) -> Result<(), Refusal> {
        let data = self.data_at(place)?;
        let [first, count] = [7, 8].map(|r| u32::try_from(self.me().regs.gpr[r]).unwrap_or(u32::MAX));
        if let Some(vm) = self.vms.at_mut(place.vm) {
            vm.space.unmap(data.backing, first, count);
        }
        Ok(())
    }

    pub(crate) fn split(&mut self, from: Place, to: Place) -> Result<(), Refusal> {
        let Extent { first, count } = self.data_at(from)?.backing;
        let at = u32::try_from(self.me().regs.gpr[reg::A0]).map_err(|_| Refusal::What)?;
        let vm = self.vms.at_mut(from.vm).ok_or(Refusal::What)?;
        if at == 0 || at >= count || vm.space.mapped_pages(Extent { first, count }) != 0 {
            return Err(Refusal::What);
        }
        if self.cap(to).is_some() {
            return Err(Refusal::What);
        }
        self.unmap_all(from.vm, Extent { first, count });
        let low = DataCap::fresh(Extent { first, count: at });
        let high = DataCap::fresh(Extent { first: first + at, count: count - at });
        self.table_mut(from.vm)?.set(from.slot, Cap::Data(low));
        self.table_mut(to.vm)?.set(to.slot, Cap::Data(high));
        Ok(())
    }

    /// DIRTY: tells which pages were written since it was asked last.
    pub(crate) fn dirty(&mut self, place: Place) -> Result<(), Refusal> {
        let data = self.data_at(place)?;
        let [address, room] = [7, 8].map(|r| self.me().regs.gpr[r]);
        let len = data.backing.count.div_ceil(8) as usize;
        if room < len as u64 {
            return Err(Refusal::What);
        }
        // Addresses are taken modulo 2^32, as those of loads and stores are.
        let address = address as u32;
        let memory = self.memory(self.active).map_err(|_| Refusal::What)?;
        memory.check(address, len, Access::ReadWrite).map_err(|_| Refusal::What)?;
        let written = self.store.written(data.backing);
        let pages: u64 = written.iter().map(|byte| u64::from(byte.count_ones())).sum();
        self.memory(self.active)
            .and_then(|mut memory| memory.write(address, &written).map_err(crate::AccessError::Fault))
            .map_err(|_| Refusal::What)?;
        // What this wrote itself is forgotten, too, where the bitmap lies in the pages that it is about.
        let written = self.store.written(data.backing);
        if let Some(vm) = self.vms.at_mut(place.vm) {
            vm.space.written_again(data.backing, &written);
        }
        self.store.clear_written(data.backing);
        self.me().regs.gpr[reg::A0] = pages;
        Ok(())
    }

    /// The call of a DATA: copies bytes to another, or inside it.
    pub(crate) fn memcpy(&mut self, from: DataCap) -> Outcome {
        let [source, len, target, to] = [7, 8, 9, 12].map(|r| self.me().regs.gpr[r]);
        let to = CapRef(to as u32);
        if to == CapRef(0) || len == 0 {
            return Err(Refusal::What);
        }
        let to = self.data_at(self.resolve(to)?)?;
        if !self.store.copy((from.backing, source), (to.backing, target), len) {
            return Err(Refusal::What);
        }
        self.me().regs.gpr[reg::A0] = len;
        Ok(Flow::Continue)
    }
}
