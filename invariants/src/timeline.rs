//! The history put in order: each life replayed through the model, and what became of every
//! command.
//!
//! A life begins with the prefix of history that its recovery kept; whatever lies above that
//! version never happened for this life and all later ones. Versions above it are then handed out
//! again, so a command is named by its place (life and position), never by its version alone.

use std::collections::BTreeMap;

use orloj_net::{Answer, Command, UnixMs};

use crate::{Executed, History, Model, OpId, Operation};

/// Where in the node's account a command stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Which life, counted from 0.
    pub life: usize,
    /// Which position in `executed` of that life.
    pub position: usize,
}

/// What the model made of one executed command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The command it is about.
    pub place: Place,
    /// Whether it changed the store.
    pub changed: bool,
    /// Whether it has a version of its own: it changed the store, or found that time had.
    pub recorded: bool,
    /// The model's answer, where the node gave another.
    pub expected: Option<Answer>,
}

/// What became of an executed command's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Every later recovery kept it.
    Survives,
    /// The recovery that began this life did not.
    LostBy(usize),
}

/// A command with a version of its own.
struct Recorded<'h> {
    version: u64,
    at: UnixMs,
    command: &'h Command,
}

/// A history with its order worked out.
pub struct Timeline<'h> {
    /// What was observed.
    pub history: &'h History,
    /// Every executed command, life by life in commit order, as the model saw it.
    pub steps: Vec<Vec<Step>>,
    /// The store at the end, if every answer was right.
    pub last: Model,
    ops: BTreeMap<OpId, usize>,
    places: BTreeMap<OpId, Vec<Place>>,
}

impl<'h> Timeline<'h> {
    /// Replays `history` through the model.
    pub fn new(history: &'h History) -> Timeline<'h> {
        let ops = history.ops.iter().enumerate().map(|(i, op)| (op.id, i)).collect();
        let mut places: BTreeMap<OpId, Vec<Place>> = BTreeMap::new();
        for (life, l) in history.lives.iter().enumerate() {
            for (position, executed) in l.executed.iter().enumerate() {
                let place = Place { life, position };
                executed.op.into_iter().for_each(|op| places.entry(op).or_default().push(place));
            }
        }
        let mut timeline = Timeline { history, steps: Vec::new(), last: Model::new(), ops, places };
        let mut log = Vec::new();
        for life in 0..history.lives.len() {
            timeline.live(life, &mut log);
        }
        timeline
    }

    fn live(&mut self, life: usize, log: &mut Vec<Recorded<'h>>) {
        let l = &self.history.lives[life];
        log.retain(|recorded| recorded.version <= l.recovered);
        let mut model = Model::new();
        for recorded in &*log {
            model.apply(recorded.command, recorded.at);
        }
        let mut newest = l.recovered;
        let mut steps = Vec::with_capacity(l.executed.len());
        for position in self.commit_order(life) {
            let Executed { command, answer, version, at, .. } = &l.executed[position];
            let before = model.changes();
            let expected = model.judge(command, *at, answer).err();
            let changed = model.changes() > before;
            let recorded = changed || *version > newest;
            newest = newest.max(*version);
            if recorded {
                log.push(Recorded { version: *version, at: *at, command });
            }
            steps.push(Step { place: Place { life, position }, changed, recorded, expected });
        }
        self.steps.push(steps);
        self.last = model;
    }

    /// The positions of a life by version, those of one version as they were executed: the write
    /// that made a version comes before its readers.
    fn commit_order(&self, life: usize) -> Vec<usize> {
        let executed = &self.history.lives[life].executed;
        let mut order: Vec<usize> = (0..executed.len()).collect();
        order.sort_by_key(|position| executed[*position].version);
        order
    }

    /// The store as life `life` had it when it had come to `version`.
    pub fn store_at(&self, life: usize, version: u64) -> Model {
        let mut kept: Vec<Place> = Vec::new();
        for (steps, l) in self.steps.iter().zip(&self.history.lives).take(life + 1) {
            kept.retain(|place| self.executed(*place).version <= l.recovered);
            kept.extend(steps.iter().filter(|step| step.recorded).map(|step| step.place));
        }
        let mut model = Model::new();
        for place in kept {
            let executed = self.executed(place);
            if executed.version <= version {
                model.apply(&executed.command, executed.at);
            }
        }
        model
    }

    /// The operation `id` names.
    pub fn op(&self, id: OpId) -> Option<&'h Operation> {
        self.ops.get(&id).map(|i| &self.history.ops[*i])
    }

    /// Where the node executed the operation: nowhere, once, or wrongly more than once.
    pub fn places(&self, id: OpId) -> &[Place] {
        self.places.get(&id).map_or(&[], Vec::as_slice)
    }

    /// The command at `place`.
    pub fn executed(&self, place: Place) -> &'h Executed {
        &self.history.lives[place.life].executed[place.position]
    }

    /// Whether state of this version, as life `life` had it, outlived every later crash.
    pub fn fate(&self, life: usize, version: u64) -> Fate {
        let mut later = self.history.lives.iter().enumerate().skip(life + 1);
        let lost = later.find(|(_, l)| l.recovered < version);
        lost.map_or(Fate::Survives, |(life, _)| Fate::LostBy(life))
    }
}
