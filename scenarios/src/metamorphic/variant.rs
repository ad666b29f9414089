//! A configuration: a position for each knob. The first position of each is the plainest.

use std::{fmt, time::Duration};

use orloj_db::{CommandLimits, Durability, HistoryRetention, NodeConfig};
use orloj_net::envelope::redaction::{DataClass, Redaction};
use orloj_sim::choice::{Choices, Stream};
use orloj_storage::Options;

/// Every knob with what it may be set to. What goes in pages is checked against those, as the
/// options are.
pub const KNOBS: &[(&str, &[u64])] = &[
    // Within the process, native, JSON on lines, RESP2, RESP3.
    ("form", &[0, 1, 2, 3, 4]),
    // Commands that go out together.
    ("batch", &[1, 2, 7, 50, 1_000]),
    // The server's lane, or that of a session.
    ("session", &[0, 1]),
    ("named", &[0, 1]),
    // Starts again on the way.
    ("restarts", &[0, 1, 3]),
    // In order, or dropped where it stands.
    ("dropped", &[0, 1]),
    // Strict, buffered, in memory.
    ("durability", &[0, 1, 2]),
    ("rows", &[64 << 20, 1 << 10, 8 << 10]),
    ("page", &[16 << 10, 4 << 10, 64 << 10]),
    ("inline", &[2 << 10, 64, 512, 8 << 10]),
    // Pages that the cache holds.
    ("cache", &[4_096, 64, 100]),
    ("segment", &[64 << 20, 64 << 10, 1 << 20]),
    ("checkpoint", &[64 << 20, 64 << 10]),
    ("checkpoint-ms", &[60_000, 10, 40]),
    ("group", &[16 << 20, 64 << 10]),
    ("sync-ms", &[100, 1]),
    ("collect", &[50, 1, 99]),
    // Values are never kept in the history.
    ("hidden", &[0, 1]),
    // Outcomes that the history keeps.
    ("outcomes", &[1_000_000, 1]),
    ("buggify", &[0, 1]),
];

/// How a node comes to its end on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Restart {
    InOrder,
    Dropped,
}

/// A position for each knob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant(Vec<u64>);

impl Variant {
    /// The plainest.
    pub fn plain() -> Variant {
        Variant(KNOBS.iter().map(|(_, values)| values[0]).collect())
    }

    /// One of a seed. A third of the knobs stays where it is.
    pub fn draw(seed: u64) -> Variant {
        let mut choices = Choices::from_seed(seed);
        let mut draw = |(name, values): &(&'static str, &[u64])| match choices.chance(
            Stream::Swarm,
            name,
            333_333,
        ) {
            true => values[0],
            false => *choices.pick(Stream::Swarm, name, values),
        };
        Variant(KNOBS.iter().map(&mut draw).collect())
    }

    /// Where a knob stands.
    ///
    /// # Panics
    /// If there is none of that name.
    pub fn of(&self, name: &str) -> u64 {
        let at = KNOBS.iter().position(|(known, _)| *known == name).expect("a knob");
        self.0[at]
    }

    /// The same with a knob somewhere else.
    #[must_use]
    pub fn with(&self, name: &str, value: u64) -> Variant {
        let knobs = KNOBS.iter().zip(&self.0);
        Variant(knobs.map(|((n, _), at)| if *n == name { value } else { *at }).collect())
    }

    /// Where it starts again; what is in memory only does not.
    pub(super) fn restarts(&self) -> Vec<Restart> {
        let how = if self.of("dropped") == 1 { Restart::Dropped } else { Restart::InOrder };
        let count = if self.of("durability") == 2 { 0 } else { self.of("restarts") };
        vec![how; count as usize]
    }

    pub(super) fn config(&self) -> NodeConfig {
        let page = self.of("page");
        let mut redaction = Redaction::default();
        if self.of("hidden") == 1 {
            redaction.classes.set("value", DataClass::NeverPersist).expect("a field");
        }
        let usual = CommandLimits::default();
        NodeConfig {
            durability: match self.of("durability") {
                0 => Durability::Strict,
                1 => Durability::Buffered,
                _ => Durability::InMemory,
            },
            rows_bytes: self.of("rows") as usize,
            storage: Options {
                page_bytes: page as u32,
                inline_bytes: self.of("inline").min(page / 8) as u32,
                cache_bytes: self.of("cache") * page,
                segment_bytes: self.of("segment"),
                checkpoint_bytes: self.of("checkpoint"),
                checkpoint_every: Duration::from_millis(self.of("checkpoint-ms")),
                batch_bytes: self.of("group") as u32,
                sync_every: Duration::from_millis(self.of("sync-ms")),
                collect_percent: self.of("collect") as u8,
                ..Options::new("", orloj_storage::Durability::Strict)
            },
            native: Some("0.0.0.0:6380".to_owned()),
            ws: Some("0.0.0.0:7070".to_owned()),
            commands: CommandLimits { session_rate: 0, global_rate: 0, ..usual },
            history: HistoryRetention {
                outcomes: self.of("outcomes"),
                ..HistoryRetention::default()
            },
            redaction,
            drain_patience: Duration::from_secs(1),
            ..NodeConfig::new("data", "0.0.0.0:6379")
        }
    }
}

/// The knobs that are not where they are in the plainest.
impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moved = KNOBS.iter().zip(&self.0).filter(|((_, values), at)| values[0] != **at);
        let words: Vec<String> = moved.map(|((name, _), at)| format!("{name}={at}")).collect();
        f.write_str(&if words.is_empty() { "plain".to_owned() } else { words.join(" ") })
    }
}
