//! Reading the commands a session answers by itself. Arity has been checked against the table.

use super::{Args, ClientCall, CommandCall, ConfigCall, Local, ReplyMode, Request};
use crate::resp::Version;
use crate::words::{Refusal, parse_i64};

type Read = Result<Request, Refusal>;

fn local(local: Local) -> Read {
    Ok(Request::Local(local))
}

fn client(call: ClientCall) -> Read {
    local(Local::Client(call))
}

fn command(call: CommandCall) -> Read {
    local(Local::Command(call))
}

fn config(call: ConfigCall) -> Read {
    local(Local::Config(call))
}

/// HELLO [2 | 3 [AUTH user password] [SETNAME name]].
pub(in crate::resp) fn hello(args: &Args<'_>) -> Read {
    let (mut version, mut auth, mut name) = (None, None, None);
    if args.len() > 1 {
        version = match parse_i64(args.get(1)).ok_or(Refusal::ProtocolNotAnInteger)? {
            2 => Some(Version::Resp2),
            3 => Some(Version::Resp3),
            _ => return Err(Refusal::NoProtocol),
        };
    }
    let mut i = 2;
    while i < args.len() {
        let more = args.len() - 1 - i;
        if args.is(i, "auth") && more >= 2 {
            auth = Some((args.bytes(i + 1), args.bytes(i + 2)));
            i += 3;
        } else if args.is(i, "setname") && more >= 1 {
            name = Some(client_name(args, i + 1)?);
            i += 2;
        } else {
            return Err(Refusal::about("Syntax error in HELLO option '", args.get(i), "'"));
        }
    }
    local(Local::Hello { version, auth, name })
}

/// AUTH [user] password.
pub(in crate::resp) fn auth(args: &Args<'_>) -> Read {
    match args.len() {
        2 => local(Local::Auth { user: None, password: args.bytes(1) }),
        3 => local(Local::Auth { user: Some(args.bytes(1)), password: args.bytes(2) }),
        _ => Err(Refusal::Syntax),
    }
}

/// A name is one line without blanks, so that it fits the table CLIENT INFO prints.
fn client_name(args: &Args<'_>, i: usize) -> Result<bytes::Bytes, Refusal> {
    match args.get(i).iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        true => Ok(args.bytes(i)),
        false => Err(Refusal::ClientName),
    }
}

pub(in crate::resp) fn client_id(_: &Args<'_>) -> Read {
    client(ClientCall::Id)
}

pub(in crate::resp) fn client_getname(_: &Args<'_>) -> Read {
    client(ClientCall::GetName)
}

pub(in crate::resp) fn client_setname(args: &Args<'_>) -> Read {
    client(ClientCall::SetName(client_name(args, 2)?))
}

/// CLIENT SETINFO LIB-NAME | LIB-VER text.
pub(in crate::resp) fn client_setinfo(args: &Args<'_>) -> Read {
    let plain = args.get(3).iter().all(|byte| (b'!'..=b'~').contains(byte));
    match () {
        () if args.is(2, "lib-name") && plain => client(ClientCall::SetLibName(args.bytes(3))),
        () if args.is(2, "lib-ver") && plain => client(ClientCall::SetLibVersion(args.bytes(3))),
        () if args.is(2, "lib-name") => Err(Refusal::Other {
            text: "lib-name cannot contain spaces, newlines or special characters.",
        }),
        () if args.is(2, "lib-ver") => Err(Refusal::Other {
            text: "lib-ver cannot contain spaces, newlines or special characters.",
        }),
        () => Err(Refusal::about("Unrecognized option '", args.get(2), "'")),
    }
}

pub(in crate::resp) fn client_info(_: &Args<'_>) -> Read {
    client(ClientCall::Info)
}

/// CLIENT REPLY ON | OFF | SKIP.
pub(in crate::resp) fn client_reply(args: &Args<'_>) -> Read {
    let mode = match () {
        () if args.is(2, "on") => ReplyMode::On,
        () if args.is(2, "off") => ReplyMode::Off,
        () if args.is(2, "skip") => ReplyMode::Skip,
        () => return Err(Refusal::Syntax),
    };
    client(ClientCall::Reply(mode))
}

/// CLIENT NO-EVICT | NO-TOUCH ON | OFF: nothing is evicted, so there is nothing to exempt.
pub(in crate::resp) fn client_hint(args: &Args<'_>) -> Read {
    match args.is(2, "on") || args.is(2, "off") {
        true => client(ClientCall::Hint),
        false => Err(Refusal::Syntax),
    }
}

pub(in crate::resp) fn client_help(_: &Args<'_>) -> Read {
    client(ClientCall::Help)
}

pub(in crate::resp) fn command_all(_: &Args<'_>) -> Read {
    command(CommandCall::All)
}

pub(in crate::resp) fn command_count(_: &Args<'_>) -> Read {
    command(CommandCall::Count)
}

/// COMMAND LIST [FILTERBY PATTERN glob].
pub(in crate::resp) fn command_list(args: &Args<'_>) -> Read {
    let pattern = match args.len() {
        2 => None,
        5 if args.is(2, "filterby") && args.is(3, "pattern") => Some(args.bytes(4)),
        _ => return Err(Refusal::Syntax),
    };
    command(CommandCall::List { pattern })
}

pub(in crate::resp) fn command_info(args: &Args<'_>) -> Read {
    command(CommandCall::Info(args.rest(2).collect()))
}

pub(in crate::resp) fn command_docs(args: &Args<'_>) -> Read {
    command(CommandCall::Docs(args.rest(2).collect()))
}

pub(in crate::resp) fn command_getkeys(args: &Args<'_>) -> Read {
    command(CommandCall::GetKeys(args.rest(2).collect()))
}

pub(in crate::resp) fn command_help(_: &Args<'_>) -> Read {
    command(CommandCall::Help)
}

pub(in crate::resp) fn config_get(args: &Args<'_>) -> Read {
    config(ConfigCall::Get(args.rest(2).collect()))
}

/// CONFIG SET name value [name value ...].
pub(in crate::resp) fn config_set(args: &Args<'_>) -> Read {
    if !args.len().is_multiple_of(2) {
        return Err(Refusal::WrongArity { command: "config|set" });
    }
    let pairs = (2..args.len()).step_by(2).map(|i| (args.bytes(i), args.bytes(i + 1)));
    config(ConfigCall::Set(pairs.collect()))
}

pub(in crate::resp) fn config_resetstat(_: &Args<'_>) -> Read {
    config(ConfigCall::ResetStat)
}

pub(in crate::resp) fn config_help(_: &Args<'_>) -> Read {
    config(ConfigCall::Help)
}

pub(in crate::resp) fn info(args: &Args<'_>) -> Read {
    local(Local::Info { sections: args.rest(1).collect() })
}

pub(in crate::resp) fn ping(args: &Args<'_>) -> Read {
    match args.len() {
        1 => local(Local::Ping { message: None }),
        2 => local(Local::Ping { message: Some(args.bytes(1)) }),
        _ => Err(Refusal::WrongArity { command: "ping" }),
    }
}

pub(in crate::resp) fn echo(args: &Args<'_>) -> Read {
    local(Local::Echo { message: args.bytes(1) })
}

pub(in crate::resp) fn select(args: &Args<'_>) -> Read {
    let index = args.integer(1)?;
    if i32::try_from(index).is_err() {
        let text = "value is out of range, value must between -2147483648 and 2147483647";
        return Err(Refusal::Other { text });
    }
    local(Local::Select { index })
}

pub(in crate::resp) fn time(_: &Args<'_>) -> Read {
    local(Local::Time)
}

pub(in crate::resp) fn reset(_: &Args<'_>) -> Read {
    local(Local::Reset)
}

pub(in crate::resp) fn quit(_: &Args<'_>) -> Read {
    local(Local::Quit)
}

/// A container without a subcommand: the arity of the container refuses it before this is reached.
pub(in crate::resp) fn container(_: &Args<'_>) -> Read {
    Err(Refusal::Syntax)
}
