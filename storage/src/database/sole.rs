//! For whoever alone writes to some keyspaces, and shows nothing of them before it is safe.
//!
//! A server that carries out its clients' commands one after the other needs no transactions. It
//! reads the newest there is, also what a full disk may still take back; gathers what a turn of
//! commands wrote into one [`Batch`]; and holds the answers back until that is as safe as was
//! promised.

use super::{Assigned, Database, KeyRange, Keyspace, cursor::Cursor};
use crate::{
    Error, KeyspaceId, Lsn,
    record::Op,
    snapshots::Snapshot,
    sweep::{index_key, read_index_key},
    tree::{At, Attempt, Check, Found, Pause},
};

/// What a key holds besides its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newest {
    /// What wrote it.
    pub version: Lsn,
    /// From then on (Unix ms) it counts as deleted. Whether that has come is the caller's affair.
    pub deadline: Option<u64>,
}

/// Writes that happen together. Of several to one key the last counts.
#[derive(Debug)]
pub struct Batch<'a> {
    pub(super) ops: Vec<Op<'a>>,
    /// How often history had been taken back before what it rests on was read.
    pub(super) taken_back: usize,
}

impl<'a> Batch<'a> {
    /// Deletes every key of a keyspace, and forgets what was written to it so far.
    pub fn clear(&mut self, keyspace: &Keyspace) {
        self.ops.push(Op::Clear(keyspace.id()));
    }

    /// Gives `key` a value, until `deadline` (Unix ms) if there is one.
    pub fn put(&mut self, to: &Keyspace, key: &'a [u8], value: &'a [u8], deadline: Option<u64>) {
        self.ops.push(Op::Put { keyspace: to.id(), key, value, deadline });
    }

    /// Deletes `key`, which need not be there.
    pub fn delete(&mut self, from: &Keyspace, key: &'a [u8]) {
        self.ops.push(Op::Delete { keyspace: from.id(), key });
    }

    /// Tells history that it is `now` (Unix ms): after a recovery it is not earlier.
    pub fn tell(&mut self, now: u64) {
        self.ops.push(Op::Clock(now));
    }

    /// Tells history that it has come to `position` of the log that the caller keeps count of.
    pub fn applied(&mut self, position: u64) {
        self.ops.push(Op::Applied(position));
    }

    /// Takes an entry out of the index of deadlines: see [`Database::due`].
    pub fn forget(&mut self, due: &'a Due) {
        self.ops.push(Op::Delete { keyspace: KeyspaceId::DEADLINES, key: &due.0 });
    }

    /// The record that committing it would write, for other databases to
    /// [do again](Database::redo_with); empty if the batch is.
    pub fn record(&self) -> Vec<u8> {
        let mut record = Vec::new();
        self.with_index(|ops| {
            ops.iter().enumerate().for_each(|(at, op)| op.write(&mut record, at == 0));
        });
        record
    }

    /// Calls `f` with all that it does, entries of the index of deadlines among it.
    fn with_index<T>(&self, f: impl FnOnce(&[Op<'_>]) -> T) -> T {
        let due: Vec<Vec<u8>> = self.ops.iter().filter_map(index_key).collect();
        if due.is_empty() {
            return f(&self.ops);
        }
        let keyspace = KeyspaceId::DEADLINES;
        let entries = due.iter().map(|key| Op::Put { keyspace, key, value: &[], deadline: None });
        let ops: Vec<Op<'_>> = self.ops.iter().copied().chain(entries).collect();
        f(&ops)
    }

    /// Whether nothing would be written.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }
}

/// An entry of the index of deadlines. The key it names may have been written since, and may have
/// another deadline or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due(Vec<u8>);

impl Due {
    /// The entry that a key has by being put with that deadline (Unix ms).
    pub fn of(keyspace: &Keyspace, key: &[u8], deadline: u64) -> Due {
        let keyspace = keyspace.id();
        let put = Op::Put { keyspace, key, value: &[], deadline: Some(deadline) };
        Due(index_key(&put).expect("it has a deadline"))
    }

    /// When (Unix ms), and which key. `None` if the entry makes no sense.
    pub fn what(&self) -> Option<(u64, KeyspaceId, &[u8])> {
        read_index_key(&self.0)
    }
}

impl Database {
    /// Begins a batch that rests on the state as it was at `since` and later.
    pub fn batch(&self, since: Assigned) -> Batch<'_> {
        Batch { ops: Vec::new(), taken_back: since.taken_back }
    }

    /// Does all that is in `batch`, as one version. A plain call: it is assigned, not durable.
    ///
    /// # Errors
    /// [`Pause`]: nothing happened, [`Database::resolve`] it and try again.
    /// [`Error::RolledBack`] if history was taken back since what it rests on. Lengths out of
    /// bounds, [`Error::NoKeyspace`].
    pub fn try_commit(&self, batch: &Batch<'_>) -> Attempt<Assigned> {
        self.check_open()?;
        self.room()?;
        let intact = Check::Intact { at: crate::page::NEWEST, times: batch.taken_back };
        let version = batch.with_index(|ops| self.tree().commit(&[intact], ops))?;
        Ok(self.assigned(version, batch.taken_back))
    }

    /// As [`Database::try_commit`], waiting where that would pause, but not for durability.
    ///
    /// # Errors
    /// As [`Database::try_commit`].
    pub async fn commit(&self, batch: &Batch<'_>) -> Result<Assigned, Error> {
        self.ask(|| self.try_commit(batch)).await
    }

    /// Reads the newest value of `key` into `out`, which is cleared before: also one that is not
    /// durable yet, and one whose deadline has passed.
    ///
    /// # Errors
    /// See [the module](super).
    pub async fn get_newest(
        &self,
        of: &Keyspace,
        key: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Newest>, Error> {
        let found = self.ask(|| self.look_newest(of, key, out)).await?;
        self.load(found, of, key, out).await?;
        Ok(found.map(|Found { version, deadline, .. }| Newest { version, deadline }))
    }

    /// Whether looking for `key` would have to wait for the disk, its value in the value log aside.
    /// A plain call.
    pub fn is_far(&self, of: &Keyspace, key: &[u8]) -> bool {
        let mut value = Vec::new();
        matches!(self.look_newest(of, key, &mut value), Err(Pause::Miss(_)))
    }

    fn look_newest(&self, of: &Keyspace, key: &[u8], out: &mut Vec<u8>) -> Attempt<Option<Found>> {
        self.check_open()?;
        self.tree().get(&of.0, key, At::Assigned, out)
    }

    /// Everything there is, also what is not durable yet. It is [`Error::RolledBack`] when that has
    /// been taken back.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn newest_snapshot(&self) -> Result<Snapshot, Error> {
        self.check_open()?;
        Ok(self.tree().snapshots().at(self.tree().tail().assigned()))
    }

    /// Walks keys and their deadlines. Values in the value log are not read, and whether a deadline
    /// has passed is the caller's affair.
    ///
    /// # Errors
    /// As [`Database::cursor`].
    pub fn keys(&self, of: &Keyspace, range: KeyRange<'_>, at: &Snapshot) -> Result<Cursor, Error> {
        Ok(self.cursor(of, range, at)?.keys_only())
    }

    /// The first entries of the index of deadlines, `limit` at most, that are after `after` and not
    /// later than `until` (Unix ms), in order. What is not durable yet is among them.
    ///
    /// # Errors
    /// See [the module](super).
    pub async fn due(
        &self,
        after: Option<&Due>,
        until: u64,
        limit: usize,
    ) -> Result<Vec<Due>, Error> {
        let at = self.newest_snapshot()?;
        let index = Keyspace(self.tree().keyspace(KeyspaceId::DEADLINES)?);
        let from = after.map_or(Vec::new(), |due| [&due.0[..], &[0]].concat());
        let end = until.checked_add(1).map(u64::to_be_bytes);
        let to = end.as_ref().map(<[u8; 8]>::as_slice);
        let mut cursor = self.keys(&index, KeyRange { from: &from, to }, &at)?;
        let mut due = Vec::new();
        while due.len() < limit
            && let Some(item) = cursor.next().await?
        {
            due.push(Due(item.key.to_vec()));
        }
        Ok(due)
    }

    /// The first deadline after `after` (Unix ms) that the index has. The key it was given to may
    /// have another by now.
    ///
    /// # Errors
    /// See [the module](super).
    pub async fn next_deadline(&self, after: u64) -> Result<Option<u64>, Error> {
        let Some(from) = after.checked_add(1) else { return Ok(None) };
        let at = self.newest_snapshot()?;
        let index = Keyspace(self.tree().keyspace(KeyspaceId::DEADLINES)?);
        let range = KeyRange { from: &from.to_be_bytes(), to: None };
        let mut cursor = self.keys(&index, range, &at)?;
        let first = cursor.next().await?;
        Ok(first.and_then(|item| read_index_key(item.key)).map(|(deadline, ..)| deadline))
    }

    /// The newest version there is, and how often history had been taken back before it was given.
    pub fn last_assigned(&self) -> Assigned {
        let taken_back = self.times_taken_back();
        Assigned { version: self.tree().tail().assigned(), taken_back }
    }

    /// Up to which version everything survives a crash.
    pub fn durable_version(&self) -> Lsn {
        self.tree().tail().last_durable()
    }

    /// The latest time (Unix ms) that history tells. After a recovery it is not earlier.
    pub fn told(&self) -> u64 {
        self.tree().moments().now()
    }

    /// The newest position that [`Batch::applied`] told; 0 if none was.
    pub fn applied(&self) -> u64 {
        self.tree().applied()
    }

    /// Whether what was assigned survives a crash by now.
    pub fn is_durable(&self, assigned: Assigned) -> bool {
        // In this order: a version that was taken back and given again is not the one asked for.
        let is_durable = self.tree().tail().last_durable() >= assigned.version;
        is_durable && self.still_there(assigned)
    }

    /// Whether what was assigned is with the operating system by now, so that it survives the end
    /// of the process.
    pub fn is_written(&self, assigned: Assigned) -> bool {
        let is_written = self.tree().tail().last_written() >= assigned.version;
        is_written && self.still_there(assigned)
    }

    fn still_there(&self, assigned: Assigned) -> bool {
        let Assigned { version, taken_back } = assigned;
        self.tree().snapshots().check_since(taken_back, version).is_ok()
    }

    /// Waits until what was assigned is with the operating system, so that it survives the end of
    /// the process; if nobody has written it yet, writes it.
    ///
    /// # Errors
    /// As [`Database::durable`].
    pub async fn written(&self, assigned: Assigned) -> Result<(), Error> {
        let Some(files) = &self.0.files else { return Ok(()) };
        while !self.is_written(assigned) {
            if !self.still_there(assigned) {
                return Err(files.writer.refused());
            }
            files.writer.flush_now().await?;
        }
        Ok(())
    }

    /// Waits until the database can write no more, and says why: it was closed, or a sync has
    /// failed and what the disk holds is unknown. In memory that never comes.
    pub async fn ended(&self) -> Error {
        match &self.0.files {
            Some(files) => files.writer.ended().await,
            None => std::future::pending().await,
        }
    }

    /// Whether the disk takes no write, so that every write is refused until it has room again.
    pub fn is_read_only(&self) -> bool {
        self.0.files.as_ref().is_some_and(|files| files.writer.is_refusing())
    }
}
