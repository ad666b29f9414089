//! The subscriptions of one connection: how many events each may still be sent, and those that
//! wait for that.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use orloj_net::envelope::Event;

/// Events of one subscription that may wait, here and in the outbox each.
pub(super) const ROOM: usize = 1024;
/// Most subscriptions of one connection.
const MOST: usize = 64;

/// More wait than there is room for; the subscription has ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lagged;

#[derive(Default)]
struct Subscription {
    credits: u32,
    /// Empty while there are credits.
    waiting: VecDeque<Arc<Event>>,
}

#[derive(Default)]
pub(super) struct Subscriptions(BTreeMap<u64, Subscription>);

impl Subscriptions {
    pub(super) fn has(&self, tag: u64) -> bool {
        self.0.contains_key(&tag)
    }

    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= MOST
    }

    pub(super) fn add(&mut self, tag: u64, credits: u32) {
        self.0.insert(tag, Subscription { credits, waiting: VecDeque::new() });
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, tag: u64) -> bool {
        self.0.remove(&tag).is_some()
    }

    /// The event, if it may be sent now.
    pub(super) fn tell(
        &mut self,
        tag: u64,
        event: Arc<Event>,
    ) -> Result<Option<Arc<Event>>, Lagged> {
        // It may have ended while the event was on its way.
        let Some(subscription) = self.0.get_mut(&tag) else { return Ok(None) };
        if let Some(left) = subscription.credits.checked_sub(1) {
            subscription.credits = left;
            return Ok(Some(event));
        }
        if subscription.waiting.len() == ROOM {
            self.0.remove(&tag);
            return Err(Lagged);
        }
        subscription.waiting.push_back(event);
        Ok(None)
    }

    /// More may be sent: those of them that wait.
    pub(super) fn grant(&mut self, tag: u64, credits: u32) -> Vec<Arc<Event>> {
        let Some(subscription) = self.0.get_mut(&tag) else { return Vec::new() };
        let all = subscription.credits.saturating_add(credits);
        let now = subscription.waiting.len().min(all as usize);
        subscription.credits = all - now as u32;
        subscription.waiting.drain(..now).collect()
    }
}

#[cfg(test)]
mod tests {
    use orloj_net::{
        Command, UnixMs,
        envelope::{Causes, Envelope, Stage},
    };

    use super::*;

    fn event(lane_sequence: u64) -> Arc<Event> {
        let get = Envelope::new(Command::DbSize);
        let causes = Causes::of("a".into(), &get);
        Arc::new(Event { causes, lane_sequence, at: UnixMs(0), stage: Stage::Accepted })
    }

    #[test]
    fn events_wait_for_credits_in_their_order() {
        let mut all = Subscriptions::default();
        all.add(7, 1);
        assert_eq!(all.tell(7, event(1)), Ok(Some(event(1))));
        assert_eq!(all.tell(7, event(2)), Ok(None));
        assert_eq!(all.tell(7, event(3)), Ok(None));
        assert_eq!(all.grant(7, 1), [event(2)]);
        assert_eq!(all.grant(7, 5), [event(3)]);
        assert_eq!(all.tell(7, event(4)), Ok(Some(event(4))));
        assert_eq!(all.tell(8, event(4)), Ok(None), "there is none of that tag");
        assert_eq!(all.grant(7, u32::MAX), []);
        assert_eq!(all.grant(7, u32::MAX), [], "credits end somewhere");
    }

    #[test]
    fn one_that_does_not_read_lags() {
        let mut all = Subscriptions::default();
        all.add(7, 0);
        for at in 0..ROOM as u64 {
            assert_eq!(all.tell(7, event(at)), Ok(None));
        }
        assert_eq!(all.tell(7, event(0)), Err(Lagged));
        assert!(!all.has(7));
    }
}
