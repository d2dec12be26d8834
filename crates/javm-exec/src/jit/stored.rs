//! A compiled region as bytes: [`encode`], [`decode`].
//!
//! Nothing is trusted here but lengths are checked; whether the bytes are what this crate wrote is for
//! [`disk`](super::disk) to know.

use super::region::{Block, Link, Mark, RegionTables, Site};
use crate::EcallKind;

/// What stands for an `ecall` where an `ecalli` has its number.
const ECALL: u64 = 1 << 32;

/// The bytes of a region: its numbers, its tables, its machine code.
pub(super) fn encode(tables: &RegionTables, code: &[u8]) -> Vec<u8> {
    let RegionTables { first_block, end, len, calls, blocks, marks, lengths, sites, links, rounds, ways_in } =
        tables;
    let mut out = Writer(Vec::with_capacity(tables.size() + code.len() + 64));
    let counts = [
        blocks.len(),
        marks.len(),
        lengths.len(),
        sites.len(),
        links.len(),
        rounds.len(),
        ways_in.len(),
        code.len(),
    ];
    out.numbers([*first_block, *end, *len, *calls]);
    out.numbers(counts.map(|count| count as u32));
    blocks.iter().for_each(|block| out.numbers([block.native, block.cost]));
    marks.iter().chain(rounds).chain(ways_in).for_each(|mark| out.numbers([mark.pc, mark.native]));
    for Site { pc, next, kind } in sites {
        out.numbers([*pc, *next]);
        let number = match kind {
            EcallKind::Ecall => ECALL,
            EcallKind::Ecalli(number) => u64::from(*number),
        };
        out.0.extend(number.to_le_bytes());
    }
    links.iter().for_each(|link| out.numbers([link.patch, link.detour, link.target]));
    out.0.extend_from_slice(lengths);
    out.0.extend_from_slice(code);
    out.0
}

/// A region from its bytes; `None` when they are too few or too many.
pub(super) fn decode(bytes: &[u8]) -> Option<(RegionTables, &[u8])> {
    let mut from = Reader(bytes);
    let [first_block, end, len, calls] = from.numbers()?;
    let [blocks, marks, lengths, sites, links, rounds, ways_in, code] =
        from.numbers()?.map(|count| count as usize);
    let mark = |from: &mut Reader<'_>| {
        let [pc, native] = from.numbers()?;
        Some(Mark { pc, native })
    };
    let tables = RegionTables {
        first_block,
        end,
        len,
        calls,
        blocks: from.list(blocks, 8, |from| {
            let [native, cost] = from.numbers()?;
            Some(Block { native, cost })
        })?,
        marks: from.list(marks, 8, mark)?,
        rounds: from.list(rounds, 8, mark)?,
        ways_in: from.list(ways_in, 8, mark)?,
        sites: from.list(sites, 16, |from| {
            let [pc, next] = from.numbers()?;
            let kind = match u64::from_le_bytes(*from.0.split_off(..8)?.first_chunk()?) {
                ECALL => EcallKind::Ecall,
                number => EcallKind::Ecalli(u32::try_from(number).ok()?),
            };
            Some(Site { pc, next, kind })
        })?,
        links: from.list(links, 12, |from| {
            let [patch, detour, target] = from.numbers()?;
            Some(Link { patch, detour, target })
        })?,
        lengths: from.0.split_off(..lengths)?.into(),
    };
    (from.0.len() == code && code == len as usize).then_some((tables, from.0))
}

struct Writer(Vec<u8>);

impl Writer {
    fn numbers<const N: usize>(&mut self, numbers: [u32; N]) {
        numbers.iter().for_each(|number| self.0.extend(number.to_le_bytes()));
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn numbers<const N: usize>(&mut self) -> Option<[u32; N]> {
        let (chunks, _) = self.0.split_off(..4 * N)?.as_chunks::<4>();
        let mut numbers = [0; N];
        numbers.iter_mut().zip(chunks).for_each(|(number, bytes)| *number = u32::from_le_bytes(*bytes));
        Some(numbers)
    }

    /// `count` things of `size` bytes each: no room is made before it is known that they are there.
    fn list<T>(
        &mut self,
        count: usize,
        size: usize,
        mut read: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Box<[T]>> {
        (count.checked_mul(size)? <= self.0.len()).then_some(())?;
        (0..count).map(|_| read(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_is_decoded_and_nothing_shorter_or_longer() {
        let tables = RegionTables {
            first_block: 7,
            end: 4100,
            len: 3,
            calls: 90,
            blocks: [Block { native: 1, cost: 2 }, Block { native: 3, cost: u32::MAX }].into(),
            marks: [Mark { pc: 4, native: 5 }].into(),
            lengths: [6, 7, 8].into(),
            sites: [
                Site { pc: 9, next: 10, kind: EcallKind::Ecall },
                Site { pc: 11, next: 12, kind: EcallKind::Ecalli(u32::MAX) },
            ]
            .into(),
            links: [Link { patch: 13, detour: 14, target: 15 }].into(),
            rounds: [Mark { pc: 16, native: 17 }].into(),
            ways_in: [Mark { pc: 18, native: 19 }].into(),
        };
        let mut bytes = encode(&tables, &[0xC3, 0x90, 0xCC]);
        assert_eq!(decode(&bytes), Some((tables, &[0xC3, 0x90, 0xCC][..])));
        (0..bytes.len()).for_each(|len| assert_eq!(decode(&bytes[..len]), None, "{len}"));
        bytes.push(0);
        assert_eq!(decode(&bytes), None);
        assert_eq!(decode(&[0xFF; 64]), None);
    }
}
