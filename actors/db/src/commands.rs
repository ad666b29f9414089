//! Commands inside envelopes: admission, lanes, dependencies, outcomes, and what is kept of them.
//!
//! All is decided within turns of the sequencer. A *lane* is the queue of one session, or of the
//! server; its head is started when nothing is before it, and waits there for what it depends on,
//! or for the disk. What a turn decides is written in the same commit as the effects: a command
//! that is accepted, started and finished within one turn costs one row of the history, one that
//! waits has a row for each step. So effects are there if and only if the outcome is `ok`, and what
//! was started and has no outcome has no effects.
//!
//! What is in memory is a copy of the tables. It is read from them at the start, and whenever a
//! full disk takes history back.
//!
//! Invariant: every command in flight stands on exactly one lane, in the order of acceptance; only
//! heads of lanes wait; the commands that wait for each other form no circle.

mod admit;
mod finish;
pub(crate) mod lane;
pub(crate) mod query;
mod rates;
pub(crate) mod redo;
mod retention;
mod tables;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use foldhash::fast::FixedState;

use orloj_kernel::{Context, mutant, sometimes};
use orloj_net::{
    Command, UnixMs,
    envelope::{
        Code, End, Envelope, Event, Failure, Fingerprint, Id, Outcome, RecoverySummary, Safety,
        SessionName, Withheld,
        canonical::fingerprint,
        redaction::{Purpose, Redaction},
    },
};
use orloj_storage::Error;

use crate::{NodeConfig, config::CommandLimits, outbox::Asker};
use rates::Rates;
use retention::Retention;
use tables::{Known, Session, Totals};
pub(crate) use tables::{NAMES, REDACTION, TOTALS, Table, Tables, Writes};

/// Sessions that are kept in memory though nothing of theirs is in flight.
const SESSIONS: usize = 65_536;
/// Commands that are accepted before those that can go on do so.
const TURN: usize = 1_024;
/// Idempotency keys that are forgotten in one turn.
const FORGET: usize = 64;
/// The lane of a session, or of the server.
type Lane = Option<SessionName>;

/// What is found by name. Nothing depends on its order, and what names fall together nobody outside
/// can tell.
type ByName<K, V> = hashbrown::HashMap<K, V, FixedState>;

/// Who waits for an outcome, and whether by a repetition.
type Askers = Vec<(Asker, bool)>;

/// A command that has no outcome yet.
#[derive(Debug)]
struct Flight {
    id: Id,
    envelope: Box<Envelope>,
    fingerprint: Fingerprint,
    /// What the history has of it, if something is withheld.
    kept: Option<Box<Kept>>,
    /// The row of its acceptance; 0 while it has none.
    row: u64,
    accepted: UnixMs,
    deadline: Option<UnixMs>,
    state: FlightState,
    /// How many of its dependencies were found `ok`.
    settled: usize,
    /// Whether it has waited for the disk.
    has_loaded: bool,
    /// Whether it was accepted since the last commit.
    is_new: bool,
    askers: Askers,
}

/// A command as the history has it.
#[derive(Clone, Debug)]
struct Kept {
    envelope: Box<Envelope>,
    withheld: Box<Withheld>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FlightState {
    /// Behind others, or about to be started.
    Queued,
    /// Started.
    Started,
    /// Started, and waiting for another flight, until then.
    Waiting { on: u64, until: UnixMs },
    /// Started, and waiting for the disk.
    Loading,
}

/// Something that may be told when what it rests on is safe.
#[derive(Debug)]
pub(crate) struct Note {
    /// When it may be told, if not when the node says.
    pub(crate) safety: Option<Safety>,
    /// Whether nothing of it has happened if what it rests on is taken back.
    pub(crate) is_whole: bool,
    pub(crate) what: Tell,
}

#[derive(Debug)]
pub(crate) enum Tell {
    Answer(Asker, Result<Outcome, Failure>),
    Event(Box<Event>, u64),
    Cancelled(orloj_kernel::Reply<bool>, bool),
}

/// A step for the observer, told at the next commit.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) at: UnixMs,
    pub(crate) lane_sequence: u64,
    pub(crate) step: ToldStep,
}

#[derive(Debug)]
pub(crate) enum ToldStep {
    Refused(Box<Envelope>, Failure),
    Repeated(Box<Envelope>, u64),
    Accepted(u64, Id, Box<Envelope>),
    Started(u64),
    Finished(u64, Outcome),
    Forgotten(SessionName),
}

/// What the turn of a command comes to.
pub(crate) enum Decision {
    /// Carry this out; whether it has not waited for the disk yet.
    Execute(Command, bool),
    /// It waits, or it has its outcome.
    Settled,
}

/// What one moment needs to know.
#[derive(Clone, Copy)]
pub(crate) struct Now {
    pub(crate) cx: Context,
    pub(crate) at: UnixMs,
}

/// The commands of a node.
pub(crate) struct Commands {
    tables: Tables,
    limits: CommandLimits,
    totals: Totals,
    retention: Retention,
    redaction: Redaction,
    /// The first row that is left, if some were dropped since the last commit.
    trimmed: Option<u64>,
    rates: Rates,
    next_ticket: u64,
    /// By ticket, which grows in the order of acceptance.
    flights: BTreeMap<u64, Box<Flight>>,
    /// Bytes that they carry.
    bytes: usize,
    /// Those of them that were accepted and have no row yet, and others.
    new: Vec<u64>,
    /// So many of them have a row or their outcome.
    new_settled: usize,
    ids: ByName<Id, u64>,
    keys: ByName<(Lane, Id), u64>,
    lanes: ByName<Lane, VecDeque<u64>>,
    /// Who waits for a flight.
    waiters: BTreeMap<u64, BTreeSet<u64>>,
    /// When something happens to a flight by itself.
    deadlines: BTreeSet<(UnixMs, u64)>,
    /// Heads of lanes that are to be looked at.
    ready: VecDeque<u64>,
    sessions: ByName<Lane, Session>,
    /// Lanes that were changed since the last commit: that have a row of this number or above.
    changed: Vec<Lane>,
    uncommitted: u64,
    /// What has got its outcome since the last commit, by id and by key.
    outcomes: ByName<Id, Known>,
    used_keys: ByName<(Lane, Id), Known>,
    /// Rows with outcomes of this commit.
    fresh: BTreeMap<u64, (u64, Outcome)>,
    /// Started in an earlier life.
    interrupted: Vec<u64>,
    /// When the first idempotency key is to be forgotten.
    next_expiry: Option<UnixMs>,
    pub(crate) writes: Writes,
    pub(crate) notes: Vec<Note>,
    pub(crate) told: Vec<Told>,
    /// Whether steps are to be kept for an observer, and events for followers.
    pub(crate) is_observed: bool,
    pub(crate) is_heard: bool,
    /// How many had ever joined those when the turn began.
    pub(crate) joins: u64,
}

impl Commands {
    /// Reads what is in flight.
    ///
    /// # Errors
    /// What the engine says.
    pub(crate) async fn load(
        tables: Tables,
        config: &NodeConfig,
        next_ticket: u64,
    ) -> Result<Commands, Error> {
        let totals = tables.totals().await?;
        let inflight = tables.inflight().await?;
        // Clients choose the names, and must not be able to choose ones that collide; a run of the
        // simulator must have the same seed each time. The key is drawn once and no client sees it.
        let seed = u64::from_le_bytes(*tables.redaction_key.first_chunk().expect("32 bytes"));
        let seed = || FixedState::with_seed(seed);
        let mut commands = Commands {
            tables,
            limits: config.commands.clone(),
            totals,
            retention: Retention::new(&config.history),
            redaction: config.redaction.clone(),
            trimmed: None,
            rates: Rates::new(&config.commands),
            next_ticket,
            flights: BTreeMap::new(),
            bytes: 0,
            new: Vec::new(),
            new_settled: 0,
            ids: ByName::with_hasher(seed()),
            keys: ByName::with_hasher(seed()),
            lanes: ByName::with_hasher(seed()),
            waiters: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            ready: VecDeque::new(),
            sessions: ByName::with_hasher(seed()),
            changed: Vec::new(),
            uncommitted: totals.next_row,
            outcomes: ByName::with_hasher(seed()),
            used_keys: ByName::with_hasher(seed()),
            fresh: BTreeMap::new(),
            interrupted: Vec::new(),
            next_expiry: Some(UnixMs(0)),
            writes: Writes::default(),
            notes: Vec::new(),
            told: Vec::new(),
            is_observed: false,
            is_heard: false,
            joins: 0,
        };
        for (row, is_started, whole) in inflight {
            let Some(found) = commands.tables.row(row).await? else { continue };
            let at = found.at;
            let Some((id, envelope)) = tables::accepted(found.record) else { continue };
            // What is withheld from the history is needed until it is done.
            let (envelope, kept, print) = match found.withheld {
                Some(withheld) => {
                    let whole = whole.unwrap_or_else(|| envelope.clone());
                    let print = withheld.fingerprint;
                    let kept = Kept { envelope: Box::new(envelope), withheld };
                    (whole, Some(Box::new(kept)), print)
                }
                None => {
                    let print = fingerprint(&envelope);
                    (envelope, None, print)
                }
            };
            commands.session(&envelope.session).await?;
            let state = match is_started {
                true => FlightState::Started,
                false => FlightState::Queued,
            };
            let flight = Flight {
                fingerprint: print,
                deadline: envelope.deadline(at),
                id,
                envelope: Box::new(envelope),
                kept,
                accepted: at,
                state,
                settled: 0,
                has_loaded: false,
                row,
                is_new: false,
                askers: Vec::new(),
            };
            let ticket = commands.ticket();
            if is_started {
                commands.interrupted.push(ticket);
            }
            commands.insert(ticket, Box::new(flight));
        }
        Ok(commands)
    }

    fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    /// The last ticket that was given.
    pub(crate) fn last_ticket(&self) -> u64 {
        self.next_ticket
    }

    /// What the history is to have of a command, if not all of it.
    fn kept(
        &self,
        envelope: &Envelope,
        fingerprint: Fingerprint,
    ) -> Result<Option<Box<Kept>>, Failure> {
        let key = &self.tables.redaction_key;
        match self.redaction.apply(envelope, Purpose::Persist, key) {
            Ok(kept) => Ok(kept.map(|(envelope, fields)| {
                let withheld = Box::new(Withheld { fingerprint, fields });
                Box::new(Kept { envelope: Box::new(envelope), withheld })
            })),
            Err(tampered) => {
                Err(Failure::new(Code::Internal, tampered.to_string()).with("reason", "redactor"))
            }
        }
    }

    /// Whether nothing is to be written or told.
    pub(crate) fn is_idle(&self) -> bool {
        self.writes.is_empty() && self.notes.is_empty() && self.told.is_empty()
    }

    /// Whether heads of lanes are to be looked at.
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Whether something was accepted that has no row yet.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.new_settled < self.new.len()
    }

    /// The first row that is left, if some were dropped since this was asked.
    pub(crate) fn take_trimmed(&mut self) -> Option<u64> {
        self.trimmed.take()
    }

    /// Whether enough was accepted for those to have their turn.
    pub(crate) fn is_full_turn(&self) -> bool {
        self.new.len() - self.new_settled >= TURN
    }

    /// Commands in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// Those who wait for commands in flight, to be given to a fresh copy of the tables.
    pub(crate) fn take_askers(&mut self) -> Vec<(u64, Id, Askers)> {
        let flights = std::mem::take(&mut self.flights);
        flights.into_values().map(|flight| (flight.row, flight.id, flight.askers)).collect()
    }

    /// Has somebody wait for a command again, if it is still in flight.
    pub(crate) fn rejoin(&mut self, row: u64, id: &Id, askers: Askers) {
        match self.flights.values_mut().find(|flight| flight.row == row && row > 0) {
            Some(flight) if flight.id == *id => flight.askers.extend(askers),
            // Its acceptance was taken back, and it has no outcome.
            _ => {
                for (asker, _) in askers {
                    asker.answer(Err(crate::outbox::not_done()));
                }
            }
        }
    }

    /// The rows of what was started before it was read. If a full disk took back what came behind a
    /// start, the command goes on; so those that no life but this one knows are left out when the
    /// rows of those that an earlier life started are given.
    pub(crate) fn interrupted(&mut self, earlier: Option<&BTreeSet<u64>>) -> BTreeSet<u64> {
        let flights = &self.flights;
        if let Some(earlier) = earlier {
            self.interrupted.retain(|ticket| earlier.contains(&flights[ticket].row));
        }
        self.interrupted.iter().map(|ticket| flights[ticket].row).collect()
    }

    /// Ends what an earlier life started, and has the rest run. What was done is the same whenever
    /// it is done again.
    pub(crate) fn recover(&mut self, now: Now) -> RecoverySummary {
        let mut summary = RecoverySummary { outcomes: self.totals.outcomes, ..Default::default() };
        let interrupted = std::mem::take(&mut self.interrupted);
        for (ticket, flight) in &self.flights {
            if !interrupted.contains(ticket) {
                summary.rerun.push(flight.id.clone());
            }
        }
        let heads = self.lanes.values().filter_map(|lane| lane.front().copied());
        let mut heads: Vec<u64> = heads.collect();
        heads.sort_unstable();
        if !mutant!(now.cx, "recovery.lanes_stand_still") {
            self.ready.extend(heads);
        }
        if mutant!(now.cx, "redaction.rest_runs_after_restart") {
            for flight in self.flights.values_mut() {
                if let Some(kept) = &flight.kept {
                    flight.envelope = kept.envelope.clone();
                }
            }
        }
        if mutant!(now.cx, "recovery.deadlines_begin_anew") {
            self.deadlines.clear();
            for (ticket, flight) in &mut self.flights {
                flight.deadline = flight.envelope.deadline(now.at);
                self.deadlines.extend(flight.deadline.map(|deadline| (deadline, *ticket)));
            }
        }
        for ticket in interrupted {
            if mutant!(now.cx, "recovery.reruns_started") {
                self.flights.get_mut(&ticket).expect(FLIES).state = FlightState::Queued;
                continue;
            }
            let Some(flight) = self.flights.get(&ticket) else { continue };
            sometimes!(now.cx, true, "commands: a restart met a command that was started");
            let reason = "restart_in_flight";
            summary.failed.push((flight.id.clone(), reason.to_owned()));
            let failure = Failure::new(
                Code::Unavailable,
                "the node was restarted while the command was started; it has no effects",
            );
            self.finish(ticket, End::Failed(failure.with("reason", reason)), now);
        }
        sometimes!(now.cx, !summary.rerun.is_empty(), "commands: a restart ran commands again");
        summary
    }

    /// Adds what every commit needs to what is written.
    pub(crate) fn prepare(&mut self) {
        if self.writes.is_empty() {
            return;
        }
        for lane in self.changed.drain(..) {
            self.writes.session(lane.as_ref(), &self.sessions[&lane]);
        }
        self.uncommitted = self.totals.next_row;
        self.writes.totals(&self.totals);
    }

    /// What was written is the engine's now.
    pub(crate) fn committed(&mut self) {
        self.writes.clear();
        self.outcomes.clear();
        self.used_keys.clear();
        self.fresh.clear();
        let flights = &mut self.flights;
        self.new.retain(|ticket| match flights.get_mut(ticket) {
            // A commit in the midst of a turn: nothing of it is written yet.
            Some(flight) if flight.row == 0 => true,
            Some(flight) => {
                flight.is_new = false;
                false
            }
            None => false,
        });
        self.new_settled = 0;
        if self.sessions.len() > SESSIONS {
            let lanes = &self.lanes;
            self.sessions.retain(|lane, _| lanes.contains_key(lane));
        }
    }
}

const FLIES: &str = "it is in flight";

fn unreadable() -> Failure {
    Failure::new(Code::StorageFailure, "what is known of commands cannot be read from the disk")
        .with("reason", "unreadable")
}
