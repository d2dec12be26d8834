//! Rust source with comments and literals blanked out: what is left is code, where it was.

/// What the scanner is inside of.
enum State {
    Code,
    LineComment,
    /// Nesting depth.
    BlockComment(usize),
    /// Inside a string; a raw one ends at a quote and this many hashes.
    String {
        raw: Option<usize>,
    },
}

/// The text with every comment, string and character literal replaced by spaces, line by line. Rough at the
/// edges (it knows no macros), exact enough to find words in code.
pub(crate) fn code_only(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let mut out = String::with_capacity(text.len());
    let mut state = State::Code;
    let mut i = 0;
    while i < chars.len() {
        let (taken, next) = match state {
            State::Code => match (at(i), at(i + 1)) {
                ('/', '/') => (2, Some(State::LineComment)),
                ('/', '*') => (2, Some(State::BlockComment(1))),
                ('"', _) => (1, Some(State::String { raw: None })),
                ('r', '"' | '#') if !is_word(out.chars().last()) => match raw_hashes(&chars[i + 1..]) {
                    Some(hashes) => (2 + hashes, Some(State::String { raw: Some(hashes) })),
                    None => (0, None),
                },
                ('\'', '\\') => (char_literal(&chars[i..]), Some(State::Code)),
                ('\'', _) if at(i + 2) == '\'' => (3, Some(State::Code)),
                _ => (0, None),
            },
            State::LineComment if at(i) == '\n' => (1, Some(State::Code)),
            State::LineComment => (1, None),
            State::BlockComment(depth) => match (at(i), at(i + 1)) {
                ('/', '*') => (2, Some(State::BlockComment(depth + 1))),
                ('*', '/') if depth == 1 => (2, Some(State::Code)),
                ('*', '/') => (2, Some(State::BlockComment(depth - 1))),
                _ => (1, None),
            },
            State::String { raw: None } => match at(i) {
                '\\' => (2, None),
                '"' => (1, Some(State::Code)),
                _ => (1, None),
            },
            State::String { raw: Some(hashes) } => {
                let closes = at(i) == '"' && (1..=hashes).all(|n| at(i + n) == '#');
                if closes { (1 + hashes, Some(State::Code)) } else { (1, None) }
            }
        };
        if taken == 0 {
            out.push(at(i));
            i += 1;
        } else {
            let end = (i + taken).min(chars.len());
            out.extend(chars[i..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            i = end;
        }
        state = next.unwrap_or(state);
    }
    out
}

/// Whether a character continues a word.
pub(crate) fn is_word(c: Option<char>) -> bool {
    c.is_some_and(|c| c.is_alphanumeric() || c == '_')
}

/// How many hashes a raw string opens with; `None` if no raw string opens here.
fn raw_hashes(rest: &[char]) -> Option<usize> {
    let hashes = rest.iter().take_while(|c| **c == '#').count();
    (rest.get(hashes) == Some(&'"')).then_some(hashes)
}

/// Length of an escaped character literal, `'\n'` or `'\u{1F600}'`.
fn char_literal(rest: &[char]) -> usize {
    let closing = rest.iter().skip(3).position(|c| *c == '\'');
    closing.map_or(rest.len(), |n| n + 4)
}

/// Whether the code has this word, on its own; with `suffix` directly behind it.
pub(crate) fn has_word(code: &str, word: &str, suffix: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let (before, after) = (&code[..at], &code[at + word.len()..]);
        let bounded = !suffix.is_empty() || !is_word(after.chars().next());
        !is_word(before.chars().next_back()) && bounded && after.starts_with(suffix)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_no_code() {
        let text = concat!(
            "a // b\nc /* d /* e */ f */ g \"h \\\" i\" 'j' '\\'' ",
            "r#\"k \"\" l\"# 'static m b\"n\" for_r\"o\""
        );
        let words: Vec<_> = code_only(text).split_whitespace().map(str::to_owned).collect();
        assert_eq!(words, ["a", "c", "g", "'static", "m", "b", "for_r"]);
        assert_eq!(code_only(text).lines().count(), 2);
    }

    #[test]
    fn words_are_whole() {
        assert!(has_word("x unsafe {", "unsafe", ""));
        assert!(!has_word("forbid(unsafe_code)", "unsafe", ""));
        assert!(!has_word("not_unsafe", "unsafe", ""));
        assert!(has_word("dbg!(x)", "dbg", "!"));
        assert!(!has_word("dbg(x)", "dbg", "!"));
    }
}
