//! Cursors: the keys of a range in order, from either end, as of one version.

mod batch;

use std::sync::Arc;

use batch::Batch;

use super::{
    Attempt, Keyspace, Pause,
    descend::{Arrival, Step, To, descend},
    slot::InnerSlot,
};
use crate::{
    Error, Lsn,
    page::{Fence, FenceBuf, Plain, ValuePointer},
};

/// A key of a range, with what it held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    /// The key.
    pub key: &'a [u8],
    /// Its value, unless `pointer` says that it is in the value log.
    pub value: &'a [u8],
    /// What wrote it.
    pub version: Lsn,
    /// From then on (Unix ms) it counts as deleted.
    pub deadline: Option<u64>,
    /// Where its value lies, if that is in the value log and not in memory.
    pub pointer: Option<ValuePointer>,
}

/// Walks a range of keys. It copies a leaf's entries as they stand and lets go of the leaf, so what
/// it is used for happens under no latch; which of them can be seen is found out afterwards.
///
/// The version it reads at must stay readable while it is used: a snapshot is held meanwhile.
#[derive(Debug)]
pub struct Cursor {
    source: Source,
    /// What neither end has come to: from a place to before another, or to the last key.
    from: FenceBuf,
    to: Option<FenceBuf>,
    /// Whether that is nothing.
    met: bool,
    front: Batch,
    back: Batch,
}

/// What a cursor reads.
#[derive(Debug)]
struct Source {
    keyspace: Arc<Keyspace>,
    at: Lsn,
    root: Option<Arc<InnerSlot>>,
}

impl Cursor {
    /// A cursor over the keys from `from` on and before `to`, or to the last, as of `at`.
    ///
    /// # Errors
    /// [`Error::HistoryTrimmed`] if that version can no longer be told.
    pub fn new(
        keyspace: &Arc<Keyspace>,
        from: &[u8],
        to: Option<&[u8]>,
        at: Lsn,
    ) -> Result<Cursor, Error> {
        let root = keyspace.roots().at(at).cloned();
        let met = root.is_none() || to.is_some_and(|to| to <= from);
        let source = Source { keyspace: keyspace.clone(), at, root };
        source.check()?;
        Ok(Cursor {
            source,
            from: Fence::before(from).to_buf(),
            to: to.map(|to| Fence::before(to).to_buf()),
            met,
            front: Batch::default(),
            back: Batch::default(),
        })
    }

    /// The next key from the front; `None` when the two ends have met.
    ///
    /// # Errors
    /// [`Pause`]; ask again, nothing is skipped.
    #[expect(clippy::should_implement_trait, reason = "what it lends ends with the next call")]
    #[inline]
    pub fn next(&mut self) -> Attempt<Option<Item<'_>>> {
        if let Some(found) = self.take_plain() {
            return Ok(Some(self.plain(found)));
        }
        self.fill(true)?;
        Ok(self.taken(true))
    }

    /// The next key from the back; `None` when the two ends have met.
    ///
    /// # Errors
    /// [`Pause`]; ask again, nothing is skipped.
    pub fn back(&mut self) -> Attempt<Option<Item<'_>>> {
        self.fill(false)?;
        Ok(self.taken(false))
    }

    /// Takes the next key from the front, if it is in memory and there is nothing else to it but
    /// what [`Cursor::plain`] gives: the short way through most of any range.
    #[inline]
    pub(crate) fn take_plain(&mut self) -> Option<Plain> {
        self.front.take_plain(self.source.at)
    }

    /// What was taken.
    #[inline]
    pub(crate) fn plain(&mut self, found: Plain) -> Item<'_> {
        self.front.plain(found)
    }

    /// Sees to it that the next key can be taken without a pause, if there is one.
    #[inline]
    pub(crate) fn fill(&mut self, is_front: bool) -> Attempt<()> {
        let has = match is_front {
            true => self.front.front(self.source.at).is_some(),
            false => self.back.back(self.source.at).is_some(),
        };
        if has || self.met { Ok(()) } else { self.load(is_front) }
    }

    #[cold]
    fn load(&mut self, is_front: bool) -> Attempt<()> {
        if is_front { self.load_front() } else { self.load_back() }
    }

    fn load_front(&mut self) -> Attempt<()> {
        while !self.met && self.front.front(self.source.at).is_none() {
            let (from, to) = (self.from.get(), self.to.as_ref().map(FenceBuf::get));
            self.source.load(To::At(from), from, to, &mut self.front)?;
            match self.front.fences().1 {
                Some(upper) if to.is_none_or(|to| upper < to) => self.from.set(upper),
                _ => self.met = true,
            }
        }
        Ok(())
    }

    fn load_back(&mut self) -> Attempt<()> {
        while !self.met && self.back.back(self.source.at).is_none() {
            let (from, to) = (self.from.get(), self.to.as_ref().map(FenceBuf::get));
            let way = to.map_or(To::End, To::Before);
            self.source.load(way, from, to, &mut self.back)?;
            let lower = self.back.fences().0;
            self.met = lower <= from;
            self.to = Some(lower.to_buf());
        }
        Ok(())
    }

    /// What [`Cursor::taken`] would take.
    #[inline]
    pub(crate) fn peek(&mut self, is_front: bool) -> Option<Item<'_>> {
        let (batch, here) = self.place(is_front)?;
        Some(batch.item(here))
    }

    /// Takes the next key, once [`Cursor::fill`] has seen to it.
    #[inline]
    pub(crate) fn taken(&mut self, is_front: bool) -> Option<Item<'_>> {
        let (batch, here) = self.place(is_front)?;
        batch.pass(here, is_front);
        Some(batch.item(here))
    }

    /// Where the next key is: in the batch of the other end once the ends have met.
    #[inline]
    fn place(&mut self, is_front: bool) -> Option<(&mut Batch, usize)> {
        let Cursor { source: Source { at, .. }, front, back, .. } = self;
        if is_front {
            match front.front(*at) {
                Some(here) => Some((front, here)),
                None => back.front(*at).map(|here| (back, here)),
            }
        } else {
            match back.back(*at) {
                Some(here) => Some((back, here)),
                None => front.back(*at).map(|here| (front, here)),
            }
        }
    }
}

impl Source {
    fn check(&self) -> Result<(), Error> {
        let earliest_kept = self.keyspace.earliest();
        match self.at < earliest_kept {
            true => Err(Error::HistoryTrimmed { asked: self.at, earliest_kept }),
            false => Ok(()),
        }
    }

    /// Copies the leaf that `way` leads to, and leaves of it what is between `from` and `to`.
    fn load(
        &self,
        way: To<'_>,
        from: Fence<'_>,
        to: Option<Fence<'_>>,
        batch: &mut Batch,
    ) -> Result<(), Pause> {
        let root = self.root.as_ref().expect("an empty cursor has met itself");
        batch.clear();
        loop {
            match descend(root, way, |arrival| self.copy(arrival, batch)) {
                Ok(()) => break,
                Err(Step::Restart | Step::Load | Step::Further(_)) => {
                    self.keyspace.check_there()?;
                }
                Err(Step::Structure) => self.keyspace.await_structure(),
                Err(Step::Pause(pause)) => return Err(pause),
            }
        }
        if !batch.cut(from, to, self.at) {
            return Ok(());
        }
        self.clear_doubt(root, batch).inspect_err(|_| batch.clear())
    }

    fn copy(&self, arrival: Arrival<'_>, batch: &mut Batch) -> Result<(), Step> {
        let state = arrival.slot.read();
        let content = state.content(arrival.turn)?;
        self.check().map_err(Pause::from)?;
        batch.copy(content);
        Ok(())
    }

    /// Takes the first key of `batch` away if the leaf before has the version that counts.
    fn clear_doubt(&self, root: &Arc<InnerSlot>, batch: &mut Batch) -> Result<(), Pause> {
        let key = batch.first_key();
        let mut from = self.at;
        let counts = loop {
            let way = To::At(Fence { key, version: from });
            let step = descend(root, way, |arrival| {
                let state = arrival.slot.read();
                let leaf = &state.content(arrival.turn)?.leaf;
                match (leaf.seek(key, self.at), leaf.goes_on_with(key)) {
                    ((at, true), _) => Ok(leaf.version(at)),
                    ((at, false), Some(next)) if at == leaf.count() => Err(Step::Further(next)),
                    _ => Ok(Lsn(0)),
                }
            });
            match step {
                Ok(version) => break version,
                Err(Step::Further(next)) => from = next,
                Err(Step::Restart | Step::Load) => self.keyspace.check_there()?,
                Err(Step::Structure) => self.keyspace.await_structure(),
                Err(Step::Pause(pause)) => return Err(pause),
            }
        };
        batch.decide(self.at, counts);
        Ok(())
    }
}
