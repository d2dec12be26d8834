//! What a wallet and its vault say to each other: a Data in slot 0, and a Data back.

/// What a wallet asks of its vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// How much is there?
    Balance,
    /// Move so much to an account.
    Pay {
        /// The account.
        to: u64,
        /// How much.
        amount: u64,
    },
}

/// Length of a request in bytes.
pub const REQUEST: usize = 24;

/// An answer with this bit is a refusal; others are the balance that is left.
pub const REFUSED: u64 = 1 << 63;
/// There is no such account.
pub const NO_ACCOUNT: u64 = REFUSED | 1;
/// There is not that much money.
pub const OVERDRAFT: u64 = REFUSED | 2;

impl Request {
    /// The request in bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; REQUEST] {
        let words: [u64; 3] = match self {
            Self::Balance => [0; 3],
            Self::Pay { to, amount } => [1, to, amount],
        };
        let mut bytes = [0; REQUEST];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// What the bytes ask for; `None` if nothing that a wallet would.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; REQUEST]) -> Option<Self> {
        let word = |n: usize| u64::from_le_bytes(*bytes[8 * n..].first_chunk().expect("there are three"));
        match word(0) {
            0 => Some(Self::Balance),
            1 => Some(Self::Pay { to: word(1), amount: word(2) }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_round_trip() {
        for request in [Request::Balance, Request::Pay { to: 3, amount: u64::MAX }] {
            assert_eq!(Request::from_bytes(&request.to_bytes()), Some(request));
        }
        assert_eq!(Request::from_bytes(&[2; REQUEST]), None);
    }
}
