//! Transactions as scripts, interleaved step by step in a written order, with their history.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    TERMS, USERS,
    history::{History, Id},
};
use crate::{
    Durability, Error, Lsn,
    journal::Records,
    locks::{Mode, Wait, tests::is_over},
    tree::{At, Attempt, Cursor, Keyspace, Pause, Tree},
    txn::{
        Isolation, Locked, Transaction,
        single::{Aborts, Access, Action, Execution, Progress, Row, SingleShot},
    },
};

/// How a transaction runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Not as one: each step stands alone. Shows what there is to be protected from.
    Alone,
    Snapshot,
    Serializable,
    Locked,
}

/// One step of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Get(&'static str),
    /// A value that nobody else writes.
    Put(&'static str),
    Delete(&'static str),
    /// From a key on and before another.
    Scan(&'static str, &'static str),
    /// The same, from the back.
    ScanBack(&'static str, &'static str),
    /// Only the first keys of a range.
    ScanSome(&'static str, &'static str, usize),
    /// Reads one key and writes another, as a single shot. Alone in its script.
    Shot(&'static str, &'static str),
    /// A single write that asks for nothing. Alone in its script.
    Blind(&'static str),
    /// Reads the latest of a key, outside of any transaction.
    Look(&'static str),
    /// Replaces what was seen by the last look, if it still is so. The end of its script.
    Swap(&'static str),
    Commit,
    Abort,
}

/// How a transaction ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    Committed,
    /// As it wanted to.
    Aborted,
    Failed(Error),
}

#[derive(Debug)]
enum Txn {
    Alone,
    Optimistic(Box<Transaction>),
    Locked(Box<Locked>),
    /// A single shot, and the value that it writes.
    Shot(Box<Execution<'static>>, &'static [u8]),
}

/// A script that is being run.
#[derive(Debug)]
pub(super) struct Actor {
    id: Id,
    steps: Vec<Step>,
    at: usize,
    txn: Txn,
    /// What it has written so far.
    own: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// The version of its last look, and the value.
    looked: (Lsn, Option<Vec<u8>>),
    wait: Option<Wait>,
    pub(super) end: Option<End>,
}

/// A tree on which scripts are run.
#[derive(Debug)]
pub(super) struct World {
    pub(super) tree: Arc<Tree>,
    users: Arc<Keyspace>,
    pub(super) history: History,
    values: u32,
    ids: Id,
    pub(super) waits: usize,
}

impl World {
    /// An empty tree with pages so small that they split.
    pub(super) fn new(mode: Durability) -> World {
        let (tree, users) = super::tree(mode);
        let history = History::default();
        let world = World { tree, users, history, values: 0, ids: 0, waits: 0 };
        world.sync();
        world
    }

    /// Makes everything durable.
    pub(super) fn sync(&self) {
        if !self.tree.tail().is_drained() {
            let last = self.tree.tail().drain(&mut Records::new());
            self.tree.tail().durable(last);
        }
    }

    /// Begins a transaction.
    pub(super) fn begin(&mut self, level: Level, steps: &[Step]) -> Actor {
        self.ids += 1;
        let optimistic =
            |isolation| Txn::Optimistic(Box::new(Transaction::begin(&self.tree, isolation, TERMS)));
        let txn = match level {
            Level::Alone => Txn::Alone,
            Level::Snapshot => optimistic(Isolation::Snapshot),
            Level::Serializable => optimistic(Isolation::Serializable),
            Level::Locked => Txn::Locked(Box::new(Locked::begin(&self.tree, TERMS))),
        };
        let (own, steps) = (BTreeMap::new(), steps.to_vec());
        Actor {
            id: self.ids,
            steps,
            at: 0,
            txn,
            own,
            looked: (Lsn(0), None),
            wait: None,
            end: None,
        }
    }

    /// Runs scripts at one level, each turn the next step of the one that `order` names, and then
    /// all in turn until they have ended. Transactions begin with their first step.
    pub(super) fn run(&mut self, level: Level, scripts: &[&[Step]], order: &[usize]) -> Vec<End> {
        let mut actors: Vec<Option<Actor>> = scripts.iter().map(|_| None).collect();
        let all = (0..scripts.len()).cycle().take(scripts.len() * 200);
        for at in order.iter().copied().chain(all) {
            if actors[at].is_none() {
                actors[at] = Some(self.begin(level, scripts[at]));
            }
            self.step(actors[at].as_mut().expect("it has begun"));
        }
        let end = |actor: Option<Actor>| actor.and_then(|actor| actor.end).expect("it ends");
        actors.into_iter().map(end).collect()
    }

    /// Takes an actor's next step, unless it waits or has ended. Whether it could.
    pub(super) fn step(&mut self, actor: &mut Actor) -> bool {
        if actor.end.is_some() || actor.wait.as_mut().is_some_and(|wait| !is_over(wait)) {
            return false;
        }
        actor.wait = None;
        match self.act(actor) {
            Ok(()) => actor.at += 1,
            Err(Pause::Wait(wait)) => {
                self.waits += 1;
                actor.wait = Some(wait);
            }
            // A single write alone: it asks again, since there is nobody to wait for it.
            Err(Pause::Locked(_)) => {}
            Err(Pause::Failed(error)) => {
                actor.end = Some(End::Failed(error));
                self.give_up(actor);
            }
            Err(pause) => panic!("all is in memory: {pause:?}"),
        }
        true
    }

    fn give_up(&mut self, actor: &mut Actor) {
        actor.txn = Txn::Alone;
        for value in actor.own.values().flatten() {
            self.history.intermediate(actor.id, value);
        }
    }

    fn act(&mut self, actor: &mut Actor) -> Attempt<()> {
        match actor.steps[actor.at] {
            Step::Get(key) => self.get(actor, key.as_bytes()),
            Step::Put(key) => {
                let value = self.value(actor.id);
                self.write(actor, key.as_bytes(), Some(value))
            }
            Step::Delete(key) => self.write(actor, key.as_bytes(), None),
            Step::Scan(from, to) => self.scan(actor, from, to, true, usize::MAX),
            Step::ScanBack(from, to) => self.scan(actor, from, to, false, usize::MAX),
            Step::ScanSome(from, to, limit) => self.scan(actor, from, to, true, limit),
            Step::Shot(from, to) => self.shot(actor, from, to),
            Step::Blind(key) => self.blind(actor, key.as_bytes()),
            Step::Look(key) => self.look(actor, key.as_bytes()),
            Step::Swap(key) => self.swap(actor, key.as_bytes()),
            Step::Commit => self.commit(actor),
            Step::Abort => {
                actor.end = Some(End::Aborted);
                self.give_up(actor);
                Ok(())
            }
        }
    }

    fn get(&mut self, actor: &mut Actor, key: &[u8]) -> Attempt<()> {
        let mut out = Vec::new();
        let will_write = actor.steps[actor.at..].iter().any(|step| {
            matches!(step, Step::Put(other) | Step::Delete(other) if other.as_bytes() == key)
        });
        let found = match &mut actor.txn {
            Txn::Alone | Txn::Shot(..) => {
                self.tree.get(&self.users, key, At::Assigned, &mut out)?.is_some()
            }
            Txn::Optimistic(txn) => txn.get(&self.users, key, &mut out)?.is_some(),
            Txn::Locked(txn) => {
                let mode = if will_write { Mode::Update } else { Mode::Shared };
                txn.get(&self.users, key, mode, &mut out)?.is_some()
            }
        };
        let saw = found.then_some(out);
        match actor.own.get(key).filter(|_| !matches!(actor.txn, Txn::Alone)) {
            Some(own) => assert_eq!(saw, *own, "it sees its own writes"),
            None => {
                let at = actor.state(self.tree.tail().assigned());
                self.history.read(actor.id, key, saw.as_deref(), at);
            }
        }
        Ok(())
    }

    fn write(&mut self, actor: &mut Actor, key: &[u8], value: Option<Vec<u8>>) -> Attempt<()> {
        match (&mut actor.txn, &value) {
            (Txn::Alone, value) => {
                let version = match value {
                    Some(value) => self.tree.put(&self.users, key, value, None)?,
                    None => self.tree.delete(&self.users, key)?,
                };
                self.history.installed(actor.id, key, value.as_deref(), version);
            }
            (Txn::Optimistic(txn), Some(value)) => txn.put(&self.users, key, value, None)?,
            (Txn::Optimistic(txn), None) => txn.delete(&self.users, key)?,
            (Txn::Locked(txn), Some(value)) => txn.put(&self.users, key, value, None)?,
            (Txn::Locked(txn), None) => txn.delete(&self.users, key)?,
            (Txn::Shot(..), _) => unreachable!("a shot is alone in its script"),
        }
        if let Some(Some(old)) = actor.own.insert(key.to_vec(), value) {
            self.history.intermediate(actor.id, &old);
        }
        Ok(())
    }

    fn scan(
        &mut self,
        actor: &mut Actor,
        from: &str,
        to: &str,
        is_front: bool,
        limit: usize,
    ) -> Attempt<()> {
        let (from, to) = (from.as_bytes(), to.as_bytes());
        let mut saw = Vec::new();
        let assigned = self.tree.tail().assigned();
        match &mut actor.txn {
            Txn::Alone | Txn::Shot(..) => {
                let mut cursor = Cursor::new(&self.users, from, Some(to), assigned)?;
                while saw.len() < limit {
                    let item = if is_front { cursor.next()? } else { cursor.back()? };
                    let Some(item) = item else { break };
                    saw.push((item.key.to_vec(), item.value.to_vec()));
                }
            }
            Txn::Optimistic(txn) => {
                let mut scan = txn.scan(&self.users, from, Some(to))?;
                while saw.len() < limit && txn.advance(&mut scan, is_front)? {
                    let entry = scan.shown();
                    saw.push((entry.key.to_vec(), entry.value.to_vec()));
                }
            }
            Txn::Locked(txn) => {
                let mut scan = txn.scan(&self.users, from, Some(to))?;
                while saw.len() < limit && txn.advance(&mut scan, is_front)? {
                    let entry = scan.shown();
                    saw.push((entry.key.to_vec(), entry.value.to_vec()));
                }
            }
        }
        let at = match &actor.txn {
            Txn::Alone | Txn::Shot(..) => assigned,
            Txn::Optimistic(txn) => txn.version(),
            Txn::Locked(_) => self.tree.tail().visible(),
        };
        if !is_front {
            saw.reverse();
        }
        // How far it came, if it stopped by itself: it knows nothing of what is behind.
        let to = match saw.last() {
            Some((last, _)) if saw.len() == limit => [last, &[0][..]].concat(),
            _ => to.to_vec(),
        };
        let mut saw: BTreeMap<Vec<u8>, Vec<u8>> = saw.into_iter().collect();
        let mut own = BTreeSet::new();
        if !matches!(actor.txn, Txn::Alone) {
            for (key, value) in actor.own.range(from.to_vec()..to.clone()) {
                assert_eq!(saw.remove(key), *value, "it sees its own writes");
                own.insert(key.clone());
            }
        }
        self.history.scan(actor.id, (from, &to), at, own, saw);
        Ok(())
    }

    fn shot(&mut self, actor: &mut Actor, from: &'static str, to: &'static str) -> Attempt<()> {
        if !matches!(actor.txn, Txn::Shot(..)) {
            // A shot outlives its waiting; a test can afford to forget a few bytes.
            let value = self.value(actor.id).leak();
            let row = |id, access, key: &'static str| Row {
                id,
                access,
                keyspace: USERS,
                key: key.as_bytes(),
            };
            let mut rows = vec![row(2, Access::Write, to)];
            if from != to {
                rows.push(row(1, Access::Read, from));
            }
            let read = if from == to { 2 } else { 1 };
            let put = Action::Put { value, deadline: None };
            let shot = SingleShot::new(rows, &[], &[(read, Action::Get), (2, put)]);
            let shot = Box::leak(Box::new(shot.expect("it makes sense")));
            let execution = Execution::new(shot, &self.tree, TERMS);
            actor.txn = Txn::Shot(Box::new(execution), value);
        }
        let Txn::Shot(execution, value) = &mut actor.txn else { unreachable!("just made") };
        let Progress::Done(outcome) = execution.run(&Aborts::default())? else {
            panic!("all is in memory")
        };
        let answers = outcome.result.expect("it asserts nothing");
        let (saw, at) = (answers[0].as_deref(), outcome.version);
        self.history.read(actor.id, from.as_bytes(), saw, at.previous());
        self.history.installed(actor.id, to.as_bytes(), Some(value), at);
        self.history.committed(actor.id, at, true);
        actor.end = Some(End::Committed);
        Ok(())
    }

    fn value(&mut self, id: Id) -> Vec<u8> {
        self.values += 1;
        format!("{id}.{}", self.values).into_bytes()
    }

    fn blind(&mut self, actor: &mut Actor, key: &[u8]) -> Attempt<()> {
        let value = self.value(actor.id);
        let version = self.tree.put(&self.users, key, &value, None)?;
        self.over(actor, &[(key.to_vec(), Some(value))].into(), version);
        Ok(())
    }

    fn look(&mut self, actor: &mut Actor, key: &[u8]) -> Attempt<()> {
        let mut out = Vec::new();
        let found = self.tree.get(&self.users, key, At::Assigned, &mut out)?;
        actor.looked = (found.map_or(Lsn(0), |found| found.version), found.map(|_| out));
        Ok(())
    }

    fn swap(&mut self, actor: &mut Actor, key: &[u8]) -> Attempt<()> {
        if !matches!(&actor.txn, Txn::Optimistic(_)) || actor.own.is_empty() {
            let mut txn = Transaction::begin(&self.tree, Isolation::Serializable, TERMS);
            let value = self.value(actor.id);
            txn.expect(&self.users, key, actor.looked.0);
            txn.put(&self.users, key, &value, None)?;
            actor.own.insert(key.to_vec(), Some(value));
            actor.txn = Txn::Optimistic(Box::new(txn));
        }
        self.commit(actor)?;
        // What it rests on is not that nothing happened since the look, but that all is as it was
        // then: a key that was not there may have come and gone.
        let at = self.history.version_of(actor.id).previous();
        self.history.read(actor.id, key, actor.looked.1.as_deref(), at);
        Ok(())
    }

    fn commit(&mut self, actor: &mut Actor) -> Attempt<()> {
        let (version, wrote) = match &mut actor.txn {
            Txn::Alone | Txn::Shot(..) => (self.tree.tail().assigned(), false),
            Txn::Optimistic(txn) => (txn.commit()?, !actor.own.is_empty()),
            Txn::Locked(txn) => (txn.commit()?, !actor.own.is_empty()),
        };
        // What a transaction of its own wrote has become versions by now.
        let own = std::mem::take(&mut actor.own);
        self.over(actor, &if wrote { own } else { BTreeMap::new() }, version);
        Ok(())
    }

    /// An actor has committed and made `own` of `version`.
    fn over(&mut self, actor: &mut Actor, own: &BTreeMap<Vec<u8>, Option<Vec<u8>>>, version: Lsn) {
        for (key, value) in own {
            self.history.installed(actor.id, key, value.as_deref(), version);
        }
        self.history.committed(actor.id, version, !own.is_empty());
        actor.end = Some(End::Committed);
        actor.txn = Txn::Alone;
    }
}

impl Actor {
    /// The state that a read of one key is of, the newest being `assigned`.
    fn state(&self, assigned: Lsn) -> Lsn {
        match &self.txn {
            Txn::Optimistic(txn) => txn.version(),
            Txn::Alone | Txn::Shot(..) | Txn::Locked(_) => assigned,
        }
    }
}
