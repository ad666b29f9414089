//! Waiting for the journal, and leading it.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context as Task, Poll},
};

use super::{Round, Waiting, Writer};
use crate::{Error, Lsn};

/// What somebody waits for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Goal {
    /// That a version survives a crash. It was given when history had been taken back so often.
    Durable { version: Lsn, times: usize },
    /// That this is done.
    Done(Round),
}

type Running = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// A future that waits for its turn, and leads when it has it. Dropping it takes nothing back.
#[must_use = "nothing is waited for unless it is polled"]
pub(crate) struct Wait<'a> {
    writer: &'a Arc<Writer>,
    goal: Goal,
    /// Its number among those who wait, once it has one.
    number: Option<u64>,
    /// The round that it leads.
    running: Option<Running>,
}

impl fmt::Debug for Wait<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait").field("goal", &self.goal).finish_non_exhaustive()
    }
}

impl Wait<'_> {
    pub(super) fn new(writer: &Arc<Writer>, goal: Goal) -> Wait<'_> {
        Wait { writer, goal, number: None, running: None }
    }

    /// Whether the goal is reached, or cannot be any more.
    fn outcome(&self) -> Option<Result<(), Error>> {
        let Goal::Durable { version, times } = self.goal else { return None };
        let tree = &self.writer.tree;
        // In this order: a version that was taken back and given again is not the one waited for.
        let is_durable = tree.tail().last_durable() >= version;
        if tree.snapshots().check_since(times, version).is_err() {
            return Some(Err(self.writer.state().refused()));
        }
        let newest = tree.tail().assigned();
        if is_durable {
            return Some(Ok(()));
        }
        // It is being taken back this very moment, or it is of another database.
        (version > newest).then(|| match tree.snapshots().check_since(times, version) {
            Ok(()) => Err(Error::StillToCome { asked: version, newest }),
            Err(_) => Err(self.writer.state().refused()),
        })
    }

    /// Takes the journal, or a place among those who wait for it.
    fn take(&mut self, task: &Task<'_>) -> Result<bool, Error> {
        let writer = self.writer;
        let mut state = writer.state();
        if let Some(log) = state.log.take() {
            if let Some(number) = self.number.take() {
                state.waiting.retain(|waiting| waiting.number != number);
            }
            let round = match self.goal {
                Goal::Durable { .. } => Round::Flush { sync: true },
                Goal::Done(round) => round,
            };
            let records = std::mem::take(&mut state.spare);
            self.running = Some(Box::pin(round.run(Arc::clone(writer), log, records)));
            return Ok(true);
        }
        if let Some(error) = &state.ended {
            return Err(error.clone());
        }
        let number = *self.number.get_or_insert_with(|| {
            state.next_waiting += 1;
            state.next_waiting
        });
        match state.waiting.iter_mut().find(|waiting| waiting.number == number) {
            Some(waiting) => waiting.waker.clone_from(task.waker()),
            None => {
                let waker = task.waker().clone();
                state.waiting.push(Waiting { number, goal: self.goal, waker });
            }
        }
        Ok(false)
    }
}

impl Future for Wait<'_> {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Self::Output> {
        let wait = &mut *self;
        loop {
            if let Some(running) = &mut wait.running {
                let Poll::Ready(done) = running.as_mut().poll(task) else { return Poll::Pending };
                wait.running = None;
                if let Goal::Done(_) = wait.goal {
                    return Poll::Ready(done);
                }
            }
            if let Some(outcome) = wait.outcome() {
                return Poll::Ready(outcome);
            }
            match wait.take(task) {
                Ok(true) => {}
                // Between the look at the outcome and the place in the queue a round may have
                // ended: nobody would wake this one.
                Ok(false) => match wait.outcome() {
                    Some(outcome) => return Poll::Ready(outcome),
                    None => return Poll::Pending,
                },
                // A round that failed has taken back what it carried before it said that it ended.
                Err(error) => return Poll::Ready(wait.outcome().unwrap_or(Err(error))),
            }
        }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            self.writer.cx.spawn("storage-round", async move {
                // Those who wait are told by the round itself.
                let _ = running.await;
            });
        }
        if let Some(number) = self.number {
            let mut state = self.writer.state();
            state.waiting.retain(|waiting| waiting.number != number);
            // It may have been woken to lead.
            let due = state.due(|_| false);
            drop(state);
            due.iter().for_each(std::task::Waker::wake_by_ref);
        }
    }
}
