//! Sequencer: the one place where commands are executed.
//!
//! A turn takes every batch of commands that waits, in order, executes each on the store in memory
//! and writes what it changed into records. Records and answers go down to the journal together.
//! What the turn is given beside the commands is one moment of time, so a record means the same
//! whenever it is read again.
//!
//! The store may be ahead of the journal, never of what clients are shown: in strict mode a read
//! waits like a write for what it saw to be durable. If the journal refuses a record, everything
//! from it on is undone, and until there is room again writes are refused here and no key expires,
//! since its end could not be written down.
//!
//! Invariant: the store is what the records up to `next` make of an empty one.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use orloj_kernel::{Actor, Addr, Context, Reply, Stop, buggify, mutant, sometimes};
use orloj_net::{Answer, Command, Refusal, UnixMs};
use orloj_storage::{Lsn, journal::Records};

use crate::{
    Durability, Observer, Seen,
    board::Board,
    clock::NodeClock,
    journal::{self, Append},
    slot::Slot,
    start::{Opening, Recovered},
    state::{State, Trail, Undo},
};

/// A turn's records go to the journal when they take this many bytes, and at its end.
const RECORDS_MAX: usize = 16 << 20;
/// Dead keys freed in one turn.
const SWEEP: usize = 256;

/// How often a restarted sequencer looks whether the journal has recovered.
const WAIT: Duration = Duration::from_millis(5);

/// Commands of one connection, in order, and room for their answers. It travels down with the
/// commands and back with the answers, so that neither vector is allocated twice.
#[derive(Debug, Default)]
pub(crate) struct Work {
    /// The connection, as CLIENT ID shows it.
    pub(crate) connection: u64,
    /// How many commands for the store the connection had sent before.
    pub(crate) ordinal: u64,
    pub(crate) commands: Vec<Command>,
    pub(crate) answers: Vec<Answer>,
    /// The newest version that an answer rests on.
    pub(crate) version: Lsn,
}

/// Work that is done, and who asked for it.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) work: Work,
    pub(crate) reply: Reply<Work>,
}

impl Waiting {
    /// Lets the answers go.
    pub(crate) fn release(self) {
        self.reply.send(self.work);
    }

    /// Tells the client that nothing of it was done.
    pub(crate) fn refuse(mut self) {
        for answer in &mut self.work.answers {
            *answer = Refusal::JournalFailed.into();
        }
        self.release();
    }
}

/// What the sequencer can be told.
#[derive(Debug)]
pub(crate) enum Msg {
    /// Carry out commands, and answer when the answers may be shown.
    Execute(Waiting),
    /// Free memory of keys that are gone.
    Sweep,
}

/// How to take back what the journal has not written yet.
#[derive(Debug)]
struct Unwritten {
    first: Lsn,
    last: Lsn,
    /// The store's clock behind it.
    clock: UnixMs,
    undo: Vec<Undo>,
}

pub(crate) struct Sequencer {
    /// Where the journal's start leaves the store it recovered.
    start: Opening,
    own: Slot<Addr<Msg>>,
    /// Absent when nothing is journalled.
    journal: Option<Addr<journal::Msg>>,
    board: Arc<Board>,
    durability: Durability,
    observer: Option<Arc<dyn Observer>>,
    state: State,
    /// The version of the next change.
    next: Lsn,
    clock: Option<NodeClock>,
    unwritten: VecDeque<Unwritten>,
    /// Expiry up to here cannot be undone any more.
    settled: UnixMs,
    records: Records,
    undo: Vec<Undo>,
    waiting: Vec<Waiting>,
    /// The version of the first record in `records`.
    first: Lsn,
    /// Which opening of the journal the store was recovered by.
    opening: u64,
}

impl Sequencer {
    pub(crate) fn new(
        start: Opening,
        own: Slot<Addr<Msg>>,
        journal: Option<Addr<journal::Msg>>,
        board: Arc<Board>,
        durability: Durability,
        observer: Option<Arc<dyn Observer>>,
    ) -> Sequencer {
        Sequencer {
            start,
            own,
            journal,
            board,
            durability,
            observer,
            state: State::new(0),
            next: Lsn(1),
            clock: None,
            unwritten: VecDeque::new(),
            settled: UnixMs(0),
            records: Records::new(),
            undo: Vec::new(),
            waiting: Vec::new(),
            first: Lsn(1),
            opening: 0,
        }
    }

    /// The version of the store as it is.
    fn version(&self) -> Lsn {
        self.next.previous()
    }

    /// Looks at how far the journal has come: forgets what cannot be undone any more, and undoes
    /// what was refused. Whether writes are taken.
    async fn follow_journal(&mut self, cx: &Context) -> Result<bool, Stop> {
        let Some(journal) = &self.journal else { return Ok(true) };
        let progress = self.board.progress();
        if let Some(from) = progress.refused {
            cx.trace(Self::NAME, format_args!("undoes {from} to {}", self.version()));
            sometimes!(cx, from < self.next, "sequencer: refused changes were undone");
            while let Some(last) = self.unwritten.pop_back_if(|u| u.first >= from) {
                self.state.undo(last.undo);
            }
            self.next = from;
            if let Some(observer) = &self.observer {
                observer.undone(from);
            }
            self.board.set_progress(|p| p.refused = None);
            journal.send(journal::Msg::Undone).await.map_err(|_| ended())?;
        }
        while let Some(written) = self.unwritten.pop_front_if(|u| u.last <= progress.written) {
            self.settled = self.settled.max(written.clock);
        }
        Ok(progress.room)
    }

    /// Waits for the store that the journal recovers.
    async fn take_over(
        &self,
        cx: &Context,
        journal: &Addr<journal::Msg>,
    ) -> Result<Recovered, Stop> {
        if self.start.is_spent() {
            // A life before this one has taken the store, and it is gone with it.
            journal.send(journal::Msg::Reopen).await.map_err(|_| ended())?;
        }
        loop {
            if let Some(recovered) = self.start.take_over() {
                return Ok(recovered);
            }
            cx.sleep(WAIT).await;
        }
    }

    fn time(&mut self, cx: &Context, takes_writes: bool) -> UnixMs {
        let clock = self.clock.as_mut().expect("the clock runs from the start on");
        let now = clock.now(cx);
        if takes_writes { now } else { self.state.before_next_due(now) }
    }

    fn execute(&mut self, cx: &Context, mut waiting: Waiting, now: UnixMs, takes_writes: bool) {
        let Work { connection, ordinal, commands, answers, version } = &mut waiting.work;
        let hidden_clock = mutant!(cx, "state.hidden_wall_clock");
        for (index, command) in commands.iter_mut().enumerate() {
            if !takes_writes && command.is_write() {
                answers.push(Refusal::JournalFailed.into());
                continue;
            }
            if self.observer.is_some() {
                command.fix_time(now);
            }
            let lived = if hidden_clock { UnixMs(cx.wall().millis()) } else { now };
            let changed = match self.journal {
                Some(_) => {
                    let (state, undo) = (&mut self.state, &mut self.undo);
                    self.records.push_if_any(|record| {
                        let mut trail = Trail::new(record, undo);
                        answers.push(state.execute(command, lived, &mut trail));
                        trail.changed()
                    })
                }
                None => {
                    let mut trail = Trail::none();
                    answers.push(self.state.execute(command, lived, &mut trail));
                    trail.changed()
                }
            };
            if changed {
                self.next = self.next.next();
            }
            *version = self.next.previous();
            if let (Some(observer), Some(answer)) = (&self.observer, answers.last()) {
                observer.executed(&Seen {
                    connection: *connection,
                    ordinal: *ordinal + index as u64,
                    command,
                    answer,
                    version: *version,
                    at: now,
                });
            }
        }
        commands.clear();
        self.board.count_commands(answers.len());
        if mutant!(cx, "sequencer.dropped_reply") && self.next.0 % 64 == 33 {
            std::mem::forget(waiting);
            return;
        }
        self.waiting.push(waiting);
    }

    /// Hands the turn's records and answers down.
    async fn pass_on(&mut self, cx: &Context) -> Result<(), Stop> {
        let Some(journal) = &self.journal else {
            self.settled = self.state.clock();
            self.waiting.drain(..).for_each(Waiting::release);
            return Ok(());
        };
        let durable = self.board.progress().durable;
        let safe = match self.durability {
            Durability::Strict => durable,
            Durability::Buffered | Durability::InMemory => self.board.progress().written,
        };
        let unsynced_read = mutant!(cx, "sequencer.unsynced_read");
        if self.records.is_empty() && (self.version() <= safe || unsynced_read) {
            self.waiting.drain(..).for_each(Waiting::release);
            return Ok(());
        }
        sometimes!(cx, self.records.is_empty(), "sequencer: reads waited for a write");
        if buggify!(cx, "sequencer: lingers between execution and journal") {
            cx.yield_now().await;
        }
        let first = std::mem::replace(&mut self.first, self.next);
        if !self.records.is_empty() {
            let undo = std::mem::take(&mut self.undo);
            let clock = self.state.clock();
            self.unwritten.push_back(Unwritten { first, last: self.version(), clock, undo });
        }
        let append = Append {
            opening: self.opening,
            first,
            records: std::mem::take(&mut self.records),
            waiting: std::mem::take(&mut self.waiting),
        };
        journal.send(journal::Msg::Append(append)).await.map_err(|_| ended())
    }

    fn show(&self) {
        let shown = Ordering::Relaxed;
        self.board.keys.store(self.state.len() as u64, shown);
        self.board.keys_expiring.store(self.state.expiring() as u64, shown);
        self.board.memory.store(self.state.memory() as u64, shown);
    }
}

fn ended() -> Stop {
    Stop::Failed("the journal has ended".to_owned())
}

impl Actor for Sequencer {
    type Msg = Msg;
    const NAME: &'static str = "sequencer";

    async fn start(&mut self, cx: &Context) -> Result<(), Stop> {
        match self.journal.clone() {
            Some(journal) => {
                let Recovered { state, version, opening } = self.take_over(cx, &journal).await?;
                (self.state, self.next, self.opening) = (state, version.next(), opening);
            }
            None => self.state = State::new(cx.entropy()),
        }
        self.first = self.next;
        self.settled = self.state.clock();
        self.clock = Some(NodeClock::start(cx, self.state.clock()));
        self.show();
        Ok(())
    }

    async fn turn(&mut self, batch: &mut Vec<Msg>, cx: &Context) -> Result<(), Stop> {
        let takes_writes = self.follow_journal(cx).await?;
        self.first = self.next;
        let now = self.time(cx, takes_writes);
        sometimes!(cx, !takes_writes, "sequencer: serves reads while the journal refuses");
        for msg in batch.drain(..) {
            match msg {
                Msg::Execute(waiting) => self.execute(cx, waiting, now, takes_writes),
                Msg::Sweep => {}
            }
            if self.records.len() >= RECORDS_MAX {
                self.pass_on(cx).await?;
            }
        }
        self.pass_on(cx).await?;
        if self.state.sweep(self.settled, SWEEP)
            && let Some(own) = self.own.get()
        {
            // If it is full, there will be a next turn anyway.
            let _ = own.try_send(Msg::Sweep);
        }
        self.show();
        Ok(())
    }

    fn check(&self) {
        assert!(self.records.is_empty() && self.waiting.is_empty() && self.undo.is_empty());
        let oldest = self.unwritten.front().map_or(self.next, |u| u.first);
        assert!(oldest <= self.next, "unwritten from {oldest}, next {}", self.next);
    }

    fn label(msg: &Msg) -> &'static str {
        match msg {
            Msg::Execute(_) => "execute",
            Msg::Sweep => "sweep",
        }
    }
}
