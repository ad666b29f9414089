use core::time::Duration;

use bytes::Bytes;

use super::*;

fn set(key: &'static str, value: &'static str) -> Command {
    Command::Set {
        key: Bytes::from_static(key.as_bytes()),
        value: Bytes::from_static(value.as_bytes()),
        expiry: Expiry::None,
        condition: None,
        get: false,
    }
}

#[test]
fn debug_shows_neither_keys_nor_values() {
    let secret = "hunter2";
    let key = || Bytes::from_static(secret.as_bytes());
    let words = [
        format!("{:?}", set(secret, secret)),
        format!("{:?}", Command::MGet { keys: vec![key(), key()] }),
        format!("{:?}", Command::MSet { pairs: vec![(key(), key())] }),
        format!("{:?}", Command::Append { key: key(), value: key() }),
        format!("{:?}", Command::Scan { after: Some(key()), pattern: Some(key()), count: 10 }),
        format!("{:?}", Answer::Bulk(key().into())),
        format!("{:?}", Answer::List(vec![Answer::Bulk(key().into())])),
        format!("{:?}", Answer::Page { next: Some(key()), keys: vec![key()] }),
        format!("{:?}", Answer::Error(Refusal::unknown_command(&key(), &[key()]))),
        format!("{:?}", Refusal::unknown_subcommand("CLIENT", &key())),
    ];
    for word in words {
        assert!(!word.contains(secret), "{word}");
    }
    assert_eq!(
        format!("{:?}", set("name", "x")),
        "set { key: <4B #8d39bde6>, value: <1B>, expiry: None, condition: None, get: false }"
    );
}

#[test]
fn a_fixed_command_means_the_same_later() {
    let deadline = Deadline::In(Duration::from_millis(1500));
    let mut word = Command::Expire { key: Bytes::new(), deadline, condition: None };
    word.fix_time(UnixMs(1_000));
    let fixed = word.clone();
    word.fix_time(UnixMs(9_000));
    assert_eq!(word, fixed);
    let Command::Expire { deadline, .. } = word else { unreachable!() };
    assert_eq!(deadline, Deadline::At(UnixMs(2_500)));
    assert_eq!(UnixMs(u64::MAX).after(Duration::MAX), UnixMs(u64::MAX));
}

#[test]
fn detach_keeps_the_meaning() {
    let block = Bytes::from_static(b"keyvalue");
    let word = Command::Append { key: block.slice(..3), value: block.slice(3..) };
    let own = word.clone().detach();
    assert_eq!(own, word);
    let Command::Append { key, .. } = &own else { unreachable!() };
    assert_ne!(key.as_ptr(), block.as_ptr());
    assert_eq!(own.payload_len(), 8);
    assert_eq!(own.keys().count(), 1);
}

#[test]
fn an_unknown_command_is_repeated_as_redis_does() {
    let args = [Bytes::from_static(b"a"), Bytes::from_static(b"b")];
    assert_eq!(
        Refusal::unknown_command(b"foo", &args).to_string(),
        "ERR unknown command 'foo', with args beginning with: 'a' 'b' "
    );
    // Redis counts the quotes it has already written, not the ones it is about to.
    let args =
        [Bytes::from(vec![b'z'; 50]), Bytes::from(vec![b'z'; 50]), Bytes::from(vec![b'z'; 50])];
    let text = Refusal::unknown_command(b"foo", &args).to_string();
    assert!(text.ends_with(&format!(" '{}' ", "z".repeat(22))), "{text}");
    let long = vec![Bytes::from(vec![b'x'; 100]); 1000];
    let text = Refusal::unknown_command(&[b'\n'; 1000], &long).to_string();
    assert!(text.len() < 450 && !text.contains('\n'), "{text}");
}

#[test]
fn globs_match_as_in_redis() {
    for (pattern, text, matches) in [
        ("*", "", true),
        ("", "", true),
        ("", "a", false),
        ("a?c", "abc", true),
        ("a?c", "ac", false),
        ("a*c", "ac", true),
        ("a*c", "abcbc", true),
        ("a*c", "abcb", false),
        ("*a*b*", "xxaxxbxx", true),
        ("h[ae]llo", "hello", true),
        ("h[^e]llo", "hello", false),
        ("h[^e]llo", "hallo", true),
        ("h[a-c]llo", "hbllo", true),
        ("h[c-a]llo", "hbllo", true),
        ("h[a-c]llo", "hdllo", false),
        ("[\\]]", "]", true),
        ("[a", "a", true),
        ("[^", "a", true),
        ("[", "a", false),
        ("a\\*", "a*", true),
        ("a\\*", "ab", false),
        ("a\\", "a\\", true),
        ("a**", "a", true),
        ("[a-", "-", true),
    ] {
        let found = glob_matches(pattern.as_bytes(), text.as_bytes());
        assert_eq!(found, matches, "{pattern} on {text}");
    }
}

/// The pattern that takes a naive matcher exponential time.
#[test]
fn a_hostile_glob_is_only_slow() {
    let pattern = "a*".repeat(500) + "b";
    assert!(!glob_matches(pattern.as_bytes(), &[b'a'; 20_000]));
}

#[test]
fn refusals_have_codes_of_their_own() {
    let refusals = [
        Refusal::WrongType,
        Refusal::NotAnInteger,
        Refusal::Overflow,
        Refusal::Syntax,
        Refusal::WrongArity { command: "get" },
        Refusal::unknown_command(b"", &[]),
        Refusal::unknown_subcommand("client", b""),
        Refusal::InvalidExpire { command: "set" },
        Refusal::KeyTooLong { len: 2, max: 1 },
        Refusal::ValueTooLong,
        Refusal::InvalidCursor,
        Refusal::DbIndex,
        Refusal::ProtocolNotAnInteger,
        Refusal::NoProtocol,
        Refusal::about("", b"", ""),
        Refusal::AuthNotConfigured,
        Refusal::WrongPassword,
        Refusal::AuthRequired,
        Refusal::ClientName,
        Refusal::Other { text: "" },
        Refusal::Loading,
        Refusal::OutOfMemory,
        Refusal::JournalFailed,
        Refusal::ReadOnly,
        Refusal::Overloaded,
        Refusal::ShuttingDown,
        Refusal::HelloAuthRequired,
        Refusal::Unreadable,
    ];
    for (i, refusal) in refusals.iter().enumerate() {
        assert_eq!(usize::from(refusal.code()), i + 1, "{refusal}: codes never change");
        assert!(refusal.to_string().starts_with(refusal.prefix()), "{refusal}");
    }
}
