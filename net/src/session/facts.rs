//! What a session must be told about the server to describe it.

use std::collections::BTreeMap;
use std::sync::Arc;

use core::time::Duration;

use bytes::Bytes;

use crate::resp::Limits;
use crate::words::{Answer, Blob, Refusal, glob_matches};

/// The Redis release whose behaviour and texts are followed: clients choose features by it.
pub const REDIS_VERSION: &str = "7.4.0";

/// The server at one moment, as far as its clients may know it.
#[derive(Clone, Debug)]
pub struct ServerFacts {
    /// This server's own version.
    pub version: &'static str,
    /// Forty hexadecimal digits that differ in every run.
    pub run_id: Arc<str>,
    /// The operating system's number for the process, 0 if there is none.
    pub process_id: u32,
    /// The port clients connect to.
    pub port: u16,
    /// The wall clock, in microseconds since the Unix epoch.
    pub now_micros: u64,
    /// Since the server began to serve.
    pub uptime: Duration,
    /// Whether recovery is still reading the journal.
    pub loading: bool,
    /// When a write is acknowledged: `strict`, `buffered` or `in_memory`.
    pub durability: &'static str,
    /// Bytes of memory in use.
    pub memory_used: u64,
    /// Open connections.
    pub connections: u64,
    /// Connections accepted since the start, or since CONFIG RESETSTAT.
    pub connections_total: u64,
    /// Commands processed since the start, or since CONFIG RESETSTAT.
    pub commands_total: u64,
    /// Keys in the store.
    pub keys: u64,
    /// Keys with a deadline.
    pub keys_expiring: u64,
    /// What CONFIG shows and changes.
    pub settings: Arc<Settings>,
}

/// Named values, as CONFIG GET and CONFIG SET see them.
///
/// Setting a value to what it already is always succeeds, so that a client which insists on a
/// default is content; a different value is taken only where the node said it may change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    entries: BTreeMap<String, Setting>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Setting {
    value: Bytes,
    fixed: bool,
}

impl Settings {
    /// No settings.
    pub fn new() -> Settings {
        Settings::default()
    }

    /// The settings that clients and tools of Redis ask for, with the values that are true here.
    pub fn standard(limits: &Limits) -> Settings {
        let mut settings = Settings::new();
        for (name, value) in [
            ("databases", super::DATABASES.to_string()),
            ("save", String::new()),
            ("maxmemory", "0".to_owned()),
            ("maxmemory-policy", "noeviction".to_owned()),
            ("timeout", "0".to_owned()),
            ("notify-keyspace-events", String::new()),
            ("cluster-enabled", "no".to_owned()),
            ("proto-max-bulk-len", limits.bulk.to_string()),
            ("client-query-buffer-limit", limits.query.to_string()),
        ] {
            settings.fix(name, value);
        }
        settings
    }

    /// Sets a value that clients may read and not change. Names are lower case.
    pub fn fix(&mut self, name: &str, value: impl Into<Bytes>) {
        self.entries.insert(name.to_owned(), Setting { value: value.into(), fixed: true });
    }

    /// Sets a value that clients may change.
    pub fn open(&mut self, name: &str, value: impl Into<Bytes>) {
        self.entries.insert(name.to_owned(), Setting { value: value.into(), fixed: false });
    }

    /// The value of a setting.
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        self.entries.get(name).map(|setting| &setting.value)
    }

    /// CONFIG GET: the settings whose names match one of the globs in any case.
    pub(super) fn matching(&self, globs: &[Bytes]) -> Answer {
        let globs: Vec<Vec<u8>> = globs.iter().map(|glob| glob.to_ascii_lowercase()).collect();
        let wanted = |name: &str| globs.iter().any(|glob| glob_matches(glob, name.as_bytes()));
        let text = |bytes: &Bytes| Answer::Bulk(Blob::new(bytes));
        let found = self.entries.iter().filter(|(name, _)| wanted(name));
        let pair = |(name, setting): (&String, &Setting)| {
            (Answer::Bulk(Blob::new(name.as_bytes())), text(&setting.value))
        };
        Answer::Map(found.map(pair).collect())
    }

    /// CONFIG SET: what would change, if all of it may.
    pub(super) fn changes(
        &self,
        pairs: Vec<(Bytes, Bytes)>,
    ) -> Result<Vec<(Bytes, Bytes)>, Refusal> {
        const FAILED: &str = "CONFIG SET failed (possibly related to argument '";
        let mut changes: Vec<(Bytes, Bytes)> = Vec::new();
        for (sent, value) in pairs {
            let name = sent.to_ascii_lowercase();
            let known = std::str::from_utf8(&name).ok().and_then(|name| self.entries.get(name));
            let Some(setting) = known else {
                let before = "Unknown option or number of arguments for CONFIG SET - '";
                return Err(Refusal::about(before, &sent, "'"));
            };
            if changes.iter().any(|(other, _)| **other == *name) {
                return Err(Refusal::about(FAILED, &sent, "') - duplicate parameter"));
            }
            if setting.value.eq_ignore_ascii_case(&value) {
                continue;
            }
            if setting.fixed {
                return Err(Refusal::about(FAILED, &sent, "') - can't set immutable config"));
            }
            changes.push((name.into(), value));
        }
        Ok(changes)
    }
}
