//! A counter on three hosts, of which any two suffice.
//!
//! It promises that an acknowledged increment is never lost, and that reads are monotonic: who asks
//! after somebody was told 5 is told 5 or more. Each host counts what it added itself; the counter
//! is the sum, and two hosts agree by taking the larger count of each (a grow-only counter, Shapiro
//! et al., 2011). Whatever is answered lies on a majority, and any two majorities share a host
//! (Attiya, Bar-Noy, Dolev, "Sharing Memory Robustly", 1995).

use std::{future::Future, pin::Pin, task::Poll};

use orloj_kernel::{
    Actor, Addr, Context, Escalation, JoinHandle, Reply, Restart, Shutdown, Stop, Strategy,
    Supervisor, mutant,
};

use crate::{
    journal::Journal,
    rpc::{Frame, ask, call, serve},
};

/// Hosts of a counter.
pub const REPLICAS: usize = 3;

/// What each host added, as far as somebody knows.
type Counts = [u64; REPLICAS];

fn joined(a: Counts, b: Counts) -> Counts {
    std::array::from_fn(|host| a[host].max(b[host]))
}

/// Everything a replica can be told. It answers with all it knows, which is safe by then.
enum Msg {
    /// Count one more of this host's own.
    Add { reply: Reply<Counts> },
    /// Know this as well. Nothing new is a question.
    Join { counts: Counts, reply: Reply<Counts> },
}

/// One host's knowledge, on its disk.
struct Replica {
    me: usize,
    counts: Counts,
    journal: Option<Journal<REPLICAS>>,
}

impl Actor for Replica {
    type Msg = Msg;
    const NAME: &'static str = "replica";

    async fn start(&mut self, cx: &Context) -> Result<(), Stop> {
        let (journal, records) = Journal::open(cx, "counts").await?;
        self.counts = records.last().copied().unwrap_or_default();
        self.journal = Some(journal);
        Ok(())
    }

    async fn turn(&mut self, batch: &mut Vec<Msg>, cx: &Context) -> Result<(), Stop> {
        let mut counts = self.counts;
        let mut replies = Vec::new();
        for msg in batch.drain(..) {
            replies.push(match msg {
                Msg::Add { reply } => {
                    counts[self.me] += 1;
                    reply
                }
                Msg::Join { counts: more, reply } => {
                    counts = joined(counts, more);
                    reply
                }
            });
        }
        if counts != self.counts {
            self.journal.as_mut().expect("start opened it").append(&[counts]).await?;
            cx.trace(Self::NAME, format_args!("knows {counts:?}"));
        }
        self.counts = counts;
        replies.into_iter().for_each(|reply| reply.send(counts));
        Ok(())
    }
}

const ADD: u64 = 1;
const READ: u64 = 2;
const JOIN: u64 = 3;

/// Runs host `me` of the counter whose hosts are at `addrs`.
///
/// # Errors
/// Its disk has failed too often.
pub async fn node(cx: Context, me: usize, addrs: [String; REPLICAS]) -> Result<(), Escalation> {
    let mut supervisor = Supervisor::new(cx, Strategy::OneForOne);
    let make = move || Replica { me, counts: Counts::default(), journal: None };
    let replica = supervisor.child(Restart::Permanent, make);
    let addr = addrs[me].clone();
    let session = Session { cx, me, addrs, replica };
    let listener = serve(cx, addr, move |frame| session.clone().answer(frame));
    cx.spawn("listener", listener);
    supervisor.run(&Shutdown::new()).await
}

/// Answers whoever asks this host. It waits for others, so it is no actor.
#[derive(Clone)]
struct Session {
    cx: Context,
    me: usize,
    addrs: [String; REPLICAS],
    replica: Addr<Msg>,
}

impl Session {
    async fn answer(self, frame: Frame) -> Option<Frame> {
        match frame {
            [JOIN, counts @ ..] => {
                let [a, b, c] = ask(&self.replica, |reply| Msg::Join { counts, reply }).await?;
                Some([JOIN, a, b, c])
            }
            [ADD, ..] => {
                let counts = ask(&self.replica, |reply| Msg::Add { reply }).await?;
                let mut safe = counts;
                let known = self.spread(counts).await?;
                // What the others told on the way may be on one host alone.
                if mutant!(self.cx, "counter-tells-what-one-knows") {
                    safe = known;
                }
                Some([ADD, safe.iter().sum(), 0, 0])
            }
            [READ, ..] => self.read().await.map(|total| [READ, total, 0, 0]),
            _ => None,
        }
    }

    /// The sum that a majority knows of.
    async fn read(&self) -> Option<u64> {
        let mine =
            ask(&self.replica, |reply| Msg::Join { counts: Counts::default(), reply }).await?;
        let known = self.spread(mine).await?;
        // What only the others knew may be on one host alone. Before anybody is told of it, a
        // majority has to know it, or the next reader might ask two who do not.
        if known != mine && !mutant!(self.cx, "counter-reads-once") {
            ask(&self.replica, |reply| Msg::Join { counts: known, reply }).await?;
            self.spread(known).await?;
        }
        Some(known.iter().sum())
    }

    /// Lets the other hosts know `counts`, which this one does. Returns what a majority knows then,
    /// all taken together; `None` when there is no majority.
    async fn spread(&self, counts: Counts) -> Option<Counts> {
        let [a, b, c] = counts;
        let cx = self.cx;
        let others = (0..REPLICAS).filter(|host| *host != self.me);
        let calls: Vec<_> = others
            .map(|host| {
                let addr = self.addrs[host].clone();
                cx.spawn("join", async move { call(&cx, &addr, [JOIN, a, b, c]).await.ok() })
            })
            .collect();
        let mut needed = REPLICAS / 2;
        if mutant!(cx, "counter-majority-of-one") {
            needed = 0;
        }
        let answers = first(calls, needed).await?;
        Some(answers.into_iter().fold(counts, |known, [_, counts @ ..]| joined(known, counts)))
    }
}

/// The first `needed` answers, in the order in which they come; `None` when there are fewer.
async fn first<T>(mut calls: Vec<JoinHandle<Option<T>>>, needed: usize) -> Option<Vec<T>> {
    let mut answers = Vec::new();
    std::future::poll_fn(|task| {
        calls.retain_mut(|call| match Pin::new(call).poll(task) {
            Poll::Pending => true,
            Poll::Ready(answer) => {
                answers.extend(answer.ok().flatten());
                false
            }
        });
        match answers.len() >= needed {
            true => Poll::Ready(Some(std::mem::take(&mut answers))),
            false if calls.is_empty() => Poll::Ready(None),
            false => Poll::Pending,
        }
    })
    .await
}

/// Counts one more, through the host at `addr`; returns a sum that includes it. `None` when there
/// was no answer, and it may have been counted or not.
pub async fn add(cx: &Context, addr: &str) -> Option<u64> {
    let [_, total, ..] = call(cx, addr, [ADD, 0, 0, 0]).await.ok()?;
    Some(total)
}

/// Reads the counter through the host at `addr`; `None` when there was no answer.
pub async fn read(cx: &Context, addr: &str) -> Option<u64> {
    let [_, total, ..] = call(cx, addr, [READ, 0, 0, 0]).await.ok()?;
    Some(total)
}
