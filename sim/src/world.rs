//! The state of one simulated world, and the one way to reach it.
//!
//! A world lives in a thread-local while it runs, and everything inside it (contexts, streams,
//! timers, wakers) holds numbers. So nothing is counted or locked, all of it is `Send` as
//! production code demands, and a thread that is not part of the simulation finds no world and
//! fails loudly.

use std::{any::Any, cell::Cell, collections::BTreeMap, task::Waker};

use orloj_kernel::{Context, HostKey, Task};

use crate::{
    choice::{Choices, Stream, mix},
    clock::{Fired, Timers},
    counts::Counts,
    disk::Ops,
    fault::Faults,
    graph::Kind,
    host::Host,
    net::Net,
    queue::Queue,
    runtime::SIM,
    scheduler::{Ready, Scheduler},
    sites::Coverage,
    stop::{Look, Stop},
    task::{Slot, TaskId, Wake},
    trace::Trace,
    trap::Traps,
    verdict::Failure,
};

thread_local! {
    /// The world that runs on this thread. It is out of the cell while it is in use, so a second
    /// use at the same time finds none.
    static WORLD: Cell<Option<&'static mut World>> = const { Cell::new(None) };
    static NEXT_ID: Cell<u32> = const { Cell::new(1) };
}

/// What happens at a point in time. The numbers are slots and generations of the tables they name.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    Timer {
        slot: u32,
        life: u32,
    },
    Net(crate::net::NetEvent),
    Disk {
        slot: u32,
        life: u32,
    },
    Resume {
        host: u32,
        boot: u32,
    },
    /// From here on choices come from another seed.
    Fork {
        seed: u64,
    },
    /// The run is to end here.
    Stop,
}

pub(crate) struct World {
    /// Tells handles of this world from those of another on the same thread.
    pub(crate) id: u32,
    /// Nanoseconds since the run began.
    pub(crate) now: u64,
    /// What one poll costs in virtual time, so that a busy loop cannot stop the clock.
    pub(crate) poll_ns: u64,
    pub(crate) polls: u64,
    /// All but the polls.
    pub(crate) counts: Counts,
    pub(crate) slots: Vec<Slot>,
    /// Of the task in each slot.
    pub(crate) names: Vec<&'static str>,
    pub(crate) free: Vec<u32>,
    pub(crate) ready: Ready,
    pub(crate) queue: Queue<Event>,
    pub(crate) timers: Timers,
    pub(crate) choices: Choices,
    pub(crate) faults: Faults,
    pub(crate) trace: Trace,
    pub(crate) hosts: Vec<Host>,
    pub(crate) hosts_by_name: BTreeMap<String, u32>,
    pub(crate) net: Net,
    pub(crate) disk_ops: Ops,
    /// Tasks of the scenario that wait for a disk to get on.
    pub(crate) disk_watch: Vec<TaskId>,
    pub(crate) coverage: Coverage,
    pub(crate) mutant: Option<&'static str>,
    pub(crate) failure: Option<Failure>,
    /// Whether there is a failure, or something to call or drop: the one branch when there is not.
    pub(crate) interrupted: bool,
    /// Foreign wakers to call, and values to drop, once the world is no longer borrowed.
    pub(crate) outbox: Vec<Waker>,
    pub(crate) graveyard: Vec<Task>,
    pub(crate) debris: Vec<Box<dyn Any>>,
    /// The task that is being polled, or was last.
    pub(crate) polling: TaskId,
    pub(crate) limits: Limits,
    pub(crate) traps: Traps,
    /// Whether any host has been paused or marked to die at an await: the one branch when none has.
    pub(crate) marked: bool,
    /// Where the run is to end, if an event decides that.
    pub(crate) stop: Option<Stop>,
    /// What the actors were like there.
    pub(crate) looks: Vec<Look>,
}

/// Where a run is ended as stuck.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) time: u64,
    pub(crate) polls: u64,
}

/// What the executor is to do next.
pub(crate) enum Step {
    Poll(TaskId, Task, Context),
    /// Call and drop what has gathered, then ask again.
    Sweep,
    /// Nothing can ever happen again.
    Stalled,
    OutOfTime,
    Failed,
}

/// Puts the world back when its use ends, by a panic too.
struct InUse(Option<&'static mut World>);

impl Drop for InUse {
    #[inline]
    fn drop(&mut self) {
        WORLD.set(self.0.take());
    }
}

/// Uses the world that runs on this thread.
///
/// # Panics
/// On a thread without one: simulated code must not leave its thread.
#[inline]
pub(crate) fn with<T>(f: impl FnOnce(&mut World) -> T) -> T {
    let mut in_use = InUse(WORLD.take());
    match &mut in_use.0 {
        Some(world) => f(world),
        None => no_world(),
    }
}

#[cold]
fn no_world() -> ! {
    panic!("no simulation runs on this thread: simulated code has left it, or outlived its world")
}

/// As [`with`], where there may be no world: in destructors.
pub(crate) fn try_current<T>(f: impl FnOnce(&mut World) -> T) -> Option<T> {
    let mut in_use = InUse(WORLD.take());
    in_use.0.as_mut().map(|w| f(w))
}

/// As [`try_current`], for handles of the world `id`, which may be gone or another by now.
pub(crate) fn try_with<T>(id: u32, f: impl FnOnce(&mut World) -> T) -> Option<T> {
    try_current(|w| (w.id == id).then(|| f(w))).flatten()
}

/// Puts `world` on this thread and returns the one that was there.
pub(crate) fn swap(world: Option<&'static mut World>) -> Option<&'static mut World> {
    WORLD.replace(world)
}

#[inline]
pub(crate) fn wake(task: TaskId) {
    with(|w| w.wake_task(task));
}

impl World {
    pub(crate) fn new(mut choices: Choices, scheduler: Scheduler, trace: Trace) -> World {
        let id = NEXT_ID.get();
        NEXT_ID.set(id.wrapping_add(1));
        World {
            id,
            now: 0,
            poll_ns: 50,
            polls: 0,
            counts: Counts::default(),
            slots: Vec::new(),
            names: Vec::new(),
            free: Vec::new(),
            ready: Ready::new(scheduler, &mut choices),
            queue: Queue::new(),
            timers: Timers::default(),
            choices,
            faults: Faults::default(),
            trace,
            hosts: Vec::new(),
            hosts_by_name: BTreeMap::new(),
            net: Net::default(),
            disk_ops: Ops::default(),
            disk_watch: Vec::new(),
            coverage: Coverage::default(),
            mutant: None,
            failure: None,
            interrupted: false,
            outbox: Vec::new(),
            graveyard: Vec::new(),
            debris: Vec::new(),
            polling: TaskId(u64::MAX),
            limits: Limits { time: u64::MAX, polls: u64::MAX },
            traps: Traps::default(),
            marked: false,
            stop: None,
            looks: Vec::new(),
        }
    }

    /// The context of host `host`.
    /// Whether the planted defect `name` is active, in what a runtime does for its actors.
    pub(crate) fn mutant_named(&self, name: &'static str) -> bool {
        self.mutant == Some(name)
    }

    pub(crate) fn context(&self, host: u32) -> Context {
        Context::new(&SIM, HostKey(u64::from(self.id) << 32 | u64::from(host)))
    }

    pub(crate) fn spawn(&mut self, host: u32, name: &'static str, task: Task) -> TaskId {
        let id = self.spawn_idle(host, name, task);
        self.wake_task(id);
        id
    }

    /// A task that is first polled when somebody wakes it.
    pub(crate) fn spawn_idle(&mut self, host: u32, name: &'static str, task: Task) -> TaskId {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                let slot = u32::try_from(self.slots.len()).expect("fewer than 2^32 tasks");
                self.slots.push(Slot::free());
                self.names.push(name);
                slot
            }
        };
        self.ready.enter(slot, &mut self.choices);
        self.names[slot as usize] = name;
        let s = &mut self.slots[slot as usize];
        (s.task, s.host, s.used, s.queued) = (Some(task), host, true, false);
        TaskId::new(slot, s.life)
    }

    /// Whether a task has not ended.
    pub(crate) fn is_live(&self, task: TaskId) -> bool {
        let slot = self.slots.get(task.slot() as usize);
        slot.is_some_and(|s| s.used && s.life == task.life())
    }

    #[inline]
    pub(crate) fn wake_task(&mut self, task: TaskId) {
        let Some(s) = self.slots.get_mut(task.slot() as usize) else { return };
        if s.life != task.life() || !s.used {
            return;
        }
        if self.trace.close {
            self.trace.wakes(task);
        }
        if s.queued {
            self.ready.again(task.slot());
            return;
        }
        s.queued = true;
        if self.marked && self.hosts[s.host as usize].paused {
            self.hosts[s.host as usize].parked.push(task.slot());
        } else {
            self.ready.push(task.slot());
        }
    }

    #[inline]
    pub(crate) fn wake(&mut self, wake: Wake) {
        match wake {
            Wake::Nobody => {}
            Wake::Task(task) => self.wake_task(task),
            Wake::Foreign(waker) => {
                self.outbox.push(*waker);
                self.interrupted = true;
            }
        }
    }

    /// Takes a task out of the world; the future, if it is not the one being polled, goes to the
    /// graveyard.
    pub(crate) fn end_task(&mut self, task: TaskId) {
        let Some(s) = self.slots.get_mut(task.slot() as usize) else { return };
        if s.life != task.life() || !s.used {
            return;
        }
        if let Some(task) = s.task.take() {
            self.graveyard.push(task);
            self.interrupted = true;
        }
        s.life = s.life.wrapping_add(1);
        s.used = false;
        // A queued slot is freed when it is popped.
        if !s.queued {
            self.free.push(task.slot());
        }
    }

    /// Takes back a task that was polled and is not done.
    #[inline]
    pub(crate) fn put_back(&mut self, id: TaskId, task: Task) {
        let s = &mut self.slots[id.slot() as usize];
        if s.life == id.life() && s.used {
            s.task = Some(task);
        } else {
            self.graveyard.push(task);
            self.interrupted = true;
        }
    }

    /// Lets time pass until a task can be polled.
    #[inline(always)]
    pub(crate) fn step(&mut self) -> Step {
        loop {
            if self.interrupted {
                self.interrupted = false;
                if !self.is_swept() {
                    self.interrupted = self.failure.is_some();
                    return Step::Sweep;
                }
                if self.failure.is_some() {
                    return Step::Failed;
                }
            }
            while let Some(slot) = self.ready.pop(&mut self.choices) {
                if let Some(step) = self.start_poll(slot) {
                    return step;
                }
            }
            let Some((at, event)) = self.queue.pop() else { return Step::Stalled };
            if at > self.limits.time {
                // What is closed when the world is taken down is closed behind the last event.
                self.now = self.now.max(at);
                return Step::OutOfTime;
            }
            // Polls cost time, so an event can be late.
            self.now = self.now.max(at);
            self.happen(event);
        }
    }

    #[inline(always)]
    fn start_poll(&mut self, slot: u32) -> Option<Step> {
        let s = &mut self.slots[slot as usize];
        s.queued = false;
        if !s.used {
            self.free.push(slot);
            return None;
        }
        if self.marked {
            let host = &mut self.hosts[s.host as usize];
            if host.paused {
                s.queued = true;
                host.parked.push(slot);
                return None;
            }
            if host.polls_left == 0 {
                let host = s.host;
                self.struck_at_await(host);
                return Some(Step::Sweep);
            }
            host.polls_left -= 1;
        }
        let id = TaskId::new(slot, s.life);
        let task = s.task.take()?;
        let host = s.host;
        self.polls += 1;
        self.now += self.poll_ns;
        self.trace.event(self.now, u64::from(slot));
        if self.trace.close {
            self.note_poll(id, host);
        }
        if self.polls > self.limits.polls {
            self.slots[slot as usize].task = Some(task);
            return Some(Step::OutOfTime);
        }
        self.polling = id;
        Some(Step::Poll(id, task, self.context(host)))
    }

    #[inline]
    fn happen(&mut self, event: Event) {
        if self.trace.close {
            return self.happen_noted(event);
        }
        self.carry(event);
    }

    /// Lets `event` happen, and says whether it still mattered to anybody.
    #[inline]
    pub(crate) fn carry(&mut self, event: Event) -> bool {
        match event {
            Event::Timer { slot, life } => {
                let (now, hosts) = (self.now, &self.hosts);
                let clock = |h: u32| match hosts.get(h as usize) {
                    Some(host) => host.clock.now(now),
                    None => now,
                };
                match self.timers.fire(slot, life, clock) {
                    Fired::Forgotten => return false,
                    Fired::Early(host, deadline) => {
                        let at = self.hosts[host as usize].clock.world_at(deadline);
                        self.queue.push(at.max(self.now + 1), event);
                    }
                    Fired::Wake(wake) => self.wake(wake),
                }
                self.trace.event(self.now, u64::from(slot) << 8 | 1);
            }
            Event::Net(event) => {
                self.trace.event(self.now, event.word());
                self.net_event(event);
            }
            Event::Disk { slot, life } => {
                self.trace.event(self.now, u64::from(slot) << 8 | 4);
                self.disk_event(slot, life);
            }
            Event::Resume { host, boot } => {
                self.trace.event(self.now, u64::from(host) << 8 | 3);
                self.resume(host, boot);
            }
            Event::Fork { seed } => self.choices.reseed(seed),
            Event::Stop => self.stop_here(),
        }
        true
    }

    /// Ends every task of every host.
    pub(crate) fn end_all(&mut self) {
        for host in &mut self.hosts {
            host.alive = false;
        }
        for slot in 0..self.slots.len() as u32 {
            let life = self.slots[slot as usize].life;
            self.end_task(TaskId::new(slot, life));
        }
    }

    /// Whether nothing waits to be called or dropped.
    pub(crate) fn is_swept(&self) -> bool {
        self.outbox.is_empty() && self.graveyard.is_empty() && self.debris.is_empty()
    }

    /// One hash of everything that happened so far.
    pub(crate) fn hash(&self) -> u64 {
        mix(self.trace.hash, self.choices.digest)
    }

    /// Ends the run with `failure`, unless it has failed already.
    pub(crate) fn fail(&mut self, failure: Failure) {
        self.tell_as(Kind::Broken, None, "world", format_args!("BROKEN {}", failure.law));
        self.failure.get_or_insert(failure);
        self.interrupted = true;
    }

    /// A draw for the code running on `host`.
    pub(crate) fn host_bits(&mut self, host: u32) -> u64 {
        self.choices.bits(Stream::Host(host), "entropy")
    }
}
