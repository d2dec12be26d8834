//! The pipeline model for most blocks: one pass, instruction by instruction, without simulating cycles.
//!
//! The machine (`pipeline.rs` has its rules) starts in every cycle the oldest entries that can start. So an
//! instruction's start depends on the older ones alone, unless a younger one that starts earlier takes a unit
//! that it then lacks. Hence: give the instructions their starts in program order, and keep of each unit since
//! when and until when it is taken without a gap. An instruction whose sources are complete in cycle e
//!
//! * finds a unit that is free from e on: it starts in e, and nobody is harmed, because nobody has the unit
//!   later. Of several such units it gets the one that was free for the shortest time, to keep gaps small;
//! * finds all units taken from e until some later cycle: it starts then, and nobody is harmed either;
//! * finds a unit that is free in e but taken later: it may overtake an older one to his harm. The schedule
//!   does not know, [`Schedule::push`] says so, and the block has to be simulated. In compiled code that is
//!   one block in fifty; in long stretches of arithmetic it is the rule.
//!
//! Decoding and leaving the buffer are in program order anyway. Time goes on from block to block: everything
//! of earlier blocks is then in the past, and nothing has to be cleared.

use core::hint::select_unpredictable;

use crate::{
    step::{ALUS, DIV, MUL, Step},
    table::{DECODE_SLOTS, OVERLAP_CYCLES, REORDER_BUFFER, STARTS, UNITS},
};

/// Decode slots are counted through: slot `n` is in cycle `n / 4`.
const SLOTS: u64 = DECODE_SLOTS as u64;

/// How many cycles ahead of decoding starts can lie.
const AHEAD: u64 = 256;

/// When the first block begins: late enough that every unit was taken before.
const BEGIN: u64 = 4;

/// How many ALUs there are. Behind them are as many places for those who need none: which one does not matter.
const ALUS_THERE: usize = UNITS.alu as usize;
const _: () = assert!(ALUS_THERE == 4);

/// A unit's last stretch without a gap. Numbers of cycles are followed by two bits that tell the unit from
/// others, so that comparing and choosing are one.
#[derive(Clone, Copy, Debug)]
struct Taken {
    since: u64,
    until: u64,
}

impl Taken {
    const fn before_begin(unit: u64) -> Self {
        Self { since: 0, until: (BEGIN - 1) << 2 | unit }
    }

    /// Takes it, from when it is free or later.
    #[inline]
    fn take(&mut self, start: u64, completion: u64) {
        self.since = select_unpredictable(self.until >> 2 == start, self.since, start << 2);
        self.until = completion << 2 | self.until & 3;
    }

    /// If it is taken in cycle `at`, until when; or nothing is known, for it is only taken later.
    #[inline]
    fn wait(self, at: u64) -> Result<u64, Unknown> {
        if self.until >> 2 > at && self.since >> 2 > at {
            Err(Unknown)
        } else {
            Ok((self.until >> 2).max(at))
        }
    }
}

/// The schedule of one block after the other.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    /// The cycle in which the block begins.
    begin: u64,
    /// The next free decode slot.
    slot: u64,
    /// When all entries so far are complete.
    last_completion: u64,
    /// How many entries there have been; and by place in the buffer when its entry and all older ones are
    /// complete. Two cycles later the place is free.
    entries: usize,
    settled: [u64; REORDER_BUFFER as usize],
    /// By register: when its value is complete.
    complete: [u64; 16],
    /// The ALUs, and the places behind them.
    alus: [Taken; 2 * ALUS_THERE],
    mul: Taken,
    div: Taken,
    /// By cycle modulo [`AHEAD`]: eight times the cycle, and how many instructions start in it. What is less
    /// than that is of a cycle in the past.
    starts: [u64; AHEAD as usize],
}

/// The schedule cannot tell: the block has to be simulated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unknown;

impl Schedule {
    pub(crate) const fn new() -> Self {
        Self {
            begin: BEGIN,
            slot: BEGIN * SLOTS,
            last_completion: BEGIN,
            entries: 0,
            settled: [0; REORDER_BUFFER as usize],
            complete: [0; 16],
            alus: {
                let mut alus = [Taken::before_begin(0); 2 * ALUS_THERE];
                let mut n = 0;
                while n < alus.len() {
                    alus[n] = Taken::before_begin(n as u64 % 4);
                    n += 1;
                }
                alus
            },
            mul: Taken::before_begin(0),
            div: Taken::before_begin(0),
            starts: [0; AHEAD as usize],
        }
    }

    /// Schedules the next instruction. After an error the block has to be [ended](Self::end).
    #[inline]
    pub(crate) fn push(&mut self, step: &Step) -> Result<(), Unknown> {
        let now = self.decode(step.slots);
        let (a, b) = (self.complete[step.a as usize & 15], self.complete[step.b as usize & 15]);
        let destination = step.destination as usize & 15;
        if step.latency == 0 {
            self.complete[destination] = a;
            return Ok(());
        }
        let mut earliest = (now + 1).max(a).max(b);
        let (start, alu) = loop {
            let best = self.best_alu(earliest);
            let none = u64::from(step.units == 0) << 2;
            let (mut start, mut alu) = (earliest, (best & 3 | none) as usize);
            if (best | none == 0) | (step.units > 1) {
                (start, alu) = self.find_units(earliest, step.units)?;
            }
            if start - now >= AHEAD {
                return Err(Unknown);
            }
            let starts = &mut self.starts[(start % AHEAD) as usize];
            let count = (*starts).max(start * 8);
            if count % 8 < u64::from(STARTS) {
                *starts = count + 1;
                break (start, alu);
            }
            earliest = start + 1;
        };
        let completion = start + u64::from(step.latency);
        self.alus[alu & 7].take(start, completion);
        if step.units > 1 {
            self.take_units(start, completion, step.units);
        }
        self.complete[destination] = completion;
        self.last_completion = self.last_completion.max(completion);
        self.settled[self.entries % REORDER_BUFFER as usize] = self.last_completion;
        self.entries = self.entries.wrapping_add(1);
        Ok(())
    }

    /// Ends the block: its cost, at least 1, if all of it was scheduled.
    #[inline]
    pub(crate) fn end(&mut self) -> u32 {
        // The last entry leaves two cycles after the last one is complete.
        let end = self.last_completion + 2;
        let cost = (end - self.begin).saturating_sub(u64::from(OVERLAP_CYCLES)).max(1);
        self.begin = end.max(self.slot.div_ceil(SLOTS));
        self.slot = self.begin * SLOTS;
        self.last_completion = self.begin;
        cost as u32
    }

    /// Takes decode slots in the first cycle that has them all and a place in the buffer; gives the cycle.
    #[inline]
    fn decode(&mut self, slots: u8) -> u64 {
        let slots = u64::from(slots);
        // The start of the cycle that the last of the slots would be in, if that is a later cycle.
        let packed = ((self.slot + slots - 1) / SLOTS * SLOTS).max(self.slot);
        let slot = packed.max((self.settled[self.entries % REORDER_BUFFER as usize] + 2) * SLOTS);
        self.slot = slot + slots;
        slot / SLOTS
    }

    /// The ALU that is free from `at` on and was for the shortest time: [`Taken::until`], or 0 for none.
    #[inline]
    fn best_alu(&self, at: u64) -> u64 {
        // Which one it is follows no pattern: branches would be predicted badly.
        let limit = at << 2 | 3;
        let [a, b, c, d, ..] = self.alus.map(|alu| select_unpredictable(alu.until <= limit, alu.until, 0));
        let max = |a, b| select_unpredictable(a > b, a, b);
        max(max(a, b), max(c, d))
    }

    /// When, not before `at`, the units are free; and the ALU, if that is all.
    #[cold]
    fn find_units(&self, mut at: u64, units: u8) -> Result<(u64, usize), Unknown> {
        let alus = &self.alus[..ALUS_THERE];
        loop {
            let before = at;
            if units & MUL != 0 {
                at = self.mul.wait(at)?;
            }
            if units & DIV != 0 {
                at = self.div.wait(at)?;
            }
            let free = |alu: &&Taken| alu.until >> 2 <= at;
            if alus.iter().filter(free).count() < usize::from(units & ALUS) {
                let mut next = u64::MAX;
                for alu in alus.iter().filter(|alu| !free(alu)) {
                    next = next.min(alu.wait(at)?);
                }
                at = next;
            }
            if at == before {
                let alu = if units > 1 { ALUS_THERE } else { (self.best_alu(at) & 3) as usize };
                return Ok((at, alu));
            }
        }
    }

    /// Takes units that are free.
    fn take_units(&mut self, start: u64, completion: u64, units: u8) {
        for _ in 0..units & ALUS {
            let alu = self.best_alu(start) & 3;
            self.alus[alu as usize].take(start, completion);
        }
        if units & MUL != 0 {
            self.mul.take(start, completion);
        }
        if units & DIV != 0 {
            self.div.take(start, completion);
        }
    }
}
