//! The pipeline model: an out-of-order processor, simulated without looking at cycles in which it idles.
//!
//! The machine that is modelled decodes in order into a reorder buffer of 32 entries, starts the oldest
//! entries whose sources and units are free, and retires in order. In every cycle it first decodes what fits,
//! then starts what can start; going to the next cycle it counts down what executes. An entry that is decoded
//! in cycle d can start in d + 1; one that starts in s with latency L is *complete* in f = s + L: its units
//! and those who wait for its result are free in that cycle; it has left the buffer in f + 2, or when the
//! last one before it has. The block has as many cycles as the last entry takes to leave.
//!
//! Why this is exact although it skips cycles: nothing can change before the next cycle unless something was
//! just decoded, starting was cut short, or decoding goes on; otherwise the next change is the next
//! completion, or the departure that decoding waits for. Sets of entries are masks with a bit per place of the
//! buffer, completions are kept by cycle, so the work per instruction is bounded.
//!
//! The straight transcription that the tests compare this with is in `tests/oracle.rs`; most blocks do not get
//! here, see `schedule.rs`.

use crate::{
    step::{ALL_UNITS, ALUS, DIV, MUL, Step},
    table::{DECODE_SLOTS, OVERLAP_CYCLES, REORDER_BUFFER, STARTS},
};

const _: () = assert!(REORDER_BUFFER == u32::BITS);

/// How many cycles ahead completions are kept. An entry that executes for longer comes by more than once.
const WHEEL: u32 = u64::BITS;

/// Instead of the number of a place: nobody.
const NOBODY: u32 = REORDER_BUFFER;

/// An entry of the buffer.
#[derive(Clone, Copy, Debug)]
struct Entry {
    latency: u8,
    units: u8,
    /// When it is complete, once it has started.
    completion: u32,
    /// Who waits for it.
    waiters: u32,
}

/// The processor, running one block.
#[derive(Clone, Debug)]
pub(crate) struct Pipeline {
    /// The current cycle.
    now: u32,
    /// Decode slots left in it.
    slots: u8,
    /// Units that nobody holds.
    units: u8,
    /// Number of the next entry. Entry `n` has the place `n % 32` of the buffer, and the bit of that place in
    /// the masks; numbering starts at 64 so that 0 is an entry of long ago.
    next: u32,
    /// The oldest entry not known to have left.
    oldest: u32,
    /// How many entries have not started.
    unstarted: u32,
    /// Entries that are not complete.
    incomplete: u32,
    /// Entries that wait for two others.
    two: u32,
    /// Entries that can start when there are units for them.
    ready: u32,
    /// Entries decoded in this cycle that will be ready in the next.
    fresh: u32,
    /// Entries that need an ALU; two of them, or another unit besides.
    need_alu: u32,
    need_more: u32,
    /// When the last of the entries that have started is complete.
    last_completion: u32,
    /// Cycles modulo [`WHEEL`] in which entries complete; and which ones.
    busy: u64,
    completing: [u32; WHEEL as usize],
    /// By register: the entry that wrote it last.
    writer: [u32; 16],
    /// By place; the last one is nobody's.
    entries: [Entry; REORDER_BUFFER as usize + 1],
}

impl Pipeline {
    pub(crate) const fn new() -> Self {
        Self {
            now: 0,
            slots: DECODE_SLOTS,
            units: ALL_UNITS,
            next: 2 * REORDER_BUFFER,
            oldest: 2 * REORDER_BUFFER,
            unstarted: 0,
            incomplete: 0,
            two: 0,
            ready: 0,
            fresh: 0,
            need_alu: 0,
            need_more: 0,
            last_completion: 0,
            busy: 0,
            completing: [0; WHEEL as usize],
            writer: [0; 16],
            entries: [Entry { latency: 0, units: 0, completion: 0, waiters: 0 }; REORDER_BUFFER as usize + 1],
        }
    }

    /// Decodes the next instruction, in the current cycle or the first later one in which it fits.
    #[inline]
    pub(crate) fn push(&mut self, step: &Step) {
        if self.slots < step.slots {
            self.advance(self.now + 1);
        }
        if self.next - self.oldest == REORDER_BUFFER {
            self.wait_for_place();
        }
        self.slots -= step.slots;
        if step.latency == 0 {
            self.writer[step.destination as usize & 15] = self.writer[step.a as usize & 15];
        } else {
            self.append(step);
        }
    }

    /// Runs the block to its end and gives its cost. Afterwards the processor is as new.
    pub(crate) fn finish(&mut self) -> u32 {
        loop {
            let cut_short = self.start();
            if self.unstarted == 0 {
                break;
            }
            self.go_on(cut_short, u32::MAX);
        }
        // The last to leave does so two cycles after the last completion.
        let cost = (self.last_completion + 2).saturating_sub(OVERLAP_CYCLES).max(1);
        while self.busy != 0 {
            let cycle = self.busy.trailing_zeros();
            self.completing[cycle as usize] = 0;
            self.busy &= self.busy - 1;
        }
        self.now = 0;
        self.slots = DECODE_SLOTS;
        self.units = ALL_UNITS;
        self.next = 2 * REORDER_BUFFER;
        self.oldest = self.next;
        self.writer = [0; 16];
        self.incomplete = 0;
        self.last_completion = 0;
        cost
    }

    /// Goes on to the first cycle in which the buffer is not full.
    fn wait_for_place(&mut self) {
        loop {
            let place = self.oldest % REORDER_BUFFER;
            let complete = self.incomplete >> place & 1 == 0;
            let leaves = if complete { self.entries[place as usize].completion + 2 } else { u32::MAX };
            if leaves <= self.now {
                self.oldest += 1;
                return;
            }
            self.advance(leaves);
        }
    }

    /// Puts an entry into the buffer.
    #[inline]
    fn append(&mut self, step: &Step) {
        let place = self.next % REORDER_BUFFER;
        let bit = 1 << place;
        let (a, b) = (self.source(step.a), self.source(step.b));
        self.writer[step.destination as usize & 15] = self.next;
        self.next += 1;
        self.unstarted += 1;
        self.incomplete |= bit;
        self.need_alu = self.need_alu & !bit | u32::from(step.units != 0) << place;
        self.need_more = self.need_more & !bit | u32::from(step.units > 1) << place;
        self.entries[place as usize] =
            Entry { latency: step.latency, units: step.units, completion: 0, waiters: 0 };
        self.entries[a as usize].waiters |= bit;
        self.entries[b as usize].waiters |= bit;
        let waits = (a != NOBODY) | (b != NOBODY);
        self.fresh |= u32::from(!waits) << place;
        self.two |= u32::from((a != NOBODY) & (b != NOBODY) & (a != b)) << place;
    }

    /// The place of the incomplete entry that wrote a register last.
    #[inline]
    fn source(&self, register: u8) -> u32 {
        let writer = self.writer[register as usize & 15];
        let place = writer % REORDER_BUFFER;
        // The place is another's by now, or the value is there.
        let known = (self.next - writer > REORDER_BUFFER) | (self.incomplete >> place & 1 == 0);
        if known { NOBODY } else { place }
    }

    /// Ends the current cycle: starts what can start, then [goes on](Self::go_on).
    fn advance(&mut self, limit: u32) {
        let cut_short = self.start();
        self.go_on(cut_short, limit);
    }

    /// Goes to the next cycle in which something can change, at most to `limit`; `cut_short` says whether
    /// entries are left that could have started.
    #[inline]
    fn go_on(&mut self, cut_short: bool, limit: u32) {
        let next = if (self.fresh != 0) | cut_short {
            self.now + 1
        } else {
            // Without an entry that executes there is no wait in which to skip cycles.
            let ahead = self.busy.rotate_right(self.now + 1).trailing_zeros();
            limit.min(self.now + 1 + ahead)
        };
        self.ready |= self.fresh;
        self.fresh = 0;
        self.now = next;
        self.slots = DECODE_SLOTS;
        let cycle = next % WHEEL;
        if self.busy >> cycle & 1 != 0 {
            self.complete(cycle);
        }
    }

    /// Starts the oldest entries that can; whether the number of starts cut that short.
    #[inline]
    fn start(&mut self) -> bool {
        // The place of the next entry is that of the oldest one there can be.
        let origin = self.next % REORDER_BUFFER;
        let mut starts = STARTS;
        loop {
            let mut candidates =
                if self.units & ALUS == 0 { self.ready & !self.need_alu } else { self.ready };
            if candidates & self.need_more != 0 {
                candidates = self.with_units(candidates);
            }
            if candidates == 0 {
                return false;
            }
            if starts == 0 {
                return true;
            }
            starts -= 1;
            let place = (candidates.rotate_right(origin).trailing_zeros() + origin) % REORDER_BUFFER;
            let entry = &mut self.entries[place as usize];
            self.ready &= !(1 << place);
            self.unstarted -= 1;
            self.units -= entry.units;
            let completion = self.now + u32::from(entry.latency);
            entry.completion = completion;
            self.last_completion = self.last_completion.max(completion);
            self.comes_by(place, completion);
        }
    }

    /// Has an entry come by when it is complete, or on the way there.
    #[inline]
    fn comes_by(&mut self, place: u32, completion: u32) {
        let cycle = completion.min(self.now + WHEEL - 1) % WHEEL;
        self.completing[cycle as usize] |= 1 << place;
        self.busy |= 1 << cycle;
    }

    /// Those of the candidates for which there are units.
    fn with_units(&self, candidates: u32) -> u32 {
        let lacks = |place: &usize| {
            let need = self.entries[*place].units;
            (need & ALUS > self.units & ALUS) | (need & !self.units & (MUL | DIV) != 0)
        };
        places(candidates & self.need_more).filter(lacks).fold(candidates, |c, place| c & !(1 << place))
    }

    /// Completes the entries whose cycle has come.
    #[inline]
    fn complete(&mut self, cycle: u32) {
        let mut done = core::mem::take(&mut self.completing[cycle as usize]);
        self.busy &= !(1 << cycle);
        while done != 0 {
            let place = done.trailing_zeros();
            done &= done - 1;
            let entry = self.entries[place as usize];
            if entry.completion > self.now {
                self.comes_by(place, entry.completion);
                continue;
            }
            self.incomplete &= !(1 << place);
            self.units += entry.units;
            self.ready |= entry.waiters & !self.two;
            self.two &= !entry.waiters;
        }
    }
}

/// The places in a mask, ascending.
#[inline]
fn places(mut mask: u32) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let place = (mask != 0).then(|| mask.trailing_zeros() as usize)?;
        mask &= mask - 1;
        Some(place)
    })
}
