//! Answers about the protocol itself: HELLO, COMMAND and the HELP of containers.

use bytes::Bytes;

use super::REDIS_VERSION;
use crate::resp::{COMMANDS, CommandCall, Spec, Version, find};
use crate::words::{Answer, Refusal, glob_matches};

/// HELLO: who answers, and in what protocol. The name is what clients expect behind this port.
pub(super) fn hello(id: u64, version: Version) -> Answer {
    let pair = |name, value| (Answer::text(name), value);
    Answer::Map(vec![
        pair("server", Answer::text("redis")),
        pair("version", Answer::text(REDIS_VERSION)),
        pair("proto", Answer::Int(version.number())),
        pair("id", Answer::Int(i64::try_from(id).unwrap_or(i64::MAX))),
        pair("mode", Answer::text("standalone")),
        pair("role", Answer::text("master")),
        pair("modules", Answer::List(Vec::new())),
    ])
}

/// COMMAND and its subcommands.
pub(super) fn command(call: CommandCall) -> Result<Answer, Refusal> {
    Ok(match call {
        CommandCall::All => Answer::List(COMMANDS.iter().map(describe).collect()),
        CommandCall::Count => Answer::Int(COMMANDS.len() as i64),
        CommandCall::List { pattern } => {
            let pattern = pattern.map(|glob| glob.to_ascii_lowercase());
            let wanted = |spec: &&Spec| {
                pattern.as_ref().is_none_or(|glob| glob_matches(glob, spec.name.as_bytes()))
            };
            Answer::List(COMMANDS.iter().filter(wanted).map(|s| Answer::text(s.name)).collect())
        }
        CommandCall::Info(names) if names.is_empty() => command(CommandCall::All)?,
        CommandCall::Info(names) => {
            Answer::List(names.iter().map(|n| named(n).map_or(Answer::Nil, describe)).collect())
        }
        CommandCall::Docs(names) => {
            let specs: Vec<&Spec> = match names.is_empty() {
                true => COMMANDS.iter().collect(),
                false => names.iter().filter_map(|name| named(name)).collect(),
            };
            Answer::Map(specs.into_iter().map(document).collect())
        }
        CommandCall::GetKeys(line) => keys(&line)?,
        CommandCall::Help => help("command"),
    })
}

/// A command by its name, or a subcommand by `container|name`.
fn named(name: &[u8]) -> Option<&'static Spec> {
    let mut parts = name.splitn(2, |byte| *byte == b'|');
    let spec = find(parts.next()?)?;
    match parts.next() {
        None => Some(spec),
        Some(sub) => spec.subs.iter().find(|s| sub.eq_ignore_ascii_case(s.name.as_bytes())),
    }
}

/// One entry of COMMAND, in the ten elements of Redis 7. ACL categories, tips and key
/// specifications beyond the three numbers are empty.
fn describe(spec: &Spec) -> Answer {
    let none = || Answer::Set(Vec::new());
    Answer::List(vec![
        Answer::text(spec.full),
        Answer::Int(spec.arity.into()),
        Answer::Set(spec.flags.iter().map(|flag| Answer::Simple(flag)).collect()),
        Answer::Int(spec.first_key.into()),
        Answer::Int(spec.last_key.into()),
        Answer::Int(spec.step.into()),
        none(),
        none(),
        none(),
        Answer::List(spec.subs.iter().map(describe).collect()),
    ])
}

/// One entry of COMMAND DOCS.
fn document(spec: &Spec) -> (Answer, Answer) {
    let mut pairs = vec![
        (Answer::text("summary"), Answer::text(spec.summary)),
        (Answer::text("since"), Answer::text(spec.since)),
        (Answer::text("group"), Answer::text(spec.group)),
    ];
    if !spec.subs.is_empty() {
        let subs = spec.subs.iter().map(document).collect();
        pairs.push((Answer::text("subcommands"), Answer::Map(subs)));
    }
    (Answer::text(spec.full), Answer::Map(pairs))
}

/// COMMAND GETKEYS.
fn keys(line: &[Bytes]) -> Result<Answer, Refusal> {
    let refuse = |text| Err(Refusal::Other { text });
    let spec = line.first().and_then(|name| find(name));
    // A container is nothing without one of its subcommands, and none of those has keys.
    let is_sub = |spec: &Spec, name: &Bytes| {
        spec.subs.iter().any(|sub| name.eq_ignore_ascii_case(sub.name.as_bytes()))
    };
    let is_known =
        |spec: &&Spec| spec.subs.is_empty() || line.get(1).is_none_or(|name| is_sub(spec, name));
    let Some(spec) = spec.filter(is_known) else { return refuse("Invalid command specified") };
    if spec.first_key == 0 {
        return refuse("The command has no key arguments");
    }
    if !spec.accepts(line.len()) {
        return refuse("Invalid number of arguments specified for command");
    }
    let key = |at: usize| Answer::Bulk(line[at].clone().into());
    Ok(Answer::List(spec.key_places(line.len()).map(key).collect()))
}

/// The subcommands of a container, each with a line on what it does.
pub(super) fn help(container: &str) -> Answer {
    let subs = find(container.as_bytes()).map_or(&[][..], |spec| spec.subs);
    let title = format!("{} <subcommand> [<arg> ...]:", container.to_ascii_uppercase());
    let lines = subs.iter().flat_map(|sub| {
        let name = sub.name.to_ascii_uppercase();
        [format!("{name} {}", sub.usage).trim_end().to_owned(), format!("    {}", sub.summary)]
    });
    Answer::List(
        std::iter::once(title).chain(lines).map(|line| Answer::Bulk(line.into())).collect(),
    )
}
