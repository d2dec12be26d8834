//! A parent that keeps a copy of its child's memory, of the pages that changed only.
//!
//! For the microkernel. After each call DIRTY tells which pages the child wrote, and those are copied. A call that ends
//! badly is undone the same way: what it wrote is copied back.
#![no_std]
#![forbid(unsafe_code)]

use javm_guest::{
    Window, endpoint,
    microkernel::{Access, CapRef, Ended, Refused, UNTYPED, Vm, copy_bytes, dirty, map, retype},
};

/// Pages of the child's memory.
const PAGES: u32 = 64;
const PAGE: u64 = 4096;
const WINDOW: Window = Window::new(Window::FIRST, PAGES * PAGE as u32);
/// The child's memory, in its table.
const MEMORY: u8 = 100;
/// The copy, in the parent's.
const COPY: CapRef = CapRef::local(91);
/// Everything went wrong, not only for the child.
pub const ERROR: u64 = u64::MAX;

/// Copies the pages that were written since this was last done; returns how many.
fn copy_written(memory: CapRef, from: CapRef, to: CapRef) -> Result<u64, Refused> {
    let mut bitmap = [0; PAGES as usize / 8];
    let pages = dirty(memory, &mut bitmap)?;
    for page in (0..u64::from(PAGES)).filter(|page| bitmap[*page as usize / 8] >> (page % 8) & 1 != 0) {
        copy_bytes(from, page * PAGE, PAGE, to, page * PAGE)?;
    }
    // What was copied back counts as written, and is not news.
    dirty(memory, &mut bitmap)?;
    Ok(pages)
}

/// Has a child do `rounds` rounds of work, of which every third ends badly and is undone: pages copied (from bit 32),
/// what the child then finds in its memory.
#[endpoint(0)]
pub fn run(_operation: u64, _arguments: u64, _length: u64, rounds: u64) -> u64 {
    work(rounds).unwrap_or(ERROR)
}

fn work(rounds: u64) -> Result<u64, Refused> {
    let child = Vm::spawn(80, 0, 2)?;
    let memory = child.slot(MEMORY);
    retype(UNTYPED, PAGES.into(), memory)?;
    retype(UNTYPED, PAGES.into(), COPY)?;
    map(memory, Window::FIRST / PAGE as u32, 0, PAGES, Access::ReadWrite)?;
    let mut copied = 0;
    let mut outcome = child.call([1, 0, 0, 0])?;
    for round in 1..=rounds {
        let (from, to) = match outcome {
            Ended::Reply(_) => (memory, COPY),
            _ => (COPY, memory),
        };
        copied += copy_written(memory, from, to)?;
        if round == rounds {
            break;
        }
        // After a fault the child is resumed behind nothing: its work is a fresh VM's.
        outcome = if matches!(outcome, Ended::Reply(_)) {
            child.call([1, round, 0, 0])?
        } else {
            renew(child, round)?
        };
    }
    let Ended::Reply(sum) = fresh(child)?.call([2, 0, 0, 0])? else { return Err(Refused) };
    Ok(copied << 32 | sum)
}

/// A VM that goes on where a faulted one cannot: it gets its memory.
fn fresh(old: Vm) -> Result<Vm, Refused> {
    use javm_guest::microkernel::{drop_cap, move_cap};
    let passing = CapRef::local(92);
    move_cap(old.slot(MEMORY), passing)?;
    drop_cap(old.handle())?;
    let new = Vm::spawn(80, 0, 2)?;
    move_cap(passing, new.slot(MEMORY))?;
    map(new.slot(MEMORY), Window::FIRST / PAGE as u32, 0, PAGES, Access::ReadWrite)?;
    Ok(new)
}

fn renew(old: Vm, round: u64) -> Result<Ended, Refused> {
    fresh(old)?.call([1, round, 0, 0])
}

/// The child: a round of work writes to a few pages; every third round traps half-way.
#[endpoint(1)]
pub fn round(_endpoint: u64, round: u32) -> u64 {
    for n in 0..4 {
        let page = (round * 7 + n * 3) % PAGES;
        WINDOW.write(page * PAGE as u32 + n, round as u8 + 1);
        assert!(n < 2 || round % 3 != 2, "half-way");
    }
    round.into()
}

/// The child: the sum of the bytes that rounds write.
#[endpoint(2)]
pub fn sum(_endpoint: u64) -> u64 {
    (0..PAGES)
        .flat_map(|page| (0..4).map(move |n| page * PAGE as u32 + n))
        .map(|at| u64::from(WINDOW.read(at)))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_write_four_bytes() {
        assert_eq!((round(1, 0), sum(2)), (0, 4));
        assert_eq!((round(1, 1), sum(2)), (1, 12));
    }

    #[test]
    #[should_panic(expected = "half-way")]
    fn every_third_ends_badly() {
        let _ = round(1, 2);
    }
}
