//! Bounded queues and one-shot answers for openraft.
//!
//! Whoever waits is woken in the order in which the waiting began.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use openraft_rt::{
    Mpsc, MpscReceiver, MpscSender, MpscWeakSender, Oneshot, OneshotSender, OptionalSend,
    TryRecvError, mpsc::SendError,
};
use orloj_kernel::{Answer, Dropped, Reply};

/// Bounded queues with many senders and one receiver.
#[derive(Debug)]
pub struct Channel;

/// Puts values in. Clones share the queue; it ends when the last is dropped.
pub struct Sender<T>(Arc<Queue<T>>);

/// Makes a [`Sender`] as long as there is one, and does not keep the queue open itself.
pub struct WeakSender<T>(Arc<Queue<T>>);

/// Takes values out. The queue refuses values when it is dropped.
pub struct Receiver<T>(Arc<Queue<T>>);

struct Queue<T>(Mutex<State<T>>);

struct State<T> {
    values: VecDeque<T>,
    capacity: usize,
    senders: usize,
    received: bool,
    receiver: Option<Waker>,
    /// Senders that wait for room, by ticket.
    waiting: BTreeMap<u64, Waker>,
    tickets: u64,
}

impl<T> Queue<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll_send(
        &self,
        value: &mut Option<T>,
        ticket: &mut Ticket<'_, T>,
        cx: &Context<'_>,
    ) -> Poll<Result<(), SendError<T>>> {
        let Some(ready) = value.take() else { panic!("polled again after it was sent") };
        let mut state = self.state();
        if !state.received {
            return Poll::Ready(Err(SendError(ready)));
        }
        if state.values.len() >= state.capacity {
            *value = Some(ready);
            let state = &mut *state;
            let number = *ticket.number.get_or_insert_with(|| {
                state.tickets += 1;
                state.tickets
            });
            state.waiting.insert(number, cx.waker().clone());
            return Poll::Pending;
        }
        if let Some(number) = ticket.number.take() {
            state.waiting.remove(&number);
        }
        state.values.push_back(ready);
        let receiver = state.receiver.take();
        drop(state);
        if let Some(receiver) = receiver {
            receiver.wake();
        }
        Poll::Ready(Ok(()))
    }

    fn try_receive(&self) -> Result<T, TryRecvError> {
        let mut state = self.state();
        let Some(value) = state.values.pop_front() else {
            let ended = state.senders == 0;
            return Err(if ended { TryRecvError::Disconnected } else { TryRecvError::Empty });
        };
        let next = state.waiting.pop_first();
        drop(state);
        if let Some((_, sender)) = next {
            sender.wake();
        }
        Ok(value)
    }
}

/// A sender's place among those that wait.
struct Ticket<'a, T> {
    queue: &'a Queue<T>,
    number: Option<u64>,
}

impl<T> Drop for Ticket<'_, T> {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let next = {
            let mut state = self.queue.state();
            // Woken, and yet it did not send: its turn is the next one's.
            let woken = state.waiting.remove(&number).is_none();
            woken.then(|| state.waiting.pop_first()).flatten()
        };
        if let Some((_, sender)) = next {
            sender.wake();
        }
    }
}

impl Mpsc for Channel {
    type Sender<T: OptionalSend> = Sender<T>;
    type Receiver<T: OptionalSend> = Receiver<T>;
    type WeakSender<T: OptionalSend> = WeakSender<T>;

    fn channel<T: OptionalSend>(capacity: usize) -> (Sender<T>, Receiver<T>) {
        assert!(capacity > 0, "a queue without room would never deliver");
        let queue = Arc::new(Queue(Mutex::new(State {
            values: VecDeque::new(),
            capacity,
            senders: 1,
            received: true,
            receiver: None,
            waiting: BTreeMap::new(),
            tickets: 0,
        })));
        (Sender(queue.clone()), Receiver(queue))
    }
}

impl<T: OptionalSend> MpscSender<Channel, T> for Sender<T> {
    async fn send(&self, value: T) -> Result<(), SendError<T>> {
        let mut value = Some(value);
        let mut ticket = Ticket { queue: &self.0, number: None };
        std::future::poll_fn(|cx| self.0.poll_send(&mut value, &mut ticket, cx)).await
    }

    fn downgrade(&self) -> WeakSender<T> {
        WeakSender(self.0.clone())
    }
}

impl<T: OptionalSend> MpscWeakSender<Channel, T> for WeakSender<T> {
    fn upgrade(&self) -> Option<Sender<T>> {
        let mut state = self.0.state();
        if state.senders == 0 || !state.received {
            return None;
        }
        state.senders += 1;
        Some(Sender(self.0.clone()))
    }
}

impl<T: OptionalSend> MpscReceiver<T> for Receiver<T> {
    async fn recv(&mut self) -> Option<T> {
        std::future::poll_fn(|cx| {
            // Noted before looking, so that a value put in between is not slept over.
            self.0.state().receiver = Some(cx.waker().clone());
            match self.0.try_receive() {
                Ok(value) => Poll::Ready(Some(value)),
                Err(TryRecvError::Disconnected) => Poll::Ready(None),
                Err(TryRecvError::Empty) => Poll::Pending,
            }
        })
        .await
    }

    fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.0.try_receive()
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.state().senders += 1;
        Sender(self.0.clone())
    }
}

impl<T> Clone for WeakSender<T> {
    fn clone(&self) -> Self {
        WeakSender(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let receiver = {
            let mut state = self.0.state();
            state.senders -= 1;
            if state.senders > 0 {
                return;
            }
            state.receiver.take()
        };
        if let Some(receiver) = receiver {
            receiver.wake();
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let (values, waiting) = {
            let mut state = self.0.state();
            state.received = false;
            let state = &mut *state;
            (std::mem::take(&mut state.values), std::mem::take(&mut state.waiting))
        };
        drop(values);
        waiting.into_values().for_each(Waker::wake);
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

impl<T> fmt::Debug for WeakSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakSender")
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receiver")
    }
}

/// One value from one task to another: the kernel's question and answer.
#[derive(Debug)]
pub struct Once;

/// The sending half of [`Once`].
#[derive(Debug)]
pub struct OnceSender<T>(Reply<T>);

impl Oneshot for Once {
    type Sender<T: OptionalSend> = OnceSender<T>;
    type Receiver<T: OptionalSend> = Answer<T>;
    type ReceiverError = Dropped;

    fn channel<T: OptionalSend>() -> (OnceSender<T>, Answer<T>) {
        let (reply, answer) = Reply::new();
        (OnceSender(reply), answer)
    }
}

impl<T: OptionalSend> OneshotSender<T> for OnceSender<T> {
    fn send(self, value: T) -> Result<(), T> {
        if self.0.is_abandoned() {
            return Err(value);
        }
        self.0.send(value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::{Pin, pin},
        sync::atomic::{AtomicUsize, Ordering},
        task::Wake,
    };

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn poll<F: Future>(future: Pin<&mut F>, woken: &Arc<Woken>) -> Poll<F::Output> {
        let waker = Waker::from(woken.clone());
        future.poll(&mut Context::from_waker(&waker))
    }

    fn woken(who: &Arc<Woken>) -> usize {
        who.0.load(Ordering::SeqCst)
    }

    /// Goal: a sender that is woken and gives up does not take the next one's turn with it.
    #[test]
    fn the_turn_of_one_that_gives_up_is_the_next_ones() {
        let (sender, mut receiver) = Channel::channel::<u32>(1);
        let (first, second, third) = <(Arc<Woken>, Arc<Woken>, Arc<Woken>)>::default();
        assert!(poll(pin!(sender.send(0)), &first).is_ready());
        let mut giving_up = Box::pin(sender.send(1));
        let mut next = pin!(sender.send(2));
        let mut last = pin!(sender.send(3));
        assert!(poll(giving_up.as_mut(), &first).is_pending());
        assert!(poll(next.as_mut(), &second).is_pending());
        assert!(poll(last.as_mut(), &third).is_pending());

        assert_eq!(receiver.try_recv(), Ok(0));
        assert_eq!((woken(&first), woken(&second), woken(&third)), (1, 0, 0));
        drop(giving_up);
        assert_eq!((woken(&second), woken(&third)), (1, 0));
        assert!(matches!(poll(next, &second), Poll::Ready(Ok(()))));
        assert_eq!(receiver.try_recv(), Ok(2));
        assert_eq!(woken(&third), 1);
        drop(receiver);
        assert!(matches!(poll(last, &third), Poll::Ready(Err(SendError(3)))));
    }

    #[test]
    fn waits_that_are_dropped_leave_nothing_behind() {
        let (sender, _receiver) = Channel::channel::<u32>(1);
        let who = Arc::new(Woken::default());
        assert!(poll(pin!(sender.send(0)), &who).is_ready());
        for _ in 0..10 {
            let mut send = pin!(sender.send(1));
            assert!(poll(send.as_mut(), &who).is_pending());
            assert!(poll(send.as_mut(), &who).is_pending());
            assert_eq!(sender.0.state().waiting.len(), 1);
        }
        assert!(sender.0.state().waiting.is_empty());
    }
}
