//! Settings of a database, each with its bounds.

use std::time::Duration;

use crate::page::{PAGE_HEAD, UNIT};

/// When a write is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When it is synced. Nobody is shown what a crash could take back.
    Strict,
    /// When it is in memory and on its way to the journal, which is synced every so often.
    Buffered,
    /// When it is in memory. There are no files.
    InMemory,
}

/// How a database is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Its directory; made if absent. Of no meaning in memory.
    pub dir: String,
    /// When a write is answered.
    pub durability: Durability,
    /// Bytes at which a leaf in memory splits. Fixed when the database is made. A power of two,
    /// 4 KiB to 64 KiB.
    pub page_bytes: u32,
    /// Values above this many bytes go to the value log. Fixed when the database is made. 64 bytes
    /// to an eighth of a page, so that a page holds eight at least.
    pub inline_bytes: u32,
    /// Bytes of memory for pages and values: the cache's budget. 64 pages at least.
    pub cache_bytes: u64,
    /// Bytes of a full-grown journal or value segment. 64 KiB to 4 GiB, in units of 4 KiB.
    pub segment_bytes: u64,
    /// Bytes of journal after which a checkpoint begins. 64 KiB at least.
    pub checkpoint_bytes: u64,
    /// Time after which a checkpoint begins if anything was written. 10 ms at least.
    pub checkpoint_every: Duration,
    /// Bytes of records that may wait for the journal before writers wait. 64 KiB to 1 GiB.
    pub batch_bytes: u32,
    /// The longest that [`Durability::Buffered`] leaves a write unsynced. 1 ms at least.
    pub sync_every: Duration,
    /// The share of dead bytes, in percent, at which a value segment is collected. 1 to 99.
    pub collect_percent: u8,
    /// How long a transaction waits for locks. 1 ms at least.
    pub lock_wait: Duration,
    /// Whether the database itself deletes keys whose deadline has passed. Where somebody else
    /// decides that, as the leader of replicas, it must not.
    pub sweeps: bool,
}

impl Options {
    /// A database in `dir` with the defaults.
    pub fn new(dir: impl Into<String>, durability: Durability) -> Options {
        Options {
            dir: dir.into(),
            durability,
            page_bytes: 16 << 10,
            inline_bytes: 2 << 10,
            cache_bytes: 64 << 20,
            segment_bytes: 64 << 20,
            checkpoint_bytes: 64 << 20,
            checkpoint_every: Duration::from_secs(60),
            batch_bytes: 16 << 20,
            sync_every: Duration::from_millis(100),
            collect_percent: 50,
            lock_wait: Duration::from_secs(10),
            sweeps: true,
        }
    }

    /// Makes sure that every setting is within its bounds.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check(&self) -> Result<(), OptionsError> {
        let page = u64::from(self.page_bytes);
        let unit = UNIT as u64;
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let in_units = |bytes: u64| bytes.is_multiple_of(unit);
        bound("page_bytes", page, unit, 64 << 10, page.is_power_of_two())?;
        bound("inline_bytes", self.inline_bytes.into(), 64, page / 8, true)?;
        bound("cache_bytes", self.cache_bytes, 64 * page, u64::MAX, true)?;
        let segment = self.segment_bytes;
        bound("segment_bytes", segment, 64 << 10, 4 << 30, in_units(segment))?;
        bound("checkpoint_bytes", self.checkpoint_bytes, 64 << 10, u64::MAX, true)?;
        bound("checkpoint_every", millis(self.checkpoint_every), 10, u64::MAX, true)?;
        bound("batch_bytes", self.batch_bytes.into(), 64 << 10, 1 << 30, true)?;
        bound("sync_every", millis(self.sync_every), 1, u64::MAX, true)?;
        bound("collect_percent", self.collect_percent.into(), 1, 99, true)?;
        bound("lock_wait", millis(self.lock_wait), 1, u64::MAX, true)
    }
}

/// A page must hold eight entries of the largest inline size; its head must not eat that up.
const _: () = assert!(PAGE_HEAD * 8 < UNIT);

/// A setting is out of its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name} is {value}; it must be from {min} to {max}{}",
    if *.step { "" } else { ", and round" }
)]
pub struct OptionsError {
    /// Which.
    pub name: &'static str,
    /// What was given; times in ms.
    pub value: u64,
    /// The least.
    pub min: u64,
    /// The most.
    pub max: u64,
    /// Whether it has the form it must have: a power of two, or whole units.
    pub step: bool,
}

fn bound(
    name: &'static str,
    value: u64,
    min: u64,
    max: u64,
    step: bool,
) -> Result<(), OptionsError> {
    match (min..=max).contains(&value) && step {
        true => Ok(()),
        false => Err(OptionsError { name, value, min, max, step }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_within_their_bounds_and_what_is_not_is_named() {
        let fine = Options::new("db", Durability::Strict);
        assert_eq!(fine.check(), Ok(()));
        let refused = [
            ("page_bytes", Options { page_bytes: 2048, ..fine.clone() }),
            ("page_bytes", Options { page_bytes: 12 << 10, ..fine.clone() }),
            ("inline_bytes", Options { inline_bytes: 4096, ..fine.clone() }),
            ("cache_bytes", Options { cache_bytes: 0, ..fine.clone() }),
            ("segment_bytes", Options { segment_bytes: (64 << 20) + 1, ..fine.clone() }),
            ("checkpoint_bytes", Options { checkpoint_bytes: 1, ..fine.clone() }),
            ("checkpoint_every", Options { checkpoint_every: Duration::ZERO, ..fine.clone() }),
            ("batch_bytes", Options { batch_bytes: u32::MAX, ..fine.clone() }),
            ("sync_every", Options { sync_every: Duration::ZERO, ..fine.clone() }),
            ("collect_percent", Options { collect_percent: 100, ..fine.clone() }),
        ];
        for (name, options) in refused {
            assert_eq!(options.check().map_err(|e| e.name), Err(name), "{options:?}");
        }
        let said = Options { page_bytes: 12 << 10, ..fine }.check().map_err(|e| e.to_string());
        assert_eq!(
            said,
            Err("page_bytes is 12288; it must be from 4096 to 65536, and round".into())
        );
    }
}
