//! A parent that lets its child have a service of the host through a policy.
//!
//! For the microkernel. Protocol 11 is the service. The application gets, in the slot where it expects the service, a
//! callable of a VM that looks at each request first: keys below 100, and no more than five of them. The application
//! cannot tell, and there is no way around: it holds nothing else.
#![no_std]
#![forbid(unsafe_code)]

use javm_guest::{
    endpoint,
    microkernel::{CapRef, Ended, Vm, ask, downgrade, reply},
};

/// The service, and where the application has what stands in for it.
const SERVICE: CapRef = CapRef::local(11);
/// Requests that are passed on.
const QUOTA: u64 = 5;
/// What a request that is not passed on is answered with.
pub const DENIED: u64 = 1 << 40;
/// Everything went wrong, not only for the application.
pub const ERROR: u64 = u64::MAX;

/// Runs the application with keys from `first` on.
#[endpoint(0)]
pub fn run(_operation: u64, _arguments: u64, _length: u64, first: u64) -> u64 {
    // The policy has the service, the application has nothing.
    let vms = Vm::spawn(80, 1 << 11, 2).and_then(|policy| Ok((policy, Vm::spawn(81, 0, 2)?)));
    let Ok((policy, application)) = vms else { return ERROR };
    // Called once, the policy waits for requests, whatever their first argument.
    if policy.call([1, 0, 0, 0]) != Ok(Ended::Reply(0)) {
        return ERROR;
    }
    if downgrade(policy.handle(), application.slot(SERVICE.slot())).is_err() {
        return ERROR;
    }
    match application.call([2, first, 0, 0]) {
        Ok(Ended::Reply(value)) => value,
        _ => ERROR,
    }
}

/// The policy.
#[endpoint(1)]
pub fn policy(_endpoint: u64) -> ! {
    let mut left = QUOTA;
    let mut request = reply(0);
    loop {
        let [key, ..] = request;
        request = reply(if key >= 100 || left == 0 {
            DENIED
        } else {
            left -= 1;
            ask(SERVICE, request).0
        });
    }
}

/// The application: asks for seven keys, then for one of another service, which it has not got; adds up the answers.
#[endpoint(2)]
pub fn application(_endpoint: u64, first: u64) -> u64 {
    let answers: u64 = (first..first + 7).map(|key| ask(SERVICE, [key, 0, 0, 0]).0).sum();
    let (refused, _) = ask(CapRef::local(12), [first, 0, 0, 0]);
    answers + u64::from(refused == u64::MAX - 1) * 1_000_000
}

#[cfg(test)]
mod tests {
    use javm_guest::host::{Operation, install};

    #[test]
    fn the_application_asks_eight_times() {
        let mut asked = 0;
        install(move |operation: Operation<'_>| {
            asked += 1;
            if asked == 8 { [u64::MAX - 1, 0, 0] } else { [operation.registers[0], 0, 0] }
        });
        assert_eq!(super::application(2, 10), (10..17).sum::<u64>() + 1_000_000);
    }
}
