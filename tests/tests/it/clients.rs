//! Goal: the clients that people use work with the daemon, unchanged: redis-py and ioredis in both
//! protocols, redis-cli and redis-benchmark; and one of the native protocol that knows its page and
//! its schema alone.
//! Method: the real programs against the real daemon. `cargo xtask test` installs them; a client
//! that is not there fails its test and says what to do.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use crate::orlojd::Orlojd;

const REMEDY: &str = "`cargo xtask test` installs the clients, or says what keeps it from that";

/// Where `cargo xtask test` has installed the libraries of one language.
fn installed(language: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/clients").join(language);
    assert!(folder.join("installed-from").exists(), "{} is absent; {REMEDY}", folder.display());
    folder
}

/// One of the scripts in `tests/clients`.
fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name)
}

fn strict() -> (tempfile::TempDir, Orlojd) {
    let dir = tempfile::tempdir().expect("room for a test");
    let node = Orlojd::start(&dir.path().join("db"), &[]);
    (dir, node)
}

fn port(node: &Orlojd) -> &str {
    node.addr.rsplit(':').next().expect("an address has a port")
}

/// Runs a client to its end; it must be there and succeed.
fn run(command: &mut Command, input: &[u8]) -> Output {
    let program = command.get_program().to_owned();
    let started =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child =
        started.unwrap_or_else(|error| panic!("{}: {error}; {REMEDY}", program.display()));
    let mut to = child.stdin.take().expect("it is piped");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || to.write_all(&input));
    let output = child.wait_with_output().expect("it is our child");
    writer.join().expect("no panic").expect("the client reads its input");
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}: {out}\n{err}", program.display());
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs redis-cli and returns what it prints.
fn redis_cli(node: &Orlojd, arguments: &[&str], input: &str) -> String {
    let mut command = Command::new("redis-cli");
    command.args(["-p", port(node)]).args(arguments);
    text(&run(&mut command, input.as_bytes()).stdout).trim_end().to_owned()
}

#[test]
fn redis_py_works_in_both_protocols() {
    let (_dir, node) = strict();
    let mut command = Command::new(installed("python").join("bin/python"));
    let said = text(&run(command.arg(script("redis_py.py")).arg(port(&node)), b"").stdout);
    assert!(said.contains("RESP2 works") && said.contains("RESP3 works"), "{said}");
}

#[test]
fn a_client_made_from_the_schema_works() {
    let (_dir, node) = strict();
    let port = node.native().rsplit(':').next().expect("an address has a port");
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("../net/schemas/native.fbs");
    let mut command = Command::new(installed("python").join("bin/python"));
    command.arg(script("native.py")).arg(port).arg(schema);
    let said = text(&run(&mut command, b"").stdout);
    assert!(said.contains("the native protocol works"), "{said}");
}

#[test]
fn ioredis_works_in_both_protocols() {
    let (_dir, node) = strict();
    let mut command = Command::new("node");
    command.env("CLIENT_LIBRARIES", installed("node"));
    let said = text(&run(command.arg(script("ioredis.mjs")).arg(port(&node)), b"").stdout);
    assert!(said.contains("RESP2 works") && said.contains("RESP3 works"), "{said}");
}

#[test]
fn redis_cli_works() {
    let (_dir, node) = strict();
    assert_eq!(redis_cli(&node, &["set", "greeting", "hello"], ""), "OK");
    assert_eq!(redis_cli(&node, &["get", "greeting"], ""), "hello");
    assert_eq!(redis_cli(&node, &["-2", "get", "nothing"], ""), "");
    let hello = redis_cli(&node, &["--no-raw", "-3", "hello"], "");
    assert!(hello.contains("\"proto\" => (integer) 3"), "{hello}");
    let setting = redis_cli(&node, &["-3", "--json", "config", "get", "maxclients"], "");
    assert_eq!(setting, r#"{"maxclients":"1000"}"#);
    let refused = redis_cli(&node, &["--no-raw", "auth", "secret"], "");
    assert!(refused.contains("without any password configured"), "{refused}");
    // A session as a person types it, quotes and mistakes included.
    let typed =
        "incr n\nincr n\nset \"two words\" 'a b'\nget \"two words\"\nnosuch\nselect 0\nquit\n";
    let answers = redis_cli(&node, &[], typed);
    let answers: Vec<&str> = answers.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(answers[..4], ["1", "2", "OK", "a b"]);
    assert!(answers[4].starts_with("ERR unknown command 'nosuch'"), "{answers:?}");
    assert_eq!(answers[5..], ["OK"]);
}

#[test]
fn redis_cli_inserts_in_mass_and_walks_the_keys() {
    let (_dir, node) = strict();
    let sets: String = (0..20_000)
        .map(|n| format!("*3\r\n$3\r\nSET\r\n$9\r\nkey:{n:05}\r\n$5\r\n{n:05}\r\n"))
        .collect();
    let said = redis_cli(&node, &["--pipe"], &sets);
    assert!(said.ends_with("errors: 0, replies: 20000"), "{said}");
    assert_eq!(redis_cli(&node, &["dbsize"], ""), "20000");
    let found = redis_cli(&node, &["--scan", "--pattern", "key:1999?"], "");
    let mut found: Vec<&str> = found.lines().collect();
    found.sort_unstable();
    let wanted: Vec<String> = (0..10).map(|n| format!("key:1999{n}")).collect();
    assert_eq!(found, wanted);
    let sample = redis_cli(&node, &["--bigkeys"], "");
    assert!(sample.contains("20000 strings with 100000 bytes"), "{sample}");
}

#[test]
fn redis_benchmark_works_and_what_it_wrote_is_there() {
    let (_dir, node) = strict();
    let mut command = Command::new("redis-benchmark");
    command.args(["-p", port(&node), "-n", "4000", "-c", "20", "-P", "16", "--csv"]);
    command.args(["-t", "ping_inline,ping_mbulk,set,get,incr,mset"]);
    let output = run(&mut command, b"");
    let (table, complaints) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(complaints, "", "it got the settings it asks for");
    let mut rows = table.lines().skip(1).map(|row| {
        let mut fields = row.split(',').map(|field| field.trim_matches('"'));
        let name = fields.next().unwrap_or_default().to_owned();
        let rate: f64 = fields.next().and_then(|rate| rate.parse().ok()).expect("a rate");
        assert!(rate > 0.0, "{row}");
        name
    });
    let names: Vec<String> = rows.by_ref().collect();
    let wanted = ["PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "MSET (10 keys)"];
    assert_eq!(names, wanted, "{table}");
    assert_eq!(node.connect().ask("GET counter:__rand_int__"), "4000");
    assert_eq!(node.connect().ask("STRLEN key:__rand_int__"), ":3");
}
