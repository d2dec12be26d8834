//! `javm run`: outcomes, exit codes, arguments, data, slots, state.

mod support;

use std::fs;

use support::{ADD, FOREVER, HOST_CALL, PAGE_FAULT, Scratch, echo, golden, guest, javm, line};

#[test]
fn an_instance_halts_with_a_value_and_a_new_name() {
    let counter = guest("counter");
    let report = line(&format!("run {counter} add 5 --json")).json(0);
    assert_eq!((report["outcome"].as_str(), report["value"].as_u64()), (Some("halt"), Some(5)));
    assert_eq!(report["kind"], "instance");
    assert_ne!(report["instance"]["before"], report["instance"]["after"]);
    assert_eq!(report["entry"]["name"], "add@1");
    let gas = &report["gas"];
    assert_eq!(gas["used"].as_u64().unwrap() + gas["left"].as_u64().unwrap(), gas["limit"].as_u64().unwrap());
    for endpoint in ["add@1", "1"] {
        assert_eq!(line(&format!("run {counter} {endpoint} 5 --json")).json(0)["value"], 5);
    }
    assert_eq!(line(&format!("run {counter} --json")).json(0)["value"], 0, "endpoint 0 without one");
}

#[test]
fn numbers_are_decimal_hex_or_negative() {
    let counter = guest("counter");
    for (text, value) in
        [("-1", u64::MAX), ("0x10", 16), ("-- -0x10", u64::MAX - 15), ("18446744073709551615", u64::MAX)]
    {
        let report = line(&format!("run --json {counter} add {text}")).json(0);
        assert_eq!(report["value"].as_u64(), Some(value), "{text}");
        assert_eq!(report["value_hex"], format!("{value:#x}"));
    }
    let refused = line(&format!("run {counter} add five"));
    refused.with_code(2);
    assert!(refused.err.contains("`five` is no number"), "{}", refused.err);
}

#[test]
fn a_fault_says_where_and_changes_nothing() {
    let run = line(&format!("run {} transfer 0 1 5 --backend interpreter", guest("ledger")));
    golden("fault.txt", run.with_code(1));
    let report = line(&format!("run {} transfer 0 1 5 --json", guest("ledger"))).json(1);
    assert_eq!(report["outcome"], "fault");
    let fault = &report["fault"];
    assert_eq!((fault["reason"].as_str(), fault["code"].as_u64()), (Some("trap"), Some(1)));
    assert_eq!(fault["instruction"], "trap");
    assert!(fault["function"].as_str().unwrap().contains("ledger"), "{fault}");
    assert!(fault["line"].as_u64().is_some() && fault["file"].as_str().is_some(), "{fault}");
    assert_eq!(fault["registers"].as_array().unwrap().len(), 13);
    assert_eq!(report["instance"]["before"], report["instance"]["after"]);
}

#[test]
fn the_gas_limit_holds() {
    let scratch = Scratch::new();
    let forever = scratch.file("forever", FOREVER);
    for (text, limit) in [("1k", 1_000), ("0x100", 256), ("0", 0)] {
        let report = line(&format!("run {forever} --gas {text} --json")).json(1);
        assert_eq!(report["fault"]["reason"], "out-of-gas");
        assert_eq!(report["gas"]["limit"], limit);
        assert!(report["gas"]["used"].as_u64().unwrap() <= limit);
    }
    let per_instruction =
        line(&format!("run {forever} --gas 1000 --gas-model per-instruction --json")).json(1);
    assert_eq!(per_instruction["gas"]["used"], 1000, "each jump costs one");
    line(&format!("run {forever} --gas much")).with_code(2);
}

#[test]
fn data_goes_in_and_out_by_slot_0() {
    let scratch = Scratch::new();
    let (input, output) = (scratch.file("in", b"abc"), scratch.path("out"));
    let hashes = guest("hashes");
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    for given in [format!("@{input}"), format!("--input {input}")] {
        let report =
            line(&format!("run {hashes} digest_scratchpad {given} --output {output} --json")).json(0);
        assert_eq!((report["value"].as_u64(), report["output"]["hex"].as_str()), (Some(3), Some(digest)));
        let written: String = fs::read(&output).unwrap().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(written, digest);
    }
    let twice = line(&format!("run {hashes} digest_scratchpad @{input} @{input}"));
    twice.with_code(2);
    assert!(twice.err.contains("one slot 0"), "{}", twice.err);
    line(&format!("run {hashes} digest_scratchpad @{}", scratch.path("missing"))).with_code(2);
}

#[test]
fn slots_take_programs_data_and_states() {
    let scratch = Scratch::new();
    let (bank, ledger) = (guest("bank"), guest("ledger"));
    let state = scratch.path("bank.state");
    let first = line(&format!("run {bank} open_account --slot 1={ledger} --state {state} --json")).json(0);
    let second = line(&format!("run {bank} deposit 0 100 --state {state} --json")).json(0);
    assert_eq!(second["value"], 100);
    assert_eq!(second["instance"]["before"], first["instance"]["after"], "state lasts from run to run");
    // An overdraft: the bank answers, the ledger's fault is told, and the state is what it was.
    line(&format!("run {bank} open_account --state {state}")).with_code(0);
    let before = fs::read(&state).unwrap();
    let refused = line(&format!("run {bank} transfer 0 1 500 --state {state} --json")).json(0);
    assert_eq!(refused["value_hex"], "0x8000000000000001");
    assert_eq!(refused["handled_fault"]["reason"], "trap");
    assert_eq!(refused["instance"]["before"], refused["instance"]["after"]);
    assert_eq!(fs::read(&state).unwrap(), before);
    // A ledger with money in it, from a state file, in a new bank's slot.
    let rich = scratch.path("ledger.state");
    line(&format!("run {ledger} mint_to 0 7 --state {rich}")).with_code(0);
    let paid = scratch.path("paid.state");
    line(&format!("run {bank} open_account --slot 1={rich} --state {paid}")).with_code(0);
    assert_eq!(line(&format!("run {bank} balance 0 --state {paid} --json")).json(0)["value"], 7);
    for (slot, words) in [
        ("0=x", "slot 0 is the caller's"),
        ("256=x", "there are slots 1 to 255"),
        ("1", "N=FILE"),
        (&*format!("255=data:{ledger}"), "is part of the program"),
    ] {
        let refused = javm(&["run", &bank, "open_account", "--slot", slot]);
        refused.with_code(2);
        assert!(refused.err.contains(words), "{slot}: {}", refused.err);
    }
    let both = line(&format!("run {bank} open_account --slot 1={ledger} --state {state}"));
    both.with_code(2);
    let other = line(&format!("run {} get --state {state}", guest("counter")));
    other.with_code(2);
    assert!(other.err.contains("holds an instance of the image"), "{}", other.err);
}

#[test]
fn a_state_file_is_not_believed() {
    let scratch = Scratch::new();
    let counter = guest("counter");
    let state = scratch.path("state");
    line(&format!("run {counter} add 5 --state {state}")).with_code(0);
    let bytes = fs::read(&state).unwrap();
    for at in (0..bytes.len()).step_by(7) {
        let mut changed = bytes.clone();
        changed[at] ^= 0x40;
        fs::write(&state, &changed).unwrap();
        line(&format!("run {counter} add 1 --state {state}")).with_code(2);
        assert_eq!(fs::read(&state).unwrap(), changed, "what cannot be read is not overwritten");
    }
    fs::write(&state, &bytes).unwrap();
    let faulted = line(&format!("run {counter} add 1 --gas 3 --state {state}"));
    faulted.with_code(1);
    assert_eq!(fs::read(&state).unwrap(), bytes, "a fault leaves the state as it was");
}

#[test]
fn bare_blobs_run_flat() {
    let scratch = Scratch::new();
    let add = scratch.file("add", ADD);
    let report = line(&format!("run {add} 0 2 40 --json")).json(0);
    assert_eq!((report["kind"].as_str(), report["value"].as_u64()), (Some("flat"), Some(42)));
    assert!(report["instance"].is_null());
    let fault = scratch.file("fault", PAGE_FAULT);
    let report = line(&format!("run {fault} --json")).json(1);
    assert_eq!(report["fault"]["reason"], "page-fault");
    assert_eq!(report["fault"]["address"], 0x20000);
    golden(
        "page-fault.txt",
        line(&format!("run {fault} --backend interpreter")).with_code(1).replace(&fault, "FILE").as_str(),
    );
    for words in ["1 --slot 1=x", "0 --state x", "0 @x", "0 --input x", "0 --output x", "1", "99", "name"] {
        line(&format!("run {add} {words}")).with_code(2);
    }
}

#[test]
fn unknown_host_calls_answer_what_for_10_gas() {
    let scratch = Scratch::new();
    let file = scratch.file("call", HOST_CALL);
    let report = line(&format!("run {file} --json --gas-model per-instruction")).json(0);
    assert_eq!(report["value"].as_u64(), Some(u64::MAX - 1), "WHAT");
    assert_eq!(report["gas"]["used"], 12, "two instructions and the call");
    assert_eq!(report["host_calls"], serde_json::json!({ "count": 1, "numbers": [5] }));
    let poor = line(&format!("run {file} --json --gas-model per-instruction --gas 11")).json(1);
    assert_eq!(
        (poor["fault"]["reason"].as_str(), poor["fault"]["pc"].as_u64()),
        (Some("out-of-gas"), Some(0))
    );
}

#[test]
fn jam_programs_take_and_give_bytes() {
    let scratch = Scratch::new();
    let (program, output) = (scratch.file("echo", &echo()), scratch.path("out"));
    let text = [b"hello".as_slice(), &[0, 7, 0]].concat();
    let input = scratch.file("in", &text);
    let report = line(&format!("run {program} refine --input {input} --output {output} --json")).json(0);
    assert_eq!(report["kind"], "flat");
    assert_eq!(fs::read(&output).unwrap(), text, "bytes as they are, zeros at the end included");
    line(&format!("run {program} 0 5")).with_code(2);
    assert_eq!(line(&format!("run {program} --json")).json(0)["output"]["bytes"], 0);
}

#[test]
fn polkavm_programs_run_flat_when_asked() {
    let report = line(&format!("run {} add 5 --flat --json", guest("counter"))).json(0);
    assert_eq!((report["kind"].as_str(), report["value"].as_u64()), (Some("flat"), Some(5)));
    let bank = line(&format!("run {} open_account --flat --json", guest("bank"))).json(0);
    assert_eq!(bank["value"], 0);
}

#[test]
fn a_trace_shows_every_instruction() {
    let scratch = Scratch::new();
    let add = scratch.file("add", ADD);
    let run = line(&format!("run {add} 0 2 40 --trace --backend interpreter"));
    run.with_code(0);
    golden("trace.txt", &run.err);
    let refused = line(&format!("run {} add 5 --trace", guest("counter")));
    refused.with_code(2);
    assert!(refused.err.contains("--flat"), "{}", refused.err);
}

#[test]
fn results_are_the_same_for_every_instruction_set_of_the_linker() {
    for name in ["counter", "counter.revive_v1", "counter.latest64"] {
        let report = line(&format!("run {} add 5 --json", guest(name))).json(0);
        assert_eq!(report["value"], 5, "{name}");
    }
}

#[test]
fn usage_errors_exit_2_and_say_what_there_is() {
    let unknown = line(&format!("run {} subtract", guest("counter")));
    unknown.with_code(2);
    assert!(unknown.err.contains("there are: 1 add@1, 0 get@0"), "{}", unknown.err);
    line(&format!("run {} 200", guest("counter"))).with_code(2);
    line(&format!("run {} add 1 2 3 4 5", guest("counter"))).with_code(2);
    line("run").with_code(2);
    line("run nothing-is-here").with_code(2);
    line(&format!("run {} --backend steam", guest("counter"))).with_code(2);
    let object = line("run nothing-is-here --json").json(2);
    assert!(object["error"].as_str().unwrap().contains("nothing-is-here"));
}

/// Instances, flat programs and invocations find what a run before has compiled.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn machine_code_is_kept_in_a_folder() {
    use std::os::unix::fs::PermissionsExt as _;
    if javm_exec::Engine::default().backend() != javm_exec::Backend::Recompiler {
        return;
    }
    let scratch = Scratch::new();
    let packed = scratch.path("packed");
    line(&format!("pack {} -o {packed}", guest("vm_server"))).with_code(0);
    let files = |folder: &str| {
        let programs = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let regions = programs.filter(|path| path.is_dir()).flat_map(|path| fs::read_dir(path).unwrap());
        regions.map(|region| region.unwrap().metadata().unwrap().modified().unwrap()).collect::<Vec<_>>()
    };
    for (n, run) in
        [format!("{} add 5", guest("counter")), format!("{} add_99 --flat", guest("virt_fixture")), packed]
            .iter()
            .enumerate()
    {
        let folder = scratch.path(&format!("code-{n}"));
        let run = |options: &str| {
            let ran = line(&format!("run {run} --json {options}"));
            let mut report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
            report.as_object_mut().unwrap().remove("wall_time_ns").unwrap();
            report
        };
        let without = run("");
        assert_eq!(run(&format!("--code-cache {folder}")), without, "{n}");
        let kept = files(&folder);
        assert!(!kept.is_empty(), "{n}");
        assert_eq!(run(&format!("--code-cache {folder}")), without, "{n}");
        assert_eq!(files(&folder), kept, "{n}: nothing is compiled and written again");
    }
    let open = scratch.path("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let refused = line(&format!("run {} add 5 --code-cache {open}", guest("counter")));
    refused.with_code(2);
    assert!(refused.err.contains("others may write to the folder"), "{}", refused.err);
}
