//! The run itself: its gas, its events, its end.

use crate::instance::optional;
use crate::raw;
use crate::slot::AnySlot;

/// Gas left in the meter that pays for this run (GAS_LEFT).
#[must_use]
pub fn gas_left() -> u64 {
    // SAFETY: no address operand.
    let [gas, ..] = unsafe { raw::GAS_LEFT() };
    gas
}

/// Appends an event to the outcome of the whole run (EMIT): seen by the embedder if this call and all its
/// callers end well, gone if one of them faults. `on_failure` is what the embedder finds when it cannot
/// deliver the payload.
pub fn emit(payload: AnySlot, on_failure: Option<AnySlot>) {
    // SAFETY: no address operand.
    unsafe { raw::EMIT(payload.register(), optional(on_failure)) };
}

/// Ends the call with a value (REPLY), from any depth: what an endpoint's `return` does, without unwinding
/// to it.
pub fn reply(value: u64) -> ! {
    crate::memory::leave_all();
    // SAFETY: no address operand; nothing of this run is used afterwards.
    unsafe { raw::REPLY(value) };
    unreachable!("REPLY does not return")
}

/// Ends the call with a fault: all that it and its callees did is undone, and the caller sees
/// [`FaultCode::Trap`](crate::FaultCode::Trap). A panic does the same; on the host this is an ordinary one.
pub fn fault() -> ! {
    #[cfg(target_os = "none")]
    crate::link::trap();
    #[cfg(not(target_os = "none"))]
    panic!("the guest faulted")
}
