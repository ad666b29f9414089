//! Which ready task runs next.

mod pos;

use std::collections::BinaryHeap;

use crate::choice::{Choices, Stream};
use pos::Pos;

/// How the next task is chosen among those that are ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheduler {
    /// The one that has been ready longest.
    Fifo,
    /// Any of the 1,024 that have been ready longest, uniformly. The window keeps a huge queue from
    /// starving anybody, and from missing the cache at every step.
    #[default]
    Random,
    /// Probabilistic concurrency testing: tasks have random priorities and the highest runs, except
    /// that at `depth - 1` random steps the running task falls below all others. A bug of that
    /// depth is found with probability at least `1 / (tasks * steps^(depth - 1))` per run
    /// (Burckhardt et al., "A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs",
    /// ASPLOS 2010).
    Pct {
        /// How many ordering constraints the sought bug has; 1 to 5 is usual.
        depth: u32,
    },
    /// Partial order sampling: every turn that waits has a random priority and the highest runs;
    /// then those that raced with it get new ones. So the order of what does not race matters
    /// little, and orders of what does are sampled far more evenly than by
    /// [`Scheduler::Random`], in which a long series of turns hardly ever comes before a single one
    /// (Yuan, Yang and Gu, "Partial Order Aware Concurrency Sampling", CAV 2018).
    Pos,
}

impl std::str::FromStr for Scheduler {
    type Err = String;
    fn from_str(s: &str) -> Result<Scheduler, String> {
        match s.split_once(':') {
            None if s == "fifo" => Ok(Scheduler::Fifo),
            None if s == "random" => Ok(Scheduler::Random),
            None if s == "pct" => Ok(Scheduler::Pct { depth: 3 }),
            None if s == "pos" => Ok(Scheduler::Pos),
            Some(("pct", depth)) => match depth.parse() {
                Ok(depth) if depth > 0 => Ok(Scheduler::Pct { depth }),
                _ => Err(format!("pct takes a depth of at least 1, not `{depth}`")),
            },
            _ => Err(format!("unknown scheduler `{s}`; one of fifo, random, pct, pct:DEPTH, pos")),
        }
    }
}

impl std::fmt::Display for Scheduler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Scheduler::Fifo => f.write_str("fifo"),
            Scheduler::Random => f.write_str("random"),
            Scheduler::Pct { depth } => write!(f, "pct:{depth}"),
            Scheduler::Pos => f.write_str("pos"),
        }
    }
}

const WINDOW: u32 = 1_024;

/// Steps among which PCT spreads its change points.
const PCT_STEPS: u64 = 20_000;

/// The tasks that are ready, by slot.
pub(crate) struct Ready {
    queue: Ring,
    /// The next one is among so many that have been ready longest; with one there is no choice.
    window: u32,
    /// In place of the queue.
    ranked: Option<Ranked>,
}

/// Tasks that are not ready in a row.
enum Ranked {
    Pct(Box<Pct>),
    Pos(Box<Pos>),
}

/// Tasks by priority, and the steps at which one falls.
struct Pct {
    ranked: BinaryHeap<(u64, std::cmp::Reverse<u64>, u32)>,
    /// By slot: the higher runs first.
    priorities: Vec<u64>,
    pushed: u64,
    picked: u64,
    change_points: Vec<u64>,
    /// Priorities below every initial one, handed out downwards.
    lowest: u64,
}

impl Ready {
    pub(crate) fn new(scheduler: Scheduler, choices: &mut Choices) -> Ready {
        let (window, ranked) = match scheduler {
            Scheduler::Fifo => (1, None),
            Scheduler::Random => (WINDOW, None),
            Scheduler::Pct { depth } => (1, Some(Ranked::Pct(Box::new(Pct::new(depth, choices))))),
            Scheduler::Pos => (1, Some(Ranked::Pos(Box::default()))),
        };
        Ready { queue: Ring::new(), window, ranked }
    }

    /// A new task is in `slot`.
    #[inline]
    pub(crate) fn enter(&mut self, slot: u32, choices: &mut Choices) {
        match &mut self.ranked {
            None => {}
            Some(Ranked::Pct(pct)) => pct.enter(slot, choices),
            Some(Ranked::Pos(pos)) => pos.enter(slot),
        }
    }

    #[inline]
    pub(crate) fn push(&mut self, slot: u32) {
        match &mut self.ranked {
            None => self.queue.push(slot),
            Some(Ranked::Pct(pct)) => pct.push(slot),
            Some(Ranked::Pos(pos)) => pos.push(slot),
        }
    }

    /// A task that waits for its turn already was woken once more.
    #[inline]
    pub(crate) fn again(&mut self, slot: u32) {
        if let Some(Ranked::Pos(pos)) = &mut self.ranked {
            pos.touch(slot);
        }
    }

    /// The next slot.
    #[inline]
    pub(crate) fn pop(&mut self, choices: &mut Choices) -> Option<u32> {
        match &mut self.ranked {
            None => {}
            Some(Ranked::Pct(pct)) => return pct.pop(),
            Some(Ranked::Pos(pos)) => return pos.pop(choices),
        }
        let among = u64::from(self.queue.len.min(self.window));
        let pick = choices.draw(Stream::Schedule, "next-task", among) as u32;
        self.queue.take(pick)
    }
}

impl Pct {
    fn new(depth: u32, choices: &mut Choices) -> Pct {
        let change_point = |_| choices.draw(Stream::Schedule, "pct-change-point", PCT_STEPS);
        Pct {
            ranked: BinaryHeap::new(),
            priorities: Vec::new(),
            pushed: 0,
            picked: 0,
            change_points: (1..depth).map(change_point).collect(),
            lowest: u64::from(u32::MAX),
        }
    }

    #[cold]
    fn enter(&mut self, slot: u32, choices: &mut Choices) {
        let slot = slot as usize;
        self.priorities.resize(self.priorities.len().max(slot + 1), 0);
        let drawn = choices.draw(Stream::Schedule, "pct-priority", 1 << 32);
        self.priorities[slot] = (1 << 32) + drawn;
    }

    #[cold]
    fn push(&mut self, slot: u32) {
        self.pushed += 1;
        let priority = self.priorities[slot as usize];
        self.ranked.push((priority, std::cmp::Reverse(self.pushed), slot));
    }

    #[cold]
    fn pop(&mut self) -> Option<u32> {
        let (_, _, slot) = self.ranked.pop()?;
        self.picked += 1;
        if self.change_points.contains(&self.picked) {
            self.lowest -= 1;
            self.priorities[slot as usize] = self.lowest;
        }
        Some(slot)
    }
}

/// A queue in a power of two of places.
struct Ring {
    places: Box<[u32]>,
    head: u32,
    len: u32,
}

impl Ring {
    fn new() -> Ring {
        Ring { places: Box::new([0; 16]), head: 0, len: 0 }
    }

    #[inline]
    fn mask(&self) -> u32 {
        self.places.len() as u32 - 1
    }

    #[inline]
    fn push(&mut self, slot: u32) {
        if self.len as usize == self.places.len() {
            self.grow();
        }
        let at = self.head.wrapping_add(self.len) & self.mask();
        self.places[at as usize] = slot;
        self.len += 1;
    }

    /// Takes the `n`th from the front; the first moves into its place.
    #[inline]
    fn take(&mut self, n: u32) -> Option<u32> {
        if self.len == 0 {
            return None;
        }
        let (first, nth) = (self.head & self.mask(), self.head.wrapping_add(n) & self.mask());
        let slot = self.places[nth as usize];
        self.places[nth as usize] = self.places[first as usize];
        self.head = self.head.wrapping_add(1);
        self.len -= 1;
        Some(slot)
    }

    #[cold]
    fn grow(&mut self) {
        let mut places = vec![0; self.places.len() * 2].into_boxed_slice();
        for n in 0..self.len {
            places[n as usize] = self.places[(self.head.wrapping_add(n) & self.mask()) as usize];
        }
        (self.places, self.head) = (places, 0);
    }
}
