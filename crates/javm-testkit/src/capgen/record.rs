//! [`Recorder`]: the kernel around a generated case. It sees what the machine did, and counts it.
//!
//! Generated guests call it before and after each operation ([`Tag`]). That the second call comes is the
//! evidence that the operation succeeded; that the caller gets status 2 and code 1 after the callee's first
//! call, and nothing from the callee in between, is the evidence that it was refused.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use javm::{
    InProcessKernelAssist, KernelAssist, SaveResult,
    kernel_assist::{UserCall, UserCallResult},
};
use javm_abi::{GuestOp, ops::FIRST_USER_OP};
use javm_cap::CapHash;
use javm_exec::{Mem, Regs};

/// The operation by which guests report.
pub const PROBE: u32 = 100;
/// φ7 = φ7 + φ8; φ9 gas more.
pub const ADD: u32 = 101;
/// Refused by the recorder, as is every number that is not here.
pub const REFUSED: u32 = 102;

/// How a guest asks for an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum By {
    /// By an immediate.
    Ecalli,
    /// By φ11.
    Ecall,
}

/// What a guest asks for: a row of the table, or an operation of the embedder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ask {
    /// A row of the table.
    Op(GuestOp),
    /// From 64 on.
    User,
}

impl Ask {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        GuestOp::ALL.iter().map(|op| Self::Op(*op)).chain([Self::User])
    }

    /// Whether the kernel can refuse it for what it is asked: a kind of operand that has a way to be wrong, or
    /// a refusal of its own. Remarks in brackets say what is *not* refused. `REPLY` and `GAS_LEFT` alone are
    /// exempt: they take no slot and no address, any number will do, and what they can lack is gas.
    #[must_use]
    pub fn can_be_refused(self) -> bool {
        match self {
            Self::User => true,
            Self::Op(op) => {
                op.operands().iter().any(|operand| !operand.kind.refusal().is_empty())
                    || op.refusals().iter().any(|words| !words.starts_with('('))
            }
        }
    }

    /// The name for tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Op(op) => op.name(),
            Self::User => "user call",
        }
    }

    const fn number(self) -> u32 {
        match self {
            Self::Op(op) => op.number(),
            Self::User => FIRST_USER_OP,
        }
    }

    fn from_number(number: u32) -> Option<Self> {
        if number == FIRST_USER_OP {
            return Some(Self::User);
        }
        GuestOp::from_number(u64::from(number)).map(Self::Op)
    }
}

/// When a guest reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum When {
    /// An act begins, or something that is no operation comes next.
    Other,
    /// The operation comes next.
    Before,
    /// It is done.
    After,
    /// A call has set a gas meter: φ7 = before, φ9 = id, φ10 = now.
    MeterSet,
    /// Something came out otherwise than the generator expected.
    Surprise,
    /// The next yield to the embedder is one to look around at.
    Mark,
}

/// What a guest reports in T0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// When.
    pub when: When,
    /// The operation.
    pub ask: Ask,
    /// How it is asked for.
    pub by: By,
    /// The program.
    pub program: u32,
}

impl Tag {
    /// As a register.
    #[must_use]
    pub fn encode(self) -> u64 {
        u64::from(self.ask.number())
            | u64::from(self.by == By::Ecall) << 8
            | (self.when as u64) << 16
            | u64::from(self.program) << 32
    }

    fn decode(raw: u64) -> Option<Self> {
        let when = [When::Other, When::Before, When::After, When::MeterSet, When::Surprise, When::Mark];
        Some(Self {
            ask: Ask::from_number((raw & 0xFF) as u32)?,
            by: if raw >> 8 & 1 == 1 { By::Ecall } else { By::Ecalli },
            when: *when.get((raw >> 16 & 0xFF) as usize)?,
            program: (raw >> 32) as u32,
        })
    }
}

/// How often each operation succeeded and was refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats(BTreeMap<(Ask, By), [u64; 2]>);

impl Stats {
    /// Adds a success.
    pub fn succeeded(&mut self, ask: Ask, by: By) {
        self.0.entry((ask, by)).or_default()[0] += 1;
    }

    /// Adds a refusal.
    pub fn refused(&mut self, ask: Ask, by: By) {
        self.0.entry((ask, by)).or_default()[1] += 1;
    }

    /// Adds all of another.
    pub fn add(&mut self, other: &Self) {
        for (key, counts) in &other.0 {
            let sum = self.0.entry(*key).or_default();
            sum[0] += counts[0];
            sum[1] += counts[1];
        }
    }

    /// Successes and refusals of one operation.
    #[must_use]
    pub fn of(&self, ask: Ask, by: By) -> [u64; 2] {
        self.0.get(&(ask, by)).copied().unwrap_or_default()
    }

    /// Fails unless every operation, asked for in either way, succeeded so often and, where it can be, was
    /// refused so often.
    ///
    /// # Panics
    /// With the table.
    pub fn require(&self, successes: u64, refusals: u64) {
        for ask in Ask::all() {
            for by in [By::Ecalli, By::Ecall] {
                let [done, refused] = self.of(ask, by);
                let enough = done >= successes && (refused >= refusals || !ask.can_be_refused());
                assert!(enough, "{} by {by:?}: {done} successes, {refused} refusals\n{self}", ask.name());
            }
        }
    }
}

impl core::fmt::Display for Stats {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        writeln!(f, "{:<20} {:>8} {:>8} {:>8} {:>8}", "", "ecalli", "ecall", "refused", "refused")?;
        for ask in Ask::all() {
            let [i, c] = [self.of(ask, By::Ecalli), self.of(ask, By::Ecall)];
            writeln!(f, "{:<20} {:>8} {:>8} {:>8} {:>8}", ask.name(), i[0], c[0], i[1], c[1])?;
        }
        Ok(())
    }
}

/// A guest saw something else than its generator foresaw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Surprise {
    /// The program.
    pub program: u32,
    /// Which check: the number that its text loads into A5 before it.
    pub check: u64,
    /// A0 and A1.
    pub found: [u64; 2],
    /// What was reported before.
    pub before: Option<Tag>,
}

/// What was seen, as a number that differs when anything differs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// Reports so far.
    pub reports: u64,
    /// Registers and pc at each.
    pub machine: u64,
    /// Gas at each.
    pub gas: u64,
}

/// A case makes some thousand reports; one that makes so many runs in circles.
const MAX_REPORTS: u64 = 200_000;

const fn mix(state: u64, word: u64) -> u64 {
    let x = (state ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x ^ x >> 29
}

/// The kernel around a case: in memory, with the reports of guests.
#[derive(Debug, Default)]
pub struct Recorder {
    /// Meters, quotas, files, root markers.
    pub kernel: InProcessKernelAssist,
    /// What succeeded and what was refused.
    pub stats: Stats,
    /// Everything that was reported.
    pub trace: Trace,
    /// Reports of something unexpected.
    pub surprises: Vec<Surprise>,
    /// Meters that guests have set: id, before, now.
    pub set: Vec<(u64, u64, u64)>,
    /// Registers at each mark.
    pub marks: Vec<[u64; 13]>,
    /// Gas that was left at each report, when it is to be kept.
    pub gas: Option<Vec<u64>>,
    last: Option<Tag>,
    caught: Mutex<Option<CapHash>>,
}

impl Recorder {
    /// The marker that the embedder was last asked about and said it handles.
    pub fn caught(&self) -> Option<CapHash> {
        *self.caught.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was reported last.
    #[must_use]
    pub const fn last(&self) -> Option<Tag> {
        self.last
    }

    fn report(&mut self, tag: Tag, regs: &Regs, gas: u64) {
        let mut gpr = regs.gpr;
        if tag.ask == Ask::Op(GuestOp::GasLeft) {
            gpr[7] = 0;
        }
        self.trace.reports += 1;
        assert!(self.trace.reports < MAX_REPORTS, "the case does not end: {tag:?} at {}", regs.pc);
        self.trace.machine = gpr.iter().fold(mix(self.trace.machine, regs.pc), |state, reg| mix(state, *reg));
        self.trace.gas = mix(self.trace.gas, gas);
        if let Some(all) = &mut self.gas {
            all.push(gas);
        }
        let call = [GuestOp::HostCall, GuestOp::CallResume].contains(&match tag.ask {
            Ask::Op(op) => op,
            Ask::User => GuestOp::Reply,
        });
        match tag.when {
            When::After => {
                let before =
                    self.last.filter(|last| last.when == When::Before && last.program != tag.program);
                match (before, call) {
                    (Some(last), true) if (gpr[8], gpr[7]) == (2, 1) => self.stats.refused(last.ask, last.by),
                    (Some(last), true) if last.ask == Ask::Op(GuestOp::Reply) && gpr[8] == 0 => {
                        self.stats.succeeded(last.ask, last.by);
                    }
                    _ => {}
                }
                self.stats.succeeded(tag.ask, tag.by);
            }
            When::MeterSet => self.set.push((gpr[9], gpr[7], gpr[10])),
            When::Surprise => self.surprises.push(Surprise {
                program: tag.program,
                check: gpr[12],
                found: [gpr[7], gpr[8]],
                before: self.last,
            }),
            When::Mark => self.marks.push(gpr),
            When::Other | When::Before => {}
        }
        self.last = Some(tag);
    }
}

impl KernelAssist for Recorder {
    fn gas_meter(&self, id: u64) -> u64 {
        self.kernel.gas_meter(id)
    }

    fn set_gas_meter(&mut self, id: u64, value: u64) -> u64 {
        self.kernel.set_gas_meter(id, value)
    }

    fn quota(&self, id: u64) -> u64 {
        self.kernel.quota(id)
    }

    fn set_quota(&mut self, id: u64, value: u64) -> u64 {
        self.kernel.set_quota(id, value)
    }

    fn open_file(&mut self, id: u64) -> Option<CapHash> {
        self.kernel.open_file(id)
    }

    fn save_file(&mut self, content: CapHash, size: u64, quota: Option<u64>) -> SaveResult {
        self.kernel.save_file(content, size, quota)
    }

    fn catches_at_root(&self, marker: &CapHash) -> bool {
        let catches = self.kernel.catches_at_root(marker);
        if catches {
            *self.caught.lock().unwrap_or_else(PoisonError::into_inner) = Some(*marker);
        }
        catches
    }

    fn user_call(&mut self, call: UserCall<'_>, _: &mut dyn Mem) -> UserCallResult {
        match call.number {
            PROBE => match Tag::decode(call.regs.gpr[2]) {
                Some(tag) => {
                    self.report(tag, call.regs, call.gas.remaining());
                    UserCallResult::Done
                }
                None => UserCallResult::Refused,
            },
            ADD => {
                let price = call.regs.gpr[9];
                if !call.gas.charge(price) {
                    return UserCallResult::OutOfGas { price };
                }
                call.regs.gpr[7] = call.regs.gpr[7].wrapping_add(call.regs.gpr[8]);
                UserCallResult::Done
            }
            _ => UserCallResult::Refused,
        }
    }
}
