//! Maps a file into its child's memory, page by page, as the child touches it.
//!
//! Published with the child in slot 1, the file in slot 2 and a catcher of the Pager marker in slot 5. The child
//! runs until it touches a page that it does not have; the pager leaves the page's bytes in slot 0 and resumes
//! it. The child cannot tell that it waited.
#![no_std]
#![forbid(unsafe_code)]

use javm_guest::{CallError, Data, Instance, SCRATCHPAD, Slot, Window, endpoint, image, persistent};

image! { yield_marker_slot: 5 }

const CHILD: Slot<Instance> = Slot::root(1);
const FILE: Slot<Data> = Slot::root(2);
const PAGE: Slot<Data> = SCRATCHPAD.cast();

/// A result with this bit is an error: the child's fault code, or 0 if it left the file.
pub const ERROR: u64 = 1 << 63;

persistent! {
    static SERVED: u64 = 0;
}

/// Calls an endpoint of the child, which sees the file from [`Window::FIRST`] on.
#[endpoint(0)]
pub fn run(endpoint: u8, a: u64, b: u64) -> u64 {
    let size = FILE.size();
    let mut bytes = [0; 4096];
    let mut outcome = CHILD.call(endpoint, [a, b, 0, 0]);
    loop {
        match outcome {
            Ok(value) => return value,
            Err(CallError::Faulted(code)) => return ERROR | code.number(),
            Err(CallError::Paused { page, .. }) => {
                let Some(offset) = page.checked_sub(Window::FIRST.into()).filter(|at| *at < size) else {
                    CHILD.drop_paused();
                    return ERROR;
                };
                let _ = FILE.read_into(&mut bytes, offset);
                PAGE.mint(&bytes);
                SERVED.set(SERVED.get() + 1);
                outcome = CHILD.resume();
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// How many pages were mapped, over all calls.
#[endpoint(1)]
pub fn served() -> u64 {
    SERVED.get()
}

#[cfg(test)]
mod tests {
    use super::*;
    use javm_guest::GuestOp;
    use javm_guest::host::{Operation, install};

    #[test]
    fn a_fault_is_answered_with_a_page_of_the_file() {
        install(|operation: Operation<'_>| {
            let [a, _, _, offset, ..] = operation.registers;
            match operation.row() {
                Some(GuestOp::HostDataSize) => [5000, 0, 0],
                Some(GuestOp::HostCall) => [1, 1, 0x8000_1000],
                Some(GuestOp::HostReadDataCap) => {
                    assert_eq!((a, offset), (2, 4096));
                    operation.memory[0] = 7;
                    [904, 0, 0]
                }
                Some(GuestOp::HostMintDataCap) => {
                    assert_eq!((operation.memory.len(), operation.memory[0]), (4096, 7));
                    [0, 0, 0]
                }
                // The next page is behind the file.
                Some(GuestOp::CallResume) => [1, 1, 0x8000_2000],
                Some(GuestOp::DropPaused) => [0, 0, 0],
                other => unreachable!("{other:?}"),
            }
        });
        assert_eq!((run(0, 0, 0), served()), (ERROR, 1));
    }
}
