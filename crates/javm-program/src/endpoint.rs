//! Which endpoint of an image an export becomes, and which exports are declarations instead.
//!
//! A container has no room for what an image says about its slots, so a program says it by the *names* of
//! exports that start with [`DECLARATION_PREFIX`]. They lead nowhere and are no endpoints; what they mean is
//! the publisher's business.
//!
//! Source: `capabilities.md` section 4, "From a PolkaVM program".

use javm_abi::kernel::DECLARATION_PREFIX;

use crate::program::{Export, Program};

/// Why exports do not number the endpoints of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// An index is above 255.
    #[error("export {position}: an image has endpoints 0 to 255 only")]
    TooLarge {
        /// Position among the exports that are no declarations, from 0.
        position: usize,
    },
    /// Two exports have one index.
    #[error("exports {first} and {second} are both endpoint {index}")]
    Duplicate {
        /// The index.
        index: u8,
        /// Position of the first of them.
        first: usize,
        /// Position of the second.
        second: usize,
    },
}

/// The endpoint index of the export called `name` at `position` of the export list: N where the name ends
/// in `@` and the decimal number N, else the position.
///
/// # Errors
/// [`EndpointError::TooLarge`] for an index above 255.
pub fn endpoint_index(name: &[u8], position: usize) -> Result<u8, EndpointError> {
    let suffix = name.iter().rposition(|b| *b == b'@').map(|at| &name[at + 1..]);
    let index = match suffix {
        Some(digits) if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
            digits.iter().fold(0usize, |n, d| n.saturating_mul(10).saturating_add(usize::from(d - b'0')))
        }
        _ => position,
    };
    u8::try_from(index).map_err(|_| EndpointError::TooLarge { position })
}

impl Program {
    /// The exports with their endpoint indices, in export-list order. Declarations are left out, and do not
    /// count where an index is a position.
    ///
    /// # Errors
    /// [`EndpointError`] when an index is above 255 or occurs twice.
    pub fn endpoints(&self) -> Result<Vec<(u8, &Export)>, EndpointError> {
        let mut seen = [None; 256];
        let mut endpoints = Vec::with_capacity(self.exports().len().min(256));
        let exports = self.exports().iter().filter(|export| declaration(&export.name).is_none());
        for (position, export) in exports.enumerate() {
            let index = endpoint_index(&export.name, position)?;
            if let Some(first) = seen[usize::from(index)].replace(position) {
                return Err(EndpointError::Duplicate { index, first, second: position });
            }
            endpoints.push((index, export));
        }
        Ok(endpoints)
    }

    /// What the program declares of its image, in export-list order: each the name of an export without
    /// [`DECLARATION_PREFIX`], such as `gas_slots=6,7`.
    pub fn declarations(&self) -> impl Iterator<Item = &[u8]> {
        self.exports().iter().filter_map(|export| declaration(&export.name))
    }
}

/// What the name of an export declares, if it declares something.
fn declaration(name: &[u8]) -> Option<&[u8]> {
    name.strip_prefix(DECLARATION_PREFIX.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_are_told_from_endpoints() {
        assert_eq!(declaration(b"@image:gas_slots=6,7"), Some(&b"gas_slots=6,7"[..]));
        assert_eq!(declaration(b"image:gas_slots=6"), None);
        assert_eq!(declaration(b"@3"), None);
    }

    #[test]
    fn names_number_endpoints() {
        assert_eq!(endpoint_index(b"run", 3), Ok(3));
        assert_eq!(endpoint_index(b"run@7", 3), Ok(7));
        assert_eq!(endpoint_index(b"a@b@255", 3), Ok(255));
        assert_eq!(endpoint_index(b"mail@home", 1), Ok(1));
        assert_eq!(endpoint_index(b"run@", 2), Ok(2));
        assert_eq!(endpoint_index(b"run@+1", 2), Ok(2));
        assert_eq!(endpoint_index(b"run@256", 2), Err(EndpointError::TooLarge { position: 2 }));
        assert_eq!(
            endpoint_index(b"run@99999999999999999999999", 0),
            Err(EndpointError::TooLarge { position: 0 })
        );
        assert_eq!(endpoint_index(b"run", 256), Err(EndpointError::TooLarge { position: 256 }));
    }
}
