//! Runs another flat program, answers its syscalls and tells its host everything that it sees.
//!
//! [`drive`] is written against `VirtT` alone: natively it runs over the engine, in the blob over host calls, and
//! what it tells must be the same. The program that it runs may be this one: its input has an input for that.
#![no_std]
#![forbid(unsafe_code)]

use javm_guest::{exclusive, exports, stack_size, syscalls};
use javm_guest_virt::{ExecAction, ExecError, ExecOutcome, MemoryT, Virt, VirtT};

stack_size!(64 * 1024);

syscalls! {
    /// Bytes of the input.
    fn input_len() -> u64;
    /// Fills the buffer with the input from an offset on.
    fn input(into: &mut [u8], offset: usize, len: usize) -> u64;
    /// Takes what was seen.
    fn log(bytes: &[u8], len: usize) -> u64;
}

exports! { run }

exclusive! {
    static INPUT: [u8; 256 * 1024] = [0; 256 * 1024];
}

/// Drives the program of the host's input.
fn run() {
    INPUT.with(|buffer| {
        let input_bytes = usize::try_from(input_len()).unwrap_or(usize::MAX);
        let bytes = buffer.get_mut(..input_bytes).expect("the input fits");
        input(bytes, 0, input_bytes);
        drive::<Virt>(bytes, &mut |seen| {
            log(seen, seen.len());
        });
    });
}

/// What there is to do.
#[derive(Clone, Copy, Debug)]
struct Input<'a> {
    program: &'a [u8],
    /// For each call eight bytes of gas, one of the name's length, the name.
    calls: &'a [u8],
    /// What the program is given when it asks for its input.
    inner: &'a [u8],
}

/// Takes a part that says its length in four bytes.
fn part<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, rest) = bytes.split_first_chunk()?;
    let (part, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    *bytes = rest;
    Some(part)
}

impl<'a> Input<'a> {
    fn read(mut bytes: &'a [u8]) -> Option<Self> {
        Some(Self { program: part(&mut bytes)?, calls: part(&mut bytes)?, inner: bytes })
    }
}

/// Takes a call off a list.
fn next_call<'a>(calls: &mut &'a [u8]) -> Option<(i64, &'a [u8])> {
    let (gas, rest) = calls.split_first_chunk()?;
    let (len, rest) = rest.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*len))?;
    *calls = rest;
    Some((i64::from_le_bytes(*gas), name))
}

/// Runs the calls of an input, one after the other, and logs outcomes, syscalls and memory.
pub fn drive<V: VirtT>(input: &[u8], log: &mut dyn FnMut(&[u8])) {
    let Some(input) = Input::read(input) else { return log(b"no input") };
    let mut driver = Driver { input, log, counter: 5 };
    let mut virt = match V::instantiate(input.program) {
        Ok(virt) => virt,
        Err(error) => return driver.tell(b'i', &[error.code() as u64]),
    };
    let mut calls = input.calls;
    while let Some((gas, name)) = next_call(&mut calls) {
        (driver.log)(name);
        if driver.call(&mut virt, gas, name) == Ended::Left {
            // Nobody answers the syscall: a new instance takes over.
            let mut memory = virt.memory();
            match V::instantiate(input.program) {
                Ok(other) => virt = other,
                Err(error) => return driver.tell(b'i', &[error.code() as u64]),
            }
            let gone = memory.read(0, &mut []).map_or_else(|error| error.code(), |()| 0);
            driver.tell(b'g', &[gone as u64]);
        }
        for address in [0x1_0000, 0x2_0000, 0x3_0000, 0xfffd_f000] {
            driver.show_memory::<64>(&virt, address);
        }
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// By itself.
    Done,
    /// At a syscall that is not answered.
    Left,
}

struct Driver<'a> {
    input: Input<'a>,
    log: &'a mut dyn FnMut(&[u8]),
    counter: u64,
}

impl Driver<'_> {
    /// Logs numbers.
    fn tell(&mut self, what: u8, numbers: &[u64]) {
        (self.log)(&[what]);
        numbers.iter().for_each(|number| (self.log)(&number.to_le_bytes()));
    }

    fn show_memory<const N: usize>(&mut self, virt: &impl VirtT, address: u32) {
        let mut bytes = [0xee; N];
        let code = virt.memory().read(address, &mut bytes).map_or_else(|error| error.code(), |()| 0);
        self.tell(b'm', &[code as u64]);
        (self.log)(&bytes);
    }

    /// Runs a call to its end.
    fn call<V: VirtT>(&mut self, virt: &mut V, gas: i64, name: &[u8]) -> Ended {
        let mut result = virt.run(gas, ExecAction::Execute { function: name });
        loop {
            match result {
                Err(error) => {
                    self.tell(b'e', &[error.code() as u64]);
                    // An answer now would be one too many.
                    let late = virt.run(gas, ExecAction::Resume { return_value: 0 });
                    assert_eq!(late, Err(ExecError::InvalidInstance));
                    return Ended::Done;
                }
                Ok(ExecOutcome::Finished { gas_left }) => {
                    self.tell(b'f', &[gas_left as u64]);
                    return Ended::Done;
                }
                Ok(ExecOutcome::Syscall { gas_left, syscall_symbol, a0, a1, a2, a3, a4, a5 }) => {
                    self.tell(b's', &[gas_left as u64, a0, a1, a2, a3, a4, a5]);
                    (self.log)(&syscall_symbol);
                    self.show_memory::<16>(virt, a0 as u32);
                    let Some(return_value) = self.answer(virt, &syscall_symbol, [a0, a1, a2]) else {
                        return Ended::Left;
                    };
                    result = virt.run(gas_left, ExecAction::Resume { return_value });
                }
            }
        }
    }

    /// What a syscall returns; `None` for one that ends the call.
    fn answer<V: VirtT>(&mut self, virt: &V, symbol: &[u8], a: [u64; 3]) -> Option<u64> {
        let mut memory = virt.memory();
        let address = a[0] as u32;
        Some(match symbol {
            b"read_counter" => {
                let written = memory.write(address, &self.counter.to_le_bytes());
                self.tell(b'w', &[written.map_or_else(|error| error.code(), |()| 0) as u64]);
                1
            }
            b"increment_counter" => {
                let mut by = [0; 8];
                memory.read(address, &mut by).ok()?;
                self.counter = self.counter.wrapping_add(u64::from_le_bytes(by));
                2 << 56
            }
            b"exit" => return None,
            b"subcall" => {
                let mut other = V::instantiate(self.input.program).ok()?;
                self.call(&mut other, 1_000_000, b"counter");
                0
            }
            b"fill" => {
                let pattern: [u8; 256] = core::array::from_fn(|n| (n * 83 + 5) as u8);
                let mut done = 0;
                while done < a[1].min(100_000) {
                    let bytes = &pattern[..pattern.len().min((a[1] - done) as usize)];
                    memory.write(address.wrapping_add(done as u32), bytes).ok()?;
                    done += bytes.len() as u64;
                }
                done
            }
            b"input_len" => self.input.inner.len() as u64,
            b"input" => {
                let bytes = self.input.inner.get(a[1] as usize..)?.get(..a[2] as usize)?;
                memory.write(address, bytes).ok()?;
                bytes.len() as u64
            }
            b"log" => {
                let mut chunk = [0; 256];
                let mut done = 0;
                while done < a[1] {
                    let chunk = &mut chunk[..256.min((a[1] - done) as usize)];
                    memory.read(address.wrapping_add(done as u32), chunk).ok()?;
                    (self.log)(chunk);
                    done += chunk.len() as u64;
                }
                done
            }
            _ => a.iter().fold(0x9e37_79b9, |sum, word| sum.rotate_left(7) ^ word),
        })
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn calls_are_read_until_there_are_none() {
        let mut calls = &b"\x05\0\0\0\0\0\0\0\x03abc\xff\xff\xff\xff\xff\xff\xff\xff\0\x01"[..];
        assert_eq!(next_call(&mut calls), Some((5, &b"abc"[..])));
        assert_eq!(next_call(&mut calls), Some((-1, &b""[..])));
        assert_eq!(next_call(&mut calls), None);
        assert!(Input::read(b"\x02\0\0\0x").is_none());
        let mut seen = std::vec::Vec::new();
        drive::<Virt>(b"", &mut |bytes| seen.extend_from_slice(bytes));
        assert_eq!(seen, b"no input");
    }
}
