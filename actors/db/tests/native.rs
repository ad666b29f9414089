//! Goal: a node serves the native protocol as its page says, and no client harms another. Method:
//! clients that write frames by hand, in a simulated world, against a node of their own.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use orloj_db::{CommandLimits, Node, NodeConfig};
use orloj_kernel::{Context, Shutdown, Stream};
use orloj_net::{
    Answer, Command,
    envelope::{Call, Code, End, Envelope, Failure, Finding, Outcome, Question, Stage},
    native::{Decoder, Encoder, Hello, Message, Welcome},
};
use orloj_sim::Control;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const MS: Duration = Duration::from_millis(1);
const CREDITS: u32 = 8;

fn config() -> NodeConfig {
    let mut config = NodeConfig::new("data", "0.0.0.0:6379");
    config.native = Some("0.0.0.0:7380".to_owned());
    config.native_credits = CREDITS;
    config.output_max = 64 << 10;
    config.output_patience = 500 * MS;
    config.drain_patience = 500 * MS;
    config.commands = CommandLimits { session_rate: 0, global_rate: 0, ..Default::default() };
    config
}

/// A node beside its clients, until `stop` begins.
async fn node(cx: Context, config: NodeConfig) -> Shutdown {
    let stop = Shutdown::new();
    let node = Node::start(config, cx).await.expect("it starts");
    let until = stop.clone();
    cx.spawn("node", async move { node.run(&until).await.expect("it ends in order") });
    stop
}

/// A client that is free to do anything.
struct Client {
    cx: Context,
    stream: Stream,
    encoder: Encoder,
    decoder: Decoder,
    input: BytesMut,
    output: Vec<u8>,
}

impl Client {
    async fn connect(cx: Context) -> Client {
        Client {
            cx,
            stream: cx.connect("127.0.0.1:7380").await.expect("the node listens"),
            encoder: Encoder::default(),
            decoder: Decoder::default(),
            input: BytesMut::new(),
            output: Vec::new(),
        }
    }

    async fn welcome(cx: Context) -> Client {
        let mut client = Client::connect(cx).await;
        client.hello(Hello::new("test")).await;
        client
    }

    async fn hello(&mut self, hello: Hello) -> Welcome {
        match self.ask(1, Message::Hello(hello)).await {
            (1, Message::Welcome(welcome)) => welcome,
            other => panic!("{other:?}"),
        }
    }

    fn write(&mut self, tag: u64, message: Message) {
        self.encoder.encode(tag, &message, &mut self.output).expect("it is short");
    }

    async fn flush(&mut self) {
        let output = std::mem::take(&mut self.output);
        // Whether the node takes it is told by what it says.
        let _ = self.stream.write_all(&output).await;
    }

    /// What comes next; `None` at the end.
    async fn read(&mut self) -> Option<(u64, Message)> {
        loop {
            if let Some(frame) = self.decoder.decode(&mut self.input).expect("frames") {
                return Some((frame.tag, frame.message.expect("a message")));
            }
            let read = self.cx.timeout(300 * 1000 * MS, self.stream.read_buf(&mut self.input));
            match read.await.expect("no silence") {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    async fn ask(&mut self, tag: u64, message: Message) -> (u64, Message) {
        self.write(tag, message);
        self.flush().await;
        self.read().await.expect("an answer")
    }

    async fn request(&mut self, envelope: Envelope) -> Result<Outcome, Failure> {
        match self.ask(9, Message::Request(envelope)).await {
            (9, Message::Answer { answer, credits: 1 }) => answer,
            other => panic!("{other:?}"),
        }
    }

    /// The goodbye that it is told.
    async fn parting(&mut self) -> Failure {
        loop {
            match self.read().await {
                Some((0, Message::Goodbye(Some(failure)))) => {
                    assert!(self.read().await.is_none(), "it is the last frame");
                    return failure;
                }
                Some((0, Message::Ping)) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn says(&mut self, tag: u64, message: Message) -> Failure {
        self.write(tag, message);
        self.flush().await;
        self.parting().await
    }
}

fn set(key: &str, value: &str) -> Envelope {
    Envelope::new(Command::Set {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        expiry: orloj_net::Expiry::None,
        condition: None,
        get: false,
    })
}

fn get(key: &str) -> Envelope {
    Envelope::new(Command::Get { key: key.to_owned().into() })
}

fn ok(answer: Answer, session_version: Option<u64>) -> Result<Outcome, Failure> {
    Ok(Outcome { end: End::Ok(answer), session_version, replayed: false })
}

fn reason(failure: &Failure) -> (Code, &str) {
    (failure.code, failure.detail("reason").unwrap_or_default())
}

#[orloj_sim::test(seeds = 6)]
async fn requests_questions_and_events(cx: Context) {
    let stop = node(cx, config()).await;
    let mut client = Client::connect(cx).await;
    let welcome = client.hello(Hello::new("test")).await;
    assert_eq!((welcome.version, welcome.credits), (1, CREDITS));
    assert_eq!(client.request(set("k", "v")).await, ok(Answer::Ok, None));

    let subscribe = Message::Subscribe { session: Some("s".into()), credits: 4 };
    assert_eq!(client.ask(77, subscribe).await, (77, Message::Subscribed));
    let mut other = Client::welcome(cx).await;
    let create = Envelope::new(Call::CreateSession).session("s");
    assert_eq!(other.request(create).await, ok(Answer::Int(0), Some(0)));
    let write = set("k", "w").session("s").id("c1");
    assert_eq!(other.request(write.clone()).await, ok(Answer::Ok, Some(1)));
    let replayed = other.request(write).await.expect("it is known");
    assert!(replayed.replayed);

    // Four events, and the others when there are credits again.
    let mut stages = Vec::new();
    for granted in [4, 3] {
        for _ in 0..granted {
            match client.read().await {
                Some((77, Message::Event(event))) => {
                    assert_eq!(event.causes.session.as_deref(), Some("s"));
                    stages.push(event.stage.name());
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(client.ask(5, Message::Ping).await, (5, Message::Pong), "and no more");
        client.write(77, Message::EventCredits(3));
        client.flush().await;
    }
    let life = ["command_accepted", "command_started", "command_finished"];
    assert_eq!(stages, [&life[..], &life[..], &life[2..]].concat());
    let ended = client.ask(77, Message::Unsubscribe).await;
    assert_eq!(ended, (77, Message::SubscriptionEnded(None)));

    let outcome = other.ask(3, Message::Question(Question::Outcome("c1".into()))).await;
    let (3, Message::Finding(Ok(Finding::Outcome(Some(outcome))))) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(outcome.session_version, Some(1));
    match other.ask(4, Message::Question(Question::Health)).await {
        (4, Message::Finding(Ok(Finding::Health(health)))) => assert!(health.is_ready),
        other => panic!("{other:?}"),
    }
    other.write(0, Message::Goodbye(None));
    other.flush().await;
    assert_eq!(other.read().await, Some((0, Message::Goodbye(None))));
    assert_eq!(other.read().await, None);
    stop.begin();
    assert_eq!(client.parting().await.code, Code::ShuttingDown);
}

#[orloj_sim::test(seeds = 6)]
async fn credits_bound_what_is_in_flight(cx: Context) {
    let stop = node(cx, config()).await;
    let mut client = Client::welcome(cx).await;
    for tag in 0..u64::from(CREDITS) + 3 {
        client.write(tag, Message::Request(set("k", "v").id(format!("c{tag}"))));
    }
    client.flush().await;
    let (mut done, mut busy) = (Vec::new(), 0);
    for _ in 0..CREDITS + 3 {
        match client.read().await {
            Some((tag, Message::Answer { answer: Ok(outcome), credits: 1 })) => {
                assert!(outcome.end.is_ok());
                done.push(tag);
            }
            Some((_, Message::Answer { answer: Err(failure), credits: 0 })) => {
                assert_eq!(reason(&failure), (Code::Busy, "credits"));
                busy += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    // The frames may have come in pieces; then there was credit again.
    assert!(done.is_sorted() && busy <= 3, "{done:?}");
    for _ in 0..3 * CREDITS {
        assert!(client.request(get("k")).await.is_ok(), "each answer gave one back");
    }
    stop.begin();
}

#[orloj_sim::test(seeds = 4)]
async fn who_breaks_the_rules_is_told_so_and_parted_from(cx: Context) {
    let mut config = config();
    config.password = Some("secret".into());
    let stop = node(cx, config).await;
    let ping = Client::connect(cx).await.says(1, Message::Ping).await;
    assert_eq!(reason(&ping), (Code::Invalid, "hello"));
    let nobody = Client::connect(cx).await.says(1, Message::Hello(Hello::new("test"))).await;
    assert_eq!(nobody.code, Code::Unauthorized);
    let hello =
        |password: &'static str| Hello { password: Some(password.into()), ..Hello::new("test") };
    let wrong = Client::connect(cx).await.says(1, Message::Hello(hello("guess"))).await;
    assert_eq!(wrong.code, Code::Unauthorized);
    let later = Hello { version_min: 2, version_max: 3, ..hello("secret") };
    let later = Client::connect(cx).await.says(1, Message::Hello(later)).await;
    assert_eq!(reason(&later), (Code::Invalid, "version"));
    // Nobody may make the node hold much before it is known.
    let mut large = Client::connect(cx).await;
    large.output = (1_u32 << 20).to_le_bytes().to_vec();
    large.flush().await;
    assert_eq!(reason(&large.parting().await), (Code::Invalid, "length"));
    let mut web = Client::connect(cx).await;
    web.output = b"GET / HTTP/1.1\r\n\r\n".to_vec();
    web.flush().await;
    assert_eq!(reason(&web.parting().await), (Code::Invalid, "length"));

    let mut known = Client::connect(cx).await;
    known.hello(hello("secret")).await;
    let again = known.says(1, Message::Hello(hello("secret"))).await;
    assert_eq!(reason(&again), (Code::Invalid, "kind"));
    let mut known = Client::connect(cx).await;
    known.hello(hello("secret")).await;
    known.output =
        vec![20, 0, 0, 0, 3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 1, 1, 1, 1];
    known.flush().await;
    assert_eq!(reason(&known.parting().await), (Code::Invalid, "table"));
    // What is well formed and unknown ends nothing.
    let mut known = Client::connect(cx).await;
    known.hello(hello("secret")).await;
    known.output = vec![12, 0, 0, 0, 99, 1, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0];
    known.flush().await;
    match known.read().await {
        Some((7, Message::Answer { answer: Err(failure), credits: 0 })) => {
            assert_eq!(failure.code, Code::UnknownCommand);
        }
        other => panic!("{other:?}"),
    }
    let long = Message::Subscribe { session: Some("s".repeat(257).into()), credits: 1 };
    match known.ask(8, long).await {
        (8, Message::SubscriptionEnded(Some(failure))) => assert_eq!(failure.code, Code::Invalid),
        other => panic!("{other:?}"),
    }
    assert_eq!(known.request(get("k")).await, ok(Answer::Nil, None));
    stop.begin();
}

#[orloj_sim::test(seeds = 4)]
async fn who_says_nothing_is_given_up(cx: Context) {
    let stop = node(cx, config()).await;
    let mut silent = Client::connect(cx).await;
    let started = cx.now();
    assert_eq!(reason(&silent.parting().await), (Code::Timeout, "hello"));
    assert!(cx.now() - started < 11_000 * MS);
    let mut known = Client::welcome(cx).await;
    assert_eq!(known.read().await, Some((0, Message::Ping)));
    known.write(0, Message::Pong);
    known.flush().await;
    assert_eq!(known.read().await, Some((0, Message::Ping)), "once more");
    assert_eq!(reason(&known.parting().await), (Code::Timeout, "silence"));
    stop.begin();
}

/// One that reads nothing, one that floods, one that is half gone: another is served.
#[orloj_sim::test(seeds = 6)]
async fn nobody_harms_another(cx: Context) {
    let stop = node(cx, config()).await;
    let mut good = Client::welcome(cx).await;
    let mut deaf = Client::welcome(cx).await;
    deaf.write(7, Message::Subscribe { session: None, credits: 0 });
    deaf.flush().await;
    let mut half = Client::welcome(cx).await;
    half.output = vec![200, 0, 0, 0, 3, 1];
    half.flush().await;
    let mut flood = Client::welcome(cx).await;
    let flooding = cx.spawn("flood", async move {
        for round in 0..200 {
            for tag in 0..50 {
                flood.write(tag, Message::Request(set(&format!("f{round}"), &"x".repeat(200))));
            }
            let output = std::mem::take(&mut flood.output);
            if flood.stream.write_all(&output).await.is_err() {
                return true;
            }
        }
        false
    });
    for at in 0..400 {
        let value = at.to_string();
        assert_eq!(good.request(set("k", &value)).await, ok(Answer::Ok, None));
    }
    assert!(flooding.await.expect("it ends"), "who reads no answers is disconnected");
    // The deaf one had room for so many events and no more.
    deaf.write(7, Message::EventCredits(10_000));
    deaf.flush().await;
    let mut lagged = false;
    while !lagged {
        match deaf.read().await.expect("it is told") {
            (7, Message::SubscriptionEnded(Some(failure))) => {
                assert_eq!(reason(&failure), (Code::Busy, "lagged"));
                lagged = true;
            }
            (7, Message::Subscribed | Message::Event(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(deaf.request(get("k")).await.map(|it| it.end.is_ok()), Ok(true));
    stop.begin();
}

#[orloj_sim::test(seeds = 4)]
async fn one_too_many_hears_why(cx: Context) {
    let mut config = config();
    config.max_clients = 1;
    let stop = node(cx, config).await;
    let mut first = Client::welcome(cx).await;
    let mut second = Client::connect(cx).await;
    assert_eq!(reason(&second.parting().await), (Code::Busy, "connections"));
    assert_eq!(first.request(get("k")).await, ok(Answer::Nil, None));
    stop.begin();
}

/// What is in flight when the node is told to stop is answered.
#[orloj_sim::test(seeds = 6)]
async fn a_drain_answers_what_was_received(cx: Context) {
    let stop = node(cx, config()).await;
    let mut client = Client::welcome(cx).await;
    for tag in 1..=u64::from(CREDITS) {
        client.write(tag, Message::Request(set("k", "v").id(format!("c{tag}"))));
    }
    client.flush().await;
    cx.sleep(Duration::from_micros(Control.between("gap", 0, 2_000))).await;
    stop.begin();
    let mut answered = 0;
    loop {
        match client.read().await {
            Some((_, Message::Answer { answer, .. })) => {
                answered += 1;
                if let Err(failure) = answer {
                    assert_eq!(failure.code, Code::ShuttingDown);
                }
            }
            Some((0, Message::Goodbye(Some(failure)))) => {
                assert_eq!(failure.code, Code::ShuttingDown);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(answered <= CREDITS);
    assert!(client.read().await.is_none());
}

#[orloj_sim::test(seeds = 2)]
async fn an_answer_that_fits_no_frame_is_told_apart(cx: Context) {
    let mut config = config();
    config.output_max = 64 << 20;
    config.output_patience = 60_000 * MS;
    let stop = node(cx, config).await;
    let mut client = Client::welcome(cx).await;
    let large = "x".repeat(4 << 20);
    let keys = ["a", "b", "c"];
    for key in keys {
        assert!(client.request(set(key, &large)).await.is_ok());
    }
    let keys = keys.map(|key| key.to_owned().into()).to_vec();
    let outcome = client.request(Envelope::new(Command::MGet { keys })).await;
    let end = outcome.expect("it is accepted").end;
    assert_eq!(end.failure().map(|failure| failure.code), Some(Code::TooLarge), "twelve MiB");
    // Little in each, and too much about it.
    let keys = vec![bytes::Bytes::new(); 400_000];
    let failure = client.request(Envelope::new(Command::MGet { keys })).await;
    let failure = failure.expect_err("it fits no frame");
    assert_eq!(reason(&failure), (Code::TooLarge, "frame"));
    let value = client.request(get("a")).await.expect("four");
    let bulk = orloj_net::Blob::from(large);
    assert_eq!(value.end, End::Ok(Answer::Bulk(bulk)));
    stop.begin();
}

/// Events come in the order of their lane, and each command's steps in theirs.
#[orloj_sim::test(seeds = 6)]
async fn events_keep_their_order(cx: Context) {
    let stop = node(cx, config()).await;
    let mut follower = Client::welcome(cx).await;
    let subscribe = Message::Subscribe { session: None, credits: 10_000 };
    assert_eq!(follower.ask(1, subscribe).await, (1, Message::Subscribed));
    let mut writers = Vec::new();
    for writer in 0..3 {
        writers.push(cx.spawn("writer", async move {
            let mut client = Client::welcome(cx).await;
            let session: Arc<str> = format!("s{writer}").into();
            let create = Envelope::new(Call::CreateSession).session(session.clone());
            client.request(create).await.expect("it is made");
            for at in 0..20 {
                let id = format!("{writer}-{at}");
                let envelope = set("k", "v").session(session.clone()).id(id);
                client.request(envelope).await.expect("it is done");
            }
        }));
    }
    let mut lanes = std::collections::BTreeMap::new();
    let mut finished = 0;
    while finished < 3 * 21 {
        match follower.read().await {
            Some((1, Message::Event(event))) => {
                let lane = lanes.entry(event.causes.session.clone()).or_insert(0);
                assert_eq!(event.lane_sequence, *lane + 1, "{event:?}");
                *lane = event.lane_sequence;
                finished += usize::from(matches!(event.stage, Stage::Finished(_)));
            }
            other => panic!("{other:?}"),
        }
    }
    for writer in writers {
        writer.await.expect("it ends");
    }
    stop.begin();
}
