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
//! completion, or the departure that decoding waits for. Sets of entries are masks with a bit per buffer
//! place, completions are kept by cycle, so the work per instruction is bounded. Load and store units are
//! not counted: whoever takes one takes an ALU too, and there are no fewer of them than of ALUs.
//!
//! The straight transcription that the tests compare this with is in `tests/oracle.rs`.

use javm_isa::{Code, CostClass, Instruction, Op, shape::OperandRole};

use crate::table::{
    DECODE_SLOTS, OVERLAP_CYCLES, PREDICTED_BRANCH_LATENCY, REORDER_BUFFER, STARTS, Slots, UNITS, row,
};

/// Places of the register file that no instruction writes, and that none reads.
const NEVER_WRITTEN: u8 = 15;
const NEVER_READ: u8 = 14;

/// Units as a number: the ALUs in the low bits, then a bit for each unit of which there is one.
const ALUS: u8 = 7;
const MUL: u8 = 8;
const DIV: u8 = 16;
const ALL_UNITS: u8 = UNITS.alu | MUL | DIV;

const _: () = assert!(UNITS.alu <= ALUS && UNITS.mul == 1 && UNITS.div == 1);
const _: () = assert!(UNITS.load >= UNITS.alu && UNITS.store >= UNITS.alu);
const _: () = assert!(REORDER_BUFFER == u32::BITS);

/// What the simulation needs to know of an operation, from the tables of this crate and of `javm-isa`.
#[derive(Clone, Copy)]
struct Entry {
    latency: u8,
    slots: u8,
    /// Slots on top when the destination is a new register.
    extra: u8,
    units: u8,
    /// Or-ed to the numbers of registers a and b: turns one that is no source into [`NEVER_WRITTEN`].
    no_a: u8,
    no_b: u8,
    /// Whether b counts when the destination is compared with the sources.
    compare_b: bool,
    /// Where the destination is.
    destination: Destination,
    branch: bool,
}

#[derive(Clone, Copy)]
enum Destination {
    None,
    A,
    D,
}

const fn entry(op: Op) -> Entry {
    let row = row(op.cost_class());
    let (slots, extra, compare_b) = match row.slots {
        Slots::Fixed(n) => (n, 0, false),
        Slots::AnySource(n) => (n, 1, true),
        Slots::FirstSource(n) => (n, 1, false),
    };
    let units = row.units;
    let (mut no_a, mut no_b) = (NEVER_WRITTEN, NEVER_WRITTEN);
    let sources = op.shape().sources();
    let mut n = 0;
    while n < sources.len() {
        match sources[n] {
            OperandRole::A => no_a = 0,
            OperandRole::B => no_b = 0,
            _ => panic!("only a and b are ever read"),
        }
        n += 1;
    }
    assert!(slots + extra <= DECODE_SLOTS && (units.load <= units.alu) && (units.store <= units.alu));
    Entry {
        latency: row.latency,
        slots,
        extra,
        units: units.alu | units.mul * MUL | units.div * DIV,
        no_a,
        no_b,
        compare_b,
        destination: match op.shape().destination() {
            Some(OperandRole::D) => Destination::D,
            Some(_) => Destination::A,
            None => Destination::None,
        },
        branch: matches!(op.cost_class(), CostClass::Branch),
    }
}

/// [`Entry`] by opcode.
static ENTRIES: [Entry; 256] = {
    let mut table = [entry(Op::Trap); 256];
    let mut n = 0;
    while n < Op::ALL.len() {
        table[Op::ALL[n].opcode() as usize] = entry(Op::ALL[n]);
        n += 1;
    }
    table
};

/// How many cycles ahead completions can lie; more than any latency.
const WHEEL: u32 = u128::BITS;

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
    /// By register: the entry that wrote it last.
    writer: [u32; 16],
    /// Entries that are not complete.
    incomplete: u32,
    /// Entries that have not started.
    unstarted: u32,
    /// Entries that can start when there are units for them.
    ready: u32,
    /// Entries decoded in this cycle that will be ready in the next.
    fresh: u32,
    /// Of the unstarted entries, those that need an ALU, two of them, the multiplier, the divider.
    need_alu: u32,
    need_two_alus: u32,
    need_mul: u32,
    need_div: u32,
    /// When the last of the entries that have started is complete.
    last_completion: u32,
    /// By place: latency, units, cycle of completion, entries waited for, entries that wait for it.
    latency: [u8; 32],
    held: [u8; 32],
    completion: [u32; 32],
    waits_for: [u32; 32],
    waiters: [u32; 32],
    /// By cycle modulo [`WHEEL`]: the entries that complete then; and in which cycles there are any.
    completing: [u32; WHEEL as usize],
    busy: u128,
}

impl Pipeline {
    pub(crate) const fn new() -> Self {
        Self {
            now: 0,
            slots: DECODE_SLOTS,
            units: ALL_UNITS,
            next: 2 * REORDER_BUFFER,
            oldest: 2 * REORDER_BUFFER,
            writer: [0; 16],
            incomplete: 0,
            unstarted: 0,
            ready: 0,
            fresh: 0,
            need_alu: 0,
            need_two_alus: 0,
            need_mul: 0,
            need_div: 0,
            last_completion: 0,
            latency: [0; 32],
            held: [0; 32],
            completion: [0; 32],
            waits_for: [0; 32],
            waiters: [0; 32],
            completing: [0; WHEEL as usize],
            busy: 0,
        }
    }

    /// Decodes the next instruction, in the current cycle or the first later one in which it fits.
    #[inline]
    pub(crate) fn push(&mut self, i: &Instruction, next_pc: u32, code: &Code) {
        let entry = &ENTRIES[i.op.opcode() as usize];
        let a = i.a as u8 | entry.no_a;
        let b = i.b as u8 | entry.no_b;
        let destination = match entry.destination {
            Destination::None => NEVER_READ,
            Destination::A => i.a as u8,
            Destination::D => i.d as u8,
        };
        let overlaps = destination == a || entry.compare_b && destination == b;
        let slots = entry.slots + if overlaps { 0 } else { entry.extra };
        self.wait_to_decode(slots);
        if entry.latency == 0 {
            self.writer[destination as usize] = self.writer[a as usize];
            return;
        }
        let latency = if entry.branch && (seldom(code, u64::from(next_pc)) || seldom(code, i.y)) {
            PREDICTED_BRANCH_LATENCY
        } else {
            entry.latency
        };
        self.append(latency, entry.units, a, b, destination);
    }

    /// Decodes the `trap` past the end of the code.
    pub(crate) fn push_trap(&mut self) {
        let entry = &ENTRIES[Op::Trap.opcode() as usize];
        self.wait_to_decode(entry.slots);
        self.append(entry.latency, entry.units, NEVER_WRITTEN, NEVER_WRITTEN, NEVER_READ);
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

    /// Goes on to the first cycle that has the decode slots and a place in the buffer, and takes the slots.
    #[inline]
    fn wait_to_decode(&mut self, slots: u8) {
        if self.slots < slots {
            self.advance(self.now + 1);
        }
        while self.next - self.oldest == REORDER_BUFFER {
            let place = (self.oldest % REORDER_BUFFER) as usize;
            let complete = self.incomplete >> place & 1 == 0;
            let leaves = if complete { self.completion[place] + 2 } else { u32::MAX };
            if leaves <= self.now {
                self.oldest += 1;
            } else {
                self.advance(leaves);
            }
        }
        self.slots -= slots;
    }

    /// Puts an entry into the buffer.
    #[inline]
    fn append(&mut self, latency: u8, units: u8, a: u8, b: u8, destination: u8) {
        let place = self.next % REORDER_BUFFER;
        let bit = 1 << place;
        let sources = (self.writer_of(a) | self.writer_of(b)) & self.incomplete;
        self.writer[(destination & 15) as usize] = self.next;
        self.next += 1;
        self.incomplete |= bit;
        self.unstarted |= bit;
        let alus = units & ALUS;
        self.need_alu |= u32::from(alus != 0) << place;
        self.need_two_alus |= u32::from(alus > 1) << place;
        self.need_mul |= u32::from(units & MUL != 0) << place;
        self.need_div |= u32::from(units & DIV != 0) << place;
        let place = place as usize;
        self.latency[place] = latency;
        self.held[place] = units;
        self.waits_for[place] = sources;
        self.waiters[place] = 0;
        if sources == 0 {
            self.fresh |= bit;
        }
        for source in places(sources) {
            self.waiters[source] |= bit;
        }
    }

    /// The bit of the entry that wrote a register last, if its place is still its own.
    #[inline]
    fn writer_of(&self, register: u8) -> u32 {
        let writer = self.writer[(register & 15) as usize];
        u32::from(self.next - writer <= REORDER_BUFFER) << (writer % REORDER_BUFFER)
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
        let next = if self.fresh != 0 || cut_short {
            self.now + 1
        } else {
            // Without an entry that executes there is no wait in which to skip cycles.
            let ahead = self.busy.rotate_right((self.now + 1) % WHEEL).trailing_zeros();
            limit.min(self.now + 1 + ahead)
        };
        self.ready |= self.fresh;
        self.fresh = 0;
        self.now = next;
        self.slots = DECODE_SLOTS;
        self.complete();
    }

    /// Starts the oldest entries that can; whether the number of starts cut that short.
    #[inline]
    fn start(&mut self) -> bool {
        // The place of the next entry is that of the oldest one there can be.
        let origin = self.next % REORDER_BUFFER;
        let mut starts = STARTS;
        loop {
            let candidates = self.ready & !self.short_of_units();
            if candidates == 0 {
                return false;
            }
            if starts == 0 {
                return true;
            }
            starts -= 1;
            let place = (candidates.rotate_right(origin).trailing_zeros() + origin) % REORDER_BUFFER;
            let bit = 1 << place;
            self.ready &= !bit;
            self.unstarted &= !bit;
            self.need_alu &= !bit;
            self.need_two_alus &= !bit;
            self.need_mul &= !bit;
            self.need_div &= !bit;
            self.units -= self.held[place as usize];
            let completion = self.now + u32::from(self.latency[place as usize]);
            self.completion[place as usize] = completion;
            self.last_completion = self.last_completion.max(completion);
            self.completing[(completion % WHEEL) as usize] |= bit;
            self.busy |= 1 << (completion % WHEEL);
        }
    }

    /// The unstarted entries for which there are no units.
    #[inline]
    fn short_of_units(&self) -> u32 {
        let no_alu = match self.units & ALUS {
            0 => self.need_alu,
            1 => self.need_two_alus,
            _ => 0,
        };
        let no_mul = if self.units & MUL == 0 { self.need_mul } else { 0 };
        let no_div = if self.units & DIV == 0 { self.need_div } else { 0 };
        no_alu | no_mul | no_div
    }

    /// Completes the entries whose cycle has come.
    #[inline]
    fn complete(&mut self) {
        let cycle = self.now % WHEEL;
        let done = core::mem::take(&mut self.completing[cycle as usize]);
        self.busy &= !(1 << cycle);
        self.incomplete &= !done;
        for place in places(done) {
            self.units += self.held[place];
            for waiter in places(self.waiters[place]) {
                // The place of a source can have another entry before all sources are complete.
                self.waits_for[waiter] &= !done;
                if self.waits_for[waiter] == 0 {
                    self.ready |= 1 << waiter;
                }
            }
        }
    }
}

/// Whether the byte at a branch's way, target or fallthrough, makes the branch predicted. It is the raw
/// byte, marked or not; past the end of the code it is a `trap`.
#[inline]
fn seldom(code: &Code, offset: u64) -> bool {
    let byte = code.byte_at(offset);
    byte == Op::Trap.opcode() || byte == Op::Unlikely.opcode()
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
