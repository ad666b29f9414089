//! The node's process, and the supervisor outside of it that starts it again.

use std::{sync::Arc, time::Duration};

use orloj_db::{
    CommandLimits, Durability, HistoryRetention, Node, NodeConfig, Observer, StartError,
};
use orloj_invariants::{Ending, Halt, Moment};
use orloj_kernel::{Context, Shutdown};
use orloj_net::envelope::redaction::{DataClass, Redaction};
use orloj_sim::{Control, fault::FaultClass};
use orloj_storage::Options;

use crate::{
    nemesis::Victim,
    recorder::{LifeLine, Recorder, now},
    scenario::Plan,
};

/// The node's host.
pub(crate) const NODE: &str = "node";
/// Where its clients connect.
pub(crate) const ADDRESS: &str = "node:6379";
/// Where those connect that speak the native protocol.
pub(crate) const NATIVE: &str = "node:6380";
/// Where clients connect that speak JSON, if any do.
pub(crate) const JSON: &str = "node:7070";
/// The files that hold its history.
pub(crate) const JOURNAL: &str = "data/wal/*";

/// The node's configuration in this run.
pub(crate) fn config(plan: &Plan, observer: Arc<dyn Observer>) -> NodeConfig {
    NodeConfig {
        durability: match plan.durability {
            orloj_invariants::Durability::Strict => Durability::Strict,
            orloj_invariants::Durability::Buffered { .. } => Durability::Buffered,
            orloj_invariants::Durability::InMemory => Durability::InMemory,
        },
        rows_bytes: usize::try_from(plan.rows).unwrap_or(usize::MAX),
        storage: Options {
            page_bytes: 4096,
            inline_bytes: plan.storage.inline_bytes as u32,
            cache_bytes: plan.storage.cache_bytes,
            segment_bytes: 64 << 10,
            checkpoint_bytes: plan.storage.checkpoint_bytes,
            checkpoint_every: plan.storage.checkpoint_every,
            ..Options::new("", orloj_storage::Durability::Strict)
        },
        output_max: usize::try_from(plan.output).unwrap_or(usize::MAX),
        max_clients: plan.connections,
        output_patience: Duration::from_secs(5),
        drain_patience: Duration::from_secs(1),
        observer: Some(observer),
        native: plan.commands.as_ref().filter(|c| c.network).map(|_| "0.0.0.0:6380".to_owned()),
        ws: plan.commands.as_ref().and_then(|c| c.json_ppm).map(|_| "0.0.0.0:7070".to_owned()),
        native_credits: plan.commands.as_ref().map_or(256, |commands| commands.credits),
        commands: limits(plan),
        history: retention(plan),
        redaction: redaction(plan),
        ..NodeConfig::new("data", "0.0.0.0:6379")
    }
}

/// How much it takes in envelopes.
fn limits(plan: &Plan) -> CommandLimits {
    let usual = CommandLimits::default();
    match &plan.commands {
        None => usual,
        Some(commands) => CommandLimits {
            session_rate: commands.rate,
            global_rate: 0,
            in_flight: commands.in_flight,
            dependency_patience: commands.dependency_wait,
            idempotency_keep: commands.key_life,
            ..usual
        },
    }
}

/// What it lets go of the history.
fn retention(plan: &Plan) -> HistoryRetention {
    match plan.commands.as_ref().and_then(|commands| commands.upkeep.as_ref().zip(Some(commands))) {
        None => HistoryRetention::default(),
        // Those in flight may end in another order than they were accepted in.
        Some((upkeep, commands)) => HistoryRetention {
            age: upkeep.age,
            bytes: upkeep.bytes,
            outcomes: upkeep.outcomes + commands.in_flight as u64 + 100,
        },
    }
}

/// What it hides in it.
fn redaction(plan: &Plan) -> Redaction {
    let mut redaction = Redaction::default();
    let upkeep = plan.commands.as_ref().and_then(|commands| commands.upkeep.as_ref());
    if upkeep.is_some_and(|upkeep| upkeep.is_hidden) {
        redaction.classes.set("value", DataClass::NeverPersist).expect("a field");
    }
    redaction
}

/// One life of the process, from its start to its own end. `meet` is shown the node when it serves.
pub(crate) async fn process(
    cx: Context,
    config: NodeConfig,
    recorder: Arc<Recorder>,
    stop: Stop,
    may_refuse: bool,
    meet: impl FnOnce(&Node),
) {
    let _life = LifeLine(recorder.clone());
    let shutdown = stop.for_this_life();
    let started = Node::start(config, cx).await;
    let (why, refuses) = match started {
        Ok(node) => {
            meet(&node);
            match node.run(&shutdown).await {
                Ok(()) => ("it was told to stop".to_owned(), None),
                Err(escalation) => (escalation.to_string(), None),
            }
        }
        Err(error) => {
            let refuses = refusal(&error).map(|allowed| {
                let damaged = Control.faults().injected(FaultClass::DiskBitRot) > 0;
                let allowed = allowed && may_refuse && damaged;
                Halt { at: now(), cause: error.to_string(), allowed }
            });
            (error.to_string(), refuses)
        }
    };
    drop(_life);
    recorder.node_ended(why, refuses);
}

/// Whether a start that failed will fail for ever, and then whether damage could excuse it.
fn refusal(error: &StartError) -> Option<bool> {
    match error {
        StartError::Damaged { .. } => Some(true),
        StartError::Newer { .. }
        | StartError::Foreign { .. }
        | StartError::NotOurs { .. }
        | StartError::Ignored { .. }
        | StartError::Older { .. }
        | StartError::Unfinished { .. }
        | StartError::Settings(_)
        | StartError::Address { .. } => Some(false),
        // The disk may have room, or be writable, the next time.
        StartError::Full(_)
        | StartError::Disk(_)
        | StartError::Directory(_)
        | StartError::Ended(_)
        | StartError::Locked { .. }
        | StartError::PortInUse { .. } => None,
    }
}

/// Lets the scenario ask the node to stop in order.
#[derive(Clone, Default)]
pub(crate) struct Stop(Arc<std::sync::Mutex<Shutdown>>);

impl Stop {
    fn for_this_life(&self) -> Shutdown {
        let fresh = Shutdown::new();
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = fresh.clone();
        fresh
    }

    /// Asks the node that runs now.
    pub(crate) fn ask(&self) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).begin();
    }
}

/// The node as it is struck.
pub(crate) struct Struck {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) stop: Stop,
}

impl Victim for Struck {
    fn strikes(&self, how: Ending) {
        self.recorder.strikes(how);
    }

    fn has_refused(&self) -> bool {
        self.recorder.halt().is_some()
    }

    fn ask_to_stop(&self) {
        self.stop.ask();
    }
}

/// Starts the node again whenever its process has ended by itself, as a service manager would,
/// until it refuses to serve its data.
pub(crate) async fn keep_alive(cx: Context, recorder: Arc<Recorder>) {
    loop {
        recorder.until_node_ended().await;
        if recorder.halt().is_some() {
            return;
        }
        let rest = Control.between("restart-after", 1_000_000, 100_000_000);
        cx.sleep(Duration::from_nanos(rest)).await;
        // The process is gone; what it left running goes too.
        Control.exit(NODE);
        Control.restart(NODE);
    }
}

/// Waits until the node is up and has recovered, or refuses to, or a moment has come. Whether it is
/// up.
pub(crate) async fn until_up(cx: Context, recorder: &Recorder, limit: Moment) -> bool {
    loop {
        if recorder.is_up() {
            return true;
        }
        if recorder.halt().is_some() || now() >= limit {
            return false;
        }
        cx.sleep(Duration::from_millis(20)).await;
    }
}
