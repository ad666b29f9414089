//! Outcomes, and the rows of the history that tell of each step.

use orloj_kernel::mutant;
use orloj_net::{
    UnixMs,
    envelope::{
        ANONYMOUS, Call, Causes, End, Envelope, Event, Id, Outcome, Record, Row, Safety, Stage,
    },
};

use super::{
    Commands, FLIES, Flight, Kept, Lane, Note, Now, Tell, Told, ToldStep,
    tables::{Known, Table, scoped},
};

/// A step as it is told.
enum LifeStage {
    Accepted,
    Started,
    Finished(Outcome),
}

/// The id of a command whose row is known.
fn named(id: Id, envelope: &Envelope, row: u64) -> Id {
    if envelope.id.is_some() { id } else { format!("{ANONYMOUS}{row}").into() }
}

/// Exchanges a command with what is kept of it.
fn exchange(record: &mut Record, kept: Option<&mut Kept>) {
    if let (Record::Accepted { envelope, .. } | Record::Whole { envelope, .. }, Some(kept)) =
        (record, kept)
    {
        std::mem::swap(envelope, &mut kept.envelope);
    }
}

impl Commands {
    /// Gives a command its outcome, and has its lane and those who wait for it go on.
    pub(super) fn finish(&mut self, ticket: u64, end: End, now: Now) {
        let at = now.at;
        self.stop_waiting(ticket);
        let flight = self.flights.remove(&ticket).expect(FLIES);
        self.bytes -= flight.envelope.call.payload_len();
        self.retention.ended(ticket);
        let was_cancelled = matches!(end, End::Cancelled(_));
        if let Some(deadline) = flight.deadline {
            self.deadlines.remove(&(deadline, ticket));
        }
        let Flight {
            mut id,
            envelope,
            mut kept,
            fingerprint,
            mut row,
            is_new,
            accepted,
            askers,
            ..
        } = *flight;
        let lane = envelope.session.clone();
        let session = self.sessions.get_mut(&lane).expect("loaded at admission");
        let has_effects =
            !envelope.call.class().is_read_only || mutant!(now.cx, "lanes.reads_make_versions");
        if end.is_ok() && has_effects {
            match envelope.call {
                Call::CreateSession => {
                    let version = match mutant!(now.cx, "lanes.session_keeps_its_version") {
                        true => session.version,
                        false => 0,
                    };
                    (session.is_alive, session.version, session.created) = (true, version, at);
                }
                Call::DeleteSession => session.is_alive = false,
                _ if mutant!(now.cx, "lanes.version_gap") && ticket.is_multiple_of(8) => {
                    session.version += 2;
                }
                _ => session.version += 1,
            }
        }
        let session_version = (lane.is_some() && session.is_alive).then_some(session.version);
        let outcome = Outcome { end, session_version, replayed: false };
        let number = self.next_row();
        let (sequence, envelope, outcome) = if row > 0 {
            let record = Record::Finished { accepted: row, outcome };
            if !mutant!(now.cx, "outcomes.finished_stays_in_flight") {
                self.writes.delete(Table::Inflight, &row.to_be_bytes());
            }
            self.writes.end(row, number);
            match self.write_row(number, &lane, at, record, None) {
                (sequence, Record::Finished { outcome, .. }) => (sequence, envelope, outcome),
                _ => unreachable!("it is given back"),
            }
        } else {
            row = number;
            let record = Record::Whole { id: named(id, &envelope, row), envelope, outcome };
            let kept = kept.as_deref_mut();
            let written = self.write_row(row, &lane, accepted, record, kept);
            let (first, envelope, outcome) = match written {
                (first, Record::Whole { id: given, envelope, outcome }) => {
                    id = given;
                    (first, envelope, outcome)
                }
                _ => unreachable!("it is given back"),
            };
            self.lived(row, &id, &envelope, accepted, first, LifeStage::Accepted);
            self.lived(row, &id, &envelope, at, first + 1, LifeStage::Started);
            (first + 2, envelope, outcome)
        };
        if envelope.id.is_some() || envelope.idempotency_key.is_some() {
            self.fresh.insert(number, (sequence, outcome.clone()));
        }
        let until = at.after(self.limits.idempotency_keep);
        let known = Known { fingerprint, accepted: row, finished: number, until };
        if let Some(id) = &envelope.id {
            self.ids.remove(id);
            self.outcomes.insert(id.clone(), known);
            self.writes.known(Table::Outcomes, id.as_bytes(), &known);
            self.totals.outcomes += 1;
        }
        if let Some(key) = &envelope.idempotency_key {
            let scope = (lane.clone(), key.clone());
            let name = scoped(lane.as_ref(), key);
            self.writes.known(Table::Idempotency, &name, &known);
            self.writes.expiry(until, row, &name);
            self.next_expiry = Some(self.next_expiry.map_or(until, |next| next.min(until)));
            self.keys.remove(&scope);
            self.used_keys.insert(scope, known);
        }
        for (asker, replayed) in askers {
            let outcome = Outcome { replayed, ..outcome.clone() };
            let is_whole = is_new || mutant!(now.cx, "outcomes.refused_though_accepted");
            self.note(&envelope, is_whole, Tell::Answer(asker, Ok(outcome)));
            if mutant!(now.cx, "outcomes.answer_before_sync")
                && let Some(note) = self.notes.last_mut()
            {
                note.safety = Some(Safety::InMemory);
            }
        }
        self.lived(row, &id, &envelope, at, sequence, LifeStage::Finished(outcome));
        if mutant!(now.cx, "events.told_before_sync")
            && let Some(Note { safety, what: Tell::Event(..), .. }) = self.notes.last_mut()
        {
            *safety = Some(Safety::InMemory);
        }
        // The lane goes on, and so does who waited.
        let queue = self.lanes.get_mut(&lane).expect("it stood there");
        let was_head = queue.front() == Some(&ticket);
        match was_head {
            true => drop(queue.pop_front()),
            false => queue.retain(|other| *other != ticket),
        }
        match queue.front() {
            Some(_) if was_cancelled && mutant!(now.cx, "lanes.next_of_cancelled_is_forgotten") => {
            }
            Some(head) if was_head => self.ready.push_back(*head),
            Some(_) => {}
            None => {
                self.lanes.remove(&lane);
            }
        }
        for waiter in self.waiters.remove(&ticket).into_iter().flatten() {
            // Nobody may follow it to a flight that is no more.
            self.stop_waiting(waiter);
            if !mutant!(now.cx, "lanes.waiter_is_not_woken") {
                self.ready.push_back(waiter);
            }
        }
    }

    pub(super) fn write_acceptance(&mut self, ticket: u64) {
        if self.flights[&ticket].row > 0 {
            return;
        }
        let row = self.next_row();
        let flight = self.flights.get_mut(&ticket).expect(FLIES);
        flight.row = row;
        flight.id = named(flight.id.clone(), &flight.envelope, row);
        let (id, envelope) = (flight.id.clone(), flight.envelope.clone());
        let (at, fingerprint) = (flight.accepted, flight.fingerprint);
        let known = Known { fingerprint, accepted: row, ..Known::default() };
        if let Some(id) = &envelope.id {
            self.writes.known(Table::Outcomes, id.as_bytes(), &known);
        }
        let mut kept = flight.kept.clone();
        self.writes.inflight(row, false, kept.as_deref().map(|_| &*envelope));
        let record = Record::Accepted { id: id.clone(), envelope: envelope.clone() };
        let kept = kept.as_deref_mut();
        let (sequence, _) = self.write_row(row, &envelope.session, at, record, kept);
        self.lived(row, &id, &envelope, at, sequence, LifeStage::Accepted);
    }

    pub(super) fn write_start(&mut self, ticket: u64, now: Now) {
        let flight = &self.flights[&ticket];
        let (row, id, envelope) = (flight.row, flight.id.clone(), flight.envelope.clone());
        let whole = flight.kept.as_deref().map(|_| &*envelope);
        self.writes.inflight(row, true, whole);
        let number = self.next_row();
        let record = Record::Started { accepted: row };
        let (sequence, _) = self.write_row(number, &envelope.session, now.at, record, None);
        self.lived(row, &id, &envelope, now.at, sequence, LifeStage::Started);
    }

    fn next_row(&mut self) -> u64 {
        let row = self.totals.next_row;
        self.totals.next_row += 1;
        row
    }

    /// Writes a row behind its lane, with what is kept of the command, and gives the record back;
    /// the number on the lane of its first step.
    fn write_row(
        &mut self,
        number: u64,
        lane: &Lane,
        at: UnixMs,
        mut record: Record,
        mut kept: Option<&mut Kept>,
    ) -> (u64, Record) {
        let session = self.sessions.get_mut(lane).expect("loaded at admission");
        let lane_sequence = session.lane_sequence + 1;
        session.lane_sequence += record.steps();
        let before = std::mem::replace(&mut session.last_row, number);
        let withheld = kept.as_ref().map(|kept| kept.withheld.clone());
        exchange(&mut record, kept.as_deref_mut());
        let mut row = Row { session: lane.clone(), lane_sequence, before, at, record, withheld };
        if self.totals.first_row == number {
            self.retention.first_row(at);
        }
        self.totals.bytes += self.writes.row(number, &row);
        if before < self.uncommitted {
            self.changed.push(lane.clone());
        }
        exchange(&mut row.record, kept);
        (lane_sequence, row.record)
    }

    /// Tells followers and the observer of a step.
    fn lived(
        &mut self,
        row: u64,
        id: &Id,
        envelope: &Envelope,
        at: UnixMs,
        lane_sequence: u64,
        stage: LifeStage,
    ) {
        if self.is_heard {
            let stage = match &stage {
                LifeStage::Accepted => Stage::Accepted,
                LifeStage::Started => Stage::Started,
                LifeStage::Finished(outcome) => Stage::Finished(outcome.clone()),
            };
            let causes = Causes::of(id.clone(), envelope);
            self.event(Event { causes, lane_sequence, at, stage });
        }
        self.tell(|| Told {
            at,
            lane_sequence,
            step: match stage {
                LifeStage::Accepted => {
                    ToldStep::Accepted(row, id.clone(), Box::new(envelope.clone()))
                }
                LifeStage::Started => ToldStep::Started(row),
                LifeStage::Finished(outcome) => ToldStep::Finished(row, outcome),
            },
        });
    }
}
