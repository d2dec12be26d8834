//! The host calls by which a guest drives programs of its own: symbols, registers, codes, prices.
//!
//! Guest and host compile this same file, so they cannot disagree. Numbers are little endian. Who makes the calls
//! is `javm-guest-virt` in the guests' workspace; who serves them, [`Nested`](crate::Nested).
//!
//! | symbol | φ7 | φ8 | φ9 | φ10 | φ11 | φ7 then |
//! | --- | --- | --- | --- | --- | --- | --- |
//! | `virt_instantiate` | program | its length | | | | an id, or a code |
//! | `virt_execute` | id | gas | name | its length | [outcome](encode) | a code |
//! | `virt_resume` | id | gas | value | [outcome](encode) | | a code |
//! | `virt_read` | id | address there | buffer here | its length | | a code |
//! | `virt_write` | id | address there | buffer here | its length | | a code |
//! | `virt_destroy` | id | | | | | a code |
//!
//! Ids count from 0, for each caller its own, and none is used again. A code is [`DONE`], [`SYSCALL`], or
//! negative: an error of the method, from -1 on in the order of its variants, or [`NO_BUFFER`].

use crate::{ExecError, ExecOutcome, InstantiateError, MAX_SYMBOL_LEN, MemoryError, SyscallSymbol};

/// A host call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// [`VirtT::instantiate`](crate::VirtT::instantiate).
    Instantiate,
    /// [`VirtT::run`](crate::VirtT::run) with [`ExecAction::Execute`](crate::ExecAction::Execute).
    Execute,
    /// [`VirtT::run`](crate::VirtT::run) with [`ExecAction::Resume`](crate::ExecAction::Resume).
    Resume,
    /// [`MemoryT::read`](crate::MemoryT::read).
    Read,
    /// [`MemoryT::write`](crate::MemoryT::write).
    Write,
    /// The end of an instance.
    Destroy,
}

/// What the symbols of all host calls start with. An import with this prefix that is none is an ordinary syscall.
pub const PREFIX: &str = "virt_";

impl Call {
    /// Every host call.
    pub const ALL: [Self; 6] =
        [Self::Instantiate, Self::Execute, Self::Resume, Self::Read, Self::Write, Self::Destroy];

    /// The import's symbol.
    #[must_use]
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Instantiate => "virt_instantiate",
            Self::Execute => "virt_execute",
            Self::Resume => "virt_resume",
            Self::Read => "virt_read",
            Self::Write => "virt_write",
            Self::Destroy => "virt_destroy",
        }
    }

    /// The host call that a symbol names.
    #[must_use]
    pub fn of(symbol: &[u8]) -> Option<Self> {
        if !symbol.starts_with(PREFIX.as_bytes()) {
            return None;
        }
        Self::ALL.into_iter().find(|call| call.symbol().as_bytes() == symbol)
    }

    /// What the call costs its caller, besides what the `ecalli` costs as an instruction and what the inner
    /// program runs up: `len` is the length in the registers, of the program, the name or the buffer. Refused
    /// calls cost the same, and whether a program was compiled before makes no difference.
    #[must_use]
    pub const fn price(self, len: u64) -> u64 {
        let (call, bytes) = match self {
            Self::Instantiate => (50_000, len.saturating_mul(50)),
            Self::Execute => (1_000, len),
            Self::Resume => (300, 0),
            Self::Read | Self::Write => (100, len / 4),
            Self::Destroy => (1_000, 0),
        };
        bytes.saturating_add(call)
    }
}

/// Done; of a run: [`ExecOutcome::Finished`].
pub const DONE: i64 = 0;

/// [`ExecOutcome::Syscall`].
pub const SYSCALL: i64 = 1;

/// An address or a length of the caller's own is not in memory that it may use in this way. What the call would
/// have done has not been done.
pub const NO_BUFFER: i64 = -16;

/// Bytes of an encoded outcome.
pub const OUTCOME_LEN: usize = 64 + MAX_SYMBOL_LEN;

/// The code of an outcome, and its bytes: gas left, φ7..φ12, the symbol's length, each of 8 bytes, and the symbol.
/// Of a run that failed, all are zero, as are the registers and the symbol where there was no syscall.
#[must_use]
pub fn encode(result: &Result<ExecOutcome, ExecError>) -> (i64, [u8; OUTCOME_LEN]) {
    let mut bytes = [0; OUTCOME_LEN];
    let mut words = [0; 8];
    let code = match *result {
        Err(error) => error.code(),
        Ok(ExecOutcome::Finished { gas_left }) => {
            words[0] = gas_left as u64;
            DONE
        }
        Ok(ExecOutcome::Syscall { gas_left, syscall_symbol, a0, a1, a2, a3, a4, a5 }) => {
            words = [gas_left as u64, a0, a1, a2, a3, a4, a5, syscall_symbol.len() as u64];
            bytes[64..].iter_mut().zip(syscall_symbol.iter()).for_each(|(to, from)| *to = *from);
            SYSCALL
        }
    };
    bytes.chunks_exact_mut(8).zip(words).for_each(|(to, word)| to.copy_from_slice(&word.to_le_bytes()));
    (code, bytes)
}

/// The outcome that was encoded. A code that is none is [`ExecError::InvalidInstance`].
///
/// # Errors
/// The error that the code says.
pub fn decode(code: i64, bytes: &[u8; OUTCOME_LEN]) -> Result<ExecOutcome, ExecError> {
    let (words, symbol) = bytes.split_at(64);
    let mut word = words.chunks_exact(8).map(|word| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(word);
        u64::from_le_bytes(bytes)
    });
    let mut next = || word.next().unwrap_or(0);
    let gas_left = next() as i64;
    match code {
        DONE => Ok(ExecOutcome::Finished { gas_left }),
        SYSCALL => {
            let [a0, a1, a2, a3, a4, a5] = core::array::from_fn(|_| next());
            let len = usize::try_from(next()).unwrap_or(usize::MAX);
            let symbol = symbol.get(..len).unwrap_or(symbol);
            let syscall_symbol = SyscallSymbol::new(symbol).ok_or(ExecError::InvalidInstance)?;
            Ok(ExecOutcome::Syscall { gas_left, syscall_symbol, a0, a1, a2, a3, a4, a5 })
        }
        code => Err(ExecError::of(code).unwrap_or(ExecError::InvalidInstance)),
    }
}

/// Gives errors their codes.
macro_rules! codes {
    ($($error:ident { $($variant:ident $code:literal)* })*) => { $(
        impl $error {
            /// The code of the error as a host call returns it.
            #[must_use]
            pub const fn code(self) -> i64 {
                match self {
                    $(Self::$variant => $code,)*
                }
            }

            /// The error of a code; `None` for what is none.
            #[must_use]
            pub const fn of(code: i64) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    )* };
}

codes! {
    InstantiateError { InvalidImage -1 Limit -2 }
    ExecError { InvalidInstance -1 InvalidImage -2 OutOfGas -3 Trap -4 }
    MemoryError { InvalidInstance -1 OutOfBounds -2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_survive_the_way() {
        let syscall_symbol = SyscallSymbol::new(&[7; 32]).expect("fits");
        let (gas_left, a0, a1, a2, a3, a4, a5) = (-1, 1, 2, u64::MAX, 4, 5, 6);
        let short = SyscallSymbol::new(b"x").expect("fits");
        for result in [
            Ok(ExecOutcome::Finished { gas_left: i64::MAX }),
            Ok(ExecOutcome::Finished { gas_left: i64::MIN }),
            Ok(ExecOutcome::Syscall { gas_left, syscall_symbol, a0, a1, a2, a3, a4, a5 }),
            Ok(ExecOutcome::Syscall { gas_left, syscall_symbol: short, a0, a1, a2, a3, a4, a5 }),
            Err(ExecError::InvalidInstance),
            Err(ExecError::InvalidImage),
            Err(ExecError::OutOfGas),
            Err(ExecError::Trap),
        ] {
            let (code, bytes) = encode(&result);
            assert_eq!(decode(code, &bytes), result);
        }
        assert_eq!(decode(NO_BUFFER, &[0; OUTCOME_LEN]), Err(ExecError::InvalidInstance));
        assert!(matches!(decode(SYSCALL, &[255; OUTCOME_LEN]), Ok(ExecOutcome::Syscall { .. })));
    }

    #[test]
    fn calls_have_symbols_and_prices() {
        for call in Call::ALL {
            assert_eq!(Call::of(call.symbol().as_bytes()), Some(call));
            assert!(SyscallSymbol::new(call.symbol().as_bytes()).is_some());
            assert_eq!(call.price(u64::MAX).max(call.price(0)), call.price(u64::MAX));
        }
        assert_eq!(Call::of(b"virt_"), None);
        assert_eq!(Call::of(b"read"), None);
        assert_eq!(MemoryError::of(MemoryError::OutOfBounds.code()), Some(MemoryError::OutOfBounds));
        assert_eq!(InstantiateError::of(0), None);
    }
}
