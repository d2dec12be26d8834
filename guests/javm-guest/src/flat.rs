//! Flat programs: no endpoints, no slots, no kernel. A host calls exports by name and serves imports by name,
//! each with up to six registers; see `docs/virtualization.md`.
//!
//! [`exports!`](crate::exports) and [`syscalls!`](crate::syscalls) declare the two; statics that last
//! ([`persistent!`](crate::persistent), [`exclusive!`](crate::exclusive)) and `stack_size!` are the same as in
//! other guests.

/// What a register of a syscall can hold: a number, or the address of a buffer. How long a buffer is the host
/// knows, or another argument says.
pub trait Argument {
    /// The register.
    fn register(self) -> u64;
}

macro_rules! numbers {
    ($($ty:ty)*) => { $(
        impl Argument for $ty {
            #[inline(always)]
            fn register(self) -> u64 {
                self as u64
            }
        }
    )* };
}
numbers!(u8 u32 u64 i64 usize);

impl Argument for &[u8] {
    #[inline(always)]
    fn register(self) -> u64 {
        self.as_ptr().expose_provenance() as u64
    }
}

impl Argument for &mut [u8] {
    #[inline(always)]
    fn register(self) -> u64 {
        self.as_mut_ptr().expose_provenance() as u64
    }
}

impl<const N: usize> Argument for &[u8; N] {
    #[inline(always)]
    fn register(self) -> u64 {
        self.as_slice().register()
    }
}

impl<const N: usize> Argument for &mut [u8; N] {
    #[inline(always)]
    fn register(self) -> u64 {
        self.as_mut_slice().register()
    }
}

/// Declares syscalls, as functions of up to six [`Argument`]s: `syscalls! { fn read(into: &mut [u8; 8]) -> u64; }`.
/// The function's name is the import's symbol, and what it returns is φ7.
///
/// The functions are safe by the author's word: the host reads what a shared buffer holds and writes what a
/// mutable one holds, and no other memory. Natively there is no host, and they panic.
#[macro_export]
macro_rules! syscalls {
    ($($(#[$attribute:meta])* $vis:vis fn $name:ident($($argument:ident: $ty:ty),* $(,)?) -> u64;)*) => { $(
        $(#[$attribute])*
        #[inline(always)]
        $vis fn $name($($argument: $ty),*) -> u64 {
            $crate::__syscall!($name [$($argument)*])
        }
    )* };
}

/// Calls an import.
#[cfg(all(target_arch = "riscv64", target_feature = "e"))]
#[macro_export]
#[doc(hidden)]
macro_rules! __syscall {
    ($name:ident [$($argument:ident)*]) => {{
        // Imports and exports have the same record; the linker gives the import its number.
        #[unsafe(link_section = ".polkavm_metadata")]
        static METADATA: $crate::link::Metadata = $crate::link::Metadata::export(
            stringify!($name),
            <[&str]>::len(&[$(stringify!($argument)),*]) as u8,
        );
        let [a0, a1, a2, a3, a4, a5] =
            $crate::raw::registers([$($crate::flat::Argument::register($argument)),*]);
        let value: u64;
        // SAFETY: the linker turns these bytes into `ecalli` and drops them. The host reads the argument
        // registers; the linker takes every caller-saved register as overwritten, and so does this list. Memory
        // is taken as read and written, which is `asm!`'s default. That the host keeps to the buffers it is
        // given is the word of whoever declares the syscall.
        unsafe {
            core::arch::asm!(
                ".insn r 0xb, 0, 0, zero, zero, zero",
                "auipc zero, %pcrel_hi({metadata})",
                ".4byte 0",
                metadata = sym METADATA,
                inlateout("a0") a0 => value,
                inlateout("a1") a1 => _,
                inlateout("a2") a2 => _,
                inlateout("a3") a3 => _,
                inlateout("a4") a4 => _,
                inlateout("a5") a5 => _,
                lateout("t0") _,
                lateout("t1") _,
                lateout("t2") _,
            );
        }
        value
    }};
}

/// Calls an import; natively nobody serves it.
#[cfg(not(all(target_arch = "riscv64", target_feature = "e")))]
#[macro_export]
#[doc(hidden)]
macro_rules! __syscall {
    ($name:ident [$($argument:ident)*]) => {{
        $(let _ = $crate::flat::Argument::register($argument);)*
        panic!(concat!("the syscall ", stringify!($name), " needs a host"))
    }};
}

/// Exports functions without arguments and results under their names: `exports! { main, stop }`. They are called
/// with an empty stack, and a panic in one is a trap.
#[macro_export]
macro_rules! exports {
    ($($name:ident),* $(,)?) => { $(
        #[doc(hidden)]
        #[allow(dead_code, non_snake_case)]
        mod $name {
            extern "C" fn entry() {
                super::$name();
            }
            $crate::__export! { stringify!($name), 0, entry }
        }
    )* };
}

#[cfg(test)]
mod tests {
    #[allow(dead_code)]
    fn exported() {}
    crate::exports! { exported }
    crate::syscalls! {
        /// Shows a number.
        fn show(number: u64, text: &[u8]) -> u64;
    }

    #[test]
    #[should_panic(expected = "the syscall show needs a host")]
    fn natively_nobody_answers() {
        show(1, b"x");
    }
}
