//! Outbox: what waits for one client of commands to take.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use orloj_net::envelope::{Code, Event, Failure, Outcome};

/// One thing for a client.
#[derive(Debug)]
pub(crate) enum Push {
    /// What became of the command that it sent with that tag.
    Answer {
        /// Which one.
        tag: u64,
        /// Its outcome, or why it was not accepted, or that nobody knows.
        answer: Result<Outcome, Failure>,
    },
    /// Something happened that it follows.
    Event {
        /// Which subscription.
        tag: u64,
        /// What.
        event: Arc<Event>,
    },
    /// It left too many events unread: the subscription has ended.
    Lagged {
        /// Which subscription.
        tag: u64,
    },
}

/// A queue to one client. Pushing never waits; answers are as many as the client has asked for, and
/// events as many as the subscription has room for.
#[derive(Default)]
pub(crate) struct Outbox(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    queue: Vec<Push>,
    /// Events in it, by subscription.
    events: BTreeMap<u64, usize>,
    waker: Option<Waker>,
    is_closed: bool,
}

impl Outbox {
    pub(crate) fn new() -> Arc<Outbox> {
        Arc::default()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, push: Push) {
        let mut inner = self.inner();
        if inner.is_closed {
            return;
        }
        inner.queue.push(push);
        if let Some(waker) = inner.waker.take() {
            drop(inner);
            waker.wake();
        }
    }

    /// Answers a command that never reached a lane.
    pub(crate) fn refuse(&self, tag: u64, failure: Failure) {
        self.push(Push::Answer { tag, answer: Err(failure) });
    }

    /// Tells an event; whether the subscription goes on.
    pub(crate) fn tell(&self, tag: u64, event: Arc<Event>, room: usize) -> bool {
        {
            let mut inner = self.inner();
            if inner.is_closed {
                return false;
            }
            let waiting = inner.events.entry(tag).or_default();
            *waiting += 1;
            if *waiting > room {
                inner.events.remove(&tag);
                drop(inner);
                self.push(Push::Lagged { tag });
                return false;
            }
        }
        self.push(Push::Event { tag, event });
        true
    }

    /// Ends a subscription.
    pub(crate) fn end(&self, tag: u64) {
        self.push(Push::Lagged { tag });
    }

    /// Takes all there is into `out`. Pending while there is nothing.
    pub(crate) fn poll_take(&self, task: &mut Context<'_>, out: &mut Vec<Push>) -> Poll<()> {
        let mut inner = self.inner();
        if inner.queue.is_empty() {
            match &mut inner.waker {
                Some(waker) => waker.clone_from(task.waker()),
                none => *none = Some(task.waker().clone()),
            }
            return Poll::Pending;
        }
        out.append(&mut inner.queue);
        inner.events.clear();
        Poll::Ready(())
    }

    /// Nobody will take anything any more.
    pub(crate) fn close(&self) {
        let mut inner = self.inner();
        inner.is_closed = true;
        inner.queue = Vec::new();
        inner.events.clear();
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outbox")
    }
}

/// Whoever waits for the outcome of a command. Dropped without an answer, it is told that nobody
/// knows.
#[derive(Debug)]
pub(crate) struct Asker {
    outbox: Option<Arc<Outbox>>,
    tag: u64,
}

impl Asker {
    pub(crate) fn new(outbox: Arc<Outbox>, tag: u64) -> Asker {
        Asker { outbox: Some(outbox), tag }
    }

    pub(crate) fn answer(mut self, answer: Result<Outcome, Failure>) {
        if let Some(outbox) = self.outbox.take() {
            outbox.push(Push::Answer { tag: self.tag, answer });
        }
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        if let Some(outbox) = self.outbox.take() {
            outbox.push(Push::Answer { tag: self.tag, answer: Err(unknown()) });
        }
    }
}

/// Nobody knows what became of a command.
pub(crate) fn unknown() -> Failure {
    Failure::new(
        Code::Unavailable,
        "what became of the command is not known; ask again with its id",
    )
    .with("reason", "unknown_fate")
}

/// The disk did not take a command, and nothing of it happened.
pub(crate) fn not_done() -> Failure {
    Failure::new(Code::StorageFailure, "the journal took nothing; nothing of the command was done")
        .with("reason", "journal_failed")
}
