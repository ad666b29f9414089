//! The single-threaded system that explains what a node says, one step after the other.
//!
//! It holds plain maps and takes a step only if the rules of causal commands allow it there. What a
//! node may choose (when to look at its clock, whom to refuse while it cannot serve) is taken as
//! told; everything else is computed: whether a request repeats another, whose turn it is, how a
//! command that has its turn must end, and what the store holds behind it.

mod admission;
mod cycle;
mod outcome;
mod turn;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use orloj_net::{
    UnixMs,
    envelope::{Code, Envelope, Id, Outcome, SessionName},
};

use super::{Limits, Told, What};
use crate::show_answer;

/// A lane: one of a session's, or the server's.
#[derive(Clone, Debug, Default)]
struct Lane {
    /// Steps told so far.
    sequence: u64,
    /// The session's version; `None` is no session.
    version: Option<u64>,
    /// Commands without an outcome, in the order of their acceptance.
    queue: VecDeque<u64>,
}

/// How far a command has come.
#[derive(Clone, Debug)]
enum Progress {
    /// Its lane has not come to it.
    Queued,
    /// Its lane has, and it waits for the command at this place of its list.
    Waiting {
        /// The place.
        on: usize,
        /// Since when it waits for any.
        since: UnixMs,
    },
    /// Its lane has, and a command it depends on decides that it fails.
    Doomed {
        doom: turn::Doom,
        /// From where on a command that has waited may look again: it does so when it goes on,
        /// and others may have ended, or come, until then; and since when it waits for any.
        again: Option<(usize, UnixMs)>,
    },
    /// Its lane has, and nothing stands in its way.
    Ready,
    /// It has its outcome.
    Done {
        outcome: Outcome,
        at: UnixMs,
        /// How many were finished before it.
        ordinal: usize,
    },
}

#[derive(Clone, Debug)]
struct Command {
    row: u64,
    id: Id,
    envelope: Envelope,
    accepted: UnixMs,
    progress: Progress,
}

/// The reference system.
#[derive(Clone, Debug)]
pub struct Model {
    limits: Limits,
    store: crate::Model,
    lanes: BTreeMap<Option<SessionName>, Lane>,
    commands: BTreeMap<u64, Command>,
    ids: BTreeMap<Id, u64>,
    keys: BTreeMap<(Option<SessionName>, Id), u64>,
    in_flight: BTreeSet<u64>,
    /// Those that a recovery found started and that it has not failed yet.
    interrupted: BTreeSet<u64>,
    finished: usize,
    /// The latest time that any step was told with.
    latest: UnixMs,
}

/// Why a step cannot be explained: what was expected in its place.
type Expected = String;

impl Model {
    /// An empty system.
    pub fn new(limits: Limits) -> Model {
        Model {
            limits,
            store: crate::Model::new(),
            lanes: BTreeMap::new(),
            commands: BTreeMap::new(),
            ids: BTreeMap::new(),
            keys: BTreeMap::new(),
            in_flight: BTreeSet::new(),
            interrupted: BTreeSet::new(),
            finished: 0,
            latest: UnixMs(0),
        }
    }

    /// The store.
    pub fn store(&self) -> &crate::Model {
        &self.store
    }

    /// The sessions there are: version, and steps of their lanes.
    pub fn sessions(&self) -> BTreeMap<SessionName, (u64, u64)> {
        let alive = self
            .lanes
            .iter()
            .filter_map(|(name, lane)| Some((name.clone()?, (lane.version?, lane.sequence))));
        alive.collect()
    }

    /// Rows of the commands without an outcome: those that were not started, and those that were.
    pub fn in_flight(&self) -> (Vec<u64>, Vec<u64>) {
        let is_queued = |row: &u64| matches!(self.commands[row].progress, Progress::Queued);
        self.in_flight.iter().copied().partition(is_queued)
    }

    /// The id and, if it has one, the outcome of the command accepted in `row`.
    pub fn command(&self, row: u64) -> Option<(&Id, Option<&Outcome>)> {
        let command = self.commands.get(&row)?;
        let outcome = match &command.progress {
            Progress::Done { outcome, .. } => Some(outcome),
            _ => None,
        };
        Some((&command.id, outcome))
    }

    /// A recovery found everything up to here.
    pub fn recover(&mut self) {
        let (_, started) = self.in_flight();
        self.interrupted = started.into_iter().collect();
    }

    /// Takes one step.
    ///
    /// # Errors
    /// What was expected, if the rules do not allow the step here. The model is of no use then.
    pub fn explain(&mut self, told: &Told) -> Result<(), Expected> {
        let of_recovery = matches!(&told.what,
            What::Finished { row, .. } if self.interrupted.contains(row));
        // What a full disk lets nobody recover holds up no answer that needs no writing.
        let is_turned_away = match &told.what {
            What::Refused { failure, .. } => {
                matches!(failure.code, Code::StorageFailure | Code::Conflict)
            }
            What::Repeated { .. } => true,
            _ => false,
        };
        let is_first = of_recovery || is_turned_away;
        if let Some(row) = self.interrupted.first().filter(|_| !is_first) {
            let id = &self.commands[row].id;
            return Err(format!("first the failure of {id}, row {row}, which a restart met"));
        }
        match &told.what {
            What::Refused { envelope, failure } => self.refused(envelope, failure, told.at),
            What::Repeated { envelope, row } => self.repeated(envelope, *row, told.at),
            What::Accepted { row, id, envelope } => self.accepted(*row, id, envelope, told),
            What::Started { row } => self.started(*row, told),
            What::Finished { row, outcome } => self.finish(*row, outcome, told),
            What::Plain { command, answer } => self
                .store
                .judge(command, told.at, answer)
                .map_err(|right| format!("the answer {}", show_answer(&right))),
            What::Forgotten { session } => self.forgotten(session),
            What::Undone => Err("a step".to_owned()),
        }?;
        self.latest = self.latest.max(told.at);
        Ok(())
    }

    /// The next number on the lane of a session.
    fn count(&mut self, session: &Option<SessionName>, told: &Told) -> Result<(), Expected> {
        let lane = self.lanes.entry(session.clone()).or_default();
        lane.sequence += 1;
        if told.lane_sequence == lane.sequence {
            Ok(())
        } else {
            Err(format!("lane sequence {}", lane.sequence))
        }
    }

    /// The lane of a session that there is no more, and on which nothing waits, may be forgotten.
    fn forgotten(&mut self, session: &SessionName) -> Result<(), Expected> {
        match self.lanes.get(&Some(session.clone())) {
            Some(Lane { version: None, queue, .. }) if queue.is_empty() => {
                self.lanes.remove(&Some(session.clone()));
                Ok(())
            }
            _ => Err(format!("that {session} is known")),
        }
    }

    fn lane(&self, session: &Option<SessionName>) -> Option<&Lane> {
        self.lanes.get(session)
    }

    fn version(&self, session: &Option<SessionName>) -> Option<u64> {
        session.as_ref()?;
        self.lane(session)?.version
    }
}
