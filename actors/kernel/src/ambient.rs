//! The door for guests that take no context.
//!
//! openraft asks for time and tasks through functions without `self`. Every executor therefore
//! makes the polled task's context ambient around each poll, and an adapter reads it here. Our own
//! code is handed its context and does not use this door.

use std::{
    cell::Cell,
    sync::atomic::{AtomicBool, Ordering},
};

use crate::Context;

thread_local! {
    static AMBIENT: Cell<Option<Context>> = const { Cell::new(None) };
}

/// The context of the task being polled on this thread.
///
/// # Panics
/// Outside of any task.
pub fn ambient() -> Context {
    try_ambient().expect("no task of an Orloj runtime is being polled on this thread")
}

/// The context of the task being polled on this thread, if there is one.
pub fn try_ambient() -> Option<Context> {
    AMBIENT.get()
}

/// What happens to a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mail {
    /// A message was put in.
    Put,
    /// All that waited were taken out.
    Taken,
}

/// Whether a runtime of this process has ever wanted to hear of messages.
static WATCHED: AtomicBool = AtomicBool::new(false);

/// From now on, runtimes of this process hear of messages ([`Probe::mail`](crate::Probe::mail)).
/// Until then nobody pays for it.
pub fn watch_mail() {
    WATCHED.store(true, Ordering::Relaxed);
}

/// Something happens to mailbox number `mailbox`.
#[inline]
pub(crate) fn mail(mailbox: u64, what: Mail) {
    if WATCHED.load(Ordering::Relaxed)
        && let Some(context) = try_ambient()
    {
        context.mail(mailbox, what);
    }
}

/// The seat of an executor on this thread: what it sets stays ambient until it sets another or
/// leaves.
#[derive(Debug)]
pub struct Ambient(Option<Context>);

impl Ambient {
    /// Takes the seat, remembering who had it.
    pub fn enter() -> Ambient {
        Ambient(AMBIENT.get())
    }

    /// Makes `context` ambient.
    #[inline]
    pub fn set(&self, context: Context) {
        AMBIENT.set(Some(context));
    }
}

impl Drop for Ambient {
    fn drop(&mut self) {
        AMBIENT.set(self.0);
    }
}

/// Makes `context` ambient while `f` runs, and restores the one before it even if `f` panics.
pub fn with_ambient<T>(context: Context, f: impl FnOnce() -> T) -> T {
    let seat = Ambient::enter();
    seat.set(context);
    f()
}
