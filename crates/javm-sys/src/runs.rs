//! [`Runs`]: what is accessible in a window, as a list of runs of pages, one mapping of the process each.
//!
//! The one place where such a list changes and where mappings are taken from the budget for it. The invariant: runs
//! are ascending, disjoint and not empty, neighbours that could be one are one, and there are mappings for all.

use crate::{PAGE_COUNT, Short, budget::MAPPINGS};

/// Mappings that a run needs: itself, and the inaccessible one behind it.
const MAPPINGS_PER_RUN: usize = 2;

/// Mappings that are taken beyond those that are needed at the moment.
const SPARE: usize = 16;

/// Adjacent pages that are alike.
pub(crate) trait Piece: Copy {
    /// First page, and the page behind the last.
    fn range(self) -> (u32, u32);
    /// The same over another range, which does not begin before its own.
    fn over(self, first: u32, end: u32) -> Self;
    /// Whether this and `next`, which begins where this ends, are alike.
    fn goes_on_in(self, next: Self) -> bool;
}

/// The runs of a window.
#[derive(Debug)]
pub(crate) struct Runs<R> {
    list: Vec<R>,
    /// The most there may be.
    most: usize,
    /// Mappings taken from the budget.
    taken: usize,
}

impl<R> Runs<R> {
    /// No runs, of at most so many; `None` when there is not even a mapping for the window itself.
    pub(crate) fn new(most: usize) -> Option<Self> {
        let taken = MAPPINGS_PER_RUN;
        MAPPINGS.take(taken).then(|| Self { list: Vec::new(), most, taken })
    }

    #[inline]
    pub(crate) fn list(&self) -> &[R] {
        &self.list
    }

    /// Forgets all runs, which are no mappings any more.
    pub(crate) fn clear(&mut self) {
        self.list.clear();
        MAPPINGS.give(self.taken - MAPPINGS_PER_RUN);
        self.taken = MAPPINGS_PER_RUN;
    }

    /// Draws on the budget for a list of so many runs.
    fn afford(&mut self, runs: usize) -> bool {
        let needed = (runs + 1) * MAPPINGS_PER_RUN;
        if runs > self.most {
            return false;
        }
        if needed > self.taken {
            let more = needed - self.taken + SPARE;
            if !MAPPINGS.take(more) {
                return false;
            }
            self.taken += more;
        }
        true
    }
}

impl<R: Piece> Runs<R> {
    /// Those from the first on that ends behind a page.
    #[inline]
    pub(crate) fn from(&self, page: u32) -> &[R] {
        &self.list[self.list.partition_point(|r| r.range().1 <= page)..]
    }

    /// Makes `first..end` what `new` says, or inaccessible. `change` has the system do it and says whether it did.
    pub(crate) fn replace(
        &mut self,
        (first, end): (u32, u32),
        new: Option<R>,
        change: impl FnOnce() -> bool,
    ) -> Result<(), Short> {
        // Neighbours that touch are taken along, so that they can be joined.
        let from = self.list.partition_point(|r| r.range().1 < first);
        let to = self.list.partition_point(|r| r.range().0 <= end);
        let part = |run: &R, first: u32, end: u32| {
            let (first, end) = (run.range().0.max(first), run.range().1.min(end));
            (first < end).then(|| run.over(first, end))
        };
        let old = &self.list[from..to];
        let before = old.iter().filter_map(|run| part(run, 0, first));
        let behind = old.iter().filter_map(|run| part(run, end, PAGE_COUNT));
        let mut runs: Vec<R> = Vec::with_capacity(4);
        for run in before.chain(new).chain(behind) {
            let (first, end) = run.range();
            match runs.last_mut().filter(|last| last.range().1 == first && last.goes_on_in(run)) {
                Some(last) => *last = last.over(last.range().0, end),
                None => runs.push(run),
            }
        }
        if !self.afford(self.list.len() - (to - from) + runs.len()) || !change() {
            return Err(Short);
        }
        self.list.splice(from..to, runs);
        Ok(())
    }
}

impl<R> Drop for Runs<R> {
    fn drop(&mut self) {
        MAPPINGS.give(self.taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Coloured(u32, u32, u8);

    impl Piece for Coloured {
        fn range(self) -> (u32, u32) {
            (self.0, self.1)
        }

        fn over(self, first: u32, end: u32) -> Self {
            Self(first, end, self.2)
        }

        fn goes_on_in(self, next: Self) -> bool {
            self.2 == next.2
        }
    }

    /// Against an array of pages; with refusals of the system and lists that grow too long, which change nothing.
    #[test]
    fn runs_are_what_page_by_page_is() {
        let mut runs = Runs::new(12).unwrap();
        let mut pages = [0u8; 64];
        let (mut refused, mut too_long, mut seed) = (0, 0, 1u32);
        for _ in 0..5000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let first = seed >> 26;
            let end = (first + 1 + (seed >> 23 & 7)).min(64);
            let (colour, works) = ((seed >> 20 & 3) as u8, seed >> 16 & 7 != 0);
            let new = (colour != 0).then_some(Coloured(first, end, colour));
            let mut asked = false;
            let before = runs.list().to_vec();
            let done = runs.replace((first, end), new, || {
                asked = true;
                works
            });
            assert_eq!(done.is_ok(), asked && works);
            if done.is_ok() {
                pages[first as usize..end as usize].fill(colour);
            } else {
                assert_eq!(runs.list(), before);
            }
            too_long += u32::from(!asked);
            refused += u32::from(asked && !works);
            let expected = pages.chunk_by(|a, b| a == b).scan(0, |at, alike| {
                let run = Coloured(*at, *at + alike.len() as u32, alike[0]);
                *at = run.1;
                Some(run)
            });
            assert_eq!(runs.list(), expected.filter(|run| run.2 != 0).collect::<Vec<_>>());
            assert!(runs.list().len() <= 12 && runs.taken >= (runs.list().len() + 1) * MAPPINGS_PER_RUN);
            assert_eq!(runs.from(first).first(), runs.list().iter().find(|run| run.1 > first));
        }
        assert!(refused > 100 && too_long > 100, "{refused} {too_long}");
        runs.clear();
        assert_eq!((runs.list().len(), runs.taken), (0, MAPPINGS_PER_RUN));
    }
}
