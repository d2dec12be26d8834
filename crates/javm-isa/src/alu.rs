//! The arithmetic of the machine, as pure functions of register values.
//!
//! Interpreter, constant folding and tests share these. All work modulo 2^64; a `_32` form looks at the low
//! 32 bits and sign-extends its result. Immediate forms are the same functions with the immediate in place
//! of a register. Source: Gray Paper appendix A.5.

/// Sign-extends a 32-bit result.
#[inline]
const fn sx4(v: u32) -> u64 {
    v as i32 as i64 as u64
}

macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident($a:ident, $b:ident) = $body:expr;)*) => {
        $($(#[$doc])*
        #[inline]
        #[must_use]
        pub const fn $name($a: u64, $b: u64) -> u64 {
            $body
        })*
    };
}

binary! {
    /// a + b, 32 bits.
    add_32(a, b) = sx4((a as u32).wrapping_add(b as u32));
    /// a - b, 32 bits.
    sub_32(a, b) = sx4((a as u32).wrapping_sub(b as u32));
    /// a · b, 32 bits.
    mul_32(a, b) = sx4((a as u32).wrapping_mul(b as u32));
    /// a / b unsigned, 32 bits; all ones for b = 0.
    div_u_32(a, b) = if b as u32 == 0 { u64::MAX } else { sx4(a as u32 / b as u32) };
    /// a / b signed, rounded toward zero, 32 bits; all ones for b = 0, a on overflow.
    div_s_32(a, b) = if b as u32 == 0 { u64::MAX } else { sx4((a as i32).wrapping_div(b as i32) as u32) };
    /// a mod b unsigned, 32 bits; a for b = 0.
    rem_u_32(a, b) = if b as u32 == 0 { sx4(a as u32) } else { sx4(a as u32 % b as u32) };
    /// a mod b with the sign of a, 32 bits; a for b = 0, 0 on overflow.
    rem_s_32(a, b) = if b as u32 == 0 { sx4(a as u32) } else { sx4((a as i32).wrapping_rem(b as i32) as u32) };
    /// a << (b mod 32), 32 bits.
    shlo_l_32(a, b) = sx4((a as u32) << (b as u32 % 32));
    /// a >> (b mod 32) with zeros, 32 bits.
    shlo_r_32(a, b) = sx4((a as u32) >> (b as u32 % 32));
    /// a >> (b mod 32) with the sign, 32 bits.
    shar_r_32(a, b) = sx4(((a as i32) >> (b as u32 % 32)) as u32);
    /// a rotated left by b mod 32, 32 bits.
    rot_l_32(a, b) = sx4((a as u32).rotate_left(b as u32 % 32));
    /// a rotated right by b mod 32, 32 bits.
    rot_r_32(a, b) = sx4((a as u32).rotate_right(b as u32 % 32));
    /// a + b.
    add_64(a, b) = a.wrapping_add(b);
    /// a - b.
    sub_64(a, b) = a.wrapping_sub(b);
    /// a · b.
    mul_64(a, b) = a.wrapping_mul(b);
    /// a / b unsigned; all ones for b = 0.
    div_u_64(a, b) = if b == 0 { u64::MAX } else { a / b };
    /// a / b signed, rounded toward zero; all ones for b = 0, a on overflow.
    div_s_64(a, b) = if b == 0 { u64::MAX } else { (a as i64).wrapping_div(b as i64) as u64 };
    /// a mod b unsigned; a for b = 0.
    rem_u_64(a, b) = if b == 0 { a } else { a % b };
    /// a mod b with the sign of a; a for b = 0, 0 on overflow.
    rem_s_64(a, b) = if b == 0 { a } else { (a as i64).wrapping_rem(b as i64) as u64 };
    /// a << (b mod 64).
    shlo_l_64(a, b) = a << (b % 64);
    /// a >> (b mod 64) with zeros.
    shlo_r_64(a, b) = a >> (b % 64);
    /// a >> (b mod 64) with the sign.
    shar_r_64(a, b) = ((a as i64) >> (b % 64)) as u64;
    /// a rotated left by b mod 64.
    rot_l_64(a, b) = a.rotate_left((b % 64) as u32);
    /// a rotated right by b mod 64.
    rot_r_64(a, b) = a.rotate_right((b % 64) as u32);
    /// Bitwise and.
    and(a, b) = a & b;
    /// Bitwise exclusive or.
    xor(a, b) = a ^ b;
    /// Bitwise or.
    or(a, b) = a | b;
    /// a and not b.
    and_inv(a, b) = a & !b;
    /// a or not b.
    or_inv(a, b) = a | !b;
    /// Not (a xor b).
    xnor(a, b) = !(a ^ b);
    /// Upper 64 bits of the signed product.
    mul_upper_s_s(a, b) = ((a as i64 as i128 * b as i64 as i128) >> 64) as u64;
    /// Upper 64 bits of the unsigned product.
    mul_upper_u_u(a, b) = ((a as u128 * b as u128) >> 64) as u64;
    /// Upper 64 bits of signed a · unsigned b.
    mul_upper_s_u(a, b) = ((a as i64 as i128 * b as i128) >> 64) as u64;
    /// 1 if a < b unsigned, else 0.
    set_lt_u(a, b) = (a < b) as u64;
    /// 1 if a < b signed, else 0.
    set_lt_s(a, b) = ((a as i64) < b as i64) as u64;
    /// The larger, signed.
    max(a, b) = if (a as i64) < b as i64 { b } else { a };
    /// The larger, unsigned.
    max_u(a, b) = if a < b { b } else { a };
    /// The smaller, signed.
    min(a, b) = if (a as i64) < b as i64 { a } else { b };
    /// The smaller, unsigned.
    min_u(a, b) = if a < b { a } else { b };
}

macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident($a:ident) = $body:expr;)*) => {
        $($(#[$doc])*
        #[inline]
        #[must_use]
        pub const fn $name($a: u64) -> u64 {
            $body
        })*
    };
}

unary! {
    /// Number of one bits.
    count_set_bits_64(a) = a.count_ones() as u64;
    /// Number of one bits of the low 32.
    count_set_bits_32(a) = (a as u32).count_ones() as u64;
    /// Number of leading zeros; 64 for zero.
    leading_zero_bits_64(a) = a.leading_zeros() as u64;
    /// Number of leading zeros of the low 32 bits; 32 for zero.
    leading_zero_bits_32(a) = (a as u32).leading_zeros() as u64;
    /// Number of trailing zeros; 64 for zero.
    trailing_zero_bits_64(a) = a.trailing_zeros() as u64;
    /// Number of trailing zeros of the low 32 bits; 32 for zero.
    trailing_zero_bits_32(a) = (a as u32).trailing_zeros() as u64;
    /// The low byte, sign-extended.
    sign_extend_8(a) = a as i8 as i64 as u64;
    /// The low 2 bytes, sign-extended.
    sign_extend_16(a) = a as i16 as i64 as u64;
    /// The low 2 bytes.
    zero_extend_16(a) = a as u16 as u64;
    /// The 8 bytes in reverse order.
    reverse_bytes(a) = a.swap_bytes();
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN32: u64 = i32::MIN as u64;

    #[test]
    fn division_corners() {
        assert_eq!([div_u_32(5, 1 << 32), div_s_32(5, 0), div_u_64(5, 0), div_s_64(5, 0)], [u64::MAX; 4]);
        assert_eq!(div_s_32(MIN32, u64::MAX), MIN32);
        assert_eq!(div_s_64(i64::MIN as u64, u64::MAX), i64::MIN as u64);
        assert_eq!((rem_s_32(MIN32, u64::MAX), rem_s_64(i64::MIN as u64, u64::MAX)), (0, 0));
        assert_eq!(rem_s_32(-7i64 as u64, 3), -1i64 as u64);
        assert_eq!(rem_u_32(0x8000_0000, 0), 0xFFFF_FFFF_8000_0000);
        assert_eq!(div_u_32(0xFFFF_FFFF, 1), u64::MAX);
    }

    #[test]
    fn upper_products() {
        assert_eq!(mul_upper_s_u(u64::MAX, u64::MAX), u64::MAX);
        assert_eq!(mul_upper_s_s(u64::MAX, u64::MAX), 0);
        assert_eq!(mul_upper_u_u(u64::MAX, u64::MAX), u64::MAX - 1);
    }
}
