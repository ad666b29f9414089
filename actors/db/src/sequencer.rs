//! Sequencer: the one place where commands are executed.
//!
//! A turn takes every batch of commands that waits, in order, and executes each on the store. What
//! the turn changed is one commit of the engine, and its answers go down to the journal, which lets
//! them go. What the turn is given beside the commands is one moment of time, so what it did means
//! the same whenever it is read again.
//!
//! The store may be ahead of the disk, never of what clients are shown: in strict mode a read waits
//! like a write for what it saw to be durable. If the disk takes no write, the engine takes back
//! what it refused; until there is room again writes are refused here and no key expires, since its
//! end could not be written down.

mod envelopes;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use orloj_kernel::{Actor, Addr, Context, Reply, Stop, buggify, mutant, sometimes};
use orloj_net::{
    Answer, Command, Refusal, UnixMs,
    envelope::{Envelope, Id},
};
use orloj_storage::{Database, Error, Verdict, database::Assigned};

use crate::{
    Durability, NodeConfig, Observer, Seen,
    board::Board,
    clock::NodeClock,
    commands::{Commands, Note, Now, Tables, Told, ToldStep},
    hub::Hub,
    journal::{self, Held, fatal, refuse_notes},
    leased::Leased,
    outbox::Asker,
    slot::Slot,
    store::{Store, Wait},
};

/// Dead keys deleted in one turn.
const SWEEP: usize = 256;
/// How long a disk that cannot be read is left alone if nothing can be done without it.
const RETRY: Duration = Duration::from_millis(50);

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
        // Half-way, the commands are still there.
        let asked = self.work.answers.len().max(self.work.commands.len());
        self.work.commands.clear();
        self.work.answers.clear();
        self.work.answers.resize_with(asked, || Refusal::JournalFailed.into());
        self.release();
    }
}

/// A command in its envelope, and who waits for the outcome.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) envelope: Envelope,
    pub(crate) asker: Asker,
}

/// What the sequencer can be told.
#[derive(Debug)]
pub(crate) enum Msg {
    /// Carry out commands in envelopes, each when its turn has come.
    Submit(Vec<Submission>),
    /// What a command that was started has to look at was read.
    Loaded(u64),
    /// Cancel a command that has not had its turn.
    Cancel(Id, Reply<bool>),
    /// Time has passed for commands that wait.
    Tick,
    /// Carry out commands, and answer when the answers may be shown.
    Execute(Waiting),
    /// Delete keys that are gone.
    Sweep,
    /// Drop the oldest rows of the history of commands.
    Trim,
}

/// What a commit holds: what is in an envelope can be computed again from the history, and so
/// shares no commit with what is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    Enveloped,
}

/// A message to come.
struct Alarm {
    at: UnixMs,
    /// Ends with whoever holds it.
    _task: Leased<()>,
}

/// What an observer will be told of a command when its version is known.
struct Executed {
    connection: u64,
    ordinal: u64,
    command: Command,
    answer: Answer,
    at: UnixMs,
}

pub(crate) struct Sequencer {
    db: Database,
    own: Slot<Addr<Msg>>,
    journal: Addr<journal::Msg>,
    board: Arc<Board>,
    config: Arc<NodeConfig>,
    durability: Durability,
    observer: Option<Arc<dyn Observer>>,
    hub: Arc<Hub>,
    tables: Tables,
    commands: Option<Commands>,
    /// What the commits of this turn made, and is told when they are safe.
    notes: Vec<(Assigned, Vec<Note>)>,
    /// Whether what an earlier life left in flight was seen to.
    is_recovered: bool,
    /// The rows of commands that an earlier life started.
    interrupted: Option<BTreeSet<u64>>,
    /// A call at the time when something happens to a command by itself.
    alarm: Option<Alarm>,
    /// Who reads for which command.
    loads: BTreeMap<u64, Leased<()>>,
    /// Bytes of memory for rows.
    budget: usize,
    store: Option<Store>,
    clock: Option<NodeClock>,
    /// Those whose commands this turn executed.
    waiting: Vec<Waiting>,
    /// Whether nothing of this turn was committed so far.
    is_whole: bool,
    executed: Vec<Executed>,
}

impl Sequencer {
    pub(crate) fn new(
        config: &Arc<NodeConfig>,
        tables: Tables,
        own: Slot<Addr<Msg>>,
        journal: Addr<journal::Msg>,
        board: Arc<Board>,
        hub: Arc<Hub>,
    ) -> Sequencer {
        Sequencer {
            db: tables.db(),
            config: config.clone(),
            hub,
            tables,
            commands: None,
            notes: Vec::new(),
            is_recovered: false,
            interrupted: None,
            alarm: None,
            loads: BTreeMap::new(),
            own,
            journal,
            board,
            durability: config.durability,
            observer: config.observer.clone(),
            budget: config.rows_bytes,
            store: None,
            clock: None,
            waiting: Vec::new(),
            is_whole: true,
            executed: Vec::new(),
        }
    }

    /// Looks whether the disk took history back. Whether writes are taken.
    async fn follow_disk(&mut self, cx: &Context) -> Result<bool, Stop> {
        let store = self.store.as_mut().expect(OPEN);
        if let Some(from) = store.undone() {
            cx.trace(Self::NAME, format_args!("turn {from} and what came behind was taken back"));
            sometimes!(cx, true, "sequencer: refused changes were undone");
            if let Some(observer) = &self.observer {
                observer.undone(from);
            }
            if !mutant!(cx, "sequencer.undone_stays_in_rows") {
                self.reset(cx).await?;
            }
        }
        Ok(!self.db.is_read_only())
    }

    async fn time(&mut self, cx: &Context, takes_writes: bool) -> Result<UnixMs, Stop> {
        let clock = self.clock.as_mut().expect("the clock runs from the start on");
        let store = self.store.as_mut().expect(OPEN);
        let now = clock.now(cx);
        if !takes_writes {
            return Ok(store.before_next_due(now));
        }
        match store.pass(now).await {
            Ok(()) => Ok(now),
            // Time stands still as long as nobody can say what dies.
            Err(error) => {
                cx.trace(Self::NAME, format_args!("cannot read deadlines: {error}"));
                Ok(store.before_next_due(now))
            }
        }
    }

    /// Carries out the commands of one batch. An error is one of the whole turn: nothing was
    /// committed since the last commit.
    async fn execute(
        &mut self,
        cx: &Context,
        work: &mut Work,
        now: UnixMs,
        takes_writes: bool,
    ) -> Result<(), Error> {
        let lived = match mutant!(cx, "state.hidden_wall_clock") {
            true => UnixMs(cx.wall().millis()),
            false => now,
        };
        for index in 0..work.commands.len() {
            let command = &mut work.commands[index];
            if !takes_writes && command.is_write() {
                work.answers.push(Refusal::JournalFailed.into());
                continue;
            }
            if self.observer.is_some() {
                command.fix_time(now);
            }
            let answer = self.carry_out(cx, &work.commands[index..], lived).await?;
            if self.observer.is_some() && !matches!(answer, Answer::Error(Refusal::Unreadable)) {
                self.executed.push(Executed {
                    connection: work.connection,
                    ordinal: work.ordinal + index as u64,
                    command: work.commands[index].clone(),
                    answer: answer.clone(),
                    at: now,
                });
            }
            work.answers.push(answer);
            self.commit_if_heavy(cx).await?;
        }
        work.commands.clear();
        self.board.count_commands(work.answers.len());
        Ok(())
    }

    /// Carries out the first of `commands`; the others are what may be read beside it.
    async fn carry_out(
        &mut self,
        cx: &Context,
        commands: &[Command],
        now: UnixMs,
    ) -> Result<Answer, Error> {
        let command = &commands[0];
        loop {
            let store = self.store.as_mut().expect(OPEN);
            let error = match store.execute(command, now) {
                Ok(answer) => return Ok(answer),
                Err(Wait::Rows) => match store.load(commands).await {
                    Ok(()) => continue,
                    Err(error) => error,
                },
                Err(Wait::Walk) => {
                    if let Command::Scan { .. } = command
                        && !mutant!(cx, "sequencer.scan_misses_its_turn")
                    {
                        self.is_whole &= !self.commit(cx).await?;
                    }
                    let store = self.store.as_mut().expect(OPEN);
                    match store.walk(command).await {
                        Ok(answer) => return Ok(answer),
                        Err(error) => error,
                    }
                }
            };
            match error {
                Error::RolledBack { .. } => return Err(error),
                // Other keys can be read.
                error => return Ok(self.unreadable(cx, &error)),
            }
        }
    }

    async fn commit_if_heavy(&mut self, cx: &Context) -> Result<(), Error> {
        let also = &self.commands.as_ref().expect(OPEN).writes;
        if self.store.as_ref().expect(OPEN).is_heavy(also) {
            sometimes!(cx, true, "sequencer: a turn was too large for one commit");
            self.is_whole &= !self.commit(cx).await?;
        }
        Ok(())
    }

    fn unreadable(&self, cx: &Context, error: &Error) -> Answer {
        cx.trace(Self::NAME, format_args!("cannot read: {error}"));
        sometimes!(cx, true, "sequencer: a key could not be read");
        Refusal::Unreadable.into()
    }

    async fn sweep(&mut self, cx: &Context, at: UnixMs) -> Result<(), Error> {
        self.separate(cx, Kind::Plain, at).await?;
        match self.store.as_mut().expect(OPEN).sweep(SWEEP).await {
            Err(error @ Error::RolledBack { .. }) => Err(error),
            // What cannot be read now is dead all the same.
            Err(error) => {
                cx.trace(Self::NAME, format_args!("cannot sweep: {error}"));
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Commits what was executed so far; whether that changed anything.
    async fn commit(&mut self, cx: &Context) -> Result<bool, Error> {
        if buggify!(cx, "sequencer: lingers between execution and commit") {
            cx.yield_now().await;
        }
        let store = self.store.as_mut().expect(OPEN);
        let commands = self.commands.as_mut().expect(OPEN);
        commands.prepare();
        let has_changed = store.commit(Some((&commands.writes, &self.tables))).await?;
        let turn = store.turn();
        if !commands.notes.is_empty() {
            self.notes.push((store.last(), std::mem::take(&mut commands.notes)));
        }
        if let Some(observer) = &self.observer {
            if has_changed {
                observer.committed(turn);
            }
            if let Some(first) = commands.take_trimmed() {
                observer.trimmed(first);
            }
            envelopes::tell(observer.as_ref(), turn, &mut commands.told);
            for executed in self.executed.drain(..) {
                let Executed { connection, ordinal, command, answer, at } = &executed;
                observer.executed(&Seen {
                    connection: *connection,
                    ordinal: *ordinal,
                    command,
                    answer,
                    turn,
                    at: *at,
                });
            }
        }
        self.commands.as_mut().expect(OPEN).committed();
        Ok(has_changed)
    }

    /// What this turn executed since the last commit has not happened.
    async fn give_up(&mut self, cx: &Context, error: &Error) -> Result<(), Stop> {
        if error.verdict() == Verdict::Halt {
            return Err(fatal(error));
        }
        cx.trace(Self::NAME, format_args!("gives up its turn: {error}"));
        sometimes!(cx, true, "sequencer: a turn could not be committed");
        self.executed.clear();
        if self.is_whole {
            self.waiting.drain(..).for_each(Waiting::refuse);
        }
        // Otherwise some of it has happened, and nobody shall be told that nothing has.
        self.waiting.clear();
        refuse_notes(std::mem::take(&mut self.commands.as_mut().expect(OPEN).notes));
        // What earlier commits of the turn made may be safe.
        self.pass_notes_on().await?;
        self.reset(cx).await
    }

    /// Brings the store and the commands back to what the engine has.
    async fn reset(&mut self, cx: &Context) -> Result<(), Stop> {
        while let Err(error) = self.store.as_mut().expect(OPEN).reset().await {
            rest(cx, &error).await?;
        }
        let askers = self.commands.as_mut().map(Commands::take_askers).unwrap_or_default();
        self.load_commands(cx).await?;
        let commands = self.commands.as_mut().expect(OPEN);
        for (row, id, askers) in askers {
            commands.rejoin(row, &id, askers);
        }
        Ok(())
    }

    /// Reads what is known of commands.
    async fn load_commands(&mut self, cx: &Context) -> Result<(), Stop> {
        self.is_recovered = false;
        self.loads.clear();
        let last = self.commands.take().map_or(0, |commands| commands.last_ticket());
        let mut commands = loop {
            match Commands::load(self.tables.clone(), &self.config, last).await {
                Ok(commands) => break commands,
                Err(error) => rest(cx, &error).await?,
            }
        };
        let interrupted = commands.interrupted(self.interrupted.as_ref());
        self.interrupted.get_or_insert(interrupted);
        self.commands = Some(commands);
        Ok(())
    }

    /// Hands the turn's answers down.
    async fn pass_on(&mut self, cx: &Context, has_changed: bool) -> Result<(), Stop> {
        let rest_on = self.store.as_ref().expect(OPEN).last();
        self.pass_notes_on().await?;
        let is_read = self.is_whole && !has_changed;
        if self.is_safe(rest_on) || mutant!(cx, "sequencer.unsynced_read") && is_read {
            self.waiting.drain(..).for_each(Waiting::release);
            return Ok(());
        }
        if self.waiting.is_empty() {
            return Ok(());
        }
        sometimes!(cx, is_read, "sequencer: reads waited for a write");
        let (is_whole, waiting) = (self.is_whole, std::mem::take(&mut self.waiting));
        let (safety, notes) = (self.durability, Vec::new());
        let held = Held { rest_on, is_whole, safety, waiting, notes };
        self.journal.send(journal::Msg::Hold(held)).await.map_err(|_| ended())
    }

    /// Whether answers that rest on it may leave at once.
    fn is_safe(&self, rest_on: Assigned) -> bool {
        match self.durability {
            Durability::Strict => self.db.is_durable(rest_on),
            Durability::Buffered => self.db.is_written(rest_on),
            Durability::InMemory => true,
        }
    }

    fn show(&self) {
        let store = self.store.as_ref().expect(OPEN);
        self.board.show_in_flight(self.commands.as_ref().expect(OPEN).in_flight());
        self.board.show_store(store.counts(), store.memory());
    }
}

const OPEN: &str = "the store is open from the start on";

fn ended() -> Stop {
    Stop::Failed("the journal has ended".to_owned())
}

/// What cannot be read or written for the store itself may be later.
async fn rest(cx: &Context, error: &Error) -> Result<(), Stop> {
    if error.verdict() == Verdict::Halt {
        return Err(fatal(error));
    }
    cx.trace(Sequencer::NAME, format_args!("cannot go on: {error}"));
    cx.sleep(RETRY).await;
    Ok(())
}

impl Actor for Sequencer {
    type Msg = Msg;
    const NAME: &'static str = "sequencer";

    async fn start(&mut self, cx: &Context) -> Result<(), Stop> {
        let store = loop {
            match Store::open(cx, self.db.clone(), self.budget).await {
                Ok(store) => break store,
                Err(error) => rest(cx, &error).await?,
            }
        };
        let clock = store.clock();
        self.store = Some(store);
        self.load_commands(cx).await?;
        // Neither keys nor commands see time go back.
        let earliest = match mutant!(cx, "sequencer.time_goes_back") {
            true => UnixMs(0),
            false => clock,
        };
        self.clock = Some(NodeClock::start(cx, earliest));
        self.show();
        if let Some(own) = self.own.get() {
            // If it is full, there will be a turn anyway.
            let _ = own.try_send(Msg::Tick);
        }
        Ok(())
    }

    async fn turn(&mut self, batch: &mut Vec<Msg>, cx: &Context) -> Result<(), Stop> {
        let mut takes_writes = self.follow_disk(cx).await?;
        let mut now = self.time(cx, takes_writes).await?;
        self.is_whole = true;
        sometimes!(cx, !takes_writes, "sequencer: serves reads while the journal refuses");
        self.see_to_commands(cx, now, takes_writes).await?;
        for msg in batch.drain(..) {
            let done = match msg {
                Msg::Submit(submissions) => self.submit(cx, submissions, now, takes_writes).await,
                Msg::Cancel(id, reply) => self.cancel(cx, &id, reply, now, takes_writes).await,
                Msg::Loaded(ticket) => {
                    self.loads.remove(&ticket);
                    if !mutant!(cx, "lanes.loaded_is_not_looked_at") {
                        self.commands.as_mut().expect(OPEN).loaded(ticket);
                    }
                    Ok(())
                }
                Msg::Tick => Ok(()),
                Msg::Execute(mut waiting) => {
                    let done = self.separate(cx, Kind::Plain, now).await;
                    let done = match done {
                        Ok(()) => self.execute(cx, &mut waiting.work, now, takes_writes).await,
                        Err(error) => Err(error),
                    };
                    let lost =
                        mutant!(cx, "sequencer.dropped_reply") && waiting.work.ordinal % 8 == 3;
                    match lost {
                        true => std::mem::forget(waiting),
                        false => self.waiting.push(waiting),
                    }
                    done
                }
                Msg::Sweep if takes_writes => self.sweep(cx, now).await,
                Msg::Trim if takes_writes => self.trim(cx, now).await,
                Msg::Sweep | Msg::Trim => Ok(()),
            };
            if let Err(error) = done {
                self.give_up(cx, &error).await?;
                takes_writes = self.follow_disk(cx).await?;
                now = self.time(cx, takes_writes).await?;
                self.is_whole = true;
            }
        }
        let ran = match takes_writes && self.is_recovered {
            true => self.run_alone(cx, now).await,
            false => Ok(()),
        };
        if let Err(error) = ran {
            self.give_up(cx, &error).await?;
            self.is_whole = true;
        }
        match self.commit(cx).await {
            Ok(has_changed) => self.pass_on(cx, has_changed).await?,
            Err(error) => self.give_up(cx, &error).await?,
        }
        if takes_writes
            && self.store.as_ref().expect(OPEN).has_backlog()
            && let Some(own) = self.own.get()
        {
            // If it is full, there will be a next turn anyway.
            let _ = own.try_send(Msg::Sweep);
        }
        if takes_writes
            && self.is_recovered
            && self.commands.as_ref().expect(OPEN).is_trimming(now)
            && let Some(own) = self.own.get()
        {
            // The same.
            let _ = own.try_send(Msg::Trim);
        }
        self.set_alarm(cx, now, takes_writes);
        self.show();
        Ok(())
    }

    fn check(&self) {
        assert!(self.waiting.is_empty() && self.executed.is_empty());
        assert!(self.notes.is_empty() && self.commands.as_ref().is_none_or(Commands::is_idle));
    }

    fn label(msg: &Msg) -> &'static str {
        match msg {
            Msg::Submit(_) => "submit",
            Msg::Loaded(_) => "loaded",
            Msg::Cancel(..) => "cancel",
            Msg::Tick => "tick",
            Msg::Execute(_) => "execute",
            Msg::Sweep => "sweep",
            Msg::Trim => "trim",
        }
    }
}
