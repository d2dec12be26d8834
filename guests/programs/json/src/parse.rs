//! A parser of JSON with integers. It is recursive to a fixed depth and takes no more memory than a small
//! multiple of its text.

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

/// How deep arrays and objects may nest.
pub const MAX_DEPTH: usize = 64;

/// A JSON value; strings without escapes stay in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number without fraction or exponent.
    Integer(i64),
    /// A string.
    String(Cow<'a, str>),
    /// An array.
    Array(Vec<Value<'a>>),
    /// An object; of members with one name, the last counts.
    Object(BTreeMap<Cow<'a, str>, Value<'a>>),
}

/// The text is not JSON (or not this kind of it) from this byte on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Offset in the text.
    pub offset: usize,
}

/// Parses a text that is one value.
///
/// # Errors
/// [`ParseError`] at the first byte that cannot be part of one.
pub fn parse(text: &str) -> Result<Value<'_>, ParseError> {
    let mut parser = Parser { text, at: 0 };
    let value = parser.value(MAX_DEPTH)?;
    if parser.peek().is_some() { parser.fail() } else { Ok(value) }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn fail<T>(&self) -> Result<T, ParseError> {
        Err(ParseError { offset: self.at })
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        while self.byte().is_some_and(|byte| b" \t\r\n".contains(&byte)) {
            self.at += 1;
        }
        self.byte()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), ParseError> {
        if self.eat(byte) { Ok(()) } else { self.fail() }
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Result<Value<'a>, ParseError> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return self.fail();
        }
        self.at += word.len();
        Ok(value)
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, ParseError> {
        match self.peek() {
            Some(b'n') => self.word("null", Value::Null),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'"') => self.string().map(Value::String),
            Some(b'-' | b'0'..=b'9') => self.integer(),
            Some(b'[') if depth > 0 => self.array(depth - 1),
            Some(b'{') if depth > 0 => self.object(depth - 1),
            _ => self.fail(),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value<'a>, ParseError> {
        let mut items = Vec::new();
        self.expect(b'[')?;
        if !self.eat(b']') {
            loop {
                items.push(self.value(depth)?);
                if !self.eat(b',') {
                    break;
                }
            }
            self.expect(b']')?;
        }
        Ok(Value::Array(items))
    }

    fn object(&mut self, depth: usize) -> Result<Value<'a>, ParseError> {
        let mut members = BTreeMap::new();
        self.expect(b'{')?;
        if !self.eat(b'}') {
            loop {
                self.peek();
                let name = self.string()?;
                self.expect(b':')?;
                members.insert(name, self.value(depth)?);
                if !self.eat(b',') {
                    break;
                }
            }
            self.expect(b'}')?;
        }
        Ok(Value::Object(members))
    }

    fn integer(&mut self) -> Result<Value<'a>, ParseError> {
        let start = self.at;
        self.at += usize::from(self.byte() == Some(b'-'));
        let digits = self.at;
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        let leading_zero = self.at - digits > 1 && self.text.as_bytes()[digits] == b'0';
        match self.text[start..self.at].parse() {
            Ok(number) if !leading_zero => Ok(Value::Integer(number)),
            _ => Err(ParseError { offset: start }),
        }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, ParseError> {
        if self.byte() != Some(b'"') {
            return self.fail();
        }
        self.at += 1;
        let mut start = self.at;
        let mut decoded = String::new();
        loop {
            match self.byte() {
                Some(b'"') => break,
                Some(b'\\') => {
                    decoded.push_str(&self.text[start..self.at]);
                    decoded.push(self.escape()?);
                    start = self.at;
                }
                Some(0x20..) => self.at += 1,
                _ => return self.fail(),
            }
        }
        let rest = &self.text[start..self.at];
        self.at += 1;
        Ok(if decoded.is_empty() { Cow::Borrowed(rest) } else { Cow::Owned(decoded + rest) })
    }

    fn escape(&mut self) -> Result<char, ParseError> {
        let kind = self.text.as_bytes().get(self.at + 1);
        let (character, length) = match kind {
            Some(byte @ (b'"' | b'\\' | b'/')) => (char::from(*byte), 2),
            Some(b'n') => ('\n', 2),
            Some(b't') => ('\t', 2),
            Some(b'r') => ('\r', 2),
            Some(b'b') => ('\u{8}', 2),
            Some(b'f') => ('\u{c}', 2),
            Some(b'u') => {
                let digits = self.text.get(self.at + 2..self.at + 6).filter(|d| !d.starts_with('+'));
                let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
                match code.and_then(char::from_u32) {
                    Some(character) => (character, 6),
                    None => return self.fail(),
                }
            }
            _ => return self.fail(),
        };
        self.at += length;
        Ok(character)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read() {
        let text = r#" {"a": [1, -20, true, null], "b\u0041\n": "x\\y", "": {}} "#;
        let Value::Object(members) = parse(text).expect("is JSON") else { panic!("is an object") };
        let items = Vec::from([Value::Integer(1), Value::Integer(-20), Value::Bool(true), Value::Null]);
        assert_eq!(members["a"], Value::Array(items));
        assert_eq!(members["bA\n"], Value::String("x\\y".into()));
        assert_eq!(members[""], Value::Object(BTreeMap::new()));
    }

    #[test]
    fn mistakes_are_found_where_they_are() {
        for (text, offset) in [
            ("", 0),
            ("[1, 2", 5),
            ("[1 2]", 3),
            ("{\"a\" 1}", 5),
            ("{a: 1}", 1),
            ("01", 0),
            ("\"\\x\"", 1),
            ("\"\\ud800\"", 1),
            ("nul", 0),
            ("1.5", 1),
            ("99999999999999999999", 0),
            ("\"open", 5),
        ] {
            assert_eq!(parse(text), Err(ParseError { offset }), "{text}");
        }
    }

    #[test]
    fn nesting_has_an_end() {
        let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
        assert!(parse(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(parse(&nested(MAX_DEPTH + 1)), Err(ParseError { offset: MAX_DEPTH }));
    }
}
