//! Commands from within the process.

use std::{future::poll_fn, sync::Arc};

use orloj_net::{
    Commands, Events,
    envelope::{Code, Envelope, Event, Failure, Finding, Outcome, Question, SessionName},
};

use crate::{
    door::Door,
    outbox::{Outbox, Push, unknown},
};

/// Events that may wait for a subscription within the process.
const ROOM: usize = 4_096;

/// Commands, questions and subscriptions without a network between. Cheap to clone.
#[derive(Clone)]
pub struct Embedded {
    door: Door,
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Embedded")
    }
}

impl Embedded {
    pub(crate) fn new(door: Door) -> Embedded {
        Embedded { door }
    }
}

impl Embedded {
    /// Sends commands together, in order: each is known when the turn of any of them comes.
    pub async fn send_all(&self, envelopes: Vec<Envelope>) -> Vec<Result<Outcome, Failure>> {
        let outbox = Outbox::new();
        let count = envelopes.len();
        let mut answers: Vec<_> = (0..count).map(|_| Err(unknown())).collect();
        let batch = (0..).zip(envelopes).collect();
        if self.door.submit(batch, &outbox).await.is_err() {
            return answers;
        }
        let (mut missing, mut got) = (count, Vec::new());
        while missing > 0 {
            poll_fn(|task| outbox.poll_take(task, &mut got)).await;
            for push in got.drain(..) {
                if let Push::Answer { tag, answer } = push {
                    answers[tag as usize] = answer;
                    missing -= 1;
                }
            }
        }
        answers
    }
}

impl Commands for Embedded {
    type Events = Subscription;

    async fn send(&self, envelope: Envelope) -> Result<Outcome, Failure> {
        let outbox = Outbox::new();
        let sent = self.door.submit(vec![(0, envelope)], &outbox).await;
        sent.map_err(|_| unknown())?;
        let mut got = Vec::new();
        poll_fn(|task| outbox.poll_take(task, &mut got)).await;
        match got.pop() {
            Some(Push::Answer { answer, .. }) => answer,
            _ => Err(unknown()),
        }
    }

    async fn ask(&self, question: Question) -> Result<Finding, Failure> {
        self.door.ask(question).await
    }

    async fn subscribe(&self, session: Option<SessionName>) -> Result<Subscription, Failure> {
        let outbox = Outbox::new();
        self.door.subscribe(session, &outbox, 0, ROOM);
        Ok(Subscription { door: self.door.clone(), outbox, got: Vec::new(), has_ended: false })
    }
}

/// Events as they come. Dropping it ends the subscription.
pub struct Subscription {
    door: Door,
    outbox: Arc<Outbox>,
    /// What was taken and not yet shown, newest first.
    got: Vec<Push>,
    has_ended: bool,
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Subscription")
    }
}

impl Events for Subscription {
    async fn next(&mut self) -> Result<Event, Failure> {
        let lagged = || {
            let text = "too many events were left unread, or the node has ended";
            Failure::new(Code::Busy, text).with("reason", "lagged")
        };
        if self.has_ended {
            return Err(lagged());
        }
        if self.got.is_empty() {
            let (outbox, got) = (&self.outbox, &mut self.got);
            poll_fn(|task| outbox.poll_take(task, got)).await;
            self.got.reverse();
        }
        match self.got.pop() {
            Some(Push::Event { event, .. }) => Ok(Arc::unwrap_or_clone(event)),
            Some(Push::Lagged { .. }) => {
                self.has_ended = true;
                Err(lagged())
            }
            Some(Push::Answer { .. }) | None => Err(unknown()),
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.door.part(&self.outbox);
    }
}
