//! Ending a run on purpose, to look at it; and giving it another future.

use orloj_kernel::Status;

use crate::{
    graph::Event,
    verdict::Failure,
    world::{self, World},
};

/// Where a run is to end. It ends as a failure of the law [`Stop::LAW`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// At this many simulated nanoseconds.
    At(u64),
    /// With the event of this number. Only while events are recorded.
    Event(u32),
    /// With the first event whose text contains this. Only while events are recorded.
    Text(String),
}

impl Stop {
    /// The name of the failure with which such a run ends.
    pub const LAW: &str = "stopped";

    /// Whether `event`, the newest of so many, is the one.
    fn is(&self, event: &Event, count: u32) -> bool {
        match self {
            Stop::At(_) => false,
            Stop::Event(number) => count == number + 1,
            Stop::Text(text) => event.text.contains(text),
        }
    }
}

/// Another future: from this moment on choices are drawn from another seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fork {
    /// Simulated nanoseconds since the run began.
    pub at: u64,
    /// The seed of the future.
    pub seed: u64,
}

/// `NANOSECONDS:SEED`.
impl std::str::FromStr for Fork {
    type Err = String;
    fn from_str(text: &str) -> Result<Fork, String> {
        let wrong = || format!("\"{text}\" is not NANOSECONDS:SEED, such as 1250000:7");
        let (at, seed) = text.split_once(':').ok_or_else(wrong)?;
        Ok(Fork { at: at.parse().map_err(|_| wrong())?, seed: seed.parse().map_err(|_| wrong())? })
    }
}

impl std::fmt::Display for Fork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.at, self.seed)
    }
}

/// What an actor was like where the run was stopped.
#[derive(Clone, Debug)]
pub struct Look {
    /// Its host.
    pub host: String,
    /// What is known of it.
    pub status: Status,
}

impl World {
    /// Arranges for the run to be stopped or forked.
    pub(crate) fn arrange(&mut self, stop: Option<Stop>, forks: &[Fork]) {
        match stop {
            Some(Stop::At(at)) => self.queue.push(at, world::Event::Stop),
            stop => self.stop = stop,
        }
        for Fork { at, seed } in forks {
            self.queue.push(*at, world::Event::Fork { seed: *seed });
        }
    }

    /// Ends the run here, if the newest event says so.
    pub(crate) fn stop_if_told(&mut self) {
        let Some((stop, tape)) = self.stop.as_ref().zip(self.trace.tape.as_ref()) else { return };
        if tape.newest().is_some_and(|event| stop.is(event, tape.len())) {
            self.stop_here();
        }
    }

    /// Ends the run, and keeps what every actor is like.
    pub(crate) fn stop_here(&mut self) {
        self.stop = None;
        if let Some(tape) = &mut self.trace.tape {
            tape.is_over = true;
        }
        for host in self.hosts.iter().filter(|host| host.alive) {
            let look = |status| Look { host: host.name.clone(), status };
            self.looks.extend(host.directory.list().into_iter().map(look));
        }
        self.failure.get_or_insert(Failure::new(Stop::LAW, "the run was stopped to look at it"));
        self.interrupted = true;
    }
}
