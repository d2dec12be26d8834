//! The pipeline model for nearly all blocks: one pass, instruction by instruction, without simulating cycles.
//!
//! The machine (`pipeline.rs` has its rules) starts in every cycle the oldest entries that can start. So an
//! instruction's start depends on the older ones alone, unless a younger one that starts earlier has a unit that
//! it then lacks. Hence: give the instructions their starts in program order, and keep how many units are taken in
//! each cycle. An instruction whose sources are complete in cycle e starts in the first cycle from e on that has its
//! units free. Mostly they stay free for as long as it wants them, and nobody is harmed. If not, there is an older
//! one that was to start later and now lacks a unit: then all that start later lose their starts, the instruction
//! gets its units, and they are [given new ones](Schedule::displace) in the order of time. In compiled code that
//! happens to one instruction in a hundred, in long stretches of arithmetic to three.
//!
//! Decoding and leaving the buffer are in program order anyway, and what was decoded before an instruction started
//! does not depend on it. Time goes on from block to block: everything of earlier blocks is then in the past, and
//! nothing has to be cleared.
//!
//! A block in which too many starts are given anew is better simulated; [`Schedule::is_slow`] says so.

use core::hint::select_unpredictable;

use crate::{
    step::{ALUS, DIV, MUL, Step},
    table::{DECODE_SLOTS, OVERLAP_CYCLES, REORDER_BUFFER, STARTS, UNITS},
};

/// Decode slots are counted through: slot `n` is in cycle `n / 4`.
const SLOTS: u64 = DECODE_SLOTS as u64;

/// How many cycles ahead is known which units are taken, and how many starts there are: more than all entries of a
/// full buffer can take, one after the other.
const AHEAD: u32 = 4096;
const _: () = assert!(AHEAD > (REORDER_BUFFER + 4) * 100);

/// Cycles per word of masks, and how many words there are.
const WORD: u32 = u64::BITS;
const WORDS: u32 = AHEAD / WORD;

/// When the first block begins: late enough that there is a past.
const BEGIN: u32 = 4;

/// When time begins anew. No code takes more than 100 cycles per byte, so that the longest block ends in time.
const LATE: u32 = 1 << 28;
const _: () = assert!(LATE as u64 + 100 * (javm_isa::code::MAX_CODE_LEN as u64 + 64) < u32::MAX as u64);

/// How many looks at waiting entries a block may cost; each instruction adds a few.
const PATIENCE: i32 = 100;
const PATIENCE_PER_INSTRUCTION: i32 = 4;

/// Instead of a cycle that is not known yet.
const NEVER: u32 = u32::MAX;

// The number of ALUs that are taken has three bits, and all are taken when the highest is set.
const _: () = assert!(UNITS.alu == 4);
const PLACES: usize = REORDER_BUFFER as usize;

/// Which units are taken, a bit for each cycle.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Taken {
    /// The bits of the number of ALUs that are taken.
    one: u64,
    two: u64,
    four: u64,
    mul: u64,
    div: u64,
}

impl Taken {
    const NONE: Self = Self { one: 0, two: 0, four: 0, mul: 0, div: 0 };

    /// The cycles in which some of the units cannot be had.
    #[inline(always)]
    const fn lacking(&self, units: u8) -> u64 {
        let lacking = self.four & 0u64.wrapping_sub((units != 0) as u64);
        if units > 1 { lacking | self.lacking_more(units) } else { lacking }
    }

    const fn lacking_more(&self, units: u8) -> u64 {
        (if units & ALUS > 1 { self.one & self.two } else { 0 })
            | (if units & MUL != 0 { self.mul } else { 0 })
            | (if units & DIV != 0 { self.div } else { 0 })
    }

    /// Takes units in cycles in which they can be had.
    #[inline(always)]
    const fn take(&mut self, cycles: u64, units: u8) {
        self.add(cycles & 0u64.wrapping_sub((units != 0) as u64));
        if units > 1 {
            self.mul |= if units & MUL != 0 { cycles } else { 0 };
            self.div |= if units & DIV != 0 { cycles } else { 0 };
            self.add(if units & ALUS > 1 { cycles } else { 0 });
        }
    }

    #[inline(always)]
    const fn add(&mut self, cycles: u64) {
        let carry = self.one & cycles;
        self.one ^= cycles;
        self.four |= self.two & carry;
        self.two ^= carry;
    }

    /// Gives units back.
    fn give(&mut self, cycles: u64, units: u8) {
        self.mul &= if units & MUL != 0 { !cycles } else { u64::MAX };
        self.div &= if units & DIV != 0 { !cycles } else { u64::MAX };
        for _ in 0..units & ALUS {
            let borrow = !self.one & cycles;
            self.one ^= cycles;
            self.four &= self.two | !borrow;
            self.two ^= borrow;
        }
    }
}

/// Where the schedule is.
#[derive(Clone, Copy, Debug)]
struct Position {
    /// The next free decode slot.
    slot: u64,
    /// When all entries so far are complete.
    last_completion: u32,
    /// How many entries there have been; the next one has this number, and the place that is its remainder.
    next: u32,
    /// The first word of masks that may be needed still; those before it are zero again.
    word: u32,
}

/// The schedule of one block after the other.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    /// The cycle in which the block begins.
    begin: u32,
    position: Position,
    patience: i32,
    tables: Tables,
}

/// What is looked up by place in the buffer, by register or by cycle.
#[derive(Clone, Debug)]
struct Tables {
    /// By place: when the entry starts and is complete; and when it and all older ones are complete. Two cycles later
    /// the place is free.
    start: [u32; PLACES],
    completion: [u32; PLACES],
    settled: [u32; PLACES],
    /// By place: the numbers of the entries that it waits for, its latency and units.
    sources: [[u32; 2]; PLACES],
    latency: [u8; PLACES],
    units: [u8; PLACES],
    /// By register: the number of the entry that wrote it.
    writer: [u32; 16],
    /// By word of cycles modulo [`AHEAD`].
    taken: [Taken; WORDS as usize],
    /// By cycle modulo [`AHEAD`]: how many instructions start in it.
    starts: [[u8; WORD as usize]; WORDS as usize],
}

impl Position {
    const NEW: Self = Self {
        slot: BEGIN as u64 * SLOTS,
        last_completion: BEGIN,
        // No register was written by one of the last entries.
        next: 2 * REORDER_BUFFER,
        word: 0,
    };

    /// The place of an entry that is so much older than the next one to be.
    const fn place(&self, age: u32) -> usize {
        self.next.wrapping_sub(age) as usize % PLACES
    }

    /// Takes decode slots in the first cycle that has them all and a place in the buffer; gives the cycle.
    #[inline(always)]
    fn decode(&mut self, slots: u8, tables: &Tables) -> u32 {
        let slots = u64::from(slots);
        // The start of the cycle that the last of the slots would be in, if that is a later cycle.
        let packed = ((self.slot + slots - 1) / SLOTS * SLOTS).max(self.slot);
        let slot = packed.max((u64::from(tables.settled[self.place(0)]) + 2) * SLOTS);
        self.slot = slot + slots;
        (slot / SLOTS) as u32
    }
}

impl Schedule {
    pub(crate) const fn new() -> Self {
        Self {
            begin: BEGIN,
            position: Position::NEW,
            patience: PATIENCE,
            tables: Tables {
                start: [0; PLACES],
                completion: [0; PLACES],
                settled: [0; PLACES],
                sources: [[0; 2]; PLACES],
                latency: [0; PLACES],
                units: [0; PLACES],
                writer: [0; 16],
                taken: [Taken::NONE; WORDS as usize],
                starts: [[0; WORD as usize]; WORDS as usize],
            },
        }
    }

    /// Schedules the next instructions.
    pub(crate) fn run(&mut self, steps: &[Step]) {
        self.patience = self.patience.saturating_add(PATIENCE_PER_INSTRUCTION * steps.len() as i32);
        let mut at = self.position;
        let tables = &mut self.tables;
        for step in steps {
            let now = at.decode(step.slots, tables);
            let sources = [step.a, step.b].map(|register| tables.writer[register as usize & 15]);
            let written = &mut tables.writer[step.destination as usize & 15];
            if step.latency == 0 {
                *written = sources[0];
                continue;
            }
            *written = at.next;
            if at.word < now / WORD {
                tables.pass(&mut at.word, now / WORD);
            }
            let [a, b] = sources.map(|source| tables.completion_of(source, at.next));
            let start = tables.first((now + 1).max(a).max(b), step.units);
            let completion = start + u32::from(step.latency);
            let place = at.place(0);
            tables.start[place] = start;
            tables.completion[place] = completion;
            tables.sources[place] = sources;
            tables.latency[place] = step.latency;
            tables.units[place] = step.units;
            *tables.starts_in(start) += 1;
            match tables.take(start, step.latency, step.units) {
                Ok(()) => {
                    at.last_completion = at.last_completion.max(completion);
                    tables.settled[place] = at.last_completion;
                }
                Err(beyond) => {
                    at.last_completion = tables.displace(at, beyond, self.begin, &mut self.patience);
                }
            }
            at.next = at.next.wrapping_add(1);
        }
        self.position = at;
    }

    /// Whether giving new starts takes longer than simulating the block would.
    pub(crate) const fn is_slow(&self) -> bool {
        self.patience < 0
    }

    /// Ends the block: its cost, at least 1.
    #[inline]
    pub(crate) fn end(&mut self) -> u32 {
        // The last entry leaves two cycles after the last one is complete.
        let end = self.position.last_completion + 2;
        let cost = (end - self.begin).saturating_sub(OVERLAP_CYCLES).max(1);
        self.begin = end.max(self.position.slot.div_ceil(SLOTS) as u32);
        self.position.slot = u64::from(self.begin) * SLOTS;
        self.position.last_completion = self.begin;
        self.patience = PATIENCE;
        if self.begin > LATE {
            self.begin_anew();
        }
        cost
    }

    #[cold]
    #[inline(never)]
    fn begin_anew(&mut self) {
        *self = Self::new();
    }
}

impl Tables {
    /// When an entry is complete, seen from the one that will be `next`; 0 where that is long ago.
    #[inline(always)]
    fn completion_of(&self, number: u32, next: u32) -> u32 {
        let recent = next.wrapping_sub(number) <= REORDER_BUFFER;
        select_unpredictable(recent, self.completion[number as usize % PLACES], 0)
    }

    /// How many instructions start in a cycle.
    #[inline(always)]
    const fn starts_in(&mut self, cycle: u32) -> &mut u8 {
        &mut self.starts[place_of(cycle / WORD)][(cycle % WORD) as usize]
    }

    /// Forgets past cycles, those before `to`.
    #[inline(always)]
    fn pass(&mut self, word: &mut u32, to: u32) {
        for past in (*word..to).take(WORDS as usize) {
            self.taken[place_of(past)] = Taken::NONE;
            self.starts[place_of(past)] = [0; WORD as usize];
        }
        *word = to;
    }

    /// The first cycle, not before `at`, in which an instruction can start; its units may be taken later on.
    #[inline(always)]
    fn first(&mut self, mut at: u32, units: u8) -> u32 {
        loop {
            let free = !self.taken[place_of(at / WORD)].lacking(units) >> (at % WORD);
            if free == 0 {
                at = (at / WORD + 1) * WORD;
                continue;
            }
            at += free.trailing_zeros();
            if u32::from(*self.starts_in(at)) < STARTS {
                return at;
            }
            at += 1;
        }
    }

    /// Takes units for as long as an instruction wants them; or, where that goes beyond what there is, gives the
    /// first cycle in which it does.
    #[inline(always)]
    fn take(&mut self, start: u32, latency: u8, units: u8) -> Result<(), u32> {
        if u32::from(latency) > WORD {
            return self.take_long(start, latency, units);
        }
        let (low, high) = halves(start, latency);
        let beyond = self.taken[place_of(start / WORD)].lacking(units) & low;
        if high != 0 {
            let next = &mut self.taken[place_of(start / WORD + 1)];
            let beyond_next = next.lacking(units) & high;
            if beyond == 0 && beyond_next != 0 {
                return Err((start / WORD + 1) * WORD + beyond_next.trailing_zeros());
            }
            next.take(if beyond == 0 { high } else { 0 }, units);
        }
        if beyond != 0 {
            return Err(start / WORD * WORD + beyond.trailing_zeros());
        }
        self.taken[place_of(start / WORD)].take(low, units);
        Ok(())
    }

    /// The same where more than two words are concerned.
    #[cold]
    fn take_long(&mut self, start: u32, latency: u8, units: u8) -> Result<(), u32> {
        let mut beyond = None;
        each_word(start, latency, |word, cycles| {
            let lacking = self.taken[place_of(word)].lacking(units) & cycles;
            if lacking != 0 && beyond.is_none() {
                beyond = Some(word * WORD + lacking.trailing_zeros());
            }
        });
        if let Some(beyond) = beyond {
            return Err(beyond);
        }
        each_word(start, latency, |word, cycles| self.taken[place_of(word)].take(cycles, units));
        Ok(())
    }

    /// Gives the newest entry its units, and all others that start at `from` or later new starts, for that is the
    /// first cycle in which there are not enough units for all. Gives when all entries are complete, of the block that
    /// begins at `begin`.
    #[cold]
    #[inline(never)]
    fn displace(&mut self, at: Position, from: u32, begin: u32, patience: &mut i32) -> u32 {
        // By how much older they are.
        let mut waiting = 0u32;
        for age in 1..REORDER_BUFFER {
            waiting |= u32::from(self.start[at.place(age)] >= from) << age;
        }
        ages(waiting).for_each(|age| self.release(at.place(age)));
        self.occupy(at.place(0));
        *patience = patience.saturating_sub(2 * waiting.count_ones() as i32);
        // In program order, as at first; or, if that harms one of them, in the order of time.
        if let Err(placed) = self.place_in_order(at, waiting, from) {
            ages(placed).for_each(|age| self.release(at.place(age)));
            let mut ready = [NEVER; PLACES];
            let (mut left, mut now) = (waiting, from);
            while left != 0 {
                *patience = patience.saturating_sub(left.count_ones() as i32 + 2);
                now = self.start_waiting(at, &mut left, &mut ready, now);
            }
        }
        let oldest = u32::BITS - 1 - waiting.leading_zeros();
        // Of the first entry of a block the one before is of another.
        let mut last_completion = self.settled[at.place(oldest + 1)].max(begin);
        for age in (0..=oldest).rev() {
            last_completion = last_completion.max(self.completion[at.place(age)]);
            self.settled[at.place(age)] = last_completion;
        }
        last_completion
    }

    /// Gives entries new starts, the oldest first; or, where one would harm another, gives those that have one so far.
    fn place_in_order(&mut self, at: Position, waiting: u32, from: u32) -> Result<(), u32> {
        let mut placed = 0;
        for age in ages(waiting) {
            let place = at.place(age);
            let [a, b] =
                self.sources[place].map(|source| self.completion_of(source, at.next.wrapping_add(1)));
            let units = self.units[place];
            let start = self.first(a.max(b).max(from), units);
            self.start[place] = start;
            self.completion[place] = start + u32::from(self.latency[place]);
            if self.take(start, self.latency[place], units).is_err() {
                return Err(placed);
            }
            *self.starts_in(start) += 1;
            placed |= 1 << age;
        }
        Ok(())
    }

    /// Gives the units of an entry back, and its start.
    #[inline(always)]
    fn release(&mut self, place: usize) {
        let (start, units) = (self.start[place], self.units[place]);
        each_word(start, self.latency[place], |word, cycles| {
            self.taken[place_of(word)].give(cycles, units);
        });
        *self.starts_in(start) -= 1;
    }

    /// Takes the units of an entry for as long as it wants them.
    #[inline(always)]
    fn occupy(&mut self, place: usize) {
        let (start, units) = (self.start[place], self.units[place]);
        each_word(start, self.latency[place], |word, cycles| {
            self.taken[place_of(word)].take(cycles, units);
        });
    }

    /// Starts those of the entries that wait, by age, that can start in a cycle, and gives the next cycle in which one
    /// may.
    #[inline(always)]
    fn start_waiting(&mut self, at: Position, waiting: &mut u32, ready: &mut [u32; PLACES], now: u32) -> u32 {
        let mut next = NEVER;
        // Where there is an ALU next, if somebody looked already.
        let mut next_alu = NEVER;
        for age in ages(*waiting) {
            let place = at.place(age);
            let ready = &mut ready[age as usize];
            if *ready == NEVER {
                *ready = self.when_ready(place, at.next, *waiting);
            }
            if *ready > now {
                next = next.min(*ready);
                continue;
            }
            let units = self.units[place];
            let lacking = self.taken[place_of(now / WORD)].lacking(units) >> (now % WORD) & 1 != 0;
            if lacking || u32::from(*self.starts_in(now)) == STARTS {
                if units != 1 || next_alu == NEVER {
                    let start = self.first(now + 1, units);
                    next = next.min(start);
                    next_alu = if units == 1 { start } else { next_alu };
                }
                continue;
            }
            *waiting &= !(1 << age);
            self.start[place] = now;
            self.completion[place] = now + u32::from(self.latency[place]);
            *self.starts_in(now) += 1;
            self.occupy(place);
        }
        next
    }

    /// When the sources of an entry are complete; [`NEVER`] while they wait themselves, by their age seen from `next`.
    #[inline(always)]
    fn when_ready(&self, place: usize, next: u32, waiting: u32) -> u32 {
        let [a, b] = self.sources[place].map(|source| {
            let age = next.wrapping_sub(source);
            let waits = (age < REORDER_BUFFER) & (waiting >> (age % u32::BITS) & 1 != 0);
            select_unpredictable(waits, NEVER, self.completion_of(source, next.wrapping_add(1)))
        });
        a.max(b)
    }
}

/// The ages in a mask, the oldest first.
#[inline(always)]
fn ages(mut mask: u32) -> impl Iterator<Item = u32> {
    core::iter::from_fn(move || {
        let age = (mask != 0).then(|| u32::BITS - 1 - mask.leading_zeros())?;
        mask &= !(1 << age);
        Some(age)
    })
}

/// Where a word of masks is kept.
#[inline(always)]
const fn place_of(word: u32) -> usize {
    (word % WORDS) as usize
}

/// The cycles from `start` on, at most a word of them, in the word that it lies in and in the next.
#[inline(always)]
fn halves(start: u32, count: u8) -> (u64, u64) {
    let cycles = u64::MAX >> (WORD - u32::from(count));
    // Two shifts, because one by 64 is none.
    (cycles << (start % WORD), cycles >> 1 >> (WORD - 1 - start % WORD))
}

/// The words of masks, and the cycles in each, that an instruction's units are held in.
#[inline(always)]
fn each_word(start: u32, latency: u8, mut f: impl FnMut(u32, u64)) {
    if u32::from(latency) <= WORD {
        let (low, high) = halves(start, latency);
        f(start / WORD, low);
        if high != 0 {
            f(start / WORD + 1, high);
        }
        return;
    }
    let (mut at, end) = (start, start + u32::from(latency));
    while at < end {
        let count = (end - at).min(WORD - at % WORD);
        f(at / WORD, u64::MAX >> (WORD - count) << (at % WORD));
        at += count;
    }
}
