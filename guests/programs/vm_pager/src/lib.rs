//! A parent that gives its child the pages of a file as the child touches them.
//!
//! For the microkernel. The file is the DATA in slot 90. The child is a VM of the same code; a page that it has not got
//! is a fault that ends the call, and the parent fills the page, maps it and resumes the child, which cannot tell.
#![no_std]
#![forbid(unsafe_code)]

use javm_guest::{
    Window, endpoint,
    microkernel::{Access, CapRef, Ended, UNTYPED, Vm, copy_bytes, map, retype},
};

/// The file.
const FILE: CapRef = CapRef::local(90);
/// Its pages.
const FILE_PAGES: u32 = 16;
const PAGE: u64 = 4096;
/// What the child sees of it.
const WINDOW: Window = Window::new(Window::FIRST, FILE_PAGES * PAGE as u32);
/// The slot of the child's table in which its pages are.
const PAGES: u8 = 100;

/// Everything went wrong, not only for the child.
pub const ERROR: u64 = u64::MAX;

/// Has a child add up every `step`th byte of the file: pages that it was given (from bit 32), the sum.
#[endpoint(0)]
pub fn run(_operation: u64, _arguments: u64, _length: u64, step: u64) -> u64 {
    let Ok(child) = Vm::spawn(80, 0, 2) else { return ERROR };
    let pages = child.slot(PAGES);
    if retype(UNTYPED, FILE_PAGES.into(), pages).is_err() {
        return ERROR;
    }
    let mut served = 0;
    let mut outcome = child.call([1, 0, u64::from(WINDOW.size()), step]);
    loop {
        match outcome {
            Ok(Ended::Reply(sum)) => return served << 32 | sum,
            Ok(Ended::PageFault(address)) => {
                let Some(offset) = address.checked_sub(Window::FIRST.into()) else { return ERROR };
                let page = (offset / PAGE) as u32;
                let filled = copy_bytes(FILE, offset, PAGE, pages, offset);
                if filled
                    .and_then(|()| map(pages, Window::FIRST / PAGE as u32, page, 1, Access::ReadOnly))
                    .is_err()
                {
                    return ERROR;
                }
                served += 1;
                outcome = child.resume();
            }
            _ => return ERROR,
        }
    }
}

/// The child: the sum of every `step`th byte in a range.
#[endpoint(1)]
pub fn sum(_endpoint: u64, from: u32, to: u32, step: u32) -> u64 {
    (from..to).step_by(step.max(1) as usize).map(|offset| u64::from(WINDOW.read(offset))).sum()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_file_of_zeros_adds_up() {
        assert_eq!(super::sum(1, 0, 65_536, 512), 0);
    }
}
