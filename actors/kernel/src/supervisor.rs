//! Who restarts whom, after Erlang's OTP.
//!
//! Children are started in order. A child that fails is started afresh on the same mailbox, so its
//! addresses stay valid and waiting messages are kept; the batch it was handling is lost and its
//! askers see [`Dropped`](crate::Dropped). Too many restarts in too short a time, or one
//! [`Stop::Fatal`], ends every child and escalates.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use crate::{
    Actor, Addr, Context, Instant, JoinHandle, Overflow, Shutdown, Stop, actor, mailbox::Mailbox,
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
    /// Every end.
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
    /// Tells the mailbox that it was restarted, or that nobody will read it again.
    fate: Box<dyn Fn(Fate) + Send>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Restarted,
    Ended,
}

struct Exit {
    child: usize,
    life: u64,
    stop: Stop,
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

    /// Adds a child. `make` is called for every life of it; nothing runs before [`Supervisor::run`].
    /// The address is valid at once and across restarts.
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
            fate: Box::new(move |fate| match fate {
                Fate::Restarted => mailbox.restarted(),
                Fate::Ended => mailbox.close(),
            }),
        });
        addr
    }

    /// Runs the children until all have ended, `shutdown` begins, or one cannot be mended.
    ///
    /// At shutdown children are dropped in reverse order; whoever needs to finish work first does it
    /// before turning the switch.
    ///
    /// # Errors
    /// [`Escalation`] when a child ended fatally or too often. All children are gone then.
    pub async fn run(self, shutdown: &Shutdown) -> Result<(), Escalation> {
        let exits =
            Mailbox::new("exits".to_owned(), self.children.len().max(1) * 64, Overflow::Wait);
        let mut run = Run {
            lives: self.children.iter().map(|_| Life { number: 0, task: None }).collect(),
            supervisor: self,
            restarts: VecDeque::new(),
            exit: exits.addr(),
        };
        for child in 0..run.lives.len() {
            run.begin(child);
        }
        let outcome = run.supervise(&exits, shutdown).await;
        run.end_from(0);
        run.supervisor.children.iter().for_each(|c| (c.fate)(Fate::Ended));
        outcome
    }
}

struct Life {
    number: u64,
    task: Option<JoinHandle<()>>,
}

struct Run {
    supervisor: Supervisor,
    lives: Vec<Life>,
    restarts: VecDeque<Instant>,
    exit: Addr<Exit>,
}

impl Run {
    fn begin(&mut self, child: usize) {
        let life = &mut self.lives[child];
        life.number += 1;
        let number = life.number;
        let join = (self.supervisor.children[child].spawn)();
        let exit = self.exit.clone();
        life.task = Some(self.supervisor.cx.spawn("watch", async move {
            let watched = AbortOnDrop(join);
            let stop = match watched.join().await {
                Ok(stop) => stop,
                Err(_) => Stop::Failed("task was lost".to_owned()),
            };
            // The supervisor may be gone already; then nobody needs to know.
            let _ = exit.send(Exit { child, life: number, stop }).await;
        }));
    }

    fn end_from(&mut self, first: usize) {
        for life in self.lives[first..].iter_mut().rev() {
            if let Some(task) = life.task.take() {
                task.abort();
            }
        }
    }

    async fn supervise(
        &mut self,
        exits: &Arc<Mailbox<Exit>>,
        shutdown: &Shutdown,
    ) -> Result<(), Escalation> {
        let mut batch = Vec::new();
        while self.lives.iter().any(|l| l.task.is_some()) {
            if !next_exits(exits, &mut batch, shutdown).await {
                return Ok(());
            }
            for exit in batch.drain(..) {
                if self.lives[exit.child].number == exit.life
                    && self.lives[exit.child].task.is_some()
                {
                    self.ended(exit).await?;
                }
            }
        }
        Ok(())
    }

    async fn ended(&mut self, exit: Exit) -> Result<(), Escalation> {
        let Exit { child: index, stop, .. } = exit;
        let child = &self.supervisor.children[index];
        self.lives[index].task = None;
        self.supervisor.cx.trace(child.name, format_args!("ended: {stop}"));
        let escalate = |stop| Err(Escalation { child: child.name, stop });
        let again = match (&stop, child.restart) {
            (Stop::Fatal(_), _) => return escalate(stop),
            (_, Restart::Temporary) | (Stop::Finished, Restart::Transient) => false,
            (_, Restart::Permanent) | (Stop::Failed(_), Restart::Transient) => true,
        };
        if !again {
            (child.fate)(Fate::Ended);
            return Ok(());
        }
        let now = self.supervisor.cx.now();
        let Intensity { restarts, within } = self.supervisor.intensity;
        while self.restarts.front().is_some_and(|at| now - *at > within) {
            self.restarts.pop_front();
        }
        if self.restarts.len() >= restarts {
            return escalate(stop);
        }
        let Backoff { first, max } = self.supervisor.backoff;
        let wait = first.saturating_mul(1 << self.restarts.len().min(20)).min(max);
        self.restarts.push_back(now);
        let last = match self.supervisor.strategy {
            Strategy::OneForOne => index + 1,
            Strategy::RestForOne => self.lives.len(),
        };
        let fallen: Vec<usize> =
            (index..last).filter(|i| *i == index || self.lives[*i].task.is_some()).collect();
        if self.supervisor.strategy == Strategy::RestForOne {
            self.end_from(index);
        }
        self.supervisor.cx.sleep(wait).await;
        for child in fallen {
            (self.supervisor.children[child].fate)(Fate::Restarted);
            self.begin(child);
        }
        Ok(())
    }
}

/// Waits for exits, or for the shutdown: false.
async fn next_exits(exits: &Mailbox<Exit>, batch: &mut Vec<Exit>, shutdown: &Shutdown) -> bool {
    let mut wait = std::pin::pin!(shutdown.wait());
    std::future::poll_fn(|task| {
        if wait.as_mut().poll(task).is_ready() {
            return std::task::Poll::Ready(false);
        }
        exits.poll_receive(batch, task)
    })
    .await
}

/// A child dies with the task that watches it.
struct AbortOnDrop(JoinHandle<Stop>);

impl AbortOnDrop {
    async fn join(mut self) -> Result<Stop, crate::JoinError> {
        (&mut self.0).await
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
