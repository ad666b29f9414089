//! Commands inside envelopes, as part of the sequencer's turn.

use std::time::Duration;

use orloj_kernel::{Context, Reply, Stop, buggify, sometimes};
use orloj_net::{
    Answer, Command, UnixMs,
    envelope::{Call, End, Failure, Id, Outcome, Safety},
};
use orloj_storage::Error;

use super::{
    Alarm, Held, Kind, Msg, Note, Now, OPEN, Sequencer, Submission, Told, ToldStep, ended,
};
use crate::{
    Durability, Lived, Observer, Step,
    commands::{Decision, Tell, lane::ANSWER_MAX},
    config::AppendFailure,
    journal,
    leased::Leased,
    outbox::unknown,
};

/// Longest sleep of an alarm; it looks again then.
const LONGEST: Duration = Duration::from_secs(3_600);
/// How often commands are looked after while the disk takes nothing.
const REST: Duration = Duration::from_millis(100);
/// How soon there is another turn for lanes that could go on and did not: the disk took nothing.
const SOON: Duration = Duration::from_millis(10);

impl Sequencer {
    /// Sees to what was in flight at the start, and ends what has waited too long.
    pub(super) async fn see_to_commands(
        &mut self,
        cx: &Context,
        at: UnixMs,
        takes_writes: bool,
    ) -> Result<(), Stop> {
        let commands = self.commands.as_mut().expect(OPEN);
        commands.is_observed = self.observer.is_some();
        (commands.is_heard, commands.joins) = self.hub.heard();
        commands.writes.at = at;
        if !takes_writes {
            return Ok(());
        }
        if let Err(error) = self.go_on(cx, at).await {
            self.give_up(cx, &error).await?;
        }
        Ok(())
    }

    async fn go_on(&mut self, cx: &Context, at: UnixMs) -> Result<(), Error> {
        let now = Now { cx: *cx, at };
        let commands = self.commands.as_mut().expect(OPEN);
        // Before any key is used again.
        if commands.is_expiring(at)
            && let Err(error) = commands.forget(now).await
        {
            match error {
                Error::RolledBack { .. } => return Err(error),
                error => cx.trace("sequencer", format_args!("cannot forget keys: {error}")),
            }
        }
        if !self.is_recovered {
            let summary = commands.recover(now);
            self.is_recovered = true;
            if !self.board.is_ready() {
                self.board.show_recovery(summary);
            }
        }
        self.commands.as_mut().expect(OPEN).pass(now);
        Ok(())
    }

    /// Commits what is of the other kind.
    pub(super) async fn separate(
        &mut self,
        cx: &Context,
        kind: Kind,
        at: UnixMs,
    ) -> Result<(), Error> {
        let plain = !self.store.as_ref().expect(OPEN).is_unchanged() || !self.executed.is_empty();
        let enveloped = !self.commands.as_ref().expect(OPEN).is_idle();
        let is_mixed = match kind {
            Kind::Plain => enveloped,
            Kind::Enveloped => plain && !enveloped,
        };
        let commands = self.commands.as_ref().expect(OPEN);
        // Also what stands behind others gets its row before anything else happens.
        let has_ready = commands.has_ready() || commands.is_unsettled();
        if kind == Kind::Plain && has_ready {
            self.run(cx, at).await?;
        }
        if is_mixed || kind == Kind::Plain && has_ready {
            sometimes!(cx, true, "sequencer: commands with and without envelopes in one turn");
            self.is_whole &= !self.commit(cx).await?;
        }
        Ok(())
    }

    /// Takes commands, and carries out those whose turn it is.
    pub(super) async fn submit(
        &mut self,
        cx: &Context,
        submissions: Vec<Submission>,
        at: UnixMs,
        takes_writes: bool,
    ) -> Result<(), Error> {
        let now = Now { cx: *cx, at };
        self.board.count_commands(submissions.len());
        for Submission { envelope, asker } in submissions {
            if !takes_writes || !self.is_recovered {
                let best = self.config.commands.append_failure == AppendFailure::BestEffort;
                let rests_on_nothing = self.is_recovered
                    && envelope.id.is_none()
                    && envelope.idempotency_key.is_none()
                    && envelope.depends_on.is_empty()
                    && envelope.if_session_version.is_none()
                    && envelope.session.is_none();
                if let (true, true, Call::Data(command)) = (best, rests_on_nothing, &envelope.call)
                    && !command.is_write()
                {
                    sometimes!(cx, true, "sequencer: a read without a trace");
                    let command = command.clone();
                    let answer = self.carry_out(cx, &[command], at).await?;
                    let end = match answer {
                        Answer::Error(refusal) => End::Failed(Failure::from(&refusal)),
                        answer => End::Ok(answer),
                    };
                    let outcome = Outcome { end, session_version: None, replayed: false };
                    let what = Tell::Answer(asker, Ok(outcome));
                    let commands = self.commands.as_mut().expect(OPEN);
                    commands.notes.push(Note { safety: envelope.durability, is_whole: true, what });
                    continue;
                }
                self.commands.as_mut().expect(OPEN).turn_away(envelope, asker, now).await?;
                continue;
            }
            if let Err(error) = self.separate(cx, Kind::Enveloped, at).await {
                asker.answer(Err(unknown()));
                return Err(error);
            }
            let commands = self.commands.as_mut().expect(OPEN);
            commands.admit(envelope, asker, now).await?;
            if commands.is_full_turn() {
                self.run(cx, at).await?;
            }
        }
        Ok(())
    }

    /// Cancels a command that has not had its turn.
    pub(super) async fn cancel(
        &mut self,
        cx: &Context,
        id: &Id,
        reply: Reply<bool>,
        at: UnixMs,
        takes_writes: bool,
    ) -> Result<(), Error> {
        let now = Now { cx: *cx, at };
        if !takes_writes {
            return Ok(());
        }
        self.separate(cx, Kind::Enveloped, at).await?;
        let commands = self.commands.as_mut().expect(OPEN);
        let what = Tell::Cancelled(reply, commands.cancel(id, now));
        commands.notes.push(Note { safety: None, is_whole: false, what });
        Ok(())
    }

    /// Carries out whatever stands at the head of a lane and can go on.
    pub(super) async fn run(&mut self, cx: &Context, at: UnixMs) -> Result<(), Error> {
        let now = Now { cx: *cx, at };
        loop {
            let commands = self.commands.as_mut().expect(OPEN);
            if commands.has_ready() && buggify!(cx, "sequencer: lanes wait for another turn") {
                break;
            }
            let Some(ticket) = commands.next_ready() else { break };
            if let Decision::Execute(command, is_first) = commands.decide(ticket, now).await? {
                if is_first && self.load_beside(cx, ticket, &command, now) {
                    continue;
                }
                if self.is_answer_too_long(&command).await? {
                    self.commands.as_mut().expect(OPEN).refuse_answer(ticket, now);
                    continue;
                }
                let answer = self.carry_out(cx, &[command], now.at).await?;
                let commands = self.commands.as_mut().expect(OPEN);
                match keys_len(&answer) > ANSWER_MAX {
                    // A page of keys changes nothing.
                    true => commands.refuse_answer(ticket, now),
                    false => commands.executed(ticket, answer, now),
                }
            }
            self.commit_if_heavy(cx).await?;
            if buggify!(cx, "sequencer: a turn of commands is committed half-way") {
                self.commands.as_mut().expect(OPEN).settle();
                self.is_whole &= !self.commit(cx).await?;
            }
        }
        self.commands.as_mut().expect(OPEN).settle();
        Ok(())
    }

    /// Whether the values that a command is to answer are too much for a message. What cannot be
    /// read is found out when it is carried out.
    async fn is_answer_too_long(&mut self, command: &Command) -> Result<bool, Error> {
        let store = self.store.as_mut().expect(OPEN);
        loop {
            match store.answer_len(command) {
                Ok(bytes) => return Ok(bytes > ANSWER_MAX),
                Err(_) => match store.load(std::slice::from_ref(command)).await {
                    Ok(()) => {}
                    Err(error @ Error::RolledBack { .. }) => return Err(error),
                    Err(_) => return Ok(false),
                },
            }
        }
    }

    /// As [`Sequencer::run`], in a commit without anything that was not in an envelope.
    pub(super) async fn run_alone(&mut self, cx: &Context, at: UnixMs) -> Result<(), Error> {
        if self.commands.as_ref().expect(OPEN).has_ready() {
            self.separate(cx, Kind::Enveloped, at).await?;
        }
        self.run(cx, at).await
    }

    /// Drops old rows of the history, in a commit of their own.
    pub(super) async fn trim(&mut self, cx: &Context, at: UnixMs) -> Result<(), Error> {
        if !self.is_recovered {
            return Ok(());
        }
        self.run_alone(cx, at).await?;
        self.is_whole &= !self.commit(cx).await?;
        let now = Now { cx: *cx, at };
        match self.commands.as_mut().expect(OPEN).trim(now).await {
            Err(error @ Error::RolledBack { .. }) => return Err(error),
            // What cannot be read now goes later.
            Err(error) => cx.trace("sequencer", format_args!("cannot drop history: {error}")),
            Ok(()) => {}
        }
        let _no_effect = self.commit(cx).await?;
        Ok(())
    }

    /// Whether a command has to wait for the disk: then other lanes go on.
    fn load_beside(&mut self, cx: &Context, ticket: u64, command: &Command, now: Now) -> bool {
        let store = self.store.as_mut().expect(OPEN);
        let far = store.far_keys(command);
        let Some(own) = self.own.get().filter(|_| !far.is_empty()) else { return false };
        let fetch = store.fetch(far);
        let task = cx.spawn("fetch", async move {
            fetch.await;
            // A node that has ended needs no turn.
            let _ = own.send(Msg::Loaded(ticket)).await;
        });
        self.loads.insert(ticket, Leased(task));
        self.commands.as_mut().expect(OPEN).begin_loading(ticket, now);
        true
    }

    /// Hands down what is told of commands.
    pub(super) async fn pass_notes_on(&mut self) -> Result<(), Stop> {
        let of = |note: &Note| match note.safety {
            None => self.durability,
            Some(Safety::InMemory) => Durability::InMemory,
            Some(Safety::Buffered) => Durability::Buffered,
            Some(Safety::Strict) => Durability::Strict,
        };
        for (rest_on, mut rest) in std::mem::take(&mut self.notes) {
            while let Some(first) = rest.first() {
                let safety = of(first);
                let (notes, later): (Vec<_>, Vec<_>) =
                    rest.into_iter().partition(|note| of(note) == safety);
                rest = later;
                // Then nothing older waits below, either: of those that need no more than memory
                // none ever does.
                if safety == Durability::InMemory {
                    journal::release_notes(notes, &self.hub);
                    continue;
                }
                let held = Held { rest_on, is_whole: false, safety, waiting: Vec::new(), notes };
                self.journal.send(journal::Msg::Hold(held)).await.map_err(|_| ended())?;
            }
        }
        Ok(())
    }

    /// Sees to it that there is a turn when something happens to a command by itself.
    pub(super) fn set_alarm(&mut self, cx: &Context, now: UnixMs, takes_writes: bool) {
        let commands = self.commands.as_ref().expect(OPEN);
        let goes_on = commands.has_ready().then(|| now.after(SOON));
        let Some(at) = goes_on.into_iter().chain(commands.next_deadline()).min() else {
            self.alarm = None;
            return;
        };
        if self.alarm.as_ref().is_some_and(|alarm| alarm.at <= at && alarm.at > now) {
            return;
        }
        let Some(own) = self.own.get() else { return };
        // Nothing happens by itself while nothing can be written.
        let least = if takes_writes { Duration::from_millis(1) } else { REST };
        let wait = Duration::from_millis(at.0.saturating_sub(now.0)).clamp(least, LONGEST);
        let at = now.after(wait);
        let sleep = cx.sleep(wait);
        let task = cx.spawn("alarm", async move {
            sleep.await;
            // A node that has ended needs no turn.
            let _ = own.send(Msg::Tick).await;
        });
        self.alarm = Some(Alarm { at, _task: Leased(task) });
    }
}

/// Bytes of the keys in an answer.
fn keys_len(answer: &Answer) -> usize {
    match answer {
        Answer::Page { keys, .. } => keys.iter().map(|key| 16 + key.len()).sum(),
        _ => 0,
    }
}

/// Tells the observer of steps.
pub(super) fn tell(observer: &dyn Observer, turn: u64, told: &mut Vec<Told>) {
    for Told { at, lane_sequence, step } in told.drain(..) {
        let step = match &step {
            ToldStep::Refused(envelope, failure) => Step::Refused { envelope, failure },
            ToldStep::Repeated(envelope, row) => Step::Repeated { envelope, row: *row },
            ToldStep::Accepted(row, id, envelope) => Step::Accepted { row: *row, id, envelope },
            ToldStep::Started(row) => Step::Started { row: *row },
            ToldStep::Finished(row, outcome) => Step::Finished { row: *row, outcome },
            ToldStep::Forgotten(session) => Step::Forgotten { session },
        };
        observer.lived(&Lived { turn, at, lane_sequence, step });
    }
}
