//! Lanes: whose turn it is, what a command waits for, and what ends a wait.

use orloj_kernel::{mutant, sometimes};
use orloj_net::{
    Answer, UnixMs,
    envelope::{ANONYMOUS, Call, Code, End, Failure, Id, MESSAGE_MAX},
};
use orloj_storage::Error;

use super::{Commands, Decision, FLIES, FORGET, FlightState, Now, tables::Table, unreadable};

/// Most bytes of an answer: what a message may have, less what stands around it.
pub(crate) const ANSWER_MAX: usize = MESSAGE_MAX - (64 << 10);

/// What a dependency is when it is looked at.
enum Dependency {
    Ok,
    InFlight(u64),
    Failed(Failure),
}

impl Commands {
    /// The next head of a lane that is to be looked at.
    pub(crate) fn next_ready(&mut self) -> Option<u64> {
        while let Some(ticket) = self.ready.pop_front() {
            if let Some(flight) = self.flights.get(&ticket) {
                let is_head = self.lanes[&flight.envelope.session].front() == Some(&ticket);
                if is_head {
                    return Some(ticket);
                }
            }
        }
        None
    }

    /// Brings the head of a lane as far as it comes without the store.
    ///
    /// # Errors
    /// [`Error::RolledBack`].
    pub(crate) async fn decide(&mut self, ticket: u64, now: Now) -> Result<Decision, Error> {
        let (cx, at) = (now.cx, now.at);
        let flight = self.flights.get_mut(&ticket).expect(FLIES);
        if flight.deadline.is_some_and(|deadline| deadline <= at) {
            self.time_out(ticket, now);
            return Ok(Decision::Settled);
        }
        let was_queued = flight.state == FlightState::Queued;
        // What it may wait for, or fail for, is in the history before it.
        let depends = &flight.envelope.depends_on[flight.settled..];
        if depends.iter().any(|on| self.ids.contains_key(on)) {
            self.settle();
        }
        if was_queued {
            let flight = self.flights.get_mut(&ticket).expect(FLIES);
            flight.state = FlightState::Started;
            if flight.row > 0 {
                self.write_start(ticket, now);
            }
        }
        // A wait is over, or has not begun.
        self.stop_waiting(ticket);
        loop {
            let flight = &self.flights[&ticket];
            let Some(on) = flight.envelope.depends_on.get(flight.settled).cloned() else { break };
            if mutant!(cx, "lanes.skips_dependency") {
                break;
            }
            match self.dependency(ticket, &on).await {
                Ok(Dependency::Ok) => self.flights.get_mut(&ticket).expect(FLIES).settled += 1,
                Ok(Dependency::InFlight(other)) => {
                    self.wait_for(ticket, other, now);
                    return Ok(Decision::Settled);
                }
                Ok(Dependency::Failed(_)) if mutant!(cx, "lanes.failure_counts_as_done") => {
                    self.flights.get_mut(&ticket).expect(FLIES).settled += 1;
                }
                Ok(Dependency::Failed(failure)) => {
                    self.finish(ticket, End::Failed(failure), now);
                    return Ok(Decision::Settled);
                }
                Err(error @ Error::RolledBack { .. }) => return Err(error),
                Err(_) => {
                    self.finish(ticket, End::Failed(unreadable()), now);
                    return Ok(Decision::Settled);
                }
            }
        }
        let flight = &self.flights[&ticket];
        let session = self.sessions[&flight.envelope.session];
        if let Some(wanted) = flight.envelope.if_session_version
            && (!session.is_alive || session.version != wanted)
            && !mutant!(cx, "lanes.version_is_not_compared")
        {
            let actual = match session.is_alive {
                true => session.version.to_string(),
                false => "absent".to_owned(),
            };
            let text = format!("the session version is {actual}, not {wanted}");
            let failure = Failure::new(Code::VersionMismatch, text).with("actual", actual);
            self.finish(ticket, End::Failed(failure), now);
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
            Call::Data(command) => {
                return Ok(Decision::Execute(command.clone(), !flight.has_loaded));
            }
        };
        self.finish(ticket, end, now);
        Ok(Decision::Settled)
    }

    /// A started command has to wait for the disk before it can be carried out.
    pub(crate) fn begin_loading(&mut self, ticket: u64, now: Now) {
        sometimes!(now.cx, true, "commands: one waited for the disk while others went on");
        self.write_both(ticket, now);
        let flight = self.flights.get_mut(&ticket).expect(FLIES);
        (flight.state, flight.has_loaded) = (FlightState::Loading, true);
    }

    /// What it waited for was read.
    pub(crate) fn loaded(&mut self, ticket: u64) {
        // It may have had its outcome meanwhile.
        if let Some(flight) = self.flights.get_mut(&ticket)
            && flight.state == FlightState::Loading
        {
            flight.state = FlightState::Started;
            self.ready.push_back(ticket);
        }
    }

    /// A row for each step so far, as it will take more than a turn.
    fn write_both(&mut self, ticket: u64, now: Now) {
        if self.flights[&ticket].row == 0 {
            self.settle();
            self.write_start(ticket, now);
        }
    }

    /// Gives what was accepted and has no outcome its row, in the order of acceptance: before
    /// anything is told that could not be but for those.
    pub(crate) fn settle(&mut self) {
        while let Some(ticket) = self.new.get(self.new_settled).copied() {
            self.new_settled += 1;
            if self.flights.contains_key(&ticket) {
                self.write_acceptance(ticket);
            }
        }
    }

    /// A command whose answer would fit no message does nothing.
    pub(crate) fn refuse_answer(&mut self, ticket: u64, now: Now) {
        sometimes!(now.cx, true, "commands: an answer would have been too long");
        let failure = Failure::new(Code::TooLarge, "its answer would be longer than a message")
            .with("reason", "answer")
            .with("max_bytes", ANSWER_MAX.to_string());
        self.finish(ticket, End::Failed(failure), now);
    }

    /// What the store answered to a command, as its outcome.
    pub(crate) fn executed(&mut self, ticket: u64, answer: Answer, now: Now) {
        let end = match answer {
            Answer::Error(refusal) => End::Failed(Failure::from(&refusal)),
            _ if mutant!(now.cx, "lanes.effect_without_ok") && ticket.is_multiple_of(8) => {
                End::Failed(Failure::new(Code::Internal, "its effects are there all the same"))
            }
            _ if mutant!(now.cx, "outcomes.timed_out_after_effect")
                && self.flights[&ticket].deadline.is_some() =>
            {
                End::TimedOut(Failure::new(Code::Timeout, "its time was over after its turn"))
            }
            answer => End::Ok(answer),
        };
        self.finish(ticket, end, now);
    }

    async fn dependency(&self, ticket: u64, on: &Id) -> Result<Dependency, Error> {
        let about = |code, text: &str| {
            Failure::new(code, format!("a command it depends on {text}")).with("on", &**on)
        };
        if let Some(other) = self.ids.get(on).copied() {
            let lane = &self.flights[&ticket].envelope.session;
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
    fn wait_for(&mut self, ticket: u64, on: u64, now: Now) {
        let until = now.at.after(self.limits.dependency_patience);
        let flight = self.flights.get_mut(&ticket).expect(FLIES);
        flight.state = FlightState::Waiting { on, until };
        self.deadlines.insert((until, ticket));
        self.waiters.entry(on).or_default().insert(ticket);
        self.write_both(ticket, now);
        sometimes!(now.cx, true, "commands: one waited for another lane");
        let circle = match mutant!(now.cx, "lanes.circle_is_not_seen") {
            true => Vec::new(),
            false => self.circle(ticket),
        };
        let youngest = match mutant!(now.cx, "lanes.eldest_of_circle_ends") {
            true => circle.iter().min(),
            false => circle.iter().max(),
        };
        let Some(youngest) = youngest.copied() else { return };
        sometimes!(now.cx, true, "commands: some waited for each other in a circle");
        let ids: Vec<&str> = circle.iter().map(|ticket| &*self.flights[ticket].id).collect();
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
                FlightState::Queued | FlightState::Started | FlightState::Loading => {
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

    pub(super) fn stop_waiting(&mut self, ticket: u64) {
        let flight = self.flights.get_mut(&ticket).expect(FLIES);
        if let FlightState::Waiting { on, until } = flight.state {
            flight.state = FlightState::Started;
            if flight.deadline != Some(until) {
                self.deadlines.remove(&(until, ticket));
            }
            if let Some(waiters) = self.waiters.get_mut(&on) {
                waiters.remove(&ticket);
                if waiters.is_empty() {
                    self.waiters.remove(&on);
                }
            }
        }
    }

    fn time_out(&mut self, ticket: u64, now: Now) {
        sometimes!(now.cx, true, "commands: one timed out");
        let waited = now.at.0 - self.flights[&ticket].accepted.0;
        let failure = Failure::new(Code::Timeout, "its time was over before its turn")
            .with("after_ms", waited.to_string());
        self.finish(ticket, End::TimedOut(failure), now);
    }

    /// Ends what has waited too long.
    pub(crate) fn pass(&mut self, now: Now) {
        while let Some((deadline, ticket)) = self.deadlines.first().copied() {
            if deadline > now.at {
                break;
            }
            let flight = &self.flights[&ticket];
            if flight.deadline == Some(deadline) {
                self.time_out(ticket, now);
                continue;
            }
            sometimes!(now.cx, true, "commands: a dependency took too long");
            let on = flight.envelope.depends_on[flight.settled].clone();
            let text = "a command it depends on took too long";
            let failure = Failure::new(Code::DependencyTimeout, text).with("on", &*on);
            self.finish(ticket, End::Failed(failure), now);
        }
    }

    /// When something happens next without a message.
    pub(crate) fn next_deadline(&self) -> Option<UnixMs> {
        let first = self.deadlines.first().map(|(deadline, _)| *deadline);
        first.into_iter().chain(self.next_expiry).chain(self.next_trim()).min()
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
        let ticket = match id.starts_with(ANONYMOUS) {
            // One that has no row yet has no id of its own.
            true => {
                let mut known = self.flights.iter().filter(|(_, flight)| flight.row > 0);
                known.find(|(_, flight)| flight.id == *id).map(|(ticket, _)| *ticket)
            }
            false => self.ids.get(id).copied(),
        };
        let Some(ticket) = ticket else {
            return mutant!(now.cx, "outcomes.cancelled_too_late");
        };
        if !self.flights[&ticket].envelope.call.class().is_abortable {
            return false;
        }
        sometimes!(now.cx, true, "commands: one was cancelled");
        self.settle();
        let failure = Failure::new(Code::Cancelled, "it was cancelled before its turn");
        self.finish(ticket, End::Cancelled(failure), now);
        true
    }
}
