//! Types that travel in one register: arguments and results of endpoints.

use crate::slot::{Kind, Slot};

/// A type that an endpoint can take as an argument.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not fit a register",
    label = "an endpoint's argument is an integer of up to 64 bits, a `bool` or a `Slot`",
    note = "longer values travel as Data in slot 0"
)]
pub trait FromRegister {
    /// The value that the register holds. A number outside the type's range is the caller's mistake and
    /// faults this instance.
    fn from_register(register: u64) -> Self;
}

/// A type that an endpoint can return.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not fit a register",
    label = "an endpoint returns an integer of up to 64 bits, a `bool`, a `Slot`, `()` or `!`",
    note = "longer values travel as Data in slot 0"
)]
pub trait IntoRegister {
    /// The register that holds the value; signed numbers are sign-extended.
    fn into_register(self) -> u64;
}

macro_rules! integers {
    ($wide:ty: $($ty:ty)*) => { $(
        impl FromRegister for $ty {
            #[inline]
            fn from_register(register: u64) -> Self {
                match <$ty>::try_from(register as $wide) {
                    Ok(value) => value,
                    Err(_) => panic!("argument out of range"),
                }
            }
        }
        impl IntoRegister for $ty {
            #[inline]
            fn into_register(self) -> u64 {
                self as $wide as u64
            }
        }
    )* };
}
integers!(u64: u8 u16 u32 u64 usize);
integers!(i64: i8 i16 i32 i64 isize);

impl FromRegister for bool {
    #[inline]
    fn from_register(register: u64) -> Self {
        match register {
            0 => false,
            1 => true,
            _ => panic!("argument out of range"),
        }
    }
}

impl IntoRegister for bool {
    #[inline]
    fn into_register(self) -> u64 {
        u64::from(self)
    }
}

impl IntoRegister for () {
    #[inline]
    fn into_register(self) -> u64 {
        0
    }
}

/// A slot of *this* instance that the caller may name; a malformed path faults.
impl<K: Kind> FromRegister for Slot<K> {
    fn from_register(register: u64) -> Self {
        match javm_abi::SlotPath::decode(register) {
            Ok(path) => Self::at(path),
            Err(_) => panic!("argument is no slot path"),
        }
    }
}

impl<K: Kind> IntoRegister for Slot<K> {
    #[inline]
    fn into_register(self) -> u64 {
        self.register()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_numbers_keep_their_sign() {
        assert_eq!((-3i8).into_register(), u64::MAX - 2);
        assert_eq!(i8::from_register(u64::MAX - 2), -3);
        assert_eq!(u8::from_register(255), 255);
    }

    #[test]
    #[should_panic(expected = "argument out of range")]
    fn a_number_outside_the_range_faults() {
        let _ = u8::from_register(256);
    }

    #[test]
    #[should_panic(expected = "argument is no slot path")]
    fn a_malformed_path_faults() {
        let _ = Slot::<crate::Any>::from_register(u64::MAX);
    }
}
