//! What is known of the database as a whole, when no record says it any more.

use super::*;
use crate::{KeyspaceId, Lsn, Retention, checkpoint::Checkpoint, record::Op};

/// Of every version from 0 on: the highest number of a keyspace, the time, and the position of a
/// replicated log.
type Told = Arc<Mutex<Vec<(KeyspaceId, u64, u64)>>>;

/// Makes keyspaces and drops them as time goes by, each round with a checkpoint that trims the
/// journal.
async fn rounds(cx: Context, told: Told) {
    let Ok(mut trial) = Trial::open(cx).await else { return };
    let tree = trial.engine.tree().clone();
    let told = || told.lock().unwrap_or_else(PoisonError::into_inner);
    if tree.tail().assigned() > Lsn(0) {
        return;
    }
    told().resize(1, (KeyspaceId(0), 0, 0));
    let mut model = Model::default();
    for round in 0..4 {
        let keyspace = tree.next_keyspace();
        let name = format!("round {round}");
        let create = Op::Create { keyspace, name: &name, keep: Retention::default() };
        for (step, op) in (1..).zip([create, Op::Drop(keyspace)]) {
            let (time, position) = (round * 1_000 + step * 10, round * 7 + step);
            // It may be found from the moment on in which the journal has it.
            told().push((keyspace, time, position));
            let ops = [op, Op::Clock(time), Op::Applied(position)];
            trial.resolve(|| tree.commit(&[], &ops)).await.expect("no checks");
            trial.flush(&mut model).await.expect("an honest disk");
        }
        let begun = Checkpoint::begin(&trial.engine);
        // No part of it, and not in the journal before the next round.
        told().push((keyspace, round * 1_000 + 500, 100 + round * 7));
        let ops = [Op::Clock(round * 1_000 + 500), Op::Applied(100 + round * 7)];
        trial.resolve(|| tree.commit(&[], &ops)).await.expect("no checks");
        let done = begun.write(&mut trial.values).await.expect("an honest disk");
        trial.log.trim(done.keep).await.expect("an honest disk");
    }
}

#[test]
fn every_poll_finds_what_was_known_of_the_whole_database() {
    let mut trimmed = 0;
    for polls in 1..300 {
        let mut sim = Simulation::new(Config::seed(polls));
        let calm = sim.idle_host("calm");
        let told: Told = Arc::default();
        let shared = told.clone();
        sim.host("node", move |cx| rounds(cx, shared.clone()));
        sim.control(|c| {
            c.set_disk_faults("node", DiskFaults::HONEST);
            c.kill_after_polls("node", polls, Crash::Power);
        });
        let end = sim.run(calm, async move {
            calm.sleep(Duration::from_secs(60)).await;
            Control.crash("node", Crash::Power);
            Control.restart("node");
            calm.sleep(Duration::from_secs(60)).await;
            Control.exit("node");
            Control.crash("node", Crash::Process);
            Control.restart("node");
            calm.sleep(Duration::from_secs(60)).await;
            let trial = Trial::open(Control.context("node")).await.expect("nothing is damaged");
            let tree = trial.engine.tree();
            let last = tree.tail().assigned().0 as usize;
            let told = told.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let mut applied = 0;
            for (version, (highest, time, position)) in told[..=last].iter().enumerate() {
                assert_eq!(tree.moments().version_at(*time), Lsn(version as u64), "of {last}");
                applied = applied.max(*position);
                let is_last = version == last;
                let found = (tree.highest_keyspace(), tree.moments().now(), tree.applied());
                assert!(!is_last || found == (*highest, *time, applied), "{found:?} at {last}");
            }
            u64::from(trial.log.first() > Lsn(1))
        });
        trimmed += end.unwrap_or_else(|e| panic!("after {polls} polls: {} {}", e.law, e.evidence));
    }
    assert!(trimmed > 50, "{trimmed} of the journals had lost their beginning");
}
