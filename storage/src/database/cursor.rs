//! Walking ranges of keys.

use std::ops::{Range, RangeFrom, RangeFull, RangeTo};

use super::{Database, Keyspace};
use crate::{
    Error,
    snapshots::Snapshot,
    tree::{self, Attempt, Item},
};

/// Keys from one on and before another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyRange<'a> {
    /// The first key.
    pub from: &'a [u8],
    /// The first key behind; `None` for all there are.
    pub to: Option<&'a [u8]>,
}

impl From<RangeFull> for KeyRange<'_> {
    fn from(_: RangeFull) -> Self {
        KeyRange::default()
    }
}

impl<'a> From<Range<&'a [u8]>> for KeyRange<'a> {
    fn from(range: Range<&'a [u8]>) -> Self {
        KeyRange { from: range.start, to: Some(range.end) }
    }
}

impl<'a> From<RangeFrom<&'a [u8]>> for KeyRange<'a> {
    fn from(range: RangeFrom<&'a [u8]>) -> Self {
        KeyRange { from: range.start, to: None }
    }
}

impl<'a> From<RangeTo<&'a [u8]>> for KeyRange<'a> {
    fn from(range: RangeTo<&'a [u8]>) -> Self {
        KeyRange { from: &[], to: Some(range.end) }
    }
}

impl Database {
    /// Walks the keys of `range` as `at` shows them, from either end.
    ///
    /// # Errors
    /// [`Error::HistoryTrimmed`].
    pub fn cursor(
        &self,
        of: &Keyspace,
        range: KeyRange<'_>,
        at: &Snapshot,
    ) -> Result<Cursor, Error> {
        self.check_open()?;
        at.check()?;
        let walk = tree::Cursor::new(&of.0, range.from, range.to, at.version())?;
        Ok(Cursor { db: self.clone(), walk, at: at.clone() })
    }
}

/// Walks a range of keys from either end until the ends meet. It copies what it shows, so nothing
/// is held up by whoever looks at it.
#[derive(Debug)]
pub struct Cursor {
    db: Database,
    walk: tree::Cursor,
    at: Snapshot,
}

impl Cursor {
    /// The next key from the front; `None` when the ends have met. A plain call.
    ///
    /// # Errors
    /// [`Pause`](crate::Pause): [`Database::resolve`] it and ask again, nothing is skipped.
    pub fn try_next(&mut self) -> Attempt<Option<Item<'_>>> {
        self.ready(true)?;
        Ok(self.walk.taken(true))
    }

    /// The next key from the back; `None` when the ends have met. A plain call.
    ///
    /// # Errors
    /// As [`Cursor::try_next`].
    pub fn try_back(&mut self) -> Attempt<Option<Item<'_>>> {
        self.ready(false)?;
        Ok(self.walk.taken(false))
    }

    /// As [`Cursor::try_next`], waiting where that would pause.
    ///
    /// # Errors
    /// [`Error::HistoryTrimmed`], [`Error::RolledBack`].
    #[expect(clippy::should_implement_trait, reason = "what it lends ends with the next call")]
    pub async fn next(&mut self) -> Result<Option<Item<'_>>, Error> {
        self.wait_for(true).await?;
        Ok(self.walk.taken(true))
    }

    /// As [`Cursor::try_back`], waiting where that would pause.
    ///
    /// # Errors
    /// As [`Cursor::next`].
    pub async fn back(&mut self) -> Result<Option<Item<'_>>, Error> {
        self.wait_for(false).await?;
        Ok(self.walk.taken(false))
    }

    async fn wait_for(&mut self, is_front: bool) -> Result<(), Error> {
        while let Err(pause) = self.ready(is_front) {
            self.db.resolve(pause).await?;
        }
        Ok(())
    }

    /// Sees to it that the next one can be taken and is not out of date.
    #[inline]
    fn ready(&mut self, is_front: bool) -> Attempt<()> {
        self.db.check_open()?;
        self.at.check()?;
        loop {
            self.walk.fill(is_front)?;
            match self.walk.peek(is_front).and_then(|item| item.deadline) {
                Some(deadline) if deadline <= self.db.now() => {
                    self.walk.taken(is_front);
                }
                _ => return Ok(()),
            }
        }
    }
}
