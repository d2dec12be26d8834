//! Random operations, most of which succeed: whoever chooses sees the whole state of the model.
//!
//! An operation is chosen first, then references and numbers for which it can be done; if there are none, another
//! one is tried. Now and then what was chosen is damaged, which is how operations come to fail.

use super::{Cap, Data, Fault, Model, PAGE, PAGES, State, VmName};
use crate::Rng;

/// What the active VM does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// `ecalli` with this immediate.
    Ecalli(u32),
    /// `ecall`; φ11 and φ12 say what.
    Ecall,
    /// It faults.
    Fault(Fault),
    /// It jumps to the halt address.
    Halt,
    /// It stores bytes.
    Store {
        /// Where.
        address: u32,
        /// What.
        bytes: Vec<u8>,
    },
    /// It loads bytes.
    Load {
        /// Where.
        address: u32,
        /// How many.
        len: u64,
    },
    /// The host gives it this much gas.
    Gas(u64),
}

/// A step: the active VM's registers, and what it does with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// φ0 to φ12.
    pub phi: [u64; 13],
    /// What it does.
    pub action: Action,
}

/// A VM that the active one reaches, and the upper bytes of references into its table.
type Reached = (u16, u32);

/// Pages where data is mapped: few, so that mappings meet; the ends of the low zone and of the address space.
const BASES: [u32; 12] =
    [0, 1, 14, 16, 17, 20, 24, 0x100, 0x101, PAGES as u32 - 8, PAGES as u32 - 4, PAGES as u32 - 1];

/// The next step for a state. The same numbers and state give the same step.
#[must_use]
pub fn step(rng: &mut Rng, model: &Model) -> Step {
    let mut chooser = Chooser::new(rng, model);
    let mut phi = model.me().phi;
    let action = loop {
        if let Some(action) = chooser.choose(&mut phi) {
            break action;
        }
    };
    let rng = chooser.rng;
    if !rng.one_in(9) {
        return Step { phi, action };
    }
    // One number of it becomes another.
    let register = *rng.one_of(&[7, 8, 9, 10, 11, 12, 12]);
    match rng.below(4) {
        0 => phi[register] = rng.interesting(),
        1 => phi[register] ^= 1 << rng.below(64),
        2 => phi[register] = phi[register].wrapping_add(1),
        _ => phi[register] = rng.below(300),
    }
    let action = match action {
        Action::Ecalli(imm) if rng.one_in(2) && imm != 0 => Action::Ecalli((imm ^ 1 << rng.below(32)).max(1)),
        Action::Store { bytes, .. } => Action::Store { address: rng.bits() as u32, bytes },
        Action::Load { len, .. } => Action::Load { address: rng.interesting() as u32, len },
        other => other,
    };
    Step { phi, action }
}

struct Chooser<'a> {
    rng: &'a mut Rng,
    model: &'a Model,
    reached: Vec<Reached>,
}

impl<'a> Chooser<'a> {
    fn new(rng: &'a mut Rng, model: &'a Model) -> Self {
        let mut chooser = Self { rng, model, reached: vec![(model.active, 0)] };
        chooser.reach();
        chooser
    }

    /// Finds what references can lead to, through up to three handles.
    fn reach(&mut self) {
        let mut from = 0;
        for depth in 1..=3 {
            let to = self.reached.len();
            for n in from..to {
                let (vm, prefix) = self.reached[n];
                for (slot, cap) in &self.model.vms[&vm].slots {
                    if let Cap::Handle { vm, .. } = cap
                        && *slot != 0
                        && let Some(vm) = self.model.vm(*vm)
                        && !matches!(vm.state, State::Running | State::Waiting)
                        && self.reached.len() < 12
                    {
                        let hops = (prefix >> 8) << 8 | u32::from(*slot);
                        self.reached.push((vm.name.index, hops << 8));
                    }
                }
            }
            from = to;
            debug_assert!(depth <= 3);
        }
    }

    /// A reference whose zero bytes lie elsewhere: they are skipped.
    fn shifted(&mut self, reference: u32) -> u32 {
        let [slot, a, b, c] = reference.to_le_bytes();
        let moved = match (a, b, c) {
            (a, 0, 0) => *self.rng.one_of(&[[slot, a, 0, 0], [slot, 0, a, 0], [slot, 0, 0, a]]),
            (a, b, 0) => *self.rng.one_of(&[[slot, a, b, 0], [slot, a, 0, b], [slot, 0, a, b]]),
            (a, b, c) => [slot, a, b, c],
        };
        u32::from_le_bytes(moved)
    }

    /// A slot somewhere in reach for which something holds; its reference. Near ones are preferred.
    fn find(&mut self, holds: impl Fn(&Model, &Cap) -> bool) -> Option<(u32, &'a Cap)> {
        let model = self.model;
        let start = if self.rng.one_in(2) { 0 } else { self.rng.index(self.reached.len()) };
        for k in 0..self.reached.len() {
            let (vm, prefix) = self.reached[(start + k) % self.reached.len()];
            let slots = &model.vms[&vm].slots;
            let fitting = || slots.iter().filter(|(_, cap)| holds(model, cap));
            let count = fitting().count();
            if count > 0
                && let Some((slot, cap)) = fitting().nth(self.rng.index(count))
            {
                let reference = self.shifted(prefix | u32::from(*slot));
                return Some((reference, cap));
            }
        }
        None
    }

    fn find_data(&mut self, holds: impl Fn(&Data) -> bool) -> Option<(u32, &'a Data)> {
        let (reference, cap) = self.find(|_, cap| matches!(cap, Cap::Data(data) if holds(data)))?;
        let Cap::Data(data) = cap else { return None };
        Some((reference, data))
    }

    /// A slot of the active VM for which something holds.
    fn find_local(&mut self, holds: impl Fn(&Model, &Cap) -> bool) -> Option<u8> {
        let model = self.model;
        let fitting = || model.me().slots.iter().filter(|(_, cap)| holds(model, cap));
        let count = fitting().count();
        fitting().nth(self.rng.index(count)).map(|(slot, _)| *slot)
    }

    /// An empty slot in reach; its reference.
    fn empty(&mut self) -> Option<u32> {
        let (vm, prefix) = if self.rng.one_in(3) { *self.rng.one_of(&self.reached) } else { self.reached[0] };
        let slot = match self.rng.below(10) {
            0 => self.rng.below(256) as u8,
            1 => 0,
            2 | 3 => self.rng.between(64, 90) as u8,
            _ => self.rng.between(29, 63) as u8,
        };
        if self.model.cap((vm, slot)).is_some() {
            return None;
        }
        Some(self.shifted(prefix | u32::from(slot)))
    }

    /// Calls a reference, by one instruction or the other, with an object in the low half of φ12.
    fn call(&mut self, phi: &mut [u64; 13], reference: u32, object: u32) -> Action {
        if reference != 0 && self.rng.one_in(2) {
            phi[12] = u64::from(object);
            return Action::Ecalli(reference);
        }
        self.ecall(phi, 0, reference, object)
    }

    fn ecall(&mut self, phi: &mut [u64; 13], op: u32, subject: u32, object: u32) -> Action {
        // The high half of φ11 means nothing.
        phi[11] = u64::from(op) | if self.rng.one_in(8) { self.rng.bits() << 32 } else { 0 };
        phi[12] = u64::from(subject) << 32 | u64::from(object);
        Action::Ecall
    }

    fn choose(&mut self, phi: &mut [u64; 13]) -> Option<Action> {
        let child = !self.model.frames.is_empty();
        match self.rng.below(100) {
            0..=7 => self.retype(phi),
            8..=14 => self.create(phi),
            15..=26 => self.call_vm(phi),
            27..=30 => self.memcpy(phi),
            31..=32 => {
                let (reference, _) = self.find(|_, cap| matches!(cap, Cap::Protocol(_)))?;
                Some(self.call(phi, reference, 0))
            }
            33..=43 => self.map(phi),
            44..=46 => {
                let (reference, data) = self.find_data(|data| data.base.is_some())?;
                phi[7] = self.rng.below(u64::from(data.count) + 1);
                phi[8] = if self.rng.one_in(9) { self.rng.interesting() } else { self.rng.below(4) };
                Some(self.ecall(phi, 3, reference, 0))
            }
            47..=50 => {
                let (reference, data) = self.find_data(|data| data.mapped.is_empty() && data.count > 1)?;
                phi[7] = self.rng.between(1, u64::from(data.count) - 1);
                let object = self.empty()?;
                Some(self.ecall(phi, 4, reference, object))
            }
            51..=53 => {
                // Handles are precious.
                let all = self.rng.one_in(3);
                let (reference, _) = self.find(|_, cap| match cap {
                    Cap::Handle { .. } => all,
                    Cap::Protocol(_) | Cap::Code(_) => false,
                    _ => true,
                })?;
                Some(self.ecall(phi, 5, reference, 0))
            }
            54..=61 => {
                let (reference, _) = self.find(|_, cap| !matches!(cap, Cap::Protocol(_)))?;
                let object = if self.rng.one_in(20) { reference } else { self.empty()? };
                Some(self.ecall(phi, 6, reference, object))
            }
            62..=66 => {
                let (reference, _) = self.find(|_, cap| cap.copyable())?;
                let object = self.empty()?;
                Some(self.ecall(phi, 7, reference, object))
            }
            67..=69 => {
                let (reference, _) = self.find(|_, cap| matches!(cap, Cap::Handle { .. }))?;
                let object = self.empty()?;
                Some(self.ecall(phi, 0xA, reference, object))
            }
            70..=71 => {
                let (reference, _) = self.find(|_, cap| matches!(cap, Cap::Handle { .. }))?;
                phi[7] = match self.rng.below(8) {
                    0 => self.rng.below(60),
                    1 => self.rng.below(5_000),
                    2 => u64::MAX,
                    _ => self.rng.between(20_000, 2_000_000),
                };
                Some(self.ecall(phi, 0xB, reference, 0))
            }
            72..=76 => self.dirty(phi),
            77..=81 => {
                let faulted =
                    |vm: &VmName, model: &Model| model.vm(*vm).is_some_and(|vm| vm.state == State::Faulted);
                let slot = self
                    .find_local(|model, cap| matches!(cap, Cap::Handle { vm, .. } if faulted(vm, model)))?;
                Some(self.ecall(phi, 0xD, u32::from(slot), 0))
            }
            82..=90 => self.store(),
            91..=92 => self.load(),
            93..=95 => {
                // The first VM's last word, said rarely.
                if !child && !self.rng.one_in(60) {
                    return None;
                }
                if self.rng.one_in(3) { Some(Action::Halt) } else { Some(Action::Ecalli(0)) }
            }
            96..=98 => {
                if !child && !self.rng.one_in(20) {
                    return None;
                }
                Some(Action::Fault(match self.rng.below(4) {
                    0 => Fault::Trap,
                    1 => Fault::Panic,
                    2 => Fault::OutOfGas,
                    _ => Fault::Page(self.rng.bits() as u32 & !(PAGE as u32 - 1)),
                }))
            }
            _ => {
                // Who is nearly out of gas gets more; others lose all of it, the first VM rarely.
                let poor = self.model.me().gas < 30;
                let loses = self.rng.one_in(if child { 4 } else { 40 });
                (poor || loses).then(|| Action::Gas(if poor { 1_000_000 } else { self.rng.below(25) }))
            }
        }
    }

    fn retype(&mut self, phi: &mut [u64; 13]) -> Option<Action> {
        let left = self.model.untyped_total - self.model.untyped_offset;
        if left == 0 {
            return None;
        }
        let (reference, _) = self.find(|_, cap| matches!(cap, Cap::Untyped))?;
        phi[7] = self.rng.below(7).min(u64::from(left));
        let object = self.empty()?;
        Some(self.call(phi, reference, object))
    }

    fn create(&mut self, phi: &mut [u64; 13]) -> Option<Action> {
        if self.model.vms.len() > 7 && !self.rng.one_in(20) {
            return None;
        }
        let (reference, _) = self.find(|_, cap| matches!(cap, Cap::Code(_)))?;
        phi[7] = match self.rng.below(3) {
            0 => self.rng.bits(),
            1 => !0,
            _ => self.rng.bits() | !0 << 29,
        };
        let object = self.empty()?;
        Some(self.call(phi, reference, object))
    }

    fn call_vm(&mut self, phi: &mut [u64; 13]) -> Option<Action> {
        let callable = self.rng.one_in(3);
        let (reference, _) = self.find(|model, cap| {
            let (vm, fits) = match cap {
                Cap::Handle { vm, .. } => (vm, !callable),
                Cap::Callable { vm, .. } => (vm, callable),
                _ => return false,
            };
            fits && model.vm(*vm).is_some_and(|vm| vm.state == State::Idle)
        })?;
        (7..=10).for_each(|n| phi[n] = self.rng.interesting());
        let passed = match self.rng.below(4) {
            0 => self.find_local(|_, cap| matches!(cap, Cap::Data(_))),
            1 => self.find_local(|_, cap| !matches!(cap, Cap::Protocol(_))),
            _ => None,
        };
        Some(self.call(phi, reference, u32::from(passed.unwrap_or(0))))
    }

    fn memcpy(&mut self, phi: &mut [u64; 13]) -> Option<Action> {
        let (from, source) = self.find_data(|data| data.count > 0)?;
        let (to, target) = self.find_data(|data| data.count > 0)?;
        let size = |data: &Data| u64::from(data.count) * PAGE;
        let most = size(source).min(size(target));
        let most = if self.rng.one_in(8) { most } else { 40 };
        phi[8] = self.rng.between(1, most);
        phi[7] = self.rng.below(size(source) - phi[8] + 1);
        phi[9] = self.rng.below(size(target) - phi[8] + 1);
        if to == 0 {
            return None;
        }
        Some(self.call(phi, from, to))
    }

    fn map(&mut self, phi: &mut [u64; 13]) -> Option<Action> {
        let unmapped = !self.rng.one_in(4);
        let (reference, data) = self.find_data(|data| data.mapped.is_empty() == unmapped)?;
        phi[7] = u64::from(data.base.unwrap_or_else(|| *self.rng.one_of(&BASES)));
        phi[8] = if self.rng.one_in(2) { 0 } else { self.rng.below(u64::from(data.count) + 1) };
        phi[9] = u64::from(data.count) - phi[8];
        if self.rng.one_in(3) {
            phi[9] = self.rng.below(phi[9] + 1);
        }
        phi[10] = data.access.map_or_else(|| u64::from(!self.rng.one_in(4)), u64::from);
        Some(self.ecall(phi, 2, reference, 0))
    }

    /// A page that the active VM has mapped; its address.
    fn mapped(&mut self, writable: bool) -> Option<u32> {
        let fits = |data: &Data| !data.mapped.is_empty() && (!writable || data.access == Some(true));
        let slot = self.find_local(|_, cap| matches!(cap, Cap::Data(data) if fits(data)))?;
        let data = self.model.data((self.model.active, slot))?;
        let page = data.mapped.iter().nth(self.rng.index(data.mapped.len()))?;
        Some((data.base? + page) * PAGE as u32)
    }

    fn dirty(&mut self, phi: &mut [u64; 13]) -> Option<Action> {
        let (reference, data) = self.find_data(|data| data.count > 0)?;
        phi[7] = u64::from(self.mapped(true)?) + self.rng.below(PAGE - 8);
        phi[8] = u64::from(data.count.div_ceil(8)) + self.rng.below(3);
        Some(self.ecall(phi, 0xC, reference, 0))
    }

    fn store(&mut self) -> Option<Action> {
        let wrap = self.rng.below(PAGE) as u32;
        let address = if self.rng.one_in(12) {
            (*self.rng.one_of(&BASES) * PAGE as u32).wrapping_add(wrap)
        } else {
            self.mapped(true)? + wrap
        };
        let len = *self.rng.one_of(&[1, 2, 4, 8]);
        Some(Action::Store { address, bytes: self.rng.bits().to_le_bytes()[..len].to_vec() })
    }

    fn load(&mut self) -> Option<Action> {
        let wrap = self.rng.below(PAGE) as u32;
        let at =
            if self.rng.one_in(3) { *self.rng.one_of(&BASES) * PAGE as u32 } else { self.mapped(false)? };
        let len = *self.rng.one_of(&[1, 2, 4, 8]);
        Some(Action::Load { address: at.wrapping_add(wrap), len })
    }
}
