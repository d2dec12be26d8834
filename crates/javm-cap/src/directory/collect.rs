//! Calls, and which values leave with them.
//!
//! Every value carries the call in which it came, 0 if it is here to stay. A call lists what came with it.
//! When it ends, everything reachable from its roots stays, the rest of its list leaves; during a long
//! call the same happens, on demand, whenever what came since the last time weighs as much as what was
//! live then. So memory is within a factor of what is live, and the work within a factor of what came.
//!
//! The walk costs what is new, not what is there:
//! * It does not enter settled values that are here to stay: whatever they name is here to stay or was
//!   missing when they came.
//! * A cnode of 65,536 slots of which one changed shares all but a few tree nodes with an older one. A walk
//!   stamps the nodes it has seen, with the epoch of the directory where everything below is here to stay,
//!   else with its own number, and does not enter nodes with either stamp again. A node that names a missing
//!   value never gets the epoch unless there is a store to fetch it from, because the value may come later.
//!
//! Calls nest (an embedder may run a machine from inside a call) and may be paused and resumed in any order.
//! What a call that ends leaves behind belongs to the call it ran inside; what one call reaches of another
//! call's stays for good.

use std::sync::Arc;

use super::table::Content;
use super::{BASE_WEIGHT, CacheDirectory, unique};
use crate::hash::{self, CapHash};
use crate::kinds::Cap;
use crate::name::{CapHashOrRef, CapRef};

/// What may come before the first collection of a call: 1 MiB, so that the garbage of short-lived calls stays in
/// the cache of the processor.
const FIRST_DUE: u64 = 1 << 20;

/// A call that was begun and has not ended. It ends by [`CacheDirectory::end_call`]; dropping the mark keeps
/// what came with the call.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a call that is not ended keeps everything it made"]
pub struct CallMark(u64);

struct Call {
    id: u64,
    /// What came, in order. Values that left otherwise, or stay for good, may still be listed.
    log: Vec<CapHashOrRef>,
    /// Working values of others that were changed: they may name what came.
    remembered: Vec<CapRef>,
    /// What came since the call began, or what was live at the last collection and came since.
    weight: u64,
    /// The weight at which the next collection is due.
    due: u64,
}

pub(super) struct Calls {
    open: Vec<Call>,
    /// The calls that run, innermost last; the others are paused.
    active: Vec<u64>,
    /// Stamp of tree nodes below which everything is here to stay.
    epoch: u64,
}

impl Calls {
    pub(super) fn new() -> Self {
        Self { open: Vec::new(), active: Vec::new(), epoch: unique() }
    }

    /// The call that runs; 0: none.
    pub(super) fn current(&self) -> u64 {
        self.active.last().copied().unwrap_or(0)
    }

    fn get_mut(&mut self, id: u64) -> Option<&mut Call> {
        // There are as many as machines nested in each other or paused.
        self.open.iter_mut().rev().find(|call| call.id == id)
    }

    /// Notes that a value came.
    pub(super) fn came(&mut self, name: CapHashOrRef, weight: u64) {
        let current = self.current();
        if let Some(call) = self.get_mut(current) {
            call.log.push(name);
            call.weight += weight;
        }
    }

    /// Notes that a working value was changed, by another call than the one it came with if `outsider`.
    pub(super) fn changed(&mut self, reference: CapRef, weight: u64, outsider: bool) {
        let current = self.current();
        if let Some(call) = self.get_mut(current) {
            call.weight += weight;
            if outsider {
                call.remembered.push(reference);
            }
        }
    }
}

/// What happens to the values that a walk reaches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Nothing, only the others go.
    Collect,
    /// They pass to the call around, or stay for good if there is none.
    End { parent: u64 },
    /// Those of other calls stay for good.
    Pause,
    /// All stay for good, whatever call they came with.
    Retain,
}

/// One walk.
struct Walk<'a> {
    dir: &'a mut CacheDirectory,
    call: u64,
    purpose: Purpose,
    cycle: u64,
    /// Whether all that is reached is here to stay afterwards.
    lasting: bool,
    stack: Vec<Arc<Cap>>,
}

impl Walk<'_> {
    /// The call that a value belongs to once it was reached.
    fn next_call(&self, call: u64) -> u64 {
        match self.purpose {
            Purpose::Collect => call,
            Purpose::Pause if call == self.call => call,
            Purpose::End { parent } if call == self.call || call == parent => parent,
            Purpose::Pause | Purpose::End { .. } | Purpose::Retain => 0,
        }
    }

    /// Marks a value as reached. Returns whether it is here to stay and need not be looked for again.
    fn reach(&mut self, name: CapHashOrRef) -> bool {
        #[cfg(test)]
        tests::REACHED.with(|reached| reached.set(reached.get() + 1));
        match name {
            CapHashOrRef::Hash(hash) => self.reach_settled(hash),
            CapHashOrRef::Ref(reference) => {
                self.reach_working(reference);
                false
            }
        }
    }

    fn reach_settled(&mut self, hash: CapHash) -> bool {
        let retain = self.purpose == Purpose::Retain;
        let Some(held) = self.dir.settled.get(&hash) else {
            return self.dir.store.is_some() || hash::kernel_image(&hash).is_some();
        };
        if held.seen == self.cycle {
            return self.lasting;
        }
        if held.call == 0 && !retain {
            return true;
        }
        let (call, cap) = (self.next_call(held.call), Arc::clone(&held.cap));
        if let Some(held) = self.dir.settled.get_mut(&hash) {
            (held.seen, held.call) = (self.cycle, call);
        }
        self.stack.push(cap);
        self.lasting
    }

    fn reach_working(&mut self, reference: CapRef) {
        let Some(call) = self.dir.working.get(reference).map(|place| place.call) else { return };
        let (call, cycle) = (self.next_call(call), self.cycle);
        let Some(place) = self.dir.working.get_mut(reference) else { return };
        if place.seen == cycle {
            return;
        }
        (place.seen, place.call) = (cycle, call);
        match &place.content {
            Content::Working(cap) => self.stack.push(Arc::clone(cap)),
            Content::Settled(hash) => {
                let hash = *hash;
                self.reach_settled(hash);
            }
            Content::Free => {}
        }
    }

    fn run(&mut self, roots: impl IntoIterator<Item = CapHashOrRef>) {
        for root in roots {
            self.reach(root);
        }
        while let Some(cap) = self.stack.pop() {
            match &*cap {
                Cap::CNode(cnode) => {
                    let (cycle, epoch) = (self.cycle, self.dir.calls.epoch);
                    cnode.tree().scan(cycle, epoch, |name| self.reach(*name));
                }
                Cap::Instance(_) | Cap::Image(_) | Cap::Data(_) | Cap::Type(_) => {
                    cap.for_each_child(|name| {
                        self.reach(name);
                    });
                }
            }
        }
    }
}

/// About how many bytes a value can take at most: what was counted while it changed may be more.
fn weight_limit(cap: &Cap) -> u64 {
    BASE_WEIGHT
        + match cap {
            Cap::Data(data) => data.tree().count() * 4400,
            Cap::CNode(cnode) => cnode.occupied() * 256,
            Cap::Instance(instance) => {
                let ephemeral = instance.status().suspension().map_or(0, |stopped| stopped.ephemeral.count());
                (instance.memory().pages().count() + ephemeral) * 4400
            }
            Cap::Image(_) => u64::MAX / 2,
            Cap::Type(_) => 0,
        }
}

impl CacheDirectory {
    /// Says that a call begins: what comes from now on belongs to it, until it ends or another begins.
    pub fn begin_call(&mut self) -> CallMark {
        let id = unique();
        self.calls.open.push(Call { id, log: Vec::new(), remembered: Vec::new(), weight: 0, due: FIRST_DUE });
        self.calls.active.push(id);
        CallMark(id)
    }

    /// Says that a call ends. Of what came with it, what `roots` reach stays: with the call that it ran
    /// inside, or for good. Everything else, working or settled, leaves.
    ///
    /// Costs what came, not what is there.
    pub fn end_call(&mut self, mark: CallMark, roots: &[CapHashOrRef]) {
        let CallMark(id) = mark;
        self.calls.active.retain(|active| *active != id);
        let parent = self.calls.current();
        self.walk_and_sweep(id, Purpose::End { parent }, roots.iter().copied());
        self.calls.open.retain(|call| call.id != id);
    }

    /// Says that a call stops for now, with `roots` as what it will go on with. What comes next does not
    /// belong to it, until [`CacheDirectory::resume_call`].
    pub fn pause_call(&mut self, mark: &CallMark, roots: impl FnOnce() -> Vec<CapHashOrRef>) {
        self.calls.active.retain(|active| *active != mark.0);
        // While this call is paused others may end: what it got from them must not leave with them.
        if self.calls.open.len() > 1 {
            self.walk_and_sweep(mark.0, Purpose::Pause, roots());
        }
    }

    /// Says that a paused call goes on.
    pub fn resume_call(&mut self, mark: &CallMark) {
        self.calls.active.retain(|active| *active != mark.0);
        self.calls.active.push(mark.0);
    }

    /// Collects if what came with the call since the last time weighs as much as what was live then; `roots`
    /// is asked only in that case, for everything that the call still needs. Returns whether it collected.
    pub fn collect_if_due(&mut self, mark: &CallMark, roots: impl FnOnce() -> Vec<CapHashOrRef>) -> bool {
        let due = self.calls.get_mut(mark.0).is_some_and(|call| call.weight >= call.due);
        if due {
            self.walk_and_sweep(mark.0, Purpose::Collect, roots());
        }
        due
    }

    /// Whether [`CacheDirectory::collect_if_due`] would collect for the call that runs.
    #[must_use]
    pub fn is_collection_due(&self) -> bool {
        let current = self.calls.current();
        self.calls
            .open
            .iter()
            .rev()
            .find(|call| call.id == current)
            .is_some_and(|call| call.weight >= call.due)
    }

    /// Keeps what `roots` reach and lets everything else go, whenever it came. For an embedder that lives long
    /// and has no store: the values of earlier calls stay until then. Everything that a call in progress needs
    /// must be among the roots. Visits everything.
    pub fn retain(&mut self, roots: &[CapHashOrRef]) {
        self.calls.epoch = unique();
        let cycle = self.walk(0, Purpose::Retain, roots.iter().copied());
        self.settled.retain(|_, held| held.seen == cycle);
        let references: Vec<_> = self.working.references().collect();
        for reference in references {
            if self.working.get(reference).is_some_and(|place| place.seen != cycle) {
                self.working.remove(reference);
            }
        }
        for call in &mut self.calls.open {
            call.log.clear();
            call.remembered.clear();
            (call.weight, call.due) = (0, FIRST_DUE);
        }
    }

    fn walk(&mut self, call: u64, purpose: Purpose, roots: impl IntoIterator<Item = CapHashOrRef>) -> u64 {
        let cycle = unique();
        let lasting = matches!(purpose, Purpose::Retain | Purpose::End { parent: 0 });
        let mut walk = Walk { dir: self, call, purpose, cycle, lasting, stack: Vec::new() };
        walk.run(roots);
        cycle
    }

    fn walk_and_sweep(&mut self, id: u64, purpose: Purpose, roots: impl IntoIterator<Item = CapHashOrRef>) {
        let Some(call) = self.calls.get_mut(id) else { return };
        let (log, remembered) = (std::mem::take(&mut call.log), std::mem::take(&mut call.remembered));
        let outside = remembered.iter().map(|reference| CapHashOrRef::Ref(*reference));
        let cycle = self.walk(id, purpose, roots.into_iter().chain(outside));
        let (mut kept, mut live) = (Vec::new(), 0u64);
        for name in log {
            if let Some(weight) = self.sweep(name, id, cycle) {
                kept.push(name);
                live = live.saturating_add(weight);
            }
        }
        let (heir, remembered) = match purpose {
            Purpose::End { parent } => (parent, remembered),
            Purpose::Collect | Purpose::Pause | Purpose::Retain => (id, remembered),
        };
        if let Some(call) = self.calls.get_mut(heir) {
            call.log.append(&mut kept);
            call.remembered.extend(remembered);
            if heir == id {
                call.weight = live;
                call.due = FIRST_DUE.max(live.saturating_mul(2));
            } else {
                call.weight = call.weight.saturating_add(live);
            }
        }
    }

    /// Lets a value of a call's list go unless the walk reached it. Returns its weight if it stays listed.
    fn sweep(&mut self, name: CapHashOrRef, id: u64, cycle: u64) -> Option<u64> {
        match name {
            CapHashOrRef::Hash(hash) => {
                let held = self.settled.get_mut(&hash)?;
                if held.seen == cycle {
                    held.weight = held.weight.min(weight_limit(&held.cap));
                    return (held.call != 0).then_some(held.weight);
                }
                if held.call == id {
                    self.settled.remove(&hash);
                }
                None
            }
            CapHashOrRef::Ref(reference) => {
                let place = self.working.get_mut(reference)?;
                if place.seen == cycle {
                    if let Content::Working(cap) = &place.content {
                        place.weight = place.weight.min(weight_limit(cap));
                    }
                    return (place.call != 0).then_some(place.weight);
                }
                if place.call == id {
                    self.working.remove(reference);
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::kinds::cnode::CNodeCap;
    use crate::name::SlotIdx;

    thread_local! {
        /// How many names walks of this thread have looked at.
        pub(super) static REACHED: Cell<u64> = const { Cell::new(0) };
    }

    fn data(dir: &mut CacheDirectory, seed: u32) -> CapHashOrRef {
        let cap = Cap::data_inline(&seed.to_le_bytes());
        dir.put_cap(&cap).expect("a data is a value").into()
    }

    /// A full table of 2^16 slots of which every call changes one: a call costs what it changed, also where it
    /// leaves values behind that have to be looked for.
    #[test]
    fn a_call_does_not_walk_what_is_old() {
        let mut dir = CacheDirectory::new();
        let mut cnode = CNodeCap::new(16).expect("a size");
        for slot in 0..1 << 16 {
            let name = data(&mut dir, slot | 1 << 20);
            cnode.set(SlotIdx(slot), Some(name)).expect("a slot");
        }
        let mut costs = Vec::new();
        for round in 0..50u32 {
            REACHED.with(|reached| reached.set(0));
            let mark = dir.begin_call();
            let fresh = data(&mut dir, round | 1 << 30);
            data(&mut dir, round | 1 << 29);
            cnode.set(SlotIdx(round * 1311), Some(fresh)).expect("a slot");
            let reference = dir.insert_working(cnode.clone().into());
            let name = dir.settle(reference.into()).expect("a graph");
            dir.end_call(mark, &[name.into()]);
            assert!(dir.get(fresh).is_some());
            // Each round leaves its data and its table; the other data is gone.
            assert_eq!(dir.len(), (1 << 16) + 2 * (round as usize + 1));
            costs.push(REACHED.with(Cell::get));
        }
        assert_eq!(costs[0], 1 + (1 << 16), "the first walk sees the table");
        assert!(costs[1..].iter().all(|cost| *cost == 1 + 16), "{costs:?}");
    }
}
