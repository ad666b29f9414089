//! Goal: clients that speak JSON get one answer for each request, in either form of the stream, and
//! nothing they send or leave unread harms the node or each other.
//! Method: a node and its clients in one simulated world, with the words on the wire written out.

use std::time::Duration;

use orloj_db::{Node, NodeConfig};
use orloj_kernel::{Context, Stream};
use orloj_sim::disk::LatencyProfile;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn start(cx: Context, change: impl FnOnce(&mut NodeConfig)) -> Node {
    let mut config = NodeConfig::new("data", "0.0.0.0:6379");
    config.ws = Some("0.0.0.0:7070".to_owned());
    config.output_patience = Duration::from_secs(1);
    change(&mut config);
    Node::start(config, cx).await.expect("it starts")
}

/// A client, of lines or of frames.
struct Client {
    cx: Context,
    stream: Stream,
    input: Vec<u8>,
    is_socket: bool,
}

/// What came.
#[derive(Debug, PartialEq)]
enum Came {
    Text(Value),
    /// A frame of another kind, with its payload.
    Frame(u8, Vec<u8>),
    Over,
}

impl Client {
    async fn lines(cx: Context) -> Client {
        let stream = cx.connect("127.0.0.1:7070").await.expect("it listens");
        Client { cx, stream, input: Vec::new(), is_socket: false }
    }

    async fn socket(cx: Context) -> Client {
        let mut client = Client { is_socket: true, ..Client::lines(cx).await };
        client
            .send_raw(
                b"GET / HTTP/1.1\r\nHost: node:7070\r\nUpgrade: websocket\r\n\
                  Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                  Sec-WebSocket-Version: 13\r\n\r\n",
            )
            .await;
        while !client.input.ends_with(b"\r\n\r\n") {
            assert!(client.read().await, "it answers");
        }
        assert!(client.input.starts_with(b"HTTP/1.1 101 "));
        client.input.clear();
        client
    }

    async fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("it reads");
    }

    async fn send_frame(&mut self, first: u8, payload: &[u8]) {
        let len = u16::try_from(payload.len()).expect("short");
        let mut frame = match len {
            ..126 => vec![first, 0x80 | len as u8],
            _ => [&[first, 0x80 | 126], &len.to_be_bytes()[..]].concat(),
        };
        frame.extend([1, 2, 3, 4]);
        frame.extend(payload.iter().zip([1, 2, 3, 4].iter().cycle()).map(|(b, mask)| b ^ mask));
        self.send_raw(&frame).await;
    }

    async fn send(&mut self, request: Value) {
        let text = request.to_string();
        match self.is_socket {
            true => self.send_frame(0x81, text.as_bytes()).await,
            false => self.send_raw(format!("{text}\n").as_bytes()).await,
        }
    }

    async fn read(&mut self) -> bool {
        let read = self.stream.read_buf(&mut self.input);
        match self.cx.timeout(Duration::from_secs(20), read).await.expect("something comes") {
            Ok(n) => n > 0,
            Err(_) => false,
        }
    }

    async fn next(&mut self) -> Came {
        loop {
            if let Some(came) = self.cut() {
                return came;
            }
            if !self.read().await {
                return Came::Over;
            }
        }
    }

    fn cut(&mut self) -> Option<Came> {
        let parse = |text: &[u8]| Came::Text(serde_json::from_slice(text).expect("it is JSON"));
        if !self.is_socket {
            let end = self.input.iter().position(|byte| *byte == b'\n')?;
            let line: Vec<u8> = self.input.drain(..=end).collect();
            return Some(parse(&line));
        }
        let (start, len) = match self.input[..] {
            [_, len @ ..126, ..] => (2, usize::from(len)),
            [_, 126, a, b, ..] => (4, usize::from(u16::from_be_bytes([a, b]))),
            _ => return None,
        };
        if self.input.len() < start + len {
            return None;
        }
        let frame: Vec<u8> = self.input.drain(..start + len).collect();
        match frame[0] {
            0x81 => Some(parse(&frame[start..])),
            kind => Some(Came::Frame(kind, frame[start..].to_vec())),
        }
    }

    async fn text(&mut self) -> Value {
        match self.next().await {
            Came::Text(value) => value,
            came => panic!("{came:?}"),
        }
    }

    async fn ask(&mut self, request: Value) -> Value {
        self.send(request).await;
        self.text().await
    }

    /// Code and reason of the goodbye.
    async fn goodbye(&mut self) -> (u16, String) {
        match self.next().await {
            Came::Frame(0x88, payload) => {
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                (code, String::from_utf8_lossy(&payload[2..]).into_owned())
            }
            came => panic!("{came:?}"),
        }
    }
}

#[orloj_sim::test(seeds = 8)]
async fn a_session_of_commands_in_both_forms(cx: Context) {
    let node = start(cx, |_| {}).await;
    for name in ["lines", "socket"] {
        let mut client = match name {
            "lines" => Client::lines(cx).await,
            _ => Client::socket(cx).await,
        };
        let id = |id: &str| format!("{name}-{id}");
        let made = client
            .ask(json!({"type": "create_session", "session": name, "id": id("a"), "request": 1}))
            .await;
        let ok = |request: u64, letter: &str, result: Value, version: u64, replayed: bool| {
            json!({"request": request, "id": id(letter), "outcome": "ok", "result": result,
                "session_version": version, "replayed": replayed})
        };
        assert_eq!(made, ok(1, "a", json!(0), 0, false));
        let set = json!({
            "type": "set", "session": name, "id": id("b"), "depends_on": [id("a")], "key": "k",
            "value": {"base64": "/w=="}, "if_session_version": 0, "request": 2,
        });
        assert_eq!(client.ask(set.clone()).await, ok(2, "b", json!("OK"), 1, false));
        let mut again = set;
        again["request"] = json!(3);
        assert_eq!(client.ask(again).await, ok(3, "b", json!("OK"), 1, true));
        let got = client.ask(json!({"type": "get", "session": name, "key": "k"})).await;
        assert_eq!(
            got,
            json!({"outcome": "ok", "result": {"base64": "/w=="}, "session_version": 1,
                "replayed": false})
        );
        let stale = client
            .ask(json!({"type": "del", "keys": ["k"], "session": name, "if_session_version": 7}))
            .await;
        assert_eq!(
            (&stale["outcome"], &stale["error"]["code"]),
            (&json!("failed"), &json!("VersionMismatch"))
        );
        let history = client
            .ask(
                json!({"type": "get_command_history", "session": name, "limit": 2, "request": "h"}),
            )
            .await;
        let commands = history["result"]["commands"].as_array().expect("a page");
        let types: Vec<&str> = commands.iter().filter_map(|c| c["type"].as_str()).collect();
        assert_eq!(types, ["del", "get"], "{history}");
        assert_eq!(history["result"]["truncated"], true);
    }
    node.stop().await.expect("in order");
}

#[orloj_sim::test(seeds = 8)]
async fn events_come_in_order_to_whoever_asked(cx: Context) {
    let node = start(cx, |_| {}).await;
    let (mut one, mut all) = (Client::socket(cx).await, Client::lines(cx).await);
    let subscribed = one.ask(json!({"type": "subscribe", "session": "s", "request": "x"})).await;
    assert_eq!(subscribed, json!({"request": "x", "result": {"subscription": 1}}));
    all.ask(json!({"type": "subscribe"})).await;
    let mut asker = Client::lines(cx).await;
    asker.ask(json!({"type": "set", "key": "k", "value": "v", "id": "other"})).await;
    asker.ask(json!({"type": "create_session", "session": "s", "id": "a"})).await;
    let mut steps = Vec::new();
    for _ in 0..3 {
        let event = one.text().await;
        assert_eq!((&event["id"], &event["lane"]), (&json!("a"), &json!("session:s")));
        assert_eq!(event["subscription"], 1);
        steps.push(event["event"].as_str().expect("its name").to_owned());
    }
    assert_eq!(steps, ["command_accepted", "command_started", "command_finished"]);
    let mut ids = Vec::new();
    for _ in 0..6 {
        ids.push(all.text().await["id"].clone());
    }
    assert_eq!(ids, ["other", "other", "other", "a", "a", "a"]);
    assert_eq!(
        one.ask(json!({"type": "unsubscribe", "subscription": 1})).await,
        json!({"result": {"subscription": 1}})
    );
    let twice = one.ask(json!({"type": "unsubscribe", "subscription": 1})).await;
    assert_eq!(twice["error"]["details"]["field"], "subscription");
    asker.ask(json!({"type": "delete_session", "session": "s", "id": "b"})).await;
    // What comes next is the answer: nothing is told any more.
    assert_eq!(one.ask(json!({"type": "health", "request": 9})).await["request"], 9);
    node.stop().await.expect("in order");
}

#[orloj_sim::test(seeds = 8)]
async fn who_sends_nonsense_is_told_and_closed_and_nobody_else(cx: Context) {
    let node = start(cx, |_| {}).await;
    let mut other = Client::socket(cx).await;
    let mut lines = Client::lines(cx).await;
    lines.send_raw(b"{\"type\":\"dbsize\",\"request\":1}\n{oops}\n{\"type\":\"dbsize\"}\n").await;
    let mut got = [lines.text().await, lines.text().await];
    got.sort_by_key(|answer| answer["request"].is_null());
    assert_eq!(got[0]["result"], 0, "what stood before it is answered");
    assert_eq!(got[1]["error"]["details"]["reason"], "malformed");
    assert_eq!(lines.next().await, Came::Over);
    let mut socket = Client::socket(cx).await;
    let refused = socket.ask(json!(["no", "object"])).await;
    assert_eq!(refused["error"]["code"], "Invalid");
    assert_eq!(socket.goodbye().await.0, 1007);
    let mut socket = Client::socket(cx).await;
    socket.send_frame(0x82, b"{}").await;
    assert_eq!(socket.text().await["error"]["code"], "Invalid");
    assert_eq!(socket.goodbye().await.0, 1003);
    assert_eq!(socket.next().await, Came::Over);
    let mut long = Client::socket(cx).await;
    long.send_raw(b"\x81\xff\0\0\0\0\x01\0\0\0mask").await;
    assert_eq!(long.text().await["error"]["code"], "TooLarge");
    assert_eq!(long.goodbye().await.0, 1009);
    let mut page = Client::lines(cx).await;
    page.send_raw(b"GET / HTTP/1.1\r\nHost: node\r\n\r\n").await;
    while page.read().await {}
    assert!(page.input.starts_with(b"HTTP/1.1 426 "));
    other.send_frame(0x89, b"still there?").await;
    assert_eq!(other.next().await, Came::Frame(0x8a, b"still there?".to_vec()));
    let misspelt = other.ask(json!({"type": "get", "kye": "k", "id": "a", "request": 2})).await;
    assert_eq!(misspelt["error"]["details"]["field"], "kye");
    assert_eq!((&misspelt["id"], &misspelt["request"]), (&json!("a"), &json!(2)));
    assert_eq!(other.ask(json!({"type": "dbsize"})).await["result"], 0);
    node.stop().await.expect("in order");
}

#[orloj_sim::test(seeds = 8)]
async fn a_client_that_says_no_more_gets_its_answers(cx: Context) {
    let node = start(cx, |_| {}).await;
    let mut client = Client::lines(cx).await;
    for n in 0..50 {
        client.send(json!({"type": "incr", "key": "n", "request": n})).await;
    }
    // The last line has no end.
    client.send_raw(b"{\"type\":\"get\",\"key\":\"n\",\"request\":50}").await;
    client.stream.shutdown().await.expect("it is open");
    for n in 0..=50 {
        assert_eq!(client.text().await["request"], n);
    }
    assert_eq!(client.next().await, Came::Over);
    node.stop().await.expect("in order");
}

#[orloj_sim::test(seeds = 2)]
async fn a_slow_subscriber_is_disconnected_with_a_reason(cx: Context) {
    let node = start(cx, |config| {
        config.commands.global_rate = 0;
        config.commands.session_rate = 0;
        config.output_patience = Duration::from_secs(600);
    })
    .await;
    let mut slow = Client::socket(cx).await;
    slow.ask(json!({"type": "subscribe"})).await;
    let mut asker = Client::lines(cx).await;
    for _ in 0..20 {
        for n in 0..200 {
            asker.send(json!({"type": "set", "key": "k", "value": "v", "request": n})).await;
        }
        for _ in 0..200 {
            assert_eq!(asker.text().await["outcome"], "ok");
        }
    }
    let mut events = 0;
    let last = loop {
        let text = slow.text().await;
        if text.get("error").is_some() {
            break text;
        }
        events += 1;
    };
    assert_eq!(last["error"]["details"]["reason"], "lagged");
    assert!(events < 3 * 4_000, "{events}");
    assert_eq!(slow.goodbye().await, (1008, "too many events were left unread".to_owned()));
    node.stop().await.expect("in order");
}

#[orloj_sim::test(seeds = 8)]
async fn a_password_is_asked_for(cx: Context) {
    let node = start(cx, |config| config.password = Some("secret".into())).await;
    let mut client = Client::socket(cx).await;
    let get = || json!({"type": "get", "key": "k"});
    assert_eq!(client.ask(get()).await["error"]["code"], "Unauthorized");
    let wrong = json!({"type": "authenticate", "password": "Secret"});
    assert_eq!(client.ask(wrong).await["error"]["code"], "Unauthorized");
    assert_eq!(client.ask(json!({"type": "health"})).await["error"]["code"], "Unauthorized");
    let right = json!({"type": "authenticate", "password": "secret", "request": 1});
    assert_eq!(client.ask(right).await, json!({"request": 1, "result": "OK"}));
    assert_eq!(client.ask(get()).await["outcome"], "ok");
    for client in [&mut client, &mut Client::socket(cx).await, &mut Client::lines(cx).await] {
        let long = json!({"type": "get", "key": "k".repeat(20_000)});
        let is_let_in = client.ask(json!({"type": "health"})).await.get("result").is_some();
        let answer = client.ask(long).await;
        assert_eq!(answer.get("outcome").is_some(), is_let_in, "{answer}");
        assert_eq!(answer["error"]["code"] == "TooLarge", !is_let_in);
    }
    node.stop().await.expect("in order");
}

#[orloj_sim::test(seeds = 8)]
async fn clients_are_counted_and_seen_out(cx: Context) {
    let node = start(cx, |config| config.max_clients = 2).await;
    let (mut socket, mut lines) = (Client::socket(cx).await, Client::lines(cx).await);
    lines.ask(json!({"type": "health"})).await;
    let mut third = Client::lines(cx).await;
    assert_eq!(third.ask(json!({"type": "health"})).await["error"]["code"], "Busy");
    assert_eq!(third.next().await, Came::Over);
    let mut fourth = Client::lines(cx).await;
    fourth.send_raw(b"GET / HTTP/1.1\r\n").await;
    while fourth.read().await {}
    assert!(fourth.input.starts_with(b"HTTP/1.1 503 "));
    let stopping = cx.spawn("stop", node.stop());
    for client in [&mut socket, &mut lines] {
        assert_eq!(client.text().await["error"]["code"], "ShuttingDown");
    }
    assert_eq!(socket.goodbye().await, (1001, "the node is about to stop".to_owned()));
    assert_eq!(socket.next().await, Came::Over);
    assert_eq!(lines.next().await, Came::Over);
    stopping.await.expect("it runs").expect("in order");
}

#[orloj_sim::test(seeds = 8)]
async fn what_waits_can_time_out_be_cancelled_and_be_one_too_many(cx: Context) {
    let change = |config: &mut NodeConfig| {
        config.commands.dependency_patience = Duration::from_millis(300);
        config.commands.in_flight = 4;
    };
    let node = start(cx, change).await;
    let mut client = Client::lines(cx).await;
    // More than a page has room for.
    let pairs: Vec<Value> =
        (0..2_000).map(|n| json!([format!("key:{n:04}"), "v".repeat(100)])).collect();
    assert_eq!(client.ask(json!({"type": "mset", "pairs": pairs})).await["outcome"], "ok");
    for session in ["a", "b"] {
        client.ask(json!({"type": "create_session", "session": session})).await;
    }
    node.stop().await.expect("in order");
    // The key's page has to be read again; what is known of commands is by then.
    let node = start(cx, change).await;
    let mut client = Client::lines(cx).await;
    for session in ["a", "b", "c"] {
        let load = json!({"type": "load_session", "session": session, "id": session});
        client.ask(load).await;
    }
    const SECOND: u64 = 1_000_000_000;
    let slow_reads =
        LatencyProfile { read: (5 * SECOND, 5 * SECOND), ..LatencyProfile::SOLID_STATE };
    orloj_sim::Control.set_disk_latency("test", slow_reads);
    let began = cx.now();
    let count = |session: &str, id: &str| json!({"type": "dbsize", "session": session, "id": id});
    let mut slow = count("a", "slow");
    (slow["type"], slow["key"]) = (json!("get"), json!("key:1000"));
    let mut late = count("b", "late");
    late["depends_on"] = json!(["slow"]);
    let mut timed = count("a", "timed");
    timed["timeout"] = json!("100ms");
    for request in [slow, late, timed, count("a", "unwanted")] {
        client.send(request).await;
    }
    let busy = client.ask(count("c", "busy")).await;
    assert_eq!((&busy["id"], &busy["error"]["code"]), (&json!("busy"), &json!("Busy")));
    assert_eq!(busy.get("outcome"), None, "it was not accepted");
    let question = json!({"type": "get_outcome", "id": "slow"});
    let known = client.ask(question).await;
    assert_eq!(known["result"]["outcome"], "in_flight", "{known}");
    // The control plane has room of its own, and a session that waits can be cancelled.
    let make = json!({"type": "create_session", "session": "d"});
    assert_eq!(client.ask(make).await["outcome"], "ok");
    client.send(json!({"type": "cancel", "id": "unwanted"})).await;
    let mut ends = Vec::new();
    while ends.len() < 4 {
        let answer = client.text().await;
        if let Some(id) = answer.get("id") {
            ends.push((id.clone(), answer["outcome"].clone(), answer["error"]["code"].clone()));
        }
    }
    let end = |id: &str, outcome: &str, code: Value| (json!(id), json!(outcome), code);
    assert_eq!(ends[0], end("unwanted", "cancelled", json!("Cancelled")));
    assert_eq!(ends[1], end("timed", "timed_out", json!("Timeout")));
    assert_eq!(ends[2], end("late", "failed", json!("DependencyTimeout")));
    assert_eq!(ends[3], end("slow", "ok", Value::Null));
    assert!(cx.now() - began > Duration::from_secs(4), "the disk was slow");
    node.stop().await.expect("in order");
}
