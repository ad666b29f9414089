//! What is in memory, and what has to leave it.
//!
//! One budget of bytes for nodes of the tree and for values out of the value log. What a miss loads
//! enters *probation*, a tenth of the budget; what leaves that with heat goes to *main*, a clock;
//! what has none leaves memory. So a scan, which asks for everything once, passes through probation
//! and leaves main alone (S3-FIFO, Yang et al., SOSP 2023). What comes back soon after it left goes
//! to main at once: a set that is asked for in turns, and is larger than probation, would never get
//! there else.
//!
//! Nobody asks for the cache's mutex while holding a latch; under it latches are only tried, but
//! for the moment that measuring a leaf takes.

mod counters;

pub use counters::{Counters, Kind};

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    page::ValuePointer,
    tree::{Evicted, Resident, Tree},
};

/// A tenth of the budget is for what was asked for once.
const PROBATION: u64 = 10;

/// The cache of a database.
#[derive(Debug)]
pub struct Cache {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    tree: Arc<Tree>,
    budget: u64,
    probation: Ring,
    main: Ring,
    blocks: BTreeMap<(u32, u64), Block>,
    /// Items that have left probation, ever. What left no longer ago than main has items is
    /// remembered: of nodes in their slots, of values here.
    moment: u32,
    left: BTreeMap<(u32, u64), u32>,
    leaving: VecDeque<(u32, u64)>,
    /// Nodes loaded so far.
    loads: u64,
    /// How many loads there had been when each pin was made, and how many were made then.
    pins: BTreeMap<u64, u32>,
    counters: Counters,
}

/// Items in the order in which they came.
#[derive(Debug, Default)]
struct Ring {
    items: VecDeque<Watched>,
    bytes: u64,
}

#[derive(Debug)]
struct Watched {
    item: Item,
    /// Those it had when it was last looked at.
    bytes: u64,
    /// How many loads there had been when it was loaded; 0 for what was not.
    load: u64,
}

#[derive(Debug)]
enum Item {
    Node(Resident),
    /// A value, by its segment and offset.
    Block(u32, u64),
}

#[derive(Debug)]
struct Block {
    value: Arc<[u8]>,
    heat: bool,
}

impl Ring {
    fn push(&mut self, watched: Watched) {
        self.bytes += watched.bytes;
        self.items.push_back(watched);
    }

    fn pop(&mut self) -> Option<Watched> {
        let watched = self.items.pop_front()?;
        self.bytes -= watched.bytes;
        Some(watched)
    }
}

impl Cache {
    /// An empty cache for `budget` bytes of `tree` and of what its pointers lead to.
    pub fn new(budget: u64, tree: Arc<Tree>) -> Cache {
        let (probation, main) = (Ring::default(), Ring::default());
        let (blocks, counters) = (BTreeMap::new(), Counters::default());
        let (moment, left, leaving) = (0, BTreeMap::new(), VecDeque::new());
        let (loads, pins) = (0, BTreeMap::new());
        let state = State {
            tree,
            budget,
            probation,
            main,
            blocks,
            moment,
            left,
            leaving,
            loads,
            pins,
            counters,
        };
        Cache { state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The budget in bytes.
    pub fn budget(&self) -> u64 {
        self.state().budget
    }

    /// Sets the budget in bytes. If it is less than before, what is too much leaves memory now.
    /// Returns whether all of it could.
    pub fn set_budget(&self, bytes: u64) -> bool {
        let mut state = self.state();
        state.budget = bytes;
        state.make_room(0)
    }

    /// Sees to it that `bytes` more stay within the budget. Whether they do: if not, whatever is
    /// left is in use or has to be written first.
    pub fn make_room(&self, bytes: u64) -> bool {
        self.state().make_room(bytes)
    }

    /// Keeps every node that is loaded from now on until the pin is dropped: whoever needs several
    /// at once would else lose one for the other, for ever.
    pub fn pin(&self) -> Pin<'_> {
        let mut state = self.state();
        let since = state.loads;
        *state.pins.entry(since).or_default() += 1;
        Pin { cache: self, since }
    }

    /// A node was loaded, because somebody missed it. Makes room for it; whether that succeeded.
    ///
    /// It is in its place already, so that the nodes above it stay, and does not leave for its own
    /// sake: whoever missed it shall find it.
    pub fn loaded(&self, node: Resident) -> bool {
        let mut state = self.state();
        let bytes = node.bytes() as u64;
        let fits = state.make_room(bytes);
        state.counters.of(kind(&node)).misses += 1;
        state.loads += 1;
        let load = state.loads;
        let ring = match state.left_lately(node.left()) {
            true => &mut state.main,
            false => &mut state.probation,
        };
        ring.push(Watched { item: Item::Node(node), bytes, load });
        fits
    }

    /// Nodes came into being. They are dirty, and stay.
    pub fn born(&self, nodes: Vec<Resident>) {
        let mut state = self.state();
        for node in nodes {
            let bytes = node.bytes() as u64;
            state.main.push(Watched { item: Item::Node(node), bytes, load: 0 });
        }
    }

    /// Looks at every item again: nodes grow and shrink where they are. Whether all of them stay
    /// within the budget.
    pub fn measure(&self) -> bool {
        let state = &mut *self.state();
        for ring in [&mut state.probation, &mut state.main] {
            ring.items.retain_mut(|watched| match &watched.item {
                Item::Block(..) => true,
                Item::Node(node) => {
                    watched.bytes = node.bytes() as u64;
                    watched.bytes > 0
                }
            });
            ring.bytes = ring.items.iter().map(|watched| watched.bytes).sum();
        }
        state.make_room(0)
    }

    /// The value at `at`, if it is in memory.
    pub fn block(&self, at: ValuePointer) -> Option<Arc<[u8]>> {
        let state = &mut *self.state();
        let block = state.blocks.get_mut(&(at.segment, at.offset));
        let counts = state.counters.of(Kind::Value);
        match &block {
            Some(_) => counts.hits += 1,
            None => counts.misses += 1,
        }
        let block = block?;
        block.heat = true;
        Some(block.value.clone())
    }

    /// Keeps the value at `at`, if there is room for it.
    pub fn keep_block(&self, at: ValuePointer, value: Arc<[u8]>) {
        let mut state = self.state();
        let (key, bytes) = ((at.segment, at.offset), value.len() as u64);
        if state.blocks.contains_key(&key) || !state.make_room(bytes) {
            return;
        }
        state.blocks.insert(key, Block { value, heat: false });
        let left = state.left.get(&key).copied().unwrap_or(0);
        let ring = match state.left_lately(left) {
            true => &mut state.main,
            false => &mut state.probation,
        };
        ring.push(Watched { item: Item::Block(key.0, key.1), bytes, load: 0 });
    }

    /// Forgets every value of a segment that is no more.
    pub fn forget_segment(&self, segment: u32) {
        let state = &mut *self.state();
        state.blocks.retain(|(of, _), _| *of != segment);
        for ring in [&mut state.probation, &mut state.main] {
            ring.items.retain(|w| !matches!(w.item, Item::Block(of, _) if of == segment));
            ring.bytes = ring.items.iter().map(|watched| watched.bytes).sum();
        }
    }

    /// What was counted so far, and the bytes there are now.
    pub fn counters(&self) -> Counters {
        let state = self.state();
        let mut counters = state.counters.clone();
        (counters.budget, counters.bytes) = (state.budget, state.bytes());
        counters
    }
}

impl State {
    fn bytes(&self) -> u64 {
        self.probation.bytes + self.main.bytes
    }

    fn left_lately(&self, moment: u32) -> bool {
        moment > 0 && (self.moment.wrapping_sub(moment) as usize) < self.main.items.len()
    }

    fn leave(&mut self, item: &Item) {
        // Wraps after four thousand million evictions, and then forgets all that came before.
        self.moment = self.moment.checked_add(1).unwrap_or_else(|| {
            self.left.clear();
            1
        });
        match item {
            Item::Node(node) => node.leave(self.moment),
            Item::Block(segment, offset) => {
                self.left.insert((*segment, *offset), self.moment);
                self.leaving.push_back((*segment, *offset));
                while self.leaving.len() > self.main.items.len() {
                    let oldest = self.leaving.pop_front().expect("it is not empty");
                    self.left.remove(&oldest);
                }
            }
        }
    }

    fn make_room(&mut self, more: u64) -> bool {
        // Everything in main may have to pass twice: once to lose its heat.
        let mut looks = self.probation.items.len() * 2 + self.main.items.len() * 2;
        while self.bytes() + more > self.budget && looks > 0 {
            looks -= 1;
            let young = self.probation.bytes > self.budget / PROBATION;
            let from_probation = young || self.main.items.is_empty();
            let popped = match from_probation {
                true => self.probation.pop(),
                false => self.main.pop(),
            };
            let Some(watched) = popped else { break };
            self.look(watched, from_probation);
        }
        self.bytes() + more <= self.budget
    }

    /// Decides what becomes of an item that was taken out of its ring.
    fn look(&mut self, watched: Watched, from_probation: bool) {
        let pinned = self.pins.first_key_value().is_some_and(|(since, _)| watched.load > *since);
        if pinned {
            let ring = if from_probation { &mut self.probation } else { &mut self.main };
            return ring.push(watched);
        }
        if from_probation {
            self.leave(&watched.item);
        }
        let stays = match &watched.item {
            Item::Block(segment, offset) => {
                let key = (*segment, *offset);
                let heat = self.blocks.get_mut(&key).map(|block| std::mem::take(&mut block.heat));
                if heat == Some(false) {
                    self.blocks.remove(&key);
                    self.counters.of(Kind::Value).evictions += 1;
                }
                heat == Some(true)
            }
            Item::Node(node) if node.take_heat() => true,
            Item::Node(node) => match self.tree.evict(node) {
                Evicted::Yes(_) => {
                    self.counters.of(kind(node)).evictions += 1;
                    false
                }
                Evicted::Gone => false,
                Evicted::Busy | Evicted::Dirty => true,
            },
        };
        if stays {
            let bytes = match &watched.item {
                Item::Node(node) => node.bytes() as u64,
                Item::Block(..) => watched.bytes,
            };
            self.main.push(Watched { bytes, ..watched });
        }
    }
}

/// See [`Cache::pin`].
#[derive(Debug)]
pub struct Pin<'a> {
    cache: &'a Cache,
    since: u64,
}

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        let mut state = self.cache.state();
        let count = state.pins.get_mut(&self.since).expect("it was counted");
        *count -= 1;
        if *count == 0 {
            state.pins.remove(&self.since);
        }
    }
}

fn kind(node: &Resident) -> Kind {
    if node.is_leaf() { Kind::Leaf } else { Kind::Inner }
}

#[cfg(test)]
mod tests;
