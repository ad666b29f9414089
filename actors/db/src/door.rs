//! Door: where every front end brings commands and questions.

use std::sync::Arc;

use orloj_kernel::{Addr, Context, Reply, mutant};
use orloj_net::envelope::{
    Code, Envelope, Failure, Finding, Health, Question, Safety, SessionName,
};
use orloj_storage::Error;

use crate::{
    Durability, NodeConfig,
    board::Board,
    clock::NodeClock,
    commands::{Tables, query},
    hub::Hub,
    outbox::{Asker, Outbox, unknown},
    sequencer::{self, Submission},
};

/// The sequencer has ended: what became of what it was given is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended;

/// The way in.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) cx: Context,
    pub(crate) config: Arc<NodeConfig>,
    pub(crate) board: Arc<Board>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) tables: Tables,
    pub(crate) sequencer: Addr<sequencer::Msg>,
}

impl Door {
    /// Hands commands on, in order. Each tag is answered exactly once on `outbox`.
    ///
    /// # Errors
    /// [`Ended`]: those that were not answered will not be.
    pub(crate) async fn submit(
        &self,
        batch: Vec<(u64, Envelope)>,
        outbox: &Arc<Outbox>,
    ) -> Result<(), Ended> {
        let mut submissions = Vec::with_capacity(batch.len());
        for (tag, envelope) in batch {
            match self.check(&envelope) {
                Ok(()) => {
                    let asker = Asker::new(outbox.clone(), tag);
                    submissions.push(Submission { envelope, asker });
                }
                Err(failure) => outbox.refuse(tag, failure),
            }
        }
        if submissions.is_empty() {
            return Ok(());
        }
        let sent = self.sequencer.send(sequencer::Msg::Submit(submissions)).await;
        sent.map_err(|_| Ended)
    }

    /// What needs nothing but the envelope and the node's settings.
    fn check(&self, envelope: &Envelope) -> Result<(), Failure> {
        if self.board.is_stopping() {
            let text = "the node is about to stop";
            return Err(Failure::new(Code::ShuttingDown, text));
        }
        envelope.validate(&self.config.limits)?;
        let is_more = envelope.durability.is_some_and(|safety| safety > Safety::InMemory);
        if is_more && self.config.durability == Durability::InMemory {
            return Err(Failure::invalid("durability", "is more than a database in memory has"));
        }
        Ok(())
    }

    /// Answers a question.
    ///
    /// # Errors
    /// Why it cannot.
    pub(crate) async fn ask(&self, question: Question) -> Result<Finding, Failure> {
        match question {
            Question::Health => Ok(Finding::Health(self.health())),
            Question::RecoverySummary => Ok(Finding::Recovery(self.board.recovery())),
            Question::History(filter) => {
                let known = ["ok", "failed", "timed_out", "cancelled", "in_flight"];
                if filter.outcome.as_ref().is_some_and(|name| !known.contains(&&**name)) {
                    return Err(Failure::invalid("outcome", "is no outcome"));
                }
                if filter.limit > 500 {
                    return Err(Failure::invalid("limit", "is more than 500"));
                }
                let page = query::history(&self.tables, &filter).await;
                let mut page = page.map_err(|error| failed(&error))?;
                if mutant!(self.cx, "query.page_skips_a_row") {
                    page.cursor = page.cursor.map(|at| at - 1);
                }
                Ok(Finding::History(page))
            }
            Question::Outcome(id) => {
                match query::outcome(&self.tables, &id).await.map_err(|error| failed(&error))? {
                    Some(outcome) => Ok(Finding::Outcome(outcome)),
                    None => Err(Failure::new(
                        Code::DependencyUnknown,
                        "no command with that id is known; it may have been dropped by retention",
                    )
                    .with("reason", "unknown_id")),
                }
            }
            Question::Sessions { after, limit } => {
                if limit > 500 {
                    return Err(Failure::invalid("limit", "is more than 500"));
                }
                let found = query::sessions(&self.tables, after.as_ref(), limit).await;
                let (sessions, more) = found.map_err(|error| failed(&error))?;
                Ok(Finding::Sessions(sessions, more))
            }
            Question::Cancel(id) => {
                let (reply, answer) = Reply::new();
                let sent = self.sequencer.send(sequencer::Msg::Cancel(id, reply)).await;
                sent.map_err(|_| unknown())?;
                answer.await.map(Finding::Cancelled).map_err(|_| unknown())
            }
        }
    }

    fn health(&self) -> Health {
        let facts = self.board.facts(&self.cx);
        Health {
            is_ready: self.board.is_ready(),
            is_stopping: self.board.is_stopping(),
            is_read_only: self.tables.is_read_only(),
            durability: self.config.durability.name().to_owned(),
            append_failure: self.config.commands.append_failure.name().to_owned(),
            version: self.config.version.to_owned(),
            in_flight: self.board.in_flight(),
            connections: facts.connections,
            now: NodeClock::start(&self.cx, orloj_net::UnixMs(0)).now(&self.cx),
        }
    }

    /// Has events told on `outbox`, as long as no more than `room` of them wait there.
    pub(crate) fn subscribe(
        &self,
        session: Option<SessionName>,
        outbox: &Arc<Outbox>,
        tag: u64,
        room: usize,
    ) {
        self.hub.join(session, outbox, tag, room);
    }

    /// Tells no more events.
    pub(crate) fn unsubscribe(&self, outbox: &Arc<Outbox>, tag: u64) {
        self.hub.leave(outbox, Some(tag));
    }

    /// A client has left.
    pub(crate) fn part(&self, outbox: &Arc<Outbox>) {
        outbox.close();
        self.hub.leave(outbox, None);
    }
}

fn failed(error: &Error) -> Failure {
    match error {
        Error::RolledBack { .. } | Error::Closed => {
            Failure::new(Code::Unavailable, "not now; ask again")
        }
        _ => Failure::new(Code::StorageFailure, "what is asked for cannot be read from the disk")
            .with("reason", "unreadable"),
    }
}
