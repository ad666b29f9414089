//! The writer: records that wait for the journal go there in batches, each led by whoever waits.
//!
//! Whoever waits for a version and finds the journal free takes it, drains the tail into one frame,
//! writes and syncs it, and tells the others. Those who came meanwhile are the next batch, and one
//! of them leads it. So a lone writer pays one write and no hop to another task, and many share
//! one sync. A leader that is dropped half-way leaves its round to a task that ends it.
//!
//! A disk that takes no write is not the end: what it refused is taken back in memory, the tail
//! gives no more versions, and the journal asks for room now and then. A sync that fails is the
//! end: what the disk holds is unknown from then on, so nothing more is written.
//!
//! Invariant: `durable` never moves past what a sync has covered.

mod beat;
mod bell;
mod kept;
mod round;
mod wait;

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Poll, Waker},
    time::Duration,
};

use orloj_kernel::{Context, DiskError, RawLock};

use crate::{
    Durability, Error, Lsn, Options,
    journal::{Log, Records},
    tree::Tree,
};

pub(crate) use bell::Bell;
pub(crate) use kept::Kept;
pub(crate) use round::Round;
use wait::{Goal, Wait};

/// The writing end of a database.
pub(crate) struct Writer {
    cx: Context,
    tree: Arc<Tree>,
    durability: Durability,
    sync_every: Duration,
    /// Whether the beat has something to look after.
    armed: AtomicBool,
    /// Bytes of records written so far.
    bytes: AtomicU64,
    bell: Arc<Bell>,
    /// From where on somebody still needs the journal.
    kept: Mutex<Vec<Weak<AtomicU64>>>,
    state: Mutex<State>,
}

struct State {
    /// `None` while somebody has it, and for ever once it has failed or was closed.
    log: Option<Log>,
    /// Why it is gone for ever.
    ended: Option<Error>,
    /// Those who wait for that.
    mourners: Vec<Waker>,
    /// What the disk said when it took no write, and whether it is certain that what was refused
    /// then will never be found. The last one stays for those who were refused.
    refusal: Option<(DiskError, bool)>,
    /// Whether the journal needs room before it takes more.
    refusing: bool,
    /// In the order in which they came.
    waiting: Vec<Waiting>,
    next_waiting: u64,
    /// Room for the records of a round.
    spare: Records,
    /// The beat, when nothing is to be looked after.
    beat: Option<Waker>,
    /// Whether nobody uses the database any more.
    stopped: bool,
    /// That of the directory. It goes when the writer does.
    lock: Option<Box<dyn RawLock>>,
}

struct Waiting {
    number: u64,
    goal: Goal,
    waker: Waker,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("durability", &self.durability).finish_non_exhaustive()
    }
}

impl Writer {
    /// The writer of `tree`, whose tail ends where `log` does.
    pub(crate) fn start(
        cx: Context,
        options: &Options,
        tree: &Arc<Tree>,
        log: Log,
        lock: Box<dyn RawLock>,
    ) -> Arc<Writer> {
        assert_eq!(
            log.next(),
            tree.tail().assigned().next(),
            "the journal ends where history does"
        );
        let state = State {
            log: Some(log),
            ended: None,
            mourners: Vec::new(),
            refusal: None,
            refusing: false,
            waiting: Vec::new(),
            next_waiting: 0,
            spare: Records::new(),
            beat: None,
            stopped: false,
            lock: Some(lock),
        };
        let writer = Arc::new(Writer {
            cx,
            tree: Arc::clone(tree),
            durability: options.durability,
            sync_every: options.sync_every,
            armed: AtomicBool::new(false),
            bytes: AtomicU64::new(0),
            bell: Arc::default(),
            kept: Mutex::default(),
            state: Mutex::new(state),
        });
        cx.spawn("storage-writer", beat::run(Arc::clone(&writer)));
        writer
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was assigned: it gets to the journal within a few milliseconds, whoever waits.
    #[inline]
    pub(crate) fn arm(&self) {
        if !self.armed.load(Relaxed) {
            self.wake_beat();
        }
    }

    #[cold]
    fn wake_beat(&self) {
        self.armed.store(true, Relaxed);
        let waker = self.state().beat.take();
        waker.inspect(Waker::wake_by_ref);
    }

    /// Waits until `version` survives a crash. `times` is how often history had been taken back
    /// before the version was given.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] if the disk took no write and it was taken back, [`Error::InDoubt`] if
    /// a crash could still bring it back. Errors to halt on if a sync failed.
    pub(crate) fn durable(self: &Arc<Self>, version: Lsn, times: usize) -> Wait<'_> {
        Wait::new(self, Goal::Durable { version, times })
    }

    /// Does `round` as soon as the journal is free.
    ///
    /// # Errors
    /// As [`Writer::durable`].
    pub(crate) fn act(self: &Arc<Self>, round: Round) -> Wait<'_> {
        Wait::new(self, Goal::Done(round))
    }

    /// Hands what waits to the operating system.
    ///
    /// # Errors
    /// As [`Writer::durable`].
    pub(crate) async fn flush_now(self: &Arc<Self>) -> Result<(), Error> {
        let flushed = self.act(Round::Flush { sync: false }).await;
        flushed.map_err(|error| match error {
            Error::ReadOnly { .. } => self.refused(),
            error => error,
        })
    }

    /// What those are told whose writes were taken back.
    pub(crate) fn refused(&self) -> Error {
        self.state().refused()
    }

    /// What is rung when much was written.
    pub(crate) fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    /// Bytes of records that were written to the journal since it was opened.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Whether the journal takes no record before there is room again.
    pub(crate) fn is_refusing(&self) -> bool {
        self.state().refusing
    }

    /// What the disk holds is unknown: nothing more is written.
    pub(crate) fn halt(&self, error: Error) {
        self.tree.tail().close(error.clone());
        let mut state = self.state();
        state.log = None;
        state.end(error);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.iter().for_each(|waiting| waiting.waker.wake_by_ref());
        self.wake_beat();
    }

    /// Ends for good: the journal says that it was closed in order. Who writes afterwards is told
    /// that it is closed, and so is told whoever still waits.
    ///
    /// # Errors
    /// As [`Writer::durable`].
    pub(crate) async fn close(self: &Arc<Self>) -> Result<(), Error> {
        let flushed = self.act(Round::Flush { sync: true }).await;
        let closed = match flushed {
            Ok(()) => self.act(Round::Close).await,
            Err(e) => Err(e),
        };
        // A full disk takes no mark. All there is to be kept is kept.
        let closed = match closed {
            Err(Error::ReadOnly { .. }) => Ok(()),
            closed => closed,
        };
        self.stop();
        let mut state = self.state();
        state.log = None;
        state.end(Error::Closed);
        state.lock = None;
        closed
    }

    /// Waits until nothing is written any more, and says why.
    pub(crate) async fn ended(&self) -> Error {
        std::future::poll_fn(|task| {
            let mut state = self.state();
            if let Some(error) = &state.ended {
                return Poll::Ready(error.clone());
            }
            let is_new = !state.mourners.iter().any(|waker| waker.will_wake(task.waker()));
            if is_new {
                state.mourners.push(task.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// Nobody uses the database any more. What waits still goes to the journal.
    pub(crate) fn stop(&self) {
        self.state().stopped = true;
        self.wake_beat();
    }
}

impl State {
    /// Nothing is written any more.
    fn end(&mut self, why: Error) {
        self.ended.get_or_insert(why);
        self.mourners.drain(..).for_each(Waker::wake);
    }

    /// What those are told whose writes were taken back.
    fn refused(&self) -> Error {
        match self.refusal.clone() {
            Some((cause, true)) => Error::ReadOnly { cause },
            Some((cause, false)) => Error::InDoubt { cause },
            None => Error::Closed,
        }
    }

    /// Lets go of those whom `is_due` concerns. If the journal is free one more is woken: he leads.
    fn due(&mut self, is_due: impl Fn(&Goal) -> bool) -> Vec<Waker> {
        let due = self.waiting.extract_if(.., |waiting| is_due(&waiting.goal));
        let mut due: Vec<Waker> = due.map(|waiting| waiting.waker).collect();
        if self.log.is_some() {
            due.extend(self.waiting.first().map(|waiting| waiting.waker.clone()));
        }
        due
    }
}
