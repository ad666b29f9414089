//! Goal: whatever byte of a database is damaged, no wrong one is ever given back; and a repair
//! makes the directory open again and says what is lost, no more and no less than is.
//! Method: one small database of two generations, long values and a journal behind them; its bytes
//! flipped in turn, its files removed in turn, several at once. Built with `ORLOJ_EVERY_BYTE=1`
//! it flips each.

mod loads;
mod power;

use std::collections::BTreeMap;

use orloj_kernel::Context;
use orloj_sim::{
    Config, Control, Crash, Simulation,
    disk::{DiskFaults, Image},
};

use super::*;
use crate::{
    tree::At,
    trial::{ALL, Chance, Model, NEWEST, Trial, files, overwrite},
    verify::Grade,
};

/// The disk of a small database, its files, and what was asked of it.
struct Small {
    image: Image,
    files: BTreeMap<String, Vec<u8>>,
    model: Model,
}

fn small(sim: &mut Simulation) -> Small {
    let node = sim.idle_host("node");
    sim.control(|c| c.set_disk_faults("node", DiskFaults::HONEST));
    let made = sim.run(node, async move {
        let (mut model, mut chance) = (Model::default(), Chance(3));
        let mut trial = Trial::open(node).await.expect("a disk that works");
        for round in 0..4 {
            for n in 0..20 {
                trial.commit(&mut model, chance.change(60)).await.expect("it fits");
                if round == 3 && n % 4 == 0 {
                    trial.flush(&mut model).await.expect("a disk that works");
                }
            }
            if round == 3 {
                trial.flush(&mut model).await.expect("a disk that works");
                break;
            }
            trial.checkpoint(&mut model).await.expect("a disk that works");
            drop(trial);
            trial = Trial::open(node).await.expect("a disk that works");
        }
        trial.log.mark(true).await.expect("a disk that works");
        drop(trial);
        (files(node, "db").await, model)
    });
    let (files, model) = made.expect("no property is broken");
    let image = sim.control(|c| {
        c.crash("node", Crash::Power);
        c.snapshot_disk("node")
    });
    Small { image, files, model }
}

/// Looks at every key: it has the value of the model, or is an error, or is among `losses` and has
/// none. Returns how many were not what they had been.
async fn look(trial: &Trial, model: &Model, losses: &[Loss]) -> usize {
    let last = trial.engine.tree().tail().assigned();
    let mut missing = 0;
    for of in [NEWEST, ALL] {
        let state = model.state(of, last.0 as usize);
        let Ok(keyspace) = trial.engine.tree().keyspace(of) else {
            missing += state.len();
            continue;
        };
        for number in 0..60 {
            let key = format!("key {number:05}").into_bytes();
            let found = read(trial, &keyspace, of, &key).await;
            let expected = state.get(&key);
            match found {
                Ok(found) if found.as_ref() == expected => {}
                Ok(None) if losses.iter().any(|loss| concerns(loss, of, &key)) => missing += 1,
                Err(Error::Corrupt(_)) if losses.is_empty() => missing += 1,
                other => {
                    let (other, expected) = (other.map(|v| v.map(short)), expected.cloned());
                    let expected = expected.map(short);
                    panic!("{of} {number} at {last}: {other:?}, not {expected:?}; {losses:?}")
                }
            }
        }
    }
    missing
}

/// A value, short enough to be shown.
fn short(value: Vec<u8>) -> (usize, Option<u8>) {
    (value.len(), value.first().copied())
}

fn concerns(loss: &Loss, of: KeyspaceId, at: &[u8]) -> bool {
    match loss {
        Loss::Keys { keyspace, from, to } => {
            *keyspace == of && &from[..] <= at && to.as_ref().is_none_or(|to| at < &to[..])
        }
        Loss::Value { keyspace, key, .. } => *keyspace == of && key == at,
        Loss::Records { .. } | Loss::Settings | Loss::Superblocks => false,
    }
}

async fn read(
    trial: &Trial,
    keyspace: &crate::tree::Keyspace,
    of: KeyspaceId,
    key: &[u8],
) -> Result<Option<Vec<u8>>, Error> {
    let mut value = Vec::new();
    let tree = trial.engine.tree();
    let found = trial.resolve(|| tree.get(keyspace, key, At::Assigned, &mut value)).await?;
    match found {
        None => Ok(None),
        Some(found) => match found.pointer {
            None => Ok(Some(value)),
            Some(at) => {
                let read = trial.engine.value(at, of, key, found.version).await?;
                Ok(Some(read.to_vec()))
            }
        },
    }
}

/// What came of a damage.
#[derive(Debug, Default)]
struct Outcome {
    opened: bool,
    unreadable: usize,
    losses: Vec<Loss>,
    needed: bool,
    found: usize,
    /// Why it was not repaired.
    refused: Option<Error>,
}

impl Small {
    /// Opens and reads after `damage`, and again after a repair.
    fn survive<F>(
        &self,
        sim: &mut Simulation,
        calm: Context,
        damage: impl Fn(Context) -> F + Send + Clone + 'static,
    ) -> Outcome
    where
        F: Future<Output = ()> + Send,
    {
        let mut outcome = Outcome::default();
        let all = self.model.history.len();
        for repaired in [false, true] {
            sim.control(|c| {
                c.restore_disk("node", &self.image);
                c.restart("node");
                c.set_disk_faults("node", DiskFaults::HONEST);
            });
            let (model, damage) = (self.model.clone(), damage.clone());
            let ran = sim.run(calm, async move {
                let node = Control.context("node");
                damage(node).await;
                let mut outcome = Outcome::default();
                if !repaired {
                    if let Ok(trial) = Trial::open(node).await {
                        outcome.opened = true;
                        let last = trial.engine.tree().tail().assigned().0 as usize;
                        assert_eq!(last, all, "it opened, and all of it was synced");
                        outcome.unreadable = look(&trial, &model, &[]).await;
                    }
                } else {
                    mended(node, model, &mut outcome).await;
                }
                Control.crash("node", Crash::Power);
                outcome
            });
            let ran = ran.unwrap_or_else(|e| panic!("{} {}", e.law, e.evidence));
            match repaired {
                false => outcome = ran,
                true => {
                    (outcome.losses, outcome.needed) = (ran.losses, ran.needed);
                    (outcome.found, outcome.refused) = (ran.found, ran.refused);
                }
            }
        }
        outcome
    }
}

/// Repairs, opens, reads, writes, and walks the result.
async fn mended(node: Context, mut model: Model, outcome: &mut Outcome) {
    let dry = match repair(node, "db", true, &mut |_| {}).await {
        Ok(dry) => dry,
        Err(error) => {
            outcome.refused = Some(error);
            return;
        }
    };
    let done = repair(node, "db", false, &mut |_| {}).await.expect("something is left");
    assert_eq!((dry.needed, &dry.losses), (done.needed, &done.losses));
    assert_eq!(done.folder.is_some(), done.needed);
    let again = repair(node, "db", true, &mut |_| {}).await.expect("it is whole");
    assert!(!again.needed, "{:#?} after {:#?}", again.report.findings, done.told());
    outcome.needed = done.needed;
    outcome.found = done.report.findings.len();
    // Its pages may be larger now.
    let options = Options { cache_bytes: 4 << 20, ..crate::trial::options() };
    let mut trial = Trial::open_with(node, options).await.expect("it was repaired");
    let last = trial.engine.tree().tail().assigned();
    let all = model.history.len();
    let is_cut = done.losses.iter().any(|loss| matches!(loss, Loss::Records { .. }));
    for loss in &done.losses {
        if let Loss::Records { from, to } = loss {
            assert_eq!(*from, last.next(), "{:?}", done.losses);
            // Nothing tells of a record when all that told of it is gone.
            assert!(to.is_none_or(|to| to.0 as usize <= all), "{to:?}");
        }
    }
    assert!(last.0 as usize == all || is_cut, "{last} of {all}: {:?}", done.losses);
    look(&trial, &model, &done.losses).await;
    model.history.truncate(last.0 as usize);
    let mut chance = Chance(77);
    if model.history.len() >= 2 {
        for _ in 0..4 {
            trial.commit(&mut model, chance.change(60)).await.expect("there is room");
        }
        match trial.checkpoint(&mut model).await {
            Ok(_) => {}
            Err(end) => panic!("{end:?}"),
        }
    }
    drop(trial);
    let again = repair(node, "db", true, &mut |_| {}).await.expect("it is whole");
    let found = &again.report.findings;
    assert!(found.iter().all(|finding| finding.grade != Grade::Damage), "{found:#?}");
    outcome.losses = done.losses;
}

#[test]
fn whatever_byte_flips_nothing_wrong_is_read_and_a_repair_opens_it_again() {
    let mut sim = Simulation::new(Config::seed(1));
    let calm = sim.idle_host("calm");
    let small = small(&mut sim);
    let every = option_env!("ORLOJ_EVERY_BYTE").is_some();
    // Kind of file: bytes, not opened, unreadable, repaired, with losses.
    let mut counts: BTreeMap<String, [usize; 5]> = BTreeMap::new();
    for (path, bytes) in &small.files {
        let kind = path.trim_start_matches("db/").split(['-', '_', '/']).next().unwrap_or("");
        let step = if every { 1 } else { (bytes.len() / 36).max(1) };
        let first = path.len() * 7 % step;
        for at in (first..bytes.len()).step_by(step) {
            let (file, flipped) = (path.clone(), vec![bytes[at] ^ 1 << (at % 8)]);
            let outcome = small.survive(&mut sim, calm, move |cx| {
                let (file, flipped) = (file.clone(), flipped.clone());
                async move { overwrite(cx, &file, at as u64, flipped).await }
            });
            let count = counts.entry(kind.to_owned()).or_default();
            count[0] += 1;
            count[1] += usize::from(!outcome.opened);
            count[2] += usize::from(outcome.unreadable > 0);
            count[3] += usize::from(outcome.needed);
            count[4] += usize::from(!outcome.losses.is_empty());
            assert_eq!(outcome.refused, None, "{path}, byte {at}");
            // What nobody noticed costs nobody anything.
            if !outcome.needed {
                assert!(outcome.opened && outcome.unreadable == 0, "{path}, byte {at}");
            }
        }
    }
    println!("bytes, not opened, unreadable, repaired, with losses: {counts:?}");
    let count = |kind: &str| counts.get(kind).copied().unwrap_or_default();
    assert!(count("wal")[3] > 0, "{counts:?}");
    assert!(count("data.pages")[3] > 0 && count("vlog")[3] > 0, "{counts:?}");
    assert!(count("MANIFEST")[3] > 3 && count("SUPERBLOCK")[3] > 6, "{counts:?}");
}

#[test]
fn a_file_that_is_lost_costs_what_is_told() {
    let mut sim = Simulation::new(Config::seed(2));
    let calm = sim.idle_host("calm");
    let small = small(&mut sim);
    // Nothing tells of a segment that an opening began: see the journal's format.
    let newest = small.files.keys().rfind(|path| path.contains("/wal/"));
    let all = small.files.keys().filter(|path| !path.ends_with("LOCK"));
    for path in all.filter(|path| Some(*path) != newest) {
        let name = path.clone();
        let outcome = small.survive(&mut sim, calm, move |cx| {
            let name = name.clone();
            async move { cx.remove(&name).await.expect("a disk that works") }
        });
        // Without pages there is nothing to build upon: the journal begins behind them.
        let is_hopeless = path.ends_with("data.pages");
        assert_eq!(outcome.refused.is_some(), is_hopeless, "{path}: {:?}", outcome.refused);
        let is_lossy = path.ends_with("MANIFEST");
        assert!(!is_lossy || !outcome.losses.is_empty(), "{path}: {outcome:?}");
    }
}

#[test]
fn several_damages_at_once_cost_what_is_told() {
    let mut sim = Simulation::new(Config::seed(3));
    let calm = sim.idle_host("calm");
    let small = small(&mut sim);
    let files: Vec<(String, usize)> = small
        .files
        .iter()
        .filter(|(path, _)| !path.contains("MANIFEST") && !path.ends_with("LOCK"))
        .map(|(path, bytes)| (path.clone(), bytes.len()))
        .collect();
    let (mut lossy, mut refused) = (0, 0);
    for seed in 0..40 {
        let files = files.clone();
        let outcome = small.survive(&mut sim, calm, move |cx| {
            let files = files.clone();
            async move {
                let mut chance = Chance(seed);
                for _ in 0..2 + seed % 5 {
                    let (path, len) = &files[chance.below(files.len() as u64) as usize];
                    if path.contains("SUPERBLOCK") || *len == 0 {
                        continue;
                    }
                    let at = chance.below(*len as u64);
                    let junk = vec![chance.below(256) as u8; 1 + chance.below(700) as usize];
                    let end = (at as usize + junk.len()).min(*len);
                    let junk = junk[..end - at as usize].to_vec();
                    overwrite(cx, path, at, junk).await;
                }
            }
        });
        if let Some(error) = &outcome.refused {
            assert!(matches!(error, Error::Corrupt(_)), "seed {seed}: {error}");
            refused += 1;
        }
        lossy += u32::from(!outcome.losses.is_empty());
    }
    assert!(lossy > 5 && refused < lossy, "{lossy} {refused}");
}
