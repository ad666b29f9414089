//! The model: every write that was ever asked for, and what became of it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use orloj_storage::{Error, Lsn, Verdict};

/// Keys there may be.
pub(crate) const KEYS: u64 = 60;

/// A key as it was seen: its version and its value.
pub(crate) type Seen = (Vec<u8>, Lsn, Vec<u8>);

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Nobody knows yet, or ever.
    Open,
    /// It has this version, and no crash may take it back.
    Acknowledged(Lsn),
    /// It never happened.
    Refused,
}

#[derive(Debug)]
struct Write {
    /// The keys, and whether each gets a value or is deleted.
    keys: Vec<(u64, bool)>,
    fate: Fate,
    /// The version at which it was seen.
    seen: Option<Lsn>,
}

#[derive(Debug, Default)]
struct Model {
    writes: Vec<Write>,
    /// The newest acknowledged version of each key, and whether it has a value.
    newest: BTreeMap<u64, (Lsn, bool)>,
    /// What is only buffered is shown before it is durable.
    is_buffered: bool,
    /// The disk lies: what is gone is not held against anybody.
    is_lied_to: bool,
}

/// The model outlives every process that feeds it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shared(Arc<Mutex<Model>>);

/// What every reader must see from some moment on.
#[derive(Clone, Debug)]
pub(crate) struct Known(BTreeMap<u64, (Lsn, bool)>);

pub(crate) fn key(number: u64) -> Vec<u8> {
    // Some keys share long beginnings, and one is long.
    match number % 7 {
        0 => format!("{}/{number}", "k".repeat(200)).into_bytes(),
        1 => format!("user/{number:08}").into_bytes(),
        _ => number.to_be_bytes().to_vec(),
    }
}

/// The value that a write gives a key: both can be told from it, and every byte is known.
pub(crate) fn value(write: usize, number: u64) -> Vec<u8> {
    let mix = (write as u64 ^ number << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let len = match mix >> 60 {
        0 => 3_000,
        1..4 => 320,
        _ => 20 + mix as usize % 90,
    };
    let mut value = (write as u64).to_le_bytes().to_vec();
    value.extend((0..len).map(|at| (mix >> (at % 57)) as u8));
    value
}

fn number(of: &[u8]) -> u64 {
    (0..KEYS).find(|number| key(*number) == of).expect("a key that somebody wrote")
}

impl Shared {
    fn model(&self) -> MutexGuard<'_, Model> {
        self.0.lock().expect("a broken promise ends the run")
    }

    pub(crate) fn buffered(&self) {
        self.model().is_buffered = true;
    }

    pub(crate) fn lied_to(&self) {
        self.model().is_lied_to = true;
    }

    pub(crate) fn acknowledged(&self) -> usize {
        let is_one = |write: &&Write| matches!(write.fate, Fate::Acknowledged(_));
        self.model().writes.iter().filter(is_one).count()
    }

    /// A write is asked for; its number.
    pub(crate) fn begin(&self, keys: &[(u64, bool)]) -> usize {
        let mut model = self.model();
        model.writes.push(Write { keys: keys.to_vec(), fate: Fate::Open, seen: None });
        model.writes.len() - 1
    }

    /// What its writer was told.
    pub(crate) fn end(&self, write: usize, told: &Result<Lsn, Error>) {
        match told {
            Ok(version) => self.acknowledge(write, *version),
            Err(Error::InDoubt { .. } | Error::Disk(_)) => {}
            Err(error) if error.verdict() == Verdict::Halt => {}
            Err(_) => self.model().writes[write].fate = Fate::Refused,
        }
    }

    fn acknowledge(&self, write: usize, version: Lsn) {
        let mut model = self.model();
        let Write { keys, fate, seen } = &mut model.writes[write];
        *fate = Fate::Acknowledged(version);
        assert!(seen.is_none_or(|seen| seen == version), "seen at {seen:?}, told {version}");
        for (number, is_put) in keys.clone() {
            let newest = model.newest.entry(number).or_default();
            *newest = (*newest).max((version, is_put));
        }
    }

    /// The process is gone. What was shown without being durable may be gone too.
    pub(crate) fn end_of_life(&self) {
        let mut model = self.model();
        if model.is_buffered {
            model.writes.iter_mut().for_each(|write| write.seen = None);
        }
    }

    /// What is acknowledged now.
    pub(crate) fn known(&self) -> Known {
        Known(self.model().newest.clone())
    }

    /// One key as it was seen by somebody who must know of all that is in `known`.
    pub(crate) fn check(&self, known: &Known, of: u64, seen: Option<(Lsn, &[u8])>) {
        let mut model = self.model();
        let newest = known.0.get(&of).copied();
        match seen {
            Some((version, bytes)) => {
                let id = bytes.first_chunk().map(|id| u64::from_le_bytes(*id) as usize);
                let id = id.filter(|id| *id < model.writes.len()).expect("a value of a write");
                assert!(bytes == value(id, of), "key {of}: not what write {id} wrote");
                let Model { is_lied_to, is_buffered, .. } = *model;
                let write = &mut model.writes[id];
                assert!(write.keys.contains(&(of, true)), "key {of}: write {id} was elsewhere");
                match write.fate {
                    Fate::Acknowledged(told) => assert_eq!(version, told, "key {of}, write {id}"),
                    Fate::Refused => panic!("key {of}: write {id} was refused"),
                    Fate::Open => {
                        let before = *write.seen.get_or_insert(version);
                        assert!(before == version || is_lied_to, "write {id}: {before}, {version}");
                        // In strict mode nobody is shown what a crash could take back.
                        if !is_buffered && !is_lied_to {
                            let newest = model.newest.entry(of).or_default();
                            *newest = (*newest).max((version, true));
                        }
                    }
                }
                if let Some((least, _)) = newest.filter(|_| !is_lied_to) {
                    assert!(version >= least, "key {of}: {version} instead of {least}");
                }
            }
            None => {
                let Some((least, true)) = newest else { return };
                let is_deleted = model.may_be_deleted(of, least);
                assert!(is_deleted || model.is_lied_to, "key {of}: version {least} is lost");
            }
        }
    }

    /// Every key as it was seen after a recovery, or by a scan begun after `known` was known.
    pub(crate) fn check_scan(&self, known: &Known, seen: &[Seen]) {
        assert!(seen.is_sorted_by(|a, b| a.0 < b.0), "keys in order, each once");
        let mut by_number: BTreeMap<u64, (Lsn, &[u8])> = BTreeMap::new();
        for (key, version, value) in seen {
            by_number.insert(number(key), (*version, value));
        }
        for of in 0..KEYS {
            self.check(known, of, by_number.get(&of).copied());
        }
    }

    pub(crate) fn check_all(&self, seen: &[Seen]) {
        self.check_scan(&self.known(), seen);
    }

    /// After the last recovery: of a write that is there every key is there, or a newer write.
    pub(crate) fn check_whole(&self, seen: &[Seen]) {
        let model = self.model();
        let found = |(key, version, value): &Seen| {
            let id = value.first_chunk().map(|id| u64::from_le_bytes(*id) as usize);
            (number(key), (*version, id.expect("a value of a write")))
        };
        let found: BTreeMap<u64, (Lsn, usize)> = seen.iter().map(found).collect();
        for (version, id) in found.values() {
            for (of, is_put) in &model.writes[*id].keys {
                let now = found.get(of).map(|(now, _)| *now);
                let is_there = match is_put {
                    true => now >= Some(*version) || model.may_be_deleted(*of, *version),
                    false => now.is_none_or(|now| now > *version),
                };
                assert!(is_there, "write {id} at {version}: key {of} is at {now:?}");
            }
        }
    }
}

impl Model {
    /// Whether anybody may have deleted the key after version `least`.
    fn may_be_deleted(&self, of: u64, least: Lsn) -> bool {
        self.writes.iter().any(|write| {
            write.keys.contains(&(of, false))
                && match write.fate {
                    Fate::Acknowledged(version) => version > least,
                    Fate::Open => true,
                    Fate::Refused => false,
                }
        })
    }
}
