//! A long computation that can be put aside between its steps.
//!
//! It keeps nothing but its stack: whoever catches the marker in slot 1 gets the state so far as a Data, and may
//! resume at once, later, elsewhere, more than once, or never.
#![no_std]
#![forbid(unsafe_code)]

use javm_guest::{Data, Instance, SCRATCHPAD, Slot, endpoint};
use support::{Numbers, fold};

const CHECKPOINT: Slot<Instance> = Slot::root(1);
const PROGRESS: Slot<Data> = SCRATCHPAD.cast();

/// Numbers taken into the checksum in each step.
const PER_STEP: usize = 1000;

/// Takes so many steps, and yields after each with its number and the checksum so far, 8 bytes each. Whoever
/// leaves something in slot 0 when resuming ends it early. Returns the checksum.
#[endpoint(0)]
pub fn run(steps: u64, seed: u64) -> u64 {
    let mut numbers = Numbers::new(seed);
    let mut checksum = 0;
    for step in 1..=steps {
        checksum = (0..PER_STEP).fold(checksum, |checksum, _| fold(checksum, numbers.next_u64()));
        let mut progress = [0; 16];
        progress[..8].copy_from_slice(&step.to_le_bytes());
        progress[8..].copy_from_slice(&checksum.to_le_bytes());
        PROGRESS.mint(&progress);
        CHECKPOINT.yield_marker();
        if !PROGRESS.is_empty() {
            break;
        }
    }
    checksum
}

#[cfg(test)]
mod tests {
    use super::*;
    use javm_guest::GuestOp;
    use javm_guest::host::{Operation, install};

    /// A kernel that resumes so many times, and then leaves something in slot 0.
    fn stop_after(mut steps: u64) {
        install(move |operation: Operation<'_>| match operation.row() {
            Some(GuestOp::HostYield) => {
                steps -= 1;
                [0; 3]
            }
            Some(GuestOp::MgmtKind) => [if steps == 0 { 3 } else { 0 }, 0, 0],
            other => {
                assert_eq!(other, Some(GuestOp::HostMintDataCap));
                [0; 3]
            }
        });
    }

    #[test]
    fn a_job_takes_its_steps() {
        stop_after(100);
        let (two, three) = (run(2, 1), run(3, 1));
        assert_ne!(two, three);
        stop_after(2);
        assert_eq!(run(3, 1), two);
        // The blob gives the same.
        assert_eq!(three, 0x0F01_1BD7_C1FC_DCB8);
    }
}
