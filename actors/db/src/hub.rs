//! Hub: who follows what happens to commands.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use orloj_net::envelope::{Event, SessionName};

use crate::outbox::Outbox;

/// The followers of one node.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    followers: Mutex<Vec<Follower>>,
    /// How many, so that nobody prepares what nobody hears.
    count: AtomicUsize,
    /// How many have ever joined.
    joins: AtomicU64,
}

#[derive(Debug)]
struct Follower {
    outbox: Arc<Outbox>,
    tag: u64,
    session: Option<SessionName>,
    room: usize,
    /// Which it was of those that have ever joined.
    number: u64,
}

impl Hub {
    fn followers(&self) -> MutexGuard<'_, Vec<Follower>> {
        self.followers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anybody follows, and how many have ever joined. Who asks before it makes events
    /// gives that number to [`Hub::publish`].
    pub(crate) fn heard(&self) -> (bool, u64) {
        (self.count.load(Ordering::Relaxed) > 0, self.joins.load(Ordering::Relaxed))
    }

    pub(crate) fn join(
        &self,
        session: Option<SessionName>,
        outbox: &Arc<Outbox>,
        tag: u64,
        room: usize,
    ) {
        let mut followers = self.followers();
        let number = self.joins.fetch_add(1, Ordering::Relaxed) + 1;
        followers.push(Follower { outbox: outbox.clone(), tag, session, room, number });
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

    /// Tells everybody who follows that session, or all, and had joined when so many had. Who came
    /// later would hear of this, and not of what was made before it came and after this.
    pub(crate) fn publish(&self, event: Event, joins: u64) {
        let event = Arc::new(event);
        let mut followers = self.followers();
        followers.retain(|follower| {
            let is_its = follower.session.is_none() || follower.session == event.causes.session;
            let concerns = is_its && follower.number <= joins;
            !concerns || follower.outbox.tell(follower.tag, event.clone(), follower.room)
        });
        self.count.store(followers.len(), Ordering::Relaxed);
    }
}
