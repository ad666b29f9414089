//! Bounded queues between actors, with a declared policy for when they are full.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context as TaskContext, Poll, Waker},
    time::Duration,
};

use crate::{
    Inspect, Status,
    ambient::{self, Mail},
};

/// What happens to a message for which the mailbox has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// The sender waits. Only towards actors further down the road, so that no cycle can wait.
    Wait,
    /// The sender gets it back.
    Refuse,
    /// The oldest waiting message is dropped for it, and counted.
    DropOldest,
}

/// Why a message did not go in. It carries the message back.
#[derive(PartialEq, Eq, thiserror::Error)]
pub enum SendError<M> {
    /// There is no room now.
    #[error("mailbox full")]
    Full(M),
    /// The actor has ended for good.
    #[error("actor has ended")]
    Closed(M),
}

impl<M> fmt::Debug for SendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::Full(_) => "Full",
            SendError::Closed(_) => "Closed",
        })
    }
}

/// The actor has ended for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("actor has ended")]
pub struct Closed;

/// Numbers mailboxes, for a runtime that records who told whom. No number is ever shown.
static NUMBERS: AtomicU64 = AtomicU64::new(0);

pub(crate) struct Mailbox<M> {
    name: String,
    number: u64,
    capacity: usize,
    overflow: Overflow,
    senders: AtomicUsize,
    state: Mutex<State<M>>,
}

struct State<M> {
    queue: VecDeque<M>,
    reader: Option<Waker>,
    /// Senders that wait for room, by ticket. As many are woken as there is room for, the longest
    /// waiting first; one that finds the room taken waits again on its old ticket.
    writers: BTreeMap<u64, Waker>,
    tickets: u64,
    closed: bool,
    status: Counters,
}

#[derive(Default)]
struct Counters {
    handled: u64,
    turns: u64,
    dropped: u64,
    refused: u64,
    depth_max: usize,
    busy: Duration,
    restarts: u32,
    last: &'static str,
}

impl<M> Mailbox<M> {
    pub(crate) fn new(name: String, capacity: usize, overflow: Overflow) -> Arc<Mailbox<M>> {
        assert!(capacity > 0, "{name}: a mailbox without room would never deliver");
        Arc::new(Mailbox {
            name,
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            capacity,
            overflow,
            senders: AtomicUsize::new(0),
            state: Mutex::new(State {
                queue: VecDeque::new(),
                reader: None,
                writers: BTreeMap::new(),
                tickets: 0,
                closed: false,
                status: Counters::default(),
            }),
        })
    }

    pub(crate) fn addr(self: &Arc<Self>) -> Addr<M> {
        self.senders.fetch_add(1, Ordering::Relaxed);
        Addr { mailbox: self.clone() }
    }

    fn state(&self) -> MutexGuard<'_, State<M>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves every waiting message into `batch`; false when nobody is left who could send one.
    pub(crate) fn poll_receive(&self, batch: &mut Vec<M>, cx: &TaskContext<'_>) -> Poll<bool> {
        let mut state = self.state();
        if !state.queue.is_empty() {
            batch.extend(state.queue.drain(..));
            let room = self.capacity;
            let writers = match state.writers.keys().nth(room).copied() {
                None => std::mem::take(&mut state.writers),
                Some(first_late) => {
                    let late = state.writers.split_off(&first_late);
                    std::mem::replace(&mut state.writers, late)
                }
            };
            drop(state);
            ambient::mail(self.number, Mail::Taken);
            writers.into_values().for_each(Waker::wake);
            return Poll::Ready(true);
        }
        if state.closed || self.senders.load(Ordering::Acquire) == 0 {
            return Poll::Ready(false);
        }
        match &mut state.reader {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Refuses every further message, drops those that wait, and tells their senders.
    fn close(&self) {
        let (queue, writers, reader) = {
            let mut state = self.state();
            state.closed = true;
            let state = &mut *state;
            (
                std::mem::take(&mut state.queue),
                std::mem::take(&mut state.writers),
                state.reader.take(),
            )
        };
        drop(queue);
        writers.into_values().chain(reader).for_each(Waker::wake);
    }

    pub(crate) fn turned(&self, handled: usize, busy: Duration, last: &'static str) {
        let status = &mut self.state().status;
        status.handled += handled as u64;
        status.turns += 1;
        status.busy += busy;
        status.last = last;
    }

    /// Puts `msg` in, by the mailbox's policy; gives it back if a waiting sender must try again.
    /// Such a sender shows the waker to call, and keeps its ticket from one attempt to the next.
    fn put(&self, msg: M, wait: Option<(&mut Ticket<'_, M>, &Waker)>) -> Result<(), SendError<M>> {
        let mut state = self.state();
        if state.closed {
            return Err(SendError::Closed(msg));
        }
        let mut oldest = None;
        if state.queue.len() < self.capacity {
            if let Some(number) = wait.and_then(|(ticket, _)| ticket.number.take()) {
                state.writers.remove(&number);
            }
        } else {
            match (self.overflow, wait) {
                (Overflow::DropOldest, _) => {
                    state.status.dropped += 1;
                    oldest = state.queue.pop_front();
                }
                (Overflow::Wait, Some((ticket, waker))) => {
                    let state = &mut *state;
                    let number = *ticket.number.get_or_insert_with(|| {
                        state.tickets += 1;
                        state.tickets
                    });
                    state.writers.insert(number, waker.clone());
                    return Err(SendError::Full(msg));
                }
                (Overflow::Wait | Overflow::Refuse, _) => {
                    state.status.refused += 1;
                    return Err(SendError::Full(msg));
                }
            }
        }
        state.queue.push_back(msg);
        let depth = state.queue.len();
        state.status.depth_max = state.status.depth_max.max(depth);
        let reader = state.reader.take();
        drop(state);
        drop(oldest);
        ambient::mail(self.number, Mail::Put);
        if let Some(reader) = reader {
            reader.wake();
        }
        Ok(())
    }
}

/// A sender's place among those that wait. It leaves when it has sent or gives up.
struct Ticket<'a, M> {
    mailbox: &'a Mailbox<M>,
    number: Option<u64>,
}

impl<M> Drop for Ticket<'_, M> {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let next = {
            let mut state = self.mailbox.state();
            // Woken, and yet it did not send: the room it was offered is the next one's.
            let woken = state.writers.remove(&number).is_none();
            woken.then(|| state.writers.pop_first()).flatten()
        };
        if let Some((_, waker)) = next {
            waker.wake();
        }
    }
}

/// What a supervisor does with its child's mailbox, whatever its messages.
pub(crate) trait Supervised: Send + Sync {
    /// Counts a restart.
    fn restarted(&self);
    /// Refuses every further message, drops those that wait, and tells their senders.
    fn close(&self);
    /// Whether nobody is left who could send a message.
    fn is_orphaned(&self) -> bool;
}

impl<M: Send> Supervised for Mailbox<M> {
    fn restarted(&self) {
        self.state().status.restarts += 1;
    }

    fn close(&self) {
        Mailbox::close(self);
    }

    fn is_orphaned(&self) -> bool {
        self.senders.load(Ordering::Acquire) == 0
    }
}

/// Closes its mailbox when the only actor that reads it is gone, whatever took it.
pub(crate) struct CloseOnDrop<M>(pub(crate) Arc<Mailbox<M>>);

impl<M> Drop for CloseOnDrop<M> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl<M: Send> Inspect for Mailbox<M> {
    fn status(&self) -> Status {
        let state = self.state();
        Status {
            name: self.name.clone(),
            depth: state.queue.len(),
            depth_max: state.status.depth_max,
            capacity: self.capacity,
            handled: state.status.handled,
            turns: state.status.turns,
            dropped: state.status.dropped,
            refused: state.status.refused,
            busy: state.status.busy,
            restarts: state.status.restarts,
            last: state.status.last,
            alive: !state.closed,
        }
    }
}

/// Where to send an actor's messages. Clones share the mailbox; the last one dropped ends the
/// actor.
pub struct Addr<M> {
    mailbox: Arc<Mailbox<M>>,
}

impl<M> fmt::Debug for Addr<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Addr({})", self.mailbox.name)
    }
}

impl<M> Clone for Addr<M> {
    fn clone(&self) -> Self {
        self.mailbox.addr()
    }
}

impl<M> Drop for Addr<M> {
    fn drop(&mut self) {
        if self.mailbox.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            let reader = self.mailbox.state().reader.take();
            if let Some(reader) = reader {
                reader.wake();
            }
        }
    }
}

impl<M> Addr<M> {
    /// Sends without waiting.
    ///
    /// # Errors
    /// [`SendError::Full`] when there is no room, unless the policy is [`Overflow::DropOldest`];
    /// [`SendError::Closed`] when the actor has ended.
    pub fn try_send(&self, msg: M) -> Result<(), SendError<M>> {
        self.mailbox.put(msg, None)
    }

    /// Sends, waiting for room if that is the mailbox's policy.
    ///
    /// # Errors
    /// As [`Addr::try_send`]; never `Full` under [`Overflow::Wait`].
    pub async fn send(&self, msg: M) -> Result<(), SendError<M>> {
        let waits = self.mailbox.overflow == Overflow::Wait;
        let mut msg = Some(msg);
        let mut ticket = Ticket { mailbox: &self.mailbox, number: None };
        std::future::poll_fn(move |cx| {
            let Some(m) = msg.take() else { std::unreachable!("polled again after it was sent") };
            match self.mailbox.put(m, Some((&mut ticket, cx.waker()))) {
                Err(SendError::Full(m)) if waits => {
                    msg = Some(m);
                    Poll::Pending
                }
                done => Poll::Ready(done),
            }
        })
        .await
    }

    /// Messages that wait now.
    pub fn depth(&self) -> usize {
        self.mailbox.state().queue.len()
    }

    /// Whether the actor has ended for good.
    pub fn is_closed(&self) -> bool {
        self.mailbox.state().closed
    }
}
