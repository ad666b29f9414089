//! The scenarios that come with the binary.

use super::{Scenario, ScenarioError};

/// A scenario's name and text, as they were when the binary was built.
#[derive(Clone, Copy, Debug)]
pub struct Listing {
    /// Its name.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

macro_rules! book {
    ($($name:literal,)*) => {
        &[$(Listing { name: $name, text: include_str!(concat!("../../", $name, ".toml")) }),*]
    };
}

const BOOK: &[Listing] = book![
    "default",
    "bit-rot-middle",
    "bit-rot-tail",
    "buffered",
    "commands",
    "commands-buffered",
    "commands-clocks",
    "commands-crash",
    "commands-cycles",
    "commands-disk-full",
    "commands-json",
    "commands-limits",
    "commands-network",
    "commands-upkeep",
    "crash-anywhere",
    "crowded",
    "disk-full",
    "engine",
    "engine-buffered",
    "engine-clocks",
    "engine-crowded",
    "engine-damage",
    "engine-disk-full",
    "engine-failed-sync",
    "engine-in-memory",
    "engine-misread",
    "engine-old-disk",
    "engine-old-file",
    "engine-power-loss",
    "engine-slow-disk",
    "failed-sync",
    "in-memory",
    "misread",
    "network-cuts",
    "partial-frames",
    "pipelining",
    "skewed-clocks",
    "slow-clients",
    "torn-and-lost-writes",
];

/// Every built-in scenario.
pub fn list() -> &'static [Listing] {
    BOOK
}

/// The most times that a scenario may be made longer.
const LONGEST: u64 = 1_000;

/// The built-in scenario of this name. `NAME@8` is the same with eight times as much time and
/// eight times as many requests before its faults stop.
///
/// # Errors
/// When there is none, or when it does not make sense.
pub fn find(name: &str) -> Result<Scenario, ScenarioError> {
    let (plain, times) = match name.split_once('@') {
        Some((plain, times)) => (plain, times.parse().ok().filter(|n| (1..=LONGEST).contains(n))),
        None => (name, Some(1)),
    };
    match (BOOK.iter().find(|listing| listing.name == plain), times) {
        (Some(listing), Some(times)) => {
            let scenario = Scenario::parse(listing.name, listing.text)?;
            Ok(scenario.longer(name, times))
        }
        _ => {
            let known: Vec<&str> = BOOK.iter().map(|listing| listing.name).collect();
            Err(ScenarioError::Unknown { name: name.to_owned(), known: known.join(", ") })
        }
    }
}

impl Scenario {
    /// The same under another name, for so many times as long.
    fn longer(mut self, name: &str, times: u64) -> Scenario {
        self.title = name.to_owned();
        self.duration = self.duration.times(times);
        self.clients.requests = self.clients.requests.times(times);
        self
    }
}
