//! Which units of `data.pages` are free.
//!
//! A unit is free if nobody uses it: not the tree in memory, not the newest generation on disk, not
//! the one before it, and no hold. Each of them is a set of its own and free is what is in none, so
//! nothing has to be remembered about why a unit is not free yet, or when it will be.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Bits;
use crate::page::PagePtr;

/// For whom a page is written, or who lets go of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// The tree in memory alone: the cleaner, and whoever drops pages. A checkpoint that runs
    /// meanwhile is of an earlier state: it goes on using what they release, and knows nothing of
    /// what they write.
    Tree,
    /// The checkpoint that runs.
    Checkpoint,
}

/// Free and used units. Locked for moments, never across a wait.
#[derive(Debug)]
pub struct Space {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What the tree in memory refers to, unit 0 among it: no page is there.
    tree: Bits,
    /// What the running checkpoint will refer to.
    next: Option<Bits>,
    /// What the newest superblock refers to.
    newest: Bits,
    /// What the one before refers to.
    before: Bits,
    holds: Vec<(u64, Bits)>,
    held: u64,
    /// Where the search for a free unit goes on.
    cursor: u64,
    /// So many free units in a row were not found lately, so nobody looks for them again until
    /// a checkpoint begins or ends.
    scarce: u64,
    /// Units in the file.
    units: u64,
}

impl Space {
    /// The space of a database whose superblocks refer to `newest` and `before`, in a file of
    /// `units` units. The tree is what `newest` says.
    pub fn new(newest: Bits, before: Bits, units: u64) -> Space {
        let mut tree = newest.clone();
        tree.add(0, 1);
        let units = units.max(1);
        assert!(newest.end() <= units && before.end() <= units, "units beyond the file's end");
        let (next, holds) = (None, Vec::new());
        let (held, cursor, scarce) = (0, 1, u64::MAX);
        let state = State { tree, next, newest, before, holds, held, cursor, scarce, units };
        Space { state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes `units` free units in a row, growing the file if there are none. Returns the first.
    pub fn allocate(&self, units: u16, whose: Use) -> u64 {
        let mut state = self.state();
        let count = u64::from(units);
        let first = state.find(count);
        always_free(&state, first, count);
        state.tree.add(first, count);
        if whose == Use::Checkpoint {
            state.running().add(first, count);
        }
        state.cursor = first + count;
        state.units = state.units.max(first + count);
        first
    }

    /// The tree refers to `page` no more; and neither does the running checkpoint, if it says so.
    pub fn release(&self, page: PagePtr, whose: Use) {
        let mut state = self.state();
        let (first, count) = (page.unit, u64::from(page.units));
        assert!(state.tree.take(first, count), "{page:?} is released twice");
        if whose == Use::Checkpoint {
            state.running().take(first, count);
        }
    }

    /// A checkpoint begins, of the tree as it is now.
    pub fn begin(&self) {
        let mut state = self.state();
        assert!(state.next.is_none(), "one checkpoint at a time");
        state.next = Some(state.tree.clone());
        // Low units first: what lies behind the last used one can be cut off.
        (state.cursor, state.scarce) = (1, u64::MAX);
    }

    /// What the running checkpoint refers to so far, and how many units the file has.
    pub fn next(&self) -> (Bits, u64) {
        let mut state = self.state();
        (state.running().clone(), state.units)
    }

    /// The running checkpoint is the newest generation now; what only the one before the one before
    /// it used is free.
    pub fn settle(&self) {
        let mut state = self.state();
        let next = state.next.take().expect("a checkpoint runs");
        state.before = std::mem::replace(&mut state.newest, next);
        state.scarce = u64::MAX;
    }

    /// The running checkpoint will never be. What was written for it belongs to the tree alone.
    pub fn abandon(&self) {
        self.state().next = None;
    }

    /// Keeps everything that the newest generation uses until the hold is let go. Returns its
    /// number, and what it keeps.
    pub fn hold(&self) -> (u64, Bits) {
        let mut state = self.state();
        state.held += 1;
        let hold = (state.held, state.newest.clone());
        state.holds.push(hold.clone());
        hold
    }

    /// Lets go of a hold.
    pub fn let_go(&self, hold: u64) {
        self.state().holds.retain(|(number, _)| *number != hold);
    }

    /// Units in the file, how many of them the tree uses, and how many are free.
    pub fn counts(&self) -> (u64, u64, u64) {
        let state = self.state();
        let words = state.units.div_ceil(64) as usize;
        let used: u64 = (0..words).map(|w| u64::from(state.used(w).count_ones())).sum();
        (state.units, state.tree.count(), state.units - used)
    }

    /// Forgets the free units at the file's end, if there are any: the file can be cut to the
    /// number of units returned.
    pub fn shrink(&self) -> Option<u64> {
        let mut state = self.state();
        let end = state.sets().map(Bits::end).max().unwrap_or(1).max(1);
        (end < state.units).then(|| {
            state.units = end;
            state.cursor = state.cursor.min(end);
            end
        })
    }
}

impl State {
    fn running(&mut self) -> &mut Bits {
        self.next.as_mut().expect("a checkpoint runs")
    }

    fn sets(&self) -> impl Iterator<Item = &Bits> {
        let holds = self.holds.iter().map(|(_, bits)| bits);
        [&self.tree, &self.newest, &self.before].into_iter().chain(&self.next).chain(holds)
    }

    fn used(&self, word: usize) -> u64 {
        self.sets().fold(0, |used, set| used | set.word(word))
    }

    /// The first of `count` free units in a row: behind the cursor, else before it, else at the end
    /// of the file.
    fn find(&mut self, count: u64) -> u64 {
        if count < self.scarce {
            let cursor = self.cursor;
            let run = self.run(cursor, self.units, count);
            let run = run.or_else(|| self.run(1, (cursor + count).min(self.units), count));
            if let Some(first) = run {
                return first;
            }
            self.scarce = count;
        }
        // What is free at the end is the beginning of it.
        let mut first = self.units;
        while first > 1 && !self.is_used(first - 1) {
            first -= 1;
        }
        first
    }

    fn is_used(&self, unit: u64) -> bool {
        self.used((unit / 64) as usize) >> (unit % 64) & 1 == 1
    }

    /// The first of `count` free units in a row within `from..end`.
    fn run(&self, from: u64, end: u64, count: u64) -> Option<u64> {
        let (mut first, mut at) = (from, from);
        while at < end {
            let used = self.used((at / 64) as usize) >> (at % 64);
            if used & 1 == 1 {
                at += u64::from((!used).trailing_zeros()).min(64 - at % 64);
                first = at;
            } else {
                at += u64::from(used.trailing_zeros()).min(64 - at % 64);
                if at.min(end) - first >= count {
                    return Some(first);
                }
            }
        }
        None
    }
}

/// Invariant 5: a unit is given away only if nobody uses it.
fn always_free(state: &State, first: u64, count: u64) {
    assert!(first > 0, "unit 0 is no page");
    for unit in first..first + count {
        assert!(!state.is_used(unit), "unit {unit} is in use");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn page(unit: u64, units: u16) -> PagePtr {
        PagePtr { unit, units, sum: 0, generation: 0 }
    }

    fn empty() -> Space {
        Space::new(Bits::default(), Bits::default(), 0)
    }

    #[test]
    fn pages_lie_side_by_side_from_the_beginning() {
        let space = empty();
        assert_eq!([4, 1, 3].map(|n| space.allocate(n, Use::Tree)), [1, 5, 6]);
        space.release(page(5, 1), Use::Tree);
        space.begin();
        assert_eq!(space.allocate(2, Use::Checkpoint), 9, "unit 5 is too small");
        assert_eq!(space.allocate(1, Use::Checkpoint), 5, "the file does not grow for it");
        space.abandon();
        space.begin();
        assert_eq!(space.allocate(1, Use::Checkpoint), 11);
    }

    #[test]
    fn a_unit_comes_back_when_two_generations_are_past_it() {
        let space = empty();
        let checkpoint = |release: Option<PagePtr>| {
            space.begin();
            if let Some(page) = release {
                space.release(page, Use::Checkpoint);
            }
            let unit = space.allocate(1, Use::Checkpoint);
            space.settle();
            page(unit, 1)
        };
        let first = checkpoint(None);
        let second = checkpoint(Some(first));
        let third = checkpoint(Some(second));
        assert_eq!([first, second, third].map(|p| p.unit), [1, 2, 3]);
        assert_eq!(checkpoint(Some(third)).unit, 1, "no superblock refers to it");
    }

    #[test]
    fn what_others_release_while_a_checkpoint_runs_stays_in_it_and_what_they_write_does_not() {
        let space = empty();
        let unit = space.allocate(1, Use::Tree);
        space.begin();
        space.release(page(unit, 1), Use::Tree);
        let cleaned = space.allocate(1, Use::Tree);
        let (next, units) = space.next();
        assert!(next.has(unit) && !next.has(cleaned) && units == 3);
        space.settle();
        assert_ne!(space.allocate(1, Use::Tree), unit);
    }

    #[test]
    fn a_hold_keeps_a_generation() {
        let space = empty();
        space.begin();
        let unit = space.allocate(1, Use::Checkpoint);
        space.settle();
        let (hold, kept) = space.hold();
        assert!(kept.has(unit));
        space.release(page(unit, 1), Use::Tree);
        for _ in 0..3 {
            space.begin();
            space.settle();
        }
        assert_eq!(space.allocate(1, Use::Tree), 2);
        space.let_go(hold);
        space.begin();
        assert_eq!(space.allocate(1, Use::Checkpoint), unit);
    }

    #[test]
    #[should_panic(expected = "released twice")]
    fn a_page_is_released_once() {
        let space = empty();
        let unit = space.allocate(1, Use::Tree);
        space.release(page(unit, 1), Use::Tree);
        space.release(page(unit, 1), Use::Tree);
    }

    /// Random scripts against sets of single units.
    #[test]
    fn nothing_in_use_is_ever_given_away() {
        for seed in 1..60_u64 {
            script(seed);
        }
    }

    fn script(seed: u64) {
        let mut chance = seed;
        let mut below = |bound: u64| {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            chance % bound
        };
        let space = empty();
        let mut pages: Vec<PagePtr> = Vec::new();
        let mut generations: [BTreeSet<u64>; 2] = Default::default();
        // The pages of the running checkpoint.
        let mut running: Option<Vec<PagePtr>> = None;
        let units = |pages: &[PagePtr]| -> BTreeSet<u64> {
            pages.iter().flat_map(|p| p.unit..p.unit + u64::from(p.units)).collect()
        };
        for _ in 0..300 {
            match below(10) {
                0..5 => {
                    let most = if below(9) == 0 { 150 } else { 6 };
                    let count = 1 + below(most) as u16;
                    let whose = match running.is_some() && below(2) == 0 {
                        true => Use::Checkpoint,
                        false => Use::Tree,
                    };
                    let new = page(space.allocate(count, whose), count);
                    let taken = units(&[new]);
                    let in_use = units(&pages);
                    let in_next = running.as_deref().map(units).unwrap_or_default();
                    for used in [&in_use, &in_next, &generations[0], &generations[1]] {
                        assert!(used.is_disjoint(&taken), "seed {seed}");
                    }
                    pages.push(new);
                    if whose == Use::Checkpoint {
                        running.as_mut().expect("it runs").push(new);
                    }
                }
                5..8 if !pages.is_empty() => {
                    let old = pages.swap_remove(below(pages.len() as u64) as usize);
                    match running.as_mut().filter(|next| next.contains(&old) && below(2) == 0) {
                        Some(next) => {
                            next.retain(|p| *p != old);
                            space.release(old, Use::Checkpoint);
                        }
                        None => space.release(old, Use::Tree),
                    }
                }
                8 => match running.take() {
                    None => {
                        running = Some(pages.clone());
                        space.begin();
                    }
                    Some(next) => {
                        let (bits, _) = space.next();
                        let bits: BTreeSet<u64> =
                            (1..bits.end()).filter(|u| bits.has(*u)).collect();
                        assert_eq!(bits, units(&next), "seed {seed}");
                        space.settle();
                        generations = [bits, generations[0].clone()];
                    }
                },
                _ => {
                    if running.take().is_some() {
                        space.abandon();
                    }
                    let end = space.shrink();
                    let all = [units(&pages), generations[0].clone(), generations[1].clone()];
                    let last = all.iter().filter_map(|s| s.last()).max().map_or(1, |u| u + 1);
                    assert!(end.is_none_or(|end| end == last), "seed {seed}: {end:?} {last}");
                }
            }
        }
        let (all, tree, free) = space.counts();
        assert_eq!(tree, units(&pages).len() as u64 + 1);
        assert!(tree + free <= all);
    }
}
