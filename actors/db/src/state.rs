//! The store: an ordered table in memory, and every change of it in one place.
//!
//! Commands and recovery go through the same few changes, so what a command did and what its record
//! does are the same code. Each change leaves a [`Trail`]: its effect for the journal, and what
//! undoes it, should the journal refuse the record.
//!
//! Time is part of the state. A key is gone when its deadline is at or before the store's *clock*,
//! and the clock moves only by an effect, so expiry is in the journal like everything else: what a
//! reader was shown as gone stays gone, whatever the machine's clock says after a restart. The
//! memory of dead keys is freed later, step by step ([`State::sweep`]), which nobody can see.
//!
//! Invariant: `due` holds exactly the keys with a deadline; no deadline lies between the clock and
//! `next_due`.

mod effect;
mod execute;
mod key;
mod table;

use std::collections::BTreeSet;

use orloj_net::{Blob, UnixMs};

pub(crate) use effect::Effect;
use effect::effects;
use key::MapKey;
use table::Table;

/// What one key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    value: Blob,
    deadline: Option<UnixMs>,
}

/// Memory a key takes beside its bytes and its value's, roughly: its places in the table and in the
/// order, which are full to two thirds.
const KEY_COST: usize = (size_of::<(MapKey, Entry)>() + size_of::<MapKey>()) * 3 / 2;

/// The store.
#[derive(Debug)]
pub(crate) struct State {
    map: Table,
    due: BTreeSet<(UnixMs, MapKey)>,
    /// Keys with a deadline up to here are gone.
    clock: UnixMs,
    /// No deadline is after the clock and before this.
    next_due: UnixMs,
    memory: usize,
}

const NEVER: UnixMs = UnixMs(u64::MAX);

/// What takes one change back.
#[derive(Debug)]
pub(crate) enum Undo {
    /// The key held this.
    Entry(MapKey, Option<Contents>),
    /// The key's value was this long.
    Shorten(MapKey, usize),
    /// Everything.
    All(Box<State>),
    /// The clock, and when the next key was due.
    Clock(UnixMs, UnixMs),
}

/// What a key held, for [`Undo`] alone.
#[derive(Debug)]
pub(crate) struct Contents(Entry);

/// Where a command leaves what it changed.
#[derive(Debug)]
pub(crate) struct Trail<'a> {
    /// The record, and where in it the command's effects begin.
    record: Option<(&'a mut Vec<u8>, usize)>,
    undo: Option<&'a mut Vec<Undo>>,
    changed: bool,
}

impl<'a> Trail<'a> {
    /// Effects go to `record` and what undoes them to `undo`.
    pub(crate) fn new(record: &'a mut Vec<u8>, undo: &'a mut Vec<Undo>) -> Trail<'a> {
        let start = record.len();
        Trail { record: Some((record, start)), undo: Some(undo), changed: false }
    }

    /// Nobody asks.
    pub(crate) fn none() -> Trail<'static> {
        Trail { record: None, undo: None, changed: false }
    }

    /// Whether there was a change.
    pub(crate) fn changed(&self) -> bool {
        self.changed
    }

    #[inline]
    fn effect(&mut self, effect: Effect<'_>) {
        self.changed = true;
        if let Some((record, start)) = &mut self.record {
            effect.write(record, record.len() == *start);
        }
    }

    #[inline]
    fn undo(&mut self, undo: impl FnOnce() -> Undo) {
        if let Some(undos) = &mut self.undo {
            undos.push(undo());
        }
    }
}

impl State {
    /// An empty store. Whoever does not know `seed` cannot choose keys that are slow to find.
    pub(crate) fn new(seed: u64) -> State {
        State::with(Table::new(seed), UnixMs(0))
    }

    fn with(map: Table, clock: UnixMs) -> State {
        State { map, due: BTreeSet::new(), clock, next_due: NEVER, memory: 0 }
    }

    /// Keys with a deadline up to here are gone.
    pub(crate) fn clock(&self) -> UnixMs {
        self.clock
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        let dead = self.due.range(..(UnixMs(self.clock.0.saturating_add(1)), MapKey::new(b"")));
        self.map.len() - dead.count()
    }

    /// How many keys have a deadline, dead ones whose memory is still held included.
    pub(crate) fn expiring(&self) -> usize {
        self.due.len()
    }

    /// How many keys there are, dead ones whose memory is still held included.
    #[cfg(test)]
    fn held(&self) -> usize {
        self.map.len()
    }

    /// Bytes of memory in use, roughly.
    pub(crate) fn memory(&self) -> usize {
        self.memory
    }

    /// A time at which no key is due that is not gone already: `now`, or just before the next
    /// deadline.
    pub(crate) fn before_next_due(&self, now: UnixMs) -> UnixMs {
        UnixMs(now.0.min(self.next_due.0.saturating_sub(1))).max(self.clock)
    }

    /// Does again what a record says; false if it makes no sense.
    pub(crate) fn replay(&mut self, record: &[u8]) -> bool {
        let trail = &mut Trail::none();
        effects(record).all(|effect| {
            match effect {
                None => return false,
                Some(Effect::Put { key, value, deadline }) => {
                    self.put(key, value, deadline, trail);
                }
                Some(Effect::Remove { key }) => self.remove(key, trail),
                Some(Effect::Append { key, value }) => self.append_to(key, value, trail),
                Some(Effect::Add { key, by }) => return self.add(key, by, trail).is_ok(),
                Some(Effect::Deadline { key, deadline }) => {
                    return self.set_deadline(key, deadline, trail);
                }
                Some(Effect::Clear) => self.clear(trail),
                Some(Effect::Clock { now }) => self.pass(now, trail),
            }
            true
        })
    }

    /// Takes changes back, the last one first.
    pub(crate) fn undo(&mut self, undos: Vec<Undo>) {
        for undo in undos.into_iter().rev() {
            match undo {
                Undo::Entry(key, before) => {
                    self.replace(key.as_bytes(), before.map(|b| b.0));
                }
                Undo::Shorten(key, len) => {
                    if let Some(entry) = self.map.get_mut(key.as_bytes()) {
                        self.memory -= entry.value.len() - len;
                        entry.value.truncate(len);
                    }
                }
                Undo::All(before) => *self = *before,
                Undo::Clock(clock, next_due) => (self.clock, self.next_due) = (clock, next_due),
            }
        }
    }

    /// Frees the memory of at most `limit` keys that are gone and whose end nobody can take back:
    /// their deadlines are at or before `settled`. Whether there are more.
    pub(crate) fn sweep(&mut self, settled: UnixMs, limit: usize) -> bool {
        let upto = settled.min(self.clock);
        for _ in 0..limit {
            match self.due.first() {
                Some((deadline, key)) if *deadline <= upto => {
                    let key = key.clone();
                    self.replace(key.as_bytes(), None);
                }
                _ => return false,
            }
        }
        self.due.first().is_some_and(|(deadline, _)| *deadline <= upto)
    }

    #[inline]
    fn live(&self, key: &[u8]) -> Option<&Entry> {
        self.map.get(key).filter(|e| e.deadline.is_none_or(|deadline| deadline > self.clock))
    }

    #[inline]
    fn put(&mut self, key: &[u8], value: &[u8], deadline: Option<UnixMs>, trail: &mut Trail<'_>) {
        trail.effect(Effect::Put { key, value, deadline });
        let entry = Entry { value: Blob::new(value), deadline };
        let before = self.replace(key, Some(entry));
        trail.undo(|| Undo::Entry(MapKey::new(key), before.map(Contents)));
    }

    fn remove(&mut self, key: &[u8], trail: &mut Trail<'_>) {
        trail.effect(Effect::Remove { key });
        let before = self.replace(key, None);
        trail.undo(|| Undo::Entry(MapKey::new(key), before.map(Contents)));
    }

    /// Makes a key's value longer, a key that is not there being empty.
    fn append_to(&mut self, key: &[u8], value: &[u8], trail: &mut Trail<'_>) {
        if self.live(key).is_none() {
            return self.put(key, value, None, trail);
        }
        let entry = self.map.get_mut(key).expect("a key that lives is in the map");
        let len = entry.value.len();
        entry.value.append(value);
        self.memory += value.len();
        trail.effect(Effect::Append { key, value });
        trail.undo(|| Undo::Shorten(MapKey::new(key), len));
    }

    /// Adds to a key's number, a key that is not there being 0.
    fn add(
        &mut self,
        key: &[u8],
        by: i64,
        trail: &mut Trail<'_>,
    ) -> Result<i64, orloj_net::Refusal> {
        let (number, deadline) = match self.live(key) {
            None => (0, None),
            Some(entry) => {
                let number = orloj_net::parse_i64(entry.value.as_bytes());
                (number.ok_or(orloj_net::Refusal::NotAnInteger)?, entry.deadline)
            }
        };
        let sum = number.checked_add(by).ok_or(orloj_net::Refusal::Overflow)?;
        let mut digits = Vec::with_capacity(20);
        orloj_net::write_i64(&mut digits, sum);
        let value = Blob::new(&digits);
        trail.effect(Effect::Add { key, by });
        let before = self.replace(key, Some(Entry { value, deadline }));
        trail.undo(|| Undo::Entry(MapKey::new(key), before.map(Contents)));
        Ok(sum)
    }

    /// Gives a living key a deadline, or none; false if there is no such key.
    fn set_deadline(
        &mut self,
        key: &[u8],
        deadline: Option<UnixMs>,
        trail: &mut Trail<'_>,
    ) -> bool {
        let Some(entry) = self.live(key) else { return false };
        let entry = Entry { value: entry.value.clone(), deadline };
        trail.effect(Effect::Deadline { key, deadline });
        let before = self.replace(key, Some(entry));
        trail.undo(|| Undo::Entry(MapKey::new(key), before.map(Contents)));
        true
    }

    fn clear(&mut self, trail: &mut Trail<'_>) {
        let empty = State::with(self.map.fresh(), self.clock);
        let before = std::mem::replace(self, empty);
        trail.effect(Effect::Clear);
        trail.undo(|| Undo::All(Box::new(before)));
    }

    /// Moves the clock to `now` if a key dies by it.
    #[inline]
    fn pass_to(&mut self, now: UnixMs, trail: &mut Trail<'_>) {
        if now >= self.next_due {
            let first = self.first_due();
            if now >= first {
                self.pass(now, trail);
            } else {
                // It was removed, or lives longer now.
                self.next_due = first;
            }
        }
    }

    fn pass(&mut self, now: UnixMs, trail: &mut Trail<'_>) {
        let before = (self.clock, self.next_due);
        self.clock = self.clock.max(now);
        self.next_due = self.first_due();
        trail.effect(Effect::Clock { now });
        trail.undo(|| Undo::Clock(before.0, before.1));
    }

    /// The first deadline after the clock.
    fn first_due(&self) -> UnixMs {
        let after = (UnixMs(self.clock.0.saturating_add(1)), MapKey::new(b""));
        self.due.range(after..).next().map_or(NEVER, |(deadline, _)| *deadline)
    }

    /// The one place where the map changes, but for a value that grows.
    #[inline]
    fn replace(&mut self, key: &[u8], entry: Option<Entry>) -> Option<Entry> {
        let cost = KEY_COST + key.len();
        let deadline = entry.as_ref().and_then(|e| e.deadline);
        let before = match entry {
            Some(entry) => {
                self.memory += cost + entry.value.len();
                self.map.insert(key, entry)
            }
            None => self.map.remove(key),
        };
        if let Some(before) = &before {
            self.memory -= cost + before.value.len();
            if let Some(at) = before.deadline {
                self.due.remove(&(at, MapKey::new(key)));
            }
        }
        if let Some(at) = deadline {
            if at > self.clock {
                self.next_due = self.next_due.min(at);
            }
            self.due.insert((at, MapKey::new(key)));
        }
        before
    }
}

#[cfg(test)]
mod tests;
