//! Commits: checks and writes of any number of keys, all or nothing.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    hint::black_box,
    ops::Range,
    sync::{Arc, MutexGuard, RwLockReadGuard, RwLockWriteGuard},
};

use super::{
    Attempt, Keyspace, Pause, Tree,
    descend::{FoundLeaf, Step, To, descend, find_leaf},
    keyspace::Roots,
    load::Miss,
    node::{Child, Inner},
    slot::{Body, Content, LeafSlot, LeafState},
    split::Write,
    whole::Change,
    write::check_sizes,
};
use crate::{
    Error, KeyspaceId, Lsn,
    locks::{Owner, Place},
    page::{Fence, FenceBuf, Held, NEWEST, Slot},
    record::Op,
};

/// Leaves whose memory is fetched before the first of them is searched.
const AHEAD: usize = 16;

/// What must be so for a commit to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check<'a> {
    /// Nobody has written the key since.
    Unchanged {
        /// Where.
        keyspace: KeyspaceId,
        /// Which.
        key: &'a [u8],
        /// The version of a snapshot that is held until after the commit.
        since: Lsn,
    },
    /// Nobody has written any key of the range since.
    RangeUnchanged {
        /// Where.
        keyspace: KeyspaceId,
        /// The first key.
        from: &'a [u8],
        /// The first key behind the range; `None` for all there are.
        to: Option<&'a [u8]>,
        /// The version of a snapshot that is held until after the commit.
        since: Lsn,
    },
    /// The key has this version; 0 if it must not be there.
    VersionIs {
        /// Where.
        keyspace: KeyspaceId,
        /// Which.
        key: &'a [u8],
        /// The version, or 0.
        expected: Lsn,
        /// An entry with a deadline of at most this (Unix ms) is not there.
        now: u64,
    },
    /// Nobody but this owner has a lock on what is written. Unless it is asked for, nobody at all
    /// may have one.
    Owner(Owner),
    /// Nothing of what was read has been taken back.
    Intact {
        /// The newest version that was read.
        at: Lsn,
        /// What [`times_taken_back`](crate::snapshots::Snapshots::times_taken_back) said before.
        times: usize,
    },
}

impl<'a> Check<'a> {
    /// The keyspace it looks into and from where to where, or to the end; `None` if it is not about
    /// keys.
    fn range(&self) -> Option<(KeyspaceId, Fence<'a>, Option<Fence<'a>>)> {
        match *self {
            Check::Unchanged { keyspace, key, .. } | Check::VersionIs { keyspace, key, .. } => {
                Some((keyspace, Fence::before(key), Some(Fence { key, version: Lsn(0) })))
            }
            Check::RangeUnchanged { keyspace, from, to, .. } => {
                Some((keyspace, Fence::before(from), to.map(Fence::before)))
            }
            Check::Owner(_) | Check::Intact { .. } => None,
        }
    }

    /// Up to which version changes do not matter.
    fn since(&self) -> Option<Lsn> {
        match *self {
            Check::Unchanged { since, .. } | Check::RangeUnchanged { since, .. } => Some(since),
            Check::VersionIs { .. } | Check::Owner(_) | Check::Intact { .. } => None,
        }
    }
}

/// A keyspace that a commit has to do with.
struct Space {
    keyspace: Arc<Keyspace>,
    roots: Arc<Roots>,
    change: Option<Change>,
}

/// A write and the keyspace it goes to, by its number in the plan.
struct Planned<'a> {
    space: usize,
    write: Write<'a>,
}

/// A leaf that a commit latches.
struct Leg {
    space: usize,
    /// Whether it is that of a root which the commit makes.
    fresh: bool,
    leaf: Whose,
    /// What the turn of its fences must be.
    turn: u32,
    /// Its fences, if any check is about a range of keys.
    fences: Option<(FenceBuf, Option<FenceBuf>)>,
    /// The writes of the plan that go there.
    writes: Range<usize>,
    exclusive: bool,
}

/// A leaf as it was found. Those that are written to are kept by their parents, which many have in
/// common and which are hot: counting one more who holds the leaf itself is a miss of the caches.
enum Whose {
    Parents(Arc<Inner>, usize),
    Own(Arc<LeafSlot>),
}

impl Leg {
    fn slot(&self) -> &Arc<LeafSlot> {
        match &self.leaf {
            Whose::Own(slot) => slot,
            Whose::Parents(node, at) => match node.child(*at) {
                Child::Leaf(slot, _) => slot,
                Child::Inner(..) => unreachable!("it is right above the leaves"),
            },
        }
    }

    fn lower(&self) -> Fence<'_> {
        self.fences.as_ref().expect("some check is about a range").0.get()
    }

    fn order(&self) -> (usize, bool, Fence<'_>) {
        (self.space, self.fresh, self.lower())
    }
}

enum Latched<'a> {
    Shared(RwLockReadGuard<'a, LeafState>),
    Exclusive(RwLockWriteGuard<'a, LeafState>),
}

impl Latched<'_> {
    /// As [`crate::page::Leaf::touch`].
    fn touch(&self) -> u8 {
        match &self.state().body {
            Body::Resident(content) => content.leaf.touch(),
            Body::OnDisk | Body::Gone => 0,
        }
    }

    /// As [`crate::page::Leaf::touch_entries`].
    fn aim(&self, key: Option<&[u8]>) -> u8 {
        match (self, key) {
            (Latched::Exclusive(state), Some(key)) => match &state.body {
                Body::Resident(content) => content.leaf.touch_entries(key),
                Body::OnDisk | Body::Gone => 0,
            },
            _ => 0,
        }
    }

    fn state(&self) -> &LeafState {
        match self {
            Latched::Shared(state) => state,
            Latched::Exclusive(state) => state,
        }
    }
}

/// What a commit is about to touch.
struct Plan<'a> {
    spaces: Vec<Space>,
    /// In the order of keyspaces and keys, the last write of each key only.
    writes: Vec<Planned<'a>>,
    legs: Vec<Leg>,
    /// As of when keys are looked for. The next version, where that is known to matter.
    newest: Lsn,
}

impl Tree {
    /// Does all of `writes` if all of `checks` hold, and nothing otherwise. What is written is
    /// assigned, not durable. Without writes the version returned is one at which the checks held.
    ///
    /// # Errors
    /// [`Error::Conflict`] names the first check that does not hold. Nothing happened on errors.
    pub fn commit(&self, checks: &[Check<'_>], writes: &[Op<'_>]) -> Attempt<Lsn> {
        let mut newest = NEWEST;
        loop {
            let plan = self.plan(checks, writes, newest);
            let step = plan.and_then(|plan| self.execute(plan, checks, writes));
            match step {
                Ok(version) => return Ok(version),
                Err(Step::Further(version)) => newest = version,
                Err(Step::Restart | Step::Load) => {}
                Err(Step::Structure) => drop(self.structure()),
                Err(Step::Pause(pause)) => return Err(pause),
            }
        }
    }

    fn plan<'a>(
        &self,
        checks: &[Check<'_>],
        ops: &[Op<'a>],
        newest: Lsn,
    ) -> Result<Plan<'a>, Step> {
        let mut spaces: Vec<Space> = Vec::new();
        let mut writes: Vec<Planned<'a>> = Vec::new();
        for (keyspace, ..) in checks.iter().filter_map(Check::range) {
            self.space(&mut spaces, keyspace)?;
        }
        for op in ops {
            let (keyspace, write) = match *op {
                Op::Put { keyspace, key, value, deadline } => {
                    check_sizes(key, value).map_err(Pause::from)?;
                    (keyspace, Write { key, value: Some(value), deadline })
                }
                Op::Delete { keyspace, key } => {
                    check_sizes(key, &[]).map_err(Pause::from)?;
                    (keyspace, Write { key, value: None, deadline: None })
                }
                Op::Clear(keyspace) => {
                    let space = self.space(&mut spaces, keyspace)?;
                    writes.retain(|planned| planned.space != space);
                    if spaces[space].change.is_none() {
                        spaces[space].change = Some(self.cleared(keyspace));
                    }
                    continue;
                }
                Op::Drop(keyspace) => {
                    let space = self.space(&mut spaces, keyspace)?;
                    writes.retain(|planned| planned.space != space);
                    spaces[space].change = Some(Change::Drop);
                    continue;
                }
                Op::Create { keyspace, name, keep } => {
                    let known = |space: &Space| {
                        space.keyspace.id() == keyspace || space.keyspace.name() == name
                    };
                    if spaces.iter().any(known) {
                        let name = name.into();
                        return Err(Pause::Failed(Error::KeyspaceExists { name }).into());
                    }
                    let (made, change) = self.made(keyspace, name, keep);
                    let roots = made.roots().clone();
                    spaces.push(Space { keyspace: made, roots, change: Some(change) });
                    continue;
                }
                Op::Clock(_) | Op::Applied(_) => continue,
                Op::Load { .. } => unreachable!("it comes alone: see Tree::load"),
            };
            let space = self.space(&mut spaces, keyspace)?;
            if matches!(spaces[space].change, Some(Change::Drop)) {
                return Err(no_keyspace(keyspace));
            }
            writes.push(Planned { space, write });
        }
        // Latches are taken in the order of keyspaces. Numbers in the plan follow that order.
        let mut order: Vec<usize> = (0..spaces.len()).collect();
        order.sort_by_key(|at| spaces[*at].keyspace.id());
        let mut place = vec![0; order.len()];
        order.iter().enumerate().for_each(|(new, old)| place[*old] = new);
        spaces.sort_by_key(|space| space.keyspace.id());
        writes.iter_mut().for_each(|planned| planned.space = place[planned.space]);
        writes.sort_by(|a, b| (a.space, a.write.key).cmp(&(b.space, b.write.key)));
        // The sort is stable: of several writes of a key the last counts.
        writes.reverse();
        writes
            .dedup_by(|later, kept| (later.space, later.write.key) == (kept.space, kept.write.key));
        writes.reverse();
        let legs = legs(&spaces, &writes, checks, newest)?;
        Ok(Plan { spaces, writes, legs, newest })
    }

    /// The number of a keyspace among those of a plan.
    fn space(&self, spaces: &mut Vec<Space>, id: KeyspaceId) -> Result<usize, Step> {
        if let Some(at) = spaces.iter().position(|space| space.keyspace.id() == id) {
            return Ok(at);
        }
        let keyspace = self.keyspace(id).map_err(|_| no_keyspace(id))?;
        let roots = keyspace.roots().clone();
        if roots.dropped {
            return Err(no_keyspace(id));
        }
        spaces.push(Space { keyspace, roots, change: None });
        Ok(spaces.len() - 1)
    }

    fn execute(&self, plan: Plan<'_>, checks: &[Check<'_>], ops: &[Op<'_>]) -> Result<Lsn, Step> {
        let mut latched = Vec::with_capacity(plan.legs.len());
        let mut missing = None;
        for (number, leg) in plan.legs.iter().enumerate() {
            if number % AHEAD == 0 {
                let ahead = plan.legs[number..].iter().take(AHEAD);
                black_box(ahead.fold(false, |any, leg| any | leg.slot().touch()));
            }
            let state = match leg.exclusive {
                true => Latched::Exclusive(leg.slot().write()),
                false => Latched::Shared(leg.slot().read()),
            };
            if state.state().turn != leg.turn || matches!(state.state().body, Body::Gone) {
                return Err(Step::Restart);
            }
            if leg.exclusive && matches!(state.state().content(leg.turn), Err(Step::Load)) {
                missing = Some(number);
                break;
            }
            latched.push(state);
        }
        for check in checks {
            if missing.is_some() {
                break;
            }
            match validate(&plan, &latched, check) {
                Ok(()) => {}
                Err(Lost::Missing(number)) => missing = Some(number),
                Err(Lost::Conflict(keyspace, key)) => {
                    return Err(Pause::Failed(Error::Conflict { keyspace, key }).into());
                }
            }
        }
        if let Some(number) = missing {
            drop(latched);
            return Err(miss(&plan, &plan.legs[number]));
        }
        self.check_locks(&plan, checks)?;
        let written = || plan.legs.iter().enumerate().filter(|(_, leg)| leg.exclusive);
        let mut tight = false;
        let mut splits = vec![false; plan.legs.len()];
        for (number, leg) in written() {
            let Latched::Exclusive(state) = &mut latched[number] else { unreachable!() };
            let content = state.resident();
            let (keyspace, range) = (&plan.spaces[leg.space].keyspace, &leg.writes);
            let need = |content: &Content| {
                let size =
                    |planned: &Planned<'_>| planned.write.size(&content.leaf, self.sizes.inline);
                plan.writes[range.clone()].iter().map(size).sum::<usize>()
            };
            let (count, bytes) = (range.len(), need(content));
            let fits = content.leaf.fits(count, bytes)
                || self.make_room(keyspace, content, bytes + count * Slot::SIZE)
                    && content.leaf.fits(count, bytes);
            splits[number] = !fits;
            tight |= !fits;
        }
        let restructures = plan.spaces.iter().any(|space| space.change.is_some());
        let structure = (tight || restructures).then(|| self.structure());
        let created = |space: &&Space| matches!(space.change, Some(Change::Create(_)));
        for space in plan.spaces.iter().filter(created) {
            self.check_new(&space.keyspace).map_err(Pause::from)?;
            self.check_number(&space.keyspace).map_err(Pause::from)?;
        }
        let next = self.tail.next()?;
        self.check_intact(checks).map_err(Pause::from)?;
        if plan.spaces.iter().any(|space| !space.keyspace.is_current(&space.roots)) {
            return Err(Step::Restart);
        }
        // Where versions were taken back, fences among those of a key may be newer than the next.
        for (number, leg) in written() {
            let Latched::Exclusive(state) = &mut latched[number] else { unreachable!() };
            let leaf = &state.resident().leaf;
            let holds = |planned: &Planned<'_>| leaf.holds(planned.write.key, next.version());
            if !plan.writes[leg.writes.clone()].iter().all(holds) {
                return Err(Step::Further(next.version()));
            }
        }
        if ops.is_empty() {
            return Ok(next.version().previous());
        }
        for space in &plan.spaces {
            if let Some(change) = &space.change {
                self.change(&space.keyspace, change, next.version());
            }
        }
        // Before anybody can see that version, a capture above all.
        self.note(ops, next.version());
        let history = history(ops, plan.writes.len());
        let ticket = next.assign(|record| {
            history.iter().enumerate().for_each(|(at, op)| op.write(record, at == 0));
        });
        let version = ticket.version;
        let mut batch = Vec::new();
        for (number, leg) in written() {
            if number % AHEAD == 0 {
                let ahead = latched[number..].iter().take(AHEAD);
                black_box(ahead.fold(0, |all, state| all ^ state.touch()));
                let ahead = latched[number..].iter().zip(&plan.legs[number..]).take(AHEAD);
                let first = |leg: &Leg| plan.writes.get(leg.writes.start).map(|p| p.write.key);
                black_box(ahead.fold(0, |all, (state, leg)| all ^ state.aim(first(leg))));
            }
            let writes = &plan.writes[leg.writes.clone()];
            let Latched::Exclusive(state) = &mut latched[number] else { unreachable!() };
            state.freeze(ticket);
            batch.clear();
            batch.extend(writes.iter().map(|planned| planned.write));
            if splits[number] {
                let more = self.spread(state, &batch, |_| version);
                let space = &plan.spaces[leg.space];
                let root = match (&space.change, leg.fresh) {
                    (Some(Change::Clear(root, _)), true) => root,
                    _ => &space.roots.top,
                };
                self.publish(root, leg.slot(), state, more, ticket);
            } else {
                let content = state.resident();
                batch.iter().for_each(|write| content.insert(write, version, self.sizes.inline));
            }
            state.changed(version);
        }
        if restructures {
            // Without files no capture ever comes by to do it.
            self.retire();
        }
        drop::<Option<MutexGuard<'_, ()>>>(structure);
        Ok(version)
    }

    /// Whether anybody else has a lock on what is written. The caller holds the latches.
    fn check_locks(&self, plan: &Plan<'_>, checks: &[Check<'_>]) -> Result<(), Pause> {
        if self.locks.is_empty() {
            return Ok(());
        }
        let owner = checks.iter().find_map(|check| match check {
            Check::Owner(owner) => Some(*owner),
            _ => None,
        });
        for Planned { space, write } in &plan.writes {
            let keyspace = plan.spaces[*space].keyspace.id();
            if self.locks.bars(owner, keyspace, write.key) {
                return Err(Pause::Locked(Place::new(keyspace, write.key)));
            }
        }
        Ok(())
    }

    /// Whether anything was taken back that a check rests on. The caller holds the tail, which is
    /// closed while that is done.
    fn check_intact(&self, checks: &[Check<'_>]) -> Result<(), Error> {
        for check in checks {
            if let Check::Intact { at, times } = *check {
                self.snapshots.check_since(times, at)?;
            }
        }
        Ok(())
    }

    /// Notes what is said of the whole database in `ops`.
    pub(super) fn note(&self, ops: &[Op<'_>], version: Lsn) {
        for op in ops {
            match *op {
                Op::Clock(now) => self.moments.tell(now, version),
                Op::Applied(position) => {
                    self.applied.raise(position, version, self.tail.last_written());
                }
                _ => {}
            }
        }
    }
}

/// What of `ops` goes into history: of several writes to one key the last. Replay would have the
/// first, as what is there at a version stays.
fn history<'a, 'b>(ops: &'b [Op<'a>], planned: usize) -> Cow<'b, [Op<'a>]> {
    let place = |op: &Op<'a>| match *op {
        Op::Put { keyspace, key, .. } | Op::Delete { keyspace, key } => Some((keyspace, key)),
        _ => None,
    };
    if ops.iter().filter_map(place).count() == planned {
        return Cow::Borrowed(ops);
    }
    let mut seen = BTreeSet::new();
    let later = ops.iter().rev().copied();
    let mut kept: Vec<_> =
        later.filter(|op| place(op).is_none_or(|place| seen.insert(place))).collect();
    kept.reverse();
    Cow::Owned(kept)
}

fn no_keyspace(id: KeyspaceId) -> Step {
    Pause::Failed(Error::NoKeyspace { name: id.to_string() }).into()
}

/// The leaves that writes and checks touch, each once, in the order in which they are latched.
fn legs(
    spaces: &[Space],
    writes: &[Planned<'_>],
    checks: &[Check<'_>],
    newest: Lsn,
) -> Result<Vec<Leg>, Step> {
    let mut legs: Vec<Leg> = Vec::new();
    let has_ranges = checks.iter().any(|check| check.range().is_some());
    let mut first = 0;
    while let Some(Planned { space, write }) = writes.get(first) {
        let space = *space;
        // Writes are in order: those behind it go to the same leaf, up to where that ends.
        let go_there = |upper: Option<Fence<'_>>| {
            let goes_there = |planned: &&Planned<'_>| {
                let here = Fence { key: planned.write.key, version: newest };
                planned.space == space && upper.is_none_or(|upper| here < upper)
            };
            first..first + 1 + writes[first + 1..].iter().take_while(goes_there).count()
        };
        let leg = match &spaces[space].change {
            Some(Change::Clear(_, leaf) | Change::Create(leaf)) => Leg {
                space,
                fresh: true,
                leaf: Whose::Own(leaf.clone()),
                turn: 0,
                fences: Some((Fence::FIRST.to_buf(), None)),
                writes: go_there(None),
                exclusive: true,
            },
            _ => {
                let here = Fence { key: write.key, version: newest };
                descend(&spaces[space].roots.top, To::At(here), |arrival| {
                    let (node, at) = arrival.in_parent();
                    let (lower, upper) = (arrival.lower(), arrival.upper());
                    let fences = has_ranges.then(|| (lower.to_buf(), upper.map(Fence::to_buf)));
                    Ok(Leg {
                        space,
                        fresh: false,
                        leaf: Whose::Parents(node, at),
                        turn: arrival.turn,
                        fences,
                        writes: go_there(upper),
                        exclusive: true,
                    })
                })?
            }
        };
        first = leg.writes.end;
        legs.push(leg);
    }
    let written = legs.len();
    for (keyspace, from, end) in checks.iter().filter_map(Check::range) {
        let space = spaces
            .binary_search_by_key(&keyspace, |space| space.keyspace.id())
            .expect("every check's keyspace is in the plan");
        let mut from = from.to_buf();
        loop {
            let found = find_leaf(&spaces[space].roots.top, To::At(from.get()))?;
            let FoundLeaf { slot, turn, lower, upper } = found;
            let next = upper.clone();
            legs.push(Leg {
                space,
                fresh: false,
                leaf: Whose::Own(slot),
                turn,
                fences: Some((lower, upper)),
                writes: 0..0,
                exclusive: false,
            });
            match next {
                Some(next) if end.is_none_or(|end| next.get() < end) => from = next,
                _ => break,
            }
        }
    }
    if legs.len() > written {
        // The sort is stable: of equal legs the one that writes comes first and stays.
        legs.sort_by(|a, b| a.order().cmp(&b.order()));
        legs.dedup_by(|later, first| Arc::ptr_eq(later.slot(), first.slot()));
    }
    Ok(legs)
}

/// Why a check does not hold or cannot be told.
enum Lost {
    Conflict(KeyspaceId, Vec<u8>),
    /// The leaf of this leg is not in memory.
    Missing(usize),
}

/// Looks whether a check holds, under the latches of all leaves it is about.
fn validate(plan: &Plan<'_>, latched: &[Latched<'_>], check: &Check<'_>) -> Result<(), Lost> {
    let Some((id, from, end)) = check.range() else { return Ok(()) };
    let space = plan.spaces.iter().position(|space| space.keyspace.id() == id);
    let space = space.expect("every check's keyspace is in the plan");
    let conflict = |key: &[u8]| Err(Lost::Conflict(id, key.to_vec()));
    if check.since().is_some_and(|since| plan.spaces[space].roots.since > since) {
        return conflict(from.key);
    }
    let first = plan.legs.partition_point(|leg| leg.order() <= (space, false, from)) - 1;
    for (number, leg) in plan.legs.iter().enumerate().skip(first) {
        let is_part = leg.space == space && !leg.fresh;
        if !is_part || end.is_some_and(|end| leg.lower() >= end) {
            break;
        }
        let state = latched[number].state();
        if check.since().is_some_and(|since| state.lsn <= since) {
            continue;
        }
        let Ok(content) = state.content(leg.turn) else { return Err(Lost::Missing(number)) };
        let leaf = &content.leaf;
        let start = match from > leaf.lower_fence() {
            true => leaf.seek(from.key, from.version).0,
            false => 0,
        };
        for entry in leaf.entries(start..leaf.count()) {
            let key = || [leaf.prefix(), entry.suffix].concat();
            let here = Fence { key: &key(), version: entry.version };
            if end.is_some_and(|end| here >= end) {
                break;
            }
            match *check {
                Check::VersionIs { expected, now, .. } => {
                    let is_there = !matches!(entry.held, Held::Tombstone)
                        && entry.deadline.is_none_or(|deadline| deadline > now);
                    let version = if is_there { entry.version } else { Lsn(0) };
                    return if version == expected { Ok(()) } else { conflict(from.key) };
                }
                Check::Unchanged { since, .. } | Check::RangeUnchanged { since, .. } => {
                    if entry.version > since {
                        return conflict(here.key);
                    }
                }
                Check::Owner(_) | Check::Intact { .. } => unreachable!("it is not about keys"),
            }
        }
    }
    match *check {
        Check::VersionIs { expected, .. } if expected != Lsn(0) => conflict(from.key),
        _ => Ok(()),
    }
}

fn miss(plan: &Plan<'_>, leg: &Leg) -> Step {
    let space = &plan.spaces[leg.space];
    let found = match &leg.fences {
        Some((lower, upper)) => Ok((leg.slot().clone(), lower.clone(), upper.clone())),
        None => {
            let key = plan.writes[leg.writes.start].write.key;
            let here = Fence { key, version: plan.newest };
            let found = find_leaf(&space.roots.top, To::At(here));
            found.map(|found| (found.slot, found.lower, found.upper))
        }
    };
    let (slot, lower, upper) = match found {
        Ok(found) => found,
        Err(step) => return step,
    };
    let upper = upper.as_ref().map(FenceBuf::get);
    let miss = Miss::of_leaf(&slot, space.keyspace.id(), lower.get(), upper);
    miss.map_or(Step::Restart, |miss| Step::Pause(Pause::Miss(miss)))
}
