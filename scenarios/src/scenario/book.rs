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

/// The built-in scenario of this name.
///
/// # Errors
/// When there is none, or when it does not make sense.
pub fn find(name: &str) -> Result<Scenario, ScenarioError> {
    match BOOK.iter().find(|listing| listing.name == name) {
        Some(listing) => Scenario::parse(listing.name, listing.text),
        None => {
            let known: Vec<&str> = BOOK.iter().map(|listing| listing.name).collect();
            Err(ScenarioError::Unknown { name: name.to_owned(), known: known.join(", ") })
        }
    }
}
