//! [`VirtT`] and [`MemoryT`]: what a host can do with a program, and the words for how it went.
//!
//! Nothing here runs anything. The traits have two implementors, the engine of this process and a guest's host
//! calls, and hosts written against the traits cannot tell them apart. Source: `virtualization.md` section 1.

use core::fmt;

/// The most bytes that the symbol of a syscall has.
pub const MAX_SYMBOL_LEN: usize = 32;

/// A program with memory of its own, which runs until it is done or wants something of its host.
///
/// A call begins with [`ExecAction::Execute`] and ends with [`ExecOutcome::Finished`] or an error of
/// [`run`](Self::run) that says so; between the two every [`ExecOutcome::Syscall`] is answered by
/// [`ExecAction::Resume`]. Variables of the program last from call to call; a new instance has them as they
/// were compiled.
pub trait VirtT: Sized {
    /// A handle of the instance's memory.
    type Memory: MemoryT;

    /// Compiles a PolkaVM program and makes an instance of it.
    ///
    /// # Errors
    /// [`InstantiateError`].
    fn instantiate(program: &[u8]) -> Result<Self, InstantiateError>;

    /// Runs until the call ends or makes a syscall, and spends at most `gas_left`; a negative amount is none.
    ///
    /// # Errors
    /// [`ExecError::OutOfGas`] and [`ExecError::Trap`] end the call: the next action is an `Execute`. The
    /// others leave everything as it was, but for an `ecalli` that is no import, see
    /// [`ExecError::InvalidImage`].
    fn run(&mut self, gas_left: i64, action: ExecAction<'_>) -> Result<ExecOutcome, ExecError>;

    /// A handle of the memory. It outlives this borrow, and the instance, after which it only fails.
    fn memory(&self) -> Self::Memory;
}

/// The memory of an instance: addresses as the program has them.
///
/// It can be used at any time between two runs, at a syscall above all. An access that is refused changes
/// nothing, neither the memory nor the buffer. Of no bytes every access succeeds.
pub trait MemoryT {
    /// Copies `dest.len()` bytes from address `offset` on.
    ///
    /// # Errors
    /// [`MemoryError`].
    fn read(&mut self, offset: u32, dest: &mut [u8]) -> Result<(), MemoryError>;

    /// Copies `src` to address `offset`, where the program itself could write it.
    ///
    /// # Errors
    /// [`MemoryError`].
    fn write(&mut self, offset: u32, src: &[u8]) -> Result<(), MemoryError>;
}

/// What an instance is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecAction<'a> {
    /// Call an exported function, without arguments, on an empty stack.
    Execute {
        /// The export's name: any bytes.
        function: &'a [u8],
    },
    /// Go on after a syscall.
    Resume {
        /// What the syscall returns, in φ7.
        return_value: u64,
    },
}

/// How a run went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecOutcome {
    /// The function returned.
    Finished {
        /// What is left of the gas that the run was given.
        gas_left: i64,
    },
    /// The program called an import, and waits.
    Syscall {
        /// What is left of the gas that the run was given.
        gas_left: i64,
        /// The import's symbol.
        syscall_symbol: SyscallSymbol,
        /// φ7.
        a0: u64,
        /// φ8.
        a1: u64,
        /// φ9.
        a2: u64,
        /// φ10.
        a3: u64,
        /// φ11.
        a4: u64,
        /// φ12.
        a5: u64,
    },
}

/// Why there is no instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InstantiateError {
    /// The bytes are no PolkaVM program that can be run, or an import's symbol is longer than
    /// [`MAX_SYMBOL_LEN`].
    InvalidImage,
    /// The program is larger, or its memory, than the host allows, or there are as many instances as it
    /// allows.
    Limit,
}

/// Why a run did not go as wished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExecError {
    /// Not now: an `Execute` while a syscall waits for its answer, a `Resume` while none does.
    InvalidInstance,
    /// There is no export of this name. Also ends a call that executes an `ecalli` for which the program
    /// declares no import.
    InvalidImage,
    /// The gas does not suffice for the next basic block. The call has ended.
    OutOfGas,
    /// The program trapped, or did what it may not. The call has ended.
    Trap,
}

/// Why memory was not copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MemoryError {
    /// The instance is gone.
    InvalidInstance,
    /// A byte is not mapped, or is to be written and the program may only read it.
    OutOfBounds,
}

/// The symbol of a syscall: at most [`MAX_SYMBOL_LEN`] bytes, any.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SyscallSymbol {
    /// Zeros behind the symbol.
    bytes: [u8; MAX_SYMBOL_LEN],
    len: u8,
}

impl SyscallSymbol {
    /// A symbol; `None` for more than [`MAX_SYMBOL_LEN`] bytes.
    #[must_use]
    pub const fn new(symbol: &[u8]) -> Option<Self> {
        if symbol.len() > MAX_SYMBOL_LEN {
            return None;
        }
        let mut bytes = [0; MAX_SYMBOL_LEN];
        bytes.split_at_mut(symbol.len()).0.copy_from_slice(symbol);
        Some(Self { bytes, len: symbol.len() as u8 })
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&self.bytes)
    }
}

impl core::ops::Deref for SyscallSymbol {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl AsRef<[u8]> for SyscallSymbol {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq<[u8]> for SyscallSymbol {
    fn eq(&self, other: &[u8]) -> bool {
        self.as_bytes() == other
    }
}

impl<const N: usize> PartialEq<&[u8; N]> for SyscallSymbol {
    fn eq(&self, other: &&[u8; N]) -> bool {
        self.as_bytes() == *other
    }
}

/// As text: bytes that are no printable ASCII are escaped.
impl fmt::Display for SyscallSymbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_bytes().escape_ascii())
    }
}

impl fmt::Debug for SyscallSymbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SyscallSymbol(b\"{self}\")")
    }
}

/// Gives errors their words.
macro_rules! errors {
    ($($error:ident { $($variant:ident $words:literal)* })*) => { $(
        impl fmt::Display for $error {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$variant => $words,)*
                })
            }
        }

        impl core::error::Error for $error {}
    )* };
}

errors! {
    InstantiateError {
        InvalidImage "this is no PolkaVM program that can be run"
        Limit "the program, its memory or the number of instances is over a limit"
    }
    ExecError {
        InvalidInstance "a syscall waits for its answer, or none does"
        InvalidImage "the program has no export of this name, or calls what it does not import"
        OutOfGas "out of gas"
        Trap "the program trapped"
    }
    MemoryError {
        InvalidInstance "the instance is gone"
        OutOfBounds "not in memory that the program may access in this way"
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString as _;

    #[test]
    fn symbols() {
        let symbol = SyscallSymbol::new(b"read\xff").expect("is short");
        assert!(symbol == b"read\xff" && symbol == *b"read\xff".as_slice() && symbol.starts_with(b"re"));
        assert_eq!(symbol.to_string(), "read\\xff");
        assert_eq!(std::format!("{symbol:?}"), "SyscallSymbol(b\"read\\xff\")");
        assert_eq!(SyscallSymbol::new(&[7; 32]).expect("fits").as_ref(), [7; 32]);
        assert_eq!(SyscallSymbol::new(&[7; 33]), None);
        assert!(SyscallSymbol::new(b"").expect("fits").is_empty());
    }

    #[test]
    fn errors_have_words() {
        assert_eq!(ExecError::OutOfGas.to_string(), "out of gas");
        assert_eq!(
            MemoryError::OutOfBounds.to_string(),
            "not in memory that the program may access in this way"
        );
        assert!(InstantiateError::Limit.to_string().ends_with("over a limit"));
    }
}
