//! Which units of `data.pages` are free.
//!
//! A unit is free if nobody uses it: not the newest generation on disk, not the one before it with
//! what its journal loads, not the checkpoint that runs, no hold and no claim. Each of them is a
//! set of its own and free is what is in none, so nothing has to be remembered about why a unit is
//! not free yet, or when it will be. The tree in memory refers to nothing but pages of the newest
//! generation, of that checkpoint, and of claims.

use std::sync::{Mutex, MutexGuard, PoisonError, Weak};

use super::Bits;
use crate::page::{Claim, PagePtr};

/// Free and used units. Locked for moments, never across a wait.
#[derive(Debug)]
pub struct Space {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What the running checkpoint will refer to. Unit 0 is in every set: no page is there.
    next: Option<Bits>,
    /// What was loaded since the newest generation, of what the running checkpoint took over.
    adopted: Bits,
    /// What the newest superblock refers to.
    newest: Bits,
    /// What the one before refers to, and what its journal loads up to the newest.
    before: Bits,
    /// Whether all of these loads are known.
    knows_loads: bool,
    holds: Vec<(u64, Bits)>,
    held: u64,
    /// What was written beside all checkpoints and no generation uses yet, with what tells whether
    /// anybody still wants it.
    claims: Vec<(Weak<()>, Bits)>,
    /// Whether the end of the file is being cut off.
    cutting: bool,
    /// Where the search for a free unit goes on.
    cursor: u64,
    /// So many free units in a row were not found by this checkpoint, so it does not look for them
    /// again.
    scarce: u64,
    /// Units in the file.
    units: u64,
    /// Units below this one are taken first, so that the file can be cut there. 0 for none.
    below: u64,
    /// As `scarce`, of those units.
    scarce_below: u64,
}

impl Space {
    /// The space of a database whose superblocks refer to `newest` and `before`, in a file of
    /// `units` units.
    pub fn new(mut newest: Bits, before: Bits, units: u64) -> Space {
        newest.add(0, 1);
        let units = units.max(newest.end()).max(before.end());
        let (next, holds, held, claims) = (None, Vec::new(), 0, Vec::new());
        let (adopted, knows_loads) = (Bits::default(), false);
        let (cursor, scarce, cutting) = (1, u64::MAX, false);
        let (below, scarce_below) = (0, u64::MAX);
        let state = State {
            next,
            adopted,
            newest,
            before,
            knows_loads,
            holds,
            held,
            claims,
            cutting,
            cursor,
            scarce,
            units,
            below,
            scarce_below,
        };
        Space { state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A checkpoint begins. It refers to what the newest generation does, until it says otherwise.
    pub fn begin(&self) {
        let mut state = self.state();
        assert!(state.next.is_none(), "one checkpoint at a time");
        state.forget_claims();
        state.next = Some(state.newest.clone());
        // Low units first: what lies behind the last used one can be cut off.
        (state.cursor, state.scarce, state.scarce_below) = (1, u64::MAX, u64::MAX);
    }

    /// Whether a checkpoint runs.
    pub fn is_running(&self) -> bool {
        self.state().next.is_some()
    }

    /// Takes `units` free units in a row for the running checkpoint, growing the file if there are
    /// none. Returns the first.
    pub fn allocate(&self, units: u16) -> u64 {
        self.state().give(u64::from(units))
    }

    /// The running checkpoint does not refer to `page` any more.
    pub fn release(&self, page: PagePtr) {
        let (first, count) = (page.unit, u64::from(page.units));
        assert!(self.state().running().take(first, count), "{page:?} is released twice");
    }

    /// Takes room for the page that counts the used units, `size` of so many, for the running
    /// checkpoint. Returns its first unit, what the checkpoint refers to then, and how many units
    /// the file has.
    pub fn allocate_for_itself(&self, size: impl FnOnce(u64) -> u16) -> (u64, Bits, u64) {
        let state = &mut *self.state();
        let count = u64::from(size(state.units));
        let first = state.give(count);
        (first, state.running().clone(), state.units)
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
        // Should the newest generation be damaged, the one before is told of these loads by the
        // journal, whatever has been written over them since.
        let loaded = std::mem::take(&mut state.adopted);
        state.before.join(&loaded);
        state.knows_loads = true;
    }

    /// The running checkpoint will never be. Nobody refers to what was written for it.
    pub fn abandon(&self) {
        let mut state = self.state();
        (state.next, state.adopted) = (None, Bits::default());
    }

    /// Adds `units` free units in a row to `claim`, behind those it has, growing the file if there
    /// are none. Returns the first; `None` while the end of the file is being cut off.
    pub fn extend(&self, claim: &mut Claim, units: u64) -> Option<u64> {
        let state = &mut *self.state();
        if state.cutting {
            return None;
        }
        let first = state.run(claim.end(), state.units, units);
        let first = first.unwrap_or_else(|| state.end_of_use());
        always_free(state, first, units);
        state.units = state.units.max(first + units);
        claim.add(first, units);
        let life = claim.life();
        match state.claims.iter_mut().find(|(known, _)| known.ptr_eq(&life)) {
            Some((_, bits)) => bits.add(first, units),
            None => {
                let mut bits = Bits::default();
                bits.add(first, units);
                state.claims.push((life, bits));
            }
        }
        Some(first)
    }

    /// Nobody is given the units of `claim` for as long as it lives: what lies in them was written
    /// by another process, and its journal says so.
    pub fn keep(&self, claim: &Claim) {
        let mut bits = Bits::default();
        claim.rows().iter().for_each(|(first, count)| bits.add(*first, *count));
        let mut state = self.state();
        state.units = state.units.max(bits.end());
        state.claims.push((claim.life(), bits));
    }

    /// The running checkpoint refers to the units of `claim`.
    pub fn adopt(&self, claim: &Claim) {
        let mut state = self.state();
        for (first, count) in claim.rows() {
            state.running().add(*first, *count);
            state.adopted.add(*first, *count);
        }
    }

    /// Whether it is known what the journal loads between the two generations on disk. If not,
    /// [`Space::loaded_before`] is to be told before anything is given away.
    pub fn knows_loads(&self) -> bool {
        self.state().knows_loads
    }

    /// The journal has these loads between the two generations on disk.
    pub fn loaded_before(&self, claims: &[Claim]) {
        let mut state = self.state();
        for (first, count) in claims.iter().flat_map(Claim::rows) {
            state.before.add(*first, *count);
        }
        state.units = state.units.max(state.before.end());
        state.knows_loads = true;
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

    /// Units in the file, how many of them the newest generation uses, and how many are free.
    pub fn counts(&self) -> (u64, u64, u64) {
        let state = self.state();
        let words = state.units.div_ceil(64) as usize;
        let used: u64 = (0..words).map(|w| u64::from(state.used(w).count_ones())).sum();
        (state.units, state.newest.count(), state.units - used)
    }

    /// Units below `limit` are taken before any other from now on, wherever they are; 0 ends that.
    pub fn prefer_below(&self, limit: u64) {
        let mut state = self.state();
        (state.below, state.scarce_below) = (limit, u64::MAX);
    }

    /// The first unit behind all that anybody uses.
    pub fn end(&self) -> u64 {
        self.state().sets().map(Bits::end).max().unwrap_or(1)
    }

    /// Forgets the free units at the file's end, if there are any: the file can be cut to the
    /// number of units returned, and then [`Space::was_cut`] is to be told. Nothing is cut while
    /// there are claims, whose owners write as they like.
    pub fn shrink(&self) -> Option<u64> {
        let mut state = self.state();
        state.forget_claims();
        if !state.claims.is_empty() {
            return None;
        }
        let end = state.sets().map(Bits::end).max().unwrap_or(1);
        (end < state.units).then(|| {
            state.units = end;
            state.cursor = state.cursor.min(end);
            state.cutting = true;
            end
        })
    }

    /// The file was cut, or was not and never will be.
    pub fn was_cut(&self) {
        self.state().cutting = false;
    }
}

impl State {
    fn running(&mut self) -> &mut Bits {
        self.next.as_mut().expect("a checkpoint runs")
    }

    fn sets(&self) -> impl Iterator<Item = &Bits> {
        let holds = self.holds.iter().map(|(_, bits)| bits);
        let claims = self.claims.iter().map(|(_, bits)| bits);
        [&self.newest, &self.before].into_iter().chain(&self.next).chain(holds).chain(claims)
    }

    /// Lets go of what nobody wants any more.
    fn forget_claims(&mut self) {
        self.claims.retain(|(life, _)| life.strong_count() > 0);
    }

    /// Gives `count` units in a row to the running checkpoint.
    fn give(&mut self, count: u64) -> u64 {
        let first = self.find(count);
        always_free(self, first, count);
        self.running().add(first, count);
        self.cursor = first + count;
        self.units = self.units.max(first + count);
        first
    }

    fn used(&self, word: usize) -> u64 {
        self.sets().fold(0, |used, set| used | set.word(word))
    }

    /// The first of `count` free units in a row: behind the cursor, else before it, else at the end
    /// of the file.
    fn find(&mut self, count: u64) -> u64 {
        if count < self.scarce_below.min(self.scarce) && self.below > 0 {
            if let Some(first) = self.run_before(self.below.min(self.units), count) {
                return first;
            }
            self.scarce_below = count;
        }
        if count < self.scarce {
            let run = self.run_before(self.units, count);
            if let Some(first) = run {
                return first;
            }
            self.scarce = count;
        }
        self.end_of_use()
    }

    /// The first unit behind all that are used.
    fn end_of_use(&self) -> u64 {
        // What is free at the end is the beginning of it.
        let mut first = self.units;
        while first > 1 && !self.is_used(first - 1) {
            first -= 1;
        }
        first
    }

    /// As [`State::run`], before `end`: behind the cursor, else before it.
    fn run_before(&self, end: u64, count: u64) -> Option<u64> {
        let cursor = self.cursor.min(end);
        let behind = self.run(cursor.max(1), end, count);
        behind.or_else(|| self.run(1, (cursor + count).min(end), count))
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
        space.begin();
        assert_eq!([4, 1, 3].map(|n| space.allocate(n)), [1, 5, 6]);
        space.release(page(5, 1));
        assert_eq!(space.allocate(2), 9);
        space.settle();
        space.begin();
        assert_eq!(space.allocate(2), 11, "unit 5 is too small");
        assert_eq!(space.allocate(1), 5, "the file does not grow for it");
        space.abandon();
        let space = empty();
        space.begin();
        space.allocate(9);
        space.abandon();
        space.begin();
        assert_eq!(space.allocate(1), 1, "nobody refers to what was abandoned");
    }

    #[test]
    fn a_unit_comes_back_when_two_generations_are_past_it() {
        let space = empty();
        let checkpoint = |release: Option<PagePtr>| {
            space.begin();
            release.iter().for_each(|page| space.release(*page));
            let unit = space.allocate(1);
            space.settle();
            page(unit, 1)
        };
        let first = checkpoint(None);
        let second = checkpoint(Some(first));
        let third = checkpoint(Some(second));
        assert_eq!([first, second, third].map(|p| p.unit), [1, 2, 3]);
        assert_eq!(checkpoint(Some(third)).unit, 1, "no superblock refers to it");
        assert_eq!(space.counts(), (4, 2, 1));
    }

    #[test]
    fn a_load_stays_while_the_generation_before_it_may_be_needed() {
        let space = empty();
        let mut claim = Claim::default();
        assert_eq!(space.extend(&mut claim, 3), Some(1));
        space.begin();
        space.adopt(&claim);
        // It was changed, or cleared away, before any generation had it.
        space.release(page(1, 3));
        drop(claim);
        assert_eq!(space.allocate(1), 4);
        space.settle();
        space.begin();
        assert_eq!(space.allocate(1), 5, "generation 0 and its journal need it");
        space.settle();
        space.begin();
        assert_eq!(space.allocate(1), 1, "nobody does");
    }

    #[test]
    fn a_hold_keeps_a_generation() {
        let space = empty();
        space.begin();
        let unit = space.allocate(1);
        space.settle();
        let (hold, kept) = space.hold();
        assert!(kept.has(unit));
        for round in 0..3 {
            space.begin();
            if round == 0 {
                space.release(page(unit, 1));
            }
            space.settle();
        }
        space.begin();
        assert_eq!(space.allocate(1), 2);
        space.let_go(hold);
        space.abandon();
        space.begin();
        assert_eq!(space.allocate(1), unit);
    }

    #[test]
    #[should_panic(expected = "released twice")]
    fn a_page_is_released_once() {
        let space = empty();
        space.begin();
        let unit = space.allocate(1);
        space.release(page(unit, 1));
        space.release(page(unit, 1));
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
        let units = |pages: &[PagePtr]| -> BTreeSet<u64> {
            pages.iter().flat_map(|p| p.unit..p.unit + u64::from(p.units)).collect()
        };
        let space = empty();
        // The pages of the newest generation, of the one before, and of the running checkpoint.
        let (mut newest, mut before) = (Vec::new(), Vec::new());
        for _ in 0..40 {
            let mut next: Vec<PagePtr> = newest.clone();
            space.begin();
            for _ in 0..below(20) {
                if below(2) == 0 && !next.is_empty() {
                    space.release(next.swap_remove(below(next.len() as u64) as usize));
                    continue;
                }
                let most = if below(9) == 0 { 150 } else { 6 };
                let count = 1 + below(most) as u16;
                let new = page(space.allocate(count), count);
                for used in [&newest, &before, &next] {
                    assert!(units(used).is_disjoint(&units(&[new])), "seed {seed}");
                }
                next.push(new);
            }
            let (bits, all) = space.next();
            let found: BTreeSet<u64> = (1..bits.end()).filter(|u| bits.has(*u)).collect();
            assert_eq!(found, units(&next), "seed {seed}");
            if below(4) == 0 {
                space.abandon();
            } else {
                space.settle();
                before = std::mem::replace(&mut newest, next);
            }
            let used: BTreeSet<u64> = units(&newest).union(&units(&before)).copied().collect();
            let free = space.counts().2;
            assert_eq!(free + used.len() as u64 + 1, all, "seed {seed}");
            let end = used.last().map_or(1, |last| last + 1);
            assert_eq!(space.shrink(), (end < all).then_some(end), "seed {seed}");
        }
    }
}
