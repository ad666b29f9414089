//! The loop that polls tasks and lets time pass.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context as TaskContext, Poll},
};

use orloj_kernel::{Ambient, HostKey};

use crate::{
    panics, task,
    verdict::Failure,
    world::{Step, World, try_current, with},
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

/// Runs the world on this thread until `until` holds, looking after every task that ended.
pub(crate) fn run(mut until: impl FnMut() -> bool) -> End {
    let seat = Ambient::enter();
    if until() {
        return End::Done;
    }
    let mut step = with(World::step);
    loop {
        step = match step {
            Step::Poll(id, mut future, context) => {
                seat.set(context);
                let waker = task::waker(id);
                let cx = &mut TaskContext::from_waker(&waker);
                match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
                    Ok(Poll::Pending) => with(|w| {
                        w.put_back(id, future);
                        w.step()
                    }),
                    Ok(Poll::Ready(())) => {
                        drop(future);
                        with(|w| w.end_task(id));
                        if until() {
                            return End::Done;
                        }
                        with(World::step)
                    }
                    Err(_) => {
                        // Dropping what panicked may panic again; leak it, the run is over.
                        std::mem::forget(future);
                        with(|w| {
                            w.fail(panics::taken());
                            w.end_task(id);
                            w.step()
                        })
                    }
                }
            }
            Step::Sweep => {
                sweep();
                if until() {
                    return End::Done;
                }
                with(World::step)
            }
            Step::Stalled => return End::Stalled,
            Step::OutOfTime => return End::OutOfTime,
            Step::Failed => return End::Failed,
        };
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

/// Runs `future` on `host` from outside of any task.
///
/// The future is borrowed, so it cannot become a task of the world; it is polled here, under the name of
/// a task that ends whenever somebody wakes it.
///
/// # Panics
/// When the world fails or can never finish it.
pub(crate) fn block_on(host: HostKey, mut future: Pin<&mut dyn Future<Output = ()>>) {
    let seat = Ambient::enter();
    loop {
        let (id, context) = with(|w| {
            let host = crate::runtime::here(w, host);
            (w.spawn_idle(host, "block-on", Box::pin(std::future::ready(()))), w.context(host))
        });
        seat.set(context);
        let waker = task::waker(id);
        let poll = future.as_mut().poll(&mut TaskContext::from_waker(&waker));
        if poll.is_ready() {
            with(|w| w.end_task(id));
            sweep();
            return;
        }
        let end = run(|| with(|w| !w.is_live(id)));
        if end != End::Done {
            let failure = with(|w| w.failure.clone())
                .unwrap_or_else(|| Failure::new("stalled", format!("{end:?}")));
            panic!("the simulation ended before the future did: {failure}");
        }
    }
}
