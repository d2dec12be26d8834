//! The fault handler, and whether this machine can run emitted code at all.
//!
//! The handler does one thing: a `SIGSEGV` or `SIGBUS` that the kernel raised for an instruction of emitted
//! code continues at the exit stub, with the address of the instruction in the scratch register. What that
//! means is found out by whoever entered the code. Everything else, such as a fault of the host, its stack
//! running over, or a signal that somebody sent, goes to the handler that was there before, or to the
//! default action. It takes no locks and allocates nothing.
//!
//! A host may install a handler of its own before (it is chained to) or afterwards (it must chain to us, as
//! to any handler it finds).

use std::sync::OnceLock;

use super::code;
use crate::{
    Unsupported,
    frame::{Frame, KIND_FAULT},
};

/// Whether emitted code can run in this process. The first call installs the handler.
///
/// # Errors
/// [`Unsupported`] says why not.
pub fn check_support() -> Result<(), Unsupported> {
    static RESULT: OnceLock<Result<(), Unsupported>> = OnceLock::new();
    *RESULT.get_or_init(|| {
        for (name, has) in [
            ("BMI1", is_x86_feature_detected!("bmi1")),
            ("BMI2", is_x86_feature_detected!("bmi2")),
            ("LZCNT", is_x86_feature_detected!("lzcnt")),
            ("POPCNT", is_x86_feature_detected!("popcnt")),
        ] {
            if !has {
                return Err(Unsupported::Processor { missing: name });
            }
        }
        // SAFETY: reads a value that the kernel gave the process.
        if unsafe { libc::getauxval(libc::AT_HWCAP2) } & HWCAP2_FSGSBASE == 0 {
            return Err(Unsupported::GsBase);
        }
        if !code::is_available() || !install() {
            return Err(Unsupported::System);
        }
        Ok(())
    })
}

/// `HWCAP2_FSGSBASE`: the kernel lets programs use the instructions.
const HWCAP2_FSGSBASE: libc::c_ulong = 2;

const SIGNALS: [libc::c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

/// What handled the signals before.
static PREVIOUS: [OnceLock<libc::sigaction>; 2] = [OnceLock::new(), OnceLock::new()];

fn zeroed() -> libc::sigaction {
    // SAFETY: a C struct of numbers, an optional pointer and a set of bits; all may be zero.
    unsafe { core::mem::zeroed() }
}

fn install() -> bool {
    SIGNALS.iter().zip(&PREVIOUS).all(|(signal, previous)| {
        let mut old = zeroed();
        // SAFETY: asks for the present action only.
        if unsafe { libc::sigaction(*signal, core::ptr::null(), &raw mut old) } != 0 {
            return false;
        }
        // Stored before the handler can run.
        let _ = previous.set(old);
        let mut new = zeroed();
        new.sa_sigaction = handler as *const () as usize;
        // On the signal stack, so that the host's overflow of its stack can still be handled.
        new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: the handler has the signature that the flags promise, and touches only its arguments.
        unsafe { libc::sigaction(*signal, &raw const new, core::ptr::null_mut()) == 0 }
    })
}

/// # Safety
/// Called by the kernel, or by a handler that chains to it, with a signal's information and context.
unsafe extern "C" fn handler(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes valid pointers.
    let raised_by_kernel = unsafe { (*info).si_code } > 0;
    let registers = {
        let context = context.cast::<libc::ucontext_t>();
        // SAFETY: as above; nobody else looks at the context while the handler runs.
        unsafe { &mut (*context).uc_mcontext.gregs }
    };
    let at = registers[libc::REG_RIP as usize];
    if !raised_by_kernel || !code::is_emitted_code(at as usize) {
        // SAFETY: the arguments are the kernel's.
        unsafe { chain(signal, info, context) };
        return;
    }
    let frame = registers[libc::REG_RSP as usize] as *mut Frame;
    // SAFETY: emitted code keeps the stack pointer at its frame where it accesses memory.
    let frame = unsafe { &mut *frame };
    frame.kind = u64::from(KIND_FAULT);
    registers[libc::REG_RDX as usize] = at;
    registers[libc::REG_RIP as usize] = frame.exit as i64;
}

/// Does what would be done without us.
///
/// # Safety
/// The arguments are those of the handler.
unsafe fn chain(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let n = usize::from(signal == SIGNALS[1]);
    let Some(previous) = PREVIOUS[n].get() else { return };
    // SAFETY: the kernel passed a valid pointer.
    let sent = unsafe { (*info).si_code } <= 0;
    match previous.sa_sigaction {
        libc::SIG_IGN if sent => {}
        libc::SIG_DFL | libc::SIG_IGN => {
            let default = zeroed();
            // SAFETY: the default action; returning repeats the fault, which then ends the process.
            unsafe { libc::sigaction(signal, &raw const default, core::ptr::null_mut()) };
            if sent {
                // SAFETY: repeats the signal, which a return alone would not.
                unsafe { libc::raise(signal) };
            }
        }
        address if previous.sa_flags & libc::SA_SIGINFO != 0 => {
            type Action = unsafe extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
            // SAFETY: an action with this flag is a function of this type.
            let action = unsafe { core::mem::transmute::<usize, Action>(address) };
            // SAFETY: called as the kernel would call it.
            unsafe { action(signal, info, context) };
        }
        address => {
            // SAFETY: an action without the flag is a function of this type.
            let action = unsafe { core::mem::transmute::<usize, unsafe extern "C" fn(libc::c_int)>(address) };
            // SAFETY: called as the kernel would call it.
            unsafe { action(signal) };
        }
    }
}
