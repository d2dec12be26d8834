//! Files that are none: every subcommand ends with an exit code of its own and a sentence, never a panic.

mod support;

use support::{Ran, Scratch, echo, guest, javm};

/// Runs the subcommands that read a program.
fn each(file: &str, mut check: impl FnMut(&str, Ran)) {
    check("run", javm(&["run", file, "--gas", "1M"]));
    check("disasm", javm(&["disasm", file, "--source", "--bytes"]));
    check("inspect", javm(&["inspect", file, "--blocks", "--json"]));
}

fn survives(what: &str, command: &str, ran: &Ran) {
    let ended = matches!(ran.code, Some(0..=3));
    assert!(ended && !ran.err.contains("panicked"), "{what}: {command}: {ran:#?}");
    assert!(ran.code != Some(2) || ran.err.starts_with("javm: "), "{what}: {command}: {ran:#?}");
}

#[test]
fn files_that_are_no_programs_are_refused() {
    let scratch = Scratch::new();
    let mut state = 1u64;
    let random: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    })
    .take(4096)
    .collect();
    let cases: [(&str, &[u8]); 6] = [
        ("empty", b""),
        ("random", &random),
        ("text", b"#!/bin/sh\necho hello\n"),
        ("elf", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0"),
        ("polkavm", b"PVM\0"),
        ("manifest", b"JAR\x02\xff\xff\xff\xff"),
    ];
    for (name, bytes) in cases {
        let file = scratch.file(name, bytes);
        each(&file, |command, ran| {
            survives(name, command, &ran);
            assert_eq!(ran.code, Some(2), "{name}: {command}: {ran:#?}");
        });
    }
    let folder = scratch.path("");
    each(&folder, |command, ran| assert_eq!(ran.code, Some(2), "a folder: {command}: {ran:#?}"));
}

#[test]
fn damaged_programs_do_no_harm() {
    let scratch = Scratch::new();
    let bank = std::fs::read(guest("bank")).unwrap();
    for (name, bytes) in [("bank", bank), ("echo", echo())] {
        for cut in (0..bytes.len()).step_by(bytes.len() / 23 + 1) {
            let file = scratch.file("cut", &bytes[..cut]);
            each(&file, |command, ran| survives(&format!("{name} cut at {cut}"), command, &ran));
            let mut changed = bytes.clone();
            changed[cut] ^= 0xA5;
            let file = scratch.file("changed", &changed);
            each(&file, |command, ran| survives(&format!("{name} changed at {cut}"), command, &ran));
        }
    }
}

/// Blobs of the microkernel: each byte of header and entries, and some of the rest.
#[test]
fn damaged_manifests_do_no_harm() {
    let scratch = Scratch::new();
    let blob = scratch.path("blob.jar");
    assert_eq!(javm(&["pack", &guest("vm_pager"), "-o", &blob]).code, Some(0));
    let bytes = std::fs::read(&blob).unwrap();
    let entries = 10 + 19 * usize::from(bytes[8]);
    for at in (0..entries).chain((entries..bytes.len()).step_by(97)) {
        let mut changed = bytes.clone();
        changed[at] ^= 0xA5;
        let (cut, changed) = (scratch.file("cut", &bytes[..at]), scratch.file("changed", &changed));
        let what = |how: &str| format!("{how} at {at}");
        survives(&what("cut"), "inspect", &javm(&["inspect", &cut]));
        survives(&what("cut"), "run", &javm(&["run", &cut, "--gas", "1M"]));
        survives(&what("changed"), "inspect", &javm(&["inspect", &changed, "--live", "--gas", "1M"]));
        survives(&what("changed"), "run", &javm(&["run", &changed, "--gas", "1M", "--trace"]));
    }
    // As many pages as can be written down, and gas to pay for them.
    let mut large = bytes;
    let data = (10..entries).step_by(19).find(|at| large[at + 1] == 1).expect("there is a stack");
    large[4..8].fill(0xFF);
    for (pages, code) in [(0xFFu8, 2), (0x0F, 2)] {
        large[data + 6..data + 10].fill(pages);
        let file = scratch.file("large", &large);
        let ran = javm(&["run", &file, "--gas", "10000000G"]);
        survives("large", "run", &ran);
        assert_eq!(ran.code, Some(code), "{ran:#?}");
    }
}

#[test]
fn names_in_files_cannot_drive_a_terminal() {
    let scratch = Scratch::new();
    let mut blob = std::fs::read(guest("counter")).unwrap();
    let at = blob.windows(5).position(|w| w == b"add@1").expect("the export's name");
    blob[at] = 0x1b;
    let file = scratch.file("escape", &blob);
    each(&file, |command, ran| {
        assert!(!ran.out.contains('\x1b') && !ran.err.contains('\x1b'), "{command}: {ran:#?}");
    });
    assert!(javm(&["inspect", &file]).with_code(0).contains("\\u{1b}dd@1"));
}
