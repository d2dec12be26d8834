//! [`Vm`] and the pool of them. Who runs and who waits is the invocation's.

use std::{cmp::Reverse, collections::BinaryHeap};

use javm_abi::microkernel::MAX_VMS;
use javm_exec::{GasCounter, Regs, memory::SharedSpace};

use crate::{CapTable, VmId};

/// What a VM does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VmState {
    /// Nothing; it can be called.
    Idle,
    /// It is the one that runs.
    Running,
    /// It called another and waits.
    WaitingForReply,
    /// It is the first VM and has replied: the invocation is over.
    Halted,
    /// It faulted and can be resumed.
    Faulted,
}

/// A virtual machine.
#[derive(Debug)]
pub struct Vm {
    pub(crate) id: VmId,
    pub(crate) state: VmState,
    pub(crate) code: u8,
    pub(crate) regs: Regs,
    pub(crate) gas: GasCounter,
    pub(crate) gas_charged: bool,
    pub(crate) table: CapTable,
    pub(crate) space: SharedSpace,
}

impl Vm {
    /// Its name.
    #[must_use]
    pub const fn id(&self) -> VmId {
        self.id
    }

    /// What it does.
    #[must_use]
    pub const fn state(&self) -> VmState {
        self.state
    }

    /// The number of its code.
    #[must_use]
    pub const fn code(&self) -> u8 {
        self.code
    }

    /// Registers and program counter.
    #[must_use]
    pub const fn regs(&self) -> &Regs {
        &self.regs
    }

    /// Its gas: what is left while it runs or waits; 0 while it is idle; what it had at the fault while it is
    /// faulted, though its caller has got that.
    #[must_use]
    pub const fn gas(&self) -> u64 {
        self.gas.remaining()
    }

    /// Whether the basic block at the program counter is paid.
    #[must_use]
    pub const fn gas_charged(&self) -> bool {
        self.gas_charged
    }

    /// Its capabilities.
    #[must_use]
    pub const fn table(&self) -> &CapTable {
        &self.table
    }

    /// Its address space.
    #[must_use]
    pub const fn space(&self) -> &SharedSpace {
        &self.space
    }

    /// Whether it, or something that it waits for, runs.
    pub(crate) const fn is_on_stack(&self) -> bool {
        matches!(self.state, VmState::Running | VmState::WaitingForReply)
    }
}

/// All VMs. The lowest free place is used first.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    places: Vec<Option<Box<Vm>>>,
    free: BinaryHeap<Reverse<u16>>,
    made: u64,
}

impl Pool {
    /// Makes an idle VM with zero registers. `None` when there are as many as there can be.
    pub(crate) fn create(&mut self, code: u8, table: CapTable) -> Option<VmId> {
        let index = match self.free.pop() {
            Some(Reverse(index)) => index,
            None if self.places.len() < MAX_VMS => {
                self.places.push(None);
                (self.places.len() - 1) as u16
            }
            None => return None,
        };
        let id = VmId { index, serial: self.made };
        self.made += 1;
        self.places[usize::from(index)] = Some(Box::new(Vm {
            id,
            state: VmState::Idle,
            code,
            regs: Regs::default(),
            gas: GasCounter::default(),
            gas_charged: false,
            table,
            space: SharedSpace::new(),
        }));
        Some(id)
    }

    /// Takes a VM out.
    pub(crate) fn remove(&mut self, index: u16) -> Option<Box<Vm>> {
        let vm = self.places.get_mut(usize::from(index))?.take()?;
        self.free.push(Reverse(index));
        Some(vm)
    }

    /// The VM in a place.
    #[inline]
    pub(crate) fn at(&self, index: u16) -> Option<&Vm> {
        self.places.get(usize::from(index))?.as_deref()
    }

    /// As [`Self::at`].
    #[inline]
    pub(crate) fn at_mut(&mut self, index: u16) -> Option<&mut Vm> {
        self.places.get_mut(usize::from(index))?.as_deref_mut()
    }

    /// The VM with this name; `None` when it is gone.
    #[inline]
    pub(crate) fn get(&self, id: VmId) -> Option<&Vm> {
        self.at(id.index).filter(|vm| vm.id == id)
    }

    /// All that there are, in order of their places.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Vm> + '_ {
        self.places.iter().filter_map(Option::as_deref)
    }
}
