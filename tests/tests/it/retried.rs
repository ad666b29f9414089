//! Goal: a client that is killed in the midst of 10,000 commands and sends them again, from where
//! it was or from further back, has each of them done exactly once.
//! Method: the tool as the client and the daemon as processes, both killed at moments that a seed
//! draws; then the counter, the session's version, the answers and the history are counted.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{orlojd::Orlojd, tool};

const COMMANDS: usize = 10_000;
const FLAGS: &[&str] = &["--session-rate", "0", "--global-rate", "0"];
/// How often the client is killed, and with which of those the daemon is as well.
const KILLS: usize = 6;
const DAEMON_TOO: [usize; 2] = [2, 4];
/// Bytes of an answer, about.
const ANSWER: u64 = 95;

/// A generator of its own: what it draws is the same in every run.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((self.0 >> 33) % bound as u64) as usize
    }
}

/// Starts a client that sends the commands from `from` on, and adds its answers to `answers`.
fn client(dir: &Path, native: &str, from: usize, answers: &Path) -> Child {
    let requests: String = (from..COMMANDS)
        .map(|n| {
            let id = format!("c{n}");
            let incr = json!({"type": "incr", "key": "k", "session": "s", "id": id, "request": n});
            format!("{incr}\n")
        })
        .collect();
    let path = dir.join("requests");
    fs::write(&path, requests).expect("room for a test");
    let answers = File::options().create(true).append(true).open(answers).expect("a file");
    Command::new(tool::program())
        .args(["send", "-", "--connect", native])
        .stdin(File::open(path).expect("it was written"))
        .stdout(answers)
        .stderr(Stdio::null())
        .spawn()
        .expect("orloj starts")
}

/// Adds what one client was told to what is known; every asker has to be told the same.
fn learn(path: &Path, known: &mut BTreeMap<u64, i64>) {
    let text = fs::read_to_string(path).expect("it was written");
    // A line that the client's death cut off is none.
    for answer in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let Some(result) = answer["result"].as_i64() else {
            assert_eq!(answer["error"]["code"], "Unavailable", "{answer}");
            continue;
        };
        let versions = (&answer["outcome"], &answer["session_version"]);
        assert_eq!(versions, (&json!("ok"), &json!(result)));
        let number = answer["request"].as_u64().expect("as was asked");
        let first = *known.entry(number).or_insert(result);
        assert_eq!(first, result, "two outcomes of one command: {answer}");
    }
}

#[test]
fn a_client_killed_amid_10_000_commands_has_each_done_once() {
    let dir = tempfile::tempdir().expect("room for a test");
    let data = dir.path().join("db");
    let mut node = Orlojd::start(&data, FLAGS);
    let native = node.native().to_owned();
    let create = ["send", "create_session", "--session", "s", "--connect", &native];
    assert!(
        Command::new(tool::program()).args(create).output().expect("it starts").status.success()
    );

    let mut seeded = Seeded(7);
    let mut known = BTreeMap::new();
    let mut place = 0;
    let mut killed_at_work = 0;
    for kill in 0..KILLS {
        let file = dir.path().join(format!("answers-{kill}"));
        // From where it was, or from further back.
        let from = place - seeded.below(place + 1);
        let mut process = client(dir.path(), &native, from, &file);
        let enough = (place - from + 100 + seeded.below(1_000)) as u64 * ANSWER;
        let deadline = Instant::now() + Duration::from_secs(20);
        while fs::metadata(&file).is_ok_and(|file| file.len() < enough) {
            assert!(Instant::now() < deadline, "too few answers to call it a load");
            thread::sleep(Duration::from_millis(1));
        }
        if DAEMON_TOO.contains(&kill) {
            node.kill();
            node = Orlojd::start(&data, &[FLAGS, &["--native", &native]].concat());
            thread::sleep(Duration::from_millis(seeded.below(50) as u64));
        }
        killed_at_work += usize::from(process.try_wait().expect("it is our child").is_none());
        process.kill().expect("it is our child");
        process.wait().expect("it is our child");
        learn(&file, &mut known);
        place = (0..).take_while(|number| known.contains_key(number)).count();
    }
    assert_eq!(killed_at_work, KILLS, "each was killed before its end");
    assert!((1_000..COMMANDS).contains(&place), "{place} were done before the last kill");

    // And everything again, to its end.
    let file = dir.path().join("answers-last");
    let status = client(dir.path(), &native, 0, &file).wait().expect("it is our child");
    assert!(status.success(), "{status}");
    learn(&file, &mut known);
    let results: BTreeSet<i64> = known.into_values().collect();
    assert!(results.into_iter().eq(1..=COMMANDS as i64), "each took its own number");

    assert_eq!(node.connect().ask("GET k"), COMMANDS.to_string());
    let ask = |request: &[&str]| -> Value {
        let mut asked = Command::new(tool::program());
        asked.arg("send").args(request).args(["--json", "--connect", &native]);
        serde_json::from_slice(&asked.output().expect("it starts").stdout).expect("one object")
    };
    let loaded = ask(&["load_session", "--session", "s"]);
    assert_eq!(loaded["session_version"], COMMANDS, "{loaded}");
    finished_once(&ask);
}

/// The history has every command, finished, and the lane's steps without a gap.
fn finished_once(ask: &dyn Fn(&[&str]) -> Value) {
    let mut ids = BTreeSet::new();
    let mut cursor: Option<u64> = None;
    let mut steps_above = None;
    loop {
        let from = cursor.map(|cursor| format!("cursor={cursor}"));
        let mut request = vec!["get_command_history", "--session", "s", "limit=500"];
        request.extend(from.as_deref());
        let page = &ask(&request)["result"];
        for state in page["commands"].as_array().expect("a page") {
            let id = state["id"].as_str().expect("all have one").to_owned();
            assert_eq!(state["outcome"], "ok", "{state}");
            let sequence = state["lane_sequence"].as_u64().expect("it has one");
            // Each has three steps; those of several turns have others between theirs.
            assert!(steps_above.is_none_or(|above| sequence < above), "{state}");
            steps_above = Some(sequence);
            assert!(ids.insert(id), "twice: {state}");
        }
        match page["cursor"].as_u64() {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    let commands = ids.iter().filter(|id| id.starts_with('c')).count();
    assert_eq!((commands, ids.len()), (COMMANDS, COMMANDS + 2), "with what made and read it");
}
