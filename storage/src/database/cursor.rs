//! Walking ranges of keys.

use std::{
    ops::{Range, RangeFrom, RangeFull, RangeTo},
    sync::Arc,
};

use orloj_kernel::mutant;

use super::{Database, Keyspace};
use crate::{
    Error, KeyspaceId,
    snapshots::Snapshot,
    tree::{self, Attempt, Item, LongValueMiss, Pause},
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
        let (db, at) = (self.clone(), at.clone());
        Ok(Cursor {
            db,
            walk,
            keyspace: of.id(),
            at,
            long: None,
            timeless: false,
            keys_only: false,
        })
    }

    /// As [`Database::cursor`] over all keys, and those whose time has passed are shown as well:
    /// what a version holds does not depend on when it is looked at.
    pub(crate) fn timeless_cursor(&self, of: &Keyspace, at: &Snapshot) -> Result<Cursor, Error> {
        Ok(Cursor { timeless: true, ..self.cursor(of, (..).into(), at)? })
    }
}

/// Walks a range of keys from either end until the ends meet. It copies what it shows, so nothing
/// is held up by whoever looks at it.
#[derive(Debug)]
pub struct Cursor {
    db: Database,
    walk: tree::Cursor,
    keyspace: KeyspaceId,
    at: Snapshot,
    /// The value that is shown, if it lies in the value log.
    long: Option<Arc<[u8]>>,
    /// Whether deadlines are of no meaning,
    timeless: bool,
    /// and values in the value log of no interest.
    keys_only: bool,
}

impl Cursor {
    /// The same walk, for who asks for keys and deadlines alone.
    pub(super) fn keys_only(self) -> Cursor {
        Cursor { timeless: true, keys_only: true, ..self }
    }

    /// The next key from the front; `None` when the ends have met. A plain call.
    ///
    /// # Errors
    /// [`Pause`](crate::Pause): [`Database::resolve`] it and ask again, nothing is skipped.
    #[inline]
    pub fn try_next(&mut self) -> Attempt<Option<Item<'_>>> {
        self.check()?;
        if let Some(found) = self.walk.take_plain() {
            return Ok(Some(self.walk.plain(found)));
        }
        self.ready(true)?;
        Ok(self.taken(true))
    }

    /// The next key from the back; `None` when the ends have met. A plain call.
    ///
    /// # Errors
    /// As [`Cursor::try_next`].
    pub fn try_back(&mut self) -> Attempt<Option<Item<'_>>> {
        self.ready(false)?;
        Ok(self.taken(false))
    }

    /// As [`Cursor::try_next`], waiting where that would pause.
    ///
    /// # Errors
    /// [`Error::HistoryTrimmed`], [`Error::RolledBack`].
    pub async fn next(&mut self) -> Result<Option<Item<'_>>, Error> {
        self.wait_for(true).await?;
        Ok(self.taken(true))
    }

    /// As [`Cursor::try_back`], waiting where that would pause.
    ///
    /// # Errors
    /// As [`Cursor::next`].
    pub async fn back(&mut self) -> Result<Option<Item<'_>>, Error> {
        self.wait_for(false).await?;
        Ok(self.taken(false))
    }

    async fn wait_for(&mut self, is_front: bool) -> Result<(), Error> {
        let db = self.db.clone();
        loop {
            match self.ready(is_front) {
                Ok(()) => return Ok(()),
                Err(Pause::Value(miss)) => {
                    let files = db.0.files.as_ref().expect("in memory no value is elsewhere");
                    self.long = Some(files.value(&miss).await?);
                    return Ok(());
                }
                Err(pause) => db.resolve(pause).await?,
            }
        }
    }

    #[inline]
    fn check(&self) -> Result<(), Error> {
        self.db.check_open()?;
        self.at.check()
    }

    /// Sees to it that the next one can be taken and is not out of date.
    fn ready(&mut self, is_front: bool) -> Attempt<()> {
        self.check()?;
        loop {
            self.walk.fill(is_front)?;
            let Some(item) = self.walk.peek(is_front) else { return Ok(()) };
            let is_past = |deadline| !self.timeless && deadline <= self.db.now();
            let is_shown =
                item.pointer.is_some() && mutant!(self.db.0.cx, "cursor.long_values_never_die");
            if item.deadline.is_some_and(is_past) && !is_shown {
                self.walk.taken(is_front);
                continue;
            }
            let Some(at) = item.pointer.filter(|_| !self.keys_only) else { return Ok(()) };
            let (key, version) = (item.key.into(), item.version);
            let miss = LongValueMiss { at, keyspace: self.keyspace, key, version };
            self.long = self.db.0.files.as_ref().and_then(|files| files.block(&miss));
            return if self.long.is_some() { Ok(()) } else { Err(Pause::Value(miss)) };
        }
    }

    /// What [`Cursor::ready`] has seen to.
    #[inline]
    fn taken(&mut self, is_front: bool) -> Option<Item<'_>> {
        let item = self.walk.taken(is_front)?;
        match (item.pointer, &self.long) {
            (Some(_), Some(value)) => Some(Item { value, pointer: None, ..item }),
            _ => Some(item),
        }
    }
}
