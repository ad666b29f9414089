//! One answer to one question, carried inside a message.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{self, Poll, Waker},
};

enum State<T> {
    Empty,
    Waiting(Waker),
    Answered(T),
    Dropped,
    Taken,
}

type Shared<T> = Arc<Mutex<State<T>>>;

/// The answering half of a question. Dropping it unanswered tells the asker so; nobody hangs.
pub struct Reply<T>(Option<Shared<T>>);

/// The asking half: a future of the answer.
pub struct Answer<T>(Shared<T>);

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
        let shared = Arc::new(Mutex::new(State::Empty));
        (Reply(Some(shared.clone())), Answer(shared))
    }

    /// Answers. The asker may be gone; that is not an error.
    pub fn send(mut self, value: T) {
        if let Some(shared) = self.0.take() {
            settle(&shared, State::Answered(value));
        }
    }

    /// Whether nobody waits for the answer any more.
    pub fn is_abandoned(&self) -> bool {
        self.0.as_ref().is_none_or(|shared| Arc::strong_count(shared) == 1)
    }
}

fn settle<T>(shared: &Shared<T>, with: State<T>) {
    let before =
        std::mem::replace(&mut *shared.lock().unwrap_or_else(PoisonError::into_inner), with);
    if let State::Waiting(waker) = before {
        waker.wake();
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        if let Some(shared) = self.0.take() {
            settle(&shared, State::Dropped);
        }
    }
}

impl<T> Future for Answer<T> {
    type Output = Result<T, Dropped>;
    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *state {
            State::Empty => *state = State::Waiting(cx.waker().clone()),
            State::Waiting(waker) => waker.clone_from(cx.waker()),
            State::Dropped => return Poll::Ready(Err(Dropped)),
            State::Taken => panic!("an answer was awaited after it had been given"),
            State::Answered(_) => {
                if let State::Answered(value) = std::mem::replace(&mut *state, State::Taken) {
                    return Poll::Ready(Ok(value));
                }
            }
        }
        Poll::Pending
    }
}
