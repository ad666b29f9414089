//! The threads that wait for the disk, so that tasks need not.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{self, Poll},
    thread,
};

use orloj_kernel::{Answer, Reply};

type Job = Box<dyn FnOnce() + Send>;

/// A pool that grows to a bound and never shrinks: a thread that has once been needed will be
/// again.
pub(crate) struct Threads {
    state: Mutex<State>,
    ready: Condvar,
    max: usize,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    running: usize,
    /// Threads that wait and that no submitter has claimed yet.
    idle: usize,
    /// Claims that a waiting thread has not seen yet.
    claims: usize,
}

/// The outcome of work that a disk thread does.
pub(crate) struct Done<T>(Answer<T>);

impl<T> Future for Done<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<T> {
        Pin::new(&mut self.0).poll(cx).map(|done| done.expect("a disk operation does not panic"))
    }
}

impl Threads {
    /// A pool of at least one thread and at most `max`.
    pub(crate) fn start(max: usize) -> io::Result<Arc<Threads>> {
        let threads = Arc::new(Threads {
            state: Mutex::new(State::default()),
            ready: Condvar::new(),
            max: max.max(1),
        });
        threads.state().running = 1;
        threads.spawn()?;
        Ok(threads)
    }

    /// Runs `work` on a thread of the pool. It is submitted at once, and done even if the future is
    /// dropped.
    pub(crate) fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Done<T> {
        let (reply, answer) = Reply::new();
        self.submit(Box::new(move || reply.send(work())));
        Done(answer)
    }

    /// Runs `job` on a thread of the pool, in the order of submission.
    pub(crate) fn submit(self: &Arc<Self>, job: Job) {
        let mut state = self.state();
        state.jobs.push_back(job);
        if state.idle > 0 {
            state.idle -= 1;
            state.claims += 1;
            drop(state);
            self.ready.notify_one();
        } else if state.running < self.max {
            state.running += 1;
            drop(state);
            if let Err(cause) = self.spawn() {
                // The first thread exists, so the job is only late.
                self.state().running -= 1;
                tracing::warn!(%cause, "cannot start another disk thread");
            }
        }
    }

    fn spawn(self: &Arc<Self>) -> io::Result<()> {
        let pool = self.clone();
        thread::Builder::new().name("orloj-disk".to_owned()).spawn(move || pool.work())?;
        Ok(())
    }

    fn work(&self) {
        let mut state = self.state();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                job();
                state = self.state();
                continue;
            }
            state.idle += 1;
            while state.claims == 0 {
                state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.claims -= 1;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
