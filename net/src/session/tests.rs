use core::time::Duration;
use std::sync::Arc;

use bytes::BytesMut;

use super::*;
use crate::resp::{Decoder, Progress, encode_request};
use crate::words::Blob;

fn facts() -> ServerFacts {
    let mut settings = Settings::standard(&Limits::default());
    settings.fix("appendonly", "yes");
    settings.open("maxclients", "100");
    ServerFacts {
        version: "0.1.0",
        run_id: "0123456789012345678901234567890123456789".into(),
        process_id: 7,
        port: 6379,
        now_micros: 1_700_000_000_123_456,
        uptime: Duration::from_secs(90_000),
        loading: false,
        durability: "strict",
        memory_used: 1024,
        connections: 1,
        connections_total: 2,
        commands_total: 3,
        keys: 5,
        keys_expiring: 1,
        settings: Arc::new(settings),
    }
}

/// A connection to a server whose store answers every command with its name.
struct Client {
    decoder: Decoder,
    session: Session,
    cursors: Cursors,
    closed: bool,
}

impl Client {
    fn new(password: Option<&'static str>) -> Client {
        let password = password.map(|text| Bytes::from_static(text.as_bytes()));
        let session = Session::new(9, "1.2.3.4:5".to_owned(), "6.7.8.9:10".to_owned(), password);
        let decoder = Decoder::new(session.limits(Limits::default()));
        Client { decoder, session, cursors: Cursors::default(), closed: false }
    }

    /// Sends inline lines as one pipeline and returns what comes back.
    fn send(&mut self, lines: &str) -> String {
        let mut wire = BytesMut::new();
        for line in lines.split("; ") {
            let mut request = Vec::new();
            encode_request(&line.split(' ').collect::<Vec<_>>(), &mut request);
            wire.extend_from_slice(&request);
        }
        let mut out = Vec::new();
        loop {
            let mut requests = Vec::new();
            let progress = self.decoder.decode(&mut wire, &mut requests).expect("well formed");
            for request in requests {
                let (form, step) = self.session.step(request, &self.cursors, facts);
                let answer = match step {
                    Step::Ask(Command::Scan { after, .. }) => Answer::Page {
                        next: after.is_none().then(|| Bytes::from_static(b"middle")),
                        keys: after.into_iter().collect(),
                    },
                    Step::Ask(command) => Answer::text(command.name()),
                    Step::Answer(answer) => answer,
                    Step::Node(NodeCall::ResetStats) => Answer::text("ResetStats"),
                    Step::Node(NodeCall::Configure(pairs)) => {
                        let [(name, value)] = &pairs[..] else { panic!("one change") };
                        Answer::Bulk(Blob::new(&[name, &b"="[..], value].concat()))
                    }
                    Step::Last(answer) => {
                        self.closed = true;
                        answer
                    }
                };
                form.write(&answer, &mut self.cursors, &mut out);
            }
            self.decoder.set_limits(self.session.limits(Limits::default()));
            if progress != Progress::Full {
                break;
            }
        }
        String::from_utf8(out).expect("text")
    }
}

/// What the clients of today send before anything else, and what they need to hear.
#[test]
fn known_clients_connect() {
    let mut client = Client::new(None);
    let hello = client.send("HELLO 3");
    assert_eq!(
        hello,
        "%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.4.0\r\n$5\r\nproto\r\n:3\r\n\
         $2\r\nid\r\n:9\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n\
         $7\r\nmodules\r\n*0\r\n"
    );
    // redis-py and node-redis take a refusal of this for "not supported".
    let refusal = client.send("CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type internal-ip");
    assert!(refusal.starts_with("-ERR unknown subcommand"), "{refusal}");
    assert_eq!(client.send("CLIENT SETINFO LIB-NAME redis-py; CLIENT SETINFO LIB-VER 8.1.0"), {
        "+OK\r\n+OK\r\n"
    });
    // ioredis waits until this says that nothing is loading.
    let info = client.send("info");
    assert!(info.starts_with('=') && info.contains("\r\nloading:0\r\n"), "{info}");
    // redis-benchmark asks for these and warns if it cannot have them.
    assert_eq!(client.send("CONFIG GET save; config get appendonly"), {
        "%1\r\n$4\r\nsave\r\n$0\r\n\r\n%1\r\n$10\r\nappendonly\r\n$3\r\nyes\r\n"
    });
    // redis-cli asks for these when a person types.
    assert!(client.send("COMMAND DOCS").starts_with("%44\r\n"));
    assert!(client.send("COMMAND").starts_with("*44\r\n"));
    assert_eq!(client.send("select 0"), "+OK\r\n");
    let line = client.send("client info");
    assert!(line.contains("id=9 addr=1.2.3.4:5 laddr=6.7.8.9:10 name= "), "{line}");
    assert!(line.contains("resp=3 lib-name=redis-py lib-ver=8.1.0\n"), "{line}");
}

#[test]
fn info_has_the_sections_asked_for() {
    let mut client = Client::new(None);
    let all = client.send("info");
    for line in ["redis_version:7.4.0", "loading:0", "role:master", "tcp_port:6379"] {
        assert!(all.contains(&format!("\r\n{line}\r\n")), "{line} in {all}");
    }
    assert!(all.starts_with('$') && all.ends_with("db0:keys=5,expires=1,avg_ttl=0\r\n\r\n"));
    assert_eq!(
        client.send("INFO KEYSPACE persistence"),
        "$91\r\n# Persistence\r\nloading:0\r\ndurability:strict\r\n\r\n\
         # Keyspace\r\ndb0:keys=5,expires=1,avg_ttl=0\r\n\r\n"
    );
    assert_eq!(client.send("info nothing"), "$0\r\n\r\n");
    assert!(client.send("info everything").len() == all.len());
}

/// A pipeline is answered in order, each answer in the protocol that held when it was asked.
#[test]
fn a_pipeline_may_switch_protocol() {
    let mut client = Client::new(None);
    let out = client.send("client getname; hello 3; client getname; reset; client getname");
    let (before, rest) = out.split_at(5);
    assert_eq!(before, "$-1\r\n");
    assert!(rest.starts_with("%7\r\n"));
    assert!(rest.ends_with("_\r\n+RESET\r\n$-1\r\n"), "{rest}");
    assert_eq!(client.session.version(), Version::Resp2);
}

#[test]
fn local_answers() {
    let mut client = Client::new(None);
    for (lines, answer) in [
        ("ping", "+PONG\r\n"),
        ("ping hi; echo ho", "$2\r\nhi\r\n$2\r\nho\r\n"),
        ("select 0; select 1; select -1", {
            "+OK\r\n-ERR DB index is out of range\r\n-ERR DB index is out of range\r\n"
        }),
        ("client id", ":9\r\n"),
        ("client setname me; client getname", "+OK\r\n$2\r\nme\r\n"),
        ("client no-evict on", "+OK\r\n"),
        ("time", "*2\r\n$10\r\n1700000000\r\n$6\r\n123456\r\n"),
        ("command count", ":44\r\n"),
        ("command list filterby pattern G*T", "*2\r\n$3\r\nget\r\n$6\r\ngetset\r\n"),
        ("command info get nope", {
            "*2\r\n*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n*0\r\n\
             *0\r\n*0\r\n*0\r\n$-1\r\n"
        }),
        ("command docs client|id", {
            "*2\r\n$9\r\nclient|id\r\n*6\r\n$7\r\nsummary\r\n$32\r\n\
             Returns the connection's number.\r\n$5\r\nsince\r\n$5\r\n5.0.0\r\n\
             $5\r\ngroup\r\n$10\r\nconnection\r\n"
        }),
        ("command getkeys mset a 1 b 2", "*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
        ("command getkeys get a", "*1\r\n$1\r\na\r\n"),
        ("command getkeys ping", "-ERR The command has no key arguments\r\n"),
        ("command getkeys nope", "-ERR Invalid command specified\r\n"),
        ("command getkeys get", { "-ERR Invalid number of arguments specified for command\r\n" }),
        ("get k; dbsize", "$3\r\nget\r\n$6\r\ndbsize\r\n"),
        ("scan 0 type hash", "*2\r\n$1\r\n0\r\n*0\r\n"),
        ("nope", "-ERR unknown command 'nope', with args beginning with: \r\n"),
    ] {
        assert_eq!(client.send(lines), answer, "{lines}");
    }
    for container in ["client", "command", "config"] {
        let help = client.send(&format!("{container} help"));
        assert!(help.contains("HELP\r\n"), "{help}");
    }
}

#[test]
fn a_scan_goes_from_number_to_number() {
    let mut client = Client::new(None);
    let first = client.send("scan 0");
    let cursor = first.split("\r\n").nth(2).expect("a cursor").to_owned();
    assert_ne!(cursor, "0");
    assert_eq!(client.send(&format!("scan {cursor}")), {
        "*2\r\n$1\r\n0\r\n*1\r\n$6\r\nmiddle\r\n"
    });
    assert_eq!(client.send("scan 12345"), "-ERR invalid cursor\r\n");
}

#[test]
fn configuration_changes_only_where_it_may() {
    let mut client = Client::new(None);
    for (lines, answer) in [
        ("config get MAXCLI* database?", {
            "*4\r\n$9\r\ndatabases\r\n$1\r\n1\r\n$10\r\nmaxclients\r\n$3\r\n100\r\n"
        }),
        ("config get nothing", "*0\r\n"),
        ("config set save ", "+OK\r\n"),
        ("config set appendonly YES maxclients 100", "+OK\r\n"),
        ("config set nope 1", {
            "-ERR Unknown option or number of arguments for CONFIG SET - 'nope'\r\n"
        }),
        ("config set appendonly no", {
            "-ERR CONFIG SET failed (possibly related to argument 'appendonly') - can't set \
             immutable config\r\n"
        }),
        ("config set maxclients 5 MAXCLIENTS 6", {
            "-ERR CONFIG SET failed (possibly related to argument 'MAXCLIENTS') - duplicate \
             parameter\r\n"
        }),
        ("config set MaxClients 5 save ", { "$12\r\nmaxclients=5\r\n" }),
        ("config resetstat", "$10\r\nResetStats\r\n"),
    ] {
        assert_eq!(client.send(lines), answer, "{lines}");
    }
}

#[test]
fn without_a_password_auth_answers_as_redis_does() {
    let mut client = Client::new(None);
    assert_eq!(
        client.send("auth secret"),
        "-ERR AUTH <password> called without any password configured for the default user. Are \
         you sure your configuration is correct?\r\n"
    );
    assert_eq!(client.send("auth default anything"), "+OK\r\n");
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    assert_eq!(client.send("auth other anything"), wrong);
    assert_eq!(client.send("hello 3 auth other x; client getname"), format!("{wrong}$-1\r\n"));
}

#[test]
fn a_stranger_gets_no_further_than_the_door() {
    let mut client = Client::new(Some("open sesame"));
    let refusal = "-NOAUTH Authentication required.\r\n";
    for line in ["get k", "ping", "info", "scan 0", "config get *", "command", "scan 5"] {
        assert_eq!(client.send(line), refusal, "{line}");
    }
    assert!(client.send("hello 3").starts_with("-NOAUTH HELLO must be called"));
    assert_eq!(client.session.version(), Version::Resp2);
    for wrong in ["auth open", "auth open-sesam", "auth default x", "hello 3 auth x open-sesame"] {
        let answer = client.send(wrong);
        assert!(answer.starts_with("-WRONGPASS"), "{wrong}: {answer}");
    }
    // A value longer than a stranger may send, in the pipeline that opens the door.
    let mut session = Client::new(Some("open-sesame"));
    let long = "v".repeat(20 << 10);
    assert_eq!(session.send(&format!("auth open-sesame; set k {long}")), "+OK\r\n$3\r\nset\r\n");
    assert_eq!(session.send("reset; get k"), format!("+RESET\r\n{refusal}"));
    let hello = session.send("hello 3 auth default open-sesame setname me; client getname");
    assert!(hello.starts_with("%7") && hello.ends_with("$2\r\nme\r\n"), "{hello}");
}

#[test]
fn silence_is_kept_as_long_as_asked() {
    let mut client = Client::new(None);
    assert_eq!(client.send("client reply skip; ping; ping"), "+PONG\r\n");
    assert_eq!(client.send("client reply skip; client reply on; ping"), "+OK\r\n+PONG\r\n");
    assert_eq!(client.send("client reply off; ping; nope; client reply skip; ping"), "");
    assert_eq!(client.send("get k; client reply on; ping"), "+OK\r\n+PONG\r\n");
    assert_eq!(client.send("client reply off; reset; ping"), "+RESET\r\n+PONG\r\n");
    assert_eq!(client.send("client reply off; client reply skip; reset"), "+RESET\r\n");
    // What is not answered is not answered, whatever it does.
    assert_eq!(client.send("client reply skip; reset; ping"), "+PONG\r\n");
}

#[test]
fn keys_of_command_lines_are_those_of_redis() {
    let mut client = Client::new(None);
    let no_keys = "-ERR The command has no key arguments\r\n";
    for (line, answer) in [
        ("set k v", "*1\r\n$1\r\nk\r\n"),
        ("set k", "-ERR Invalid number of arguments specified for command\r\n"),
        ("nope k", "-ERR Invalid command specified\r\n"),
        ("client nope", "-ERR Invalid command specified\r\n"),
        ("client getname", no_keys),
        ("ping a b c", no_keys),
    ] {
        assert_eq!(client.send(&format!("command getkeys {line}")), answer, "{line}");
    }
}

#[test]
fn quit_is_the_last_word() {
    let mut client = Client::new(None);
    assert_eq!(client.send("ping; quit"), "+PONG\r\n+OK\r\n");
    assert!(client.closed);
}

#[test]
fn a_log_line_shows_no_password() {
    let client = Client::new(Some("hunter2"));
    assert!(!format!("{:?}", client.session).contains("hunter2"));
}

#[test]
fn passwords_are_compared_whole() {
    for (expected, sent, equal) in [
        ("a", "a", true),
        ("a", "b", false),
        ("a", "aa", false),
        ("aa", "a", false),
        ("", "", true),
        ("", "a", false),
        ("ab", "abab", false),
        ("ab", "", false),
    ] {
        assert_eq!(same(expected.as_bytes(), sent.as_bytes()), equal, "{expected} {sent}");
    }
}
