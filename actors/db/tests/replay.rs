//! Goal: a journal carried out again comes to what was recorded and to what the database holds,
//! always the same; and where a record was changed, to the first place where it was. Method: nodes
//! under clients of both kinds, with crashes, restarts, redaction and retention, whose directories
//! are replayed afterwards, and nodes that are replayed while they run.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use orloj_db::{
    BundleReader, CommandLimits, Embedded, Exported, HistoryRetention, Node, NodeConfig, Replayed,
    Source, Span, Survey, Until, export, replay,
};
use orloj_kernel::{Context, Shutdown};
use orloj_net::{
    Command, Commands, Deadline, Expiry, UnixMs,
    envelope::{
        Call, Envelope,
        redaction::{DataClass, Redaction},
    },
};
use orloj_sim::{Control, Crash, Simulation, disk::DiskFaults, testing};
use orloj_storage::{Database, Durability, Options, database::Content, verify::Offline};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const MS: Duration = Duration::from_millis(1);

fn config() -> NodeConfig {
    let mut config = NodeConfig::new("data", "0.0.0.0:6379");
    config.commands = CommandLimits { session_rate: 0, global_rate: 0, ..config.commands };
    config.rows_bytes = 8 << 10;
    config.storage = Options {
        page_bytes: 4096,
        inline_bytes: 512,
        cache_bytes: 256 << 10,
        segment_bytes: 64 << 10,
        checkpoint_bytes: 256 << 10,
        ..config.storage
    };
    config
}

fn world<F: Future<Output = ()> + Send + 'static>(
    seed: u64,
    test: impl FnOnce(Context) -> F + Send + 'static,
) {
    testing::on_fresh_thread(move || {
        let mut sim = Simulation::new(testing::config(seed));
        let cx = sim.idle_host("node");
        sim.control(|c| c.set_disk_faults("node", DiskFaults::HONEST));
        sim.run(cx, test(cx)).expect("no law is broken");
    });
}

fn set(key: &str, value: &str, expiry: Expiry) -> Envelope {
    let (key, value) = (key.to_owned().into(), value.to_owned().into());
    Envelope::new(Command::Set { key, value, expiry, condition: None, get: false })
}

fn data(command: Command) -> Envelope {
    Envelope::new(command)
}

/// The `n`-th command of a client: of every kind, some of which fail.
fn command(n: u64) -> Envelope {
    let key = format!("k{}", n % 7);
    let counter = format!("n{}", n % 3);
    let soon = Expiry::By(Deadline::In(Duration::from_millis(20 + n % 60)));
    let envelope = match n % 14 {
        0 => set(&key, &format!("secret {n}"), Expiry::None),
        1 => set(&key, &format!("secret {n}"), soon),
        2 => data(Command::Get { key: key.into() }),
        3 | 4 => data(Command::Incr { key: counter.into(), by: 1 + (n % 5) as i64 }),
        5 => data(Command::Append { key: key.into(), value: "more".into() }),
        6 => data(Command::Incr { key: key.into(), by: 1 }),
        7 => data(Command::Del { keys: vec![key.into()] }),
        8 => data(Command::MGet { keys: vec![key.into(), counter.into()] }),
        9 => data(Command::Scan { after: None, pattern: None, count: 10 }),
        10 => data(Command::DbSize),
        11 => {
            data(Command::MSet { pairs: vec![(key.into(), "m".into()), ("k9".into(), "m".into())] })
        }
        12 => Envelope::new(Call::CreateSession).session(format!("s{}", n % 4)),
        _ if n.is_multiple_of(5) => {
            Envelope::new(Call::DeleteSession).session(format!("s{}", n % 4))
        }
        _ => data(Command::StrLen { key: key.into() }),
    };
    let envelope = match n % 4 {
        0 if envelope.session.is_none() => envelope.session(format!("s{}", n / 4 % 4)),
        _ => envelope,
    };
    match n % 3 {
        0 => envelope,
        1 => envelope.id(format!("c{n}")),
        _ if n % 6 == 2 => envelope.id(format!("c{n}")).idempotency_key(format!("key {}", n / 12)),
        _ => envelope.id(format!("c{n}")).after(format!("c{}", n - 1)),
    }
}

/// What a client of the other protocol asks, without waiting for more than its answers.
async fn plain(cx: &Context, n: u64) {
    let Ok(Ok(mut stream)) = cx.timeout(100 * MS, cx.connect("node:6379")).await else { return };
    let key = format!("k{}", n % 7);
    let requests = format!(
        "*5\r\n$3\r\nSET\r\n$2\r\n{key}\r\n$5\r\nplain\r\n$2\r\nPX\r\n$2\r\n30\r\n\
         *2\r\n$4\r\nINCR\r\n$2\r\nn1\r\n"
    );
    if stream.write_all(requests.as_bytes()).await.is_err() {
        return;
    }
    let mut answers = [0; 64];
    let _some = cx.timeout(100 * MS, stream.read(&mut answers)).await;
}

async fn drive(cx: &Context, commands: &Embedded, from: u64, to: u64) {
    for n in (from..to).step_by(5) {
        // Repetitions among them.
        let some = (n..to.min(n + 5)).chain([n.saturating_sub(1)]).map(command).collect();
        let _outcomes = cx.timeout(200 * MS, commands.send_all(some)).await;
        if n.is_multiple_of(20) {
            plain(cx, n).await;
        }
        cx.sleep(3 * MS).await;
    }
}

async fn source(cx: Context) -> Source {
    let offline = Offline::open(cx, "data").await.expect("nobody has it open");
    Source::Database(Box::new(offline.past().await.expect("it is whole")))
}

async fn replayed(cx: Context, until: &Until) -> Replayed {
    let mut source = source(cx).await;
    replay(&cx, &mut source, until, &mut |_, _| {}).await.expect("it can be read")
}

async fn content(cx: Context) -> Content {
    let (db, _) =
        Database::open(cx, Options::new("data", Durability::Strict)).await.expect("whole");
    let content = db.content(&db.snapshot().expect("open")).await.expect("it can be read");
    db.close().await.expect("closed");
    content
}

async fn exported(cx: Context, span: &Span, redaction: &Redaction) -> Exported {
    let survey = Survey::of(source(cx).await, span, redaction).await.expect("it can be read");
    export(survey, source(cx).await).await.expect("it can be read")
}

fn same(found: &Replayed) {
    if let Some(divergence) = &found.divergence {
        panic!("{} divergences, the first: {divergence}", found.divergences);
    }
}

#[test]
fn a_replay_comes_to_what_was_recorded_three_times() {
    world(3, async |cx| {
        let node = Node::start(config(), cx).await.expect("it starts");
        let commands = node.commands();
        drive(&cx, &commands, 0, 400).await;
        let running = node.replay(&Until::default(), &mut |_, _| {}).await;
        same(&running.expect("it can be read").expect("it has a journal"));
        drive(&cx, &commands, 400, 500).await;
        drop(commands);
        // As a crash would leave it: a checkpoint at the end would leave nothing to be replayed.
        drop(node);
        cx.sleep(50 * MS).await;
        let first = replayed(cx, &Until::default()).await;
        same(&first);
        assert!(first.commands > 300 && first.records > 80, "{first:?}");
        for _ in 0..2 {
            assert_eq!(replayed(cx, &Until::default()).await, first);
        }
        assert_eq!(content(cx).await.hash, first.content.hash);
    });
}

#[test]
fn a_replay_ends_where_it_is_told_to() {
    world(4, async |cx| {
        let node = Node::start(config(), cx).await.expect("it starts");
        let commands = node.commands();
        drive(&cx, &commands, 0, 100).await;
        let middle = UnixMs(cx.wall().millis());
        cx.sleep(5 * MS).await;
        drive(&cx, &commands, 100, 200).await;
        drop((commands, node));
        cx.sleep(50 * MS).await;
        let all = replayed(cx, &Until::default()).await;
        let half = replayed(cx, &Until { time: Some(middle), ..Until::default() }).await;
        assert!(half.commands > 50 && half.commands < all.commands && half.time <= middle);
        let to = Until { lsn: Some(half.lsn), ..Until::default() };
        assert_eq!(replayed(cx, &to).await.content, half.content);
        let of_s = Until { session: Some("s1".into()), ..Until::default() };
        let of_s = replayed(cx, &of_s).await;
        assert!(of_s.commands > 0 && of_s.commands < all.commands / 4);
        assert_eq!((of_s.content, of_s.divergences), (all.content, 0));
    });
}

#[test]
fn what_is_withheld_is_said_and_the_rest_compared() {
    let mut config = config();
    config.redaction.classes.set("value", DataClass::NeverPersist).expect("a field");
    world(5, async move |cx| {
        let node = Node::start(config, cx).await.expect("it starts");
        let commands = node.commands();
        drive(&cx, &commands, 0, 300).await;
        drop((commands, node));
        cx.sleep(50 * MS).await;
        let found = replayed(cx, &Until::default()).await;
        same(&found);
        assert!(found.withheld > 20 && found.withheld < found.commands / 2, "{found:?}");
        assert_eq!(content(cx).await.hash, found.content.hash);
    });
}

#[test]
fn a_bundle_shows_no_value_and_is_replayed() {
    world(6, async |cx| {
        let node = Node::start(config(), cx).await.expect("it starts");
        let commands = node.commands();
        drive(&cx, &commands, 0, 300).await;
        drop((commands, node));
        cx.sleep(50 * MS).await;
        let all = replayed(cx, &Until::default()).await;
        let redaction = Redaction::default();
        let spans = [
            Span::default(),
            Span { session: Some("s1".into()), ..Span::default() },
            Span { from: Some(all.time.0 - 60), ..Span::default() },
        ];
        for span in spans {
            let exported = exported(cx, &span, &redaction).await;
            let shows = |text: &[u8]| exported.bytes.windows(text.len()).any(|some| some == text);
            assert!(!shows(b"secret") && !shows(b"plain") && shows(b"k3"), "{span:?}");
            let reader = BundleReader::new(exported.bytes).expect("a bundle");
            let mut bundle = Source::Bundle(reader);
            let found = replay(&cx, &mut bundle, &Until::default(), &mut |_, _| {}).await;
            let found = found.expect("it can be read");
            same(&found);
            assert!(found.commands > 10, "{span:?} {found:?}");
            assert!(span.session.is_some() || found.withheld > 0, "{span:?} {found:?}");
            assert_eq!(found.lsn, all.lsn);
            if span.session.is_none() {
                // The key of the hashes stays behind.
                assert_eq!(found.content.keys + 1, all.content.keys);
            }
        }
    });
}

#[test]
fn the_first_place_that_differs_is_found() {
    world(7, async |cx| {
        let node = Node::start(config(), cx).await.expect("it starts");
        let commands = node.commands();
        for n in 0..20 {
            let command = Command::Incr { key: "n".into(), by: 1 };
            commands.send(data(command).id(format!("c{n}"))).await.expect("accepted");
        }
        drop((commands, node));
        cx.sleep(50 * MS).await;
        let mut classes = Redaction::default();
        classes.classes.set("value", DataClass::Retainable).expect("a field");
        let span = Span::default();
        let exported = exported(cx, &span, &classes).await;
        let mut bytes = exported.bytes;
        // The answer of the eighth: 8 as a number of either sign is 16.
        let place = bytes.windows(2).position(|two| two == b"c7").expect("it is there");
        let row = &mut bytes[place..];
        let answer = row.windows(3).position(|some| some == [0, 2, 16]).expect("its answer");
        row[answer + 2] = 18;
        let body = bytes.len() - 32;
        let sum = blake3::hash(&bytes[..body]);
        bytes[body..].copy_from_slice(sum.as_bytes());
        let mut bundle = Source::Bundle(BundleReader::new(bytes).expect("a bundle"));
        let found = replay(&cx, &mut bundle, &Until::default(), &mut |_, _| {}).await;
        let found = found.expect("it can be read");
        let first = found.divergence.expect("it was changed");
        assert_eq!((found.divergences, first.row), (1, Some(8)));
        assert_eq!(first.id.as_deref(), Some("c7"));
        assert!(first.expected.starts_with("ok 9,") && first.got.starts_with("ok 8,"), "{first}");
    });
}

/// The way to the node that runs, and whether none shall be started.
#[derive(Clone, Default)]
struct Door {
    commands: Arc<Mutex<Option<Embedded>>>,
    is_held: Arc<AtomicBool>,
}

/// The process on the node's host: a node, and a new one when it cannot go on.
async fn process(cx: Context, config: NodeConfig, door: Door) {
    loop {
        while door.is_held.load(Relaxed) {
            cx.sleep(5 * MS).await;
        }
        if let Ok(node) = Node::start(config.clone(), cx).await {
            *door.commands.lock().expect("nobody panics") = Some(node.commands());
            let _ended = node.run(&Shutdown::new()).await;
        }
        cx.sleep(20 * MS).await;
    }
}

/// P8 and P9: whatever crashes, redaction and retention do to it, what is left of a history is
/// explained by its commands, and twice the same.
#[test]
fn histories_of_crashing_nodes_are_replayed() {
    for seed in 10..14 {
        testing::on_fresh_thread(move || crashes(seed));
    }
}

fn crashes(seed: u64) {
    let mut sim = Simulation::new(testing::config(seed));
    let client = sim.idle_host("client");
    let door = Door::default();
    let mut config = config();
    config.history = HistoryRetention { age: 200 * MS, bytes: 40_000, outcomes: 20 };
    if seed.is_multiple_of(2) {
        config.redaction.classes.set("value", DataClass::NeverPersist).expect("a field");
    }
    let shared = door.clone();
    sim.host("node", move |cx| process(cx, config.clone(), shared.clone()));
    sim.control(|c| c.set_disk_faults("node", DiskFaults::HONEST));
    let end = sim.run(client, async move {
        for round in 0..6 {
            let commands = loop {
                if let Some(commands) = door.commands.lock().expect("nobody panics").clone() {
                    break commands;
                }
                client.sleep(10 * MS).await;
            };
            drive(&client, &commands, round * 60, round * 60 + 60 + seed % 7).await;
            drop((commands, door.commands.lock().expect("nobody panics").take()));
            let how = if round % 2 == 0 { Crash::Power } else { Crash::Process };
            door.is_held.store(true, Relaxed);
            Control.crash("node", how);
            Control.restart("node");
            let cx = Control.context("node");
            let found = replayed(cx, &Until::default()).await;
            same(&found);
            assert_eq!(replayed(cx, &Until::default()).await, found);
            assert_eq!(content(cx).await.hash, found.content.hash);
            door.is_held.store(false, Relaxed);
        }
        door.commands.lock().expect("nobody panics").take();
    });
    end.unwrap_or_else(|e| panic!("seed {seed}: {} {}", e.law, e.evidence));
}
