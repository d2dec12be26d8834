//! [`Val`]: what the generator knows of a value, and [`Program`]: a guest and what calling it does.
//!
//! A model, not the machine's: it says which operations will succeed, never how. Values that stand in a
//! program's first table can be made ([`super::host`]); those that only arise while it runs cannot.

use std::{collections::BTreeMap, sync::Arc};

use javm::KernelImage;
use javm_abi::SlotPath;
use javm_cap::image::Image;

/// A place: a root slot, then indices of nested cnodes.
pub type Place = Vec<u16>;

/// The register that names a place.
#[must_use]
pub fn encode(place: &[u16]) -> u64 {
    let start = SlotPath::root(place[0] as u8);
    place[1..].iter().fold(start, |path, step| path.step(*step).unwrap_or(path)).encode()
}

/// What a slot holds, as far as the generator must know it.
#[derive(Clone, Debug)]
pub enum Val {
    /// Bytes that are known.
    Data(Arc<Vec<u8>>),
    /// A Data that a guest made.
    Blob,
    /// A Data that `MAKE_IMAGE` takes: the program's image; `true`: with entries 0 and 3 of a cnode.
    Encoded(Arc<Program>, bool),
    /// A cnode of `2^k` slots.
    CNode(u8, BTreeMap<u16, Val>),
    /// A cnode of 256 slots with all that the program's first table holds.
    Kit(Arc<Program>),
    /// A type that a guest made.
    Type,
    /// The type of a first instance.
    TypeOf(Arc<Program>),
    /// An image.
    Image(Arc<Program>),
    /// The image of the program with this id, but for an initial slot.
    Twin(u32, u8),
    /// An instance; calling it does what the acts of this state say.
    Instance(Arc<Program>, usize),
    /// A paused call of this act: the first event is the one that waits, from that number on.
    Paused(Arc<Program>, usize, usize),
    /// An instance that nobody calls.
    Marker(u32),
    /// A kernel-assisted instance.
    Kernel(KernelImage, Option<u64>),
    /// A catcher.
    Catcher(Vec<Marker>),
}

/// A marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// [`Val::Marker`].
    Named(u32),
    /// One of the kernel's own.
    Kernel(KernelImage),
}

impl Val {
    /// A Data of these bytes.
    #[must_use]
    pub fn data(bytes: &[u8]) -> Self {
        Self::Data(Arc::new(bytes.to_vec()))
    }

    /// What `MGMT_KIND` says of it.
    #[must_use]
    pub const fn kind(&self) -> u64 {
        match self {
            Self::Instance(..) | Self::Paused(..) | Self::Marker(_) | Self::Kernel(..) | Self::Catcher(_) => {
                1
            }
            Self::Image(_) | Self::Twin(..) => 2,
            Self::Data(_) | Self::Blob | Self::Encoded(..) => 3,
            Self::CNode(..) | Self::Kit(_) => 4,
            Self::Type | Self::TypeOf(_) => 5,
        }
    }

    /// How many values it is made of, cnodes taken apart.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::CNode(_, slots) => 1 + slots.values().map(Self::size).sum::<usize>(),
            _ => 1,
        }
    }

    /// How many steps lead to its deepest slot.
    #[must_use]
    pub fn depth(&self) -> usize {
        match self {
            Self::CNode(_, slots) => 1 + slots.values().map(Self::depth).max().unwrap_or(0),
            _ => 0,
        }
    }
}

/// A table of 256 slots.
#[derive(Clone, Debug, Default)]
pub struct Table(pub BTreeMap<u8, Val>);

impl Table {
    /// What a place holds.
    #[must_use]
    pub fn get(&self, place: &[u16]) -> Option<&Val> {
        let mut at = self.0.get(&(place[0] as u8))?;
        for step in &place[1..] {
            let Val::CNode(_, slots) = at else { return None };
            at = slots.get(step)?;
        }
        Some(at)
    }

    /// Fills or empties a place, which must exist.
    pub fn set(&mut self, place: &[u16], val: Option<Val>) {
        if place.len() == 1 {
            match val {
                Some(val) => self.0.insert(place[0] as u8, val),
                None => self.0.remove(&(place[0] as u8)),
            };
            return;
        }
        let mut at = self.0.get_mut(&(place[0] as u8));
        for step in &place[1..place.len() - 1] {
            at = match at {
                Some(Val::CNode(_, slots)) => slots.get_mut(step),
                _ => None,
            };
        }
        let Some(Val::CNode(_, slots)) = at else { panic!("{place:?} is no place") };
        let last = place[place.len() - 1];
        match val {
            Some(val) => slots.insert(last, val),
            None => slots.remove(&last),
        };
    }

    /// Every place that holds something the predicate takes, at most three steps away.
    #[must_use]
    pub fn places(&self, takes: &dyn Fn(&Val) -> bool) -> Vec<Place> {
        let mut found = Vec::new();
        let mut work: Vec<(Place, &Val)> =
            self.0.iter().map(|(slot, val)| (vec![u16::from(*slot)], val)).collect();
        while let Some((place, val)) = work.pop() {
            if takes(val) {
                found.push(place.clone());
            }
            if let Val::CNode(_, slots) = val
                && place.len() < 4
            {
                work.extend(slots.iter().map(|(step, val)| ([&place[..], &[*step]].concat(), val)));
            }
        }
        found.sort();
        found
    }
}

/// What an act needs in slot 0, or wants to get there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pad {
    /// Nothing.
    Empty,
    /// Some Data.
    Data,
    /// An empty cnode of `2^k` slots.
    CNode(u8),
}

/// A yield of an act, or of what it calls, that somebody above must handle.
#[derive(Clone, Debug)]
pub struct Event {
    /// What is yielded.
    pub marker: u32,
    /// Slot 0 of the yielder.
    pub payload: Option<Val>,
    /// What it wants there when it goes on.
    pub wants: Pad,
}

/// How an act ends.
#[derive(Clone, Debug)]
pub enum End {
    /// It halts.
    Halt {
        /// With this value.
        value: u64,
        /// In this state.
        to: usize,
    },
    /// It faults with this code.
    Fault(u64),
}

/// What calling one endpoint does in one state.
#[derive(Clone, Debug)]
pub struct Act {
    /// The state it begins in.
    pub from: usize,
    /// What it needs in slot 0.
    pub wants: Pad,
    /// What it yields, in order.
    pub events: Vec<Event>,
    /// How it ends.
    pub end: End,
    /// What it leaves in slot 0.
    pub pad: Option<Val>,
}

/// A guest.
#[derive(Debug)]
pub struct Program {
    /// Its number in the case.
    pub id: u32,
    /// The assembly text.
    pub text: String,
    /// The image, with neither pinned nor initial slots.
    pub image: Image,
    /// What is pinned.
    pub pinned: BTreeMap<u8, Vec<u8>>,
    /// What a first instance holds.
    pub table: Table,
    /// Endpoints, in order.
    pub acts: Vec<Act>,
    /// Gas meters of it and all that it may call, with what is in them at first.
    pub meters: Vec<(u64, u64)>,
    /// Storage quotas alike.
    pub quotas: Vec<(u64, u64)>,
}
