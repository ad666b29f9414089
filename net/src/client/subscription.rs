//! Subscriptions that outlive their connections.

use std::{future::poll_fn, sync::Arc};

use orloj_kernel::buggify;

use super::{
    Client,
    feed::{End, Feed},
    link::Link,
};
use crate::{
    Events,
    envelope::{Code, Event, Failure, SessionName},
};

/// Events that the server may send ahead.
const WINDOW: u32 = 256;

/// Events as they come. If the connection is lost, another is made and the subscription goes on
/// there; what was told meanwhile is missing, and [`Events::next`] says so once with
/// [`Code::Unavailable`], `reason` `gap` and, if it is one session's subscription that has told
/// anything, the `lane_sequence` of the last event before the gap.
/// [`Question::History`](crate::envelope::Question::History) has what is missing. Dropping it ends
/// it.
#[derive(Debug)]
pub struct Subscription {
    client: Client,
    session: Option<SessionName>,
    link: Arc<Link>,
    tag: u64,
    feed: Arc<Feed>,
    /// Events that the server may send ahead,
    window: u32,
    /// and those taken that it has no new credits for.
    taken: u32,
    last: Option<u64>,
}

impl Subscription {
    pub(super) async fn open(
        client: Client,
        session: Option<SessionName>,
    ) -> Result<Subscription, Failure> {
        let few = buggify!(client.0.cx, "client: follows with few credits");
        let window = if few { 2 } else { WINDOW };
        let (link, tag, feed) = connect(&client, session.as_ref(), window).await?;
        Ok(Subscription { client, session, link, tag, feed, window, taken: 0, last: None })
    }

    async fn resume(&mut self) -> Result<(), Failure> {
        let opened = connect(&self.client, self.session.as_ref(), self.window).await?;
        (self.link, self.tag, self.feed) = opened;
        self.taken = 0;
        Ok(())
    }

    fn gap(&self) -> Failure {
        let text = "the connection was lost; events may be missing before the next one";
        let gap = Failure::new(Code::Unavailable, text).with("reason", "gap");
        match (&self.session, self.last) {
            (Some(_), Some(last)) => gap.with("lane_sequence", last.to_string()),
            _ => gap,
        }
    }
}

async fn connect(
    client: &Client,
    session: Option<&SessionName>,
    window: u32,
) -> Result<(Arc<Link>, u64, Arc<Feed>), Failure> {
    let opened = std::sync::Mutex::new(None);
    let subscribe = |link: &Arc<Link>| {
        let (tag, feed, answer) = link.subscribe(session.cloned(), window);
        let mut opened = opened.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *opened = Some((link.clone(), tag, feed));
        answer
    };
    client.insist(session, super::Repeat::Freely, subscribe).await?;
    let opened = opened.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    opened.ok_or_else(|| super::unknown("nothing was asked"))
}

impl Events for Subscription {
    async fn next(&mut self) -> Result<Event, Failure> {
        match poll_fn(|task| self.feed.poll_next(task)).await {
            Ok(event) => {
                self.taken += 1;
                if self.taken >= self.window / 2 {
                    self.link.grant(self.tag, std::mem::take(&mut self.taken));
                }
                self.last = Some(event.lane_sequence);
                Ok(Arc::unwrap_or_clone(event))
            }
            Err(End::Told(failure)) => Err(failure
                .unwrap_or_else(|| Failure::new(Code::Cancelled, "the subscription was ended"))),
            Err(End::Lost) => {
                self.resume().await?;
                Err(self.gap())
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.link.unsubscribe(self.tag);
    }
}
