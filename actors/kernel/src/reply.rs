//! One answer to one question, carried inside a message.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{self, Poll},
};

use tokio::sync::oneshot;

/// The answering half of a question. Dropping it unanswered tells the asker so; nobody hangs.
pub struct Reply<T>(oneshot::Sender<T>);

/// The asking half: a future of the answer.
pub struct Answer<T>(oneshot::Receiver<T>);

/// The actor that held the question ended, or let go of it, without an answer. Whether the
/// question's effect took place is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the question was dropped without an answer")]
pub struct Dropped;

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}

impl<T> fmt::Debug for Answer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answer")
    }
}

impl<T> Reply<T> {
    /// The two halves of one question.
    pub fn new() -> (Reply<T>, Answer<T>) {
        let (reply, answer) = oneshot::channel();
        (Reply(reply), Answer(answer))
    }

    /// Answers. The asker may be gone; that is not an error.
    pub fn send(self, value: T) {
        let _ = self.0.send(value);
    }

    /// Whether nobody waits for the answer any more.
    pub fn is_abandoned(&self) -> bool {
        self.0.is_closed()
    }
}

impl<T> Future for Answer<T> {
    type Output = Result<T, Dropped>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_err(|_| Dropped)
    }
}
