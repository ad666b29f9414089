//! Writes and reads that carry the version they saw, where answers may be lost.
//!
//! A store that numbers its writes gives every answer a witness, and the order of operations is no
//! question any more. What remains is honesty about lost answers: such a write may have happened or
//! not. It is *resolved* by the first evidence of it, a read that shows its value with a version,
//! and from then on any other evidence is a contradiction. At the end nothing may be left in doubt:
//! a last read of every key shows what it resolves, and what it does not show by then never was, or
//! was overwritten.
//!
//! Sources: openraft's oracle over simulated hosts (a failed write is *unknown*, never absent; the
//! value before names its predecessor); Bailis and Kingsbury, "The network is reliable", 2014.

use std::collections::BTreeMap;

/// What was asked. Every value is written once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Did {
    /// Wrote a value.
    Write(i64),
    /// Read a value and the version that wrote it; `None` is what was there before the first write.
    Read(Option<(i64, u64)>),
}

/// One operation on one key, in the order in which they were seen to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The key.
    pub key: String,
    /// What it was.
    pub did: Did,
    /// When it was called.
    pub called: u64,
    /// When it was answered; `None` if the answer was lost.
    pub answered: Option<u64>,
    /// The version it was told: its own, or of a read the one it saw the store at.
    pub version: Option<u64>,
}

/// What became of the writes whose answers were lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Took effect: which operation, and its version.
    pub happened: Vec<(usize, u64)>,
    /// Nobody saw it, and the last read of its key shows another value: it never happened, or was
    /// overwritten before anybody looked. Either way nobody can tell any more.
    pub never_seen: Vec<usize>,
}

/// Holds a history to its witnesses and resolves what was lost.
///
/// # Errors
/// The first contradiction in words: a version given twice, a value with two versions, a read that
/// does not show the newest version below its own, an operation that is older than one that was
/// over before it began; or a write in doubt whose key nobody read afterwards.
pub fn resolve(history: &[Seen]) -> Result<Resolved, String> {
    // Of each key: version of each value, value of each version.
    let mut versions: BTreeMap<&str, BTreeMap<i64, u64>> = BTreeMap::new();
    let mut values: BTreeMap<&str, BTreeMap<u64, i64>> = BTreeMap::new();
    let mut learn = |key, value: i64, version: u64| {
        let before = versions.entry(key).or_default().insert(value, version);
        if let Some(before) = before.filter(|before| *before != version) {
            return Err(format!("{value} of {key} has the versions {before} and {version}"));
        }
        let other = values.entry(key).or_default().insert(version, value);
        match other.filter(|other| *other != value) {
            Some(other) => Err(format!("version {version} of {key} wrote {other} and {value}")),
            None => Ok(()),
        }
    };
    for seen in history {
        match (&seen.did, seen.version) {
            (Did::Write(value), Some(version)) => learn(&seen.key, *value, version)?,
            (Did::Read(Some((value, version))), _) => learn(&seen.key, *value, *version)?,
            _ => {}
        }
    }
    for seen in history {
        shows_newest(seen, &values)?;
    }
    in_real_time(history, &versions)?;
    let mut resolved = Resolved::default();
    for (at, seen) in history.iter().enumerate() {
        let (Did::Write(value), None) = (&seen.did, seen.version) else { continue };
        let known = versions.get(seen.key.as_str()).and_then(|of_key| of_key.get(value));
        let is_read_later = history.iter().any(|later| {
            let is_read = matches!(later.did, Did::Read(_)) && later.answered.is_some();
            is_read && later.key == seen.key && later.called > seen.called
        });
        match known {
            Some(version) => resolved.happened.push((at, *version)),
            None if is_read_later => resolved.never_seen.push(at),
            None => return Err(format!("nobody knows of the write of {value} to {}", seen.key)),
        }
    }
    Ok(resolved)
}

fn shows_newest(seen: &Seen, values: &BTreeMap<&str, BTreeMap<u64, i64>>) -> Result<(), String> {
    let (Did::Read(shown), Some(at)) = (&seen.did, seen.version) else { return Ok(()) };
    let of_key = values.get(seen.key.as_str());
    let newest = of_key.and_then(|of_key| of_key.range(..=at).next_back());
    let shown = shown.map(|(_, version)| version);
    match newest.map(|(version, _)| *version) {
        newest if newest == shown => Ok(()),
        newest => {
            let show = |version: Option<u64>| version.map_or("none".to_owned(), |v| v.to_string());
            let (newest, shown, key) = (show(newest), show(shown), &seen.key);
            Err(format!("a read of {key} at {at} showed version {shown}, and {newest} is newest"))
        }
    }
}

/// Whoever begins when another is over has no older version.
fn in_real_time(
    history: &[Seen],
    versions: &BTreeMap<&str, BTreeMap<i64, u64>>,
) -> Result<(), String> {
    let version = |seen: &Seen| match &seen.did {
        Did::Write(value) => versions.get(seen.key.as_str())?.get(value).copied(),
        Did::Read(_) => seen.version,
    };
    let mut begun: Vec<&Seen> = history.iter().collect();
    let mut over: Vec<&Seen> = begun.iter().copied().filter(|s| s.answered.is_some()).collect();
    begun.sort_by_key(|seen| seen.called);
    over.sort_by_key(|seen| seen.answered);
    let (mut over, mut newest) = (over.into_iter().peekable(), 0);
    for seen in begun {
        while let Some(before) = over.next_if(|before| before.answered < Some(seen.called)) {
            newest = newest.max(version(before).unwrap_or_default());
        }
        let Some(version) = version(seen) else { continue };
        let is_older = match seen.did {
            Did::Write(_) => version <= newest && newest > 0,
            Did::Read(_) => version < newest,
        };
        if is_older {
            let (key, called) = (&seen.key, seen.called);
            return Err(format!(
                "{:?} of {key} at {called} has version {version}, and {newest} was over before",
                seen.did
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(value: i64, time: (u64, u64), version: u64) -> Seen {
        let (key, did) = ("k".to_owned(), Did::Write(value));
        Seen { key, did, called: time.0, answered: Some(time.1), version: Some(version) }
    }

    fn lost(value: i64, called: u64) -> Seen {
        Seen { answered: None, version: None, ..write(value, (called, 0), 0) }
    }

    fn read(shown: Option<(i64, u64)>, time: (u64, u64), version: u64) -> Seen {
        Seen { did: Did::Read(shown), ..write(0, time, version) }
    }

    #[test]
    fn a_lost_write_is_resolved_by_who_sees_it() {
        let history = [write(1, (1, 2), 1), lost(2, 3), read(Some((2, 2)), (4, 5), 2)];
        let resolved = resolve(&history).expect("nothing contradicts");
        assert_eq!(resolved.happened, [(1, 2)]);
        let history = [write(1, (1, 2), 1), lost(2, 3), read(Some((1, 1)), (4, 5), 1)];
        assert_eq!(resolve(&history).expect("nothing contradicts").never_seen, [1]);
    }

    #[test]
    fn what_nobody_looked_at_stays_in_doubt() {
        let words = "nobody knows of the write of 2 to k";
        assert_eq!(resolve(&[lost(2, 3)]), Err(words.into()));
    }

    #[test]
    fn evidence_that_contradicts_is_found() {
        let twice = [read(Some((2, 2)), (4, 5), 2), read(Some((2, 3)), (6, 7), 3)];
        assert_eq!(resolve(&twice), Err("2 of k has the versions 2 and 3".into()));
        let shared = [write(1, (1, 2), 1), write(2, (1, 2), 1)];
        assert_eq!(resolve(&shared), Err("version 1 of k wrote 1 and 2".into()));
        let gone = [write(1, (1, 2), 1), read(None, (3, 4), 1)];
        let words = "a read of k at 1 showed version none, and 1 is newest";
        assert_eq!(resolve(&gone), Err(words.into()));
        // Resolved as version 2, it must be there at 3.
        let back = [lost(2, 1), read(Some((2, 2)), (4, 5), 2), read(None, (6, 7), 3)];
        let words = "a read of k at 3 showed version none, and 2 is newest";
        assert_eq!(resolve(&back), Err(words.into()));
    }

    #[test]
    fn versions_keep_real_time() {
        let stale = [write(1, (1, 2), 5), read(None, (3, 4), 4)];
        let words = "Read(None) of k at 3 has version 4, and 5 was over before";
        assert_eq!(resolve(&stale), Err(words.into()));
        let late = [write(1, (1, 2), 5), write(2, (3, 4), 5)];
        assert!(resolve(&late).is_err());
        // A lost write may come late, but not before it was asked for.
        let early = [write(1, (1, 2), 5), lost(2, 3), read(Some((2, 4)), (1, 9), 4)];
        let words = "Write(2) of k at 3 has version 4, and 5 was over before";
        assert_eq!(resolve(&early), Err(words.into()));
    }
}
