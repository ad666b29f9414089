//! Programs: what openraft may ask of the log and the state machine, in an order drawn by the
//! world, and every state that a crash may leave of it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use futures_util::stream;
use openraft::{
    EntryPayload, LogIdOptionExt, RaftLogReader,
    storage::{IOFlushed, RaftLogStorage, RaftStateMachine},
};
use openraft_rt::Oneshot;
use orloj_kernel::Context;
use orloj_storage::{
    Database, Durability, Options, Retention,
    database::{KeyRange, Keyspace},
};

use crate::{
    Entry, Kind, Peer,
    channel::Once,
    codec::{LogEntry, LogId, Members, StoredMembers, Vote},
    log::{LogReader, LogStore},
    machine::{self, Machine},
};

/// Steps of one life.
const STEPS: u32 = 40;

/// All that a node keeps.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct State {
    vote: Option<Vote>,
    purged: Option<LogId>,
    last: Option<LogId>,
    log: BTreeMap<u64, LogEntry>,
    applied: Option<LogId>,
    members: StoredMembers,
    /// The last turn that was done, and what all of them made.
    turn: u64,
    data: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl State {
    /// The turn that the next entry of data makes.
    fn next_turn(&self) -> u64 {
        let turns = self.log.values().filter_map(turn);
        turns.max().unwrap_or(0).max(self.turn) + 1
    }

    fn append(&mut self, entry: LogEntry) {
        self.last = Some(entry.log_id);
        self.log.insert(entry.log_id.index(), entry);
    }

    fn apply(&mut self, entry: &LogEntry) {
        self.applied = Some(entry.log_id);
        if let EntryPayload::Membership(members) = &entry.payload {
            self.members = StoredMembers::new(Some(entry.log_id), members.clone());
        }
        if let Some(turn) = turn(entry) {
            self.turn = turn;
            let (key, value) = effect(turn);
            self.data.insert(key, value);
        }
    }
}

/// The turn that an entry makes, if it is one of data.
fn turn(entry: &LogEntry) -> Option<u64> {
    match &entry.payload {
        EntryPayload::Normal(Entry { kind: Kind::Data { turn }, .. }) => Some(*turn),
        _ => None,
    }
}

/// What a turn writes: a key that others write, too; now and then a long value.
fn effect(turn: u64) -> (Vec<u8>, Vec<u8>) {
    let len = if turn.is_multiple_of(5) { 3_000 } else { 20 };
    (vec![b'k', (turn % 7) as u8], vec![turn as u8; len])
}

/// Every state that there was, and how many of them no crash may take back but the last.
#[derive(Clone, Debug)]
pub(super) struct Model(Arc<Mutex<Told>>);

#[derive(Debug)]
pub(super) struct Told {
    states: Vec<State>,
    /// The number of the newest state of which anybody was told that it is safe.
    safe: usize,
    /// Lives that came to their end.
    pub(super) whole: u32,
}

impl Model {
    pub(super) fn new() -> Model {
        Model(Arc::new(Mutex::new(Told { states: vec![State::default()], safe: 0, whole: 0 })))
    }

    pub(super) fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().expect("nobody panics while holding it")
    }

    fn now(&self) -> State {
        self.told().states.last().expect("there is one").clone()
    }

    /// From now on it may be so after a crash. Returns its number.
    fn begin(&self, state: State) -> usize {
        let mut told = self.told();
        told.states.push(state);
        told.states.len() - 1
    }

    /// It was told that this state, and so all before it, is safe.
    fn is_safe(&self, number: usize) {
        let mut told = self.told();
        told.safe = told.safe.max(number);
    }

    /// What was found must be one of the states that may be. From now on it is the one.
    pub(super) fn settle(&self, found: State) -> Result<(), String> {
        let mut told = self.told();
        let Some(at) = told.states.iter().rposition(|state| *state == found) else {
            let now = told.states.last().expect("there is one");
            return Err(format!("it never was so: {found:?}; at last it was {now:?}"));
        };
        if at < told.safe {
            return Err(format!("state {at} of {}: {} was safe", told.states.len(), told.safe));
        }
        (told.states, told.safe) = (vec![found], 0);
        Ok(())
    }
}

/// A node's storage.
pub(super) struct Node {
    cx: Context,
    db: Database,
    data: Keyspace,
    log: LogStore,
    reader: LogReader,
    machine: Machine,
}

impl Node {
    /// Opens it.
    pub(super) async fn open(cx: Context) -> Node {
        let options = Options {
            page_bytes: 4096,
            inline_bytes: 300,
            cache_bytes: 64 * 4096,
            segment_bytes: 64 << 10,
            checkpoint_bytes: 64 << 10,
            ..Options::new("db", Durability::Strict)
        };
        let (db, _) = Database::open(cx, options).await.expect("the disk works");
        let data = match db.keyspace("data") {
            Ok(data) => data,
            Err(_) => db.create_keyspace("data", Retention::All).await.expect("it is new"),
        };
        let opened = machine::open(cx, db.clone()).await;
        let (mut log, machine) = opened.unwrap_or_else(|error| panic!("{error}"));
        let reader = log.get_log_reader().await;
        Node { cx, db, data, log, reader, machine }
    }

    /// All there is.
    pub(super) async fn find(&mut self) -> State {
        let found = self.log.get_log_state().await.expect("it is known");
        let (applied, members) = self.machine.applied_state().await.expect("it is known");
        let entries = self.reader.try_get_log_entries(..).await.expect("the log is whole");
        let at = self.db.newest_snapshot().expect("it is open");
        let mut cursor = self.db.cursor(&self.data, KeyRange::from(..), &at).expect("it is kept");
        let mut data = BTreeMap::new();
        while let Some(item) = cursor.next().await.expect("the disk works") {
            data.insert(item.key.to_vec(), item.value.to_vec());
        }
        State {
            vote: self.reader.read_vote().await.expect("it is known"),
            purged: found.last_purged_log_id,
            last: found.last_log_id,
            log: entries.into_iter().map(|entry| (entry.log_id.index(), entry)).collect(),
            applied,
            members,
            turn: self.db.applied(),
            data,
        }
    }

    /// One life: steps, and after each a look at some of it.
    pub(super) async fn run(mut self, model: Model) {
        for _ in 0..STEPS {
            match self.cx.below(12) {
                0 | 1 => self.vote(&model).await,
                2..=5 => self.append(&model).await,
                6 => self.truncate(&model).await,
                7..=9 => self.apply(&model).await,
                10 => self.purge(&model).await,
                _ => drop(self.db.checkpoint().await.expect("the disk works")),
            }
            let state = model.now();
            let from = self.cx.below(state.last.next_index() + 1);
            let to = from + self.cx.below(20);
            let read = self.reader.try_get_log_entries(from..to).await.expect("it is whole");
            let told: Vec<LogEntry> = state.log.range(from..to).map(|(_, e)| e.clone()).collect();
            assert_eq!(read, told, "entries {from}..{to}");
        }
        assert_eq!(self.find().await, model.now(), "at the end");
        model.told().whole += 1;
    }

    async fn vote(&mut self, model: &Model) {
        let mut state = model.now();
        let vote = match state.vote {
            Some(vote) if !vote.committed && self.cx.below(2) == 0 => {
                Vote::new_committed(vote.leader_id.term, vote.leader_id.voted_for)
            }
            vote => {
                let term = vote.map_or(0, |vote| vote.leader_id.term);
                Vote::new(term + 1 + self.cx.below(3), 1 + self.cx.below(3))
            }
        };
        state.vote = Some(vote);
        let number = model.begin(state);
        self.log.save_vote(&vote).await.expect("the disk works");
        model.is_safe(number);
    }

    async fn append(&mut self, model: &Model) {
        let mut state = model.now();
        let term = state.vote.map_or(0, |vote| vote.leader_id.term);
        let mut entries = Vec::new();
        for _ in 0..1 + self.cx.below(6) {
            let payload = match self.cx.below(8) {
                0 => EntryPayload::Blank,
                1 => EntryPayload::Normal(Entry::bare(Kind::Epoch)),
                2 => EntryPayload::Membership(members(self.cx.below(3))),
                _ => {
                    let turn = state.next_turn();
                    let (key, value) = effect(turn);
                    let mut batch = self.db.batch(self.db.last_assigned());
                    batch.put(&self.data, &key, &value, None);
                    batch.applied(turn);
                    EntryPayload::Normal(Entry::data(turn, Bytes::from(batch.record())))
                }
            };
            let log_id = LogId::new_term_index(term, state.last.next_index());
            entries.push(LogEntry { log_id, payload });
            state.append(entries.last().expect("it was pushed").clone());
        }
        let number = model.begin(state);
        let (tell, told) = Once::channel();
        self.log.append(entries, IOFlushed::signal(tell)).await.expect("the disk works");
        let model = model.clone();
        let safe = self.cx.spawn("told", async move {
            told.await.expect("somebody tells").expect("the disk works");
            model.is_safe(number);
        });
        if self.cx.below(3) == 0 {
            safe.await.expect("it goes on");
        }
    }

    async fn truncate(&mut self, model: &Model) {
        let mut state = model.now();
        let kept = state.applied.next_index();
        let Some(cut) = state.last.next_index().checked_sub(kept).filter(|most| *most > 0) else {
            return;
        };
        let end = kept + self.cx.below(cut);
        drop(state.log.split_off(&end));
        let last = state.log.last_key_value().map(|(_, entry)| entry.log_id);
        state.last = last.or(state.purged);
        let last = state.last;
        // Whoever cuts off entries has a vote of a later term, or what it puts there were the same.
        let term = state.vote.map_or(0, |vote| vote.leader_id.term);
        let vote = Vote::new_committed(term + 1, 3);
        let voted = State { vote: Some(vote), ..model.now() };
        let number = model.begin(voted);
        self.log.save_vote(&vote).await.expect("the disk works");
        model.is_safe(number);
        state.vote = Some(vote);
        model.begin(state);
        self.log.truncate_after(last).await.expect("the disk works");
    }

    async fn apply(&mut self, model: &Model) {
        let mut state = model.now();
        let from = state.applied.next_index();
        let count = state.last.next_index() - from;
        let to = from + self.cx.below(count + 1);
        let entries: Vec<LogEntry> = state.log.range(from..to).map(|(_, e)| e.clone()).collect();
        for entry in &entries {
            state.apply(entry);
            model.begin(state.clone());
        }
        let items = entries.into_iter().map(|entry| Ok((entry, None)));
        self.machine.apply(stream::iter(items)).await.expect("it makes sense");
    }

    async fn purge(&mut self, model: &Model) {
        let mut state = model.now();
        let gone = |entry: &&LogEntry| Some(entry.log_id) <= state.applied;
        let mut may = state.log.values().filter(gone).map(|entry| entry.log_id);
        let count = may.clone().count() as u64;
        let Some(upto) = may.nth(self.cx.below(count.max(1)) as usize) else { return };
        state.purged = Some(upto);
        state.log = state.log.split_off(&(upto.index() + 1));
        model.begin(state);
        self.log.purge(upto).await.expect("the disk works");
    }
}

fn members(which: u64) -> Members {
    let peer = |id| (id, Peer { name: format!("n{id}"), address: format!("h{id}:1") });
    let nodes: BTreeMap<u64, Peer> = (1..=3 + which).map(peer).collect();
    Members::new(vec![nodes.keys().copied().collect()], nodes).expect("they are voters")
}
