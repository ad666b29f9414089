//! Replay: a journal carried out again, from its beginning to any point, to see whether the same
//! comes of it.
//!
//! Each record of the journal is one commit. What was not in an envelope left effects and nothing
//! else, and these are done as they stand. What was in one left its rows of the history as well:
//! its commands are carried out again in memory, by the code that carried them out, at the time
//! they were, and what comes of it, outcomes, rows and effects, is compared with what is recorded.
//! Where it differs, the record is done all the same, so that what comes behind it is judged for
//! itself. Nothing is changed anywhere.

use std::fmt;

use orloj_kernel::Context;
use orloj_net::{
    UnixMs,
    envelope::{Id, Row, SessionName},
};
use orloj_storage::{
    Database, Error, Lsn, Options,
    database::Content,
    past::{Past, PastReader},
    record::{Op, ops},
};

use crate::{
    NodeConfig,
    bundle::{Bundle, BundleReader},
    commands::{
        Commands, Now, Table, Tables,
        redo::{Commit, Redone, Terms, Write, named},
    },
    store::Store,
};

/// Bytes of memory for rows in front of the tree.
const ROWS: usize = 64 << 20;
/// Records between two reports of progress.
const REPORT: u64 = 1_024;

/// Where a past comes from.
#[derive(Debug)]
pub enum Source {
    /// A database.
    Database(Box<PastReader>),
    /// An exported bundle.
    Bundle(BundleReader),
}

/// Where a replay ends, and of what it tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Until {
    /// The last version that is done.
    pub lsn: Option<Lsn>,
    /// No commit of a later time is done.
    pub time: Option<UnixMs>,
    /// Only rows of this session are counted and judged. All are done.
    pub session: Option<SessionName>,
}

/// Where a replay first came to something else than is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The version of the commit.
    pub lsn: Lsn,
    /// The row; `None` for the effects of the commit as a whole.
    pub row: Option<u64>,
    /// The command, if the row names it.
    pub id: Option<Id>,
    /// Its type.
    pub command: Option<&'static str>,
    /// What is recorded.
    pub expected: String,
    /// What came of it now.
    pub got: String,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {}", self.lsn)?;
        self.row.iter().try_for_each(|row| write!(f, ", row {row}"))?;
        self.id.iter().try_for_each(|id| write!(f, ", command {id:?}"))?;
        self.command.iter().try_for_each(|name| write!(f, " ({name})"))?;
        write!(f, ": recorded is {}; computed is {}", self.expected, self.got)
    }
}

/// What a replay found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// The version of the state that it started from.
    pub base: Lsn,
    /// The last version that was done.
    pub lsn: Lsn,
    /// The latest time that is told of it.
    pub time: UnixMs,
    /// Records of the journal that were done.
    pub records: u64,
    /// Those of them with commands in envelopes.
    pub enveloped: u64,
    /// Outcomes that were looked at.
    pub commands: u64,
    /// Steps of commands.
    pub steps: u64,
    /// Outcomes that came from outside, as a timeout, and were taken as they are.
    pub taken: u64,
    /// Outcomes that rest on what is withheld, and were taken as they are.
    pub withheld: u64,
    /// How often something else came of it, and where first.
    pub divergences: u64,
    /// See there.
    pub divergence: Option<Divergence>,
    /// What there is in the end.
    pub content: Content,
}

/// Why a replay did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// What is to be replayed cannot be read, or makes no sense.
    #[error(transparent)]
    Engine(#[from] Error),
    /// A row of the history makes no sense.
    #[error("version {lsn} has a row of the history that makes no sense")]
    Row {
        /// Where.
        lsn: Lsn,
    },
    /// A hook changed more of a command than its payload.
    #[error("a redactor changed more than the payload")]
    Redactor,
}

impl Source {
    /// The last version that it has.
    pub fn end(&self) -> Lsn {
        match self {
            Source::Database(past) => past.end(),
            Source::Bundle(bundle) => bundle.bundle().end,
        }
    }

    /// The next record.
    ///
    /// # Errors
    /// What cannot be read.
    pub async fn next(&mut self) -> Result<Option<Past<'_>>, Error> {
        match self {
            Source::Database(past) => past.next().await,
            Source::Bundle(bundle) => Ok(bundle.next()),
        }
    }

    fn terms(&self) -> Terms {
        match self {
            Source::Database(_) => Terms::default(),
            Source::Bundle(bundle) => {
                let Bundle { are_values_hashed, is_data_withheld, session, .. } = bundle.bundle();
                Terms {
                    is_redacted: true,
                    is_hashed: *are_values_hashed,
                    withholds_data: *is_data_withheld,
                    only: session.clone(),
                }
            }
        }
    }
}

/// Replays what `source` has, telling `progress` which version of how many is done.
///
/// The state is in memory meanwhile, all of it.
///
/// # Errors
/// [`ReplayError`]. That something else comes of it is none: see [`Replayed::divergence`].
pub async fn replay(
    cx: &Context,
    source: &mut Source,
    until: &Until,
    progress: &mut (dyn FnMut(Lsn, Lsn) + Send),
) -> Result<Replayed, ReplayError> {
    let options = Options::new("", orloj_storage::Durability::InMemory);
    let db = Database::blank(*cx, options)?;
    let mut replay = Replay {
        cx: *cx,
        terms: source.terms(),
        until: until.clone(),
        node: None,
        stale: Stale::default(),
        done: Replayed {
            base: Lsn(0),
            lsn: Lsn(0),
            time: UnixMs(0),
            records: 0,
            enveloped: 0,
            commands: 0,
            steps: 0,
            taken: 0,
            withheld: 0,
            divergences: 0,
            divergence: None,
            content: Content { version: Lsn(0), hash: [0; 32], keyspaces: 0, keys: 0, bytes: 0 },
        },
        db,
    };
    let end = source.end();
    while let Some(past) = source.next().await? {
        if !replay.record(past).await? {
            break;
        }
        if replay.done.records.is_multiple_of(REPORT) {
            progress(replay.done.lsn, end);
            // Others may want to go on.
            cx.yield_now().await;
        }
    }
    progress(replay.done.lsn, end);
    let Replay { db, mut done, .. } = replay;
    done.content = db.content(&db.newest_snapshot()?).await?;
    done.time = done.time.max(UnixMs(db.told()));
    Ok(done)
}

/// What stands in front of the tables, and has to look at them again.
#[derive(Clone, Copy, Debug, Default)]
struct Stale {
    store: bool,
    commands: bool,
}

struct Node {
    tables: Tables,
    store: Store,
    commands: Commands,
}

struct Replay {
    cx: Context,
    db: Database,
    terms: Terms,
    until: Until,
    /// As soon as there are tables.
    node: Option<Node>,
    stale: Stale,
    done: Replayed,
}

impl Replay {
    /// Does a record; whether the end has not come.
    async fn record(&mut self, past: Past<'_>) -> Result<bool, ReplayError> {
        let Past { lsn, is_base, record } = past;
        if is_base {
            let _in_memory = self.db.redo(record).await?;
            (self.done.base, self.done.lsn) = (lsn, lsn);
            return Ok(true);
        }
        let is_later = |to: UnixMs| time_of(record).is_some_and(|at| at > to);
        if self.until.lsn.is_some_and(|to| lsn > to) || self.until.time.is_some_and(is_later) {
            return Ok(false);
        }
        self.look().await?;
        let commit = match &self.node {
            None => None,
            Some(node) => {
                let (writes, has_rows) = writes_of(&node.tables, record);
                let commit = Commands::read_commit(&writes).filter(|_| has_rows);
                if has_rows && commit.is_none() {
                    return Err(ReplayError::Row { lsn });
                }
                self.stale.commands |= commit.is_none() && !writes.is_empty();
                commit
            }
        };
        match commit {
            None => {
                let _in_memory = self.db.redo(record).await?;
                self.stale.store = true;
            }
            Some(commit) => {
                let at = commit.rows.values().map(|row| row.at).max().unwrap_or(UnixMs(0));
                if self.until.time.is_some_and(|to| at > to) {
                    return Ok(false);
                }
                self.done.time = self.done.time.max(at);
                self.enveloped(lsn, record, &commit, at).await?;
            }
        }
        self.done.records += 1;
        self.done.lsn = lsn;
        Ok(true)
    }

    /// Looks at the tables again, where that is due.
    async fn look(&mut self) -> Result<(), Error> {
        if self.node.is_none() {
            let Some(tables) = Tables::find(&self.db).await? else { return Ok(()) };
            let store = Store::open(&self.cx, self.db.clone(), ROWS).await?;
            let commands = Commands::load(tables.clone(), &NodeConfig::new("", ""), 0).await?;
            self.node = Some(Node { tables, store, commands });
            self.stale = Stale::default();
        }
        Ok(())
    }

    async fn enveloped(
        &mut self,
        lsn: Lsn,
        record: &[u8],
        commit: &Commit,
        at: UnixMs,
    ) -> Result<(), Error> {
        let Node { tables, store, commands } = self.node.as_mut().expect("there are tables");
        let stale = std::mem::take(&mut self.stale);
        if stale.commands {
            let last = commands.last_ticket();
            *commands = Commands::load(tables.clone(), &NodeConfig::new("", ""), last).await?;
        }
        if stale.store {
            store.reset().await?;
        }
        store.catch_up();
        store.pass(at).await?;
        let redacted = self.terms.is_redacted.then(|| tables.of(Table::Inflight).id());
        store.expect(record.to_vec(), redacted);
        let (done, until) = (&mut self.done, &self.until);
        let mut has_diverged = false;
        let mut each = |number: u64, row: &Row, redone: Redone| {
            has_diverged |= matches!(redone, Redone::Other(..));
            if until.session.is_some() && row.session != until.session {
                return;
            }
            done.steps += row.record.steps();
            if row.record.is_end() {
                done.commands += 1;
            }
            match redone {
                Redone::Same => {}
                Redone::Taken => done.taken += 1,
                Redone::Withheld => done.withheld += 1,
                Redone::Other(expected, got) => {
                    done.divergences += 1;
                    let (id, command) = named(row).unzip();
                    let (row, id) = (Some(number), id.cloned());
                    let found = Divergence { lsn, row, id, command, expected, got };
                    done.divergence.get_or_insert(found);
                }
            }
        };
        let now = Now { cx: self.cx, at };
        commands.redo(commit, store, &self.terms, now, &mut each).await?;
        commands.prepare();
        commands.writes.at = at;
        store.commit(Some((&commands.writes, &*tables))).await?;
        commands.committed();
        self.done.enveloped += 1;
        let recorded = store.take_recorded();
        // Nothing was computed: none of its rows can be.
        if !recorded.is_done {
            let _in_memory = self.db.redo(record).await?;
        }
        self.stale.store |= recorded.is_withholding();
        let difference = recorded.difference.filter(|_| self.terms.only.is_none());
        if difference.is_some() || has_diverged || self.terms.only.is_some() {
            self.stale = Stale { store: true, commands: true };
        }
        if let Some(difference) = difference
            && !has_diverged
            && until.session.is_none()
        {
            self.done.divergences += 1;
            let key = difference.key.escape_ascii();
            let show = |written: Option<Option<Vec<u8>>>| match written {
                None => format!("no write of {key} in keyspace {}", difference.keyspace),
                Some(None) => format!("{key} of keyspace {} deleted", difference.keyspace),
                Some(Some(value)) => {
                    let value = value.escape_ascii();
                    format!("{key} of keyspace {} as {value}", difference.keyspace)
                }
            };
            let expected = show(difference.recorded.clone());
            let got = show(difference.computed.clone());
            let (row, id, command) = (None, None, None);
            let found = Divergence { lsn, row, id, command, expected, got };
            self.done.divergence.get_or_insert(found);
        }
        Ok(())
    }
}

/// What a record writes to the tables of commands, and whether rows of the history are among it.
fn writes_of<'a>(tables: &Tables, record: &'a [u8]) -> (Vec<Write<'a>>, bool) {
    let mut has_rows = false;
    let mut writes = Vec::new();
    for op in ops(record).map_while(Result::ok) {
        let (keyspace, key, value) = match op {
            Op::Put { keyspace, key, value, .. } => (keyspace, key, Some(value)),
            Op::Delete { keyspace, key } => (keyspace, key, None),
            _ => continue,
        };
        if let Some(table) = tables.table(keyspace) {
            has_rows |= table == Table::History && value.is_some();
            writes.push((table, key, value));
        }
    }
    (writes, has_rows)
}

/// The time that a record tells, if it does.
fn time_of(record: &[u8]) -> Option<UnixMs> {
    let clock = |op: Op<'_>| match op {
        Op::Clock(now) => Some(UnixMs(now)),
        _ => None,
    };
    ops(record).map_while(Result::ok).filter_map(clock).max()
}
