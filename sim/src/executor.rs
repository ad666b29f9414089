//! The loop that polls tasks and lets time pass.

use std::{
    mem::ManuallyDrop,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::Context as TaskContext,
};

use orloj_kernel::{Ambient, HostKey};

use crate::{
    panics,
    task::{self, TaskId},
    trap,
    verdict::Failure,
    world::{Step, try_current, with},
};

/// Why the loop returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The task that was waited for has ended.
    Done,
    /// Nothing can ever happen again.
    Stalled,
    /// A limit of time or polls was reached.
    OutOfTime,
    /// A failure is recorded in the world.
    Failed,
}

/// Runs the world on this thread until the task `until` has ended, looking after every one that
/// does.
pub(crate) fn run(until: TaskId) -> End {
    let seat = Ambient::enter();
    let _armed = trap::arm(with(|w| w.traps));
    loop {
        // Entered again after a panic only: catching each poll by itself would cost every poll.
        match catch_unwind(AssertUnwindSafe(|| turn(&seat, until))) {
            Ok(end) => return end,
            Err(_) => with(|w| {
                w.fail(panics::taken());
                w.end_task(w.polling);
            }),
        }
    }
}

fn turn(seat: &Ambient, until: TaskId) -> End {
    if !with(|w| w.is_live(until)) {
        return End::Done;
    }
    let mut waits = None;
    loop {
        // One visit of the world between two polls.
        let step = with(|w| {
            if let Some((id, future)) = waits.take() {
                w.put_back(id, future);
            }
            w.step()
        });
        match step {
            Step::Poll(id, future, context) => {
                // Dropping what panicked may panic again: it is leaked then, and the run is over.
                let mut future = ManuallyDrop::new(future);
                seat.set(context);
                let waker = task::waker(id);
                let poll = future.as_mut().poll(&mut TaskContext::from_waker(&waker));
                let future = ManuallyDrop::into_inner(future);
                if poll.is_pending() {
                    waits = Some((id, future));
                    continue;
                }
                drop(future);
                let over = with(|w| {
                    w.end_task(id);
                    !w.is_live(until)
                });
                if over {
                    return End::Done;
                }
            }
            Step::Sweep => {
                sweep();
                if !with(|w| w.is_live(until)) {
                    return End::Done;
                }
            }
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

/// Runs `future` on `host` from outside of any task.
///
/// The future is borrowed, so it cannot become a task of the world; it is polled here, under the
/// name of a task that ends whenever somebody wakes it.
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
        let armed = trap::arm(with(|w| w.traps));
        let poll = future.as_mut().poll(&mut TaskContext::from_waker(&waker));
        drop(armed);
        if poll.is_ready() {
            with(|w| w.end_task(id));
            sweep();
            return;
        }
        let end = run(id);
        if end != End::Done {
            let failure = with(|w| w.failure.clone())
                .unwrap_or_else(|| Failure::new("stalled", format!("{end:?}")));
            panic!("the simulation ended before the future did: {failure}");
        }
    }
}
