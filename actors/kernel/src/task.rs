//! Spawned tasks and their results.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{self, Poll},
};

use pin_project_lite::pin_project;

use crate::{Answer, Context, Reply, TaskKey};

/// The task was aborted, its host crashed, or it panicked on a machine that survives panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("task ended without a result")]
pub struct JoinError;

/// Awaits a task's result. Dropping it lets the task run on.
pub struct JoinHandle<T> {
    answer: Answer<T>,
    context: Context,
    key: TaskKey,
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinHandle({:#x})", self.key.0)
    }
}

impl<T> JoinHandle<T> {
    /// Drops the task at its current await point; joining it then gives [`JoinError`].
    pub fn abort(&self) {
        self.context.runtime.abort(self.key);
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer).poll(cx).map_err(|_| JoinError)
    }
}

pin_project! {
    /// What runs as a task: a future, and who waits for its result.
    ///
    /// Written out, because an `async` block would hold the future twice, once as it was captured
    /// and once as it is awaited, and a world of many tasks lives by how many fit into the cache.
    struct Run<F: Future> {
        // `None` as soon as it has ended.
        #[pin]
        future: Option<F>,
        reply: Option<Reply<F::Output>>,
    }
}

impl<F: Future> Future for Run<F> {
    type Output = ();
    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        let mut me = self.project();
        let Some(future) = me.future.as_mut().as_pin_mut() else { return Poll::Ready(()) };
        let Poll::Ready(output) = future.poll(cx) else { return Poll::Pending };
        // The future goes before the reply: whoever learns that the task has ended finds
        // everything that belonged to it gone.
        me.future.set(None);
        if let Some(reply) = me.reply.take() {
            reply.send(output);
        }
        Poll::Ready(())
    }
}

pub(crate) fn spawn<F>(context: Context, name: &'static str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let (reply, answer) = Reply::new();
    let task = Box::pin(Run { future: Some(future), reply: Some(reply) });
    let key = context.runtime.spawn(context.host, name, task);
    JoinHandle { answer, context, key }
}

/// Ready at the second poll.
pub(crate) fn yield_now() -> impl Future<Output = ()> + Send {
    let mut yielded = false;
    std::future::poll_fn(move |cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}
