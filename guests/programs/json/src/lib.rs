//! Parsing JSON into a tree on the heap, and walking it.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod parse;

use javm_guest::{endpoint, heap, stack_size};
pub use parse::{MAX_DEPTH, ParseError, Value, parse};
use support::fold;

stack_size!(128 * 1024);
heap!(512 * 1024);

/// The text that the kernel parses: records as a web service returns them.
pub const TEXT: &str = include_str!("sample.json");

/// A number that depends on every name, string and number of the tree and on their order.
#[must_use]
pub fn checksum(seed: u64, value: &Value<'_>) -> u64 {
    let text = |sum, text: &str| text.bytes().fold(fold(sum, 3), |sum, byte| fold(sum, u64::from(byte)));
    match value {
        Value::Null => fold(seed, 0),
        Value::Bool(value) => fold(seed, 1 + u64::from(*value)),
        Value::Integer(number) => fold(fold(seed, 4), *number as u64),
        Value::String(string) => text(seed, string),
        Value::Array(items) => items.iter().fold(fold(seed, 5), checksum),
        Value::Object(members) => {
            members.iter().fold(fold(seed, 6), |sum, (name, value)| checksum(text(sum, name), value))
        }
    }
}

/// Parses the text `n` times; returns a checksum of the trees.
#[endpoint(0)]
pub fn json(n: u64, seed: u64) -> u64 {
    (0..n).fold(seed, |sum, _| checksum(sum, &parse(TEXT).expect("the text is JSON")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_follows_from_the_text() {
        assert_eq!(json(0, 9), 9);
        assert_eq!(json(10, 1), 0x9e0d_5df7_3352_c6f0);
        assert_eq!(json(2, 1), checksum(json(1, 1), &parse(TEXT).expect("the text is JSON")));
        assert_ne!(json(1, 1), json(1, 2));
        let sum = |text| checksum(0, &parse(text).expect("is JSON"));
        assert_ne!(sum(r#"{"a": [1, 2]}"#), sum(r#"{"a": [2, 1]}"#));
        assert_ne!(sum("[[1], 2]"), sum("[1, [2]]"));
    }
}
