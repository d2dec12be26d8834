//! Blobs of the capability microkernel: `javm pack`, `javm run`, `javm inspect --live`.

mod support;

use support::{Scratch, golden, guest, javm, line};

/// A guest as a blob with so many pages of memory.
fn packed(scratch: &Scratch, name: &str, memory_pages: u32) -> String {
    let description = scratch.file("blob.toml", format!("memory_pages = {memory_pages}\n").as_bytes());
    let blob = scratch.path(&format!("{name}.jar"));
    line(&format!("pack {} -o {blob} -m {description}", guest(name))).with_code(0);
    blob
}

#[test]
fn a_run_says_how_it_ended() {
    let scratch = Scratch::new();
    let blob = packed(&scratch, "vm_server", 200);
    let report = line(&format!("run {blob} 0 5 --json")).json(0);
    assert_eq!(report["kind"], "invocation");
    // Fifteen replies, one client stopped, the total.
    let total: u64 = (0..5).map(|n| 3 * (n + 1) + 30).sum();
    assert_eq!(report["value"].as_u64().unwrap(), 15 << 48 | 1 << 32 | total);
    assert_eq!((&report["vms"], &report["host_calls"]["count"]), (&7.into(), &0.into()));
    for backend in ["interpreter", "recompiler"] {
        let other = line(&format!("run {blob} 0 5 --json --backend {backend}")).json(0);
        assert_eq!((&other["value"], &other["gas"]), (&report["value"], &report["gas"]));
    }
    let text = line(&format!("run {blob} 0 5"));
    assert!(text.with_code(0).contains("outcome      halt\n"), "{text:?}");

    // No such entry point: the preamble traps.
    let report = line(&format!("run {blob} 9 --json")).json(1);
    assert_eq!((&report["outcome"], &report["reason"]), (&"fault".into(), &"panic".into()));
    let report = line(&format!("run {blob} 0 5 --json --gas 20k")).json(1);
    assert_eq!((&report["reason"], &report["value"]), (&"out-of-gas".into(), &serde_json::Value::Null));
    let poor = line(&format!("run {blob} --gas 1000"));
    assert!(poor.code == Some(2) && poor.err.contains("the pages of data cost 4500 gas"), "{poor:?}");
    let slots = line(&format!("run {blob} --slot 1={blob}"));
    assert!(slots.code == Some(2) && slots.err.contains("has its capabilities"), "{slots:?}");
    let many = line(&format!("run {blob} 0 1 2 3 4"));
    assert!(many.code == Some(2) && many.err.contains("4 arguments"), "{many:?}");
}

#[test]
fn a_trace_tells_of_each_operation() {
    let scratch = Scratch::new();
    let blob = packed(&scratch, "vm_sandbox", 60);
    let ran = line(&format!("run {blob} 0 97 --trace"));
    let report = ran.with_code(0);
    assert!(report.contains("3 protocol calls, answered WHAT: 11"), "{report}");
    golden("microkernel-trace.txt", &ran.err);
}

#[test]
fn what_is_alive_is_drawn() {
    let scratch = Scratch::new();
    let blob = packed(&scratch, "vm_sandbox", 60);
    let live = |rest: &str| line(&format!("inspect {blob} --live --with 0 97 {rest}"));
    golden("microkernel-live.txt", live("--steps 12").with_code(0));
    let report = live("--steps 12 --json").json(0);
    assert_eq!(report["waiting"], serde_json::json!([0, 2]));
    assert_eq!(report["vms"][1]["caps"][0]["kind"], "PROTOCOL");
    assert_eq!(live("--json").json(0)["vms"][0]["state"], "halted");

    let plain = javm(&["inspect", &guest("vm_sandbox"), "--live"]);
    assert!(plain.code == Some(2) && plain.err.contains("only a manifest"), "{plain:?}");
}

/// A program that reads its arguments and returns them: address and length in one register.
#[test]
fn arguments_go_in_and_output_comes_out() {
    let scratch = Scratch::new();
    let text = "shlo_l_imm_64 a0, a1, 32\n or a0, a0, a2\n ecalli 0\n trap";
    let (asm, bare, blob) =
        (scratch.file("echo.asm", text.as_bytes()), scratch.path("echo.pvm"), scratch.path("echo.jar"));
    line(&format!("asm {asm} -o {bare}")).with_code(0);
    line(&format!("pack {bare} -o {blob}")).with_code(0);
    let (input, output) = (scratch.file("in", b"some bytes"), scratch.path("out"));
    let report = line(&format!("run {blob} --input {input} --output {output} --json")).json(0);
    assert_eq!(report["output_bytes"], 10);
    assert_eq!(std::fs::read(output).unwrap(), b"some bytes");
    // More than the page for arguments.
    let long = scratch.file("long", &[1; 4097]);
    let refused = line(&format!("run {blob} --input {long}"));
    assert!(refused.code == Some(2) && refused.err.contains("4097 bytes of arguments"), "{refused:?}");
}
