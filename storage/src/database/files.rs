//! What there is of files: pages, values, the journal, and when a checkpoint is due.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use orloj_kernel::{Context, Instant, Reply, sometimes};

use super::compact::Asked;
use crate::{
    Error, Lsn, Options, Verdict,
    checkpoint::{Checkpoint, Checkpointed},
    compact::Progress,
    engine::Engine,
    tree::{LongValueMiss, Miss},
    vlog::{self, Appender},
    writer::{Round, Writer},
};

/// Memory is measured again when the journal has grown by this part of its budget.
const MEASURES: u64 = 16;
/// How long nobody looks whether a checkpoint is due.
const LOOK: Duration = Duration::from_secs(1);

/// The files of an open database.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) engine: Arc<Engine>,
    pub(super) writer: Arc<Writer>,
    /// Everything in memory is dirty or in use: writers wait for a checkpoint.
    full: AtomicBool,
    due: Mutex<Due>,
}

/// What the one who writes checkpoints has to know.
#[derive(Debug, Default)]
struct Due {
    asked: Vec<Reply<Result<Checkpointed, Error>>>,
    compactions: Vec<Asked>,
    /// What the compaction that is going on has come to.
    progress: Option<Progress>,
    /// A compaction that goes on is to end, and who waits for that.
    closing: bool,
    compacting: bool,
    ended: Vec<Reply<()>>,
    /// Bytes of journal and the time when the last one began.
    bytes: u64,
    began: Instant,
    /// Nobody is to write any more.
    over: bool,
}

/// Why a checkpoint is written, or that none will be.
#[derive(Debug)]
pub(super) enum Call {
    Write(Vec<Reply<Result<Checkpointed, Error>>>),
    Compact(Asked),
    NotYet,
    Over,
}

impl Files {
    pub(super) fn new(cx: Context, engine: Arc<Engine>, writer: Arc<Writer>) -> Files {
        let due = Due { began: cx.now(), ..Due::default() };
        Files { engine, writer, full: false.into(), due: Mutex::new(due) }
    }

    fn due(&self) -> MutexGuard<'_, Due> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether writers must wait for a checkpoint.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.full.load(Relaxed)
    }

    pub(super) async fn load(&self, miss: Miss) -> Result<(), Error> {
        if !self.engine.load(miss).await? {
            self.full.store(true, Relaxed);
            self.writer.bell().ring();
        }
        Ok(())
    }

    pub(super) async fn value(&self, miss: &LongValueMiss) -> Result<Arc<[u8]>, Error> {
        let LongValueMiss { at, keyspace, key, version } = miss;
        let engine = &self.engine;
        let error = match engine.value(*at, *keyspace, key, *version).await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        // It may have moved since somebody was told where it is, and its segment may be gone.
        let Ok(of) = engine.tree().keyspace_ever(*keyspace) else { return Err(error) };
        let now = engine.answer(|| engine.tree().pointer(&of, key, *version)).await;
        match now {
            Ok(Some(now)) if now != *at => engine.value(now, *keyspace, key, *version).await,
            _ => Err(error),
        }
    }

    /// A value that is in memory.
    pub(super) fn block(&self, miss: &LongValueMiss) -> Option<Arc<[u8]>> {
        self.engine.cache().block(miss.at)
    }

    /// Sets the cache's budget.
    pub(super) fn set_cache(&self, bytes: u64) {
        let fits = self.engine.cache().set_budget(bytes);
        self.full.store(!fits, Relaxed);
        if !fits {
            self.writer.bell().ring();
        }
    }

    /// Waits until there is room to write: records for the journal, pages for the disk.
    pub(super) async fn make_room(&self) -> Result<(), Error> {
        if self.is_full() {
            return self.checkpoint().await.map(|_| ());
        }
        let sync = self.engine.options.durability == crate::Durability::Strict;
        self.writer.act(Round::Flush { sync }).await
    }

    /// Asks for a checkpoint and waits for it.
    pub(super) async fn checkpoint(&self) -> Result<Checkpointed, Error> {
        let (reply, answer) = Reply::new();
        {
            let mut due = self.due();
            if due.over {
                return Err(Error::Closed);
            }
            due.asked.push(reply);
        }
        self.writer.bell().ring();
        answer.await.unwrap_or(Err(Error::Closed))
    }

    /// Asks for a compaction.
    pub(super) fn ask_compaction(&self, asked: Asked) -> Result<(), Error> {
        {
            let mut due = self.due();
            if due.over || due.closing {
                return Err(Error::Closed);
            }
            due.compactions.push(asked);
        }
        self.writer.bell().ring();
        Ok(())
    }

    /// Who waits for a checkpoint, which is about to be written.
    pub(super) fn take_asked(&self) -> Vec<Reply<Result<Checkpointed, Error>>> {
        let mut due = self.due();
        (due.bytes, due.began) = (self.writer.bytes(), self.engine.cx.now());
        std::mem::take(&mut due.asked)
    }

    /// A compaction begins, or is over.
    pub(super) fn compacting(&self, is_on: bool) {
        let ended = {
            let mut due = self.due();
            due.compacting = is_on;
            due.progress = None;
            std::mem::take(&mut due.ended)
        };
        ended.into_iter().for_each(|reply| reply.send(()));
    }

    /// Whether a compaction is to end, for nobody uses the database any more.
    pub(super) fn is_closing(&self) -> bool {
        let due = self.due();
        due.closing || due.over
    }

    /// Ends a compaction that goes on, and waits until it has.
    async fn end_compaction(&self) {
        let ended = {
            let mut due = self.due();
            due.closing = true;
            due.compacting.then(|| {
                let (reply, ended) = Reply::new();
                due.ended.push(reply);
                ended
            })
        };
        if let Some(ended) = ended {
            let _ = ended.await;
        }
    }

    /// How far a compaction got.
    pub(super) fn compaction(&self) -> Option<Progress> {
        self.due().progress
    }

    /// Says how far a compaction got.
    pub(super) fn tell(&self, progress: Option<Progress>) {
        self.due().progress = progress;
    }

    /// Whether a checkpoint is due now. If not, the bell rings when memory is to be measured again.
    pub(super) fn call(&self, now: Instant) -> Call {
        let options: &Options = &self.engine.options;
        let written = self.writer.bytes();
        if !self.is_full() {
            self.full.store(!self.engine.has_room(), Relaxed);
        }
        let mut due = self.due();
        if due.over && due.asked.is_empty() {
            due.compactions.clear();
            return Call::Over;
        }
        if due.asked.is_empty()
            && let Some(asked) = due.compactions.pop()
        {
            return Call::Compact(asked);
        }
        let last = self.engine.newest().map_or(Lsn(0), |block| block.lsn);
        let is_news = self.engine.tree().tail().assigned() > last;
        let many = options.checkpoint_bytes.min(self.engine.cache().budget() / 2);
        let is_late = now.since(due.began) >= options.checkpoint_every;
        let is_long = written - due.bytes >= many;
        let is_due = self.is_full() || is_news && (is_late || is_long);
        if due.asked.is_empty() && (!is_due || self.writer.is_refusing()) {
            self.writer.bell().set(written + self.engine.cache().budget() / MEASURES);
            return Call::NotYet;
        }
        (due.bytes, due.began) = (written, now);
        Call::Write(std::mem::take(&mut due.asked))
    }

    /// How long nobody looks whether a checkpoint is due, unless the bell rings.
    pub(super) fn pause(&self) -> Duration {
        self.engine.options.checkpoint_every.min(LOOK)
    }

    /// Writes a checkpoint. There is one writer of checkpoints, who has `values`.
    pub(super) async fn write_checkpoint(
        &self,
        values: &mut Appender,
    ) -> Result<Checkpointed, Error> {
        let done = self.try_checkpoint(values).await;
        match &done {
            Ok(_) => self.full.store(!self.engine.has_room(), Relaxed),
            Err(error) if error.verdict() == Verdict::Halt => self.writer.halt(error.clone()),
            Err(_) => {}
        }
        done
    }

    async fn try_checkpoint(&self, values: &mut Appender) -> Result<Checkpointed, Error> {
        let cx = self.engine.cx;
        let times = self.engine.tree().snapshots().times_taken_back();
        self.engine.watch();
        let checkpoint = Checkpoint::begin(&self.engine);
        let version = checkpoint.version();
        self.writer.durable(version, times).await?;
        let done = checkpoint.write(values).await?;
        sometimes!(
            cx,
            self.engine.tree().tail().assigned() > version,
            "checkpoint: writers went on meanwhile"
        );
        // A segment that cannot be removed is tried again by the next one.
        let _ = self.writer.act(Round::Trim { keep: done.keep }).await;
        Ok(done)
    }

    /// Moves what is live out of the value segment that is most worth it, if one is.
    pub(super) async fn collect(&self, values: &mut Appender) -> Result<(), Error> {
        let done = vlog::collect(&self.engine, values).await;
        self.halt_on(&done);
        done.map(|_| ())
    }

    /// Writes nothing more if that is what `done` says.
    pub(super) fn halt_on<T>(&self, done: &Result<T, Error>) {
        match done {
            Err(error) if error.verdict() == Verdict::Halt => self.writer.halt(error.clone()),
            _ => {}
        }
    }

    /// Ends everything in order.
    pub(super) async fn shut(&self) -> Result<(), Error> {
        self.end_compaction().await;
        let last = self.engine.newest().map_or(Lsn(0), |block| block.lsn);
        let is_news = self.engine.tree().tail().assigned() > last;
        // A full disk takes no checkpoint. The journal has everything.
        let written = match is_news && !self.writer.is_refusing() {
            true => match self.checkpoint().await {
                Ok(_) | Err(Error::ReadOnly { .. }) => Ok(()),
                Err(error) => Err(error),
            },
            false => Ok(()),
        };
        self.over();
        written.and(self.writer.close().await)
    }

    /// Nobody uses the database any more.
    pub(super) fn let_go(&self) {
        self.over();
        self.writer.stop();
    }

    fn over(&self) {
        self.due().over = true;
        self.writer.bell().ring();
    }
}
