//! `javm disasm`, `asm`, `inspect`, `pack` and `conform`.

mod support;

use support::{ADD, FOREVER, Scratch, echo, golden, guest, line, root};

#[test]
fn disasm_prints_blocks_exports_and_instructions() {
    let file = guest("counter");
    golden("disasm-counter.txt", line(&format!("disasm {file} --bytes")).with_code(0));
    let scratch = Scratch::new();
    let add = scratch.file("add", ADD);
    let report = line(&format!("disasm {add} --json")).json(0);
    let texts: Vec<_> =
        report["instructions"].as_array().unwrap().iter().map(|i| i["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["add_64 a0, a0, a1", "jump_ind ra, 0"]);
    assert_eq!(report["instructions"][0]["bytes"], "c88707");
    assert!(
        report["instructions"][0]["block_gas"].is_u64() && report["instructions"][1]["block_gas"].is_null()
    );
}

#[test]
fn what_disasm_prints_assembles_to_the_same_program() {
    let scratch = Scratch::new();
    for name in ["bank", "hashes", "minivm"] {
        let text = scratch
            .file("text", line(&format!("disasm {} --source --bytes", guest(name))).with_code(0).as_bytes());
        let (blob, again) = (scratch.path("blob"), scratch.path("again"));
        line(&format!("asm {text} -o {blob}")).with_code(0);
        let code = |file: &str| {
            let report = line(&format!("disasm {file} --json")).json(0);
            let bytes = |i: &serde_json::Value| (i["pc"].clone(), i["bytes"].clone());
            let instructions: Vec<_> = report["instructions"].as_array().unwrap().iter().map(bytes).collect();
            (instructions, report["jump_table"].clone())
        };
        assert!(code(&guest(name)) == code(&blob), "{name}");
        let text = scratch.file("text", line(&format!("disasm {blob}")).with_code(0).as_bytes());
        line(&format!("asm {text} -o {again}")).with_code(0);
        assert!(std::fs::read(&blob).unwrap() == std::fs::read(&again).unwrap(), "{name}");
    }
}

#[test]
fn asm_makes_a_blob_that_runs() {
    let scratch = Scratch::new();
    let text = "; adds up the numbers from a0 down to 1\n    load_imm a1, 0\n.export sum @loop\nloop:\n    \
                add_64 a1, a1, a0\n    add_imm_64 a0, a0, -1\n    branch_ne_imm a0, 0, @loop\n    \
                move_reg a0, a1\n    jump_ind ra, 0\n";
    // A loop needs a block to come back to.
    let text = text.replace(".export", "    fallthrough\n.export");
    let (file, blob) = (scratch.file("sum.s", text.as_bytes()), scratch.path("sum"));
    let report = line(&format!("asm {file} -o {blob} --json")).json(0);
    assert_eq!(
        (report["instructions"].as_u64(), report["exports"][0]["name"].as_str()),
        (Some(7), Some("sum"))
    );
    assert_eq!(report["labels"]["loop"], report["exports"][0]["pc"]);
    assert_eq!(line(&format!("run {blob} 0 10 --json")).json(0)["value"], 55);
    line(&format!("asm {file}")).with_code(2);
    for (text, words) in [
        ("trap\nhop a0", "line 2, column 1: unknown instruction"),
        ("", "no instructions"),
        ("\u{1b}[2J", "line 1, column 1"),
    ] {
        let kept = std::fs::read(&blob).unwrap();
        let run = line(&format!("asm {} -o {blob}", scratch.file("bad.s", text.as_bytes())));
        run.with_code(2);
        assert!(run.err.contains(words), "{text}: {}", run.err);
        assert_eq!(std::fs::read(&blob).unwrap(), kept, "nothing is written");
    }
    line(&format!("asm {} -o {blob}", scratch.file("bytes", &[0xFF]))).with_code(2);
}

#[test]
fn disasm_shows_source_lines() {
    let out = line(&format!("disasm {} --source", guest("ledger")));
    assert!(out.with_code(0).contains(".rs:"), "{}", out.out);
}

#[test]
fn inspect_tells_what_a_program_is() {
    golden("inspect-bank.txt", line(&format!("inspect {} --blocks", guest("bank"))).with_code(0));
    let report = line(&format!("inspect {} --json", guest("bank"))).json(0);
    let run = line(&format!("run {} open_account --json", guest("bank"))).json(0);
    assert_eq!(report["image"], run["instance"]["image"], "the image that a run runs");
    assert_eq!(report["imports"][0]["operation"], "HOST_CALL");
    assert!(report["blocks"].is_null());
    let blocks = line(&format!("inspect {} --blocks --json", guest("bank"))).json(0);
    let blocks = blocks["blocks"].as_array().unwrap().clone();
    let sum = |key: &str| blocks.iter().map(|b| b[key].as_u64().unwrap()).sum::<u64>();
    assert_eq!(report["gas"]["total"], sum("gas"));
    assert_eq!(report["instructions"], sum("instructions"));
}

/// Packed alone, and with a description that names files beside it.
#[test]
fn pack_makes_a_blob_that_inspect_draws() {
    let scratch = Scratch::new();
    let blob = scratch.path("bank.jar");
    let report = line(&format!("pack {} -o {blob} --json", guest("bank"))).json(0);
    assert_eq!((&report["memory_pages"], &report["invoke_slot"]), (&5.into(), &64.into()));
    line(&format!("disasm {blob}")).with_code(0);

    let description = format!(
        "memory_pages = 100\nheap_pages = 4\nimports = {{ HOST_CALL = 7 }}\n\
         [[cap]]\ntype = \"data\"\nslot = 90\nbase_page = 0x100\naccess = \"ro\"\nfile = \"table\"\n\
         [[cap]]\ntype = \"code\"\nslot = 91\nfile = {fib:?}\n\
         [[cap]]\ntype = \"program\"\nslot = 70\nfile = {fib:?}\nstack_pages = 2\n",
        fib = guest("fib")
    );
    scratch.file("table", &[1; 5000]);
    let toml = scratch.file("bank.toml", description.as_bytes());
    let report = line(&format!("pack {} -o {blob} -m {toml} --json", guest("bank"))).json(0);
    assert_eq!(
        (&report["places"][0]["slot"], &report["places"][0]["base_page"]),
        (&71.into(), &0xFFFDE.into())
    );
    let shown = line(&format!("inspect {blob} --blocks")).with_code(0).replace(&blob, "bank.jar");
    golden("inspect-packed.txt", &shown);
    let caps = line(&format!("inspect {blob} --json")).json(0)["caps"].as_array().unwrap().clone();
    let slot = |n: u64| caps.iter().find(|c| c["slot"] == n).unwrap();
    assert_eq!((&slot(90)["page_count"], &slot(90)["access"]), (&2.into(), &"ro".into()));
    assert!(slot(91)["base_page"].is_null());

    let refused = |text: &str, why: &str| {
        let toml = scratch.file("bad.toml", text.as_bytes());
        let ran = line(&format!("pack {} -o {blob} -m {toml}", guest("bank")));
        assert_eq!(ran.code, Some(2));
        assert!(ran.err.contains(why), "{}", ran.err);
    };
    refused("nothing = 1", "unknown field `nothing`");
    refused("imports = { there = 1 }", "there is no import `there`");
    refused("memory_pages = 3", "3 pages of memory, but the capabilities have 5");
    refused("[[cap]]\ntype = \"data\"\nslot = 65\nbase_page = 0", "slot 65 is taken");
    refused("[[cap]]\ntype = \"code\"\nslot = 70\nfile = \"none\"", "none: No such file");
}

#[test]
fn inspect_of_flat_programs_says_so() {
    let scratch = Scratch::new();
    let jam = line(&format!("inspect {} --json", scratch.file("echo", &echo()))).json(0);
    assert!(jam["image"].is_null() && jam["no_image"].as_str().unwrap().contains("flat"));
    assert_eq!(jam["exports"][0]["name"], "refine");
    let other =
        line(&format!("inspect {} --gas-model per-instruction --json", scratch.file("forever", FOREVER)));
    assert_eq!(other.json(0)["gas"]["max"], 1);
}

/// Two vectors of the older schema: the first holds, the second does not.
fn vectors() -> String {
    let vector = |name: &str, a2: u64| {
        serde_json::json!({
            "name": name,
            "initial-regs": [0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0],
            "initial-pc": 0,
            "initial-page-map": [],
            "initial-memory": [],
            "initial-gas": 10000,
            "program": [0, 0, 4, 190, 135, 9, 0, 9],
            "expected-status": "panic",
            "expected-regs": [0, 0, 0, 0, 0, 0, 0, 1, 2, a2, 0, 0, 0],
            "expected-pc": 3,
            "expected-memory": [],
            "expected-gas": 9998,
        })
        .to_string()
    };
    format!("{}\n\n{}\n", vector("right", 3), vector("wrong", 4))
}

#[test]
fn conform_counts_and_names_the_first_difference() {
    let scratch = Scratch::new();
    let text = vectors();
    let file = scratch.file("v.jsonl", text.as_bytes());
    let run = line(&format!("conform {file}"));
    let out = run.with_code(1);
    assert!(out.contains(": 1 passed, 1 failed") && out.contains("  wrong: step"), "{out}");
    assert!(out.contains("register 9 is 0x3, not 0x4"), "{out}");
    let report = line(&format!("conform {file} {file} --json --backend interpreter")).json(1);
    assert_eq!((report["passed"].as_u64(), report["failed"].as_u64()), (Some(2), Some(2)));
    assert_eq!(report["files"][0]["failures"][0]["name"], "wrong");
    let right = scratch.file("right.jsonl", text.lines().next().unwrap().as_bytes());
    line(&format!("conform {right}")).with_code(0);
    line(&format!("conform {right} --gas pipeline")).with_code(0);
    let broken = line(&format!("conform {}", scratch.file("broken", b"{\"name\":")));
    broken.with_code(2);
    assert!(broken.err.contains("line 1"), "{}", broken.err);
    line("conform").with_code(2);
}

#[test]
fn conform_passes_the_shared_vectors() {
    let folder = root().join("../shared/vectors");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("no vectors beside the repository: nothing to run");
        return;
    };
    let mut files: Vec<_> = entries.map(|e| e.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "jsonl"));
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let run = line(&format!("conform {}", file.display()));
        print!("{}", run.with_code(0));
    }
}

#[test]
fn numberings_can_be_chosen() {
    let scratch = Scratch::new();
    // 102 is count_set_bits_64 in 0.7 and count_set_bits_32 in 0.8.
    let file = scratch.file("count", &[0, 0, 3, 102, 0x77, 0, 0b101]);
    let text =
        |numbering: &str| line(&format!("disasm {file} --numbering {numbering}")).with_code(0).to_owned();
    assert!(text("0.7").contains("count_set_bits_64"));
    assert!(text("0.8").contains("count_set_bits_32"));
    assert!(text("canonical").contains("count_set_bits_32"));
    line(&format!("disasm {file} --format polkavm")).with_code(2);
}
