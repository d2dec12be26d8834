//! The machine that a vector is run on: an instance, or the stand-in for a program that does not load.

use std::collections::BTreeMap;

use javm_exec::{
    Access, Engine, ExitOnEcall, ExitReason, GasCounter, Instance, Memory, Module, PAGE_SIZE, Page,
};
use javm_isa::{Code, Instruction, Op};

use super::{Expected, Status, Vector};

/// An instance with gas that may be negative, and what its last run ended with.
pub(super) struct Machine {
    instance: Instance,
    /// Whether there is a program to run; if not, every run panics and costs nothing.
    loaded: bool,
    /// What is to be added to the instance's gas: less than zero for a machine that began in debt. Such a
    /// machine cannot pay for anything, so its counter stands at zero.
    debt: i64,
    last: Option<ExitReason>,
}

impl Machine {
    pub(super) fn new(engine: &Engine, code: Option<Code>, vector: &Vector, gas: i64) -> Self {
        let loaded = code.is_some();
        let module = code.map_or_else(|| stand_in(engine), |code| Module::new(engine, code));
        let mut instance = Instance::new(&module);
        instance.regs.pc = vector.initial_pc;
        instance.gas = GasCounter::new(u64::try_from(gas).unwrap_or(0));
        Self { instance, loaded, debt: gas.min(0), last: None }
    }

    pub(super) fn into_memory(self) -> Memory {
        self.instance.memory
    }

    pub(super) fn map(&mut self, address: u64, length: u64, writable: bool) -> Result<(), String> {
        let page = |n: u64| n.is_multiple_of(PAGE_SIZE as u64).then(|| n / PAGE_SIZE as u64);
        let pages = page(address)
            .zip(page(length))
            .and_then(|(first, count)| Some((u32::try_from(first).ok()?, u32::try_from(count).ok()?)));
        let Some((first, count)) = pages else {
            return Err(format!("cannot map {length:#x} bytes at {address:#x}: not whole pages"));
        };
        let access = if writable { Access::ReadWrite } else { Access::ReadOnly };
        self.instance.memory.map(first, count, access, None).map_err(|e| format!("cannot map: {e}"))
    }

    pub(super) fn write(&mut self, address: u64, contents: &[u8]) -> Result<(), String> {
        let fits = address.checked_add(contents.len() as u64).is_some_and(|end| end <= 1 << 32);
        let address = u32::try_from(address).ok().filter(|_| fits);
        let Some(address) = address else { return Err("cannot write past the address space".into()) };
        self.instance.memory.poke(address, contents).map_err(|e| format!("cannot write: {e}"))
    }

    pub(super) fn set_reg(&mut self, reg: u64, value: u64) -> Result<(), String> {
        let slot = usize::try_from(reg).ok().and_then(|reg| self.instance.regs.gpr.get_mut(reg));
        *slot.ok_or_else(|| format!("there is no register {reg}"))? = value;
        Ok(())
    }

    /// Starts, or goes on: behind a host call, at anything else again.
    pub(super) fn run(&mut self) {
        if let Some(ExitReason::HostCall(_) | ExitReason::Ecall) = self.last {
            self.instance.skip_ecall();
        }
        self.last = Some(if self.loaded { self.instance.run(&mut ExitOnEcall) } else { ExitReason::Panic });
    }

    fn gas(&self) -> i128 {
        i128::from(self.instance.gas.remaining()) + i128::from(self.debt)
    }

    /// The first difference between the machine and what it should look like.
    pub(super) fn compare(&self, expected: &Expected, with_gas: bool) -> Result<(), String> {
        let (status, fault, call) = match self.last {
            None => return Err("nothing ran before this assertion".into()),
            Some(ExitReason::Halt) => (Status::Halt, None, None),
            Some(ExitReason::Trap | ExitReason::Panic) => (Status::Panic, None, None),
            Some(ExitReason::OutOfGas) => (Status::OutOfGas, None, None),
            Some(ExitReason::PageFault(address)) => (Status::PageFault, Some(u64::from(address)), None),
            // The engine gives the low half; the vectors sign-extend.
            Some(ExitReason::HostCall(n)) => (Status::Ecalli, None, Some(n as i32 as u64)),
            Some(ExitReason::Ecall) => return Err("an `ecall`, which no vector's numbering has".into()),
        };
        let number = |what: &str, found: i128, expected: i128| {
            if found == expected { Ok(()) } else { Err(format!("{what} is {found}, not {expected}")) }
        };
        let optional = |what: &str, found: Option<u64>, expected: Option<u64>| match expected {
            Some(wanted) if found != expected => Err(format!(
                "{what} is {}, not {wanted:#x}",
                found.map_or("none".into(), |f| format!("{f:#x}"))
            )),
            _ => Ok(()),
        };
        if status != expected.status {
            return Err(format!("status is {status}, not {}", expected.status));
        }
        optional("the page fault's address", fault, expected.page_fault_address)?;
        optional("the host call", call, expected.hostcall)?;
        // Where a machine stands that never had a program is nowhere.
        if self.loaded {
            number("pc", self.instance.regs.pc.into(), expected.pc.into())?;
        }
        for (n, (found, wanted)) in self.instance.regs.gpr.iter().zip(expected.regs).enumerate() {
            if *found != wanted {
                return Err(format!("register {n} is {found:#x}, not {wanted:#x}"));
            }
        }
        if with_gas {
            number("gas", self.gas(), expected.gas.into())?;
        }
        self.compare_memory(&expected.memory)
    }

    /// Compares all mapped memory with the pieces and zero everywhere else.
    fn compare_memory(&self, pieces: &[(u64, Vec<u8>)]) -> Result<(), String> {
        let memory = &self.instance.memory;
        let mut wanted: BTreeMap<u32, Page> = BTreeMap::new();
        for (address, bytes) in pieces {
            for (at, byte) in (*address..).zip(bytes) {
                let page = u32::try_from(at / PAGE_SIZE as u64).ok().filter(|p| memory.access(*p).is_some());
                let Some(page) = page else { return Err(format!("memory at {at:#x} is not mapped")) };
                wanted.entry(page).or_insert([0; PAGE_SIZE])[at as usize % PAGE_SIZE] = *byte;
            }
        }
        for page in memory.mapped().flat_map(|(first, count, _)| first..first + count) {
            let (found, wanted) = (memory.page(page), wanted.get(&page));
            if found.is_none() && wanted.is_none() {
                continue;
            }
            let (found, wanted) = (found.unwrap_or_default(), wanted.unwrap_or(&[0; PAGE_SIZE]));
            for (offset, wanted) in wanted.iter().enumerate() {
                let found = found.get(offset).unwrap_or(&0);
                if found != wanted {
                    let address = page as usize * PAGE_SIZE + offset;
                    return Err(format!("memory at {address:#x} is {found}, not {wanted}"));
                }
            }
        }
        Ok(())
    }
}

/// A program of one `trap`, for a blob that is none. It is never run.
fn stand_in(engine: &Engine) -> Module {
    match Code::new(Instruction::new(Op::Trap).encode(0).as_slice(), &[1], &[]) {
        Ok(code) => Module::new(engine, code),
        Err(_) => unreachable!("a trap is a program"),
    }
}
