//! Admission: whether a command is a new one, whether there is room for it, and what those are told
//! who are not let in.

use std::collections::VecDeque;

use orloj_kernel::{mutant, sometimes};
use orloj_net::envelope::{
    ANONYMOUS, Causes, Code, End, Envelope, Event, Failure, Fingerprint, Outcome, Plane, Record,
    Stage, canonical::fingerprint,
};
use orloj_storage::Error;

use super::{
    Commands, FLIES, Flight, FlightState, Kept, Lane, Note, Now, Tell, Told, ToldStep,
    tables::{Known, Table, scoped},
    unreadable,
};
use crate::outbox::{Asker, not_done, unknown};

/// More commands of the control plane that may be in flight: a full house can be tidied up.
const TIDYING: usize = 100;

/// What is known of a command that comes in.
pub(super) enum Before {
    /// Nothing.
    None,
    /// It is in flight.
    InFlight(u64),
    /// It has been: where it was accepted, the number of its last step, and its outcome.
    Finished(u64, u64, Outcome),
    /// Its id or key was used for another.
    Other(&'static str),
    /// It has been, and what became of it cannot be understood.
    Lost,
}

impl Commands {
    /// Has the lane's state in memory.
    pub(super) async fn session(&mut self, lane: &Lane) -> Result<(), Error> {
        if !self.sessions.contains_key(lane) {
            let session = self.tables.session(lane.as_ref()).await?;
            self.sessions.insert(lane.clone(), session);
        }
        Ok(())
    }

    /// Takes a command, in the order of section 3 of the specification: it gets a flight, joins
    /// one, or is answered.
    ///
    /// # Errors
    /// [`Error::RolledBack`]; nothing happened.
    pub(crate) async fn admit(
        &mut self,
        envelope: Envelope,
        asker: Asker,
        now: Now,
    ) -> Result<(), Error> {
        let (cx, at) = (now.cx, now.at);
        let print = fingerprint(&envelope);
        let before = match self.before(&envelope, &print, now).await {
            Ok(before) => match self.session(&envelope.session).await {
                Ok(()) => before,
                Err(error) => return self.unreadable(envelope, asker, error, now),
            },
            Err(error) => return self.unreadable(envelope, asker, error, now),
        };
        match before {
            Before::None => {}
            Before::InFlight(ticket) => {
                sometimes!(cx, true, "commands: a retry met its command in flight");
                self.settle();
                let row = self.flights[&ticket].row;
                self.tell(|| Told {
                    at,
                    lane_sequence: 0,
                    step: ToldStep::Repeated(Box::new(envelope), row),
                });
                self.flights.get_mut(&ticket).expect(FLIES).askers.push((asker, true));
                return Ok(());
            }
            Before::Lost => {
                self.refuse(envelope, asker, unreadable(), now);
                return Ok(());
            }
            Before::Finished(row, lane_sequence, outcome) => {
                sometimes!(cx, true, "commands: a retry got the first outcome");
                self.replay(envelope, asker, row, lane_sequence, outcome, now);
                return Ok(());
            }
            Before::Other(field) => {
                self.settle();
                self.refuse(envelope, asker, conflict(field), now);
                return Ok(());
            }
        }
        let plane = envelope.call.class().plane;
        let charge = match self.rates.charge(plane, envelope.session.as_ref(), at) {
            Ok(charge) => charge,
            Err(wait) => {
                let failure = Failure::new(Code::RateLimited, "too many commands in a second")
                    .with("retry_after_ms", wait.to_string());
                self.refuse(envelope, asker, failure, now);
                return Ok(());
            }
        };
        let room = self.limits.in_flight + usize::from(plane == Plane::Control) * TIDYING;
        let bytes = self.bytes + envelope.call.payload_len();
        if self.flights.len() >= room || self.bytes > 0 && bytes > self.limits.in_flight_bytes {
            sometimes!(cx, true, "commands: too many were in flight");
            self.rates.give_back(charge);
            self.settle();
            let failure = Failure::new(Code::Busy, "too many commands are in flight")
                .with("in_flight", self.flights.len().to_string());
            self.refuse(envelope, asker, failure, now);
            return Ok(());
        }
        match self.kept(&envelope, print) {
            Ok(kept) => self.accept(envelope, print, kept, asker, now),
            Err(failure) => {
                self.rates.give_back(charge);
                self.refuse(envelope, asker, failure, now);
            }
        }
        Ok(())
    }

    /// Answers a command while nothing can be written: what is known is told.
    ///
    /// # Errors
    /// [`Error::RolledBack`].
    pub(crate) async fn turn_away(
        &mut self,
        envelope: Envelope,
        asker: Asker,
        now: Now,
    ) -> Result<(), Error> {
        let print = fingerprint(&envelope);
        match self.before(&envelope, &print, now).await {
            Ok(Before::None) => self.refuse(envelope, asker, not_done(), now),
            Ok(Before::Finished(row, lane_sequence, outcome)) => {
                sometimes!(now.cx, true, "commands: a retry was answered by a full disk");
                self.replay(envelope, asker, row, lane_sequence, outcome, now);
            }
            Ok(Before::Other(field)) => self.refuse(envelope, asker, conflict(field), now),
            // It will have an outcome, when there is room again.
            Ok(Before::InFlight(_)) => asker.answer(Err(unknown())),
            Ok(Before::Lost) => self.refuse(envelope, asker, unreadable(), now),
            Err(error @ Error::RolledBack { .. }) => {
                asker.answer(Err(unknown()));
                return Err(error);
            }
            Err(_) => asker.answer(Err(unknown())),
        }
        Ok(())
    }

    fn accept(
        &mut self,
        envelope: Envelope,
        print: Fingerprint,
        kept: Option<Box<Kept>>,
        asker: Asker,
        now: Now,
    ) {
        let (ticket, lane) = (self.ticket(), envelope.session.clone());
        // One without an id gets it with its row.
        let id = envelope.id.clone().unwrap_or_else(|| ANONYMOUS.into());
        let flight = Box::new(Flight {
            id,
            deadline: envelope.deadline(now.at),
            envelope: Box::new(envelope),
            fingerprint: print,
            kept,
            accepted: now.at,
            state: FlightState::Queued,
            settled: 0,
            has_loaded: false,
            row: 0,
            is_new: true,
            askers: vec![(asker, false)],
        });
        if self.insert(ticket, flight) {
            self.ready.push_back(ticket);
        }
        if mutant!(now.cx, "history.sequence_gap") && ticket.is_multiple_of(16) {
            self.sessions.get_mut(&lane).expect("loaded at admission").lane_sequence += 1;
        }
        if mutant!(now.cx, "lanes.overtakes")
            && let Some([_, .., before, last]) =
                self.lanes.get_mut(&lane).map(VecDeque::make_contiguous)
        {
            std::mem::swap(before, last);
        }
        self.new.push(ticket);
    }

    /// Adds a flight; whether it is the head of its lane.
    pub(super) fn insert(&mut self, ticket: u64, flight: Box<Flight>) -> bool {
        let lane = flight.envelope.session.clone();
        if let Some(id) = &flight.envelope.id {
            self.ids.insert(id.clone(), ticket);
        }
        if let Some(key) = &flight.envelope.idempotency_key {
            self.keys.insert((lane.clone(), key.clone()), ticket);
        }
        if let Some(deadline) = flight.deadline {
            self.deadlines.insert((deadline, ticket));
        }
        self.bytes += flight.envelope.call.payload_len();
        self.flights.insert(ticket, flight);
        let queue = self.lanes.entry(lane).or_default();
        queue.push_back(ticket);
        queue.len() == 1
    }

    /// What is known of a command by its key or its id.
    pub(super) async fn before(
        &mut self,
        envelope: &Envelope,
        print: &Fingerprint,
        now: Now,
    ) -> Result<Before, Error> {
        if let Some(key) = &envelope.idempotency_key {
            let scope = (envelope.session.clone(), key.clone());
            let found = match (self.used_keys.get(&scope), self.keys.get(&scope)) {
                (Some(known), _) => Some(*known),
                (None, Some(ticket)) => return Ok(self.flying(*ticket, print, "idempotency_key")),
                (None, None) => {
                    let name = scoped(envelope.session.as_ref(), key);
                    self.tables.known(Table::Idempotency, &name).await?
                }
            };
            let counts =
                |known: &Known| known.until > now.at || mutant!(now.cx, "outcomes.keys_for_ever");
            if let Some(known) = found.filter(|known| counts(known) && known.finished > 0) {
                return self.has_been(known, print, "idempotency_key", now).await;
            }
        }
        if let Some(id) = &envelope.id
            && !mutant!(now.cx, "outcomes.forgets_id")
        {
            let found = match (self.outcomes.get(id), self.ids.get(id)) {
                (Some(known), _) => Some(*known),
                (None, Some(ticket)) => return Ok(self.flying(*ticket, print, "id")),
                (None, None) => self.tables.known(Table::Outcomes, id.as_bytes()).await?,
            };
            if let Some(known) = found {
                return self.has_been(known, print, "id", now).await;
            }
        }
        Ok(Before::None)
    }

    fn flying(&self, ticket: u64, print: &Fingerprint, field: &'static str) -> Before {
        match self.flights[&ticket].fingerprint == *print {
            true => Before::InFlight(ticket),
            false => Before::Other(field),
        }
    }

    async fn has_been(
        &self,
        known: Known,
        print: &Fingerprint,
        field: &'static str,
        now: Now,
    ) -> Result<Before, Error> {
        if known.fingerprint != *print && !mutant!(now.cx, "outcomes.any_command_of_that_id") {
            return Ok(Before::Other(field));
        }
        Ok(match self.outcome(known.finished).await? {
            Some((at, outcome)) => Before::Finished(known.accepted, at, outcome),
            // Whatever it was, it was done once.
            None => Before::Lost,
        })
    }

    /// The outcome that a row has, and the number of that step on its lane.
    pub(super) async fn outcome(&self, row: u64) -> Result<Option<(u64, Outcome)>, Error> {
        if let Some(found) = self.fresh.get(&row) {
            return Ok(Some(found.clone()));
        }
        let Some(row) = self.tables.row(row).await? else { return Ok(None) };
        Ok(match row.record {
            Record::Whole { outcome, .. } => Some((row.lane_sequence + 2, outcome)),
            Record::Finished { outcome, .. } => Some((row.lane_sequence, outcome)),
            Record::Accepted { .. } | Record::Started { .. } => None,
        })
    }

    fn replay(
        &mut self,
        envelope: Envelope,
        asker: Asker,
        row: u64,
        lane_sequence: u64,
        outcome: Outcome,
        now: Now,
    ) {
        let at = now.at;
        let replayed = !mutant!(now.cx, "outcomes.replay_looks_new");
        let mut outcome = Outcome { replayed, ..outcome };
        if mutant!(now.cx, "outcomes.second_outcome") && row.is_multiple_of(4) {
            outcome.end = End::TimedOut(Failure::new(Code::Timeout, "it had another outcome"));
        }
        if self.is_heard {
            let id = envelope.id.clone().unwrap_or_else(|| "".into());
            let causes = Causes::of(id, &envelope);
            let stage = Stage::Finished(outcome.clone());
            self.event(Event { causes, lane_sequence, at, stage });
        }
        // It has been, whatever becomes of this turn.
        self.note(&envelope, false, Tell::Answer(asker, Ok(outcome)));
        let step = || ToldStep::Repeated(Box::new(envelope), row);
        self.tell(|| Told { at, lane_sequence: 0, step: step() });
    }

    pub(crate) fn refuse(&mut self, envelope: Envelope, asker: Asker, failure: Failure, now: Now) {
        self.note(&envelope, true, Tell::Answer(asker, Err(failure.clone())));
        let step = || ToldStep::Refused(Box::new(envelope), failure);
        self.tell(|| Told { at: now.at, lane_sequence: 0, step: step() });
    }

    /// What has to be known cannot be read.
    fn unreadable(
        &mut self,
        envelope: Envelope,
        asker: Asker,
        error: Error,
        now: Now,
    ) -> Result<(), Error> {
        if matches!(error, Error::RolledBack { .. }) {
            asker.answer(Err(unknown()));
            return Err(error);
        }
        now.cx.trace("sequencer", format_args!("cannot read of commands: {error}"));
        self.refuse(envelope, asker, unreadable(), now);
        Ok(())
    }

    pub(super) fn note(&mut self, envelope: &Envelope, is_whole: bool, what: Tell) {
        self.notes.push(Note { safety: envelope.durability, is_whole, what });
    }

    /// Events of a lane are told in their order, whatever its commands ask for themselves.
    pub(super) fn event(&mut self, event: Event) {
        let what = Tell::Event(Box::new(event), self.joins);
        self.notes.push(Note { safety: None, is_whole: true, what });
    }

    pub(super) fn tell(&mut self, told: impl FnOnce() -> Told) {
        if self.is_observed {
            self.told.push(told());
        }
    }
}

fn conflict(field: &'static str) -> Failure {
    Failure::new(Code::Conflict, format!("that {field} was used for another command"))
        .with("reason", "other_command")
        .with("field", field)
}
