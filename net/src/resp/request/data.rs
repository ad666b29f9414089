//! Reading the commands that reach the store. Arity has been checked against the table.

use core::time::Duration;

use bytes::Bytes;

use super::{Args, Local, Request};
use crate::words::{
    Command, Condition, Deadline, ExpireCondition, Expiry, Key, Refusal, TimeForm, UnixMs,
    parse_i64,
};

type Read = Result<Request, Refusal>;

/// Milliseconds a relative deadline may be away. With the clock of any year before 2109 added, the
/// sum still fits 64 signed bits, which is where Redis stops.
const RELATIVE_MAX: i64 = i64::MAX - (1 << 42);

/// Keys a SCAN without COUNT examines.
const SCAN_COUNT: u32 = 10;

#[inline]
fn data(command: Command) -> Read {
    Ok(Request::Data(command))
}

fn keys(args: &Args<'_>) -> Result<Vec<Key>, Refusal> {
    // A plain loop: collecting into a Result would grow the vector step by step.
    let mut keys = Vec::with_capacity(args.len() - 1);
    for i in 1..args.len() {
        keys.push(args.key(i)?);
    }
    Ok(keys)
}

pub(in crate::resp) fn get(args: &Args<'_>) -> Read {
    data(Command::Get { key: args.key(1)? })
}

pub(in crate::resp) fn getdel(args: &Args<'_>) -> Read {
    data(Command::GetDel { key: args.key(1)? })
}

pub(in crate::resp) fn strlen(args: &Args<'_>) -> Read {
    data(Command::StrLen { key: args.key(1)? })
}

pub(in crate::resp) fn append(args: &Args<'_>) -> Read {
    data(Command::Append { key: args.key(1)?, value: args.bytes(2) })
}

pub(in crate::resp) fn kind(args: &Args<'_>) -> Read {
    data(Command::Type { key: args.key(1)? })
}

pub(in crate::resp) fn persist(args: &Args<'_>) -> Read {
    data(Command::Persist { key: args.key(1)? })
}

pub(in crate::resp) fn mget(args: &Args<'_>) -> Read {
    data(Command::MGet { keys: keys(args)? })
}

pub(in crate::resp) fn del(args: &Args<'_>) -> Read {
    data(Command::Del { keys: keys(args)? })
}

pub(in crate::resp) fn exists(args: &Args<'_>) -> Read {
    data(Command::Exists { keys: keys(args)? })
}

pub(in crate::resp) fn mset(args: &Args<'_>) -> Read {
    if args.len().is_multiple_of(2) {
        return Err(Refusal::WrongArity { command: "mset" });
    }
    let mut pairs = Vec::with_capacity(args.len() / 2);
    for i in (1..args.len()).step_by(2) {
        pairs.push((args.key(i)?, args.bytes(i + 1)));
    }
    data(Command::MSet { pairs })
}

pub(in crate::resp) fn dbsize(_: &Args<'_>) -> Read {
    data(Command::DbSize)
}

/// FLUSHALL and FLUSHDB: SYNC and ASYNC say how Redis frees memory, and mean the same here.
pub(in crate::resp) fn flush(args: &Args<'_>) -> Read {
    match args.len() {
        1 => data(Command::FlushAll),
        2 if args.is(1, "sync") || args.is(1, "async") => data(Command::FlushAll),
        _ => Err(Refusal::Syntax),
    }
}

pub(in crate::resp) fn incr(args: &Args<'_>) -> Read {
    data(Command::Incr { key: args.key(1)?, by: 1 })
}

pub(in crate::resp) fn decr(args: &Args<'_>) -> Read {
    data(Command::Incr { key: args.key(1)?, by: -1 })
}

pub(in crate::resp) fn incrby(args: &Args<'_>) -> Read {
    data(Command::Incr { key: args.key(1)?, by: args.integer(2)? })
}

pub(in crate::resp) fn decrby(args: &Args<'_>) -> Read {
    let Some(by) = args.integer(2)?.checked_neg() else {
        return Err(Refusal::Other { text: "decrement would overflow" });
    };
    data(Command::Incr { key: args.key(1)?, by })
}

/// SET key value [NX | XX] [GET] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL], in any order.
pub(in crate::resp) fn set(args: &Args<'_>) -> Read {
    let (key, value) = (args.key(1)?, args.bytes(2));
    let (mut condition, mut get) = (None, false);
    // Which of EX, PX, EXAT, PXAT, KEEPTTL was seen, and where: they exclude each other.
    let mut time: Option<(usize, usize)> = None;
    let mut i = 3;
    while i < args.len() {
        if args.is(i, "nx") && condition != Some(Condition::Present) {
            condition = Some(Condition::Absent);
        } else if args.is(i, "xx") && condition != Some(Condition::Absent) {
            condition = Some(Condition::Present);
        } else if args.is(i, "get") {
            get = true;
        } else {
            let option = ["ex", "px", "exat", "pxat", "keepttl"]
                .iter()
                .position(|name| args.is(i, name))
                .ok_or(Refusal::Syntax)?;
            if time.is_some_and(|(seen, _)| seen != option) {
                return Err(Refusal::Syntax);
            }
            if option < 4 {
                i += 1;
                if i == args.len() {
                    return Err(Refusal::Syntax);
                }
            }
            time = Some((option, i));
        }
        i += 1;
    }
    // The number is looked at when all options make sense, as Redis does.
    let expiry = match time {
        None => Expiry::None,
        Some((4, _)) => Expiry::Keep,
        Some((option, i)) => {
            let (seconds, absolute) = (option % 2 == 0, option >= 2);
            Expiry::By(positive_deadline(args, i, seconds, absolute, "set")?)
        }
    };
    data(Command::Set { key, value, expiry, condition, get })
}

pub(in crate::resp) fn getset(args: &Args<'_>) -> Read {
    let (key, value) = (args.key(1)?, args.bytes(2));
    data(Command::Set { key, value, expiry: Expiry::None, condition: None, get: true })
}

pub(in crate::resp) fn setex(args: &Args<'_>) -> Read {
    set_for(args, true, "setex")
}

pub(in crate::resp) fn psetex(args: &Args<'_>) -> Read {
    set_for(args, false, "psetex")
}

fn set_for(args: &Args<'_>, seconds: bool, command: &'static str) -> Read {
    let deadline = positive_deadline(args, 2, seconds, false, command)?;
    let (key, value) = (args.key(1)?, args.bytes(3));
    data(Command::Set { key, value, expiry: Expiry::By(deadline), condition: None, get: false })
}

/// Argument `i` as a deadline that a value can be stored with: positive and within the clock.
fn positive_deadline(
    args: &Args<'_>,
    i: usize,
    seconds: bool,
    absolute: bool,
    command: &'static str,
) -> Result<Deadline, Refusal> {
    match args.integer(i)? {
        ..=0 => Err(Refusal::InvalidExpire { command }),
        time => deadline(time, seconds, absolute, command),
    }
}

/// The deadline `time` means, one before the epoch or before now being simply past.
fn deadline(
    time: i64,
    seconds: bool,
    absolute: bool,
    command: &'static str,
) -> Result<Deadline, Refusal> {
    let ms = if seconds { time.checked_mul(1000) } else { Some(time) };
    match ms {
        Some(ms) if absolute => Ok(Deadline::At(UnixMs(ms.max(0).unsigned_abs()))),
        Some(ms @ 0..=RELATIVE_MAX) => Ok(Deadline::In(Duration::from_millis(ms.unsigned_abs()))),
        Some(ms) if ms < 0 => Ok(Deadline::At(UnixMs(0))),
        _ => Err(Refusal::InvalidExpire { command }),
    }
}

pub(in crate::resp) fn expire(args: &Args<'_>) -> Read {
    expire_in(args, true, false, "expire")
}

pub(in crate::resp) fn pexpire(args: &Args<'_>) -> Read {
    expire_in(args, false, false, "pexpire")
}

pub(in crate::resp) fn expireat(args: &Args<'_>) -> Read {
    expire_in(args, true, true, "expireat")
}

pub(in crate::resp) fn pexpireat(args: &Args<'_>) -> Read {
    expire_in(args, false, true, "pexpireat")
}

/// EXPIRE key time [NX | XX | GT | LT], XX going with GT or LT.
fn expire_in(args: &Args<'_>, seconds: bool, absolute: bool, command: &'static str) -> Read {
    let [mut nx, mut xx, mut gt, mut lt] = [false; 4];
    for i in 3..args.len() {
        match () {
            () if args.is(i, "nx") => nx = true,
            () if args.is(i, "xx") => xx = true,
            () if args.is(i, "gt") => gt = true,
            () if args.is(i, "lt") => lt = true,
            () => return Err(Refusal::about("Unsupported option ", args.get(i), "")),
        }
    }
    let condition = match (nx, xx, gt, lt) {
        (true, xx, gt, lt) if xx || gt || lt => {
            let text = "NX and XX, GT or LT options at the same time are not compatible";
            return Err(Refusal::Other { text });
        }
        (_, _, true, true) => {
            let text = "GT and LT options at the same time are not compatible";
            return Err(Refusal::Other { text });
        }
        (true, ..) => Some(ExpireCondition::Absent),
        // A key without a deadline counts as expiring at the end of time, so GT implies XX.
        (_, _, true, _) => Some(ExpireCondition::Later),
        (_, true, _, true) => Some(ExpireCondition::PresentEarlier),
        (_, _, _, true) => Some(ExpireCondition::Earlier),
        (_, true, ..) => Some(ExpireCondition::Present),
        _ => None,
    };
    let deadline = deadline(args.integer(2)?, seconds, absolute, command)?;
    data(Command::Expire { key: args.key(1)?, deadline, condition })
}

pub(in crate::resp) fn ttl(args: &Args<'_>) -> Read {
    data(Command::Ttl { key: args.key(1)?, form: TimeForm::SecondsLeft })
}

pub(in crate::resp) fn pttl(args: &Args<'_>) -> Read {
    data(Command::Ttl { key: args.key(1)?, form: TimeForm::MillisLeft })
}

pub(in crate::resp) fn expiretime(args: &Args<'_>) -> Read {
    data(Command::Ttl { key: args.key(1)?, form: TimeForm::UnixSeconds })
}

pub(in crate::resp) fn pexpiretime(args: &Args<'_>) -> Read {
    data(Command::Ttl { key: args.key(1)?, form: TimeForm::UnixMillis })
}

/// SCAN cursor [MATCH glob] [COUNT n] [TYPE t].
pub(in crate::resp) fn scan(args: &Args<'_>) -> Read {
    let cursor = std::str::from_utf8(args.get(1)).ok().and_then(|text| text.parse().ok());
    let cursor = cursor.ok_or(Refusal::InvalidCursor)?;
    let (mut pattern, mut count, mut strings) = (None::<Bytes>, SCAN_COUNT, true);
    let mut i = 2;
    while i < args.len() {
        if i + 1 == args.len() {
            return Err(Refusal::Syntax);
        } else if args.is(i, "match") {
            pattern = Some(args.bytes(i + 1)).filter(|glob| **glob != b"*"[..]);
        } else if args.is(i, "count") {
            match parse_i64(args.get(i + 1)).ok_or(Refusal::NotAnInteger)? {
                ..=0 => return Err(Refusal::Syntax),
                n => count = u32::try_from(n).unwrap_or(u32::MAX),
            }
        } else if args.is(i, "type") {
            strings = args.is(i + 1, "string");
        } else {
            return Err(Refusal::Syntax);
        }
        i += 2;
    }
    // Every key holds a string, so a walk over any other type is over before it begins.
    if !strings {
        return Ok(Request::Local(Local::NoKeys));
    }
    Ok(Request::Scan { cursor, pattern, count })
}
