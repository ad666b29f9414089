//! Where the answers may differ, and why. The page of the book on RESP lists the same.

use super::{
    program::{Program, Step},
    server::Answers,
};

/// How far apart two readings of a time may be: the servers do not read the clock at once.
const APART_MS: i64 = 5_000;

/// What Redis takes for an attack by way of a browser: it closes without a word.
const HTTP: &[&[u8]] = &[b"POST ", b"Host:"];

/// What Redis goes on waiting for, and is an error here.
const SAID: &[(&[u8], &[u8])] = &[
    // Redis waits for 64 KiB of a number.
    (b"*111", b"-ERR Protocol error: too big mbulk count string\r\n"),
    // Redis takes up to 2^31 arguments.
    (b"*1048577", b"-ERR Protocol error: invalid multibulk length\r\n"),
];

/// The first answer that differs though it must not.
pub(super) fn differ(program: &Program, redis: &Answers, orlojd: &Answers) -> Option<usize> {
    let most = redis.list.len().max(orlojd.list.len());
    // Without CLIENT REPLY the n-th answer is that of the n-th step.
    let is_past = |word: &Vec<u8>| [&b"exat"[..], b"pxat"].contains(&&*word.to_ascii_lowercase());
    let expires = program
        .steps
        .iter()
        .any(|step| matches!(step, Step::Brief { .. }) || step.words().iter().any(is_past));
    // More than Redis sends to a client that has said its last.
    if program.steps.iter().any(|step| step.is("command") && step.words().len() == 1) {
        return None;
    }
    let mut words = program.steps.iter().flat_map(Step::words).flatten();
    let is_odd = !words.all(|byte| matches!(byte, b' '..=b'~'));
    let end: &[u8] = match program.steps.last() {
        Some(Step::Raw(bytes)) => bytes,
        _ => &[],
    };
    // A broken stream is the end of the connection, and is said even where nothing else is.
    let is_mute = program.steps.iter().any(|step| step.is("client"));
    // Redis drops what it has answered and not sent yet.
    let is_dropped = HTTP.iter().any(|sent| end.starts_with(sent));
    for at in 0..most {
        if is_dropped && at >= redis.list.len() {
            return None;
        }
        if redis.list.get(at).is_none() && orlojd.list.get(at) == orlojd.list.last() {
            let error = orlojd.list.last().map_or(&[][..], |last| last);
            let is_said = |(sent, said): &(&[u8], &[u8])| end.starts_with(sent) && error == *said;
            if SAID.iter().any(is_said) || is_mute && error.starts_with(b"-ERR Protocol error: ") {
                return None;
            }
        }
        let (Some(one), Some(other)) = (redis.list.get(at), orlojd.list.get(at)) else {
            return Some(at);
        };
        let step = program.steps.get(at);
        // There is one database; in another one there are other keys.
        if one == b"+OK\r\n" && other == b"-ERR DB index is out of range\r\n" {
            return None;
        }
        let is_declared = is_odd && repeat_the_same(one, other)
            || step.is_some_and(|step| may_differ(step, expires, one, other));
        if one != other && !is_declared {
            return Some(at);
        }
    }
    (redis.rest != orlojd.rest).then_some(most)
}

/// Errors that end in words of the client. These are made text first (UTF-8, no control bytes);
/// Redis ends them at a zero byte and repeats other bytes as they came.
const REPEATING: &[&str] = &[
    "-ERR unknown command ",
    "-ERR unknown subcommand ",
    "-ERR Unsupported option ",
    "-ERR Syntax error in HELLO option ",
];

fn repeat_the_same(redis: &[u8], orlojd: &[u8]) -> bool {
    let begin =
        |text: &&str| redis.starts_with(text.as_bytes()) && orlojd.starts_with(text.as_bytes());
    REPEATING.iter().any(begin)
}

/// Whether these two answers are both right.
fn may_differ(step: &Step, expires: bool, redis: &[u8], orlojd: &[u8]) -> bool {
    let is = |names: &[&str]| names.iter().any(|name| step.is(name));
    // A clock is read twice.
    if is(&["pttl", "pexpiretime"]) {
        return are_near(redis, orlojd, APART_MS);
    }
    if is(&["ttl", "expiretime"]) {
        return are_near(redis, orlojd, APART_MS / 1_000);
    }
    // Redis counts what has expired until somebody looks, what was stored with a deadline in the
    // past included; we do not.
    if is(&["dbsize"]) && expires {
        return number(redis) > number(orlojd) && number(orlojd).is_some();
    }
    // COMMAND GETKEYS without arguments came with 7.2.
    if is(&["command"]) && step.words().len() == 3 {
        return redis == b"-ERR wrong number of arguments for 'command|getkeys' command\r\n";
    }
    // Since 7.2 HELLO looks at all of its options before it uses any.
    if is(&["hello"]) && redis.starts_with(b"-WRONGPASS ") {
        return orlojd.starts_with(b"-ERR Syntax error in HELLO option ");
    }
    if is(&["scan"]) {
        // A cursor that nobody gave out is refused. Keys come in the order of the bytes, not in
        // that of a hash.
        let is_begun = step.words().get(1).is_some_and(|cursor| cursor != b"0");
        return is_begun && orlojd == b"-ERR invalid cursor\r\n"
            || goes_on(redis)
            || goes_on(orlojd)
            || sorted(redis) == sorted(orlojd);
    }
    // Each describes itself.
    let describes = ["hello", "info", "time", "command", "client", "config"];
    is(&describes) && !redis.starts_with(b"-") && redis.first() == orlojd.first()
}

fn are_near(one: &[u8], other: &[u8], apart: i64) -> bool {
    match (number(one), number(other)) {
        (Some(one), Some(other)) => one >= 0 && other >= 0 && (one - other).abs() <= apart,
        _ => false,
    }
}

/// The integer that an answer is.
fn number(answer: &[u8]) -> Option<i64> {
    std::str::from_utf8(answer).ok()?.strip_prefix(':')?.trim_end().parse().ok()
}

/// Whether a page of a scan is not the last: what is on it is each server's own affair.
fn goes_on(page: &[u8]) -> bool {
    page.starts_with(b"*2\r\n") && !page.starts_with(b"*2\r\n$1\r\n0\r\n")
}

/// The lines of an answer in the order of their bytes.
fn sorted(answer: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = answer.split(|byte| *byte == b'\n').collect();
    lines.sort_unstable();
    lines
}
