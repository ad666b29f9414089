//! Who lives on a host: every actor by name, inspectable at any instant.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

/// What can be known of an actor without asking it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its name, unique on its host.
    pub name: String,
    /// Messages that wait.
    pub depth: usize,
    /// The most that ever waited.
    pub depth_max: usize,
    /// Room for messages.
    pub capacity: usize,
    /// Messages handled.
    pub handled: u64,
    /// Turns taken; `handled / turns` is the mean batch.
    pub turns: u64,
    /// Messages dropped for newer ones.
    pub dropped: u64,
    /// Messages refused for want of room.
    pub refused: u64,
    /// Time spent in turns, waits inside of them included.
    pub busy: Duration,
    /// Times it was restarted.
    pub restarts: u32,
    /// The label of the last message handled.
    pub last: &'static str,
    /// Whether it still takes messages.
    pub alive: bool,
}

/// Something whose [`Status`] can be read.
pub trait Inspect: Send + Sync {
    /// What it is like now.
    fn status(&self) -> Status;
}

/// The actors of one host. Those that have ended and are forgotten by everybody drop out.
#[derive(Default)]
pub struct Directory(Mutex<BTreeMap<String, Weak<dyn Inspect>>>);

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.list()).finish()
    }
}

impl Directory {
    /// An empty directory.
    pub fn new() -> Directory {
        Directory::default()
    }

    /// A name nobody has: `wanted`, or `wanted-2`, `wanted-3` and so on.
    pub(crate) fn free_name(&self, wanted: &str) -> String {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = |name: &str| entries.get(name).is_some_and(|e| e.strong_count() > 0);
        let mut name = wanted.to_owned();
        let mut n = 2;
        while taken(&name) {
            name = format!("{wanted}-{n}");
            n += 1;
        }
        name
    }

    pub(crate) fn enter(&self, name: String, who: Weak<dyn Inspect>) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|_, e| e.strong_count() > 0);
        entries.insert(name, who);
    }

    /// Every actor, by name.
    pub fn list(&self) -> Vec<Status> {
        let living: Vec<Arc<dyn Inspect>> = {
            let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            entries.values().filter_map(Weak::upgrade).collect()
        };
        living.iter().map(|e| e.status()).collect()
    }

    /// The actor called `name`.
    pub fn find(&self, name: &str) -> Option<Status> {
        let entry = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name)?.upgrade()?;
        Some(entry.status())
    }
}
