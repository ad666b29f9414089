//! Goal: a node under real clients and every kind of fault keeps what it has acknowledged, shows
//! nothing that it takes back, answers in order, and comes back when the faults stop. Method: each
//! client owns some counters and logs and knows, from the answers it got, what they may hold; lost
//! answers widen that, every answer is held against it and narrows it again. Counters only grow, so
//! what anybody was shown of one is the least that anybody who asks later may be shown.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::BytesMut;
use orloj_db::{Durability, Node, NodeConfig, StartError};
use orloj_kernel::{Context, Shutdown, SiteKind, Stream};
use orloj_net::resp::{Reply, ReplyDecoder, ReplyLimits, encode_request};
use orloj_sim::{
    Config, Control, Crash, Detail, Failure, LinkFault, NetFaults, Report, Simulation,
    disk::DiskFaults, fault::FaultClass, testing,
};
use orloj_storage::Options;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const MS: Duration = Duration::from_millis(1);
/// Clients, of whom the first so many write; the others only look.
const CLIENTS: u64 = 5;
const WRITERS: u64 = 3;

/// What one seed is about.
#[derive(Clone, Copy)]
struct Plan {
    durability: Durability,
    disk: DiskFaults,
    /// Whether hosts crash.
    crashes: bool,
    mutant: Option<&'static str>,
}

fn config() -> NodeConfig {
    let mut config = NodeConfig::new("data", "0.0.0.0:6379");
    config.rows_bytes = 8 << 10;
    config.storage = Options {
        page_bytes: 4096,
        inline_bytes: 512,
        cache_bytes: 256 << 10,
        segment_bytes: 64 << 10,
        checkpoint_bytes: 64 << 10,
        checkpoint_every: 200 * MS,
        ..config.storage
    };
    config.output_max = 64 << 10;
    config.output_patience = 500 * MS;
    config.drain_patience = 500 * MS;
    config
}

/// The process on the node's host: a node, and a new one when it cannot go on.
async fn process(cx: Context, durability: Durability) {
    loop {
        let mut config = config();
        config.durability = durability;
        match Node::start(config, cx).await {
            Ok(node) => match node.run(&Shutdown::new()).await {
                Ok(()) => panic!("nobody asked it to stop"),
                Err(e) => cx.trace("process", format_args!("{e}")),
            },
            Err(e @ (StartError::Disk(_) | StartError::Full(_) | StartError::Directory(_))) => {
                cx.trace("process", format_args!("{e}"));
            }
            Err(e) => Control.fail(Failure::new("starts", e.to_string())),
        }
        cx.sleep(20 * MS).await;
    }
}

/// What a key may hold.
#[derive(Clone, Debug, Default)]
struct Belief {
    /// For certain.
    least: i64,
    /// If everything of unknown fate was done.
    most: i64,
}

/// One client: its connection, and what it believes of its own keys.
struct Client {
    cx: Context,
    id: u64,
    stream: Option<Stream>,
    counters: BTreeMap<String, Belief>,
    answered: u64,
    volatile: bool,
    shown: Shown,
    /// No fault strikes any more: an answer that does not come is a failure.
    calm: bool,
}

/// The most that anybody was shown of each counter.
type Shown = Arc<Mutex<BTreeMap<String, i64>>>;

impl Client {
    fn new(cx: Context, id: u64, volatile: bool, shown: Shown) -> Client {
        Client {
            cx,
            id,
            stream: None,
            counters: BTreeMap::new(),
            answered: 0,
            volatile,
            shown,
            calm: false,
        }
    }

    /// The least that a reading asked for now may show.
    fn floor(&self, key: &str) -> i64 {
        let shown = self.shown.lock().expect("no client panics");
        if self.volatile { 0 } else { shown.get(key).copied().unwrap_or(0) }
    }

    fn show(&self, key: &str, value: i64) {
        let mut shown = self.shown.lock().expect("no client panics");
        let most = shown.entry(key.to_owned()).or_default();
        *most = value.max(*most);
    }

    async fn connect(&mut self) -> bool {
        if self.stream.is_none() {
            let connecting = self.cx.timeout(200 * MS, self.cx.connect("node:6379")).await;
            self.stream = connecting.ok().and_then(Result::ok);
        }
        if self.stream.is_none() {
            self.cx.sleep(20 * MS).await;
        }
        self.stream.is_some()
    }

    /// Sends a pipeline; the replies that came before the connection was lost.
    async fn ask(&mut self, requests: &[Vec<String>]) -> Vec<Reply> {
        let mut replies = Vec::new();
        let Some(stream) = &mut self.stream else { return replies };
        let mut bytes = Vec::new();
        requests.iter().for_each(|r| encode_request(r, &mut bytes));
        let talk = async {
            stream.write_all(&bytes).await?;
            let mut decoder = ReplyDecoder::new(ReplyLimits::default());
            let mut input = BytesMut::new();
            while replies.len() < requests.len() {
                match decoder.decode(&mut input) {
                    Ok(Some(reply)) => replies.push(reply),
                    Ok(None) if stream.read_buf(&mut input).await? == 0 => break,
                    Ok(None) => {}
                    Err(e) => Control.fail(Failure::new("resp", e.to_string())),
                }
            }
            Ok::<(), std::io::Error>(())
        };
        // Whatever the reason, what has no answer now will never get one.
        let _ = self.cx.timeout(2_000 * MS, talk).await;
        if replies.len() < requests.len() {
            if self.calm {
                self.fail(format!("{} answers for {}", replies.len(), requests.len()));
            }
            self.stream = None;
        }
        replies
    }

    fn fail(&self, what: String) {
        Control.fail(Failure::new("belief", format!("client {}: {what}", self.id)));
    }

    /// One pipeline of additions and readings, and what its answers teach.
    async fn step(&mut self) {
        let length = 1 + self.cx.below(6);
        let mut asked = Vec::new();
        let mut requests = Vec::new();
        for _ in 0..length {
            let (owner, word) = match self.cx.below(6) {
                _ if self.id >= WRITERS => (self.cx.below(WRITERS), "GET"),
                0 | 1 => (self.id, "INCR"),
                2 => (self.id, "GET"),
                3 => (self.id, "MGET"),
                _ => (self.cx.below(WRITERS), "GET"),
            };
            let key = format!("c{owner}:{}", self.cx.below(3));
            requests.push(vec![word.to_owned(), key.clone()]);
            let floor = self.floor(&key);
            asked.push((owner, word, key, floor));
        }
        let replies = self.ask(&requests).await;
        for (index, (owner, word, key, floor)) in asked.into_iter().enumerate() {
            let Some(reply) = replies.get(index) else {
                let belief = self.counters.entry(key).or_default();
                belief.most += i64::from(word == "INCR");
                continue;
            };
            self.answered += 1;
            let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse::<i64>().ok();
            let (value, added) = match (word, reply) {
                ("INCR", Reply::Int(n)) => (*n, 1),
                ("GET", Reply::Nil) => (0, 0),
                ("GET", Reply::Bulk(bytes)) => (number(bytes).unwrap_or(i64::MIN), 0),
                ("MGET", Reply::Array(items)) => match items.as_slice() {
                    [Reply::Nil] => (0, 0),
                    [Reply::Bulk(bytes)] => (number(bytes).unwrap_or(i64::MIN), 0),
                    _ => return self.fail(format!("MGET {key} was answered {reply:?}")),
                },
                // Refused: not done, and nothing learnt.
                (_, Reply::Error(text)) if text.starts_with(b"MISCONF") => continue,
                _ => return self.fail(format!("{word} {key} was answered {reply:?}")),
            };
            if value < floor {
                return self.fail(format!("{word} {key} is {value} and was {floor} before"));
            }
            self.show(&key, value);
            if owner != self.id {
                continue;
            }
            let belief = self.counters.entry(key.clone()).or_default();
            let may = belief.least + added..=belief.most + added;
            let lost = self.volatile && value < *may.start();
            if !may.contains(&value) && !lost {
                let (least, most) = (may.start(), may.end());
                return self.fail(format!("{word} {key} is {value}, not {least} to {most}"));
            }
            *belief = Belief { least: value, most: value };
        }
    }
}

async fn client(mut client: Client, calm: Shutdown, stop: Shutdown) -> u64 {
    let cx = client.cx;
    while !stop.has_begun() {
        if calm.has_begun() && !client.calm {
            // The old connection may be half of one.
            (client.stream, client.calm) = (None, true);
        }
        if client.connect().await {
            client.step().await;
            if cx.below(4) == 0 {
                cx.sleep(Duration::from_millis(cx.below(30))).await;
            }
        }
    }
    client.answered
}

async fn nemesis(plan: Plan) {
    let cx = Control.context("client");
    for _ in 0..12 {
        cx.sleep(Duration::from_millis(Control.between("gap", 5, 250))).await;
        match Control.between("act", 0, 7) {
            0 if plan.crashes => Control.crash("node", Crash::Process),
            1 if plan.crashes => Control.crash("node", Crash::Power),
            2 if plan.crashes => {
                let polls = Control.between("polls", 0, 400);
                Control.kill_after_polls("node", polls, Crash::Power);
            }
            3 => Control.pause("node", 30 * MS),
            4 => Control.link("client", "node", Some(LinkFault::OneWay)),
            5 => drop(Control.reset_connections("client", "node")),
            6 if plan.disk.full > 0 => Control.limit_disk("node", Some(4096)),
            7 => Control.jump_clock("node", -3_600_000_000, FaultClass::ClockJump),
            _ => {}
        }
        cx.sleep(Duration::from_millis(Control.between("down", 1, 60))).await;
        Control.link("client", "node", None);
        Control.limit_disk("node", None);
        if !Control.is_up("node") {
            Control.restart("node");
        }
    }
    Control.quiet();
    Control.limit_disk("node", None);
    if Control.is_up("node") {
        // Whatever state it is in, the machine is whole again.
        Control.crash("node", Crash::Power);
    }
    Control.restart("node");
}

fn run(seed: u64, plan: Plan, detail: Detail) -> (Result<u64, Failure>, Report) {
    testing::on_fresh_thread(move || {
        let mut config: Config = testing::config(seed);
        config.detail = detail;
        config.mutant = plan.mutant;
        config.time_limit = Duration::from_secs(120);
        let mut sim = Simulation::new(config);
        sim.host("node", move |cx| process(cx, plan.durability));
        let cx = sim.idle_host("client");
        sim.control(|c| {
            c.set_disk_faults("node", plan.disk);
            c.set_net_faults(net());
        });
        let outcome = sim.run(cx, async move {
            let (calm, stop) = (Shutdown::new(), Shutdown::new());
            let volatile = plan.durability != Durability::Strict;
            let shown = Shown::default();
            let clients: Vec<_> = (0..CLIENTS)
                .map(|id| Client::new(cx, id, volatile, shown.clone()))
                .map(|c| cx.spawn("client", client(c, calm.clone(), stop.clone())))
                .collect();
            nemesis(plan).await;
            cx.sleep(500 * MS).await;
            calm.begin();
            cx.sleep(1_500 * MS).await;
            stop.begin();
            let mut answered = 0;
            for client in clients {
                answered += client.await.expect("clients run to their end");
            }
            // Healthy again: everybody is answered at once.
            let mut last = Client::new(cx, CLIENTS, volatile, shown);
            let deadline = cx.now() + 5_000 * MS;
            while last.answered == 0 {
                if cx.now() > deadline {
                    Control.fail(Failure::new("progress", "no answer in 5 s of quiet"));
                }
                if last.connect().await {
                    last.step().await;
                }
            }
            answered
        });
        (outcome, sim.finish())
    })
}

/// Runs seeds; between them they must reach the places named.
fn campaign(seeds: std::ops::Range<u64>, places: &[&str], plan: impl Fn(u64) -> Plan) {
    let mut answered = 0;
    let mut reached = BTreeMap::new();
    for seed in seeds {
        let (outcome, report) = run(seed, plan(seed), Detail::Hash);
        for (site, _, hit) in report.coverage.places(|kind| kind == SiteKind::Sometimes) {
            *reached.entry(site.name).or_insert(0) += hit;
        }
        match outcome {
            Ok(count) => answered += count,
            Err(failure) => {
                let (_, report) = run(seed, plan(seed), Detail::Story);
                let skipped = report.story.len().saturating_sub(60);
                let story: Vec<String> =
                    report.story[skipped..].iter().map(ToString::to_string).collect();
                panic!("seed {seed}: {failure}\n{}", story.join("\n"));
            }
        }
    }
    assert!(answered > 1_000, "{answered} answers are too few to mean anything");
    for place in places {
        assert!(reached.get(place).is_some_and(|hit| *hit > 0), "{place:?} was not reached");
    }
}

fn net() -> NetFaults {
    NetFaults {
        reset_ppm: 2_000,
        half_open_ppm: 500,
        stall_ppm: 2_000,
        stall_mean_ns: 5_000_000,
        partial_write_ppm: 50_000,
        partial_frame_ppm: 50_000,
        slow_reader_ppm: 20_000,
        ..NetFaults::default()
    }
}

const PLAIN: Plan =
    Plan { durability: Durability::Strict, disk: DiskFaults::HONEST, crashes: true, mutant: None };

#[test]
fn a_strict_node_keeps_its_word_through_crashes() {
    let places = [
        "journal: a segment followed another",
        "journal: one write answered several clients",
        "recovery: an unproven tail was written anew",
        "sequencer: reads waited for a write",
        "session: a pipeline went to the store as one batch",
    ];
    campaign(0..40, &places, |_| PLAIN);
}

#[test]
fn a_strict_node_keeps_its_word_on_a_bad_disk() {
    let disk = DiskFaults {
        sync_failed: 3_000,
        write_error: 3_000,
        full: 5_000,
        read_error: 20_000,
        read_flip: 20_000,
        misdirected_read: 10_000,
        slow: 10_000,
        stall: 500,
        ..DiskFaults::HONEST
    };
    let places = [
        "journal: a full disk was told to clients",
        "writer: there was room again",
        "sequencer: refused changes were undone",
        "sequencer: serves reads while the journal refuses",
    ];
    campaign(100..140, &places, |_| Plan { disk, ..PLAIN });
}

#[test]
fn other_modes_answer_in_order_too() {
    campaign(200..220, &[], |seed| Plan {
        durability: [Durability::Buffered, Durability::InMemory][(seed % 2) as usize],
        ..PLAIN
    });
}

/// The planted defects that a client can see by itself.
#[test]
fn planted_defects_are_found() {
    for mutant in [
        "journal.ack_before_sync",
        "journal.lost_dir_sync",
        "journal.lost_wakeup",
        "sequencer.dropped_reply",
        "sequencer.unsynced_read",
        "session.reorder_replies",
    ] {
        // A slow disk leaves time between a write and its sync.
        let disk = DiskFaults { slow: 100_000, ..DiskFaults::HONEST };
        let plan = Plan { mutant: Some(mutant), disk, ..PLAIN };
        let found = (0..60).find(|seed| run(*seed, plan, Detail::Hash).0.is_err());
        assert!(found.is_some(), "{mutant} survived");
    }
}
