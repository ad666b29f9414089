//! Hub: who follows what happens to commands.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use orloj_net::envelope::{Event, SessionName};

use crate::outbox::Outbox;

/// The followers of one node.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    followers: Mutex<Vec<Follower>>,
    /// How many, so that nobody prepares what nobody hears.
    count: AtomicUsize,
}

#[derive(Debug)]
struct Follower {
    outbox: Arc<Outbox>,
    tag: u64,
    session: Option<SessionName>,
    room: usize,
}

impl Hub {
    fn followers(&self) -> MutexGuard<'_, Vec<Follower>> {
        self.followers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anybody follows.
    pub(crate) fn is_heard(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn join(
        &self,
        session: Option<SessionName>,
        outbox: &Arc<Outbox>,
        tag: u64,
        room: usize,
    ) {
        let mut followers = self.followers();
        followers.push(Follower { outbox: outbox.clone(), tag, session, room });
        self.count.store(followers.len(), Ordering::Relaxed);
    }

    pub(crate) fn leave(&self, outbox: &Arc<Outbox>, tag: Option<u64>) {
        let mut followers = self.followers();
        let is_it = |f: &Follower| Arc::ptr_eq(&f.outbox, outbox) && tag.is_none_or(|t| t == f.tag);
        followers.retain(|follower| !is_it(follower));
        self.count.store(followers.len(), Ordering::Relaxed);
    }

    /// Nothing more will be told: ends every subscription.
    pub(crate) fn end(&self) {
        for follower in std::mem::take(&mut *self.followers()) {
            follower.outbox.end(follower.tag);
        }
        self.count.store(0, Ordering::Relaxed);
    }

    /// Tells everybody who follows that session, or all.
    pub(crate) fn publish(&self, event: Event) {
        let event = Arc::new(event);
        let mut followers = self.followers();
        followers.retain(|follower| {
            let concerns = follower.session.is_none() || follower.session == event.causes.session;
            !concerns || follower.outbox.tell(follower.tag, event.clone(), follower.room)
        });
        self.count.store(followers.len(), Ordering::Relaxed);
    }
}
