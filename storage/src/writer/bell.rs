//! The bell: how the one who writes checkpoints is told that one may be due.

use std::{
    pin::pin,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Poll, Waker},
};

use orloj_kernel::{Context, Instant};

/// Rung when enough was written, when somebody asks, and when the database has ended.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    /// Bytes of journal at which it rings.
    at: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    rung: bool,
    waker: Option<Waker>,
}

impl Bell {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn ring(&self) {
        let waker = {
            let mut state = self.state();
            state.rung = true;
            state.waker.take()
        };
        waker.inspect(Waker::wake_by_ref);
    }

    /// The journal has grown to so many `bytes`.
    pub(super) fn written(&self, bytes: u64) {
        if bytes >= self.at.load(Relaxed) {
            self.at.store(u64::MAX, Relaxed);
            self.ring();
        }
    }

    /// It shall ring when the journal has grown to so many `bytes`.
    pub(crate) fn set(&self, bytes: u64) {
        self.at.store(bytes, Relaxed);
    }

    /// Waits until it is rung, `until` at the latest.
    pub(crate) async fn wait(&self, cx: Context, until: Instant) {
        let mut timer = pin!(cx.sleep_until(until));
        std::future::poll_fn(|task| {
            {
                let mut state = self.state();
                if std::mem::take(&mut state.rung) {
                    return Poll::Ready(());
                }
                state.waker = Some(task.waker().clone());
            }
            timer.as_mut().poll(task)
        })
        .await;
    }
}
