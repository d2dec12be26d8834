//! `javm run --syscalls`: exploring a program without writing a host.

mod support;

use std::{
    io::Write,
    process::{Command, Stdio},
};

use support::{Ran, Scratch, guest, line};

/// Counts as the fixture expects it of its host: the numbers that its first two looks find are 40 and 47.
const SCRIPT: &str = r#"
[read_counter]
write = "2800000000000000"
returns = 1

[increment_counter]
show = 8
returns = ["0x200000000000000", 1]
"#;

fn run(script: &str, function: &str, rest: &str) -> Ran {
    let scratch = Scratch::new();
    let script = scratch.file("script.toml", script.as_bytes());
    line(&format!("run {} {function} --syscalls {script} {rest}", guest("virt_fixture")))
}

#[test]
fn a_script_answers() {
    let ran = run(SCRIPT, "add_99", "");
    let out = ran.with_code(0);
    assert!(out.starts_with("increment_counter(0xfffd"), "{out}");
    assert!(out.contains(": 6300000000000000 \"c\\x00"), "{out}");
    assert!(out.contains("    = 0x200000000000000\n"), "{out}");
    assert!(out.contains("halt") && out.contains("1 syscall"), "{out}");
    // Found 40, added 7, found 40 again: the program trusts nobody.
    let report = run(SCRIPT, "counter", "--json").json(1);
    assert_eq!(
        (report["outcome"].as_str(), report["fault"]["reason"].as_str()),
        (Some("fault"), Some("trap"))
    );
    let seen = report["syscalls"].as_array().unwrap();
    let symbols: Vec<_> = seen.iter().map(|s| s["symbol"].as_str().unwrap()).collect();
    assert_eq!(symbols, ["read_counter", "increment_counter", "read_counter"]);
    assert_eq!(
        (&seen[1]["returned"], seen[1]["arguments"].as_array().unwrap().len()),
        (&(2u64 << 56).into(), 6)
    );
}

#[test]
fn answers_in_turn_end_with_the_last() {
    // The second answer is wrong, which the program notices.
    let report = run(SCRIPT, "increment_forever", "--json").json(1);
    assert_eq!((report["host_calls"]["count"].as_u64(), report["kind"].as_str()), (Some(2), Some("flat")));
    // Without end it runs until the gas is gone; the report lists a thousand.
    let endless = "[increment_counter]\nreturns = '0x200000000000000'";
    let report = run(endless, "increment_forever", "--gas 1M --json").json(1);
    assert_eq!(report["fault"]["reason"], "out-of-gas");
    assert_eq!(report["host_calls"]["count"], 1_000_000 / 126);
    assert_eq!(report["syscalls"].as_array().unwrap().len(), 1000);
}

#[test]
fn a_syscall_without_an_answer_ends_the_run() {
    let ran = run(SCRIPT, "do_subcall", "");
    let out = ran.with_code(3);
    assert!(out.contains("the script has no answer") && out.contains("pause: a syscall without"), "{out}");
    let report = run("[exit]\nstop = true", "do_exit", "--json").json(3);
    assert_eq!(report["syscalls"][0]["returned"], serde_json::Value::Null);
}

#[test]
fn a_script_that_makes_no_sense_is_refused() {
    for (script, words) in [
        ("[exit]\nwhen = 1", "unknown field `when`"),
        ("[exit]\nat = 'ra'", "the answer to `exit`: registers are a0 to a5"),
        ("[exit]\nreturns = []", "empty list"),
        ("no script", "script.toml"),
    ] {
        let ran = run(script, "do_exit", "");
        ran.with_code(2);
        assert!(ran.err.contains(words), "{}", ran.err);
    }
    // What cannot be written ends the command, not the program.
    let ran = run("[exit]\nwrite = 'ff'", "do_exit", "");
    ran.with_code(2);
    assert!(ran.err.contains("no memory that the program may write"), "{}", ran.err);
}

#[test]
fn whoever_types_answers() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_javm"))
        .args(["run", &guest("virt_fixture"), "counter", "--syscalls", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let typed = "show a0 4\nnonsense\nwrite a0 2a\nshow a0 1\n\n1\nshow 0 8\nstop\n";
    child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3), "{out}");
    assert!(out.contains(": a5a5a5a5 \"\\xa5\\xa5\\xa5\\xa5\"\n    say a number to return"), "{out}");
    assert!(out.contains(": 2a \"*\"\n    = 0x1\nincrement_counter("), "{out}");
    assert!(out.contains("registers are a0 to a5"), "{out}");
}
