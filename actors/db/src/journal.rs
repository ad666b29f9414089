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

use crate::{Durability, sequencer::Waiting};

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
    pub(crate) waiting: Vec<Waiting>,
}

pub(crate) struct Journal {
    db: Database,
    durability: Durability,
    /// What a planted defect forgets to write.
    forgotten: Vec<Held>,
}

impl Journal {
    pub(crate) fn new(db: Database, durability: Durability) -> Journal {
        Journal { db, durability, forgotten: Vec::new() }
    }

    /// Waits until what `assigned` says is as safe as the mode promises.
    async fn settle(&self, assigned: Assigned) -> Result<(), Error> {
        match self.durability {
            Durability::Strict => self.db.durable(assigned).await.map(|_| ()),
            Durability::Buffered => self.db.written(assigned).await,
            Durability::InMemory => Ok(()),
        }
    }

    /// Lets answers go when their time has come. Nothing if there is none.
    async fn release(&mut self, cx: &Context, held: &mut Vec<Held>) -> Result<(), Stop> {
        let Some(newest) = held.iter().map(|held| held.rest_on).max_by_key(|a| a.version()) else {
            return Ok(());
        };
        let strict = self.durability == Durability::Strict;
        if strict && mutant!(cx, "journal.ack_before_sync") {
            for held in &mut *held {
                held.waiting.drain(..).for_each(Waiting::release);
            }
        }
        let all = self.settle(newest).await;
        if buggify!(cx, "journal: slow to let answers go") {
            cx.sleep(Duration::from_millis(cx.below(20))).await;
        }
        let answers: usize = held.iter().map(|held| held.waiting.len()).sum();
        sometimes!(cx, answers > 1, "journal: one write answered several clients");
        for Held { rest_on, is_whole, waiting } in held.drain(..) {
            // Of several turns the first may be safe, and the others taken back.
            let one = match &all {
                Ok(()) => Ok(()),
                Err(_) => self.settle(rest_on).await,
            };
            match one {
                Ok(()) => {
                    always!(
                        cx,
                        !strict || self.db.is_durable(rest_on),
                        "journal: no answer leaves before what it rests on is durable",
                        "version {} of {}",
                        rest_on.version(),
                        self.db.durable_version()
                    );
                    waiting.into_iter().for_each(Waiting::release);
                }
                Err(error) if error.verdict() == Verdict::Halt => return Err(fatal(&error)),
                Err(error) => {
                    cx.trace("journal", format_args!("refused: {error}"));
                    let definite = is_whole && matches!(error, Error::ReadOnly { .. });
                    sometimes!(cx, definite, "journal: a full disk was told to clients");
                    if definite {
                        waiting.into_iter().for_each(Waiting::refuse);
                    }
                    // Otherwise nobody knows, and who asks is told so by the silence: the
                    // connection closes.
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
        if mutant!(cx, "journal.lost_wakeup") && newest % 16 == 9 {
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
