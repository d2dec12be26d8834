//! Settling: working values become hashes, children before parents.
//!
//! A loop over an explicit stack: a value whose children are all settled is hashed and leaves the stack;
//! one with working children is marked as open and its children go on top. Only an ancestor can be open
//! when its name comes up again, so that is how a circle shows. Each value is hashed once, and each of
//! its trees only where it changed.

use std::sync::Arc;

use super::table::Content;
use super::{BASE_WEIGHT, CacheDirectory, unique};
use crate::error::CapError;
use crate::hash::CapHash;
use crate::kinds::Cap;
use crate::name::{CapHashOrRef, CapRef};

/// The working values that a value names.
fn for_each_ref(cap: &Cap, mut visit: impl FnMut(CapRef)) {
    let mut look = |name| {
        if let CapHashOrRef::Ref(reference) = name {
            visit(reference);
        }
    };
    match cap {
        Cap::CNode(cnode) => cnode.refs().for_each(|(_, name)| look(name)),
        Cap::Instance(instance) => instance.children().for_each(look),
        Cap::Image(_) | Cap::Data(_) | Cap::Type(_) => {}
    }
}

/// Replaces the working values that a value names.
fn replace_refs<E>(
    cap: &mut Cap,
    mut settled: impl FnMut(CapHashOrRef) -> Result<CapHash, E>,
) -> Result<(), E>
where
    E: From<CapError>,
{
    match cap {
        Cap::CNode(cnode) => {
            let refs: Vec<_> = cnode.refs().collect();
            for (slot, name) in refs {
                cnode.set(slot, Some(settled(name)?.into()))?;
            }
            Ok(())
        }
        Cap::Instance(instance) => instance.replace_refs(settled),
        Cap::Image(_) | Cap::Data(_) | Cap::Type(_) => Ok(()),
    }
}

impl CacheDirectory {
    /// Turns the graph under a name into settled values, and returns the hash. What is settled already costs
    /// nothing; the reference goes on to name the settled value for as long as a slot holds it.
    ///
    /// # Errors
    /// [`CapError::Dangling`] where a reference names nothing, [`CapError::Cycle`] where a value contains
    /// itself. What was settled until then stays settled; nothing is lost.
    pub fn settle(&mut self, name: CapHashOrRef) -> Result<CapHash, CapError> {
        match name {
            CapHashOrRef::Hash(hash) => Ok(hash),
            CapHashOrRef::Ref(reference) => self.settle_ref(reference),
        }
    }

    /// Replaces the working values that `cap`, which the directory does not hold, names.
    pub(super) fn settle_children(&mut self, cap: &mut Cap) -> Result<(), CapError> {
        replace_refs(cap, |name| self.settle(name))
    }

    /// The hash, if the reference names a settled value.
    fn settled_hash(&self, reference: CapRef) -> Result<Option<CapHash>, CapError> {
        match self.working.get(reference).map(|place| &place.content) {
            Some(Content::Settled(hash)) => Ok(Some(*hash)),
            Some(Content::Working(_)) => Ok(None),
            Some(Content::Free) | None => Err(CapError::Dangling { reference }),
        }
    }

    fn settle_ref(&mut self, root: CapRef) -> Result<CapHash, CapError> {
        let run = unique();
        let mut stack = vec![root];
        while let Some(&reference) = stack.last() {
            if self.settled_hash(reference)?.is_some() {
                stack.pop();
                continue;
            }
            if !self.open_children(reference, run, &mut stack)? {
                self.settle_one(reference)?;
                stack.pop();
            }
        }
        self.settled_hash(root)?.ok_or(CapError::Dangling { reference: root })
    }

    /// Puts the working children that are not settled on the stack. Returns whether there are any.
    fn open_children(
        &mut self,
        reference: CapRef,
        run: u64,
        stack: &mut Vec<CapRef>,
    ) -> Result<bool, CapError> {
        let Some(place) = self.working.get_mut(reference) else {
            return Err(CapError::Dangling { reference });
        };
        let Content::Working(cap) = &place.content else { return Ok(false) };
        // Opened before: the children were on the stack and are settled by now.
        if place.seen == run || !cap.has_refs() {
            return Ok(false);
        }
        place.seen = run;
        let (cap, before) = (Arc::clone(cap), stack.len());
        let mut cycle = None;
        for_each_ref(&cap, |child| {
            if let Some(place) = self.working.get(child)
                && let Content::Working(_) = place.content
                && place.seen == run
            {
                cycle = Some(child);
            }
            stack.push(child);
        });
        match cycle {
            Some(reference) => Err(CapError::Cycle { reference }),
            None => Ok(stack.len() > before),
        }
    }

    /// Hashes a working value whose children are settled.
    fn settle_one(&mut self, reference: CapRef) -> Result<(), CapError> {
        let Some(place) = self.working.get_mut(reference) else {
            return Err(CapError::Dangling { reference });
        };
        let Content::Working(cap) = &mut place.content else { return Ok(()) };
        let mut cap = Arc::clone(cap);
        if cap.has_refs() {
            let working = &self.working;
            replace_refs(Arc::make_mut(&mut cap), |name| match name {
                CapHashOrRef::Hash(hash) => Ok(hash),
                CapHashOrRef::Ref(child) => match working.get(child).map(|place| &place.content) {
                    Some(Content::Settled(hash)) => Ok(*hash),
                    Some(Content::Working(_) | Content::Free) | None => {
                        Err(CapError::Dangling { reference: child })
                    }
                },
            })?;
        }
        let hash = cap.hash()?;
        let weight = self
            .working
            .get_mut(reference)
            .map_or(BASE_WEIGHT, |place| std::mem::replace(&mut place.weight, BASE_WEIGHT));
        self.working.set_settled(reference, hash);
        self.hold(hash, cap, weight);
        Ok(())
    }

    pub(super) fn settling_cost(&mut self, name: CapHashOrRef, limit: u64) -> u64 {
        let CapHashOrRef::Ref(root) = name else { return 0 };
        let run = unique();
        let mut stack = vec![root];
        let mut total = 0u64;
        while let Some(reference) = stack.pop() {
            if total > limit {
                break;
            }
            let Some(place) = self.working.get_mut(reference) else { continue };
            let Content::Working(cap) = &place.content else { continue };
            if place.seen == run {
                continue;
            }
            place.seen = run;
            total = total.saturating_add(cap.hash_cost(limit));
            for_each_ref(cap, |child| stack.push(child));
        }
        total
    }
}
