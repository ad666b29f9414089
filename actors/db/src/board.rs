//! What the parts of a node show each other without a message: counts and settings.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};

use bytes::Bytes;
use orloj_kernel::{Context, Instant};
use orloj_net::{
    Answer, Cursors, Refusal,
    envelope::RecoverySummary,
    session::{NodeCall, ServerFacts, Settings},
};

use orloj_storage::journal::Recovery;

use crate::{Durability, NodeConfig, store::Counts};

/// Counters are read for show only, so their order does not matter.
const SHOWN: Ordering = Ordering::Relaxed;

/// One node's notice board.
#[derive(Debug)]
pub(crate) struct Board {
    cursors: Mutex<Cursors>,
    settings: Mutex<Arc<Settings>>,
    max_clients: AtomicU32,
    keys: AtomicU64,
    keys_expiring: AtomicU64,
    memory: AtomicU64,
    pub(crate) connections: AtomicU64,
    connections_total: AtomicU64,
    commands_total: AtomicU64,
    next_connection: AtomicU64,
    started: Instant,
    run_id: Arc<str>,
    port: AtomicU32,
    durability: Durability,
    version: &'static str,
    process_id: u32,
    in_flight: AtomicU64,
    is_ready: AtomicBool,
    is_stopping: AtomicBool,
    recovery: Mutex<RecoverySummary>,
    journal: Mutex<Recovery>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Board {
    pub(crate) fn new(cx: &Context, config: &NodeConfig) -> Board {
        let id: String = (0..5).map(|_| format!("{:08x}", cx.entropy() as u32)).collect();
        Board {
            cursors: Mutex::default(),
            settings: Mutex::new(Arc::new(settings(config))),
            max_clients: AtomicU32::new(config.max_clients),
            keys: AtomicU64::new(0),
            keys_expiring: AtomicU64::new(0),
            memory: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            connections_total: AtomicU64::new(0),
            commands_total: AtomicU64::new(0),
            next_connection: AtomicU64::new(1),
            started: cx.now(),
            run_id: id.into(),
            port: AtomicU32::new(0),
            durability: config.durability,
            version: config.version,
            process_id: config.process_id,
            in_flight: AtomicU64::new(0),
            is_ready: AtomicBool::new(false),
            is_stopping: AtomicBool::new(false),
            recovery: Mutex::default(),
            journal: Mutex::default(),
        }
    }

    /// What the store has to say of itself.
    pub(crate) fn show_store(&self, counts: Counts, memory: usize) {
        self.keys.store(counts.keys, SHOWN);
        self.keys_expiring.store(counts.expiring, SHOWN);
        self.memory.store(memory as u64, SHOWN);
    }

    pub(crate) fn cursors(&self) -> MutexGuard<'_, Cursors> {
        lock(&self.cursors)
    }

    pub(crate) fn max_clients(&self) -> u64 {
        u64::from(self.max_clients.load(SHOWN))
    }

    pub(crate) fn set_port(&self, port: u16) {
        self.port.store(u32::from(port), SHOWN);
    }

    /// Whether commands in envelopes are taken.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_ready.load(SHOWN)
    }

    /// What recovery found in the journal.
    pub(crate) fn show_journal(&self, journal: Recovery) {
        *lock(&self.journal) = journal;
    }

    /// What recovery has found and done.
    pub(crate) fn show_recovery(&self, mut summary: RecoverySummary) {
        let journal = lock(&self.journal);
        (summary.segments, summary.records) = (journal.segments, journal.records);
        summary.cut_bytes = journal.cut.as_ref().map_or(0, |cut| cut.bytes);
        drop(journal);
        *lock(&self.recovery) = summary;
        self.is_ready.store(true, SHOWN);
    }

    /// As it was shown.
    pub(crate) fn recovery(&self) -> RecoverySummary {
        lock(&self.recovery).clone()
    }

    pub(crate) fn show_in_flight(&self, commands: usize) {
        self.in_flight.store(commands as u64, SHOWN);
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.load(SHOWN)
    }

    /// From now on no command in an envelope is taken.
    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, SHOWN);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(SHOWN)
    }

    /// Counts a connection and gives it its number.
    pub(crate) fn connected(&self) -> u64 {
        self.connections_total.fetch_add(1, SHOWN);
        self.next_connection.fetch_add(1, SHOWN)
    }

    pub(crate) fn count_commands(&self, count: usize) {
        self.commands_total.fetch_add(count as u64, SHOWN);
    }

    /// The server as its clients may know it.
    pub(crate) fn facts(&self, cx: &Context) -> ServerFacts {
        ServerFacts {
            version: self.version,
            run_id: self.run_id.clone(),
            process_id: self.process_id,
            port: self.port.load(SHOWN) as u16,
            now_micros: cx.wall().0,
            uptime: cx.now() - self.started,
            loading: false,
            durability: self.durability.name(),
            memory_used: self.memory.load(SHOWN),
            connections: self.connections.load(SHOWN),
            connections_total: self.connections_total.load(SHOWN),
            commands_total: self.commands_total.load(SHOWN),
            keys: self.keys.load(SHOWN),
            keys_expiring: self.keys_expiring.load(SHOWN),
            settings: lock(&self.settings).clone(),
        }
    }

    /// Does what a client asks of the whole node.
    pub(crate) fn call(&self, call: NodeCall) -> Answer {
        match call {
            NodeCall::Configure(changes) => {
                self.configure(&changes).map_or_else(Answer::Error, |()| Answer::Ok)
            }
            NodeCall::ResetStats => {
                self.commands_total.store(0, SHOWN);
                self.connections_total.store(0, SHOWN);
                Answer::Ok
            }
        }
    }

    /// All changes or none.
    fn configure(&self, changes: &[(Bytes, Bytes)]) -> Result<(), Refusal> {
        let mut settings = lock(&self.settings);
        let mut changed = Settings::clone(&settings);
        let mut max_clients = None;
        for (name, value) in changes {
            // The one setting that is open to change.
            let number = std::str::from_utf8(value).ok().and_then(|v| v.parse::<u32>().ok());
            let number = number.filter(|n| *n > 0).ok_or(Refusal::Other {
                text: "CONFIG SET failed - argument must be between 1 and 4294967295 inclusive",
            })?;
            max_clients = Some(number);
            changed.open(&String::from_utf8_lossy(name), number.to_string());
        }
        if let Some(number) = max_clients {
            self.max_clients.store(number, SHOWN);
        }
        *settings = Arc::new(changed);
        Ok(())
    }
}

/// What CONFIG shows. Redis's names for durability are those that tools look at.
fn settings(config: &NodeConfig) -> Settings {
    let mut settings = Settings::standard(&config.limits);
    let (append, sync) = match config.durability {
        Durability::Strict => ("yes", "always"),
        Durability::Buffered => ("yes", "everysec"),
        Durability::InMemory => ("no", "no"),
    };
    settings.fix("appendonly", append);
    settings.fix("appendfsync", sync);
    settings.fix("durability", config.durability.name());
    settings.open("maxclients", config.max_clients.to_string());
    settings
}
