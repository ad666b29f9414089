//! What the log reads: a little at a time, out of memory and of the engine, across a restart.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use openraft::{
    EntryPayload, RaftLogReader,
    storage::{IOFlushed, RaftLogStorage},
};
use openraft_rt::Oneshot;
use orloj_kernel::Context;
use orloj_sim::{Config, Control, Simulation};

use super::open;
use crate::{
    Entry,
    channel::Once,
    codec::{LogEntry, LogId, Vote},
    log::{LogStore, Recent},
    machine,
};

/// An entry of 100 KiB.
fn long(index: u64) -> LogEntry {
    let record = Bytes::from(vec![index as u8; 100 << 10]);
    let payload = EntryPayload::Normal(Entry::data(index + 1, record));
    LogEntry { log_id: LogId::new_term_index(1, index), payload }
}

async fn append(log: &mut LogStore, entries: impl Iterator<Item = LogEntry>) {
    let (tell, told) = Once::channel();
    let entries: Vec<LogEntry> = entries.collect();
    log.append(entries, IOFlushed::signal(tell)).await.expect("the disk works");
    told.await.expect("somebody tells").expect("the disk works");
}

#[orloj_sim::test(seeds = 2)]
async fn long_entries_are_read_a_little_at_a_time_wherever_they_are(cx: Context) {
    let (db, mut log, machine) = open(cx, "db").await;
    append(&mut log, (0..30).map(long)).await;
    drop((log, machine));
    db.close().await.expect("nothing is in the way");
    // The first thirty are in the engine now, and the others in memory, too.
    let (_db, mut log, _machine) = open(cx, "db").await;
    append(&mut log, (30..60).map(long)).await;
    let mut reader = log.get_log_reader().await;
    for (from, to) in [(0, 60), (25, 60), (40, 60), (28, 31)] {
        let read = reader.limited_get_log_entries(from, to).await.expect("the log is whole");
        let wanted: Vec<LogEntry> = (from..to.min(from + 11)).map(long).collect();
        assert_eq!(read, wanted, "{from}..{to}");
    }
    let all: Vec<LogEntry> = (3..60).map(long).collect();
    let stream: Vec<_> = reader.entries_stream(3..99).await.collect().await;
    let streamed: Result<Vec<LogEntry>, _> = stream.into_iter().collect();
    assert_eq!(streamed.expect("the log is whole"), all);
    let read = reader.try_get_log_entries(3..).await.expect("the log is whole");
    assert_eq!(read, all);

    // What is cut off and purged is gone, and who is reading it is told so.
    let mut other = reader.clone();
    let mut stream = Box::pin(other.entries_stream(0..60).await);
    let first = stream.next().await.expect("there is one").expect("the log is whole");
    assert_eq!(first, long(0));
    log.truncate_after(Some(LogId::new_term_index(1, 49))).await.expect("the disk works");
    log.purge(LogId::new_term_index(1, 20)).await.expect("the disk works");
    let read = reader.try_get_log_entries(0..99).await.expect("the log is whole");
    assert_eq!(read, (21..50).map(long).collect::<Vec<_>>());
    for index in 1..11 {
        let entry = stream.next().await.expect("there is one").expect("it was read before");
        assert_eq!(entry, long(index));
    }
    let hole = stream.next().await.expect("it is told").expect_err("it is gone").to_string();
    assert_eq!(hole, "the log has no entry 11");
    cx.sleep(Duration::from_secs(1)).await;
    let read = reader.limited_get_log_entries(21, 23).await.expect("the log is whole");
    assert_eq!(read, [long(21), long(22)]);
}

#[test]
fn the_newest_entries_stay_in_memory_and_no_more() {
    let mut recent = Recent::default();
    for index in 0..10 {
        recent.push(long(index), 20 << 20);
    }
    assert_eq!((recent.first(10), recent.bytes), (7, 60 << 20));
    recent.keep(0, 9);
    assert_eq!((recent.first(9), recent.bytes), (7, 40 << 20));
    // One that is too long by itself stays all the same.
    recent.push(long(9), 99 << 20);
    assert_eq!((recent.first(10), recent.bytes), (9, 99 << 20));
    recent.keep(10, 99);
    assert_eq!((recent.first(10), recent.bytes), (10, 0));
}

/// A vote that is saved if the disk takes it.
async fn vote(log: &mut LogStore, term: u64) -> bool {
    log.save_vote(&Vote::new(term, 1)).await.is_ok()
}

#[test]
fn a_full_disk_takes_back_what_nobody_was_told_of_and_the_log_opens_again() {
    for seed in 0..8 {
        let mut sim = Simulation::new(Config::seed(seed));
        let cx = sim.idle_host("node");
        let done = sim.run(cx, async move {
            let (db, mut log, machine) = open(cx, "db").await;
            assert!(vote(&mut log, 1).await);
            append(&mut log, (0..3).map(long)).await;
            Control.limit_disk("node", Some(0));
            let mut refused = 0;
            // The journal has some room of its own.
            for index in 3.. {
                let (tell, told) = Once::channel();
                let one = [long(index)];
                if log.append(one, IOFlushed::signal(tell)).await.is_err() {
                    break;
                }
                let is_safe = told.await.expect("somebody tells").is_ok();
                if is_safe {
                    assert_eq!(refused, 0, "nothing is safe behind what was taken back");
                    continue;
                }
                refused += 1;
            }
            assert!(refused > 0, "it was told");
            let taken = !vote(&mut log, 2).await;
            assert!(taken, "nothing is built on what was taken back");
            drop((log, machine));
            Control.limit_disk("node", None);
            while db.is_read_only() {
                cx.sleep(Duration::from_millis(100)).await;
            }
            let (mut log, _machine) = machine::open(cx, db).await.expect("it is whole");
            let state = log.get_log_state().await.expect("it is known");
            assert!(state.last_log_id >= Some(LogId::new_term_index(1, 2)), "{state:?}");
            let mut reader = log.get_log_reader().await;
            assert_eq!(reader.read_vote().await.expect("it is known"), Some(Vote::new(1, 1)));
            assert!(vote(&mut log, 2).await);
            let next = state.last_log_id.expect("it is not empty").index() + 1;
            append(&mut log, (next..next + 2).map(long)).await;
            let all = reader.try_get_log_entries(..).await.expect("it is whole");
            assert_eq!(all, (0..next + 2).map(long).collect::<Vec<_>>());
        });
        done.unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
    }
}
