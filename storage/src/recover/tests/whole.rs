//! What is known of the database as a whole, when no record says it any more.

use super::*;
use crate::{KeyspaceId, Lsn, Retention, record::Op};

/// The highest number of a keyspace at every version from 0 on.
type Told = Arc<Mutex<Vec<KeyspaceId>>>;

/// Makes keyspaces and drops them, each round with a checkpoint that trims the journal.
async fn rounds(cx: Context, told: Told) {
    let Ok(mut trial) = Trial::open(cx).await else { return };
    let tree = trial.engine.tree().clone();
    let told = || told.lock().unwrap_or_else(PoisonError::into_inner);
    if tree.tail().assigned() > Lsn(0) {
        return;
    }
    told().resize(1, KeyspaceId(0));
    let mut model = Model::default();
    for round in 0..4 {
        let keyspace = tree.next_keyspace();
        let name = format!("round {round}");
        let create = Op::Create { keyspace, name: &name, keep: Retention::default() };
        for op in [create, Op::Drop(keyspace)] {
            // It may be found from the moment on in which the journal has it.
            told().push(keyspace);
            trial.resolve(|| tree.commit(&[], &[op])).await.expect("no checks");
            trial.flush(&mut model).await.expect("an honest disk");
        }
        trial.checkpoint(&mut model).await.expect("an honest disk");
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
            let expected = told.lock().unwrap_or_else(PoisonError::into_inner)[last];
            assert_eq!(tree.highest_keyspace(), expected, "at version {last}");
            u64::from(trial.log.first() > Lsn(1))
        });
        trimmed += end.unwrap_or_else(|e| panic!("after {polls} polls: {} {}", e.law, e.evidence));
    }
    assert!(trimmed > 50, "{trimmed} of the journals had lost their beginning");
}
