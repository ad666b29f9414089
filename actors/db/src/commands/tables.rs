//! What the node keeps of commands, in keyspaces of the engine, and what a commit writes there.
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `history` | number of the row | [`Row`] in canonical form |
//! | `outcomes` | id | fingerprint, row accepted, row finished |
//! | `idempotency` | scope and key | the same, and until when |
//! | `expiries` | until when, row accepted | key in `idempotency` |
//! | `inflight` | row accepted | whether started; the command, if its row has not all of it |
//! | `ends` | row accepted, of commands with several rows | row finished |
//! | `sessions` | `s` and name; `-` is the server | [`Session`] |
//!
//! All are written with the effects of the commands, in one commit.

use std::ops::Range;

use orloj_kernel::Context;
use orloj_net::{
    UnixMs,
    envelope::{
        Envelope, Fingerprint, Id, Record, Row, SessionName,
        canonical::{decode_envelope, decode_row, encode_envelope, encode_row},
    },
};
use orloj_storage::{
    Database, Error, KeyspaceId, Retention,
    database::{Batch, KeyRange, Keyspace},
};

/// The keyspaces, in the order of their [`Table`].
pub(crate) const NAMES: [&str; 7] =
    ["history", "outcomes", "idempotency", "expiries", "inflight", "ends", "sessions"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    History,
    Outcomes,
    Idempotency,
    Expiries,
    Inflight,
    Ends,
    Sessions,
}

impl Table {
    pub(crate) const ALL: [Table; NAMES.len()] = [
        Table::History,
        Table::Outcomes,
        Table::Idempotency,
        Table::Expiries,
        Table::Inflight,
        Table::Ends,
        Table::Sessions,
    ];
}

/// What is known of a command by its id or its idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) fingerprint: Fingerprint,
    /// The row in which it was accepted.
    pub(super) accepted: u64,
    /// The row that has its outcome; 0 while it has none.
    pub(super) finished: u64,
    /// Until when an idempotency key counts.
    pub(super) until: UnixMs,
}

/// A lane, and the session it is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Session {
    /// Whether there is a session. The lane of one that was deleted goes on counting.
    pub(super) is_alive: bool,
    pub(super) version: u64,
    /// The number of the last step on the lane.
    pub(super) lane_sequence: u64,
    /// The last row of the lane; 0 is none.
    pub(super) last_row: u64,
    pub(super) created: UnixMs,
}

impl Default for Known {
    fn default() -> Known {
        Known { fingerprint: [0; 32], accepted: 0, finished: 0, until: UnixMs(0) }
    }
}

/// Numbers of the whole history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Totals {
    /// The number of the next row; the first is 1.
    pub(super) next_row: u64,
    /// The oldest row that is kept.
    pub(super) first_row: u64,
    /// Bytes of all rows.
    pub(super) bytes: u64,
    /// Outcomes that are known by id.
    pub(super) outcomes: u64,
}

impl Default for Totals {
    fn default() -> Totals {
        Totals { next_row: 1, first_row: 1, bytes: 0, outcomes: 0 }
    }
}

/// The key of [`Totals`] among the node's accounts.
pub(crate) const TOTALS: &[u8] = b"commands";
/// That of the key of the hashes that stand for what is withheld, drawn once for a database.
pub(crate) const REDACTION: &[u8] = b"redaction";

/// The keyspaces.
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    pub(super) db: Database,
    accounts: Keyspace,
    keyspaces: [Keyspace; NAMES.len()],
    /// What stands for what is withheld is hashed with it.
    pub(super) redaction_key: [u8; 32],
}

impl Tables {
    /// Finds the keyspaces, and makes those that are missing.
    ///
    /// # Errors
    /// What the engine says.
    pub(crate) async fn open(cx: &Context, db: &Database) -> Result<Tables, Error> {
        let accounts = keyspace(db, crate::store::ACCOUNTS).await?;
        let mut keyspaces = Vec::with_capacity(NAMES.len());
        for name in NAMES {
            keyspaces.push(keyspace(db, name).await?);
        }
        let keyspaces = keyspaces.try_into().expect("as many as there are names");
        let redaction_key = redaction_key(cx, db, &accounts).await?;
        Ok(Tables { db: db.clone(), accounts, keyspaces, redaction_key })
    }

    /// Those that are there; `None` if one is missing.
    ///
    /// # Errors
    /// What the engine says.
    pub(crate) async fn find(db: &Database) -> Result<Option<Tables>, Error> {
        let find = |name| match db.keyspace(name) {
            Err(Error::NoKeyspace { .. }) => Ok(None),
            found => found.map(Some),
        };
        let Some(accounts) = find(crate::store::ACCOUNTS)? else { return Ok(None) };
        let mut keyspaces = Vec::with_capacity(NAMES.len());
        for name in NAMES {
            let Some(keyspace) = find(name)? else { return Ok(None) };
            keyspaces.push(keyspace);
        }
        let mut key = Vec::new();
        db.get_newest(&accounts, REDACTION, &mut key).await?;
        let keyspaces = keyspaces.try_into().expect("as many as there are names");
        let redaction_key = key.try_into().unwrap_or_default();
        Ok(Some(Tables { db: db.clone(), accounts, keyspaces, redaction_key }))
    }

    /// The table that a keyspace is.
    pub(crate) fn table(&self, keyspace: KeyspaceId) -> Option<Table> {
        let found = self.keyspaces.iter().position(|of| of.id() == keyspace);
        found.map(|at| Table::ALL[at])
    }

    /// The database they are in.
    pub(crate) fn db(&self) -> Database {
        self.db.clone()
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.db.is_read_only()
    }

    pub(crate) fn of(&self, table: Table) -> &Keyspace {
        &self.keyspaces[table as usize]
    }

    pub(super) async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let mut value = Vec::new();
        let found = self.db.get_newest(self.of(table), key, &mut value).await?;
        Ok(found.map(|_| value))
    }

    pub(super) async fn totals(&self) -> Result<Totals, Error> {
        let mut value = Vec::new();
        self.db.get_newest(&self.accounts, TOTALS, &mut value).await?;
        Ok(match numbers(&value) {
            Some([next_row, first_row, bytes, outcomes]) => {
                Totals { next_row, first_row, bytes, outcomes }
            }
            None => Totals::default(),
        })
    }

    pub(super) async fn session(&self, name: Option<&SessionName>) -> Result<Session, Error> {
        let value = self.get(Table::Sessions, &session_key(name)).await?;
        Ok(value.and_then(|value| Session::decode(&value)).unwrap_or_default())
    }

    pub(super) async fn known(&self, table: Table, key: &[u8]) -> Result<Option<Known>, Error> {
        Ok(self.get(table, key).await?.and_then(|value| Known::decode(&value)))
    }

    /// A row of the history, if it is still kept.
    pub(super) async fn row(&self, number: u64) -> Result<Option<Row>, Error> {
        let value = self.get(Table::History, &number.to_be_bytes()).await?;
        Ok(value.and_then(|value| decode_row(&value).ok()))
    }

    /// The row with the outcome of a command that has several rows, if it has one.
    pub(super) async fn end(&self, accepted: u64) -> Result<Option<u64>, Error> {
        let value = self.get(Table::Ends, &accepted.to_be_bytes()).await?;
        Ok(value.and_then(|value| numbers(&value)).map(|[finished]| finished))
    }

    /// Commands without an outcome: where they were accepted, and whether they were started.
    pub(super) async fn inflight(&self) -> Result<Vec<(u64, bool, Option<Envelope>)>, Error> {
        let at = self.db.newest_snapshot()?;
        let mut rest = self.db.cursor(self.of(Table::Inflight), (..).into(), &at)?;
        let mut found = Vec::new();
        while let Some(item) = rest.next().await? {
            if let Ok(row) = item.key.try_into().map(u64::from_be_bytes) {
                let is_started = item.value.first() == Some(&1);
                let whole = item.value.get(1..).and_then(|bytes| decode_envelope(bytes).ok());
                found.push((row, is_started, whole));
            }
        }
        Ok(found)
    }

    /// Idempotency keys that count no longer at `now`, `limit` at most, and when the next ends.
    pub(super) async fn expired(
        &self,
        now: UnixMs,
        limit: usize,
    ) -> Result<(Vec<Expired>, Option<UnixMs>), Error> {
        let at = self.db.newest_snapshot()?;
        let range = KeyRange { from: &[], to: None };
        let mut rest = self.db.cursor(self.of(Table::Expiries), range, &at)?;
        let mut found = Vec::new();
        while let Some(item) = rest.next().await? {
            let Some([until, accepted]) = big_numbers(item.key) else { continue };
            if UnixMs(until) > now || found.len() == limit {
                return Ok((found, Some(UnixMs(until))));
            }
            found.push(Expired { accepted, expiry: item.key.to_vec(), key: item.value.to_vec() });
        }
        Ok((found, None))
    }
}

/// An idempotency key that counts no longer.
#[derive(Debug)]
pub(super) struct Expired {
    pub(super) accepted: u64,
    pub(super) expiry: Vec<u8>,
    pub(super) key: Vec<u8>,
}

/// The key of the hashes, which is drawn if there is none.
async fn redaction_key(
    cx: &Context,
    db: &Database,
    accounts: &Keyspace,
) -> Result<[u8; 32], Error> {
    let mut value = Vec::new();
    db.get_newest(accounts, REDACTION, &mut value).await?;
    if let Ok(key) = value.try_into() {
        return Ok(key);
    }
    let mut key = [0; 32];
    key.as_chunks_mut().0.iter_mut().for_each(|some| *some = cx.entropy().to_le_bytes());
    let mut batch = db.batch(db.last_assigned());
    batch.put(accounts, REDACTION, &key, None);
    let assigned = db.commit(&batch).await?;
    db.durable(assigned).await?;
    Ok(key)
}

async fn keyspace(db: &Database, name: &str) -> Result<Keyspace, Error> {
    match db.keyspace(name) {
        Err(Error::NoKeyspace { .. }) => db.create_keyspace(name, Retention::default()).await,
        found => found,
    }
}

/// What a session has its row under.
pub(super) fn session_key(name: Option<&SessionName>) -> Vec<u8> {
    name.map_or_else(|| b"-".to_vec(), |name| [b"s", name.as_bytes()].concat())
}

/// What an idempotency key has its row under: no scope is the beginning of another.
pub(super) fn scoped(scope: Option<&SessionName>, key: &Id) -> Vec<u8> {
    let scope = scope.map_or(&b""[..], |scope| scope.as_bytes());
    let mut name = Vec::with_capacity(2 + scope.len() + key.len());
    name.extend_from_slice(&(scope.len() as u16).to_be_bytes());
    name.extend_from_slice(scope);
    name.extend_from_slice(key.as_bytes());
    name
}

pub(super) fn numbers<const N: usize>(bytes: &[u8]) -> Option<[u64; N]> {
    let (words, rest) = bytes.as_chunks::<8>();
    let words: &[[u8; 8]; N] = words.try_into().ok()?;
    rest.is_empty().then(|| words.map(u64::from_le_bytes))
}

fn big_numbers<const N: usize>(bytes: &[u8]) -> Option<[u64; N]> {
    numbers(bytes).map(|numbers| numbers.map(u64::swap_bytes))
}

impl Session {
    pub(super) fn decode(bytes: &[u8]) -> Option<Session> {
        let (first, rest) = bytes.split_first()?;
        let [version, lane_sequence, last_row, created] = numbers(rest)?;
        let (is_alive, created) = (*first == 1, UnixMs(created));
        Some(Session { is_alive, version, lane_sequence, last_row, created })
    }
}

impl Known {
    pub(super) fn decode(bytes: &[u8]) -> Option<Known> {
        let (fingerprint, rest) = bytes.split_first_chunk::<32>()?;
        let [accepted, finished, until] = numbers(rest)?;
        let (fingerprint, until) = (*fingerprint, UnixMs(until));
        Some(Known { fingerprint, accepted, finished, until })
    }
}

/// What the next commit is to write.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    /// Keys and values, one behind the other.
    bytes: Vec<u8>,
    ops: Vec<Op>,
    /// The time of it: what was forgotten because of it stays so after a restart.
    pub(crate) at: UnixMs,
}

#[derive(Debug)]
struct Op {
    /// `None` is the accounts.
    table: Option<Table>,
    key: Range<usize>,
    /// `None` deletes.
    value: Option<Range<usize>>,
}

impl Writes {
    pub(crate) fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// The bytes of the row that was written last, if it is that one.
    pub(super) fn last_row(&self, number: u64) -> Option<&[u8]> {
        let last = self.ops.iter().rev().find(|op| op.table == Some(Table::History))?;
        let is_it = self.bytes[last.key.clone()] == number.to_be_bytes();
        last.value.clone().filter(|_| is_it).map(|value| &self.bytes[value])
    }

    /// How many keys, and bytes.
    pub(crate) fn weight(&self) -> (usize, usize) {
        (self.ops.len(), self.bytes.len())
    }

    pub(crate) fn clear(&mut self) {
        self.ops.clear();
        self.bytes.clear();
    }

    /// Adds all of it to `batch`.
    pub(crate) fn add_to<'a>(&'a self, batch: &mut Batch<'a>, tables: &Tables) {
        for Op { table, key, value } in &self.ops {
            let keyspace = table.map_or(&tables.accounts, |table| tables.of(table));
            let key = &self.bytes[key.clone()];
            match value {
                Some(value) => batch.put(keyspace, key, &self.bytes[value.clone()], None),
                None => batch.delete(keyspace, key),
            }
        }
    }

    fn piece(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Range<usize> {
        let from = self.bytes.len();
        write(&mut self.bytes);
        from..self.bytes.len()
    }

    fn put(&mut self, table: Option<Table>, key: &[u8], value: impl FnOnce(&mut Vec<u8>)) {
        let key = self.piece(|out| out.extend_from_slice(key));
        let value = Some(self.piece(value));
        self.ops.push(Op { table, key, value });
    }

    pub(super) fn delete(&mut self, table: Table, key: &[u8]) {
        let key = self.piece(|out| out.extend_from_slice(key));
        self.ops.push(Op { table: Some(table), key, value: None });
    }

    /// Writes a row, and says how many bytes it has.
    pub(super) fn row(&mut self, number: u64, row: &Row) -> u64 {
        let before = self.bytes.len();
        self.put(Some(Table::History), &number.to_be_bytes(), |out| encode_row(row, out));
        (self.bytes.len() - before) as u64
    }

    pub(super) fn known(&mut self, table: Table, key: &[u8], known: &Known) {
        self.put(Some(table), key, |out| {
            out.extend_from_slice(&known.fingerprint);
            for number in [known.accepted, known.finished, known.until.0] {
                out.extend_from_slice(&number.to_le_bytes());
            }
        });
    }

    pub(super) fn expiry(&mut self, until: UnixMs, accepted: u64, key: &[u8]) {
        let name = [until.0.to_be_bytes(), accepted.to_be_bytes()].concat();
        self.put(Some(Table::Expiries), &name, |out| out.extend_from_slice(key));
    }

    pub(super) fn inflight(&mut self, accepted: u64, is_started: bool, whole: Option<&Envelope>) {
        let key = accepted.to_be_bytes();
        self.put(Some(Table::Inflight), &key, |out| {
            out.push(u8::from(is_started));
            if let Some(envelope) = whole {
                let mut bytes = Vec::new();
                encode_envelope(envelope, &mut bytes);
                out.extend_from_slice(&bytes);
            }
        });
    }

    pub(super) fn end(&mut self, accepted: u64, finished: u64) {
        let key = accepted.to_be_bytes();
        self.put(Some(Table::Ends), &key, |out| out.extend_from_slice(&finished.to_le_bytes()));
    }

    pub(super) fn session(&mut self, name: Option<&SessionName>, session: &Session) {
        let Session { is_alive, version, lane_sequence, last_row, created } = *session;
        self.put(Some(Table::Sessions), &session_key(name), |out| {
            out.push(u8::from(is_alive));
            for number in [version, lane_sequence, last_row, created.0] {
                out.extend_from_slice(&number.to_le_bytes());
            }
        });
    }

    pub(super) fn totals(&mut self, totals: &Totals) {
        let Totals { next_row, first_row, bytes, outcomes } = *totals;
        self.put(None, TOTALS, |out| {
            for number in [next_row, first_row, bytes, outcomes] {
                out.extend_from_slice(&number.to_le_bytes());
            }
        });
    }
}

/// Which command a row with an acceptance tells of.
pub(super) fn accepted(record: Record) -> Option<(Id, Envelope)> {
    match record {
        Record::Accepted { id, envelope } | Record::Whole { id, envelope, .. } => {
            Some((id, *envelope))
        }
        Record::Started { .. } | Record::Finished { .. } => None,
    }
}
