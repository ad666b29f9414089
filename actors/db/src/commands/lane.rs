//! Lanes: whose turn it is, what a command waits for, and what ends a wait.

use orloj_kernel::{mutant, sometimes};
use orloj_net::{
    Answer, UnixMs,
    envelope::{ANONYMOUS, Call, Code, End, Failure, Id},
};
use orloj_storage::Error;

use super::{Commands, Decision, FLIES, FORGET, FlightState, Now, tables::Table, unreadable};

/// What a dependency is when it is looked at.
enum Dependency {
    Ok,
    InFlight(u64),
    Failed(Failure),
}

impl Commands {
    /// The next head of a lane that is to be looked at.
    pub(crate) fn next_ready(&mut self) -> Option<u64> {
        while let Some(row) = self.ready.pop_front() {
            if let Some(flight) = self.flights.get(&row) {
                let is_head = self.lanes[&flight.envelope.session].front() == Some(&row);
                if is_head {
                    return Some(row);
                }
            }
        }
        None
    }

    /// Brings the head of a lane as far as it comes without the store.
    ///
    /// # Errors
    /// [`Error::RolledBack`].
    pub(crate) async fn decide(&mut self, row: u64, now: Now) -> Result<Decision, Error> {
        let (cx, at) = (now.cx, now.at);
        let flight = self.flights.get_mut(&row).expect(FLIES);
        if flight.deadline.is_some_and(|deadline| deadline <= at) {
            self.time_out(row, now);
            return Ok(Decision::Settled);
        }
        if flight.state == FlightState::Queued {
            flight.state = FlightState::Started;
            if flight.has_row {
                self.write_start(row, now);
            }
        }
        // A wait is over, or has not begun.
        self.stop_waiting(row);
        loop {
            let flight = &self.flights[&row];
            let Some(on) = flight.envelope.depends_on.get(flight.settled).cloned() else { break };
            if mutant!(cx, "lanes.skips_dependency") {
                break;
            }
            match self.dependency(row, &on).await {
                Ok(Dependency::Ok) => self.flights.get_mut(&row).expect(FLIES).settled += 1,
                Ok(Dependency::InFlight(other)) => {
                    self.wait_for(row, other, now);
                    return Ok(Decision::Settled);
                }
                Ok(Dependency::Failed(failure)) => {
                    self.finish(row, End::Failed(failure), now);
                    return Ok(Decision::Settled);
                }
                Err(error @ Error::RolledBack { .. }) => return Err(error),
                Err(_) => {
                    self.finish(row, End::Failed(unreadable()), now);
                    return Ok(Decision::Settled);
                }
            }
        }
        let flight = &self.flights[&row];
        let session = self.sessions[&flight.envelope.session];
        if let Some(wanted) = flight.envelope.if_session_version
            && (!session.is_alive || session.version != wanted)
        {
            let actual = match session.is_alive {
                true => session.version.to_string(),
                false => "absent".to_owned(),
            };
            let text = format!("the session version is {actual}, not {wanted}");
            let failure = Failure::new(Code::VersionMismatch, text).with("actual", actual);
            self.finish(row, End::Failed(failure), now);
            return Ok(Decision::Settled);
        }
        let has_session = flight.envelope.session.is_some();
        let end = match &flight.envelope.call {
            Call::CreateSession if session.is_alive => End::Failed(
                Failure::new(Code::Conflict, "there is such a session")
                    .with("reason", "session_exists"),
            ),
            Call::CreateSession => End::Ok(Answer::Int(0)),
            _ if has_session && !session.is_alive => End::Failed(
                Failure::new(Code::Invalid, "there is no such session")
                    .with("field", "session")
                    .with("reason", "unknown_session"),
            ),
            Call::LoadSession => End::Ok(Answer::Int(session.version as i64)),
            Call::DeleteSession => End::Ok(Answer::Ok),
            Call::Data(command) => return Ok(Decision::Execute(command.clone())),
        };
        self.finish(row, end, now);
        Ok(Decision::Settled)
    }

    /// What the store answered to a command, as its outcome.
    pub(crate) fn executed(&mut self, row: u64, answer: Answer, now: Now) {
        let end = match answer {
            Answer::Error(refusal) => End::Failed(Failure::from(&refusal)),
            answer => End::Ok(answer),
        };
        self.finish(row, end, now);
    }

    async fn dependency(&self, row: u64, on: &Id) -> Result<Dependency, Error> {
        let about = |code, text: &str| {
            Failure::new(code, format!("a command it depends on {text}")).with("on", &**on)
        };
        if let Some(other) = self.ids.get(on).copied() {
            let lane = &self.flights[&row].envelope.session;
            if self.flights[&other].envelope.session == *lane {
                let failure = about(Code::DependencyFailed, "waits on the same lane");
                return Ok(Dependency::Failed(failure.with("reason", "same_lane")));
            }
            return Ok(Dependency::InFlight(other));
        }
        let known = match self.outcomes.get(on) {
            Some(known) => Some(*known),
            None => self.tables.known(Table::Outcomes, on.as_bytes()).await?,
        };
        let outcome = match known {
            Some(known) => self.outcome(known.finished).await?,
            None => None,
        };
        Ok(match outcome {
            Some((_, outcome)) if outcome.end.is_ok() => Dependency::Ok,
            Some((_, outcome)) => {
                let failure = about(Code::DependencyFailed, "did not succeed");
                let failure = failure.with("outcome", outcome.end.name());
                let why = outcome.end.failure().map_or("", |failure| failure.code.name());
                Dependency::Failed(failure.with("cause", why))
            }
            None => Dependency::Failed(about(Code::DependencyUnknown, "is not known")),
        })
    }

    /// Has a started command wait for one on another lane.
    fn wait_for(&mut self, row: u64, on: u64, now: Now) {
        let until = now.at.after(self.limits.dependency_patience);
        let flight = self.flights.get_mut(&row).expect(FLIES);
        flight.state = FlightState::Waiting { on, until };
        let has_row = flight.has_row;
        self.deadlines.insert((until, row));
        self.waiters.entry(on).or_default().insert(row);
        if !has_row {
            self.write_acceptance(row);
            self.write_start(row, now);
        }
        sometimes!(now.cx, true, "commands: one waited for another lane");
        let circle = self.circle(row);
        let Some(youngest) = circle.iter().max().copied() else { return };
        sometimes!(now.cx, true, "commands: some waited for each other in a circle");
        let ids: Vec<&str> = circle.iter().map(|row| &*self.flights[row].id).collect();
        let cycle = ids.join(" -> ");
        let text = "commands wait for each other in a circle";
        let failure = Failure::new(Code::DependencyCycle, text).with("cycle", cycle);
        self.finish(youngest, End::Failed(failure), now);
    }

    /// The commands that wait for each other if that one waits; none if there is no circle. Each
    /// waits for one other, behind the head of its lane or by a dependency, so that there is one
    /// way to follow.
    fn circle(&self, from: u64) -> Vec<u64> {
        let mut circle = vec![from];
        let mut at = from;
        loop {
            let flight = &self.flights[&at];
            let next = match flight.state {
                FlightState::Waiting { on, .. } => on,
                FlightState::Queued | FlightState::Started => {
                    match self.lanes[&flight.envelope.session].front() {
                        Some(head) if *head != at => *head,
                        _ => return Vec::new(),
                    }
                }
            };
            if next == from {
                return circle;
            }
            if circle.contains(&next) {
                return Vec::new();
            }
            circle.push(next);
            at = next;
        }
    }

    pub(super) fn stop_waiting(&mut self, row: u64) {
        let flight = self.flights.get_mut(&row).expect(FLIES);
        if let FlightState::Waiting { on, until } = flight.state {
            flight.state = FlightState::Started;
            if flight.deadline != Some(until) {
                self.deadlines.remove(&(until, row));
            }
            if let Some(waiters) = self.waiters.get_mut(&on) {
                waiters.remove(&row);
                if waiters.is_empty() {
                    self.waiters.remove(&on);
                }
            }
        }
    }

    fn time_out(&mut self, row: u64, now: Now) {
        sometimes!(now.cx, true, "commands: one timed out");
        let waited = now.at.0 - self.flights[&row].accepted.0;
        let failure = Failure::new(Code::Timeout, "its time was over before its turn")
            .with("after_ms", waited.to_string());
        self.finish(row, End::TimedOut(failure), now);
    }

    /// Ends what has waited too long.
    pub(crate) fn pass(&mut self, now: Now) {
        while let Some((deadline, row)) = self.deadlines.first().copied() {
            if deadline > now.at {
                break;
            }
            let flight = &self.flights[&row];
            if flight.deadline == Some(deadline) {
                self.time_out(row, now);
                continue;
            }
            sometimes!(now.cx, true, "commands: a dependency took too long");
            let on = flight.envelope.depends_on[flight.settled].clone();
            let text = "a command it depends on took too long";
            let failure = Failure::new(Code::DependencyTimeout, text).with("on", &*on);
            self.finish(row, End::Failed(failure), now);
        }
    }

    /// When something happens next without a message.
    pub(crate) fn next_deadline(&self) -> Option<UnixMs> {
        let first = self.deadlines.first().map(|(deadline, _)| *deadline);
        first.into_iter().chain(self.next_expiry).min()
    }

    /// Whether idempotency keys are to be forgotten.
    pub(crate) fn is_expiring(&self, now: UnixMs) -> bool {
        self.next_expiry.is_some_and(|next| next <= now)
    }

    /// Forgets idempotency keys that count no longer.
    ///
    /// # Errors
    /// What the engine says; they are forgotten later.
    pub(crate) async fn forget(&mut self, now: Now) -> Result<(), Error> {
        let (expired, next) = self.tables.expired(now.at, FORGET).await?;
        for one in expired {
            self.writes.delete(Table::Expiries, &one.expiry);
            let known = self.tables.known(Table::Idempotency, &one.key).await?;
            // It may have been used again.
            if known.is_some_and(|known| known.accepted == one.accepted) {
                self.writes.delete(Table::Idempotency, &one.key);
            }
            sometimes!(now.cx, true, "commands: an idempotency key was forgotten");
        }
        self.next_expiry = next;
        Ok(())
    }

    /// Cancels a command that has not had its turn; whether it did.
    pub(crate) fn cancel(&mut self, id: &Id, now: Now) -> bool {
        let anonymous = id.strip_prefix(ANONYMOUS);
        let row = match anonymous {
            Some(row) => row.parse().ok().filter(|row| self.flights.contains_key(row)),
            None => self.ids.get(id).copied(),
        };
        let Some(row) = row else { return false };
        if !self.flights[&row].envelope.call.class().is_abortable {
            return false;
        }
        sometimes!(now.cx, true, "commands: one was cancelled");
        let failure = Failure::new(Code::Cancelled, "it was cancelled before its turn");
        self.finish(row, End::Cancelled(failure), now);
        true
    }
}
