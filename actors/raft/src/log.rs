//! The log and the vote: openraft's storage, in the engine.
//!
//! openraft's core is one loop that itself awaits `append`, `save_vote`, `truncate_after` and
//! `purge`, and between two rounds of that loop nobody is told to send a heartbeat. So whatever
//! waits in here holds up heartbeats, elections and answers to peers:
//!
//! - `append` and `truncate_after` wait for memory alone: for room in the engine, and for the
//!   leaves they write to, which are the newest of the log and the last to leave memory. While a
//!   disk stands still heartbeats go out as ever; when the engine has no more room they stop, and
//!   with them the leader's lease: the followers elect another, whose disk may be better.
//!   `tests/heartbeat.rs` measures both.
//! - `save_vote` waits for a sync, as it must. It happens once or twice an election.
//! - `purge` notes how far it goes; the entries are deleted beside the loop.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures_util::{Stream, stream};
use openraft::{
    LogIdOptionExt, LogState, OptionalSend, RaftLogReader,
    storage::{IOFlushed, RaftLogStorage},
};
use openraft_rt::{Mpsc, MpscSender};
use orloj_kernel::{Context, always, mutant};
use orloj_storage::database::Assigned;

use crate::{
    channel::{Channel, Sender},
    codec::{LogEntry, LogId, Vote, encode_log_id, encode_place, encode_vote},
    flush,
    kept::{Found, Kept, KeptError, Name, place},
    types::Types,
};

/// Bytes of the newest entries that stay in memory, for peers and for doing them.
const RECENT: usize = 64 << 20;
/// Bytes that are read at once, unless one entry has more.
const READ: usize = 1 << 20;
/// Appends that wait for a sync. The engine's room ends before, unless they are tiny.
const APPENDS: usize = 1 << 16;

/// Writes the log and the vote. There is one.
#[derive(Debug)]
pub(crate) struct LogStore {
    reader: LogReader,
    flusher: Sender<flush::Waiting>,
}

/// Reads them. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct LogReader(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    cx: Context,
    kept: Kept,
    /// What everything that is written rests on.
    since: Assigned,
    tail: Mutex<Tail>,
}

/// What is in the log. Entries are in the engine before they are told of here, and told of no more
/// before they are gone there.
#[derive(Debug)]
struct Tail {
    vote: Option<Vote>,
    purged: Option<LogId>,
    last: Option<LogId>,
    recent: Recent,
}

/// The newest entries and their bytes, without a gap and up to the last.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    entries: BTreeMap<u64, (LogEntry, usize)>,
    pub(crate) bytes: usize,
}

impl Recent {
    pub(crate) fn push(&mut self, entry: LogEntry, bytes: usize) {
        self.bytes += bytes;
        self.entries.insert(entry.log_id.index(), (entry, bytes));
        while self.bytes > RECENT && self.entries.len() > 1 {
            let (_, (_, bytes)) = self.entries.pop_first().expect("there are two");
            self.bytes -= bytes;
        }
    }

    /// Keeps those from `from` on and before `to`.
    pub(crate) fn keep(&mut self, from: u64, to: u64) {
        self.entries.retain(|index, _| (from..to).contains(index));
        self.bytes = self.entries.values().map(|(_, bytes)| bytes).sum();
    }

    /// The index of the first; `end` if there is none.
    pub(crate) fn first(&self, end: u64) -> u64 {
        self.entries.first_key_value().map_or(end, |(index, _)| *index)
    }
}

impl LogStore {
    /// The log that was found, and the task that tells when its entries are safe.
    pub(crate) fn new(cx: Context, kept: Kept, found: &Found) -> LogStore {
        let Found { vote, purged, last, since, .. } = found.clone();
        let (flusher, appends) = Channel::channel(APPENDS);
        cx.spawn("raft-flush", flush::run(cx, kept.db.clone(), appends));
        let tail = Mutex::new(Tail { vote, purged, last, recent: Recent::default() });
        LogStore { reader: LogReader(Arc::new(Shared { cx, kept, since, tail })), flusher }
    }
}

impl LogReader {
    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.0.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the log has of the entries from `from` on and before `to`, as it is now; no more behind
    /// those that have `limit` bytes together.
    async fn read(&self, from: u64, to: u64, limit: usize) -> Result<Vec<LogEntry>, KeptError> {
        let Shared { kept, .. } = &*self.0;
        let (from, older, recent, at) = {
            let tail = self.tail();
            let from = from.max(tail.purged.next_index());
            let to = to.min(tail.last.next_index());
            if from >= to {
                return Ok(Vec::new());
            }
            let first = tail.recent.first(to).clamp(from, to);
            let recent = tail.recent.entries.range(first..to).map(|(_, entry)| entry.clone());
            (from, first, within(recent, limit, 0), kept.db.newest_snapshot()?)
        };
        let mut found = match from < older {
            true => kept.entries(from, older, limit, &at).await?,
            false => Vec::new(),
        };
        if found.len() as u64 == older - from {
            let bytes = found.iter().map(|(_, bytes)| bytes).sum();
            found.extend(within(recent, limit, bytes));
        }
        Ok(found.into_iter().map(|(entry, _)| entry).collect())
    }
}

/// Those of `entries` that begin within `limit` bytes, behind so many `bytes`.
fn within(
    entries: impl IntoIterator<Item = (LogEntry, usize)>,
    limit: usize,
    mut bytes: usize,
) -> Vec<(LogEntry, usize)> {
    let begins_within = |(_, its): &(LogEntry, usize)| {
        let begins = bytes;
        bytes += its;
        begins < limit
    };
    entries.into_iter().take_while(begins_within).collect()
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(from) => *from,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(to) => *to,
        Bound::Unbounded => u64::MAX,
    };
    (from, to)
}

impl RaftLogReader<Types> for LogReader {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<LogEntry>, io::Error> {
        let (from, to) = bounds(&range);
        Ok(self.read(from, to, usize::MAX).await?)
    }

    async fn limited_get_log_entries(
        &mut self,
        from: u64,
        to: u64,
    ) -> Result<Vec<LogEntry>, io::Error> {
        Ok(self.read(from, to, READ).await?)
    }

    async fn entries_stream<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> impl Stream<Item = Result<LogEntry, io::Error>> + OptionalSend {
        let (from, to) = bounds(&range);
        let first = (self.clone(), None, VecDeque::new());
        Box::pin(stream::try_unfold(first, move |(reader, next, mut read)| async move {
            if read.is_empty() {
                read = reader.read(next.unwrap_or(from), to, READ).await?.into();
            }
            let entry: Option<LogEntry> = read.pop_front();
            let index = entry.as_ref().map(|entry| entry.log_id.index());
            // What was purged meanwhile is not passed over.
            if let (Some(next), Some(index)) = (next, index)
                && next != index
            {
                return Err(KeptError::Hole { index: next }.into());
            }
            Ok(entry.map(|entry| (entry, (reader, index.map(|index| index + 1), read))))
        }))
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.tail().vote)
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let tail = self.reader.tail();
        Ok(LogState { last_purged_log_id: tail.purged, last_log_id: tail.last })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        self.reader.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let Shared { cx, kept, since, .. } = &*self.reader.0;
        let before = self.reader.tail().vote;
        always!(
            cx,
            before.is_none_or(|before| *vote >= before),
            "raft: votes never go back",
            "{vote} after {before:?}"
        );
        let (key, value) = (Name::Vote.key(), encode_vote(vote));
        let mut batch = kept.db.batch(*since);
        batch.put(&kept.state, &key, &value, None);
        let assigned = kept.db.commit(&batch).await.map_err(io::Error::other)?;
        if !mutant!(cx, "cluster.vote_not_synced") {
            kept.db.durable(assigned).await.map_err(io::Error::other)?;
        }
        self.reader.tail().vote = Some(*vote);
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, done: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = LogEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let Shared { cx, kept, since, .. } = &*self.reader.0;
        let entries: Vec<([u8; 12], Bytes, LogEntry)> = entries
            .into_iter()
            .map(|entry| (place(entry.log_id.index()), encode_place(&entry), entry))
            .collect();
        let mut last = self.reader.tail().last;
        for (.., LogEntry { log_id, .. }) in &entries {
            // openraft's own suite begins a log anywhere.
            always!(
                cx,
                last.is_none_or(|last| log_id.index() == last.index() + 1 && *log_id > last),
                "raft: the log has no hole",
                "{log_id} behind {last:?}"
            );
            last = Some(*log_id);
        }
        let mut batch = kept.db.batch(*since);
        entries.iter().for_each(|(key, value, _)| batch.put(&kept.log, key, value, None));
        let assigned = kept.db.commit(&batch).await.map_err(io::Error::other)?;
        drop(batch);
        {
            let mut tail = self.reader.tail();
            tail.last = last;
            for (_, value, entry) in entries {
                tail.recent.push(entry, value.len());
            }
        }
        let ended = |_| io::Error::other("nobody waits for syncs any more");
        self.flusher.send((assigned, done)).await.map_err(ended)
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let Shared { cx, kept, since, .. } = &*self.reader.0;
        let end = {
            let mut tail = self.reader.tail();
            if tail.last <= last {
                return Ok(());
            }
            always!(
                cx,
                tail.purged <= last,
                "raft: what was purged is not cut off",
                "{last:?} before {:?}",
                tail.purged
            );
            tail.recent.keep(0, last.next_index());
            std::mem::replace(&mut tail.last, last).next_index()
        };
        if mutant!(cx, "cluster.truncate_forgotten") {
            return Ok(());
        }
        kept.cut(last.next_index(), end, *since).await.map_err(io::Error::other)
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        let Shared { cx, kept, since, .. } = &*self.reader.0;
        let (from, to) = {
            let mut tail = self.reader.tail();
            if tail.purged >= Some(upto) {
                return Ok(());
            }
            let end = tail.last.next_index();
            let from = tail.purged.replace(upto).next_index();
            tail.recent.keep(upto.index() + 1, u64::MAX);
            tail.last = tail.last.max(Some(upto));
            (from, end.min(upto.index() + 1))
        };
        let (key, value) = (Name::Purged.key(), encode_log_id(&upto));
        let mut batch = kept.db.batch(*since);
        batch.put(&kept.state, &key, &value, None);
        let _ = kept.db.commit(&batch).await.map_err(io::Error::other)?;
        // If it comes to nothing, the next life goes on with it.
        let (kept, since, cx) = (kept.clone(), *since, *cx);
        cx.spawn("raft-purge", async move {
            if let Err(error) = kept.sweep(from, to, since).await {
                cx.trace("raft", format_args!("purge: {error}"));
            }
        });
        Ok(())
    }
}
