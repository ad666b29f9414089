//! Cursors: the keys of a range in order, from either end, as of one version.

use std::{ops::Range, sync::Arc};

use super::{
    Attempt, Keyspace, Pause,
    descend::{Arrival, Step, To, descend},
    slot::InnerSlot,
};
use crate::{
    Error, Lsn,
    page::{Fence, FenceBuf, Held, NEWEST, ValuePointer},
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

/// Walks a range of keys. It copies what can be seen in one leaf and lets go of the leaf, so what
/// it is used for happens under no latch.
///
/// The version it reads at must stay readable while it is used: a snapshot is held meanwhile.
#[derive(Debug)]
pub struct Cursor {
    keyspace: Arc<Keyspace>,
    at: Lsn,
    root: Option<Arc<InnerSlot>>,
    /// What neither end has come to: from a place to before another, or to the last key.
    from: FenceBuf,
    to: Option<FenceBuf>,
    /// Whether that is nothing.
    met: bool,
    front: Batch,
    back: Batch,
}

/// What was copied from one leaf.
#[derive(Debug)]
struct Batch {
    bytes: Vec<u8>,
    items: Vec<Copied>,
    /// Those that were not handed out.
    left: Range<usize>,
    /// Whether the first may be an older version than the one that counts.
    in_doubt: bool,
    /// How many keys are copied at most the next time.
    limit: usize,
}

#[derive(Debug)]
struct Copied {
    start: usize,
    key: u32,
    /// Bytes of the value, or of the pointer to it.
    value: u32,
    is_pointer: bool,
    version: Lsn,
    deadline: Option<u64>,
}

/// How many keys are copied at first.
const FIRST: usize = if cfg!(test) { 3 } else { 32 };
/// Bytes after which no more are copied from a leaf, long values included.
const ENOUGH: usize = 1 << 20;

impl Default for Batch {
    fn default() -> Batch {
        let (bytes, items) = (Vec::new(), Vec::new());
        Batch { bytes, items, left: 0..0, in_doubt: false, limit: FIRST }
    }
}

impl Batch {
    fn clear(&mut self) {
        self.bytes.clear();
        self.items.clear();
        self.left = 0..0;
        self.in_doubt = false;
    }

    fn item(&self, at: usize) -> Item<'_> {
        let copied = &self.items[at];
        let (key, rest) = self.bytes[copied.start..].split_at(copied.key as usize);
        let (value, pointer) = match copied.is_pointer {
            true => (&rest[..0], ValuePointer::read(&rest[..copied.value as usize])),
            false => (&rest[..copied.value as usize], None),
        };
        let Copied { version, deadline, .. } = *copied;
        Item { key, value, version, deadline, pointer }
    }
}

/// What a visited leaf covers.
struct Visited {
    lower: FenceBuf,
    upper: Option<FenceBuf>,
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
        let cursor = Cursor {
            keyspace: keyspace.clone(),
            at,
            root,
            from: Fence::before(from).to_buf(),
            to: to.map(|to| Fence::before(to).to_buf()),
            met,
            front: Batch::default(),
            back: Batch::default(),
        };
        cursor.check()?;
        Ok(cursor)
    }

    fn check(&self) -> Result<(), Error> {
        let earliest_kept = self.keyspace.earliest();
        match self.at < earliest_kept {
            true => Err(Error::HistoryTrimmed { asked: self.at, earliest_kept }),
            false => Ok(()),
        }
    }

    /// The next key from the front; `None` when the two ends have met.
    ///
    /// # Errors
    /// [`Pause`]; ask again, nothing is skipped.
    #[expect(clippy::should_implement_trait, reason = "what it lends ends with the next call")]
    pub fn next(&mut self) -> Attempt<Option<Item<'_>>> {
        while self.front.left.is_empty() && !self.met {
            let from = std::mem::replace(&mut self.from, Fence::FIRST.to_buf());
            let visited = self.load(To::At(from.get()), &from, self.to.clone().as_ref(), true);
            self.from = from;
            match visited?.upper {
                Some(upper) if self.to.as_ref().is_none_or(|to| upper.get() < to.get()) => {
                    self.from = upper;
                }
                _ => self.met = true,
            }
        }
        let batch = if self.front.left.is_empty() { &mut self.back } else { &mut self.front };
        let at = batch.left.next();
        Ok(at.map(|at| batch.item(at)))
    }

    /// The next key from the back; `None` when the two ends have met.
    ///
    /// # Errors
    /// [`Pause`]; ask again, nothing is skipped.
    pub fn back(&mut self) -> Attempt<Option<Item<'_>>> {
        while self.back.left.is_empty() && !self.met {
            let to = self.to.clone();
            let way = to.as_ref().map_or(To::End, |to| To::Before(to.get()));
            let visited = self.load(way, &self.from.clone(), to.as_ref(), false)?;
            self.met = visited.lower.get() <= self.from.get();
            self.to = Some(visited.lower);
        }
        let batch = if self.back.left.is_empty() { &mut self.front } else { &mut self.back };
        let at = batch.left.next_back();
        Ok(at.map(|at| batch.item(at)))
    }

    /// Copies what can be seen between `from` and `to` of the leaf that `way` leads to.
    fn load(
        &mut self,
        way: To<'_>,
        from: &FenceBuf,
        to: Option<&FenceBuf>,
        is_front: bool,
    ) -> Result<Visited, Pause> {
        let root = self.root.clone().expect("an empty cursor has met itself");
        let mut batch = std::mem::take(if is_front { &mut self.front } else { &mut self.back });
        let result = loop {
            batch.clear();
            let step =
                descend(&root, way, |arrival| self.copy(arrival, from, to, is_front, &mut batch));
            match step {
                Ok(visited) => break self.clear_doubt(&root, &mut batch).map(|()| visited),
                Err(Step::Restart | Step::Load | Step::Further(_)) => {}
                Err(Step::Structure) => self.keyspace.await_structure(),
                Err(Step::Pause(pause)) => break Err(pause),
            }
        };
        if result.is_err() {
            batch.clear();
        }
        *(if is_front { &mut self.front } else { &mut self.back }) = batch;
        result
    }

    /// Takes the first of `batch` away if the leaf before has the version that counts.
    fn clear_doubt(&self, root: &Arc<InnerSlot>, batch: &mut Batch) -> Result<(), Pause> {
        if !batch.in_doubt {
            return Ok(());
        }
        let first = batch.item(0);
        let mut from = self.at;
        let counts = loop {
            let way = To::At(Fence { key: first.key, version: from });
            let step = descend(root, way, |arrival| {
                let state = arrival.slot.read();
                let leaf = &state.content(arrival.turn)?.leaf;
                match (leaf.seek(first.key, self.at), leaf.goes_on_with(first.key)) {
                    ((at, true), _) => Ok(leaf.version(at)),
                    ((at, false), Some(next)) if at == leaf.count() => Err(Step::Further(next)),
                    _ => Ok(Lsn(0)),
                }
            });
            match step {
                Ok(version) => break version,
                Err(Step::Further(next)) => from = next,
                Err(Step::Restart | Step::Load) => {}
                Err(Step::Structure) => self.keyspace.await_structure(),
                Err(Step::Pause(pause)) => return Err(pause),
            }
        };
        if counts != first.version {
            batch.left.start = 1;
        }
        Ok(())
    }

    fn copy(
        &self,
        arrival: Arrival<'_>,
        from: &FenceBuf,
        to: Option<&FenceBuf>,
        is_front: bool,
        batch: &mut Batch,
    ) -> Result<Visited, Step> {
        let state = arrival.slot.read();
        let content = state.content(arrival.turn)?;
        self.check().map_err(Pause::from)?;
        let leaf = &content.leaf;
        let lower = leaf.lower_fence();
        let first = match from.get() > lower {
            true => leaf.seek(&from.key, from.version).0,
            false => 0,
        };
        let last = match to {
            Some(to) if leaf.upper_fence().is_none_or(|upper| to.get() < upper) => {
                leaf.seek(&to.key, to.version).0
            }
            _ => leaf.count(),
        };
        let prefix = leaf.prefix();
        let (mut start, mut end) = (first, last);
        // What may not be asked for is not copied: a cursor begins with a few keys at a time.
        let limit = batch.limit;
        if !is_front && end - start > limit {
            start = end - limit;
            while start > first && leaf.is_same_key(start) {
                start -= 1;
            }
        }
        let average = leaf.used() / leaf.count().max(1) + prefix.len();
        batch.bytes.reserve(limit.min(end - start) * average);
        let mut decided = false;
        for at in start..end {
            let is_same = at > start && leaf.is_same_key(at);
            let is_enough = batch.items.len() >= limit || batch.bytes.len() >= ENOUGH;
            if is_front && is_enough && !is_same {
                end = at;
                break;
            }
            let entry = leaf.entry(at);
            decided &= is_same;
            if decided || entry.version > self.at {
                continue;
            }
            decided = true;
            if matches!(entry.held, Held::Tombstone) {
                continue;
            }
            // Of a key whose versions are cut here, the leaf before may have the one that counts.
            let is_cut = lower.version < self.at && &lower.key[prefix.len()..] == entry.suffix;
            batch.in_doubt |= is_cut;
            let start = batch.bytes.len();
            batch.bytes.extend_from_slice(prefix);
            batch.bytes.extend_from_slice(entry.suffix);
            let key = batch.bytes.len() - start;
            let pointer = content.copy_value(&entry, &mut batch.bytes);
            if let Some(pointer) = pointer {
                batch.bytes.extend_from_slice(&pointer.encode());
            }
            batch.items.push(Copied {
                start,
                key: key as u32,
                value: (batch.bytes.len() - start - key) as u32,
                is_pointer: pointer.is_some(),
                version: entry.version,
                deadline: entry.deadline,
            });
        }
        batch.left = 0..batch.items.len();
        batch.limit = limit.saturating_mul(2);
        let before = |at: usize| {
            let key = [prefix, leaf.suffix(at)].concat();
            FenceBuf { key: key.into(), version: NEWEST }
        };
        Ok(Visited {
            lower: if start > first { before(start) } else { lower.to_buf() },
            upper: match end < last {
                true => Some(before(end)),
                false => leaf.upper_fence().map(Fence::to_buf),
            },
        })
    }
}
