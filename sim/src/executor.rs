//! The loop that polls tasks and lets time pass.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context as TaskContext, Poll},
};

use orloj_kernel::{HostKey, with_ambient};

use crate::{
    panics, task,
    verdict::Failure,
    world::{Step, try_current, with},
};

/// Why the loop returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// `until` said so.
    Done,
    /// Nothing can ever happen again.
    Stalled,
    /// A limit of time or polls was reached.
    OutOfTime,
    /// A failure is recorded in the world.
    Failed,
}

/// Runs the world on this thread until `until` holds, looking after every poll.
pub(crate) fn run(mut until: impl FnMut() -> bool) -> End {
    loop {
        if until() {
            return End::Done;
        }
        match with(|w| w.step()) {
            Step::Poll(id, mut future, context) => {
                let waker = task::waker(id);
                let poll = with_ambient(context, || {
                    let cx = &mut TaskContext::from_waker(&waker);
                    catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)))
                });
                match poll {
                    Ok(Poll::Pending) => with(|w| w.put_back(id, future)),
                    Ok(Poll::Ready(())) => {
                        with_ambient(context, || drop(future));
                        with(|w| w.finished(id));
                    }
                    Err(_) => {
                        let failure = panics::taken();
                        with(|w| {
                            w.fail(failure);
                            w.finished(id);
                        });
                        // Dropping what panicked may panic again; leak it, the run is over.
                        std::mem::forget(future);
                    }
                }
            }
            Step::Sweep => sweep(),
            Step::Stalled => return End::Stalled,
            Step::OutOfTime => return End::OutOfTime,
            Step::Failed => return End::Failed,
        }
    }
}

/// Calls the foreign wakers and drops the values that gathered while the world was borrowed.
pub(crate) fn sweep() {
    let gathered = try_current(|w| {
        (
            std::mem::take(&mut w.outbox),
            std::mem::take(&mut w.graveyard),
            std::mem::take(&mut w.debris),
        )
    });
    let Some((wakers, tasks, debris)) = gathered else { return };
    wakers.into_iter().for_each(std::task::Waker::wake);
    let dropped = catch_unwind(AssertUnwindSafe(|| {
        drop(tasks);
        drop(debris);
    }));
    if dropped.is_err() {
        let failure = panics::taken();
        with(|w| w.fail(failure));
    }
}

/// Polls `future` as a task of `host` would be, running the world whenever it waits.
///
/// # Panics
/// When the world fails or can never finish it.
pub(crate) fn block_on(host: HostKey, mut future: Pin<&mut (dyn Future<Output = ()> + Send)>) {
    let (id, context) = with(|w| {
        let host = crate::runtime::here(w, host);
        // A task without a future of its own: its slot is what wakers name.
        let id = w.spawn(host, "block-on", Box::pin(std::future::pending()));
        (id, w.context(host))
    });
    let waker = task::waker(id);
    loop {
        let poll =
            with_ambient(context, || future.as_mut().poll(&mut TaskContext::from_waker(&waker)));
        if poll.is_ready() {
            with(|w| w.end_task(id));
            sweep();
            return;
        }
        let mut first = true;
        // The stand-in is polled when somebody wakes it: then it is our turn.
        let end = run(|| {
            let woken = !first && with(|w| w.last_polled == Some(id));
            first = false;
            woken
        });
        if end != End::Done {
            let failure = with(|w| w.failure.clone())
                .unwrap_or_else(|| Failure::new("stalled", format!("{end:?}")));
            panic!("the simulation ended before the future did: {failure}");
        }
    }
}
