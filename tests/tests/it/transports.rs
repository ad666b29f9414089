//! Goal: causal commands work with the real daemon over each of its transports: lines of JSON,
//! WebSocket, standard input, and the native protocol as the tool speaks it; and whatever can be
//! refused is refused over each with the same code.
//! Method: one table of cases, run over every transport; the daemon and the tool as processes.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{self, Command},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    mounted::Mounted,
    orlojd::{self, Orlojd},
    tool,
};

/// A way to a daemon.
trait Transport {
    /// Sends the texts of requests at once, and returns their answers in the order of their
    /// `request`.
    fn ask_all(&mut self, requests: &[String]) -> Vec<Value>;

    fn ask(&mut self, request: Value) -> Value {
        self.ask_all(&[request.to_string()]).pop().expect("one answer")
    }
}

/// The answers to numbered requests, in their order.
fn ordered(mut answers: Vec<Value>) -> Vec<Value> {
    answers.sort_by_key(|answer| answer["request"].as_u64());
    answers
}

fn lines_of(requests: &[String]) -> String {
    requests.iter().map(|request| format!("{request}\n")).collect()
}

/// The address that stands behind `name=` in the daemon's readiness line.
fn address(node: &Orlojd, name: &str) -> String {
    let word = node.ready.split_whitespace().find_map(|word| word.strip_prefix(name));
    word.and_then(|word| word.strip_prefix('=')).expect("it listens there").to_owned()
}

fn dial(node: &Orlojd) -> TcpStream {
    let stream = TcpStream::connect(address(node, "ws")).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket has one");
    stream
}

/// One JSON object a line, on a socket.
struct Lines(BufReader<TcpStream>);

impl Lines {
    fn connect(node: &Orlojd) -> Lines {
        Lines(BufReader::new(dial(node)))
    }

    /// The next line; `None` at the end.
    fn line(&mut self) -> Option<Value> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).expect("it answers in time");
        (read > 0).then(|| serde_json::from_str(&line).expect("one object a line"))
    }
}

impl Transport for Lines {
    fn ask_all(&mut self, requests: &[String]) -> Vec<Value> {
        self.0.get_mut().write_all(lines_of(requests).as_bytes()).expect("it reads");
        ordered(requests.iter().map(|_| self.line().expect("an answer each")).collect())
    }
}

/// One JSON object a frame.
struct Socket(BufReader<TcpStream>);

impl Socket {
    fn connect(node: &Orlojd) -> Socket {
        let mut stream = BufReader::new(dial(node));
        let hello = format!(
            "GET / HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
            address(node, "ws")
        );
        stream.get_mut().write_all(hello.as_bytes()).expect("it reads");
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).expect("it answers in time");
            if line == "\r\n" {
                break;
            }
            head.push(line.to_ascii_lowercase());
        }
        assert_eq!(head[0], "http/1.1 101 switching protocols\r\n");
        let accept = "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n";
        assert!(head.iter().any(|line| line == accept), "{head:?}");
        Socket(stream)
    }

    fn frame(payload: &[u8]) -> Vec<u8> {
        const MASK: [u8; 4] = [9, 8, 7, 6];
        let mut frame = vec![0x81];
        match payload.len() {
            len @ ..126 => frame.push(0x80 | len as u8),
            len @ ..65_536 => {
                frame.push(0x80 | 126);
                frame.extend((len as u16).to_be_bytes());
            }
            len => {
                frame.push(0x80 | 127);
                frame.extend((len as u64).to_be_bytes());
            }
        }
        frame.extend(MASK);
        frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    /// The first byte of the next frame, and what is in it.
    fn next(&mut self) -> (u8, Vec<u8>) {
        let mut take = |len: usize| {
            let mut bytes = vec![0; len];
            self.0.read_exact(&mut bytes).expect("it answers in time");
            bytes
        };
        let head = take(2);
        let len = match head[1] {
            126 => usize::from(u16::from_be_bytes(take(2).try_into().expect("two"))),
            127 => u64::from_be_bytes(take(8).try_into().expect("eight")) as usize,
            len => usize::from(len),
        };
        (head[0], take(len))
    }
}

impl Transport for Socket {
    fn ask_all(&mut self, requests: &[String]) -> Vec<Value> {
        let frames: Vec<u8> =
            requests.iter().flat_map(|text| Socket::frame(text.as_bytes())).collect();
        self.0.get_mut().write_all(&frames).expect("it reads");
        let answer = |_| match self.next() {
            (0x81, text) => serde_json::from_slice(&text).expect("one object a frame"),
            other => panic!("{other:?}"),
        };
        ordered(requests.iter().map(answer).collect())
    }
}

/// The native protocol, by `orloj send -`.
struct Tool(String);

impl Transport for Tool {
    fn ask_all(&mut self, requests: &[String]) -> Vec<Value> {
        let (_, said, complaint) = sent(&["-", "--connect", &self.0], &lines_of(requests));
        assert_eq!(complaint, "");
        ordered(said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect())
    }
}

/// Runs `orloj send` with that standard input.
fn sent(arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new(tool::program());
    run(command.arg("send").args(arguments), input)
}

fn run(command: &mut Command, input: &str) -> (Option<i32>, String, String) {
    let pipe = process::Stdio::piped;
    command.stdin(pipe()).stdout(pipe()).stderr(pipe());
    let mut child = command.spawn().expect("it starts");
    let mut to = child.stdin.take().expect("it is piped");
    let input = input.to_owned();
    let writer = thread::spawn(move || drop(to.write_all(input.as_bytes())));
    let ran = child.wait_with_output().expect("it is our child");
    writer.join().expect("no panic");
    let text = |bytes| String::from_utf8(bytes).expect("it prints text");
    (ran.status.code(), text(ran.stdout), text(ran.stderr))
}

/// A refusal or a failure that can be had: what is sent, all at once, and what the answer to the
/// one marked `?` says. `$` stands for a word of the transport's own.
struct Case {
    code: &'static str,
    /// A detail of it.
    detail: (&'static str, &'static str),
    requests: &'static [&'static str],
}

const fn case(
    code: &'static str,
    detail: (&'static str, &'static str),
    requests: &'static [&'static str],
) -> Case {
    Case { code, detail, requests }
}

const CREATE: &str = r#"{"type":"create_session","session":"$s"}"#;
const CREATE_T: &str = r#"{"type":"create_session","session":"$t"}"#;

const CASES: &[Case] = &[
    case("Invalid", ("field", "kye"), &[r#"?{"type":"get","kye":"k"}"#]),
    case("Invalid", ("field", "key"), &[r#"?{"type":"get"}"#]),
    case("Invalid", ("field", "key"), &[r#"?{"type":"get","key":"a","key":"b"}"#]),
    case("Invalid", ("field", "id"), &[r#"?{"type":"get","key":"k","id":" "}"#]),
    case("Invalid", ("field", "id"), &[r#"?{"type":"get","key":"k","id":"anon:1"}"#]),
    case("Invalid", ("field", "session"), &[r#"?{"type":"create_session"}"#]),
    case("Invalid", ("field", "depends_on"), &[r#"?{"type":"dbsize","depends_on":["x"]}"#]),
    case(
        "Invalid",
        ("field", "depends_on"),
        &[r#"?{"type":"dbsize","id":"x","depends_on":["x"]}"#],
    ),
    case("Invalid", ("field", "timeout"), &[r#"?{"type":"dbsize","timeout":0}"#]),
    case("Invalid", ("field", "timeout"), &[r#"?{"type":"dbsize","timeout":"soon"}"#]),
    case("Invalid", ("field", "keys"), &[r#"?{"type":"mget","keys":[]}"#]),
    case("Invalid", ("field", "count"), &[r#"?{"type":"scan","count":0}"#]),
    case("Invalid", ("field", "expiry"), &[r#"?{"type":"set","key":"k","value":"v","expiry":0}"#]),
    case("Invalid", ("field", "limit"), &[r#"?{"type":"get_command_history","limit":501}"#]),
    case("Invalid", ("reason", "unknown_session"), &[r#"?{"type":"dbsize","session":"$none"}"#]),
    case(
        "Invalid",
        ("reason", "unknown_session"),
        &[r#"?{"type":"load_session","session":"$none"}"#],
    ),
    case(
        "Invalid",
        ("reason", "not_an_integer"),
        &[r#"{"type":"set","key":"$text","value":"v"}"#, r#"?{"type":"incr","key":"$text"}"#],
    ),
    case("UnknownCommand", ("type", "gett"), &[r#"?{"type":"gett","key":"k"}"#]),
    case(
        "Conflict",
        ("reason", "other_command"),
        &[r#"{"type":"get","key":"k","id":"$c"}"#, r#"?{"type":"get","key":"l","id":"$c"}"#],
    ),
    case(
        "Conflict",
        ("field", "idempotency_key"),
        &[
            r#"{"type":"get","key":"k","idempotency_key":"$c"}"#,
            r#"?{"type":"get","key":"l","idempotency_key":"$c"}"#,
        ],
    ),
    case(
        "Conflict",
        ("reason", "session_exists"),
        &[CREATE, r#"?{"type":"create_session","session":"$s"}"#],
    ),
    case(
        "DependencyFailed",
        ("on", "$bad"),
        &[
            r#"{"type":"incr","key":"$text","id":"$bad"}"#,
            r#"?{"type":"dbsize","id":"$after-bad","depends_on":["$bad"]}"#,
        ],
    ),
    case(
        "DependencyFailed",
        ("reason", "same_lane"),
        &[
            r#"?{"type":"dbsize","id":"$first","session":"$s","depends_on":["$second"]}"#,
            r#"{"type":"dbsize","id":"$second","session":"$s"}"#,
        ],
    ),
    case(
        "DependencyUnknown",
        ("on", "$never"),
        &[r#"?{"type":"dbsize","id":"$lost","depends_on":["$never"]}"#],
    ),
    case(
        "DependencyUnknown",
        ("reason", "unknown_id"),
        &[r#"?{"type":"get_outcome","id":"$never"}"#],
    ),
    case(
        "DependencyCycle",
        ("cycle", "$hen"),
        &[
            CREATE,
            CREATE_T,
            r#"{"type":"dbsize","id":"$egg","session":"$s","depends_on":["$hen"]}"#,
            r#"?{"type":"dbsize","id":"$hen","session":"$t","depends_on":["$egg"]}"#,
        ],
    ),
    case(
        "VersionMismatch",
        ("actual", "0"),
        &[CREATE, r#"?{"type":"dbsize","session":"$s","if_session_version":7}"#],
    ),
    case(
        "VersionMismatch",
        ("actual", "absent"),
        &[r#"?{"type":"dbsize","session":"$none","if_session_version":0}"#],
    ),
];

/// Runs the table over one transport.
fn refuses(name: &str, transport: &mut dyn Transport) {
    for Case { code, detail: (detail, value), requests } in CASES {
        let mut mark = None;
        let mut texts = Vec::new();
        for (at, request) in requests.iter().enumerate() {
            let text = request.strip_prefix('?').inspect(|_| mark = Some(at)).unwrap_or(request);
            // What stands twice in it has to stay twice in it.
            let text = text.replace('$', name);
            texts.push(format!("{{\"request\":{at},{}", &text[1..]));
        }
        let mark = mark.expect("a case marks a request");
        let answers = transport.ask_all(&texts);
        let answer = &answers[mark];
        assert_eq!(answer["error"]["code"], *code, "{name}: {requests:?}: {answer}");
        let found = answer["error"]["details"][detail].as_str().unwrap_or_default();
        let value = value.replace('$', name);
        assert!(found.contains(&value), "{name}: {requests:?}: {answer}");
        assert!(!answer["error"]["message"].as_str().unwrap_or_default().is_empty());
    }
    // More than a session may ask in a second.
    let session = format!("{name}busy");
    transport.ask(json!({"type": "create_session", "session": session}));
    let one = |n| json!({"type": "dbsize", "session": session, "request": n}).to_string();
    let many: Vec<String> = (0..150).map(one).collect();
    let answers = transport.ask_all(&many);
    let limited = |answer: &&Value| answer["error"]["code"] == "RateLimited";
    let limited: Vec<&Value> = answers.iter().filter(limited).collect();
    assert!((20..150).contains(&limited.len()), "{name}: {} of 150", limited.len());
    assert!(limited[0]["error"]["details"]["retry_after_ms"].is_string());
    assert!(limited[0].get("outcome").is_none(), "it was not accepted");
    // It can be deleted all the same.
    let deleted = transport.ask(json!({"type": "delete_session", "session": session}));
    assert_eq!(deleted["outcome"], "ok", "{name}: {deleted}");
    // The longest of everything.
    let long = transport.ask(json!({"type": "get", "key": "k".repeat(70_000)}));
    assert_eq!(long["error"]["code"], "TooLarge", "{name}");
    assert_eq!(transport.ask(json!({"type": "dbsize"}))["outcome"], "ok", "{name}");
}

/// A daemon of its own, asked over its standard input.
struct Stdio {
    process: std::process::Child,
    to: Option<std::process::ChildStdin>,
    from: BufReader<std::process::ChildStdout>,
}

impl Stdio {
    fn start(data: &Path) -> Stdio {
        let mut command = Command::new(orlojd::program());
        command.arg("--data").arg(data).args(["--resp", "127.0.0.1:0", "--native", "off"]);
        command.args(["--stdio", "--log", "warn"]);
        command.stdin(process::Stdio::piped()).stdout(process::Stdio::piped());
        let mut process = command.spawn().expect("orlojd starts");
        let to = process.stdin.take();
        let from = BufReader::new(process.stdout.take().expect("it is piped"));
        Stdio { process, to, from }
    }

    /// What it says after its standard input has ended, and its status.
    fn end(mut self) -> (String, Option<i32>) {
        self.to = None;
        let mut rest = String::new();
        self.from.read_to_string(&mut rest).expect("it prints text");
        (rest, self.process.wait().expect("it is our child").code())
    }
}

impl Transport for Stdio {
    fn ask_all(&mut self, requests: &[String]) -> Vec<Value> {
        let to = self.to.as_mut().expect("it has not ended");
        to.write_all(lines_of(requests).as_bytes()).expect("it reads");
        let from = &mut self.from;
        let answer = |_| {
            let mut line = String::new();
            from.read_line(&mut line).expect("it answers");
            serde_json::from_str(&line).expect("one object a line")
        };
        ordered(requests.iter().map(answer).collect())
    }
}

fn daemon(flags: &[&str]) -> (tempfile::TempDir, Orlojd) {
    let dir = tempfile::tempdir().expect("room for a test");
    let flags = [&["--ws", "127.0.0.1:0"], flags].concat();
    let node = Orlojd::start(&dir.path().join("db"), &flags);
    (dir, node)
}

#[test]
fn what_can_be_refused_is_refused_the_same_over_each_transport() {
    let (dir, node) = daemon(&[]);
    refuses("lines", &mut Lines::connect(&node));
    refuses("socket", &mut Socket::connect(&node));
    refuses("native", &mut Tool(address(&node, "native")));
    let mut stdio = Stdio::start(&dir.path().join("other"));
    refuses("stdio", &mut stdio);
    assert_eq!(stdio.end(), (String::new(), Some(0)));
}

/// What a session is for, over one transport.
fn serves(name: &str, transport: &mut dyn Transport) {
    let mut ask = |request: Value| {
        let text = request.to_string().replace('$', name);
        transport.ask_all(&[text]).pop().expect("one answer")
    };
    let ok = |answer: Value, result: Value, version: u64| {
        assert_eq!(answer["outcome"], "ok", "{name}: {answer}");
        assert_eq!((&answer["result"], &answer["session_version"]), (&result, &json!(version)));
        answer
    };
    ok(ask(json!({"type": "create_session", "session": "$", "id": "$0"})), json!(0), 0);
    let add = json!({"type": "append", "session": "$", "id": "$1", "key": "$k", "value": "a",
        "depends_on": ["$0"], "if_session_version": 0, "idempotency_key": "$key"});
    assert_eq!(ok(ask(add.clone()), json!(1), 1)["replayed"], false);
    assert_eq!(ok(ask(add.clone()), json!(1), 1)["replayed"], true);
    let mut again = add;
    again["id"] = json!("$another");
    let again = ok(ask(again), json!(1), 1);
    assert_eq!(
        (&again["replayed"], &again["id"]),
        (&json!(true), &json!(format!("{name}another")))
    );
    ok(ask(json!({"type": "get", "session": "$", "key": "$k"})), json!("a"), 1);
    let binary = json!({"base64": "/wA="});
    let set = json!({"type": "set", "session": "$", "key": "$k", "value": binary, "expiry": "1h"});
    ok(ask(set), json!("OK"), 2);
    ok(ask(json!({"type": "get", "session": "$", "key": "$k"})), binary, 2);
    let left = ask(json!({"type": "ttl", "key": "$k", "form": "millis_left"}));
    assert!((3_500_000..=3_600_000).contains(&left["result"].as_i64().expect("a time")), "{left}");
    let many =
        json!({"type": "mset", "pairs": [["$x", "1"], ["$y", "2"]], "durability": "buffered"});
    assert_eq!(ask(many)["result"], "OK");
    let got = ask(json!({"type": "mget", "keys": ["$y", "$none", "$x"], "timeout": "10s"}));
    assert_eq!(got["result"], json!(["2", null, "1"]));
    let page = ask(json!({"type": "scan", "pattern": "$?", "count": 1000}));
    assert_eq!(page["result"]["keys"].as_array().expect("a list").len(), 3);
    ok(ask(json!({"type": "load_session", "session": "$"})), json!(2), 2);
    let outcome = ask(json!({"type": "get_outcome", "id": "$1"}));
    assert_eq!(
        (&outcome["result"]["outcome"], &outcome["result"]["result"]),
        (&json!("ok"), &json!(1))
    );
    let history = ask(json!({"type": "get_command_history", "session": "$", "outcome": "ok"}));
    let commands = history["result"]["commands"].as_array().expect("a page").clone();
    let types: Vec<&str> = commands.iter().filter_map(|c| c["type"].as_str()).collect();
    assert_eq!(types, ["load_session", "get", "set", "get", "append", "create_session"]);
    assert_eq!(commands[4]["depends_on"], json!([format!("{name}0")]));
    let sessions = ask(json!({"type": "list_sessions", "limit": 500}));
    let sessions = sessions["result"]["sessions"].as_array().expect("a list").clone();
    assert!(sessions.iter().any(|s| s["name"] == name && s["version"] == 2), "{sessions:?}");
    assert_eq!(ask(json!({"type": "health"}))["result"]["ready"], true);
    assert_eq!(ask(json!({"type": "cancel", "id": "$1"}))["result"]["cancelled"], false);
    let deleted = ask(json!({"type": "delete_session", "session": "$"}));
    assert_eq!((&deleted["outcome"], deleted.get("session_version")), (&json!("ok"), None));
}

#[test]
fn a_session_of_commands_over_each_transport() {
    let (dir, node) = daemon(&[]);
    serves("lines", &mut Lines::connect(&node));
    serves("socket", &mut Socket::connect(&node));
    serves("native", &mut Tool(address(&node, "native")));
    let mut stdio = Stdio::start(&dir.path().join("other"));
    serves("stdio", &mut stdio);
    assert_eq!(stdio.end(), (String::new(), Some(0)));
}

#[test]
fn outcomes_and_history_survive_kill_9() {
    let (dir, mut node) = daemon(&[]);
    let incr = json!({"type": "incr", "key": "n", "session": "s", "id": "once"});
    let mut client = Socket::connect(&node);
    client.ask(json!({"type": "create_session", "session": "s"}));
    assert_eq!(client.ask(incr.clone())["result"], 1);
    node.kill();
    let node = Orlojd::start(&dir.path().join("db"), &["--ws", "127.0.0.1:0"]);
    let mut client = Lines::connect(&node);
    let again = client.ask(incr);
    assert_eq!((&again["result"], &again["replayed"]), (&json!(1), &json!(true)));
    let version = client.ask(json!({"type": "load_session", "session": "s"}));
    assert_eq!(version["session_version"], 1);
    let history = client.ask(json!({"type": "get_command_history", "id": "once"}));
    assert_eq!(history["result"]["commands"][0]["outcome"], "ok", "{history}");
}

#[test]
fn a_message_too_long_ends_its_connection_alone() {
    let (_dir, node) = daemon(&[]);
    let mut other = Lines::connect(&node);
    let long = json!({"type": "set", "key": "k", "value": "v".repeat(10 << 20)}).to_string();
    let mut lines = Lines::connect(&node);
    // It is told before everything was sent, and may be closed by then.
    let _ = lines.0.get_mut().write_all(long.as_bytes());
    assert_eq!(lines.line().expect("it is told")["error"]["code"], "TooLarge");
    let mut socket = Socket::connect(&node);
    let _ = socket.0.get_mut().write_all(&Socket::frame(long.as_bytes())[..1_000]);
    let (_, text) = socket.next();
    let told: Value = serde_json::from_slice(&text).expect("JSON");
    assert_eq!(told["error"]["code"], "TooLarge");
    assert_eq!(socket.next().1[..2], 1009_u16.to_be_bytes());
    // As long as may be.
    let value = "v".repeat((10 << 20) - 100);
    let kept = other.ask(json!({"type": "set", "key": "k", "value": value}));
    assert_eq!(kept["outcome"], "ok");
    assert_eq!(other.ask(json!({"type": "strlen", "key": "k"}))["result"], value.len());
    // An answer is a message, too.
    let long = other.ask(json!({"type": "get", "key": "k"}));
    assert_eq!(long["error"]["code"], "TooLarge", "{}", long["error"]);
    let value = "v".repeat(10_000_000);
    other.ask(json!({"type": "set", "key": "k", "value": value}));
    let got = other.ask(json!({"type": "get", "key": "k"}));
    assert!(got["result"] == value, "{}", got["error"]);
}

#[test]
fn one_client_too_many_is_told() {
    let (_dir, node) = daemon(&["--max-clients", "1"]);
    let mut first = Lines::connect(&node);
    first.ask(json!({"type": "health"}));
    let mut second = Lines::connect(&node);
    let told = second.ask(json!({"type": "health"}));
    assert_eq!((&told["error"]["code"], second.line()), (&json!("Busy"), None));
    let durable = first.ask(json!({"type": "dbsize", "durability": "strict"}));
    assert_eq!(durable["outcome"], "ok");
}

#[test]
fn more_durability_than_the_database_has_is_refused() {
    let (_dir, node) = daemon(&["--durability", "in_memory"]);
    let mut client = Lines::connect(&node);
    let refused = client.ask(json!({"type": "dbsize", "durability": "strict"}));
    assert_eq!(refused["error"]["details"]["field"], "durability", "{refused}");
    assert_eq!(client.ask(json!({"type": "dbsize"}))["outcome"], "ok");
}

#[test]
fn a_full_disk_is_told_as_a_storage_failure() {
    let dir = tempfile::tempdir().expect("room for a test");
    let disk = Mounted::new(dir.path(), "mount -t tmpfs -o size=24m none \"$1\"");
    let node = Orlojd::start(&disk.path.join("db"), &["--ws", "127.0.0.1:0"]);
    let mut client = Lines::connect(&node);
    let value = "v".repeat(100_000);
    let mut set = |n: usize| {
        client.ask(
            json!({"type": "set", "key": format!("key:{n}"), "value": value, "id": n.to_string()}),
        )
    };
    let refused = (0..1_000).map(&mut set).find(|answer| answer["outcome"] != "ok");
    let refused = refused.expect("a small disk takes no 100 MB");
    assert_eq!(refused["error"]["code"], "StorageFailure", "{refused}");
}

#[test]
fn asked_to_stop_it_says_goodbye() {
    let (_dir, mut node) = daemon(&[]);
    let (mut socket, mut lines) = (Socket::connect(&node), Lines::connect(&node));
    lines.ask(json!({"type": "health"}));
    node.signal("TERM");
    let is_so = |told: Value| told["error"]["code"] == "ShuttingDown";
    assert!(lines.line().is_some_and(is_so));
    let (kind, told) = socket.next();
    assert!(kind == 0x81 && is_so(serde_json::from_slice(&told).expect("it is JSON")));
    let (kind, goodbye) = socket.next();
    assert_eq!((kind, &goodbye[..2]), (0x88, &1001_u16.to_be_bytes()[..]));
    assert_eq!(lines.line(), None);
    assert_eq!(node.end().0, Some(0));
}
