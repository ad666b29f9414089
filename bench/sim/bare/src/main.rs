//! The floor every simulator is compared with: tasks in a slab, the next one picked by ChaCha8,
//! events in a monotone radix heap, one inbox per stream end. No faults, no accounting, no trace,
//! no hosts, and no wakers: whoever must wait leaves its task's index where it waits.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use orloj_bench_rows::{
    LATENCY, MESSAGE_LEN, Row, Sample, Sizes, durations, measure, measure_mesh,
};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

fn main() {
    orloj_bench_rows::main(&[
        (Row::Echo, echo),
        (Row::Mesh, mesh),
        (Row::Timer, timer),
        (Row::Yield, yields),
        (Row::Spawn, spawn),
        (Row::Cold, cold),
    ]);
}

type Message = [u8; MESSAGE_LEN];

#[derive(Clone, Copy)]
enum Event {
    Wake(u32),
    Deliver { inbox: u32, message: u32 },
}

const NOBODY: u32 = u32::MAX;

#[derive(Default)]
struct Slot {
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    /// Raised when the task ends, so that a handle knows the slot was vacated.
    generation: u32,
    /// Who joins this task, plus one; zero is nobody.
    joiner: u32,
}

struct Inbox {
    messages: VecDeque<Message>,
    reader: u32,
}

struct State {
    now: u64,
    events: RadixHeap<Event>,
    slots: Vec<Slot>,
    vacant: Vec<u32>,
    ready: Vec<u32>,
    current: u32,
    inboxes: Vec<Inbox>,
    in_flight: Vec<Message>,
    landed: Vec<u32>,
    random: ChaCha8Rng,
}

#[derive(Clone)]
struct World(Rc<RefCell<State>>);

impl World {
    fn new(seed: u64) -> World {
        World(Rc::new(RefCell::new(State {
            now: 0,
            events: RadixHeap::new(),
            slots: Vec::new(),
            vacant: Vec::new(),
            ready: Vec::new(),
            current: 0,
            inboxes: Vec::new(),
            in_flight: Vec::new(),
            landed: Vec::new(),
            random: ChaCha8Rng::seed_from_u64(seed),
        })))
    }

    fn spawn(&self, future: impl Future<Output = ()> + 'static) -> Join {
        let future: Pin<Box<dyn Future<Output = ()>>> = Box::pin(future);
        let state = &mut *self.0.borrow_mut();
        let task = state.vacant.pop().unwrap_or_else(|| {
            state.slots.push(Slot::default());
            state.slots.len() as u32 - 1
        });
        let slot = &mut state.slots[task as usize];
        slot.future = Some(future);
        state.ready.push(task);
        Join { world: self.clone(), task, generation: slot.generation }
    }

    fn inbox(&self) -> u32 {
        let state = &mut *self.0.borrow_mut();
        state.inboxes.push(Inbox { messages: VecDeque::new(), reader: NOBODY });
        state.inboxes.len() as u32 - 1
    }

    fn send(&self, inbox: u32, message: Message) {
        let state = &mut *self.0.borrow_mut();
        let index = match state.landed.pop() {
            Some(index) => {
                state.in_flight[index as usize] = message;
                index
            }
            None => {
                state.in_flight.push(message);
                state.in_flight.len() as u32 - 1
            }
        };
        let arrival = state.now + LATENCY.as_nanos() as u64;
        state.events.push(arrival, Event::Deliver { inbox, message: index });
    }

    fn receive(&self, inbox: u32) -> impl Future<Output = Message> {
        std::future::poll_fn(move |_| {
            let state = &mut *self.0.borrow_mut();
            let inbox = &mut state.inboxes[inbox as usize];
            match inbox.messages.pop_front() {
                Some(message) => Poll::Ready(message),
                None => {
                    inbox.reader = state.current;
                    Poll::Pending
                }
            }
        })
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> {
        let mut deadline = None;
        std::future::poll_fn(move |_| {
            let state = &mut *self.0.borrow_mut();
            let at = *deadline.get_or_insert_with(|| {
                let at = state.now + duration.as_nanos() as u64;
                state.events.push(at, Event::Wake(state.current));
                at
            });
            if state.now >= at { Poll::Ready(()) } else { Poll::Pending }
        })
    }

    fn give_way(&self) -> impl Future<Output = ()> {
        let mut gave_way = false;
        std::future::poll_fn(move |_| {
            if gave_way {
                return Poll::Ready(());
            }
            gave_way = true;
            let state = &mut *self.0.borrow_mut();
            state.ready.push(state.current);
            Poll::Pending
        })
    }

    /// Runs until nothing is ready and nothing is to come.
    fn run(&self) {
        let mut context = Context::from_waker(Waker::noop());
        loop {
            let mut state = self.0.borrow_mut();
            if state.ready.is_empty() {
                if !state.advance() {
                    return;
                }
                continue;
            }
            let task = state.pick();
            state.current = task;
            let mut future = state.slots[task as usize].future.take().expect("a ready task exists");
            drop(state);
            let poll = future.as_mut().poll(&mut context);
            let mut state = self.0.borrow_mut();
            match poll {
                Poll::Pending => state.slots[task as usize].future = Some(future),
                Poll::Ready(()) => state.vacate(task),
            }
        }
    }
}

impl State {
    fn pick(&mut self) -> u32 {
        let count = self.ready.len() as u64;
        if count == 1 {
            // A choice of one costs no draw.
            return self.ready.pop().expect("one task is ready");
        }
        let pick = (u64::from(self.random.next_u32()) * count) >> 32;
        self.ready.swap_remove(pick as usize)
    }

    fn advance(&mut self) -> bool {
        let Some((time, event)) = self.events.pop() else {
            return false;
        };
        self.now = time;
        match event {
            Event::Wake(task) => self.ready.push(task),
            Event::Deliver { inbox, message } => {
                let inbox = &mut self.inboxes[inbox as usize];
                inbox.messages.push_back(self.in_flight[message as usize]);
                self.landed.push(message);
                if inbox.reader != NOBODY {
                    self.ready.push(std::mem::replace(&mut inbox.reader, NOBODY));
                }
            }
        }
        true
    }

    fn vacate(&mut self, task: u32) {
        let slot = &mut self.slots[task as usize];
        slot.generation += 1;
        self.vacant.push(task);
        if slot.joiner != 0 {
            self.ready.push(slot.joiner - 1);
            slot.joiner = 0;
        }
    }
}

struct Join {
    world: World,
    task: u32,
    generation: u32,
}

impl Future for Join {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        let state = &mut *self.world.0.borrow_mut();
        let slot = &mut state.slots[self.task as usize];
        if slot.generation != self.generation {
            return Poll::Ready(());
        }
        slot.joiner = state.current + 1;
        Poll::Pending
    }
}

/// A priority queue for keys that never fall below the last one popped; equal keys leave in the
/// order they came.
struct RadixHeap<T> {
    /// Bucket `b > 0` holds keys whose highest bit that differs from `last` is bit `b - 1`.
    buckets: [Vec<(u64, T)>; 65],
    /// Keys equal to `last`.
    now: VecDeque<T>,
    occupied: u64,
    last: u64,
}

impl<T: Copy> RadixHeap<T> {
    fn new() -> RadixHeap<T> {
        let buckets = std::array::from_fn(|_| Vec::new());
        RadixHeap { buckets, now: VecDeque::new(), occupied: 0, last: 0 }
    }

    fn push(&mut self, key: u64, value: T) {
        assert!(key >= self.last, "{key} lies before {}", self.last);
        if key == self.last {
            self.now.push_back(value);
            return;
        }
        let bit = 63 - (key ^ self.last).leading_zeros();
        self.buckets[bit as usize].push((key, value));
        self.occupied |= 1 << bit;
    }

    fn pop(&mut self) -> Option<(u64, T)> {
        if self.now.is_empty() {
            if self.occupied == 0 {
                return None;
            }
            let bit = self.occupied.trailing_zeros();
            self.occupied &= !(1 << bit);
            if let [(key, value)] = self.buckets[bit as usize][..] {
                self.buckets[bit as usize].clear();
                self.last = key;
                return Some((key, value));
            }
            let mut bucket = std::mem::take(&mut self.buckets[bit as usize]);
            self.last = bucket.iter().map(|(key, _)| *key).min().expect("the bucket is occupied");
            for (key, value) in bucket.drain(..) {
                self.push(key, value);
            }
            self.buckets[bit as usize] = bucket;
        }
        self.now.pop_front().map(|value| (self.last, value))
    }
}

fn echo(sizes: &Sizes) -> Sample {
    let rounds = sizes.echo_rounds;
    measure(rounds, || {
        let world = World::new(1);
        let (there, back) = (world.inbox(), world.inbox());
        let server = world.clone();
        world.spawn(async move {
            for _ in 0..rounds {
                let message = server.receive(there).await;
                server.send(back, message);
            }
        });
        let client = world.clone();
        world.spawn(async move {
            let message = [7; MESSAGE_LEN];
            for _ in 0..rounds {
                client.send(there, message);
                assert_eq!(client.receive(back).await, message);
            }
        });
        world.run();
        assert_eq!(world.0.borrow().now, 2 * rounds * LATENCY.as_nanos() as u64);
    })
}

fn mesh(sizes: &Sizes) -> Sample {
    let nodes = sizes.mesh_nodes;
    measure_mesh(sizes, |rounds| {
        let world = World::new(1);
        for _ in 0..nodes {
            let outgoing: Vec<u32> = (1..nodes).map(|_| world.inbox()).collect();
            for &inbox in &outgoing {
                let world_of_task = world.clone();
                world.spawn(async move {
                    for _ in 0..rounds {
                        assert_eq!(world_of_task.receive(inbox).await[0], 7);
                    }
                });
            }
            let sender = world.clone();
            world.spawn(async move {
                for _ in 0..rounds {
                    for &inbox in &outgoing {
                        sender.send(inbox, [7; MESSAGE_LEN]);
                    }
                    sender.sleep(LATENCY).await;
                }
            });
        }
        world.run();
        assert_eq!(world.0.borrow().vacant.len(), nodes * nodes);
    })
}

fn timer(sizes: &Sizes) -> Sample {
    let (tasks, sleeps) = (sizes.timer_tasks, sizes.timer_sleeps);
    measure(tasks * sleeps, || {
        let world = World::new(1);
        for task in 0..tasks {
            let world_of_task = world.clone();
            world.spawn(async move {
                for duration in durations(task).take(sleeps as usize) {
                    world_of_task.sleep(duration).await;
                }
            });
        }
        world.run();
        assert_eq!(world.0.borrow().vacant.len() as u64, tasks);
    })
}

fn yields(sizes: &Sizes) -> Sample {
    let (tasks, yields) = (sizes.yield_tasks, sizes.yields);
    measure(tasks * yields, || {
        let world = World::new(1);
        for _ in 0..tasks {
            let world_of_task = world.clone();
            world.spawn(async move {
                for _ in 0..yields {
                    world_of_task.give_way().await;
                }
            });
        }
        world.run();
        assert_eq!(world.0.borrow().vacant.len() as u64, tasks);
    })
}

fn spawn(sizes: &Sizes) -> Sample {
    let (tasks, batch) = (sizes.spawn_tasks, sizes.spawn_batch);
    measure(tasks, || {
        let world = World::new(1);
        let root = world.clone();
        world.spawn(async move {
            let mut handles = Vec::with_capacity(batch as usize);
            for _ in 0..tasks / batch {
                for _ in 0..batch {
                    let world_of_task = root.clone();
                    handles.push(root.spawn(async move { world_of_task.give_way().await }));
                }
                for handle in handles.drain(..) {
                    handle.await;
                }
            }
        });
        world.run();
        assert_eq!(world.0.borrow().vacant.len() as u64, batch + 1);
    })
}

fn cold(sizes: &Sizes) -> Sample {
    let hosts = sizes.cold_hosts;
    measure(sizes.cold_worlds, || {
        for seed in 0..sizes.cold_worlds {
            let world = World::new(seed);
            let ring: Vec<u32> = (0..hosts).map(|_| world.inbox()).collect();
            for host in 0..hosts {
                let (mine, next) = (ring[host], ring[(host + 1) % hosts]);
                let world_of_task = world.clone();
                world.spawn(async move {
                    if host == 0 {
                        world_of_task.send(next, [7; MESSAGE_LEN]);
                        world_of_task.receive(mine).await;
                    } else {
                        let message = world_of_task.receive(mine).await;
                        world_of_task.send(next, message);
                    }
                });
            }
            world.run();
            assert_eq!(world.0.borrow().vacant.len(), hosts);
        }
    })
}
