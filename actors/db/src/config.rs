//! What a node is told at its start.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use bytes::Bytes;
use orloj_net::resp::Limits;
use orloj_storage::Options;

use crate::Observer;

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When it would survive a power cut. No answer, a read's included, shows anything that would
    /// not.
    #[default]
    Strict,
    /// When it would survive the end of the process. A power cut takes at most the last 100
    /// milliseconds or 1,000 records, whichever is less, and the time of one sync.
    Buffered,
    /// At once. Nothing is read from the disk and nothing is written to it.
    InMemory,
}

impl Durability {
    /// Its name in flags, files and answers.
    pub fn name(self) -> &'static str {
        match self {
            Durability::Strict => "strict",
            Durability::Buffered => "buffered",
            Durability::InMemory => "in_memory",
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that names no durability.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("durability is strict, buffered or in_memory, not {0:?}")]
pub struct UnknownDurability(pub String);

impl FromStr for Durability {
    type Err = UnknownDurability;
    fn from_str(name: &str) -> Result<Durability, UnknownDurability> {
        [Durability::Strict, Durability::Buffered, Durability::InMemory]
            .into_iter()
            .find(|d| d.name() == name)
            .ok_or_else(|| UnknownDurability(name.to_owned()))
    }
}

/// Everything a node is told. [`NodeConfig::new`] has the defaults.
#[derive(Clone)]
pub struct NodeConfig {
    /// The database's directory. Made if absent. Not touched in [`Durability::InMemory`].
    pub data: String,
    /// Where RESP clients connect: `host:port`. Port 0 asks for any free one.
    pub resp: String,
    /// When a write is acknowledged.
    pub durability: Durability,
    /// What one client may send.
    pub limits: Limits,
    /// Most connections at a time.
    pub max_clients: u32,
    /// Bytes of answers that may wait for one client to read them. One that leaves more is
    /// disconnected.
    pub output_max: usize,
    /// How long a client may take none of the answers that wait for it before it is disconnected.
    pub output_patience: Duration,
    /// How long draining may take before connections are cut.
    pub drain_patience: Duration,
    /// What clients must give to AUTH before anything else.
    pub password: Option<Bytes>,
    /// Bytes of memory for rows that were used lately, in front of the engine's own cache.
    pub rows_bytes: usize,
    /// How the storage engine works. Directory and durability are those above.
    pub storage: Options,
    /// What INFO shows as this server's version.
    pub version: &'static str,
    /// What INFO shows as the process's number, 0 if there is none.
    pub process_id: u32,
    /// Who is told what the node executes. For simulations; `None` costs nothing.
    pub observer: Option<Arc<dyn Observer>>,
}

impl NodeConfig {
    /// A strict node with its data in `data` and its clients at `resp`.
    pub fn new(data: impl Into<String>, resp: impl Into<String>) -> NodeConfig {
        NodeConfig {
            data: data.into(),
            resp: resp.into(),
            durability: Durability::Strict,
            limits: Limits::default(),
            max_clients: 10_000,
            output_max: 256 << 20,
            output_patience: Duration::from_secs(60),
            drain_patience: Duration::from_secs(5),
            password: None,
            rows_bytes: 64 << 20,
            storage: Options::new("", orloj_storage::Durability::Strict),
            version: env!("CARGO_PKG_VERSION"),
            process_id: 0,
            observer: None,
        }
    }

    /// How the storage engine is to be opened.
    pub(crate) fn engine(&self) -> Options {
        Options {
            dir: self.data.clone(),
            durability: match self.durability {
                Durability::Strict => orloj_storage::Durability::Strict,
                Durability::Buffered => orloj_storage::Durability::Buffered,
                Durability::InMemory => orloj_storage::Durability::InMemory,
            },
            // The store decides what is dead: it counts keys.
            sweeps: false,
            ..self.storage.clone()
        }
    }
}

impl fmt::Debug for NodeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeConfig")
            .field("data", &self.data)
            .field("resp", &self.resp)
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}
