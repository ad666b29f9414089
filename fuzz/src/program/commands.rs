//! Goal: whatever commands in envelopes clients send, repeat and cancel, and wherever the node
//! dies, every law of causal commands holds and the reference model explains the history.
//! Method: the input is a program of envelopes with ids, dependencies, versions, idempotency keys
//! and timeouts, of questions and of crashes.

use std::time::Duration;

use bytes::Bytes;
use orloj_net::{
    Command, Condition, Deadline, Expiry,
    envelope::{Call, Envelope, Filter, Question, Safety},
    json::{self, Ask, Message},
};

use super::{Program, STEPS_MAX, bytes::Luck, resp};

/// Judges one input.
///
/// # Panics
/// If the goal is missed.
pub fn judge(data: &[u8]) {
    let mut luck = Luck(data);
    let mut is_network = false;
    let mut program = Program::new(&mut luck, |luck| {
        let flags = luck.byte();
        is_network = flags & 1 == 1;
        let upkeep = match flags >> 1 & 3 {
            0 => {
                "[world.commands.upkeep]\nage = \"50ms\"\nbytes = \"4KiB\"\noutcomes = \"8\"\n\
                 hidden = \"1\"\n"
            }
            _ => "",
        };
        format!(
            "{}\n[world.commands]\nnetwork = {is_network}\nsessions = \"3\"\nfollowers = \"{}\"\n\
             in-flight = \"{}\"\nrate = \"0\"\ndependency-wait = \"{}ms\"\nkey-life = \"{}ms\"\n\
             {upkeep}",
            resp::world(luck),
            luck.below(3),
            [2, 8, 100][luck.below(3)],
            [5, 50, 500][luck.below(3)],
            [20, 200, 2000][luck.below(3)],
        )
    });
    program.closing = Some(closing);
    let mut sent: Vec<Envelope> = Vec::new();
    while !luck.is_empty() && program.steps() < STEPS_MAX {
        let what = luck.below(32);
        if what < 4 {
            program.strike(&mut luck);
            continue;
        }
        let (who, how) = (luck.byte(), luck.byte());
        let mut said: Vec<String> = Vec::new();
        match how % 8 {
            0 => said.push(format!("after {}us", 1 + u64::from(how) * 20)),
            1..=3 => said.push("with".to_owned()),
            4 => said.push(format!("walk away {}us", 1 + u64::from(how) * 10)),
            _ => {}
        }
        if how & 0x40 != 0 {
            said.push("together".to_owned());
        }
        let about = luck.byte();
        let id = || -> orloj_net::envelope::Id { format!("i{}", about % 16).into() };
        let ask = match what {
            4 => Ask::Question(Question::Outcome(id())),
            5 => Ask::Question(Question::Cancel(id())),
            6 => Ask::Question(Question::Sessions { after: None, limit: 1 + u32::from(about % 4) }),
            7 => {
                let filter = Filter { limit: u32::from(about % 20), ..Filter::default() };
                Ask::Question(Question::History(filter))
            }
            8 | 9 if !sent.is_empty() => {
                Ask::Command(sent[usize::from(about) % sent.len()].clone())
            }
            _ => {
                let number = sent.len();
                let envelope = envelope(&mut luck, about, number, is_network);
                sent.push(envelope.clone());
                Ask::Command(envelope)
            }
        };
        program.step(who.into(), &said, &json::encode(&Message { request: None, ask }));
    }
    program.judge();
}

/// What a client asks when everything must work.
fn closing(client: usize) -> String {
    let envelope = Envelope::new(Command::DbSize).id(format!("z{client}"));
    json::encode(&Message { request: None, ask: Ask::Command(envelope) })
}

fn envelope(luck: &mut Luck<'_>, about: u8, number: usize, is_network: bool) -> Envelope {
    let (flags, other) = (luck.byte(), luck.byte());
    let session = format!("s{}", about % 3);
    let mut envelope = match luck.below(12) {
        0 => Envelope::new(Call::CreateSession).session(session),
        1 => Envelope::new(Call::LoadSession).session(session),
        2 => Envelope::new(Call::DeleteSession).session(session),
        _ => {
            let envelope = Envelope::new(command(luck, number));
            if flags & 2 == 0 { envelope.session(session) } else { envelope }
        }
    };
    // The client of the native protocol would draw an id.
    if flags & 1 == 0 || is_network {
        envelope = envelope.id(format!("i{number}"));
        for on in 0..match flags >> 2 & 3 {
            0 => 1 + usize::from(other >> 6),
            _ => 0,
        } {
            // One before it, one to come, or one that nobody sends.
            let on = (number + 2).saturating_sub(1 + (usize::from(other) + on) % 6);
            if on != number {
                envelope = envelope.after(format!("i{on}"));
            }
        }
    }
    if flags & 0x10 != 0 && other % 4 == 0 && envelope.session.is_some() {
        envelope = envelope.if_session_version(u64::from(other >> 2) % 8);
    }
    if flags & 0x20 != 0 && other % 3 == 0 {
        envelope = envelope.idempotency_key(format!("k{}", other % 4));
    }
    if flags & 0x40 != 0 && other % 2 == 0 {
        envelope = envelope.timeout(Duration::from_millis(1 + u64::from(other >> 1)));
    }
    if flags & 0x80 != 0 && other % 5 == 0 {
        envelope.durability = Some(Safety::ALL[usize::from(other) % 3]);
    }
    envelope
}

fn command(luck: &mut Luck<'_>, number: usize) -> Command {
    let keys = [&b"h0"[..], b"h1", b"h2", b"h3", b"h4"];
    let key = Bytes::from_static(keys[luck.below(5)]);
    let value = Bytes::from(match luck.below(6) {
        0 => format!("v{number}{}", "-".repeat(900)),
        1 => "7".to_owned(),
        _ => format!("v{number}"),
    });
    let amount = luck.byte();
    let away = Deadline::In(Duration::from_millis(1 + u64::from(amount)));
    let (expiry, condition, get) = (Expiry::None, None, false);
    match luck.below(16) {
        0..3 => Command::Get { key },
        3..6 => Command::Set { key, value, expiry, condition, get },
        6 => Command::Set { key, value, expiry: Expiry::By(away), condition, get: true },
        7 => Command::Set { key, value, expiry, condition: Some(Condition::Absent), get },
        8 => Command::Incr { key, by: i64::from(amount) - 100 },
        9 => Command::Append { key, value },
        10 => Command::Del { keys: vec![key, Bytes::from_static(b"h0")] },
        11 => Command::MGet { keys: vec![key, Bytes::from_static(b"h1")] },
        12 => {
            Command::MSet { pairs: vec![(key, value.clone()), (Bytes::from_static(b"h2"), value)] }
        }
        13 => Command::Expire { key, deadline: away, condition: None },
        14 => Command::DbSize,
        _ if amount.is_multiple_of(4) => Command::FlushAll,
        _ => Command::GetDel { key },
    }
}
