//! Journal: the only actor that may append to the log.
//!
//! Every record that waits in the mailbox goes out in one write, and one sync if the mode is
//! strict; meanwhile the mailbox is the queue for the next. Answers travel with the records they
//! depend on and leave when these are as safe as the mode promises: strict, synced; buffered,
//! written.
//!
//! A disk that takes no write is not the end: the records are refused, their clients are told, and
//! the journal asks the disk again now and then. A sync that fails is the end: what is on the disk
//! is unknown from then on, so the node stops.
//!
//! Invariant: in strict mode an answer leaves only after everything it rests on would survive a
//! power cut.

use std::{sync::Arc, time::Duration};

use orloj_kernel::{
    Actor, Addr, Context, DiskError, Reply, Stop, always, buggify, mutant, sometimes,
};
use orloj_storage::{
    Lsn,
    journal::{AppendError, Log, Records},
};

use crate::{
    Durability,
    board::{Board, Progress},
    sequencer::Waiting,
    slot::Slot,
    start::Opening,
};

/// In buffered mode a record is synced at most this long after it was written,
const SYNC_EVERY: Duration = Duration::from_millis(100);
/// or when so many are waiting for it.
const SYNC_RECORDS: u64 = 1_000;
/// When nothing has been written for this long, the log says so: see [`Log::mark`].
const QUIET: Duration = Duration::from_millis(5);
/// How long a full disk is left alone before it is asked again.
const RETRY: Duration = Duration::from_millis(250);
/// Frames do not grow beyond this by putting records together, in bytes.
const FRAME: usize = 32 << 20;

/// What the journal can be told.
#[derive(Debug)]
pub(crate) enum Msg {
    /// Append records, then let the answers go that rest on them.
    Append(Append),
    /// The sequencer has undone what was refused; records that follow are good again.
    Undone,
    /// Ask the disk whether it has room.
    Retry,
    /// Records have waited for a sync long enough.
    SyncDue,
    /// A sync beside the writing has ended.
    Synced(Lsn, Result<(), DiskError>),
    /// Nothing may have been written for a while.
    Quiet(Lsn),
    /// Leave the log closed in order.
    Close(Reply<()>),
    /// The sequencer has lost the store: begin anew from what is on the disk.
    Reopen,
}

/// Records in a row, and who waits for them.
#[derive(Debug)]
pub(crate) struct Append {
    /// Which opening of the journal they follow. What outlived a restart in the mailbox belongs to
    /// another history, and nobody will know what became of it.
    pub(crate) opening: u64,
    /// The position of the first record, or of the next if there is none.
    pub(crate) first: Lsn,
    pub(crate) records: Records,
    pub(crate) waiting: Vec<Waiting>,
}

pub(crate) struct Journal {
    opening: Opening,
    own: Slot<Addr<Msg>>,
    board: Arc<Board>,
    durability: Durability,
    log: Option<Log>,
    /// Which opening of the journal this is.
    life: u64,
    /// A record was refused, and what follows it rests on it until the sequencer says otherwise.
    refusing: bool,
    /// A timer runs for each of these.
    retry_set: bool,
    quiet_set: bool,
    sync_set: bool,
    /// A sync runs beside the writing.
    syncing: bool,
    /// What a planted defect forgets to write.
    forgotten: Vec<Append>,
}

impl Journal {
    pub(crate) fn new(
        opening: Opening,
        own: Slot<Addr<Msg>>,
        board: Arc<Board>,
        durability: Durability,
    ) -> Journal {
        Journal {
            opening,
            own,
            board,
            durability,
            log: None,
            life: 0,
            refusing: false,
            retry_set: false,
            quiet_set: false,
            sync_set: false,
            syncing: false,
            forgotten: Vec::new(),
        }
    }

    fn log(&mut self) -> &mut Log {
        self.log.as_mut().expect("the log is open from start to finish")
    }

    /// Sends itself `msg` after `wait`.
    fn later(&self, cx: &Context, wait: Duration, msg: Msg) {
        let Some(own) = self.own.get() else { return };
        let cx = *cx;
        cx.spawn("journal-timer", async move {
            cx.sleep(wait).await;
            // The journal may have ended; then nothing is due any more.
            let _ = own.send(msg).await;
        });
    }

    /// Writes records and lets the answers go that rest on them. Nothing if there is none.
    async fn append(&mut self, cx: &Context, appends: &mut Vec<Append>) -> Result<(), Stop> {
        if appends.is_empty() {
            return Ok(());
        }
        let strict = self.durability == Durability::Strict;
        let mut records = Vec::with_capacity(appends.len());
        let mut waiting = Vec::with_capacity(appends.len());
        for append in appends.drain(..) {
            if !append.records.is_empty() {
                let next = records.iter().map(|r: &Records| u64::from(r.count())).sum();
                let next = self.log().next().plus(next);
                always!(
                    cx,
                    append.first == next,
                    "journal: records follow each other",
                    "{} instead of {next}",
                    append.first
                );
                records.push(append.records);
            }
            waiting.extend(append.waiting);
        }
        if strict && mutant!(cx, "journal.ack_before_sync") {
            waiting.drain(..).for_each(Waiting::release);
        }
        if !records.is_empty() {
            if let Err(e) = self.log().append(&records, strict).await {
                return self.refuse(cx, e, waiting);
            }
            self.show();
            self.after_write(cx);
        }
        if buggify!(cx, "journal: slow to let answers go") {
            cx.sleep(Duration::from_millis(cx.below(20))).await;
        }
        if strict {
            let durable = self.log().durable();
            let newest = waiting.iter().map(|w| w.work.version).max().unwrap_or_default();
            always!(
                cx,
                newest <= durable,
                "journal: no answer leaves before what it rests on is durable",
                "version {newest} of {durable}"
            );
        }
        sometimes!(cx, waiting.len() > 1, "journal: one write answered several clients");
        waiting.into_iter().for_each(Waiting::release);
        Ok(())
    }

    /// Handles anything but an append.
    async fn control(&mut self, cx: &Context, msg: Msg) -> Result<(), Stop> {
        match msg {
            Msg::Append(_) => std::unreachable!("appends are handled apart"),
            Msg::Undone => self.refusing = false,
            Msg::Reopen => return Err(Stop::Failed("the store is to be read anew".to_owned())),
            Msg::Retry => self.retry(cx).await?,
            Msg::SyncDue => {
                self.sync_set = false;
                let log = self.log();
                if log.durable().next() < log.next() && !self.syncing {
                    self.sync_beside(cx);
                }
            }
            Msg::Synced(written, result) => {
                self.syncing = false;
                result.map_err(fatal)?;
                self.log().synced(written);
                self.show();
                if self.log().durable().next() < self.log().next() {
                    self.after_write(cx);
                }
            }
            Msg::Quiet(then) => self.quiet(cx, then).await?,
            Msg::Close(reply) => self.close(reply).await?,
        }
        Ok(())
    }

    /// Tells the others how far the log has come.
    fn show(&mut self) {
        let (next, durable) = (self.log().next(), self.log().durable());
        self.board.set_progress(|p| (p.written, p.durable) = (next.previous(), durable));
    }

    fn after_write(&mut self, cx: &Context) {
        let next = self.log().next();
        if self.durability == Durability::Buffered && !self.syncing {
            let unsynced = next.0 - self.log().durable().next().0;
            if unsynced >= SYNC_RECORDS {
                self.sync_beside(cx);
            } else if !std::mem::replace(&mut self.sync_set, true) {
                self.later(cx, SYNC_EVERY, Msg::SyncDue);
            }
        }
        if !std::mem::replace(&mut self.quiet_set, true) {
            self.later(cx, QUIET, Msg::Quiet(next));
        }
    }

    /// Starts a sync that does not keep writes waiting.
    fn sync_beside(&mut self, cx: &Context) {
        let Some(own) = self.own.get() else { return };
        let (sync, written) = self.log().begin_sync();
        self.syncing = true;
        cx.spawn("journal-sync", async move {
            let result = sync.await;
            let _ = own.send(Msg::Synced(written, result)).await;
        });
    }

    /// The disk took no write.
    fn refuse(
        &mut self,
        cx: &Context,
        error: AppendError,
        waiting: Vec<Waiting>,
    ) -> Result<(), Stop> {
        let AppendError::Refused { cause, definite } = error else { return Err(fatal(error)) };
        cx.trace("journal", format_args!("refused ({definite}): {cause}"));
        sometimes!(cx, definite, "journal: a full disk was told to clients");
        let next = self.log().next();
        self.refusing = true;
        self.show();
        self.board.set_progress(|p| (p.refused, p.room) = (Some(next), false));
        if !std::mem::replace(&mut self.retry_set, true) {
            self.later(cx, RETRY, Msg::Retry);
        }
        if definite {
            waiting.into_iter().for_each(Waiting::refuse);
        }
        // Otherwise nobody knows, and who asks is told so by the silence: the connection closes.
        Ok(())
    }

    async fn retry(&mut self, cx: &Context) -> Result<(), Stop> {
        self.retry_set = false;
        match self.log().make_room().await {
            Ok(()) => {
                sometimes!(cx, true, "journal: there was room again");
                self.show();
                self.board.set_progress(|p| p.room = true);
                Ok(())
            }
            Err(AppendError::Refused { .. }) => {
                self.retry_set = true;
                self.later(cx, RETRY, Msg::Retry);
                Ok(())
            }
            Err(e) => Err(fatal(e)),
        }
    }

    async fn quiet(&mut self, cx: &Context, then: Lsn) -> Result<(), Stop> {
        self.quiet_set = false;
        let now = self.log().next();
        let unsynced = self.log().durable().next() < now;
        if now != then || (unsynced && self.durability == Durability::Buffered) {
            self.quiet_set = true;
            self.later(cx, QUIET, Msg::Quiet(now));
            return Ok(());
        }
        match self.log().mark(false).await {
            Ok(()) => Ok(()),
            Err(e @ AppendError::Fatal(_)) => Err(fatal(e)),
            // Nobody waits for a mark, but the segment cannot be used any more.
            Err(e) => self.refuse(cx, e, Vec::new()),
        }
    }

    async fn close(&mut self, reply: Reply<()>) -> Result<(), Stop> {
        match self.log().mark(true).await {
            Ok(()) | Err(AppendError::Refused { .. }) => reply.send(()),
            Err(e) => return Err(fatal(e)),
        }
        Ok(())
    }
}

fn fatal(error: impl std::fmt::Display) -> Stop {
    Stop::Fatal(format!("{error}; what the disk holds is unknown, so no promise can be kept"))
}

impl Actor for Journal {
    type Msg = Msg;
    const NAME: &'static str = "journal";
    /// Each message is a turn of the sequencer, so few are needed to keep the disk busy.
    const MAILBOX: usize = 64;

    async fn start(&mut self, cx: &Context) -> Result<(), Stop> {
        let opened = self.opening.log(cx).await.map_err(|e| Stop::Failed(e.to_string()))?;
        let (log, life) = opened;
        (self.log, self.life) = (Some(log), life);
        self.board.set_progress(|p| *p = Progress::default());
        self.show();
        Ok(())
    }

    async fn turn(&mut self, batch: &mut Vec<Msg>, cx: &Context) -> Result<(), Stop> {
        let mut appends = std::mem::take(&mut self.forgotten);
        let mut bytes = 0;
        for msg in batch.drain(..) {
            match msg {
                Msg::Append(append) if append.opening != self.life => drop(append),
                Msg::Append(append) if self.refusing => {
                    append.waiting.into_iter().for_each(Waiting::refuse);
                }
                Msg::Append(append) => {
                    bytes += append.records.len();
                    appends.push(append);
                    if bytes >= FRAME {
                        self.append(cx, &mut appends).await?;
                        bytes = 0;
                    }
                }
                // Anything else may find that the disk takes no more, and must not find records
                // that wait to be written after all.
                other => {
                    self.append(cx, &mut appends).await?;
                    bytes = 0;
                    self.control(cx, other).await?;
                }
            }
        }
        if mutant!(cx, "journal.lost_wakeup") && self.log().next().0 % 16 == 9 {
            self.forgotten = appends;
            return Ok(());
        }
        self.append(cx, &mut appends).await
    }

    fn check(&self) {
        if let Some(log) = &self.log {
            let progress = self.board.progress();
            assert!(progress.durable <= progress.written, "{progress:?}");
            assert!(progress.written < log.next(), "{progress:?}, next {}", log.next());
        }
    }

    fn label(msg: &Msg) -> &'static str {
        match msg {
            Msg::Append(_) => "append",
            Msg::Undone => "undone",
            Msg::Retry => "retry",
            Msg::SyncDue => "sync-due",
            Msg::Synced(..) => "synced",
            Msg::Quiet(_) => "quiet",
            Msg::Close(_) => "close",
            Msg::Reopen => "reopen",
        }
    }
}
