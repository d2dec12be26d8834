//! A server with many clients, one of which never stops.
//!
//! For the microkernel. The server keeps a total; each client has a callable of it and nothing else. Clients take turns:
//! after each request they reply to the parent, and the next call goes on behind that. One of them loops for ever: its
//! handle has a ceiling of gas, and the others never notice.
#![no_std]
#![forbid(unsafe_code)]

use javm_guest::{
    endpoint,
    microkernel::{CapRef, Ended, Refused, Vm, ask, downgrade, drop_cap, reply, set_max_gas},
};

/// Where clients have the server.
const SERVER: CapRef = CapRef::local(1);
/// Slots of the clients' handles start here.
const FIRST_CLIENT: u8 = 100;
/// Everything went wrong.
pub const ERROR: u64 = u64::MAX;

/// Serves `clients` clients, three turns each, and one more that never stops: turns that ended with a reply (from bit
/// 48), those that ran out of gas (from bit 32), the server's total.
#[endpoint(0)]
pub fn run(_operation: u64, _arguments: u64, _length: u64, clients: u8) -> u64 {
    serve(clients).unwrap_or(ERROR)
}

fn serve(clients: u8) -> Result<u64, Refused> {
    let server = Vm::spawn(80, 0, 2)?;
    let _ready = server.call([1, 0, 0, 0])?;
    for n in 0..=clients {
        let client = Vm::spawn(FIRST_CLIENT + n, 0, 1)?;
        downgrade(server.handle(), client.slot(SERVER.slot()))?;
        set_max_gas(client.handle(), 20_000)?;
    }
    let (mut replies, mut stopped) = (0, 0);
    for _turn in 0..3 {
        for n in 0..=clients {
            let client = Vm::new(FIRST_CLIENT + n);
            // Who was thrown out stays out.
            let role = if n == clients { 3 } else { 2 };
            match client.call([role, n.into(), 0, 0]) {
                Ok(Ended::Reply(_)) => replies += 1,
                Ok(Ended::OutOfGas) => {
                    stopped += 1;
                    drop_cap(client.handle())?;
                }
                Err(Refused) if role == 3 => {}
                _ => return Err(Refused),
            }
        }
    }
    let Ended::Reply(total) = server.call([0, 0, 0, 0])? else { return Err(Refused) };
    Ok(replies << 48 | stopped << 32 | total)
}

/// The server: adds the second argument to its total.
#[endpoint(1)]
pub fn server(_endpoint: u64) -> ! {
    let mut total = 0;
    loop {
        let [_, amount, ..] = reply(total);
        total += amount;
    }
}

/// A client: asks once a turn.
#[endpoint(2)]
pub fn client(_endpoint: u64, number: u64) -> ! {
    let mut amount = number + 1;
    loop {
        let (total, _) = ask(SERVER, [0, amount, 0, 0]);
        amount += 10;
        let _turn = reply(total);
    }
}

/// A client that never stops.
#[endpoint(3)]
pub fn endless(_endpoint: u64) -> ! {
    let mut n = 0u64;
    loop {
        n = core::hint::black_box(n.wrapping_add(1));
    }
}

#[cfg(test)]
mod tests {
    use javm_guest::host::{Operation, install};

    #[test]
    #[should_panic(expected = "four turns")]
    fn a_client_asks_more_each_turn() {
        let mut turns = 0;
        install(move |operation: Operation<'_>| {
            if operation.number == 0 {
                turns += 1;
                assert!(turns < 4, "four turns");
                return [0, 0, 0];
            }
            assert_eq!(operation.registers[1], 5 + 10 * turns);
            [operation.registers[1], 0, 0]
        });
        super::client(2, 4)
    }
}
