//! Goal: `orloj` asks a daemon that runs: what it prints, for people and for programs, and the
//! status that it ends with.
//! Method: the tool and the daemon as processes.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{orlojd::Orlojd, tool};

struct Asked {
    _dir: tempfile::TempDir,
    node: Orlojd,
    native: String,
}

impl Asked {
    fn start() -> Asked {
        let dir = tempfile::tempdir().expect("room for a test");
        let node = Orlojd::start(&dir.path().join("db"), &[]);
        let native = node.ready.split_whitespace().find_map(|word| word.strip_prefix("native="));
        let native = native.expect("it listens").to_owned();
        Asked { _dir: dir, node, native }
    }

    /// Status, standard output and standard error.
    fn run(&self, words: &str) -> (Option<i32>, String, String) {
        let mut command = Command::new(tool::program());
        command.args(words.split(' ')).args(["--connect", &self.native]);
        let ran = command.stdin(Stdio::null()).output().expect("orloj starts");
        let text = |bytes| String::from_utf8(bytes).expect("it prints text");
        (ran.status.code(), text(ran.stdout), text(ran.stderr))
    }

    fn object(&self, words: &str) -> (Option<i32>, Value) {
        let (status, said, complaint) = self.run(&format!("{words} --json"));
        assert_eq!(complaint, "", "{words}");
        (status, serde_json::from_str(&said).expect("one object"))
    }
}

fn done(said: &str, complaint: &str) -> (Option<i32>, String, String) {
    (Some(0), said.to_owned(), complaint.to_owned())
}

#[test]
fn send_prints_results_and_ends_with_a_status() {
    let asked = Asked::start();
    let at = |version: u64| format!("session \"s\" at version {version}\n");
    assert_eq!(asked.run("send create_session --session s"), done("0\n", &at(0)));
    let set = r"send set key=k value=a\x00\xff --session s --id one --if-version 0";
    assert_eq!(asked.run(set), done("OK\n", &at(1)));
    let replayed = "session \"s\" at version 1, replayed\n";
    assert_eq!(asked.run(set), done("OK\n", replayed));
    assert_eq!(asked.run("send get key=k"), done("a\\x00\\xff\n", ""));
    assert_eq!(asked.run("send get key=none"), done("(nil)\n", ""));
    let pairs = "send mset pairs=a=1 pairs=b==2 --depends-on one --id two --durability buffered";
    assert_eq!(asked.run(pairs), done("OK\n", ""));
    assert_eq!(asked.run("send mget keys=a keys=x keys=b"), done("1\n(nil)\n=2\n", ""));
    assert_eq!(asked.run("send incr key=a by=-3"), done("-2\n", ""));
    assert_eq!(asked.run("send expire key=a deadline=1h condition=absent"), done("1\n", ""));
    assert_eq!(asked.run("send set key=a value=1 expiry=at:4000000000000 get=true").0, Some(0));
    assert_eq!(asked.run("send ttl key=a form=unix_millis"), done("4000000000000\n", ""));

    let (status, answer) = asked.object("send get key=k --session s");
    assert_eq!((status, &answer["result"]["base64"]), (Some(0), &Value::from("YQD/")));
    let (status, answer) = asked.object("send get_outcome id=one");
    assert_eq!((status, &answer["result"]["session_version"]), (Some(0), &Value::from(1)));

    // What the daemon refuses, and what fails, in one line and with a status of its own.
    let stale = asked.run("send del keys=k --session s --if-version 7");
    let said = "orloj: VersionMismatch: the session version is 1, not 7 (actual=1)\n";
    assert_eq!(stale, (Some(1), String::new(), at(1) + said));
    let (status, answer) = asked.object("send del keys=k --session s --if-version 7");
    assert_eq!((status, &answer["outcome"]), (Some(1), &Value::from("failed")));
    let (status, _, complaint) = asked.run("send get_outcome id=never");
    assert_eq!(status, Some(1), "{complaint}");
    let (status, answer) = asked.object("send get key=k --timeout soon");
    assert_eq!((status, &answer["error"]["code"]), (Some(1), &Value::from("Invalid")));

    // What makes no sense is not sent.
    for (words, what) in [
        ("send gett key=k", "there is no command \"gett\"; there are get, set,"),
        ("send get kye=k", "\"kye\" is no field of get, whose fields are: key, id,"),
        ("send get k", "fields are given as FIELD=VALUE"),
        ("send get key=k key=l", "key is given twice"),
        ("send get key=k id=a --id b", "id is given twice"),
        ("send incr key=k by=much", "give a whole number"),
        ("send set key=k value=v get=yes", "give true or false"),
        ("send mset pairs=k", "give KEY=VALUE"),
        (r"send get key=\q", "behind a backslash"),
        ("send - key=k", "- takes everything from standard input"),
    ] {
        let (status, said, complaint) = asked.run(words);
        assert_eq!((status, &*said), (Some(2), ""), "{words}: {complaint}");
        assert!(complaint.contains(what) && complaint.lines().count() == 1, "{complaint}");
    }
}

#[test]
fn lists_are_for_people_and_for_programs() {
    let asked = Asked::start();
    let head = "SESSION  VERSION  STEPS  CREATED\n";
    assert_eq!(asked.run("sessions"), done(head, ""));
    for (session, sets) in [("a", 3), ("b", 1)] {
        asked.run(&format!("send create_session --session {session}"));
        for n in 0..sets {
            asked.run(&format!(
                "send set key={session} value=v --session {session} --id {session}{n}"
            ));
        }
    }
    asked.run("send incr key=a --id bad");
    let (_, said, _) = asked.run("sessions");
    let lines: Vec<Vec<&str>> = said.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(
        (lines[1][..3].to_vec(), lines[2][..3].to_vec()),
        (vec!["a", "3", "12"], vec!["b", "1", "6"])
    );
    let (_, sessions) = asked.object("sessions");
    assert_eq!(sessions["sessions"][1]["name"], "b");

    let ids = |words: &str| {
        let (status, said, complaint) = asked.run(words);
        assert_eq!((status, &*complaint), (Some(0), ""), "{words}");
        let id = |line: &str| line.split_whitespace().nth(3).map(str::to_owned);
        said.lines().skip(1).filter_map(id).collect::<Vec<String>>()
    };
    assert_eq!(ids("history --session a --limit 2 --since 1h"), ["a2", "a1", "--cursor"]);
    assert_eq!(ids("history --server"), ["bad"]);
    assert_eq!(ids("history --outcome failed"), ["bad"]);
    assert_eq!(ids("history --id a1"), ["a1"]);
    assert_eq!(ids("history --since 4000000000000"), [""; 0]);
    let (_, page) = asked.object("history --limit 1");
    assert_eq!(
        (&page["truncated"], &page["commands"][0]["error"]["code"]),
        (&true.into(), &"Invalid".into())
    );
    let (_, next) = asked.object(&format!("history --limit 1 --cursor {}", page["cursor"]));
    assert_eq!(next["commands"][0]["id"], "b0");
    let (status, _, complaint) = asked.run("history --since yesterday");
    assert_eq!(status, Some(2), "{complaint}");
    let (status, _, complaint) = asked.run("history --outcome fine");
    assert_eq!(status, Some(1), "{complaint}");

    let (status, said, _) = asked.run("recovery");
    assert!(status == Some(0) && said.contains("segments"), "{said}");
    let (_, summary) = asked.object("recovery");
    assert_eq!(summary["failed"], Value::Array(vec![]));
}

#[test]
fn tail_prints_what_happens_as_it_happens() {
    let asked = Asked::start();
    let mut command = Command::new(tool::program());
    command.args(["tail", "--session", "s", "--count", "4", "--connect", &asked.native]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut tail = command.spawn().expect("orloj starts");
    // It says so once it follows.
    let mut said = String::new();
    let mut stderr = BufReader::new(tail.stderr.take().expect("it is piped"));
    stderr.read_line(&mut said).expect("it prints text");
    asked.run("send set key=k value=v --id other");
    asked.run("send create_session --session s --id one");
    asked.run("send set key=k value=v --session s --id two");
    let ended = tail.wait_with_output().expect("it is our child");
    let said = String::from_utf8(ended.stdout).expect("it prints text");
    let steps: Vec<Vec<&str>> =
        said.lines().map(|line| line.split_whitespace().skip(2).collect()).collect();
    let one = ["session:s", "1", "accepted", "create_session", "one"];
    assert_eq!(steps[0], one, "{said}");
    assert_eq!(steps[2][5..], ["ok", "v0"], "{said}");
    assert_eq!((steps.len(), ended.status.code()), (4, Some(0)));
}

#[test]
fn who_is_not_there_is_said_in_one_line() {
    let mut asked = Asked::start();
    asked.node.kill();
    for words in ["send dbsize", "sessions", "history", "history --since 1h", "tail", "recovery"] {
        let (status, said, complaint) = asked.run(words);
        assert_eq!((status, &*said), (Some(2), ""), "{words}: {complaint}");
        assert_eq!(complaint.lines().count(), 1, "{words}: {complaint}");
        assert!(complaint.contains("--connect"), "{words}: {complaint}");
    }
}
