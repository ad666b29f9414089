//! Versions and the records that wait for the journal.
//!
//! A commit takes its version and leaves its record here while it holds the latches of all it
//! touches. So whoever holds a leaf's latch and asks for [`Tail::assigned`] afterwards sees in that
//! leaf every version up to it.

use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering::Acquire, Ordering::Release},
};

use crate::{Durability, Error, Lsn, journal::Records, tree::Pause};

/// The end of history: what has been given a version, and how far it is safe.
///
/// Invariant: `durable <= written <= assigned`.
///
/// What every commit changes shares one cache line: between two threads one line goes to and fro.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Tail {
    open: Mutex<Open>,
    assigned: AtomicU64,
    written: AtomicU64,
    durable: AtomicU64,
    mode: Durability,
    batch_bytes: usize,
}

const _: () = assert!(size_of::<Mutex<Open>>() + size_of::<AtomicU64>() <= 64);

#[derive(Debug)]
struct Open {
    /// Those that were assigned and not drained. Stays empty without files.
    records: Records,
    /// How many captures have begun.
    epoch: u32,
    /// Whether the last of them is still going on.
    capturing: bool,
    /// Whether writers have to wait until there is room in memory.
    is_held: bool,
    /// Why no more versions are given.
    closed: Option<Box<Error>>,
}

/// What a commit was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) version: Lsn,
    /// The captures that had begun before it.
    pub(crate) epoch: u32,
    /// Whether the last of them was still going on.
    pub(crate) capturing: bool,
}

impl Tail {
    /// The tail behind `last`, which is durable. `batch_bytes` of records may wait at most.
    pub(crate) fn new(mode: Durability, batch_bytes: u32, last: Lsn) -> Tail {
        let open = Open {
            records: Records::new(),
            epoch: 0,
            capturing: false,
            is_held: false,
            closed: None,
        };
        Tail {
            mode,
            batch_bytes: batch_bytes as usize,
            open: Mutex::new(open),
            assigned: AtomicU64::new(last.0),
            written: AtomicU64::new(last.0),
            durable: AtomicU64::new(last.0),
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().expect("nobody panics while holding the tail")
    }

    /// The newest version that was given.
    #[inline]
    pub fn assigned(&self) -> Lsn {
        Lsn(self.assigned.load(Acquire))
    }

    /// Up to which version the journal has taken everything.
    pub fn last_written(&self) -> Lsn {
        match self.mode {
            Durability::InMemory => self.assigned(),
            _ => Lsn(self.written.load(Acquire)),
        }
    }

    /// Up to which version everything survives a crash.
    pub fn last_durable(&self) -> Lsn {
        match self.mode {
            Durability::InMemory => self.assigned(),
            _ => Lsn(self.durable.load(Acquire)),
        }
    }

    /// Up to which version those may see who ask for no version: in strict mode what no crash can
    /// take back, otherwise everything.
    #[inline]
    pub fn visible(&self) -> Lsn {
        match self.mode {
            Durability::Strict => Lsn(self.durable.load(Acquire)),
            Durability::Buffered | Durability::InMemory => self.assigned(),
        }
    }

    /// Whether any record waits.
    pub fn is_drained(&self) -> bool {
        self.open().records.is_empty()
    }

    /// Swaps the records that wait into `into`, whose room is used again. Returns the version of
    /// the last of them, which is to be told to [`Tail::written`] and [`Tail::durable`]; the first
    /// has the version after the last drained before.
    pub fn drain(&self, into: &mut Records) -> Lsn {
        into.clear();
        let mut open = self.open();
        std::mem::swap(&mut open.records, into);
        self.assigned()
    }

    /// The journal has taken everything up to `upto`.
    pub fn written(&self, upto: Lsn) {
        let before = self.written.fetch_max(upto.0, Release);
        assert!(upto <= self.assigned() && before <= self.assigned.load(Acquire), "written {upto}");
    }

    /// Everything up to `upto` survives a crash.
    pub fn durable(&self, upto: Lsn) {
        self.written(upto);
        self.durable.fetch_max(upto.0, Release);
    }

    /// Gives no more versions until [`Tail::reopen`]: whoever asks is told `why`.
    pub fn close(&self, why: Error) {
        self.open().closed = Some(Box::new(why));
    }

    /// Has writers wait, or lets them go on: memory is full of what is not on disk yet, or no more.
    pub fn hold(&self, hold: bool) {
        self.open().is_held = hold;
    }

    /// Gives versions again.
    pub fn reopen(&self) {
        self.open().closed = None;
    }

    /// Everything up to `last` was found in the journal by recovery, and applied.
    pub fn recovered(&self, last: Lsn) {
        let _open = self.open();
        for counter in [&self.assigned, &self.written, &self.durable] {
            counter.store(last.0, Release);
        }
    }

    /// Takes back every version from `from` on, and the records that wait, which go to `into`.
    pub(crate) fn roll_back(&self, from: Lsn, into: &mut Records) {
        into.clear();
        let mut open = self.open();
        assert!(open.closed.is_some(), "the tail is closed before anything is taken back");
        std::mem::swap(&mut open.records, into);
        assert!(self.written.load(Acquire) < from.0, "what is written is not taken back");
        self.assigned.store(from.previous().0, Release);
    }

    /// What a commit of history is given.
    pub(crate) fn replayed(&self, version: Lsn) -> Ticket {
        let open = self.open();
        Ticket { version, epoch: open.epoch, capturing: open.capturing }
    }

    /// Stands before the next version.
    #[inline]
    pub(crate) fn next(&self) -> Result<Next<'_>, Pause> {
        let open = self.open();
        if let Some(why) = &open.closed {
            return Err(Pause::Failed(Error::clone(why)));
        }
        if open.is_held || open.records.len() >= self.batch_bytes {
            return Err(Pause::Room);
        }
        Ok(Next { tail: self, open })
    }

    /// Begins a capture: the last version that belongs to it, its epoch, which every later commit
    /// is told, and what `look` sees while no version is given.
    pub(crate) fn begin_capture<T>(&self, look: impl FnOnce() -> T) -> (Lsn, u32, T) {
        let mut open = self.open();
        assert!(!open.capturing, "one capture at a time");
        open.epoch += 1;
        open.capturing = true;
        (self.assigned(), open.epoch, look())
    }

    /// The capture that began last is over.
    pub(crate) fn end_capture(&self) {
        self.open().capturing = false;
    }
}

/// The moment before a version is given. Nobody else is given one meanwhile.
#[derive(Debug)]
pub(crate) struct Next<'a> {
    tail: &'a Tail,
    open: MutexGuard<'a, Open>,
}

impl Next<'_> {
    /// The version that is next.
    pub(crate) fn version(&self) -> Lsn {
        self.tail.assigned().next()
    }

    /// Gives it to the record that `write` appends.
    #[inline]
    pub(crate) fn assign(mut self, write: impl FnOnce(&mut Vec<u8>)) -> Ticket {
        let version = self.version();
        if self.tail.mode != Durability::InMemory {
            self.open.records.push(write);
        }
        self.tail.assigned.store(version.0, Release);
        Ticket { version, epoch: self.open.epoch, capturing: self.open.capturing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assign(tail: &Tail, record: &[u8]) -> Lsn {
        let next = tail.next().expect("there is room");
        next.assign(|out| out.extend_from_slice(record)).version
    }

    #[test]
    fn what_is_visible_depends_on_the_mode() {
        for (mode, after_write, after_sync) in
            [(Durability::Strict, 0, 1), (Durability::Buffered, 1, 1), (Durability::InMemory, 1, 1)]
        {
            let tail = Tail::new(mode, 1 << 16, Lsn(0));
            assert_eq!(assign(&tail, b"a"), Lsn(1));
            assert_eq!(tail.visible(), Lsn(after_write), "{mode:?}");
            if mode != Durability::InMemory {
                let mut records = Records::new();
                let last = tail.drain(&mut records);
                assert_eq!((last, records.count()), (Lsn(1), 1));
                tail.durable(last);
            }
            assert_eq!(tail.visible(), Lsn(after_sync), "{mode:?}");
        }
    }

    #[test]
    fn a_full_batch_waits_and_a_closed_tail_refuses() {
        let tail = Tail::new(Durability::Buffered, 10, Lsn(4));
        assert_eq!(assign(&tail, b"0123456789"), Lsn(5));
        assert!(matches!(tail.next(), Err(Pause::Room)));
        tail.drain(&mut Records::new());
        assert_eq!(assign(&tail, b""), Lsn(6));
        tail.hold(true);
        assert!(matches!(tail.next(), Err(Pause::Room)));
        tail.hold(false);
        tail.close(Error::Closed);
        assert!(matches!(tail.next(), Err(Pause::Failed(Error::Closed))));
        let mut waiting = Records::new();
        tail.roll_back(Lsn(5), &mut waiting);
        assert_eq!((waiting.count(), tail.assigned()), (1, Lsn(4)));
        tail.reopen();
        assert_eq!(assign(&tail, b"x"), Lsn(5), "the version is given again");
    }
}
