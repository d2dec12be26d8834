//! The fault handler beside those of the host: before ours and after it, on several threads, with several
//! engines; and the host's own faults, which stay the host's.
//!
//! What ends a process is tested in a child: this test binary, started again with a variable set. It is here and
//! not with the engine, which runs the code that faults, because a host's handlers are unsafe code.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::{
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
};

use javm_exec::{
    Access, Backend, Config, EcallHandler, EcallKind, EcallResult, Engine, ExitOnEcall, ExitReason,
    GasCounter, Instance, Mem, Module, Reg, Regs,
};
use javm_isa::Op;
use javm_testkit::builder::{code, instr};

const CHILD: &str = "JAVM_SIGNAL_TEST_CHILD";

fn engine() -> Option<Engine> {
    Engine::new(Config::new().backend(Backend::Recompiler)).ok()
}

/// A machine that loads from the address in `a1`.
fn loader(engine: &Engine) -> Instance {
    let program = code(&[instr(Op::Ecalli, &[1]), instr(Op::LoadIndU64, &[7, 8, 0]), instr(Op::Trap, &[])]);
    let mut instance = Instance::new(&Module::new(engine, program));
    instance.gas = GasCounter::new(1 << 40);
    instance.memory.map(0x20, 1, Access::ReadWrite, None).unwrap();
    instance
}

struct Answer;

impl EcallHandler for Answer {
    fn ecall(&mut self, _: EcallKind, _: &mut Regs, _: &mut dyn Mem, _: &mut GasCounter) -> EcallResult {
        EcallResult::Continue
    }
}

fn faults(instance: &mut Instance) {
    for address in [0x2_1000u32, 0x4_0000, 0xFFFF_F000, 0x2_0FFC] {
        instance.regs.pc = 0;
        instance.gas_charged = false;
        instance.regs.set(Reg::A1, address.into());
        let page = if address == 0x2_0FFC { 0x2_1000 } else { address };
        assert_eq!(instance.run(&mut Answer), ExitReason::PageFault(page));
    }
    instance.regs.set(Reg::A1, 0x2_0000);
    assert_eq!(instance.run(&mut Answer), ExitReason::Trap);
}

static SEEN: AtomicUsize = AtomicUsize::new(0);
static PREVIOUS: AtomicUsize = AtomicUsize::new(0);

/// A host's handler that counts what it sees and passes it on.
extern "C" fn count_and_chain(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    SEEN.fetch_add(1, Ordering::SeqCst);
    let previous = PREVIOUS.load(Ordering::SeqCst);
    // SAFETY: it was installed with `SA_SIGINFO`, so it is a function of this type.
    let previous: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
        unsafe { core::mem::transmute(previous) };
    previous(signal, info, context);
}

/// A host's handler that ends the process, with a code that tells.
extern "C" fn tell(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: ends the process at once.
    unsafe { libc::_exit(42) };
}

fn install(handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void)) -> usize {
    // SAFETY: a C struct that may be all zeros.
    let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
    // SAFETY: as above.
    let mut old: libc::sigaction = unsafe { core::mem::zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the handler has the signature that the flags promise.
    assert_eq!(unsafe { libc::sigaction(libc::SIGSEGV, &raw const action, &raw mut old) }, 0);
    old.sa_sigaction
}

/// Runs one scenario in a child; its exit code, or the signal that ended it.
fn child(scenario: &str) -> (Option<i32>, Option<i32>) {
    use std::os::unix::process::ExitStatusExt;
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["scenario", "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, scenario)
        .output()
        .unwrap();
    (output.status.code(), output.status.signal())
}

fn read_address_eight() -> u8 {
    // A fault of the host. The address is hidden from the compiler.
    let address = core::hint::black_box(8usize);
    // SAFETY: none, that is the point: it happens in a child process that is meant to end by it.
    unsafe { core::ptr::read_volatile(address as *const u8) }
}

#[expect(unconditional_recursion, reason = "meant to run out of stack")]
fn recurse(n: u64) -> u64 {
    let big = core::hint::black_box([n; 256]);
    recurse(n + 1) + big[7]
}

/// What children do; nothing in the parent.
#[test]
fn scenario() {
    let Ok(scenario) = std::env::var(CHILD) else { return };
    match scenario.as_str() {
        "host fault" => {
            faults(&mut loader(&engine().unwrap()));
            read_address_eight();
        }
        "host handler before" => {
            install(tell);
            faults(&mut loader(&engine().unwrap()));
            read_address_eight();
        }
        "host handler after" => {
            let engine = engine().unwrap();
            PREVIOUS.store(install(count_and_chain), Ordering::SeqCst);
            faults(&mut loader(&engine));
            std::process::exit(if SEEN.load(Ordering::SeqCst) > 0 { 43 } else { 1 });
        }
        "stack overflow" => {
            faults(&mut loader(&engine().unwrap()));
            recurse(0);
        }
        "stack overflow in a handler" => {
            struct Deep;
            impl EcallHandler for Deep {
                fn ecall(
                    &mut self,
                    _: EcallKind,
                    _: &mut Regs,
                    _: &mut dyn Mem,
                    _: &mut GasCounter,
                ) -> EcallResult {
                    recurse(0);
                    EcallResult::Continue
                }
            }
            loader(&engine().unwrap()).run(&mut Deep);
        }
        "sent signal" => {
            faults(&mut loader(&engine().unwrap()));
            for _ in 0..2 {
                // The runtime's handler answers the first by going back to the default action.
                // SAFETY: sends a signal to this process.
                unsafe { libc::raise(libc::SIGSEGV) };
            }
        }
        "small files" => {
            let limit = libc::rlimit { rlim_cur: 1 << 20, rlim_max: 1 << 20 };
            // SAFETY: reads a limit, which is for this process alone.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) }, 0);
            assert!(javm_sys::Backing::new(256).is_ok() && javm_sys::Backing::new(257).is_err());
            std::process::exit(44);
        }
        other => panic!("{other}"),
    }
    std::process::exit(1);
}

#[test]
fn faults_of_the_host_stay_the_hosts() {
    if engine().is_none() {
        return;
    }
    assert_eq!(child("host fault"), (None, Some(libc::SIGSEGV)));
    assert_eq!(child("sent signal"), (None, Some(libc::SIGSEGV)));
    // The runtime's own handler says so and aborts.
    assert_eq!(child("stack overflow"), (None, Some(libc::SIGABRT)));
    assert_eq!(child("stack overflow in a handler"), (None, Some(libc::SIGABRT)));
}

/// Pages that windows share are a file to the system, which ends a process that makes a larger one than it may.
#[test]
fn a_limit_of_files_is_no_end() {
    if engine().is_some() {
        assert_eq!(child("small files"), (Some(44), None));
    }
}

#[test]
fn a_handler_of_the_host_gets_what_is_its_own() {
    if engine().is_none() {
        return;
    }
    assert_eq!(child("host handler before"), (Some(42), None));
    assert_eq!(child("host handler after"), (Some(43), None));
}

#[test]
fn threads_and_engines_do_not_meet() {
    let (Some(first), Some(second)) = (engine(), engine()) else { return };
    std::thread::scope(|scope| {
        for n in 0..4 {
            let engine = if n % 2 == 0 { first.clone() } else { second.clone() };
            scope.spawn(move || {
                for _ in 0..200 {
                    let mut instance = loader(&engine);
                    faults(&mut instance);
                    engine.recycle(instance.memory);
                }
            });
        }
    });
}

/// An instance runs inside the host call of another one, on the same thread, and both fault.
#[test]
fn runs_nest() {
    struct Nested(Engine, usize);
    impl EcallHandler for Nested {
        fn ecall(
            &mut self,
            _: EcallKind,
            _: &mut Regs,
            mem: &mut dyn Mem,
            _: &mut GasCounter,
        ) -> EcallResult {
            mem.write(0x2_0000, &[self.1 as u8]).unwrap();
            if self.1 != 0 {
                let mut inner = loader(&self.0);
                inner.regs.set(Reg::A1, 0x2_0000);
                let exit = inner.run(&mut Self(self.0.clone(), self.1 - 1));
                assert_eq!((exit, inner.regs.get(Reg::A0)), (ExitReason::Trap, self.1 as u64 - 1));
                faults(&mut inner);
            }
            EcallResult::Continue
        }
    }
    let Some(engine) = engine() else { return };
    let mut outer = loader(&engine);
    outer.regs.set(Reg::A1, 0x2_0000);
    assert_eq!(outer.run(&mut Nested(engine, 5)), ExitReason::Trap);
    assert_eq!(outer.regs.get(Reg::A0), 5);
}

/// An instance may be moved to another thread between runs.
#[test]
fn an_instance_goes_on_on_another_thread() {
    let Some(engine) = engine() else { return };
    let mut instance = loader(&engine);
    assert_eq!(instance.run(&mut ExitOnEcall), ExitReason::HostCall(1));
    let exit = std::thread::spawn(move || {
        instance.skip_ecall();
        instance.regs.set(Reg::A1, 0x2_0000);
        instance.run(&mut ExitOnEcall)
    });
    assert_eq!(exit.join().unwrap(), ExitReason::Trap);
}
