//! Goal: what was synced is read back, value by value and as a whole segment, or refused by its
//! place; a disk that fails leaves an appender that goes on.

use orloj_sim::{
    Config, Control, Crash, Simulation,
    disk::{Ambush, Damage, DiskFaults, OnSynced, Place, SyncFailure},
};

use super::*;
use crate::{
    Error, Fault, KeyspaceId, Lsn,
    vlog::{ValueLog, format::RECORD_HEAD},
};

const ME: DatabaseId = DatabaseId(9);
const SPACE: KeyspaceId = KeyspaceId(16);

fn value(n: u64) -> Vec<u8> {
    (0..100 + n * 37 % 900).map(|at| (at * 7 + n) as u8).collect()
}

async fn fresh(cx: Context) -> Appender {
    cx.create_dir(VLOG).await.expect("a disk that works");
    cx.sync_dir("").await.expect("a disk that works");
    Appender::new(cx, "", ME, 4096, 0)
}

async fn append(log: &mut Appender, n: u64) -> Result<ValuePointer, DiskError> {
    let (key, value) = (n.to_be_bytes(), value(n));
    log.append(&Record { keyspace: SPACE, version: Lsn(n), key: &key, value: &value }).await
}

async fn read(log: &ValueLog, at: ValuePointer, n: u64) -> Result<Vec<u8>, Error> {
    log.read(at, SPACE, &n.to_be_bytes(), Lsn(n)).await
}

fn in_sim<F: Future<Output = ()> + Send + 'static>(seed: u64, body: impl FnOnce(Context) -> F) {
    let mut sim = Simulation::new(Config::seed(seed));
    let cx = sim.idle_host("node");
    sim.run(cx, body(cx)).expect("no property is broken");
}

#[test]
fn values_come_back_one_by_one_and_in_order() {
    in_sim(1, |cx| async move {
        let mut log = fresh(cx).await;
        let mut pointers = Vec::new();
        for n in 0..40 {
            pointers.push(append(&mut log, n).await.expect("a disk that works"));
        }
        let end = log.sync().await.expect("a disk that works");
        let last = pointers[39];
        assert_eq!((end.segment, log.current()), (last.segment, Some(last.segment)));
        assert_eq!(end.bytes, last.offset + (RECORD_HEAD + 8) as u64 + u64::from(last.len));
        assert!(end.segment > 3, "{end:?}");

        let reader = ValueLog::new(cx, "", ME);
        for (n, at) in pointers.iter().enumerate() {
            assert_eq!(read(&reader, *at, n as u64).await, Ok(value(n as u64)));
        }
        let mut found = Vec::new();
        for number in reader.list().await.expect("a disk that works") {
            let next = pointers.iter().rfind(|p| p.segment == number);
            let next = next.expect("it has records");
            let size = record_size(next.key_len.into(), next.len as usize) as u64;
            let mut scan = reader.scan(number, next.offset + size).await.expect("a segment");
            while let Some((record, at)) = scan.next().await.expect("an intact segment") {
                let n = found.len() as u64;
                assert_eq!((record.version, record.value), (Lsn(n), value(n).as_slice()));
                found.push(at);
            }
        }
        assert_eq!(found, pointers);

        // One that refers to another value, or to nothing.
        for (at, n) in [
            (pointers[3], 4),
            (ValuePointer { sum: 1, ..pointers[3] }, 3),
            (ValuePointer { len: 2, ..pointers[3] }, 3),
            (ValuePointer { offset: pointers[3].offset + 1, ..pointers[3] }, 3),
            (ValuePointer { segment: 99, ..pointers[3] }, 3),
        ] {
            let error = read(&reader, at, n).await.expect_err("nothing is there");
            assert!(matches!(error, Error::Corrupt(_)), "{error}");
        }
        reader.remove(1).await.expect("a disk that works");
        let error = read(&reader, pointers[0], 0).await.expect_err("its segment is gone");
        let Error::Corrupt(corrupt) = error else { panic!("{error}") };
        assert_eq!(
            (corrupt.what, corrupt.file.as_str()),
            (Fault::Missing, "/vlog/vlog-000001.seg")
        );
    });
}

#[test]
fn a_large_value_has_a_segment_to_itself() {
    in_sim(2, |cx| async move {
        let mut log = fresh(cx).await;
        let large = vec![7; 3 << 20];
        let record = Record { keyspace: SPACE, version: Lsn(1), key: b"k", value: &large };
        let first = log.append(&record).await.expect("a disk that works");
        let second = log.append(&record).await.expect("a disk that works");
        assert_eq!((first.segment, second.segment), (1, 2));
        log.flush().await.expect("a disk that works");
        let reader = ValueLog::new(cx, "", ME);
        assert_eq!(reader.read(second, SPACE, b"k", Lsn(1)).await, Ok(large));
    });
}

#[test]
fn what_was_synced_survives_and_an_opening_touches_nothing() {
    for seed in 0..100 {
        let mut sim = Simulation::new(Config::seed(seed));
        let calm = sim.idle_host("calm");
        let node = sim.idle_host("node");
        sim.run(calm, async move {
            Control.set_disk_faults("node", DiskFaults::HONEST);
            let mut log = fresh(node).await;
            let mut synced = Vec::new();
            for n in 0..seed % 30 {
                synced.push(append(&mut log, n).await.expect("an honest disk"));
            }
            let end = log.sync().await.expect("an honest disk");
            for n in 100..130 {
                append(&mut log, n).await.expect("an honest disk");
            }
            log.flush().await.expect("an honest disk");
            Control.crash("node", Crash::Power);
            Control.restart("node");
            let node = Control.context("node");
            let reader = ValueLog::new(node, "", ME);
            let newest = reader.list().await.expect("an honest disk").into_iter().max();
            assert!(newest.unwrap_or(0) >= end.segment, "{newest:?} {end:?}");
            let mut log = Appender::new(node, "", ME, 4096, newest.unwrap_or(0));
            let at = append(&mut log, 500).await.expect("an honest disk");
            log.sync().await.expect("an honest disk");
            assert_eq!(read(&reader, at, 500).await, Ok(value(500)));
            for (n, at) in synced.iter().enumerate() {
                assert_eq!(read(&reader, *at, n as u64).await, Ok(value(n as u64)));
            }
        })
        .expect("no property is broken");
    }
}

#[test]
fn damage_is_refused_and_what_passes_is_not_noticed() {
    let (mut refused, mut whole) = (0, 0);
    for seed in 0..200 {
        let mut sim = Simulation::new(Config::seed(seed));
        let cx = sim.idle_host("node");
        let bad = sim.run(cx, async move {
            let mut log = fresh(cx).await;
            let mut pointers = Vec::new();
            for n in 0..12 {
                pointers.push(append(&mut log, n).await.expect("a disk that works"));
            }
            log.sync().await.expect("a disk that works");
            let on_synced = OnSynced::ALL;
            Control.set_disk_faults("node", DiskFaults { on_synced, ..DiskFaults::HONEST });
            let damage = [Damage::BitRot, Damage::Zeroed, Damage::Misdirected, Damage::Unreadable];
            if seed % 5 < 4 {
                Control.damage_disk("node", damage[seed as usize % 5], "*.seg", Place::Anywhere);
            }
            for ambush in [Ambush::Read, Ambush::Flip, Ambush::MisdirectedRead] {
                Control.ambush_disk("node", ambush, "*.seg");
            }
            let reader = ValueLog::new(cx, "", ME);
            let mut bad = 0;
            for (n, at) in pointers.iter().enumerate() {
                match read(&reader, *at, n as u64).await {
                    Ok(found) => assert_eq!(found, value(n as u64)),
                    Err(Error::Corrupt(_) | Error::Disk(_)) => bad += 1,
                    Err(other) => panic!("{other}"),
                }
            }
            bad
        });
        match bad.expect("no property is broken") {
            0 => whole += 1,
            _ => refused += 1,
        }
    }
    assert!(refused > 50 && whole > 40, "{refused} and {whole}");
}

#[test]
fn after_a_refused_write_it_goes_on_elsewhere() {
    for (seed, ambush) in
        (0..20).flat_map(|seed| [Ambush::Write, Ambush::Full].map(|ambush| (seed, ambush)))
    {
        in_sim(seed, |cx| async move {
            let mut log = fresh(cx).await;
            let mut kept = Vec::new();
            let mut refusals = 0;
            for n in 0..30 {
                if n % 7 == 3 {
                    Control.ambush_disk("node", ambush, "*.seg");
                }
                let done = match append(&mut log, n).await {
                    Ok(at) => log.flush().await.map(|()| at),
                    Err(e) => Err(e),
                };
                match done {
                    Ok(at) => kept.push((n, at)),
                    Err(e) => {
                        assert_ne!(e.op, "sync");
                        refusals += 1;
                    }
                }
            }
            assert!(refusals >= 4, "{refusals} refusals");
            log.sync().await.expect("the ambushes are over");
            let reader = ValueLog::new(cx, "", ME);
            for (n, at) in kept {
                assert_eq!(read(&reader, at, n).await, Ok(value(n)), "{n}");
            }
        });
    }
    in_sim(7, |cx| async move {
        let mut log = fresh(cx).await;
        append(&mut log, 1).await.expect("a disk that works");
        Control.ambush_disk("node", Ambush::Sync(SyncFailure::KeepsNew), "*.seg");
        assert_eq!(log.sync().await.expect_err("an ambush").op, "sync");
        assert!(log.sync().await.is_err(), "what the disk holds is unknown for good");
    });
}
