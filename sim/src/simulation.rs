//! Building a world, running it, and what came of it.

use std::{
    future::Future,
    io::Write,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use orloj_kernel::{Context, Spawner};

use crate::{
    choice::{Choices, Script, Source},
    control::Control,
    executor::{self, End},
    host::Boot,
    net::Latency,
    panics,
    runtime::SIM,
    scheduler::Scheduler,
    stop::{Fork, Stop},
    task::TaskId,
    trace::{Detail, Trace},
    trap::Traps,
    verdict::{Failure, Report},
    world::{self, World},
};

/// What a run is made of, beside the code that runs in it.
pub struct Config {
    /// Where its choices come from.
    pub source: Source,
    /// Choices that differ from what the source would give.
    pub script: Script,
    /// Whether to keep every choice in the report.
    pub record: bool,
    /// How the next task is chosen.
    pub scheduler: Scheduler,
    /// Delay of a delivery between two hosts when nothing is wrong.
    pub latency: Latency,
    /// Virtual cost of one poll.
    pub poll: Duration,
    /// The run has failed as stuck after this much simulated time,
    pub time_limit: Duration,
    /// or after this many polls.
    pub poll_limit: u64,
    /// How much is kept of what happens.
    pub detail: Detail,
    /// Where the story goes line by line, beside the report.
    pub sink: Option<Box<dyn Write + Send>>,
    /// Whether packets are kept too, at [`Detail::Graph`].
    pub packets: bool,
    /// Where the run is to be stopped.
    pub stop: Option<Stop>,
    /// Where it gets another future, and where that gets another, in order.
    pub forks: Vec<Fork>,
    /// The planted defect that is active.
    pub mutant: Option<&'static str>,
    /// Whether `buggify!` takes rare paths.
    pub buggify: bool,
    /// What happens when code asks the machine for what it should ask its context for.
    pub traps: Traps,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Config {
    /// A calm world whose choices come from `seed`.
    pub fn seed(seed: u64) -> Config {
        Config {
            source: Source::Seed(seed),
            script: Script::default(),
            record: false,
            scheduler: Scheduler::default(),
            latency: Latency::default(),
            poll: Duration::from_nanos(50),
            time_limit: Duration::from_secs(24 * 3600),
            poll_limit: 1_000_000_000,
            detail: Detail::Hash,
            sink: None,
            packets: false,
            stop: None,
            forks: Vec::new(),
            mutant: None,
            buggify: false,
            traps: Traps::Deny,
        }
    }
}

/// One simulated world. It runs only inside its own methods, on the thread that calls them.
pub struct Simulation {
    /// Leaked while it lives, so that the thread-local that holds it during a run needs no
    /// destructor; taken back in [`Simulation::finish`] or on drop.
    world: Option<&'static mut World>,
}

impl std::fmt::Debug for Simulation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulation").finish_non_exhaustive()
    }
}

impl Simulation {
    /// An empty world.
    pub fn new(config: Config) -> Simulation {
        let choices = Choices::new(config.source, config.script, config.record);
        let mut trace = Trace::new(config.detail, config.sink);
        if let Some(tape) = &mut trace.tape {
            tape.keeps_packets = config.packets;
        }
        let mut world = World::new(choices, config.scheduler, trace);
        let nanos = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        world.poll_ns = nanos(config.poll);
        world.limits = world::Limits { time: nanos(config.time_limit), polls: config.poll_limit };
        world.net.latency = config.latency;
        world.mutant = config.mutant;
        world.traps = config.traps;
        world.coverage.buggify = config.buggify;
        world.arrange(config.stop, &config.forks);
        if config.buggify {
            world.faults.enable(crate::fault::FaultClass::Buggify);
        }
        Simulation { world: Some(Box::leak(Box::new(world))) }
    }

    /// Adds a host that runs `process` at every boot. Its name is its network name.
    ///
    /// # Panics
    /// When the name is taken.
    pub fn host<F>(
        &mut self,
        name: &str,
        process: impl FnMut(Context) -> F + Send + 'static,
    ) -> Context
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let world = self.world.as_mut().expect("the world is here between runs");
        let id = world.add_host(name, 0, Some(boot(process)));
        world.context(id)
    }

    /// Adds a host that runs nothing of its own: for clients and tests.
    ///
    /// # Panics
    /// When the name is taken.
    pub fn idle_host(&mut self, name: &str) -> Context {
        let world = self.world.as_mut().expect("the world is here between runs");
        let id = world.add_host(name, 0, None);
        world.context(id)
    }

    /// Runs the world until `driver`, a task on `context`'s host, has ended.
    ///
    /// # Errors
    /// The first property broken, panic, trap, stall or limit reached.
    pub fn run<F>(&mut self, context: Context, driver: F) -> Result<F::Output, Failure>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.inside(|| {
            let output = Arc::new(Mutex::new(None));
            let place = output.clone();
            let task = Box::pin(async move {
                let done = driver.await;
                *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
            });
            let key = SIM.spawn(context.host_key(), "driver", task);
            let end = executor::run(TaskId(key.0));
            let output = output.lock().unwrap_or_else(PoisonError::into_inner).take();
            let failure = world::with(|w| w.failure.clone());
            match (failure, end, output) {
                (Some(failure), _, _) => Err(failure),
                (None, End::Done, Some(output)) => Ok(output),
                (None, End::Done, _) => Err(Failure::new("driver", "the driver's host went down")),
                (None, End::OutOfTime, _) => Err(Failure::new("out-of-time", world::with(stuck))),
                (None, _, _) => Err(Failure::new("stalled", world::with(stuck))),
            }
        })
    }

    /// Uses the world's controls between runs.
    pub fn control<T>(&mut self, f: impl FnOnce(Control) -> T) -> T {
        self.inside(|| f(Control))
    }

    /// Takes the world down and tells what happened in it.
    pub fn finish(mut self) -> Report {
        if let Some(tape) = self.world.as_mut().and_then(|world| world.trace.tape.as_mut()) {
            tape.is_over = true;
        }
        self.take_down();
        let mut world = reclaim(self.world.take().expect("a world is finished once"));
        let tape = world.trace.tape.take();
        let names = world.hosts.iter().map(|host| host.name.clone());
        Report {
            graph: tape.map(|tape| tape.finish(names.collect())),
            looks: std::mem::take(&mut world.looks),
            trace_hash: world.hash(),
            events: world.trace.events,
            polls: world.polls,
            choices: world.choices.made(),
            virtual_ns: world.now,
            recorded: world.choices.recorded().map(<[_]>::to_vec),
            faults: world.faults,
            coverage: world.coverage,
            story: world.trace.finish(),
        }
    }

    fn inside<T>(&mut self, f: impl FnOnce() -> T) -> T {
        struct Inside<'a>(&'a mut Simulation, Option<&'static mut World>);
        impl Drop for Inside<'_> {
            fn drop(&mut self) {
                self.0.world = world::swap(self.1.take());
            }
        }
        let outer = world::swap(self.world.take());
        let _inside = Inside(self, outer);
        panics::catching(f)
    }

    /// Drops every task inside of its world, where destructors find what they need.
    fn take_down(&mut self) {
        if self.world.is_none() {
            return;
        }
        self.inside(|| {
            world::with(World::end_all);
            for _ in 0..64 {
                executor::sweep();
                if world::with(|w| w.is_swept()) {
                    break;
                }
            }
        });
    }
}

fn boot<F>(mut process: impl FnMut(Context) -> F + Send + 'static) -> Boot
where
    F: Future<Output = ()> + Send + 'static,
{
    Arc::new(Mutex::new(move |cx| Box::pin(process(cx)) as orloj_kernel::Task))
}

impl Control {
    /// Adds a host to the running world, as [`Simulation::host`] does before a run.
    ///
    /// # Panics
    /// When the name is taken.
    pub fn host<F>(&self, name: &str, process: impl FnMut(Context) -> F + Send + 'static) -> Context
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let boot = boot(process);
        world::with(|w| {
            let id = w.add_host(name, 0, Some(boot));
            w.context(id)
        })
    }

    /// Adds a host that runs nothing of its own, as [`Simulation::idle_host`] does before a run.
    ///
    /// # Panics
    /// When the name is taken.
    pub fn idle_host(&self, name: &str) -> Context {
        world::with(|w| {
            let id = w.add_host(name, 0, None);
            w.context(id)
        })
    }
}

/// Takes back what [`Simulation::new`] leaked.
fn reclaim(world: &'static mut World) -> Box<World> {
    // SAFETY: the reference came out of `Box::leak` in `Simulation::new`, is the only one (it is
    // moved from place to place and never copied), and is given up here, once: its owner was
    // emptied.
    unsafe { Box::from_raw(std::ptr::from_mut(world)) }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        self.take_down();
        if let Some(world) = self.world.take() {
            drop(reclaim(world));
        }
    }
}

/// Who waits, for the evidence of a run that cannot finish.
fn stuck(w: &mut World) -> String {
    let mut tasks: Vec<String> = Vec::new();
    for (s, name) in w.slots.iter().zip(&w.names).filter(|(s, _)| s.used) {
        let host = &w.hosts[s.host as usize];
        let state = if host.paused { " (paused)" } else { "" };
        tasks.push(format!("{name} on {}{state}", host.name));
    }
    tasks.sort();
    tasks.dedup();
    format!(
        "at {} ms, after {} polls, these tasks wait: {}",
        w.now / 1_000_000,
        w.polls,
        tasks.join(", ")
    )
}
