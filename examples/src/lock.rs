//! A lock service: leases, fencing tokens, and the store that they protect.
//!
//! Clocks of hosts differ, a holder may stand still in the middle of its work, and a message may be
//! late by more than a lease. So a lease alone protects nothing: two may believe to hold the lock.
//! It promises that only one has effect. Every grant carries a token larger than all before it, and
//! the store refuses whoever comes with a smaller one than it has seen (Kleppmann, "How to do
//! distributed locking", 2016).

use std::{io, time::Duration};

use orloj_kernel::{
    Actor, Addr, Context, Escalation, Instant, Reply, Restart, Shutdown, Stop, Strategy,
    Supervisor, clock_bound, mutant,
};

use crate::{
    journal::Journal,
    rpc::{Frame, ask, call, serve},
};

/// How long a grant lasts, by the clock of the lock's host.
pub const LEASE: Duration = Duration::from_millis(100);

/// Everything the lock can be told.
enum Lock {
    Acquire { reply: Reply<Option<u64>> },
    Release { token: u64, reply: Reply<()> },
}

/// Hands out the lock.
#[derive(Default)]
struct Keeper {
    /// Of the last grant.
    token: u64,
    /// When its lease is over.
    free_at: Instant,
    journal: Option<Journal<1>>,
}

impl Actor for Keeper {
    type Msg = Lock;
    const NAME: &'static str = "keeper";

    async fn start(&mut self, cx: &Context) -> Result<(), Stop> {
        let (journal, tokens) = Journal::open(cx, "tokens").await?;
        self.token = tokens.last().map_or(0, |[token]| *token);
        self.journal = Some(journal);
        // Somebody may hold it: when a lease began is not written down, and a clock that ran
        // before a restart says nothing about the one that runs now.
        self.free_at = cx.now() + LEASE;
        Ok(())
    }

    async fn turn(&mut self, batch: &mut Vec<Lock>, cx: &Context) -> Result<(), Stop> {
        for msg in batch.drain(..) {
            match msg {
                Lock::Release { token, reply } => {
                    if token == self.token {
                        self.free_at = cx.now();
                    }
                    reply.send(());
                }
                Lock::Acquire { reply } if cx.now() < self.free_at => reply.send(None),
                Lock::Acquire { reply } => {
                    let token = self.token + 1;
                    if !mutant!(cx, "lock-forgets-its-token") {
                        let journal = self.journal.as_mut().expect("start opened it");
                        journal.append(&[[token]]).await?;
                    }
                    cx.trace(Self::NAME, format_args!("grants token {token}"));
                    (self.token, self.free_at) = (token, cx.now() + LEASE);
                    reply.send(Some(token));
                }
            }
        }
        Ok(())
    }
}

/// Everything the store can be told. Each answer is the value, or `None` for a token too small.
enum Store {
    Read { token: u64, reply: Reply<Option<u64>> },
    Write { token: u64, value: u64, reply: Reply<Option<u64>> },
}

/// Holds what the lock protects: one number.
#[derive(Default)]
struct Keep {
    /// The largest token seen.
    fence: u64,
    value: u64,
    journal: Option<Journal<2>>,
}

impl Actor for Keep {
    type Msg = Store;
    const NAME: &'static str = "keep";

    async fn start(&mut self, cx: &Context) -> Result<(), Stop> {
        let (journal, records) = Journal::open(cx, "store").await?;
        [self.fence, self.value] = records.last().copied().unwrap_or_default();
        self.journal = Some(journal);
        Ok(())
    }

    async fn turn(&mut self, batch: &mut Vec<Store>, cx: &Context) -> Result<(), Stop> {
        for msg in batch.drain(..) {
            let (is_read, token, value, reply) = match msg {
                Store::Read { token, reply } => (true, token, self.value, reply),
                Store::Write { token, value, reply } => (false, token, value, reply),
            };
            if token < self.fence && !mutant!(cx, "lock-without-fence") {
                cx.trace(
                    Self::NAME,
                    format_args!("refuses token {token}: {} was here", self.fence),
                );
                reply.send(None);
                continue;
            }
            // A read raises the fence as well: whoever has read is about to write what rests on it,
            // and nobody older may write in between.
            let raises = !(is_read && mutant!(cx, "lock-fences-writes-only"));
            let fence = if raises { token } else { self.fence };
            let journal = self.journal.as_mut().expect("start opened it");
            journal.append(&[[fence, value]]).await?;
            (self.fence, self.value) = (fence, value);
            reply.send(Some(value));
        }
        Ok(())
    }
}

const ACQUIRE: u64 = 1;
const RELEASE: u64 = 2;
const READ: u64 = 3;
const WRITE: u64 = 4;

/// Runs the lock at `addr`.
///
/// # Errors
/// Its disk has failed too often.
pub async fn keeper(cx: Context, addr: String) -> Result<(), Escalation> {
    let mut supervisor = Supervisor::new(cx, Strategy::OneForOne);
    let lock = supervisor.child(Restart::Permanent, Keeper::default);
    cx.spawn("listener", serve(cx, addr, move |frame| answer_lock(lock.clone(), frame)));
    supervisor.run(&Shutdown::new()).await
}

async fn answer_lock(lock: Addr<Lock>, frame: Frame) -> Option<Frame> {
    let token = match frame {
        [ACQUIRE, ..] => ask(&lock, |reply| Lock::Acquire { reply }).await?,
        [RELEASE, token, ..] => {
            ask(&lock, |reply| Lock::Release { token, reply }).await?;
            None
        }
        _ => return None,
    };
    Some([u64::from(token.is_some()), token.unwrap_or(0), 0, 0])
}

/// Runs the store at `addr`.
///
/// # Errors
/// Its disk has failed too often.
pub async fn store(cx: Context, addr: String) -> Result<(), Escalation> {
    let mut supervisor = Supervisor::new(cx, Strategy::OneForOne);
    let keep = supervisor.child(Restart::Permanent, Keep::default);
    cx.spawn("listener", serve(cx, addr, move |frame| answer_store(keep.clone(), frame)));
    supervisor.run(&Shutdown::new()).await
}

async fn answer_store(keep: Addr<Store>, frame: Frame) -> Option<Frame> {
    let value = match frame {
        [READ, token, ..] => ask(&keep, |reply| Store::Read { token, reply }).await?,
        [WRITE, token, value, _] => {
            ask(&keep, |reply| Store::Write { token, value, reply }).await?
        }
        _ => return None,
    };
    Some([u64::from(value.is_some()), value.unwrap_or(0), 0, 0])
}

/// The lock, as its holder believes.
#[derive(Clone, Copy, Debug)]
pub struct Lease {
    /// Larger than that of every lease before.
    pub token: u64,
    /// When to stop believing, by the holder's own clock.
    pub until: Instant,
}

/// A host that works under the lock.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Where it runs.
    pub cx: Context,
    /// Where the lock is.
    pub lock: String,
    /// Where the store is.
    pub store: String,
}

impl Worker {
    /// Asks for the lock once; `None` while somebody else has it.
    ///
    /// # Errors
    /// No answer. If the lock was granted all the same, its lease will pass.
    pub async fn acquire(&self) -> io::Result<Option<Lease>> {
        // The lease began between the question and its answer, so it is counted from the question.
        // How far the two clocks differ over its length is beyond anybody's knowledge: this much is
        // believed, and whoever errs is stopped by the fence.
        let margin = clock_bound!(self.cx, "lock-lease", 10_000_000);
        let until = self.cx.now() + LEASE - margin;
        let [granted, token, ..] = call(&self.cx, &self.lock, [ACQUIRE, 0, 0, 0]).await?;
        Ok((granted == 1).then_some(Lease { token, until }))
    }

    /// Gives the lock back, so that nobody has to wait for the end of the lease.
    ///
    /// # Errors
    /// No answer.
    pub async fn release(&self, lease: Lease) -> io::Result<()> {
        call(&self.cx, &self.lock, [RELEASE, lease.token, 0, 0]).await.map(drop)
    }

    /// Adds one to the number in the store: reads, works for a while, writes. Returns the new
    /// number, or `None` when the lease was over or a newer one has come between.
    ///
    /// # Errors
    /// No answer: the number may have been written or not.
    pub async fn add_one(&self, lease: Lease, work: Duration) -> io::Result<Option<u64>> {
        let [is_ours, value, ..] = call(&self.cx, &self.store, [READ, lease.token, 0, 0]).await?;
        self.cx.sleep(work).await;
        if is_ours == 0 || self.cx.now() >= lease.until {
            return Ok(None);
        }
        let write = [WRITE, lease.token, value + 1, 0];
        let [is_ours, value, ..] = call(&self.cx, &self.store, write).await?;
        Ok((is_ours == 1).then_some(value))
    }
}
