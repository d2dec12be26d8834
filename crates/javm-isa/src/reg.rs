//! The thirteen registers.

/// How many registers a machine has.
pub const NUM_REGS: usize = 13;

/// A register: φ0 … φ12, with its name in the PolkaVM ABI.
///
/// An array of [`NUM_REGS`] elements indexed by `reg as usize` needs no bounds check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum Reg {
    RA = 0,
    SP = 1,
    T0 = 2,
    T1 = 3,
    T2 = 4,
    S0 = 5,
    S1 = 6,
    A0 = 7,
    A1 = 8,
    A2 = 9,
    A3 = 10,
    A4 = 11,
    A5 = 12,
}

impl Reg {
    /// Every register, by index.
    pub const ALL: [Self; NUM_REGS] = [
        Self::RA,
        Self::SP,
        Self::T0,
        Self::T1,
        Self::T2,
        Self::S0,
        Self::S1,
        Self::A0,
        Self::A1,
        Self::A2,
        Self::A3,
        Self::A4,
        Self::A5,
    ];

    /// The register that an operand number means: numbers above 12 mean φ12 (Gray Paper A.5.3).
    #[must_use]
    pub const fn clamped(n: u8) -> Self {
        const BY_NUMBER: [Reg; 16] = {
            let mut t = [Reg::A5; 16];
            let mut n = 0;
            while n < NUM_REGS {
                t[n] = Reg::ALL[n];
                n += 1;
            }
            t
        };
        BY_NUMBER[if n < 15 { n as usize } else { 15 }]
    }

    /// The register with this index, if there is one.
    #[must_use]
    pub const fn from_index(n: usize) -> Option<Self> {
        if n < NUM_REGS { Some(Self::ALL[n]) } else { None }
    }

    /// Index of the register, 0..=12.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The ABI name, for example `a0`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        ["ra", "sp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5"][self as usize]
    }

    /// The register with this ABI name or index name (`a0` or `r7`).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name.as_bytes() {
            [b'r', n @ b'0'..=b'9'] => Self::from_index(usize::from(n - b'0')),
            [b'r', b'1', n @ b'0'..=b'9'] => Self::from_index(usize::from(n - b'0') + 10),
            _ => Self::ALL.into_iter().find(|r| r.name() == name),
        }
    }
}

impl core::fmt::Display for Reg {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.name())
    }
}
