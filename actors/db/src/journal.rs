//! Journal: where answers wait until what they rest on is safe.
//!
//! The engine has the log. Whoever waits for a version leads the writing of all that waits, so one
//! write, and one sync if the mode is strict, carries every turn that is in the mailbox; meanwhile
//! the mailbox is the queue for the next. Answers leave when what they rest on is as safe as the
//! mode promises: strict, synced; buffered, with the operating system.
//!
//! A disk that takes no write is not the end: the engine takes back what was refused, the clients
//! are told, and the engine asks the disk again now and then. A sync that fails is the end: what is
//! on the disk is unknown from then on, so the node stops.
//!
//! Invariant: in strict mode an answer leaves only after everything it rests on would survive a
//! power cut.

use std::time::Duration;

use orloj_kernel::{Actor, Context, Reply, Stop, always, buggify, mutant, sometimes};
use orloj_storage::{Database, Error, Verdict, database::Assigned};

use crate::{
    Durability,
    commands::{Note, Tell},
    hub::Hub,
    outbox::{not_done, unknown},
    sequencer::Waiting,
};
use std::sync::Arc;

/// What the journal can be told.
#[derive(Debug)]
pub(crate) enum Msg {
    /// Let answers go when what they rest on is safe.
    Hold(Held),
    /// Answer when all that came before has been let go.
    Flush(Reply<()>),
}

/// Answers of one turn.
#[derive(Debug)]
pub(crate) struct Held {
    /// What all of them rest on.
    pub(crate) rest_on: Assigned,
    /// Whether nothing of what was asked has happened if that is taken back. Otherwise some of it
    /// may have.
    pub(crate) is_whole: bool,
    /// How safe that has to be.
    pub(crate) safety: Durability,
    pub(crate) waiting: Vec<Waiting>,
    /// What is told of commands in envelopes.
    pub(crate) notes: Vec<Note>,
}

impl Held {
    /// Tells what was held back.
    fn release(self, hub: &Hub) {
        self.waiting.into_iter().for_each(Waiting::release);
        release_notes(self.notes, hub);
    }

    /// What it rests on was taken back.
    fn refuse(self) {
        if self.is_whole {
            self.waiting.into_iter().for_each(Waiting::refuse);
        }
        // Otherwise nobody knows, and who asks is told so by the silence: the connection closes.
        refuse_notes(self.notes);
    }
}

/// What notes rest on is safe.
pub(crate) fn release_notes(notes: Vec<Note>, hub: &Hub) {
    for note in notes {
        match note.what {
            Tell::Answer(asker, answer) => asker.answer(answer),
            Tell::Event(event, joins) => hub.publish(*event, joins),
            Tell::Cancelled(reply, cancelled) => reply.send(cancelled),
        }
    }
}

/// What notes rest on was taken back.
pub(crate) fn refuse_notes(notes: Vec<Note>) {
    for note in notes {
        match note.what {
            Tell::Answer(asker, _) if note.is_whole => asker.answer(Err(not_done())),
            // It was accepted before, and will have an outcome.
            Tell::Answer(asker, _) => asker.answer(Err(unknown())),
            Tell::Event(..) | Tell::Cancelled(..) => {}
        }
    }
}

pub(crate) struct Journal {
    db: Database,
    hub: Arc<Hub>,
    /// What a planted defect forgets to write.
    forgotten: Vec<Held>,
}

impl Journal {
    pub(crate) fn new(db: Database, hub: Arc<Hub>) -> Journal {
        Journal { db, hub, forgotten: Vec::new() }
    }

    /// Waits until what `assigned` says is as safe as was promised.
    async fn settle(
        &self,
        cx: &Context,
        assigned: Assigned,
        safety: Durability,
    ) -> Result<(), Error> {
        match safety {
            Durability::Strict => self.db.durable(assigned).await.map(|_| ()),
            Durability::Buffered if mutant!(cx, "journal.buffered_is_not_written") => Ok(()),
            Durability::Buffered => self.db.written(assigned).await,
            Durability::InMemory => Ok(()),
        }
    }

    /// Whether it is by now, and was not taken back.
    fn is_settled(&self, assigned: Assigned, safety: Durability) -> bool {
        match safety {
            Durability::Strict => self.db.is_durable(assigned),
            Durability::Buffered => self.db.is_written(assigned),
            Durability::InMemory => true,
        }
    }

    /// Lets answers go when their time has come, those that need least first.
    async fn release(&mut self, cx: &Context, held: &mut Vec<Held>) -> Result<(), Stop> {
        for safety in [Durability::InMemory, Durability::Buffered, Durability::Strict] {
            let (mut now, later): (Vec<_>, Vec<_>) =
                held.drain(..).partition(|held| held.safety == safety);
            *held = later;
            self.release_of(cx, safety, &mut now).await?;
        }
        Ok(())
    }

    async fn release_of(
        &mut self,
        cx: &Context,
        safety: Durability,
        held: &mut Vec<Held>,
    ) -> Result<(), Stop> {
        let Some(newest) = held.iter().map(|held| held.rest_on).max_by_key(|a| a.version()) else {
            return Ok(());
        };
        let strict = safety == Durability::Strict;
        if strict && mutant!(cx, "journal.ack_before_sync") {
            for held in &mut *held {
                held.waiting.drain(..).for_each(Waiting::release);
            }
        }
        let all = self.settle(cx, newest, safety).await;
        if buggify!(cx, "journal: slow to let answers go") {
            cx.sleep(Duration::from_millis(cx.below(20))).await;
        }
        let answers: usize = held.iter().map(|held| held.waiting.len()).sum();
        sometimes!(cx, answers > 1, "journal: one write answered several clients");
        for held in held.drain(..) {
            // Of several turns the first may be safe, and the others taken back.
            let one = match &all {
                Ok(()) if self.is_settled(held.rest_on, safety) => Ok(()),
                _ => self.settle(cx, held.rest_on, safety).await,
            };
            match one {
                Ok(()) => {
                    always!(
                        cx,
                        !strict || self.db.is_durable(held.rest_on),
                        "journal: no answer leaves before what it rests on is durable",
                        "version {} of {}",
                        held.rest_on.version(),
                        self.db.durable_version()
                    );
                    held.release(&self.hub);
                }
                Err(error) if error.verdict() == Verdict::Halt => return Err(fatal(&error)),
                Err(error) => {
                    cx.trace("journal", format_args!("refused: {error}"));
                    let definite = held.is_whole && matches!(error, Error::ReadOnly { .. });
                    sometimes!(cx, definite, "journal: a full disk was told to clients");
                    if matches!(error, Error::ReadOnly { .. }) {
                        held.refuse();
                    }
                }
            }
        }
        Ok(())
    }
}

/// What the node stops for.
pub(crate) fn fatal(error: &Error) -> Stop {
    Stop::Fatal(format!("{error}; what the disk holds is unknown, so no promise can be kept"))
}

impl Actor for Journal {
    type Msg = Msg;
    const NAME: &'static str = "journal";
    /// Each message is a turn of the sequencer, so few are needed to keep the disk busy.
    const MAILBOX: usize = 64;

    async fn turn(&mut self, batch: &mut Vec<Msg>, cx: &Context) -> Result<(), Stop> {
        let mut held = std::mem::take(&mut self.forgotten);
        for msg in batch.drain(..) {
            match msg {
                Msg::Hold(one) => held.push(one),
                Msg::Flush(reply) => {
                    self.release(cx, &mut held).await?;
                    reply.send(());
                }
            }
        }
        let newest = held.last().map_or(0, |held| held.rest_on.version().0);
        if mutant!(cx, "journal.lost_wakeup") && newest % 4 == 3 {
            self.forgotten = held;
            return Ok(());
        }
        self.release(cx, &mut held).await
    }

    fn label(msg: &Msg) -> &'static str {
        match msg {
            Msg::Hold(_) => "hold",
            Msg::Flush(_) => "flush",
        }
    }
}
