//! The witness of a run: what the users of the database did, were told and were shown.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use orloj_invariants::{
    Durability, Ending, Moment,
    engine::{
        Begin, CacheUse, Change, Dump, Failure, Found, History, KeyspaceId, Listing, Look, Read,
        Span, Told, Version, Write, WriteId, written_by,
    },
};
use orloj_sim::{Control, fault::FaultClass, graph::Kind};
use orloj_storage::{Database, Error, Verdict};

use crate::{Tally, nemesis::Victim, recorder::now, scenario::EnginePlan};

/// What everybody does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Faults strike.
    Chaos,
    /// They are over; what they left may still show.
    Quiet,
    /// Everything must work.
    Calm,
    /// The content is read after an opening.
    Dump,
    /// The same, and then the files are looked at and copied.
    Last,
}

/// Outlives every process that feeds it. Nothing is held across an await.
pub(super) struct Recorder {
    inner: Mutex<Inner>,
    /// Whether somebody reads the story.
    tells: bool,
    stop: AtomicBool,
}

struct Inner {
    history: History,
    phase: Phase,
    /// How the process is about to go down, or went down.
    strike: Ending,
    /// How those before it went down, back to the last that had the database open.
    before: Ending,
    is_up: bool,
    has_ended: bool,
    /// Why the last opening failed.
    refusal: Option<String>,
    /// Times that this life took history back, as far as it is known.
    taken_back: usize,
    /// The newest version that was acknowledged in this stretch.
    newest: Version,
    /// The database's time as it was last told, in Unix ms, and when that was.
    clock: (u64, Moment),
    /// The latest time that any life may have had.
    latest: u64,
    /// Keyspaces that must be there, and from which version on all keep everything.
    expected: BTreeSet<KeyspaceId>,
    clients_left: u64,
    tally: Tally,
    keep_since: BTreeMap<KeyspaceId, Version>,
    /// Of a load: since when its keys are there, and which version they have.
    loads: BTreeMap<WriteId, (Version, Option<Version>)>,
}

impl Recorder {
    pub(super) fn new(plan: &EnginePlan, tells: bool) -> Arc<Recorder> {
        let history = History {
            mode: plan.durability,
            spans: Vec::new(),
            writes: Vec::new(),
            reads: Vec::new(),
            listings: Vec::new(),
            wrong: Vec::new(),
            lost_snapshots: Vec::new(),
            caches: Vec::new(),
            failures: Vec::new(),
            dumps: Vec::new(),
        };
        let inner = Inner {
            history,
            phase: Phase::Chaos,
            strike: Ending::Stopped,
            before: Ending::Stopped,
            is_up: false,
            has_ended: false,
            refusal: None,
            taken_back: 0,
            newest: 0,
            clock: (0, Moment(0)),
            latest: 0,
            expected: BTreeSet::new(),
            clients_left: 0,
            tally: Tally::default(),
            keep_since: BTreeMap::new(),
            loads: BTreeMap::new(),
        };
        Arc::new(Recorder { inner: Mutex::new(inner), tells, stop: AtomicBool::new(false) })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tell(&self, line: impl FnOnce() -> String) {
        if self.tells {
            Control.tell("engine", &line());
        }
    }

    fn tell_of(&self, kind: Kind, id: WriteId, line: impl FnOnce() -> String) {
        if self.tells {
            Control.tell_of(kind, id as u64, "engine", &line());
        }
    }

    // What the process says.

    /// The process begins.
    pub(super) fn boots(&self) {
        self.stop.store(false, Relaxed);
        let mut inner = self.inner();
        (inner.has_ended, inner.is_up) = (false, false);
        // A strike that is announced from now on is for this process, which may be long in opening.
        match std::mem::replace(&mut inner.strike, Ending::Stopped) {
            Ending::Crash if inner.before == Ending::PowerLoss => {}
            Ending::Stopped => {}
            worse => inner.before = worse,
        }
    }

    /// The database is open.
    pub(super) fn opened(&self, db: &Database, base: Version, clients: u64) {
        let mut inner = self.inner();
        // The last sign of life. Afterwards the database's time may have gone on until now, on a
        // clock that is a sixteenth too fast at most.
        let (time, died) = inner.clock;
        let passed = now().since(died).as_millis() as u64;
        inner.latest = inner.latest.max(time + passed + passed / 16 + 2);
        let after = std::mem::replace(&mut inner.before, Ending::Stopped);
        let begin = Begin::Opened { after, died };
        inner.history.spans.push(Span { begin, at: now(), base });
        (inner.taken_back, inner.newest) = (db.taken_back().len(), base);
        (inner.is_up, inner.clients_left, inner.refusal) = (true, clients, None);
        inner.tally.lives += 1;
        if inner.history.mode == Durability::InMemory {
            // Numbers of keyspaces begin anew, too.
            inner.keep_since.clear();
        }
        inner.note(db);
        drop(inner);
        self.tell(|| format!("recovered version {base}"));
    }

    /// Which keyspaces there are after an opening.
    pub(super) fn lists(&self, there: Vec<KeyspaceId>) {
        let mut inner = self.inner();
        if inner.history.mode != Durability::InMemory {
            let expected = inner.expected.iter().copied().collect();
            inner.history.listings.push(Listing { at: now(), there: there.clone(), expected });
        }
        // Of those whose end nobody was told of, whoever is gone is gone.
        inner.expected.retain(|id| there.contains(id));
        inner.expected.extend(there);
    }

    /// The process has ended by itself, and why.
    pub(super) fn ended(&self, why: &str, is_in_order: bool) {
        let mut inner = self.inner();
        // What a failed sync has dropped is as lost as by a power cut.
        inner.strike = if is_in_order { Ending::Stopped } else { Ending::PowerLoss };
        (inner.has_ended, inner.is_up) = (true, false);
        if !is_in_order {
            inner.refusal = Some(why.to_owned());
        }
        drop(inner);
        self.tell(|| format!("ended: {why}"));
    }

    /// A client has done all that it was to do in calm.
    pub(super) fn client_done(&self) {
        let mut inner = self.inner();
        inner.clients_left = inner.clients_left.saturating_sub(1);
    }

    pub(super) fn is_to_stop(&self) -> bool {
        self.stop.load(Relaxed)
    }

    // What clients say.

    /// A write is asked for.
    pub(super) fn begins(
        &self,
        db: &Database,
        changes: impl FnOnce(WriteId) -> Vec<Change>,
        rests_on: Vec<Look>,
        since: Option<Version>,
    ) -> WriteId {
        let mut inner = self.inner();
        inner.note(db);
        let id = inner.history.writes.len();
        let changes = changes(id);
        for change in &changes {
            match change {
                Change::Drop(keyspace) => {
                    inner.expected.remove(keyspace);
                }
                Change::Clear(keyspace) => {
                    inner.keep_since.remove(keyspace);
                }
                Change::Put { .. } | Change::Delete { .. } => {}
            }
        }
        self.tell_of(Kind::Begin, id, || format!("write {id}: {}", shown(&changes)));
        let (invoked, span, after) = (now(), inner.span(), inner.newest);
        let told = Told::Nothing;
        inner.history.writes.push(Write { changes, invoked, span, after, rests_on, since, told });
        inner.tally.requests += 1;
        id
    }

    /// What became of a write.
    pub(super) fn ends(
        &self,
        db: &Database,
        id: WriteId,
        told: &Result<orloj_storage::Lsn, Error>,
        durable: bool,
    ) {
        let mut inner = self.inner();
        inner.note(db);
        let (at, span) = (now(), inner.span());
        match told {
            Ok(version) => {
                let version = version.0;
                inner.newest = inner.newest.max(version);
                let told = Told::Version { at, span, version, durable };
                inner.history.writes[id].told = told;
                inner.tally.executed += 1;
                inner.tally.answered += 1;
            }
            Err(error) => {
                // Where writes are shown before the journal has them, who waited for that may have
                // been seen.
                let was_shown = durable
                    && inner.history.mode != orloj_invariants::Durability::Strict
                    && matches!(error, Error::ReadOnly { .. });
                if !is_in_doubt(error) {
                    inner.history.writes[id].told = match was_shown {
                        true => Told::TakenBack { span },
                        false => Told::Refused,
                    };
                    inner.tally.answered += 1;
                }
            }
        }
        self.tell_of(Kind::End, id, || format!("write {id}: {told:?}"));
    }

    /// A write of which nothing was heard before will not be asked for again.
    pub(super) fn came_to_nothing(&self, id: WriteId) {
        self.inner().history.writes[id].told = Told::Refused;
    }

    /// The stretch in which a read begins, the newest version that it must know of, and the
    /// database's time.
    pub(super) fn begins_read(&self, db: &Database) -> (usize, Version, u64) {
        let mut inner = self.inner();
        inner.note(db);
        (inner.span(), inner.newest, db.now())
    }

    /// The latest time that any life may have had so far.
    pub(super) fn latest(&self, db: &Database) -> u64 {
        let mut inner = self.inner();
        inner.note(db);
        inner.latest
    }

    /// Something was shown. `begun` is the stretch in which the read began.
    pub(super) fn shows(&self, db: &Database, look: Look, at: (Version, Version), begun: usize) {
        let mut inner = self.inner();
        inner.note(db);
        let span = (inner.span() == begun).then_some(begun);
        inner.tally.requests += 1;
        inner.tally.answered += 1;
        let read = Read { look, at, span, done: now() };
        inner.history.reads.push(read);
    }

    /// Which write gave a key these bytes; `None` if none did, which is told to the law.
    pub(super) fn reads(
        &self,
        keyspace: KeyspaceId,
        key: &[u8],
        version: Version,
        bytes: &[u8],
    ) -> Option<Found> {
        let mut inner = self.inner();
        let found = written_by(inner.history.writes.len(), keyspace, key, bytes);
        let found = found.and_then(|write| Ok((write, inner.since(write, version)?)));
        match found {
            Ok((write, version)) => Some(Found { key: key.to_vec(), version, write }),
            Err(why) => {
                let key = orloj_invariants::show_bytes(key);
                let what = format!("key {key} of keyspace {keyspace} at version {version}: {why}");
                inner.history.wrong.push((now(), what));
                None
            }
        }
    }

    /// The keys of a load are there since a version, which is later than their own.
    pub(super) fn loaded(&self, id: WriteId, since: Version) {
        self.inner().loads.insert(id, (since, None));
    }

    /// A snapshot could not be read although it was held.
    pub(super) fn lost_snapshot(&self, what: String) {
        self.inner().history.lost_snapshots.push((now(), what));
    }

    /// A keyspace was made, durably; if it keeps everything, from which version on.
    pub(super) fn made(&self, keyspace: KeyspaceId, keeps_since: Option<Version>) {
        let mut inner = self.inner();
        inner.expected.insert(keyspace);
        inner.keep_since.extend(keeps_since.map(|since| (keyspace, since)));
    }

    /// From which version on a keyspace must have everything.
    pub(super) fn keeps_since(&self, keyspace: KeyspaceId) -> Option<Version> {
        self.inner().keep_since.get(&keyspace).copied()
    }

    pub(super) fn cache(&self, bytes: u64, allowed: u64) {
        self.inner().history.caches.push(CacheUse { at: now(), bytes, allowed });
    }

    /// Something failed that had no cause to.
    pub(super) fn fails(&self, what: String) {
        self.tell(|| format!("FAILS {what}"));
        self.inner().history.failures.push(Failure { at: now(), what });
    }

    pub(super) fn dumps(&self, db: &Database, content: Vec<(KeyspaceId, Found)>) {
        let mut inner = self.inner();
        inner.note(db);
        let (at, latest) = (now(), inner.latest);
        inner.history.dumps.push(Dump { at, content, latest });
    }

    // What the scenario asks.

    pub(super) fn phase(&self) -> Phase {
        self.inner().phase
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.inner().phase = phase;
        self.tell(|| format!("phase {phase:?}"));
    }

    pub(super) fn is_up(&self) -> bool {
        self.inner().is_up
    }

    pub(super) fn take_ended(&self) -> bool {
        std::mem::take(&mut self.inner().has_ended)
    }

    pub(super) fn are_clients_done(&self) -> bool {
        self.inner().clients_left == 0
    }

    pub(super) fn has_dumped(&self, number: usize) -> bool {
        let inner = self.inner();
        // The last life also compares a copy.
        let wanted = if inner.phase == Phase::Last { number + 2 } else { number + 1 };
        inner.history.dumps.len() >= wanted
    }

    /// The database did not open although nothing was wrong any more.
    pub(super) fn never_opened(&self, may_refuse: bool) {
        let why = self.inner().refusal.clone();
        if !(may_refuse && was_damaged()) {
            self.fails(format!("the database does not open: {why:?}"));
        }
    }

    /// Clients did not come to their end in calm.
    pub(super) fn never_ended(&self, may_refuse: bool) {
        if !(may_refuse && was_damaged()) {
            let inner = self.inner();
            let (left, why) = (inner.clients_left, inner.refusal.clone());
            drop(inner);
            self.fails(format!("{left} clients never come to their end: {why:?}"));
        }
    }

    pub(super) fn history(&self) -> History {
        self.inner().history.clone()
    }

    pub(super) fn tally(&self) -> Tally {
        self.inner().tally
    }
}

impl Inner {
    fn span(&self) -> usize {
        self.history.spans.len() - 1
    }

    /// Since when what `write` wrote is there, of a key that has `version`.
    fn since(&mut self, write: WriteId, version: Version) -> Result<Version, String> {
        let Some((since, own)) = self.loads.get_mut(&write) else { return Ok(version) };
        let known = *own.get_or_insert(version);
        match version == known && version <= *since {
            true => Ok(*since),
            false => Err(format!("load {write} was of version {known}, since {since}")),
        }
    }

    /// Looks at what the database says of itself: its time, and whether it took anything back.
    fn note(&mut self, db: &Database) {
        let taken_back = db.taken_back();
        for from in taken_back.iter().skip(self.taken_back) {
            let base = from.0 - 1;
            self.history.spans.push(Span { begin: Begin::TakenBack, at: now(), base });
            self.newest = self.newest.min(base);
        }
        self.taken_back = taken_back.len();
        self.clock = (db.now(), now());
        self.latest = self.latest.max(self.clock.0);
    }
}

impl Victim for Recorder {
    fn strikes(&self, how: Ending) {
        self.inner().strike = how;
    }

    fn has_refused(&self) -> bool {
        false
    }

    fn ask_to_stop(&self) {
        self.stop.store(true, Relaxed);
    }
}

/// Whether something was damaged that a single disk cannot make good.
pub(super) fn was_damaged() -> bool {
    use FaultClass as C;
    let faults = Control.faults();
    [
        C::DiskBitRot,
        C::DiskMisdirectedRead,
        C::DiskMisdirectedWrite,
        C::DiskStale,
        C::DiskZeroed,
        C::DiskReadError,
    ]
    .iter()
    .any(|class| faults.injected(*class) > 0)
}

/// Whether a write that was told so may have happened, by what the engine's errors say.
fn is_in_doubt(error: &Error) -> bool {
    let is_lost = matches!(error, Error::InDoubt { .. } | Error::Closed);
    is_lost || error.verdict() == Verdict::Halt
}

fn shown(changes: &[Change]) -> String {
    let key = |key: &[u8]| orloj_invariants::show_bytes(key);
    let one = |change: &Change| match change {
        Change::Put { keyspace, key: k, deadline: None } => format!("put {keyspace} {} ", key(k)),
        Change::Put { keyspace, key: k, deadline: Some(deadline) } => {
            format!("put {keyspace} {} until {deadline}", key(k))
        }
        Change::Delete { keyspace, key: k } => format!("delete {keyspace} {} ", key(k)),
        Change::Clear(keyspace) => format!("clear {keyspace}"),
        Change::Drop(keyspace) => format!("drop {keyspace}"),
    };
    changes.iter().map(one).collect::<Vec<_>>().join(", ")
}
