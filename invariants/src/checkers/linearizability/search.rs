//! The search for an order, answer by answer.

use std::collections::{BTreeMap, VecDeque};

use super::{Budget, Call, Sequential, Verdict, bits::Bits, words};

/// No operation before this one.
const FIRST: u32 = u32::MAX;
/// How many lost operations before one are looked at for an equal one.
const TWINS_MAX: usize = 64;

/// A point of the search: what has taken effect of that which may.
#[derive(Clone)]
struct Config<S> {
    state: S,
    /// Of the operations in flight, by slot.
    done: Bits,
    /// Of the lost operations, by number.
    used: Bits,
    /// The last operation that took effect: its link.
    last: u32,
}

/// Which answer is due, and where.
type Next<S> = (usize, Config<S>);

/// All ways to go on when an operation is answered.
struct Frame<S> {
    /// Which answer.
    at: usize,
    /// Where the operation was not tried yet.
    fresh: VecDeque<Config<S>>,
    /// Where it was, and what follows failed: others may have to come first.
    tried: VecDeque<Config<S>>,
    /// The first of `tried`, kept apart since most frames have no other.
    entry: Option<Config<S>>,
    /// Where it has taken effect.
    next: Vec<Config<S>>,
}

/// What an operation is to the search.
struct Known {
    /// Its slot while it is in flight, or its number among the lost.
    slot: u32,
    is_lost: bool,
    is_read: bool,
    /// The answered operation before it in its process.
    before: Option<u32>,
    /// The operation behind it in its process.
    behind: Option<u32>,
    /// Whether no lost operation of its process comes before it.
    is_first_lost: bool,
    /// The first answer that came while it was in flight, and its own.
    flight: (usize, usize),
}

/// An answer, and what is in flight then.
struct Answer {
    op: u32,
    /// Answered operations in flight, itself left out, by call.
    flying: Vec<u32>,
    /// How many lost operations had been called by then.
    lost: usize,
}

/// What was tried when this answer was due and failed: by state and operations in flight, each with
/// the lost operations used.
type Failed<S> = BTreeMap<(S, Bits), Vec<Bits>>;

pub(super) struct Search<'c, M: Sequential> {
    model: &'c M,
    calls: &'c [Call<M::Input, M::Output>],
    budget: &'c mut Budget,
    ops: Vec<Known>,
    /// Lost operations that change something, by call.
    lost: Vec<u32>,
    /// Of each lost operation, an equal one before it.
    twins: Vec<Option<u32>>,
    answers: Vec<Answer>,
    failed: Vec<Failed<M::State>>,
    frames: Vec<Frame<M::State>>,
    /// Operations that took effect, with the link of the one before.
    links: Vec<(u32, u32)>,
    /// The furthest answer that was due, and the last link before it.
    furthest: (usize, u32),
    states: Vec<M::State>,
}

impl<'c, M: Sequential> Search<'c, M> {
    pub(super) fn new(
        model: &'c M,
        calls: &'c [Call<M::Input, M::Output>],
        budget: &'c mut Budget,
    ) -> Search<'c, M> {
        let mut search = Search {
            model,
            calls,
            budget,
            ops: Vec::with_capacity(calls.len()),
            lost: Vec::new(),
            twins: Vec::new(),
            answers: Vec::with_capacity(calls.len()),
            failed: Vec::new(),
            frames: Vec::new(),
            links: Vec::new(),
            furthest: (0, FIRST),
            states: Vec::new(),
        };
        search.put_in_order();
        search.find_twins();
        search.failed.resize_with(search.answers.len(), BTreeMap::new);
        search
    }

    /// Works out what is in flight at every answer. Of events at one time, calls come first: what
    /// happened at the same moment is not known to be in order.
    fn put_in_order(&mut self) {
        let mut events: Vec<(u64, bool, u32)> = Vec::with_capacity(self.calls.len() * 2);
        for (op, call) in self.calls.iter().enumerate() {
            let is_read = self.model.is_read(&call.input);
            self.ops.push(Known {
                slot: 0,
                is_lost: call.answered.is_none(),
                is_read,
                before: None,
                behind: None,
                is_first_lost: true,
                flight: (0, usize::MAX),
            });
            if call.answered.is_none() && is_read {
                continue; // Nobody heard what it read.
            }
            events.push((call.called, false, op as u32));
            if let Some(at) = call.answered {
                assert!(at >= call.called, "operation {op} was answered before it was called");
                events.push((at, true, op as u32));
            }
        }
        events.sort_unstable();
        let mut processes: BTreeMap<u32, (Option<u32>, Option<u32>, bool)> = BTreeMap::new();
        let (mut flying, mut free): (Vec<u32>, Vec<u32>) = (Vec::new(), Vec::new());
        for (_, is_answer, op) in events {
            let at = op as usize;
            if is_answer {
                flying.retain(|other| *other != op);
                free.push(self.ops[at].slot);
                self.ops[at].flight.1 = self.answers.len();
                let lost = self.lost.len();
                self.answers.push(Answer { op, flying: flying.clone(), lost });
                continue;
            }
            let process = processes.entry(self.calls[at].process).or_insert((None, None, false));
            if let Some(last) = process.1 {
                self.ops[last as usize].behind = Some(op);
            }
            self.ops[at].flight.0 = self.answers.len();
            self.ops[at].before = process.0;
            self.ops[at].is_first_lost = !process.2;
            process.1 = Some(op);
            if self.ops[at].is_lost {
                process.2 = true;
                self.ops[at].slot = self.lost.len() as u32;
                self.lost.push(op);
            } else {
                process.0 = Some(op);
                self.ops[at].slot = free.pop().unwrap_or(flying.len() as u32);
                flying.push(op);
            }
        }
    }

    fn find_twins(&mut self) {
        for (number, op) in self.lost.iter().enumerate() {
            let input = &self.calls[*op as usize].input;
            let before = self.lost[..number].iter().rev().take(TWINS_MAX);
            let mut equal = before.filter(|other| {
                let other = **other as usize;
                self.ops[other].is_first_lost && self.calls[other].input == *input
            });
            self.twins.push(equal.next().copied());
        }
    }

    pub(super) fn run(mut self) -> Verdict {
        let state = self.model.initial();
        let (done, used) = (Bits::default(), Bits::default());
        let mut config = Config { state, done, used, last: FIRST };
        let mut at = 0;
        loop {
            while let Some(answer) = self.answers.get(at) {
                let slot = self.ops[answer.op as usize].slot;
                self.settle(&mut config, at);
                if !config.done.has(slot) {
                    break;
                }
                config.done.remove(slot);
                at += 1;
            }
            if at == self.answers.len() {
                return Verdict::Holds(self.path(config.last));
            }
            if at > self.furthest.0 || self.frames.is_empty() {
                self.furthest = (at, config.last);
            }
            if !self.has_failed(at, &config) {
                let (fresh, tried) = (VecDeque::from([config]), VecDeque::new());
                self.frames.push(Frame { at, fresh, tried, entry: None, next: Vec::new() });
            }
            match self.pick() {
                Err(OutOfBudget) => return Verdict::Unknown,
                Ok(None) => return Verdict::Violated(self.witness()),
                Ok(Some(next)) => (at, config) = next,
            }
        }
    }

    /// The next point from which to go on, and the answer that is due there.
    fn pick(&mut self) -> Result<Option<Next<M::State>>, OutOfBudget> {
        while let Some(mut frame) = self.frames.pop() {
            let op = self.answers[frame.at].op;
            if let Some(config) = frame.next.pop() {
                let at = frame.at + 1;
                self.frames.push(frame);
                return Ok(Some((at, config)));
            }
            if let Some(config) = frame.fresh.pop_front() {
                self.try_answered(&mut frame, op, config)?;
                self.frames.push(frame);
                continue;
            }
            if let Some(config) = frame.entry.take().or_else(|| frame.tried.pop_front()) {
                self.others_first(&mut frame, &config)?;
                let key = (config.state, config.done);
                self.failed[frame.at].entry(key).or_default().push(config.used);
                self.frames.push(frame);
            }
        }
        Ok(None)
    }

    /// Lets the operation that is due take effect.
    fn try_answered(
        &mut self,
        frame: &mut Frame<M::State>,
        op: u32,
        mut config: Config<M::State>,
    ) -> Result<(), OutOfBudget> {
        let slot = self.ops[op as usize].slot;
        if config.done.has(slot) {
            config.done.remove(slot);
            frame.next.push(config);
            return Ok(());
        }
        if self.may(op, frame.at, &config) {
            self.step(op, &config.state)?;
            for state in std::mem::take(&mut self.states) {
                let last = self.link(config.last, op);
                frame.next.push(Config { state, last, ..config.clone() });
            }
        }
        match frame.entry {
            None => frame.entry = Some(config),
            Some(_) => frame.tried.push_back(config),
        }
        Ok(())
    }

    /// Lets another operation take effect before the one that is due, each that may.
    fn others_first(
        &mut self,
        frame: &mut Frame<M::State>,
        config: &Config<M::State>,
    ) -> Result<(), OutOfBudget> {
        let at = frame.at;
        let flying = self.answers[at].flying.len();
        for number in 0..flying + self.answers[at].lost {
            let other = match number.checked_sub(flying) {
                None => self.answers[at].flying[number],
                Some(lost) => self.lost[lost],
            };
            let Known { slot, is_lost, is_read, .. } = self.ops[other as usize];
            let is_done = if is_lost { config.used.has(slot) } else { config.done.has(slot) };
            if is_done || !self.may(other, at, config) {
                continue;
            }
            if is_lost && self.has_elder_twin(slot, at, config) {
                continue;
            }
            self.step(other, &config.state)?;
            for state in std::mem::take(&mut self.states) {
                // A lost one is of no use then, and a read had its turn.
                if (is_lost || is_read) && state == config.state {
                    continue;
                }
                let last = self.link(config.last, other);
                let mut next = Config { state, last, ..config.clone() };
                if is_lost {
                    next.used.insert(slot)
                } else {
                    next.done.insert(slot)
                }
                self.settle(&mut next, at);
                let is_new = !self.has_failed(at, &next)
                    && !frame.fresh.iter().chain(&frame.tried).any(|c| covers(c, &next));
                if is_new {
                    frame.fresh.push_back(next);
                }
            }
        }
        Ok(())
    }

    /// Lets every read in flight take effect whose answer is right now. Nothing is lost by it: it
    /// changes nothing, here or later.
    fn settle(&mut self, config: &mut Config<M::State>, at: usize) {
        let mut again = true;
        while std::mem::take(&mut again) {
            for number in 0..=self.answers[at].flying.len() {
                let due = &self.answers[at];
                let op = if number == 0 { due.op } else { due.flying[number - 1] };
                let Known { slot, is_read, behind, .. } = self.ops[op as usize];
                if !is_read || config.done.has(slot) || !self.may(op, at, config) {
                    continue;
                }
                self.budget.0 = self.budget.0.saturating_sub(1);
                let Call { input, output, .. } = &self.calls[op as usize];
                self.states.clear();
                self.model.step(&config.state, input, output.as_ref(), &mut self.states);
                if self.states.len() == 1 && self.states[0] == config.state {
                    config.last = self.link(config.last, op);
                    config.done.insert(slot);
                    // What its process asked next may be right as well.
                    again |= behind.is_some();
                }
                self.states.clear();
            }
        }
    }

    /// Whether the order of its process lets an operation take effect.
    fn may(&self, op: u32, at: usize, config: &Config<M::State>) -> bool {
        let Known { before, behind, is_lost, .. } = self.ops[op as usize];
        if before.is_some_and(|before| !self.is_done(before, at, config)) {
            return false;
        }
        // A lost one may be left out, and then it comes no more.
        let mut behind = behind.filter(|_| is_lost);
        while let Some(later) = behind {
            if self.is_done(later, at, config) {
                return false;
            }
            behind = self.ops[later as usize].behind;
        }
        true
    }

    fn is_done(&self, op: u32, at: usize, config: &Config<M::State>) -> bool {
        let Known { slot, is_lost, flight: (first, own), .. } = self.ops[op as usize];
        if is_lost {
            return config.used.has(slot);
        }
        // Before and after its flight its slot is another's.
        own < at || first <= at && config.done.has(slot)
    }

    /// Whether an equal operation that was lost earlier could be used as well.
    fn has_elder_twin(&self, number: u32, at: usize, config: &Config<M::State>) -> bool {
        self.twins[number as usize].is_some_and(|twin| {
            let slot = self.ops[twin as usize].slot;
            !config.used.has(slot) && self.may(twin, at, config)
        })
    }

    fn has_failed(&mut self, at: usize, config: &Config<M::State>) -> bool {
        let failed = &self.failed[at];
        if failed.is_empty() {
            return false;
        }
        let Some(tried) = failed.get(&(config.state.clone(), config.done.clone())) else {
            return false;
        };
        // Many comparisons are work as well.
        self.budget.0 = self.budget.0.saturating_sub(tried.len() as u64 / 8);
        tried.iter().any(|used| used.is_subset(&config.used))
    }

    fn step(&mut self, op: u32, state: &M::State) -> Result<(), OutOfBudget> {
        self.budget.0 = self.budget.0.checked_sub(1).ok_or(OutOfBudget)?;
        let Call { input, output, .. } = &self.calls[op as usize];
        self.states.clear();
        self.model.step(state, input, output.as_ref(), &mut self.states);
        Ok(())
    }

    fn link(&mut self, last: u32, op: u32) -> u32 {
        self.links.push((last, op));
        self.links.len() as u32 - 1
    }

    fn path(&self, mut link: u32) -> Vec<usize> {
        let mut path = Vec::new();
        while link != FIRST {
            let (before, op) = self.links[link as usize];
            path.push(op as usize);
            link = before;
        }
        path.reverse();
        path
    }

    fn witness(&self) -> super::Witness {
        let (at, last) = self.furthest;
        let answer = &self.answers[at];
        let mut states: Vec<&M::State> = self.failed[at].keys().map(|(state, _)| state).collect();
        states.dedup();
        let before = self.path(last);
        let is_open = |op: &&u32| !before.contains(&(**op as usize));
        let open = answer.flying.iter().filter(is_open).map(|op| *op as usize).collect();
        let lost = self.lost[..answer.lost].iter().filter(is_open).map(|op| *op as usize).collect();
        let stuck = answer.op as usize;
        let story = words::Story { stuck, before, open, lost, states };
        story.witness(self.model, self.calls)
    }
}

/// Whether whatever follows from `other` follows from `one`.
fn covers<S: Ord>(one: &Config<S>, other: &Config<S>) -> bool {
    one.state == other.state && one.done == other.done && one.used.is_subset(&other.used)
}

struct OutOfBudget;
