//! Goal: what is kept of commands is what the policy says, and nothing that anybody still rests on
//! is dropped. Method: a node with a policy so small that it bites, in a world without faults, and
//! then in one where the process crashes again and again while clients repeat their commands.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use orloj_db::{
    CommandLimits, Embedded, HistoryRetention, Lived, Node, NodeConfig, Observer, Step,
};
use orloj_kernel::{Context, Shutdown};
use orloj_net::{
    Answer, Blob, Command, Commands, Expiry,
    envelope::{
        Call, Code, End, Envelope, Filter, Finding, HistoryPage, Outcome, Question,
        canonical::{decode_row, fingerprint},
        redaction::{DataClass, Field, Purpose, Redactor},
    },
};
use orloj_sim::{Control, Crash, Simulation, disk::DiskFaults, testing};
use orloj_storage::{Database, Durability, Options};

const MS: Duration = Duration::from_millis(1);

fn config(keep: HistoryRetention) -> NodeConfig {
    let mut config = NodeConfig::new("data", "0.0.0.0:6379");
    config.commands = CommandLimits { session_rate: 0, global_rate: 0, ..config.commands };
    config.history = keep;
    config
}

fn keep(age: Duration, bytes: u64, outcomes: u64) -> HistoryRetention {
    HistoryRetention { age, bytes, outcomes }
}

fn world<F: Future<Output = ()> + Send + 'static>(
    config: NodeConfig,
    test: impl FnOnce(Context, Node, NodeConfig) -> F + Send + 'static,
) {
    testing::on_fresh_thread(move || {
        let mut sim = Simulation::new(testing::config(7));
        let cx = sim.idle_host("node");
        sim.run(cx, async move {
            let node = Node::start(config.clone(), cx).await.expect("it starts");
            test(cx, node, config).await;
        })
        .expect("no law is broken");
    });
}

fn incr(key: &str) -> Envelope {
    Envelope::new(Command::Incr { key: key.to_owned().into(), by: 1 })
}

fn set(key: &str, value: &str) -> Envelope {
    Envelope::new(Command::Set {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        expiry: Expiry::None,
        condition: None,
        get: false,
    })
}

async fn done(commands: &Embedded, envelope: Envelope) -> Outcome {
    commands.send(envelope).await.expect("it is accepted")
}

fn number(outcome: &Outcome) -> i64 {
    match outcome.end {
        End::Ok(Answer::Int(number)) => number,
        ref other => panic!("no number: {other:?}"),
    }
}

async fn history(commands: &Embedded, filter: Filter) -> HistoryPage {
    match commands.ask(Question::History(filter)).await {
        Ok(Finding::History(page)) => page,
        other => panic!("no history: {other:?}"),
    }
}

#[test]
fn what_is_too_old_goes_and_its_id_is_unknown() {
    world(config(keep(10_000 * MS, u64::MAX, 2)), async |cx, node, _| {
        let commands = node.commands();
        for n in 0..10 {
            assert_eq!(number(&done(&commands, incr("n").id(format!("a{n}"))).await), n + 1);
        }
        cx.sleep(9_000 * MS).await;
        let again = done(&commands, incr("n").id("a0")).await;
        assert_eq!((number(&again), again.replayed), (1, true), "within its time");
        cx.sleep(2_000 * MS).await;
        // Without a message, and the newest two whatever their age.
        let left = history(&commands, Filter::default()).await;
        let ids: Vec<_> = left.commands.iter().map(|c| c.causes.id.to_string()).collect();
        assert_eq!(ids, ["a9", "a8"]);
        let unknown = commands.ask(Question::Outcome("a3".into())).await;
        assert_eq!(unknown.expect_err("dropped").detail("reason"), Some("unknown_id"));
        let again = done(&commands, incr("n").id("a9")).await;
        assert_eq!((number(&again), again.replayed), (10, true));
        let anew = done(&commands, incr("n").id("a0")).await;
        assert_eq!((number(&anew), anew.replayed), (11, false), "it is run anew");
        let late = done(&commands, incr("n").id("late").after("a1")).await;
        let failure = late.end.failure().expect("it failed");
        assert_eq!(failure.code, Code::DependencyUnknown);
    });
}

#[test]
fn the_oldest_go_while_there_are_too_many_bytes() {
    let config = config(keep(Duration::from_secs(86_400), 20_000, 5));
    world(config, async |cx, node, config| {
        let commands = node.commands();
        let value = "v".repeat(100);
        for n in 0..1_000 {
            done(&commands, set("k", &value).id(format!("a{n}"))).await;
        }
        cx.sleep(10 * MS).await;
        let all = Filter { limit: 500, ..Filter::default() };
        let left = history(&commands, all.clone()).await.commands;
        assert!((80..150).contains(&left.len()), "{} rows", left.len());
        assert_eq!(left[0].row, 1_000);
        assert_eq!(left[left.len() - 1].row, 1_001 - left.len() as u64, "without a gap");
        // What is counted is what a start counts.
        drop(commands);
        node.stop().await.expect("it stops");
        let node = Node::start(config, cx).await.expect("it starts");
        let commands = node.commands();
        assert_eq!(history(&commands, all.clone()).await.commands.len(), left.len());
        done(&commands, set("k", &value).id("more")).await;
        cx.sleep(10 * MS).await;
        assert_eq!(history(&commands, all).await.commands.len(), left.len());
    });
}

#[test]
fn what_somebody_rests_on_stays() {
    world(config(keep(1_000 * MS, u64::MAX, 0)), async |cx, node, _| {
        let commands = node.commands();
        let keyed = |id: &str| incr("n").id(id).idempotency_key("k");
        assert_eq!(number(&done(&commands, keyed("a")).await), 1);
        for _ in 0..5 {
            done(&commands, incr("m")).await;
        }
        cx.sleep(500_000 * MS).await;
        let again = done(&commands, keyed("b")).await;
        assert_eq!((number(&again), again.replayed), (1, true), "its key still counts");
        assert_eq!(history(&commands, Filter::default()).await.commands.len(), 6);
        cx.sleep(110_000 * MS).await;
        assert_eq!(history(&commands, Filter::default()).await.commands.len(), 0);
        assert_eq!(number(&done(&commands, keyed("c")).await), 2);
    });
}

/// Every command that a filter finds, by pages of three.
async fn all(commands: &Embedded, filter: Filter) -> Vec<(String, u64)> {
    let mut filter = Filter { limit: 3, ..filter };
    let mut found = Vec::new();
    loop {
        let page = history(commands, filter.clone()).await;
        found.extend(page.commands.iter().map(|c| (c.causes.id.to_string(), c.lane_sequence)));
        match page.cursor {
            Some(cursor) => filter.cursor = Some(cursor),
            None => return found,
        }
    }
}

#[test]
fn what_has_no_id_does_not_grow_behind_what_has() {
    world(config(keep(1_000 * MS, u64::MAX, 6)), async |cx, node, config| {
        let mut node = node;
        let mut ids = Vec::new();
        for n in 0..3_u64 {
            let commands = node.commands();
            let session = format!("s{n}");
            let create = Envelope::new(Call::CreateSession).session(&*session);
            done(&commands, create.id(format!("a{n}"))).await;
            for _ in 0..600 {
                done(&commands, incr("n").session(&*session)).await;
                done(&commands, incr("n")).await;
            }
            done(&commands, incr("n").session(&*session).id(format!("b{n}"))).await;
            done(&commands, incr("n").session(&*session)).await;
            ids.extend([format!("a{n}"), format!("b{n}")]);
            cx.sleep(1_500 * MS).await;
            // The last of each lane stays until it is the oldest; other rows without an id go.
            let left = all(&commands, Filter::default()).await;
            assert!(left.len() as u64 <= (n + 1) * 4, "{left:?}");
            let known: Vec<_> =
                left.iter().map(|(id, _)| id).filter(|id| ids.contains(id)).collect();
            assert!(known.into_iter().eq(ids.iter().rev()), "{left:?}");
            for n in 0..=n {
                // A lane's rows are found though others between them are gone.
                let of = Filter { session: Some(format!("s{n}").into()), ..Filter::default() };
                let lane = all(&commands, of).await;
                let sequences: Vec<_> = lane.iter().map(|(_, sequence)| *sequence).collect();
                assert_eq!(sequences, [1 + 602 * 3, 1 + 601 * 3, 1], "{lane:?}");
            }
            let again = done(&commands, incr("n").session("s0").id("b0")).await;
            assert!(again.replayed);
            drop(commands);
            node.stop().await.expect("it stops");
            node = Node::start(config.clone(), cx).await.expect("it starts");
        }
        // With one outcome more the oldest goes, and so on.
        let commands = node.commands();
        done(&commands, incr("n").id("c")).await;
        cx.sleep(1_500 * MS).await;
        let unknown = commands.ask(Question::Outcome("a0".into())).await;
        assert_eq!(unknown.expect_err("dropped").code, Code::DependencyUnknown);
        let known = commands.ask(Question::Outcome("b0".into())).await;
        assert!(known.is_ok(), "{known:?}");
        for n in 0..6 {
            done(&commands, incr("n").id(format!("d{n}"))).await;
        }
        cx.sleep(1_500 * MS).await;
        let left: Vec<_> = all(&commands, Filter::default()).await;
        assert_eq!(left.len(), 6, "the last of their lanes have gone, too: {left:?}");
        // Times are found though there are gaps.
        let to = history(&commands, Filter::default()).await.commands[2].accepted;
        let before = all(&commands, Filter { to: Some(to), ..Filter::default() }).await;
        assert!(before.len() <= 3, "{before:?}");
        let far = Filter { cursor: Some(u64::MAX), ..Filter::default() };
        assert_eq!(all(&commands, far).await, left);
    });
}

#[test]
fn the_last_of_a_lane_goes_when_it_is_that_no_more() {
    world(config(keep(1_000 * MS, u64::MAX, 2)), async |cx, node, _| {
        let commands = node.commands();
        done(&commands, incr("n").id("stays")).await;
        for _ in 0..20 {
            done(&commands, Envelope::new(Command::DbSize)).await;
            cx.sleep(5_000 * MS).await;
        }
        let left = all(&commands, Filter::default()).await.len();
        assert!(left < 18, "{left} of those that were the last have not gone");
        cx.sleep(60_000 * MS).await;
        done(&commands, Envelope::new(Command::DbSize)).await;
        cx.sleep(5_000 * MS).await;
        let left = all(&commands, Filter::default()).await;
        assert_eq!(left.len(), 2, "{left:?}");
    });
}

#[test]
fn a_dead_session_goes_with_its_last_row() {
    world(config(keep(1_000 * MS, u64::MAX, 0)), async |cx, node, _| {
        let commands = node.commands();
        for name in ["dead", "alive"] {
            done(&commands, Envelope::new(Call::CreateSession).session(name)).await;
        }
        done(&commands, incr("n").session("alive")).await;
        done(&commands, Envelope::new(Call::DeleteSession).session("dead")).await;
        cx.sleep(3_000 * MS).await;
        let alive = done(&commands, Envelope::new(Call::LoadSession).session("alive")).await;
        assert_eq!(alive.session_version, Some(1));
        done(&commands, Envelope::new(Call::CreateSession).session("dead")).await;
        let page = history(&commands, Filter::default()).await;
        let lanes: Vec<_> = page.commands.iter().map(|c| c.lane_sequence).collect();
        assert_eq!(lanes, [1, 7], "one lane was forgotten, the other counts on");
    });
}

#[test]
fn what_is_never_to_be_kept_is_a_hash_and_is_done_all_the_same() {
    let mut config = config(HistoryRetention::default());
    config.redaction.classes.set("value", DataClass::NeverPersist).expect("a field");
    world(config, async |cx, node, config| {
        let commands = node.commands();
        let first = done(&commands, set("k", "secret").id("a")).await;
        assert!(first.end.is_ok());
        drop(commands);
        node.stop().await.expect("it stops");
        let node = Node::start(config, cx).await.expect("it starts");
        let commands = node.commands();
        let again = done(&commands, set("k", "secret").id("a")).await;
        assert!(again.replayed, "its fingerprint is that of what was asked");
        let other = commands.send(set("k", "other").id("a")).await.expect_err("another command");
        assert_eq!(other.code, Code::Conflict);
        let get = Envelope::new(Command::Get { key: "k".into() });
        assert_eq!(done(&commands, get).await.end, End::Ok(Answer::Bulk(Blob::new(b"secret"))));
        node.stop().await.expect("it stops");
        let (db, _) = Database::open(cx, Options::new("data", Durability::Strict)).await.unwrap();
        let rows = db.keyspace("history").expect("there is one");
        let mut value = Vec::new();
        db.get(&rows, &1_u64.to_be_bytes(), &mut value).await.expect("read").expect("a row");
        assert!(!value.windows(6).any(|some| some == b"secret"));
        let row = decode_row(&value).expect("a row");
        let withheld = row.withheld.expect("something is");
        assert_eq!(withheld.fields, [Field::Value]);
        assert_eq!(withheld.fingerprint, fingerprint(&set("k", "secret")));
        db.close().await.expect("closed");
    });
}

struct Meddles;
impl Redactor for Meddles {
    fn redact(&self, envelope: &mut Envelope, _: Purpose) {
        envelope.session = None;
    }
}

#[test]
fn a_hook_that_changes_identity_has_the_command_refused() {
    let mut config = config(HistoryRetention::default());
    config.redaction.redactor = Some(Arc::new(Meddles));
    world(config, async |_, node, _| {
        let commands = node.commands();
        done(&commands, Envelope::new(Call::CreateSession).session("s")).await;
        let refused = commands.send(set("k", "v").session("s")).await.expect_err("refused");
        assert_eq!((refused.code, refused.detail("reason")), (Code::Internal, Some("redactor")));
        assert_eq!(history(&commands, Filter::default()).await.commands.len(), 1);
    });
}

/// What was ever accepted under an id, and which rows are no longer kept.
#[derive(Default)]
struct Seen(Mutex<(BTreeMap<String, Vec<u64>>, u64)>);

impl Observer for Seen {
    fn lived(&self, lived: &Lived<'_>) {
        if let Step::Accepted { row, id, .. } = &lived.step {
            let mut seen = self.0.lock().expect("nobody panics");
            seen.0.entry(id.to_string()).or_default().push(*row);
        }
    }

    fn trimmed(&self, first: u64) {
        let mut seen = self.0.lock().expect("nobody panics");
        seen.1 = seen.1.max(first);
    }
}

/// The process on the node's host: a node, and a new one when it cannot go on.
async fn process(cx: Context, config: NodeConfig, door: Arc<Mutex<Option<Embedded>>>) {
    loop {
        if let Ok(node) = Node::start(config.clone(), cx).await {
            *door.lock().expect("nobody panics") = Some(node.commands());
            let _ended = node.run(&Shutdown::new()).await;
        }
        cx.sleep(20 * MS).await;
    }
}

/// Retention never has a command run twice that was accepted within it, however often the process
/// dies while rows go and clients repeat what they do not know the outcome of.
#[test]
fn retention_and_retries_under_crashes() {
    for seed in 0..3 {
        testing::on_fresh_thread(move || crashes(seed));
    }
}

fn crashes(seed: u64) {
    let mut sim = Simulation::new(testing::config(seed));
    let client = sim.idle_host("client");
    let door: Arc<Mutex<Option<Embedded>>> = Arc::default();
    let seen = Arc::new(Seen::default());
    let mut config = config(keep(300 * MS, 30_000, 40));
    config.observer = Some(seen.clone());
    config.storage.checkpoint_bytes = 64 << 10;
    let shared = door.clone();
    sim.host("node", move |cx| process(cx, config.clone(), shared.clone()));
    sim.control(|c| c.set_disk_faults("node", DiskFaults::HONEST));
    let end = sim.run(client, async move {
        let (mut sum, mut crash_at) = (0, client.now() + 100 * MS);
        for n in 0..400 {
            let key = format!("k{}", n % 3);
            let outcome = loop {
                if client.now() >= crash_at {
                    let how = if n % 2 == 0 { Crash::Power } else { Crash::Process };
                    Control.crash("node", how);
                    client.sleep(20 * MS).await;
                    Control.restart("node");
                    crash_at = client.now() + (100 + 37 * (seed + n) % 300) as u32 * MS;
                }
                let commands = door.lock().expect("nobody panics").clone();
                let Some(commands) = commands else {
                    client.sleep(10 * MS).await;
                    continue;
                };
                let asked = commands.send(incr(&key).id(format!("c{n}")));
                match client.timeout(50 * MS, asked).await {
                    Ok(Ok(outcome)) => break outcome,
                    _ => client.sleep(5 * MS).await,
                }
            };
            sum += number(&outcome) - (n / 3) as i64 - 1;
            client.sleep(5 * MS).await;
        }
        assert_eq!(sum, 0, "each was done exactly once");
        let seen = seen.0.lock().expect("nobody panics");
        assert!(seen.1 > 100, "rows were dropped: {}", seen.1);
        door.lock().expect("nobody panics").take();
    });
    end.unwrap_or_else(|e| panic!("seed {seed}: {} {}", e.law, e.evidence));
}
