//! Feed: the events of one subscription that were received and not taken.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use orloj_kernel::Reply;

use crate::envelope::{Event, Failure};

/// Why there are no more events.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// The server has ended the subscription.
    Told(Option<Failure>),
    /// The connection was lost.
    Lost,
}

/// As many events wait here as the server had credits for.
#[derive(Default)]
pub(super) struct Feed(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// Whoever waits for the subscription to stand.
    opening: Option<Reply<Result<(), Failure>>>,
    events: VecDeque<Arc<Event>>,
    end: Option<End>,
    waker: Option<Waker>,
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Feed")
    }
}

impl Feed {
    pub(super) fn new(opening: Reply<Result<(), Failure>>) -> Arc<Feed> {
        Arc::new(Feed(Mutex::new(Inner { opening: Some(opening), ..Inner::default() })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The subscription stands.
    pub(super) fn opened(&self) {
        if let Some(opening) = self.inner().opening.take() {
            opening.send(Ok(()));
        }
    }

    pub(super) fn push(&self, event: Arc<Event>) {
        let mut inner = self.inner();
        inner.events.push_back(event);
        wake(inner);
    }

    /// Nothing more comes; `why` if the subscription never stood.
    pub(super) fn end(&self, end: End, why: &Failure) {
        let mut inner = self.inner();
        if let Some(opening) = inner.opening.take() {
            let told = match &end {
                End::Told(Some(failure)) => failure,
                End::Told(None) | End::Lost => why,
            };
            opening.send(Err(told.clone()));
        }
        inner.end.get_or_insert(end);
        wake(inner);
    }

    pub(super) fn poll_next(&self, task: &mut Context<'_>) -> Poll<Result<Arc<Event>, End>> {
        let mut inner = self.inner();
        if let Some(event) = inner.events.pop_front() {
            return Poll::Ready(Ok(event));
        }
        if let Some(end) = &inner.end {
            return Poll::Ready(Err(end.clone()));
        }
        inner.waker = Some(task.waker().clone());
        Poll::Pending
    }
}

fn wake(mut inner: MutexGuard<'_, Inner>) {
    if let Some(waker) = inner.waker.take() {
        drop(inner);
        waker.wake();
    }
}
