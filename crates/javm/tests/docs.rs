//! The programs that `docs/capability-machine.md` quotes say what it quotes.

use std::{fs, path::Path};

#[test]
fn quotations_are_from_the_guests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = fs::read_to_string(root.join("docs/capability-machine.md")).unwrap();
    // A quotation follows a comment that names its file.
    let mut quotations = 0;
    for part in text.split("<!-- ").skip(1) {
        let (file, rest) =
            part.split_once(" -->\n```rust\n").expect("a comment names the file of a quotation");
        let (quoted, _) = rest.split_once("```").expect("a quotation ends");
        let source = fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(source.contains(quoted), "{file} does not say:\n{quoted}");
        quotations += 1;
    }
    assert_eq!(quotations, 9, "a quotation was added or lost its comment");
}
