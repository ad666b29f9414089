use super::*;
use crate::resp::COMMANDS;

/// Reads one command line, its words separated by single spaces.
fn read(line: &str) -> Result<Request, Refusal> {
    let block = Bytes::copy_from_slice(line.as_bytes());
    let mut places = Vec::new();
    let mut at = 0;
    for word in line.split(' ') {
        places.push((at, at + word.len() as u32));
        at += word.len() as u32 + 1;
    }
    read_request(Args::new(&block, &places), 64)
}

/// The data command a line asks for, in full.
fn command(line: &str) -> String {
    match read(line) {
        Ok(Request::Data(command)) => command.reveal().to_string(),
        Ok(other) => panic!("{line}: {other:?}"),
        Err(refusal) => panic!("{line}: {refusal}"),
    }
}

fn refusal(line: &str) -> String {
    read(line).expect_err(line).to_string()
}

#[test]
fn every_data_command_is_read() {
    for (line, meaning) in [
        ("get k", r#"get "k""#),
        ("GETDEL k", r#"getdel "k""#),
        ("getset k v", r#"set "k" "v" get"#),
        ("append k v", r#"append "k" "v""#),
        ("strlen k", r#"strlen "k""#),
        ("incr k", r#"incr "k" 1"#),
        ("decr k", r#"incr "k" -1"#),
        ("incrby k -5", r#"incr "k" -5"#),
        ("decrby k -5", r#"incr "k" 5"#),
        ("incrby k -9223372036854775808", r#"incr "k" -9223372036854775808"#),
        ("mget a b a", r#"mget "a" "b" "a""#),
        ("mset a 1 b 2", r#"mset "a" "1" "b" "2""#),
        ("set k v", r#"set "k" "v""#),
        ("SET k v KEEPTTL", r#"set "k" "v" keepttl"#),
        ("set k v ex 10 nx", r#"set "k" "v" in 10s if Absent"#),
        ("set k v PX 10 XX get", r#"set "k" "v" in 10ms if Present get"#),
        ("set k v get exat 10", r#"set "k" "v" at 10000ms get"#),
        ("set k v pxat 10", r#"set "k" "v" at 10ms"#),
        ("set k v ex 1 ex 2 nx nx", r#"set "k" "v" in 2s if Absent"#),
        ("setex k 7 v", r#"set "k" "v" in 7s"#),
        ("psetex k 7 v", r#"set "k" "v" in 7ms"#),
        ("del a b", r#"del "a" "b""#),
        ("unlink a", r#"del "a""#),
        ("exists a a", r#"exists "a" "a""#),
        ("touch a", r#"exists "a""#),
        ("type k", r#"type "k""#),
        ("ttl k", r#"ttl "k" SecondsLeft"#),
        ("pttl k", r#"ttl "k" MillisLeft"#),
        ("expiretime k", r#"ttl "k" UnixSeconds"#),
        ("pexpiretime k", r#"ttl "k" UnixMillis"#),
        ("expire k 5", r#"expire "k" in 5s"#),
        ("expire k -5", r#"expire "k" at 0ms"#),
        ("pexpire k 0 nx", r#"expire "k" in 0ns if Absent"#),
        ("expireat k 5 xx", r#"expire "k" at 5000ms if Present"#),
        ("expireat k -5 xx", r#"expire "k" at 0ms if Present"#),
        ("pexpireat k 5 XX LT", r#"expire "k" at 5ms if PresentEarlier"#),
        ("pexpireat k 5 xx gt", r#"expire "k" at 5ms if Later"#),
        ("pexpireat k 5 lt", r#"expire "k" at 5ms if Earlier"#),
        ("persist k", r#"persist "k""#),
        ("dbsize", "dbsize"),
        ("flushall", "flushall"),
        ("FLUSHDB async", "flushall"),
    ] {
        assert_eq!(command(line), meaning, "{line}");
    }
}

#[test]
fn a_scan_waits_for_its_cursor() {
    let scan = |cursor, pattern: Option<&'static str>, count| {
        let pattern = pattern.map(|glob| Bytes::from_static(glob.as_bytes()));
        Ok(Request::Scan { cursor, pattern, count })
    };
    assert_eq!(read("scan 0"), scan(0, None, 10));
    assert_eq!(read("scan 18446744073709551615 match * count 5"), scan(u64::MAX, None, 5));
    assert_eq!(read("SCAN 7 COUNT 9999999999 MATCH a* TYPE string"), scan(7, Some("a*"), u32::MAX));
    assert_eq!(read("scan 0 type hash"), Ok(Request::Local(Local::NoKeys)));
    assert_eq!(refusal("scan x"), "ERR invalid cursor");
    assert_eq!(refusal("scan -1"), "ERR invalid cursor");
    assert_eq!(refusal("scan 18446744073709551616"), "ERR invalid cursor");
    assert_eq!(refusal("scan 0 count 0"), "ERR syntax error");
    assert_eq!(refusal("scan 0 count x"), "ERR value is not an integer or out of range");
    assert_eq!(refusal("scan 0 match"), "ERR syntax error");
    assert_eq!(refusal("scan 0 near 5"), "ERR syntax error");
}

/// Word for word what Redis 7 answers.
#[test]
fn refusals_read_as_in_redis() {
    let integer = "ERR value is not an integer or out of range";
    let nx_xx = "ERR NX and XX, GT or LT options at the same time are not compatible";
    for (line, text) in [
        ("foo a b", "ERR unknown command 'foo', with args beginning with: 'a' 'b' "),
        ("foo", "ERR unknown command 'foo', with args beginning with: "),
        (" ", "ERR unknown command '', with args beginning with: '' "),
        ("get", "ERR wrong number of arguments for 'get' command"),
        ("GET a b", "ERR wrong number of arguments for 'get' command"),
        ("set k", "ERR wrong number of arguments for 'set' command"),
        ("mset a", "ERR wrong number of arguments for 'mset' command"),
        ("mset a 1 b", "ERR wrong number of arguments for 'mset' command"),
        ("ping a b", "ERR wrong number of arguments for 'ping' command"),
        ("client", "ERR wrong number of arguments for 'client' command"),
        ("client setinfo a", "ERR wrong number of arguments for 'client|setinfo' command"),
        ("client nope a", "ERR unknown subcommand 'nope'. Try CLIENT HELP."),
        ("CLIENT MAINT_NOTIFICATIONS ON", {
            "ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP."
        }),
        ("config set a", "ERR wrong number of arguments for 'config|set' command"),
        ("config set a b c", "ERR wrong number of arguments for 'config|set' command"),
        ("set k v nx xx", "ERR syntax error"),
        ("set k v ex", "ERR syntax error"),
        ("set k v ex 1 px 1", "ERR syntax error"),
        ("set k v ex 1 keepttl", "ERR syntax error"),
        ("set k v 1", "ERR syntax error"),
        ("set k v ex x", integer),
        // Options first, numbers then.
        ("set k v ex x px", "ERR syntax error"),
        ("set k v exat 0 nx xx", "ERR syntax error"),
        ("set k v ex 0", "ERR invalid expire time in 'set' command"),
        ("set k v px -1", "ERR invalid expire time in 'set' command"),
        ("set k v exat 0", "ERR invalid expire time in 'set' command"),
        ("set k v ex 9223372036854776", "ERR invalid expire time in 'set' command"),
        ("setex k 0 v", "ERR invalid expire time in 'setex' command"),
        ("psetex k -1 v", "ERR invalid expire time in 'psetex' command"),
        ("expire k x", integer),
        ("expire k 9223372036854776", "ERR invalid expire time in 'expire' command"),
        ("expire k 9223370399119966", "ERR invalid expire time in 'expire' command"),
        ("expire k 1 nx xx", nx_xx),
        ("expire k 1 nx lt", nx_xx),
        ("expire k 1 gt lt", "ERR GT and LT options at the same time are not compatible"),
        ("expire k 1 ab", "ERR Unsupported option ab"),
        ("incrby k 1.5", integer),
        ("incrby k 9223372036854775808", integer),
        ("decrby k -9223372036854775808", "ERR decrement would overflow"),
        ("flushall now", "ERR syntax error"),
        ("select x", integer),
        ("select 2147483648", {
            "ERR value is out of range, value must between -2147483648 and 2147483647"
        }),
        ("hello x", "ERR Protocol version is not an integer or out of range"),
        ("hello 4", "NOPROTO unsupported protocol version"),
        ("hello 3 auth a", "ERR Syntax error in HELLO option 'auth'"),
        ("hello 3 setname", "ERR Syntax error in HELLO option 'setname'"),
        ("auth a b c", "ERR syntax error"),
        ("client setname a\nb", {
            "ERR Client names cannot contain spaces, newlines or special characters."
        }),
        ("client setinfo lib-foo x", "ERR Unrecognized option 'lib-foo'"),
        ("client setinfo lib-ver a\tb", {
            "ERR lib-ver cannot contain spaces, newlines or special characters."
        }),
        ("client reply maybe", "ERR syntax error"),
        ("command list filterby", "ERR syntax error"),
        ("client getname x", "ERR wrong number of arguments for 'client|getname' command"),
    ] {
        assert_eq!(refusal(line), text, "{line}");
    }
    let long = "x".repeat(65);
    assert_eq!(refusal(&format!("get {long}")), "ERR key of 65 bytes exceeds the maximum of 64");
    for line in ["set {} v", "mget a {}", "mset a 1 {} 2", "del {}", "expire {} 1", "setex {} 1 v"]
    {
        let line = line.replace("{}", &long);
        assert!(refusal(&line).starts_with("ERR key of 65 bytes"), "{line}");
    }
}

#[test]
fn local_commands_are_read() {
    let local = |line| match read(line) {
        Ok(Request::Local(local)) => local,
        other => panic!("{line}: {other:?}"),
    };
    let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
    let (a, b) = (bytes("a"), bytes("b"));
    assert_eq!(local("hello"), Local::Hello { version: None, auth: None, name: None });
    assert_eq!(
        local("HELLO 3 SETNAME a AUTH b a"),
        Local::Hello {
            version: Some(Version::Resp3),
            auth: Some((b.clone(), a.clone())),
            name: Some(a.clone()),
        }
    );
    assert_eq!(local("auth a"), Local::Auth { user: None, password: a.clone() });
    assert_eq!(local("auth a b"), Local::Auth { user: Some(a.clone()), password: b.clone() });
    assert_eq!(
        local("client setinfo LIB-NAME a"),
        Local::Client(ClientCall::SetLibName(a.clone()))
    );
    assert_eq!(local("CLIENT id"), Local::Client(ClientCall::Id));
    assert_eq!(local("client reply skip"), Local::Client(ClientCall::Reply(ReplyMode::Skip)));
    assert_eq!(local("client no-evict on"), Local::Client(ClientCall::Hint));
    assert_eq!(local("command"), Local::Command(CommandCall::All));
    assert_eq!(local("command docs"), Local::Command(CommandCall::Docs(vec![])));
    assert_eq!(
        local("command list filterby pattern a"),
        Local::Command(CommandCall::List { pattern: Some(a.clone()) })
    );
    assert_eq!(local("config get a b"), Local::Config(ConfigCall::Get(vec![a.clone(), b.clone()])));
    assert_eq!(local("config set a b"), Local::Config(ConfigCall::Set(vec![(a.clone(), b)])));
    assert_eq!(local("info a"), Local::Info { sections: vec![a.clone()] });
    assert_eq!(local("PING"), Local::Ping { message: None });
    assert_eq!(local("echo a"), Local::Echo { message: a });
    assert_eq!(local("select -3"), Local::Select { index: -3 });
    assert_eq!(local("quit now"), Local::Quit);
    assert_eq!(format!("{:?}", local("auth hunter2")), "auth");
}

/// The table is found by name in any case, and by nothing else.
#[test]
fn every_command_is_found_by_its_name_alone() {
    for (i, spec) in COMMANDS.iter().enumerate() {
        let name = spec.name;
        assert!(name.bytes().all(|b| b.is_ascii_lowercase()), "{name}: the fold needs letters");
        for name in [name.to_owned(), name.to_ascii_uppercase()] {
            let found = table::find(name.as_bytes()).expect(&name);
            assert!(std::ptr::eq(found, &COMMANDS[i]), "{name}");
        }
        for at in 0..name.len() {
            // Control bytes and others that only bit 5 tells from the letter, and other letters.
            for byte in 0..=u8::MAX {
                let mut other = name.as_bytes().to_vec();
                other[at] = byte;
                let same = other.eq_ignore_ascii_case(name.as_bytes());
                let found = table::find(&other).is_some_and(|found| found.name == name);
                assert_eq!(found, same, "{name} with {byte} at {at}");
            }
        }
        for other in [&name[1..], &format!("{name} "), &format!("{name}\0"), &name.repeat(2)] {
            let found = table::find(other.as_bytes());
            assert!(found.is_none_or(|found| found.name == other), "{other}");
        }
        assert!(!spec.summary.is_empty() && spec.summary.ends_with('.'), "{name}");
    }
    assert!(table::find(b"").is_none());
    assert!(table::find(&[b'x'; 300]).is_none());
    let names: std::collections::BTreeSet<_> = COMMANDS.iter().map(|spec| spec.name).collect();
    assert_eq!(names.len(), COMMANDS.len());
}

/// No argument vector makes a command panic: every command with every small number of odd words.
#[test]
fn odd_arguments_never_panic() {
    let words = ["", "a", "0", "-1", "9223372036854775807", "nx", "ex", "match", "id", "set", "\r"];
    for spec in &COMMANDS {
        for first in words {
            for second in words {
                for len in 0..5 {
                    let mut line = spec.name.to_owned();
                    for i in 0..len {
                        line.push(' ');
                        line.push_str(if i % 2 == 0 { first } else { second });
                    }
                    let _ = read(&line);
                }
            }
        }
    }
}
