//! Goal: whatever commands a client sends, each is answered by exactly one reply that a client can
//! read, and none makes the session panic.
//! Method: each line of the input is one command, its words separated by spaces, sent as a
//! multibulk request; a store that answers something of every shape stands behind the session.

use bytes::{Bytes, BytesMut};
use core::time::Duration;
use orloj_net::resp::{Decoder, Limits, Progress, ReplyDecoder, ReplyLimits, encode_request};
use orloj_net::session::{ServerFacts, Session, Settings, Step};
use orloj_net::{Answer, Command, Cursors, Refusal};
use std::sync::Arc;

/// Judges one input.
///
/// # Panics
/// If the goal is missed.
pub fn judge(data: &[u8]) {
    let Some((flags, text)) = data.split_first() else { return };
    let password = (flags & 1 == 1).then(|| Bytes::from_static(b"p"));
    let mut session = Session::new(u64::MAX, "peer".to_owned(), "local".to_owned(), password);
    let mut cursors = Cursors::new(4, 64);
    let mut decoder = Decoder::new(Limits { key: 30, ..Limits::default() });
    let mut replies = ReplyDecoder::new(ReplyLimits::default());
    for line in text.split(|byte| *byte == b'\n') {
        let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let (mut wire, mut requests) = (Vec::new(), Vec::new());
        encode_request(&words, &mut wire);
        let progress = decoder.decode(&mut BytesMut::from(&wire[..]), &mut requests);
        assert_eq!(progress, Ok(Progress::Wait { missing: 0 }));
        let [request] = &mut requests[..] else { panic!("one command, one request") };
        let request = std::mem::replace(request, Err(Refusal::Syntax));
        let (form, step) = session.step(request, &cursors, facts);
        let last = matches!(step, Step::Last(_));
        let answer = match step {
            Step::Ask(command) => ask(command),
            Step::Answer(answer) | Step::Last(answer) => answer,
            Step::Node(_) => Answer::Ok,
        };
        let mut out = Vec::new();
        form.write(&answer, &mut cursors, &mut out);
        if !out.is_empty() {
            let mut input = BytesMut::from(&out[..]);
            let reply = replies.decode(&mut input).expect("a reply a client can read");
            assert!(reply.is_some() && input.is_empty(), "one reply, whole: {answer:?}");
        }
        if last {
            return;
        }
    }
}

fn ask(mut command: Command) -> Answer {
    command.fix_time(orloj_net::UnixMs(1));
    let (debug, own) = (format!("{command:?}"), command.clone().detach());
    assert!(own == command && debug.len() < 1000);
    match command {
        Command::Get { key } => Answer::Bulk(key.into()),
        Command::MGet { keys } => {
            Answer::List(keys.into_iter().map(|key| Answer::Bulk(key.into())).collect())
        }
        Command::Scan { after, count, .. } => {
            let keys = (0..count.min(3)).map(|n| Bytes::from(n.to_string())).collect();
            Answer::Page { next: after.is_none().then(|| Bytes::from_static(b"k")), keys }
        }
        Command::Incr { by, .. } => Answer::Int(by),
        Command::Type { .. } => Answer::Simple("string"),
        Command::DbSize => Answer::Error(Refusal::Loading),
        _ => Answer::Nil,
    }
}

fn facts() -> ServerFacts {
    let mut settings = Settings::standard(&Limits::default());
    settings.open("maxclients", "9");
    ServerFacts {
        version: "0.1.0",
        run_id: "0".repeat(40).into(),
        process_id: 1,
        port: 6379,
        now_micros: 1_700_000_000_123_456,
        uptime: Duration::from_secs(1),
        loading: true,
        durability: "strict",
        memory_used: 1,
        connections: 1,
        connections_total: 1,
        commands_total: 1,
        keys: 1,
        keys_expiring: 0,
        settings: Arc::new(settings),
    }
}
