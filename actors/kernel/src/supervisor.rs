//! Who restarts whom, after Erlang's OTP.
//!
//! Children are started in order. A child that fails is started afresh on the same mailbox, so its
//! addresses stay valid and waiting messages are kept; the batch it was handling is lost and its
//! askers see [`Dropped`](crate::Dropped). Too many restarts in too short a time, or one
//! [`Stop::Fatal`], ends every child and escalates.

use std::{
    collections::VecDeque,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{self, Poll},
    time::Duration,
};

use crate::{
    Actor, Addr, Context, Instant, JoinError, JoinHandle, Shutdown, Stop, actor,
    mailbox::Supervised,
};

/// Which siblings share a failed child's fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// None: it alone is restarted.
    OneForOne,
    /// Those started after it, which may rely on its state: they are restarted too, in order.
    RestForOne,
}

/// Which ends of a child ask for a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// Every end, unless nobody is left who could send it a message.
    Permanent,
    /// A failure; a regular end is one.
    Transient,
    /// None.
    Temporary,
}

/// How many restarts are tolerated before the supervisor gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intensity {
    /// Most restarts,
    pub restarts: usize,
    /// within this long.
    pub within: Duration,
}

/// How long to wait before a restart: doubled at each one in the window, up to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Before the first restart.
    pub first: Duration,
    /// The longest wait.
    pub max: Duration,
}

/// A supervisor gave up. The part of the node below it is gone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{child} ended the node: {stop}")]
pub struct Escalation {
    /// The child whose end could not be mended.
    pub child: &'static str,
    /// Why it ended the last time.
    pub stop: Stop,
}

type Spawn = Box<dyn FnMut() -> JoinHandle<Stop> + Send>;

struct Child {
    name: &'static str,
    restart: Restart,
    spawn: Spawn,
    mailbox: Arc<dyn Supervised>,
}

/// Starts children and keeps them going. Build it, add children in the order of their dependencies,
/// then [`Supervisor::run`] it.
pub struct Supervisor {
    cx: Context,
    strategy: Strategy,
    intensity: Intensity,
    backoff: Backoff,
    children: Vec<Child>,
}

impl std::fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.children.iter().map(|c| c.name)).finish()
    }
}

impl Supervisor {
    /// A supervisor that tolerates 3 restarts in 10 s and waits 10 ms, 20 ms, 40 ms before them.
    pub fn new(cx: Context, strategy: Strategy) -> Supervisor {
        Supervisor {
            cx,
            strategy,
            intensity: Intensity { restarts: 3, within: Duration::from_secs(10) },
            backoff: Backoff { first: Duration::from_millis(10), max: Duration::from_secs(1) },
            children: Vec::new(),
        }
    }

    /// Tolerates another number of restarts.
    pub fn intensity(mut self, intensity: Intensity) -> Supervisor {
        self.intensity = intensity;
        self
    }

    /// Waits otherwise before a restart.
    pub fn backoff(mut self, backoff: Backoff) -> Supervisor {
        self.backoff = backoff;
        self
    }

    /// Adds a child. `make` is called for every life of it; nothing runs before
    /// [`Supervisor::run`]. The address is valid at once and across restarts.
    pub fn child<A: Actor>(
        &mut self,
        restart: Restart,
        mut make: impl FnMut() -> A + Send + 'static,
    ) -> Addr<A::Msg> {
        let cx = self.cx;
        let mailbox = actor::mailbox::<A>(&cx);
        let addr = mailbox.addr();
        let lives = mailbox.clone();
        self.children.push(Child {
            name: A::NAME,
            restart,
            spawn: Box::new(move || cx.spawn(A::NAME, actor::live(make(), lives.clone(), cx))),
            mailbox,
        });
        addr
    }

    /// Runs the children until all have ended, `shutdown` begins, or one cannot be mended.
    ///
    /// At shutdown children are dropped in reverse order, each when the one after it is gone;
    /// whoever needs to finish work first does it before turning the switch. Dropping this future
    /// drops the children.
    ///
    /// # Errors
    /// [`Escalation`] when a child ended fatally or too often. All children are gone then.
    pub async fn run(self, shutdown: &Shutdown) -> Result<(), Escalation> {
        let mut run = Run {
            lives: self.children.iter().map(|_| Life::Ended).collect(),
            supervisor: self,
            restarts: VecDeque::new(),
        };
        for child in 0..run.lives.len() {
            run.begin(child);
        }
        let outcome = run.supervise(shutdown).await;
        let unheard = run.end_from(0).await;
        outcome.and(unheard)
    }
}

enum Life {
    Running(JoinHandle<Stop>),
    /// Until its restart is due.
    Waiting(Instant),
    Ended,
}

struct Run {
    supervisor: Supervisor,
    lives: Vec<Life>,
    restarts: VecDeque<Instant>,
}

/// What a supervisor waits for.
enum Event {
    Shutdown,
    Ended(usize, Stop),
    RestartDue,
}

fn reason(ended: Result<Stop, JoinError>) -> Stop {
    ended.unwrap_or_else(|JoinError| Stop::Failed("task was lost".to_owned()))
}

impl Run {
    fn begin(&mut self, child: usize) {
        self.lives[child] = Life::Running((self.supervisor.children[child].spawn)());
    }

    /// Drops the children from `first` on, the last one first, and returns when they are gone.
    ///
    /// # Errors
    /// One of them had ended fatally already, and nobody had heard of it yet.
    async fn end_from(&mut self, first: usize) -> Result<(), Escalation> {
        let mut outcome = Ok(());
        for child in (first..self.lives.len()).rev() {
            if let Life::Running(task) = &mut self.lives[child] {
                task.abort();
                let ended = task.await;
                self.lives[child] = Life::Ended;
                if let Ok(stop @ Stop::Fatal(_)) = ended {
                    outcome = Err(self.escalation(child, stop));
                }
            }
        }
        outcome
    }

    async fn supervise(&mut self, shutdown: &Shutdown) -> Result<(), Escalation> {
        while self.lives.iter().any(|life| !matches!(life, Life::Ended)) {
            match self.next(shutdown).await {
                Event::Shutdown => return Ok(()),
                Event::Ended(child, stop) => self.ended(child, stop).await?,
                Event::RestartDue => {
                    let now = self.supervisor.cx.now();
                    for child in 0..self.lives.len() {
                        if matches!(self.lives[child], Life::Waiting(due) if due <= now) {
                            self.supervisor.children[child].mailbox.restarted();
                            self.begin(child);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    async fn next(&mut self, shutdown: &Shutdown) -> Event {
        let due = self.lives.iter().filter_map(|life| match life {
            Life::Waiting(due) => Some(*due),
            _ => None,
        });
        let mut due = due.min().map(|due| self.supervisor.cx.sleep_until(due));
        let mut shutdown = pin!(shutdown.wait());
        let mut poll = |cx: &mut task::Context<'_>| {
            if shutdown.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Event::Shutdown);
            }
            for (child, life) in self.lives.iter_mut().enumerate() {
                let Life::Running(task) = life else { continue };
                if let Poll::Ready(ended) = Pin::new(task).poll(cx) {
                    *life = Life::Ended;
                    return Poll::Ready(Event::Ended(child, reason(ended)));
                }
            }
            match &mut due {
                Some(due) => Pin::new(due).poll(cx).map(|()| Event::RestartDue),
                None => Poll::Pending,
            }
        };
        std::future::poll_fn(&mut poll).await
    }

    /// Decides what follows from the end of a child.
    async fn ended(&mut self, index: usize, stop: Stop) -> Result<(), Escalation> {
        let child = &self.supervisor.children[index];
        self.supervisor.cx.trace(child.name, format_args!("ended: {stop}"));
        let again = match (&stop, child.restart) {
            (Stop::Fatal(_), _) => return Err(self.escalation(index, stop)),
            (_, Restart::Temporary) | (Stop::Finished, Restart::Transient) => false,
            (Stop::Finished, Restart::Permanent) => !child.mailbox.is_orphaned(),
            (Stop::Failed(_), Restart::Permanent | Restart::Transient) => true,
        };
        if !again {
            child.mailbox.close();
            return Ok(());
        }
        let now = self.supervisor.cx.now();
        let Intensity { restarts, within } = self.supervisor.intensity;
        while self.restarts.front().is_some_and(|at| now - *at > within) {
            self.restarts.pop_front();
        }
        if self.restarts.len() >= restarts {
            return Err(self.escalation(index, stop));
        }
        let Backoff { first, max } = self.supervisor.backoff;
        let wait = first.saturating_mul(1 << self.restarts.len().min(20)).min(max);
        self.restarts.push_back(now);
        let mut fallen = vec![index];
        if self.supervisor.strategy == Strategy::RestForOne {
            let later = index + 1..self.lives.len();
            fallen.extend(later.filter(|i| !matches!(self.lives[*i], Life::Ended)));
            self.end_from(index + 1).await?;
        }
        let due = self.supervisor.cx.now() + wait;
        for child in fallen {
            self.lives[child] = Life::Waiting(due);
        }
        Ok(())
    }

    fn escalation(&self, child: usize, stop: Stop) -> Escalation {
        Escalation { child: self.supervisor.children[child].name, stop }
    }
}

impl Drop for Run {
    /// Children do not outlive their supervisor, however it ends.
    fn drop(&mut self) {
        for life in self.lives.iter().rev() {
            if let Life::Running(task) = life {
                task.abort();
            }
        }
    }
}

impl Drop for Supervisor {
    /// Nobody will read these mailboxes any more, if anybody ever did.
    fn drop(&mut self) {
        self.children.iter().for_each(|child| child.mailbox.close());
    }
}
