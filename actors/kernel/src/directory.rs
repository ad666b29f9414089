//! Who lives on a host: every actor by name, inspectable at any instant.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
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
pub struct Directory(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    by_name: BTreeMap<String, Weak<dyn Inspect>>,
    /// How often a wanted name was taken already: where the search for a free one begins.
    namesakes: BTreeMap<&'static str, u64>,
    /// Entries at which those that dropped out are removed: twice the living of the last time.
    sweep_at: usize,
}

impl Entries {
    fn free_name(&mut self, wanted: &'static str) -> String {
        let taken = |name: &str| self.by_name.get(name).is_some_and(|e| e.strong_count() > 0);
        if !taken(wanted) {
            return wanted.to_owned();
        }
        let number = self.namesakes.entry(wanted).or_insert(1);
        loop {
            *number += 1;
            let name = format!("{wanted}-{number}");
            if !taken(&name) {
                return name;
            }
        }
    }
}

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

    /// Enters what `make` makes under a name that nobody has: `wanted`, or `wanted-2`, `wanted-3`
    /// and so on.
    pub(crate) fn enter<T>(
        &self,
        wanted: &'static str,
        make: impl FnOnce(String) -> (T, Weak<dyn Inspect>),
    ) -> T {
        let mut entries = self.entries();
        if entries.by_name.len() >= entries.sweep_at {
            entries.by_name.retain(|_, e| e.strong_count() > 0);
            entries.sweep_at = (entries.by_name.len() * 2).max(64);
        }
        let name = entries.free_name(wanted);
        let (made, entry) = make(name.clone());
        entries.by_name.insert(name, entry);
        made
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every actor, by name.
    pub fn list(&self) -> Vec<Status> {
        let living: Vec<Arc<dyn Inspect>> =
            self.entries().by_name.values().filter_map(Weak::upgrade).collect();
        living.iter().map(|e| e.status()).collect()
    }

    /// The actor called `name`.
    pub fn find(&self, name: &str) -> Option<Status> {
        let entry = self.entries().by_name.get(name)?.upgrade()?;
        Some(entry.status())
    }
}
