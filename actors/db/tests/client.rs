//! Goal: what a client of the native protocol asks happens once, whatever is lost on the way, and
//! it says so when it does not know. Method: clients in a simulated world against a node that
//! crashes and a network that cuts, stalls and forgets; then each looks for its own effects.

use std::time::Duration;

use bytes::BytesMut;
use orloj_db::{CommandLimits, Node, NodeConfig, StartError};
use orloj_kernel::{Context, Shutdown};
use orloj_net::{
    Answer, Command, Commands, Events,
    client::{Client, ClientConfig},
    envelope::{Call, Code, End, Envelope, Failure, Finding, Outcome, Question, Stage},
    native::{Decoder, Encoder, Message, VERSION, Welcome},
};
use orloj_sim::{Control, Crash, LinkFault, NetFaults, Report, Simulation, testing};
use orloj_storage::Options;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const MS: Duration = Duration::from_millis(1);

fn node_config() -> NodeConfig {
    let mut config = NodeConfig::new("data", "0.0.0.0:6379");
    config.native = Some("0.0.0.0:7380".to_owned());
    config.native_credits = 16;
    config.output_patience = 500 * MS;
    config.drain_patience = 500 * MS;
    config.commands = CommandLimits { session_rate: 0, global_rate: 0, ..Default::default() };
    config.storage = Options {
        page_bytes: 4096,
        inline_bytes: 512,
        cache_bytes: 256 << 10,
        segment_bytes: 64 << 10,
        checkpoint_bytes: 64 << 10,
        ..config.storage
    };
    config
}

async fn process(cx: Context) {
    loop {
        match Node::start(node_config(), cx).await {
            Ok(node) => drop(node.run(&Shutdown::new()).await),
            Err(StartError::Settings(e)) => panic!("{e}"),
            Err(e) => cx.trace("process", format_args!("{e}")),
        }
        cx.sleep(20 * MS).await;
    }
}

fn client_config(addr: &str) -> ClientConfig {
    ClientConfig {
        deadline: 2_000 * MS,
        connect_patience: 300 * MS,
        silence: 300 * MS,
        backoff: 5 * MS,
        backoff_max: 100 * MS,
        ..ClientConfig::new(addr)
    }
}

fn incr(key: &str) -> Envelope {
    Envelope::new(Command::Incr { key: key.to_owned().into(), by: 1 })
}

fn get(key: &str) -> Envelope {
    Envelope::new(Command::Get { key: key.to_owned().into() })
}

/// Until there is an outcome.
async fn done(client: &Client, envelope: Envelope) -> End {
    loop {
        match client.send(envelope.clone()).await {
            Ok(outcome) => return outcome.end,
            Err(failure) if failure.code == Code::Unavailable => {}
            Err(failure) => panic!("{failure}"),
        }
    }
}

/// One writer: increments of its own counter in its own session, each until it has an outcome.
async fn writer(cx: Context, number: u64, stop: Shutdown) -> u64 {
    let mut config = client_config("node:7380");
    config.connections = 1 + number as usize % 2;
    let client = Client::new(cx, config);
    let (session, key) = (format!("s{number}"), format!("k{number}"));
    let create = Envelope::new(Call::CreateSession).session(session.as_str());
    done(&client, create.id(format!("create-{number}"))).await;
    let mut count = 0;
    while !stop.has_begun() {
        let one = incr(&key).session(session.as_str()).id(format!("{number}-{count}"));
        let end = done(&client, one).await;
        count += 1;
        assert_eq!(end, End::Ok(Answer::Int(count as i64)), "each once, in order");
        cx.sleep(Duration::from_millis(cx.below(20))).await;
    }
    let end = done(&client, get(&key)).await;
    assert_eq!(end, End::Ok(Answer::Bulk(count.to_string().into())));
    count
}

async fn nemesis(cx: Context) {
    for _ in 0..10 {
        cx.sleep(Duration::from_millis(Control.between("gap", 5, 250))).await;
        match Control.between("act", 0, 4) {
            0 => Control.crash("node", Crash::Process),
            1 => Control.crash("node", Crash::Power),
            2 => Control.link("client", "node", Some(LinkFault::OneWay)),
            3 => Control.link("node", "client", Some(LinkFault::OneWay)),
            _ => drop(Control.reset_connections("client", "node")),
        }
        cx.sleep(Duration::from_millis(Control.between("down", 1, 60))).await;
        Control.link("client", "node", None);
        Control.link("node", "client", None);
        if !Control.is_up("node") {
            Control.restart("node");
        }
    }
    Control.quiet();
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

/// Runs `body` on a host of its own beside the node's.
fn beside<T, F>(seed: u64, faults: NetFaults, body: fn(Context) -> F) -> (T, Report)
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    testing::on_fresh_thread(move || {
        let mut config = testing::config(seed);
        config.time_limit = Duration::from_secs(120);
        let mut sim = Simulation::new(config);
        sim.host("node", process);
        let cx = sim.idle_host("client");
        sim.control(|c| c.set_net_faults(faults));
        let outcome = sim.run(cx, body(cx));
        let outcome = outcome.unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
        (outcome, sim.finish())
    })
}

async fn writers(cx: Context) -> u64 {
    let stop = Shutdown::new();
    let writers: Vec<_> =
        (0..4).map(|number| cx.spawn("writer", writer(cx, number, stop.clone()))).collect();
    nemesis(cx).await;
    cx.sleep(200 * MS).await;
    stop.begin();
    let mut count = 0;
    for writer in writers {
        count += writer.await.expect("it runs to its end");
    }
    count
}

#[test]
fn retries_happen_once() {
    let mut counted = 0;
    for seed in 0..20 {
        counted += beside(seed, net(), writers).0;
    }
    assert!(counted > 500, "{counted} are too few to mean anything");
}

fn reason(failure: &Failure) -> (Code, &str) {
    (failure.code, failure.detail("reason").unwrap_or_default())
}

#[orloj_sim::test(seeds = 6)]
async fn many_share_a_connection(cx: Context) {
    let node = Node::start(node_config(), cx).await.expect("it starts");
    let client = Client::new(cx, client_config("127.0.0.1:7380"));
    let mut all = Vec::new();
    for _ in 0..200 {
        let client = client.clone();
        all.push(cx.spawn("asker", async move { client.send(incr("k")).await }));
    }
    for one in all {
        let outcome = one.await.expect("it ends").expect("credits are waited for");
        assert!(outcome.end.is_ok());
    }
    let value = client.send(get("k")).await.expect("it is there");
    assert_eq!(value.end, End::Ok(Answer::Bulk("200".to_owned().into())));
    match client.ask(Question::Health).await {
        Ok(Finding::Health(health)) => assert_eq!(health.connections, 1),
        other => panic!("{other:?}"),
    }
    drop(client);
    cx.sleep(50 * MS).await;
    let other = Client::new(cx, client_config("127.0.0.1:7380"));
    match other.ask(Question::Health).await {
        Ok(Finding::Health(health)) => assert_eq!(health.connections, 1, "the first has left"),
        other => panic!("{other:?}"),
    }
    node.stop().await.expect("it stops in order");
}

#[orloj_sim::test(seeds = 6)]
async fn failures_say_what_is_known(cx: Context) {
    let client = Client::new(cx, client_config("127.0.0.1:7380"));
    let failure = client.send(incr("k")).await.expect_err("nobody listens");
    assert_eq!(reason(&failure), (Code::Unavailable, "connect"));

    let mut config = node_config();
    config.password = Some("secret".into());
    let node = Node::start(config, cx).await.expect("it starts");
    let started = cx.now();
    let failure = client.send(incr("k")).await.expect_err("it has no password");
    assert_eq!(failure.code, Code::Unauthorized);
    assert!(cx.now() - started < 200 * MS, "which trying again does not mend");
    let mut config = client_config("127.0.0.1:7380");
    config.password = Some("secret".into());
    let client = Client::new(cx, config);
    let invalid = client.send(Envelope::new(Call::CreateSession)).await.expect_err("no session");
    assert_eq!(invalid.detail("field"), Some("session"));
    let large = Envelope::new(Command::Append { key: "k".into(), value: vec![0; 11 << 20].into() });
    assert_eq!(client.send(large).await.expect_err("too long").code, Code::TooLarge);
    assert!(client.send(get("k")).await.expect("it goes on").end.is_ok());
    node.stop().await.expect("it stops in order");
}

/// The answer is lost, and nothing else.
async fn lost_answer(cx: Context) {
    let mut config = client_config("node:7380");
    config.deadline = 250 * MS;
    let client = Client::new(cx, config);
    done(&client, get("k")).await;
    let mut other = Client::new(cx, client_config("node:7380"));
    let mut follower = other.subscribe(None).await.expect("it stands");
    Control.link("node", "client", Some(LinkFault::OneWay));
    let failure = client.send(incr("k").id("one")).await.expect_err("nothing comes back");
    assert_eq!(reason(&failure), (Code::Unavailable, "unknown_fate"));
    Control.link("node", "client", None);
    other = Client::new(cx, client_config("node:7380"));
    let again = other.send(incr("k").id("one")).await.expect("it has an outcome");
    assert_eq!(again.end, End::Ok(Answer::Int(1)), "it happened once");
    loop {
        match follower.next().await {
            Ok(event) if event.stage != Stage::Accepted => assert_eq!(&*event.causes.id, "one"),
            Ok(event) => return assert_eq!(&*event.causes.id, "one"),
            // Its connection was cut too, then.
            Err(gap) => return assert_eq!(reason(&gap), (Code::Unavailable, "gap")),
        }
    }
}

#[test]
fn a_deadline_leaves_the_fate_open() {
    for seed in 0..6 {
        beside(seed, NetFaults::default(), lost_answer);
    }
}

fn welcome() -> Welcome {
    Welcome {
        version: u16::from(VERSION),
        server: "words".to_owned(),
        capabilities: Vec::new(),
        credits: 16,
        message_max: 1 << 20,
        key_max: 1 << 10,
        value_max: 1 << 20,
        event_credits_max: 16,
        durability: None,
        connection: 1,
    }
}

/// A server of its own words: it drops the connection on the first request, and answers others.
async fn loses_the_first(cx: Context, answer: Result<Outcome, Failure>) {
    let mut listener = cx.listen("127.0.0.1:7380").await.expect("it is free");
    let mut asked = 0;
    loop {
        let (mut stream, _) = listener.accept().await.expect("it listens");
        let (mut input, mut decoder) = (BytesMut::new(), Decoder::default());
        'connection: while stream.read_buf(&mut input).await.is_ok_and(|read| read > 0) {
            while let Some(frame) = decoder.decode(&mut input).expect("the client is ours") {
                let message = match frame.message.expect("it is ours") {
                    Message::Hello(_) => Message::Welcome(welcome()),
                    Message::Request(_) if asked == 0 => {
                        asked += 1;
                        break 'connection;
                    }
                    Message::Request(_) => Message::Answer { answer: answer.clone(), credits: 1 },
                    _ => continue,
                };
                let mut output = Vec::new();
                Encoder::default().encode(frame.tag, &message, &mut output).expect("it is short");
                stream.write_all(&output).await.expect("the client lives");
            }
        }
    }
}

/// A refusal answers one try: behind one that was lost the fate stays open, unless it is told.
#[orloj_sim::test(seeds = 6)]
async fn a_refusal_behind_a_lost_try_leaves_the_fate_open(cx: Context) {
    let ask = async |envelope: Envelope, answer| {
        let server = cx.spawn("server", loses_the_first(cx, answer));
        cx.sleep(MS).await;
        let answer = Client::new(cx, client_config("127.0.0.1:7380")).send(envelope).await;
        server.abort();
        cx.sleep(MS).await;
        answer
    };
    for code in Code::ALL {
        let refusal = Failure::new(code, "no").with("field", "id");
        let told = ask(incr("k"), Err(refusal.clone())).await.expect_err("it was refused");
        assert_eq!(reason(&told), (Code::Unavailable, "unknown_fate"), "{code:?}");
        assert_eq!(told.detail("refused"), Some(code.name()));
        // A read that nobody named may be lost.
        assert_eq!(ask(get("k"), Err(refusal.clone())).await, Err(refusal));
    }
    let done = Failure::new(Code::TooLarge, "it fits no frame").with("reason", "frame");
    assert_eq!(ask(incr("k"), Err(done.clone())).await, Err(done));
    let end = End::Failed(Failure::new(Code::Invalid, "no number"));
    let outcome = Outcome { end, session_version: None, replayed: true };
    assert_eq!(ask(incr("k"), Ok(outcome.clone())).await, Ok(outcome));
}

/// A subscription goes on over a new connection, and says that something may be missing.
#[orloj_sim::test(seeds = 6)]
async fn subscriptions_tell_their_gaps(cx: Context) {
    let node = Node::start(node_config(), cx).await.expect("it starts");
    let client = Client::new(cx, client_config("127.0.0.1:7380"));
    let mut events = client.subscribe(Some("s".into())).await.expect("it stands");
    let create = Envelope::new(Call::CreateSession).session("s");
    client.send(create).await.expect("it is made");
    for sequence in 1..=3 {
        assert_eq!(events.next().await.expect("its life").lane_sequence, sequence);
    }
    node.stop().await.expect("it stops in order");
    let node = Node::start(node_config(), cx).await.expect("it starts");
    let gap = events.next().await.expect_err("the connection was lost");
    assert_eq!(reason(&gap), (Code::Unavailable, "gap"));
    assert_eq!(gap.detail("lane_sequence"), Some("3"));
    client.send(incr("k").session("s")).await.expect("it is done");
    for sequence in 4..=6 {
        assert_eq!(events.next().await.expect("its life").lane_sequence, sequence);
    }
    drop(events);
    // More than the server may send ahead.
    let mut events = client.subscribe(Some("s".into())).await.expect("it stands");
    for _ in 0..300 {
        client.send(incr("k").session("s")).await.expect("it is done");
    }
    for sequence in 7..=906 {
        assert_eq!(events.next().await.expect("its life").lane_sequence, sequence);
    }
    node.stop().await.expect("it stops in order");
}
