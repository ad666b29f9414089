//! Goal: what an open journal holds can be read again from any position on, past misreadings, and
//! what has become unreadable is told.

use orloj_kernel::Context;
use orloj_sim::{Config, Control, Simulation, disk::Ambush};

use super::{History, append, open, small};
use crate::journal::{DatabaseId, JournalError, Log, Lsn};

fn record(n: u64) -> Vec<u8> {
    vec![n as u8; 100 + n as usize % 900]
}

/// Everything from `from` on, and how many frames it stood in.
async fn reread(log: &Log, from: u64) -> Result<(History, u64), JournalError> {
    let (mut found, mut frames) = (History::new(), 0);
    let mut history = log.history(Lsn(from));
    while history.frame().await? {
        frames += 1;
        for (lsn, record) in history.records() {
            assert_eq!(lsn, Lsn(from + found.len() as u64), "a record out of order");
            found.push(record.to_vec());
        }
    }
    assert!(!history.frame().await?, "it stays at its end");
    Ok((found, frames))
}

fn in_sim<F: Future<Output = ()> + Send + 'static>(
    body: impl FnOnce(Context) -> F + Send + 'static,
) {
    let mut sim = Simulation::new(Config::seed(1));
    let cx = sim.idle_host("node");
    sim.run(cx, async move {
        cx.create_dir("wal").await.expect("a disk that works");
        body(cx).await;
    })
    .expect("no property is broken");
}

#[test]
fn it_is_read_again_from_anywhere() {
    in_sim(|cx| async move {
        let mut all = History::new();
        for life in 0..3 {
            let (mut log, _, found) = open(cx).await.expect("a disk that works");
            assert_eq!(found, all);
            for n in 0..60 {
                let record = record(life * 60 + n);
                append(&mut log, &record).await.expect("there is room");
                all.push(record);
            }
            for from in (1..=all.len() as u64 + 1).step_by(7) {
                let (found, frames) = reread(&log, from).await.expect("a disk that works");
                assert_eq!(found, all[from as usize - 1..], "from {from}");
                assert_eq!(frames, found.len() as u64, "each had its own frame");
            }
            if life == 1 {
                assert!(log.trim(Lsn(61)).await.expect("a disk that works") > 2, "many segments");
                assert_eq!(reread(&log, 61).await.expect("it is kept").0, all[60..]);
                drop(log);
                return;
            }
        }
    });
}

#[test]
fn one_failed_read_passes_and_a_lost_segment_is_told() {
    in_sim(|cx| async move {
        let mut log =
            Log::create(cx, small(), DatabaseId(1), Lsn(1)).await.expect("a disk that works");
        for n in 0..80 {
            append(&mut log, &record(n)).await.expect("there is room");
        }
        Control.ambush_disk("node", Ambush::Read, "*.seg");
        let (found, _) = reread(&log, 1).await.expect("it is read once more");
        assert_eq!(found.len(), 80);
        cx.remove("wal/wal-000002.seg").await.expect("it is there");
        let lost = reread(&log, 1).await;
        assert!(matches!(lost, Err(JournalError::Damaged { .. })), "{lost:?}");
    });
}
