//! The journal's tests: its bytes, its judgement of damage, and its life under power cuts.

mod crash;
mod damage;
mod every;
mod format;
mod history;
mod trim;

use orloj_kernel::Context;
use orloj_sim::{Config, Control, Simulation};

use super::{AppendError, JournalConfig, JournalError, Log, Lsn, Records, Recovery};

/// Small enough that a few records fill a segment.
fn small() -> JournalConfig {
    let step_bytes = 4096;
    JournalConfig {
        first_bytes: 8192,
        segment_bytes: 16384,
        step_bytes,
        ..JournalConfig::new("wal")
    }
}

/// The host whose disk has the journal.
const NODE: &str = "node";

/// A world of that host alone.
struct World(Simulation);

impl World {
    fn new(seed: u64) -> World {
        let mut sim = Simulation::new(Config { buggify: true, ..Config::seed(seed) });
        sim.idle_host(NODE);
        World(sim)
    }

    /// Ends the process that runs on the host, if one does, and starts the next.
    fn start(&mut self) -> Context {
        self.control(|world| {
            world.exit(NODE);
            world.restart(NODE);
            world.context(NODE)
        })
    }

    /// Runs `life` in the process of `cx` until it ends; `None` if the host dies first.
    fn run<F>(&mut self, cx: Context, life: F) -> Option<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        match self.0.run(cx, life) {
            Ok(out) => Some(out),
            Err(_) if !self.control(|world| world.is_up(NODE)) => None,
            Err(failure) => panic!("{failure}"),
        }
    }

    /// As [`World::run`], in a new process on a host that stays up.
    fn live<F>(&mut self, life: impl FnOnce(Context) -> F) -> F::Output
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let cx = self.start();
        self.run(cx, life(cx)).expect("power stays on")
    }

    fn control<T>(&mut self, act: impl FnOnce(Control) -> T) -> T {
        self.0.control(act)
    }
}

type History = Vec<Vec<u8>>;

/// Opens the journal, in a directory that is durable as its owner has to see to.
async fn open(cx: Context) -> Result<(Log, Recovery, History), JournalError> {
    cx.create_dir("wal").await.map_err(JournalError::Disk)?;
    cx.sync_dir("").await.map_err(JournalError::Disk)?;
    let mut history = History::new();
    let mut next = 1;
    let mut on_record = |lsn: Lsn, record: &[u8]| {
        assert_eq!(lsn, Lsn(next), "a record out of order");
        next += 1;
        history.push(record.to_vec());
        true
    };
    let (log, recovery) = Log::open(cx, small(), &mut on_record).await?;
    assert_eq!(log.next(), Lsn(next));
    assert_eq!(log.durable().next(), log.next(), "what recovery tells is durable");
    assert_eq!(recovery.last, log.durable());
    Ok((log, recovery, history))
}

fn batch<'a>(records: impl IntoIterator<Item = &'a [u8]>) -> [Records; 1] {
    let mut batch = Records::new();
    for record in records {
        batch.push(|out| out.extend_from_slice(record));
    }
    [batch]
}

async fn append(log: &mut Log, record: &[u8]) -> Result<(), AppendError> {
    log.append(&batch([record]), true).await
}
