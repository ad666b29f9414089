//! Who did what, in order, while a world runs: written down when a run is recorded, given out when
//! a case is played, and asked by strikes that wait for it. In a run that is neither it is nothing.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
    time::Duration,
};

use orloj_kernel::{Context, JoinHandle};
use orloj_sim::{Control, Scheduler};

use super::{Anchor, Case, Clock, Origin, Script, Step, Strike};
use crate::{nemesis::Blow, node::NODE, recorder::now};

/// How much longer than its least duration the chaos of a case may last.
const PATIENCE: Duration = Duration::from_secs(5);

/// Shared by everybody in the world. Nothing is held across an await.
pub struct Ledger {
    mode: Mode,
    inner: Mutex<Inner>,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("mode", &self.mode).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Off,
    Records,
    Plays,
}

/// A client, the number of its step, and whether that has ended.
type Event = (u32, u32, bool);

/// A step that was given out, and its number.
pub(crate) type Taken = (u32, Step);

/// What a world is made of besides what happens in it.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    pub(crate) world: toml::Table,
    pub(crate) clocks: Vec<Clock>,
    pub(crate) clients: Vec<Script>,
}

#[derive(Default)]
struct Inner {
    reached: BTreeSet<Event>,
    wakers: Vec<Waker>,
    // Of a run that is recorded.
    noted: Noted,
    strikes: Vec<Strike>,
    ids: u32,
    last: Option<(Event, u64)>,
    // Of a case that is played.
    left: Vec<VecDeque<Step>>,
    taken: BTreeMap<u32, u32>,
    under_way: BTreeSet<(u32, u32)>,
    /// Strikes, and whether each is over.
    waiting: Vec<(When, bool)>,
}

/// When a strike of a case comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Start,
    Event(Event),
    Writes(u64),
    Syncs(u64),
}

impl Ledger {
    fn new(mode: Mode, inner: Inner) -> Arc<Ledger> {
        Arc::new(Ledger { mode, inner: Mutex::new(inner) })
    }

    /// Of a run that nobody writes down.
    pub(crate) fn off() -> Arc<Ledger> {
        Ledger::new(Mode::Off, Inner::default())
    }

    /// Of a run that is to become a case.
    pub fn recording() -> Arc<Ledger> {
        Ledger::new(Mode::Records, Inner::default())
    }

    /// Of a case that is played.
    pub(crate) fn playing(case: &Case) -> Arc<Ledger> {
        let left = case.clients.iter().map(|client| client.steps.iter().cloned().collect());
        let event = |id, ended| {
            // What no step has is never reached.
            let (client, number) = case.place_of(id).unwrap_or((u32::MAX, 0));
            When::Event((client, number, ended))
        };
        let when = |strike: &Strike| match strike.after {
            Anchor::Start => When::Start,
            Anchor::Sends(id) => event(id, false),
            Anchor::Hears(id) => event(id, true),
            Anchor::Writes(n) => When::Writes(n),
            Anchor::Syncs(n) => When::Syncs(n),
        };
        let waiting = case.strikes.iter().map(|strike| (when(strike), false)).collect();
        let strikes = case.strikes.clone();
        let inner = Inner { left: left.collect(), waiting, strikes, ..Inner::default() };
        Ledger::new(Mode::Plays, inner)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether what happens is given, not drawn.
    pub(crate) fn plays(&self) -> bool {
        self.mode == Mode::Plays
    }

    /// Whether what happens is to be written down.
    pub(crate) fn records(&self) -> bool {
        self.mode == Mode::Records
    }

    // What clients and the nemesis say.

    /// What the world is made of.
    pub(crate) fn begins(&self, noted: impl FnOnce() -> Noted) {
        if self.records() {
            self.inner().noted = noted();
        }
    }

    /// A client is about to do this next.
    pub(crate) fn notes(&self, client: u32, step: impl FnOnce() -> Step) {
        if !self.records() {
            return;
        }
        let mut inner = self.inner();
        let id = inner.ids;
        inner.ids += 1;
        let clients = &mut inner.noted.clients;
        if clients.len() <= client as usize {
            clients.resize_with(client as usize + 1, Script::default);
        }
        clients[client as usize].steps.push(Step { id, ..step() });
    }

    /// There is more to say of what a client did last.
    pub(crate) fn amends(&self, client: u32, how: impl FnOnce(&mut Step)) {
        if self.records()
            && let Some(script) = self.inner().noted.clients.get_mut(client as usize)
            && let Some(step) = script.steps.last_mut()
        {
            how(step);
        }
    }

    /// How many steps of a client were written down.
    pub(crate) fn noted(&self, client: u32) -> u32 {
        let inner = self.inner();
        inner.noted.clients.get(client as usize).map_or(0, |script| script.steps.len() as u32)
    }

    /// Something strikes now.
    pub(crate) fn struck(&self, blow: &Blow) {
        if !self.records() {
            return;
        }
        let mut inner = self.inner();
        let (mut after, mut wait) = (Anchor::Start, now().0);
        if let Some(((client, number, ended), at)) = inner.last {
            let step = &inner.noted.clients[client as usize].steps[number as usize];
            after = if ended { Anchor::Hears(step.id) } else { Anchor::Sends(step.id) };
            wait = now().0 - at;
        }
        inner.strikes.push(Strike { after, wait, blow: blow.clone(), necessary: false });
    }

    /// A client has begun its step of that number.
    pub(crate) fn sent(&self, client: u32, number: u32) {
        self.reach((client, number, false));
    }

    /// It has heard what came of it, or that nothing did.
    pub(crate) fn ended(&self, client: u32, number: u32) {
        self.reach((client, number, true));
    }

    fn reach(&self, event: Event) {
        if self.mode == Mode::Off {
            return;
        }
        let (client, number, ended) = event;
        let mut inner = self.inner();
        match self.mode {
            Mode::Records => {
                let script = inner.noted.clients.get(client as usize);
                if script.is_some_and(|script| script.steps.len() > number as usize) {
                    inner.last = Some((event, now().0));
                }
            }
            _ => {
                if ended {
                    inner.under_way.remove(&(client, number));
                }
                inner.reached.insert(event);
                let wakers = std::mem::take(&mut inner.wakers);
                drop(inner);
                wakers.into_iter().for_each(Waker::wake);
            }
        }
    }

    // What a case that is played gives out.

    /// The next step of a client, if it is of this kind.
    pub(crate) fn next(&self, client: u32, closing: bool) -> Option<Taken> {
        let mut inner = self.inner();
        let left = inner.left.get_mut(client as usize)?;
        let step = left.pop_front_if(|step| step.closing == closing)?;
        let taken = inner.taken.entry(client).or_default();
        let number = *taken;
        *taken += 1;
        inner.under_way.insert((client, number));
        Some((number, step))
    }

    /// Passes over a step of a client that was for the chaos, when that is over.
    pub(crate) fn skips(&self, client: u32) -> bool {
        let mut inner = self.inner();
        let Some(left) = inner.left.get_mut(client as usize) else { return false };
        if left.pop_front_if(|step| !step.closing).is_none() {
            return false;
        }
        *inner.taken.entry(client).or_default() += 1;
        true
    }

    /// The next steps of a client that go out together; none when it has done all.
    pub(crate) fn batch(&self, client: u32) -> Vec<Taken> {
        let mut batch: Vec<Taken> = self.next(client, false).into_iter().collect();
        let joins = || {
            let inner = self.inner();
            let front = inner.left.get(client as usize).and_then(VecDeque::front);
            front.is_some_and(|step| step.with && !step.closing)
        };
        while !batch.is_empty() && joins() {
            batch.extend(self.next(client, false));
        }
        batch
    }

    /// What strikes, and when.
    pub(crate) fn strikes(&self) -> Vec<(When, Strike)> {
        let inner = self.inner();
        inner.waiting.iter().map(|(when, _)| *when).zip(inner.strikes.iter().cloned()).collect()
    }

    /// Waits until it is time for a strike.
    pub(crate) async fn until(&self, when: When) {
        match when {
            When::Start => {}
            When::Writes(n) => Control.until_disk(NODE, |done| done.writes >= n).await,
            When::Syncs(n) => Control.until_disk(NODE, |done| done.syncs >= n).await,
            When::Event(event) => {
                poll_fn(|task| {
                    let mut inner = self.inner();
                    if inner.reached.contains(&event) {
                        return Poll::Ready(());
                    }
                    inner.wakers.push(task.waker().clone());
                    Poll::Pending
                })
                .await;
            }
        }
    }

    /// A strike is over.
    pub(crate) fn is_over(&self, strike: usize) {
        self.inner().waiting[strike].1 = true;
    }

    /// Whether nothing goes on, and nothing that goes on would bring a strike.
    fn is_spent(&self) -> bool {
        let inner = self.inner();
        let chaotic = |steps: &VecDeque<Step>| steps.front().is_some_and(|step| !step.closing);
        let comes = |(when, over): &(When, bool)| match when {
            _ if *over => false,
            When::Start => true,
            When::Event(event) => inner.reached.contains(event),
            // It may never get so far.
            When::Writes(_) | When::Syncs(_) => false,
        };
        inner.under_way.is_empty()
            && !inner.left.iter().any(chaotic)
            && !inner.waiting.iter().any(comes)
    }

    /// What was written down, as a case.
    pub fn case(&self, title: &str, law: &str, history: Origin, mutant: Option<&str>) -> Case {
        let mut inner = self.inner();
        let Noted { world, clocks, clients } = std::mem::take(&mut inner.noted);
        Case {
            title: title.to_owned(),
            about: Vec::new(),
            law: law.to_owned(),
            mutant: mutant.map(str::to_owned),
            fixed_by: None,
            scheduler: Scheduler::Random,
            history,
            world,
            clocks,
            clients,
            strikes: std::mem::take(&mut inner.strikes),
        }
    }
}

/// Lets the chaos last: as long as was drawn or, of a case, until everybody has done what he was
/// to do.
pub(crate) async fn chaos(
    cx: Context,
    ledger: &Ledger,
    least: Duration,
    nemesis: &[JoinHandle<()>],
) {
    cx.sleep(least).await;
    if ledger.plays() {
        let end = cx.now() + PATIENCE;
        while !ledger.is_spent() && cx.now() < end {
            cx.sleep(Duration::from_micros(500)).await;
        }
    }
    nemesis.iter().for_each(JoinHandle::abort);
}
