//! As much of WebAssembly's binary format as it takes to make a large module out of a small one.

/// Section numbers.
const FUNCTIONS: u8 = 3;
const CODE: u8 = 10;

/// The module with its functions again and again, until there are `size` bytes of them: the copies lie behind
/// the originals and nobody calls them, so that everything else means what it meant. `None` when it is no
/// module.
pub(crate) fn repeat(module: &[u8], size: usize) -> Option<Vec<u8>> {
    let (header, mut rest) = module.split_at_checked(8)?;
    let mut sections = Vec::new();
    while let Some((&id, after)) = rest.split_first() {
        let (length, after) = number(after)?;
        let (contents, after) = after.split_at_checked(length)?;
        sections.push((id, contents));
        rest = after;
    }
    let code = sections.iter().find(|(id, _)| *id == CODE)?.1;
    let copies = size.div_ceil(code.len().max(1));
    let mut repeated = header.to_vec();
    for (id, contents) in sections {
        let contents = match id {
            FUNCTIONS | CODE => {
                let (count, entries) = number(contents)?;
                let mut vector = Vec::new();
                write_number(&mut vector, count * copies);
                vector.extend(entries.repeat(copies));
                vector
            }
            // Names and the like.
            0 => continue,
            _ => contents.to_vec(),
        };
        repeated.push(id);
        write_number(&mut repeated, contents.len());
        repeated.extend(contents);
    }
    Some(repeated)
}

/// Length of the code of a module; 0 of what is none.
#[cfg(any(feature = "wasmtime", test))]
pub(crate) fn code_len(module: &[u8]) -> usize {
    fn find(module: &[u8]) -> Option<usize> {
        let mut rest = module.get(8..)?;
        loop {
            let (&id, after) = rest.split_first()?;
            let (length, after) = number(after)?;
            if id == CODE {
                return Some(length);
            }
            rest = after.get(length..)?;
        }
    }
    find(module).unwrap_or(0)
}

/// A number of at most 32 bits, seven in a byte, and what follows it.
fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let len = bytes.iter().take(5).position(|byte| byte & 0x80 == 0)? + 1;
    let (number, rest) = bytes.split_at(len);
    let number = number.iter().rev().fold(0, |number: usize, byte| number << 7 | usize::from(byte & 0x7f));
    Some((number, rest))
}

fn write_number(bytes: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_repeated_and_the_rest_stays() {
        // Types, one function of type 0, an export, its body, a name section.
        let module = [
            &b"\0asm\x01\0\0\0"[..],
            &[1, 4, 1, 0x60, 0, 0],
            &[FUNCTIONS, 2, 1, 0],
            &[7, 5, 1, 1, b'f', 0, 0],
            &[CODE, 4, 1, 2, 0, 0x0b],
            &[0, 2, 1, b'n'],
        ]
        .concat();
        let repeated = [
            &b"\0asm\x01\0\0\0"[..],
            &[1, 4, 1, 0x60, 0, 0],
            &[FUNCTIONS, 4, 3, 0, 0, 0],
            &[7, 5, 1, 1, b'f', 0, 0],
            &[CODE, 10, 3, 2, 0, 0x0b, 2, 0, 0x0b, 2, 0, 0x0b],
        ]
        .concat();
        assert_eq!(repeat(&module, 9), Some(repeated));
        assert_eq!((code_len(&module), code_len(&module[..12])), (4, 0));
        assert_eq!(repeat(&module[..module.len() - 1], 9), None);
    }

    #[test]
    fn numbers_are_read_as_written() {
        for value in [0, 1, 127, 128, 300, 1 << 20, u32::MAX as usize] {
            let mut bytes = Vec::new();
            write_number(&mut bytes, value);
            bytes.push(7);
            assert_eq!(number(&bytes), Some((value, &[7][..])));
        }
        assert_eq!(number(&[0x80; 9]), None);
    }
}
