//! Requests: envelopes and the commands in them.

use core::time::Duration;

use bytes::Bytes;
use planus::{Builder, Offset, UnionOffset};

use super::{
    hello::write_safety,
    source::{Fault, Source},
    table,
};
use crate::{
    Command, Condition, Deadline, ExpireCondition, Expiry, Key, TimeForm, UnixMs,
    envelope::{Call, DEPENDS_MAX, Envelope, Failure, Safety},
};

const CONDITIONS: [Condition; 2] = [Condition::Absent, Condition::Present];
const EXPIRE_CONDITIONS: [ExpireCondition; 5] = [
    ExpireCondition::Absent,
    ExpireCondition::Present,
    ExpireCondition::Later,
    ExpireCondition::Earlier,
    ExpireCondition::PresentEarlier,
];
const TIME_FORMS: [TimeForm; 4] =
    [TimeForm::SecondsLeft, TimeForm::MillisLeft, TimeForm::UnixSeconds, TimeForm::UnixMillis];

pub(super) fn write_request<'a>(envelope: &Envelope, to: &'a mut Builder) -> &'a [u8] {
    let depends_on = write_names(&envelope.depends_on, to);
    let call = write_call(&envelope.call, to);
    let root = table::Request::create(
        to,
        envelope.id.as_deref(),
        envelope.session.as_deref(),
        depends_on,
        envelope.if_session_version,
        envelope.idempotency_key.as_deref(),
        envelope.timeout_ms,
        write_safety(envelope.durability),
        call,
    );
    to.finish(root, None)
}

pub(super) fn read_request(from: &mut Source<'_>) -> Result<Envelope, Fault> {
    let root: table::RequestRef<'_> = from.root()?;
    let depends_on = root.depends_on()?;
    if depends_on.as_ref().is_some_and(|on| on.len() > DEPENDS_MAX) {
        return Err(Failure::invalid("depends_on", "names more than 32 commands").into());
    }
    let call = root.call()?.ok_or_else(|| Failure::invalid("call", "is required"))?;
    Ok(Envelope {
        id: from.name(root.id()?)?,
        session: from.name(root.session()?)?,
        depends_on: from.names(depends_on)?,
        if_session_version: root.if_session_version()?,
        idempotency_key: from.name(root.idempotency_key()?)?,
        timeout_ms: root.timeout_ms()?,
        durability: one_of("durability", &Safety::ALL, root.durability()?)?,
        call: read_call(call, from)?,
    })
}

/// Nothing if there are none: most commands depend on nothing.
pub(super) fn write_names(
    names: &[std::sync::Arc<str>],
    to: &mut Builder,
) -> Option<Offset<[Offset<str>]>> {
    if names.is_empty() {
        return None;
    }
    let names: Vec<Offset<str>> = names.iter().map(|name| to.create_string(&**name)).collect();
    Some(to.create_vector(names))
}

fn write_keys(keys: &[Key], to: &mut Builder) -> Offset<[Offset<table::Bytes>]> {
    let keys: Vec<_> = keys.iter().map(|key| table::Bytes::create(to, &key[..])).collect();
    to.create_vector(keys)
}

fn write_call(call: &Call, to: &mut Builder) -> UnionOffset<table::Call> {
    type Union = table::Call;
    let command = match call {
        Call::Data(command) => command,
        Call::CreateSession => {
            let it = table::CreateSession::create(to);
            return Union::create_create_session(to, it);
        }
        Call::LoadSession => {
            let it = table::LoadSession::create(to);
            return Union::create_load_session(to, it);
        }
        Call::DeleteSession => {
            let it = table::DeleteSession::create(to);
            return Union::create_delete_session(to, it);
        }
    };
    match command {
        Command::Get { key } => {
            let it = table::Get::create(to, &key[..]);
            Union::create_get(to, it)
        }
        Command::Set { key, value, expiry, condition, get } => {
            let (in_ms, at) = match expiry {
                Expiry::By(deadline) => write_deadline(*deadline),
                Expiry::None | Expiry::Keep => (None, None),
            };
            let (keep, condition) = (*expiry == Expiry::Keep, place(&CONDITIONS, *condition));
            let it = table::Set::create(to, &key[..], &value[..], in_ms, at, keep, condition, *get);
            Union::create_set(to, it)
        }
        Command::GetDel { key } => {
            let it = table::GetDel::create(to, &key[..]);
            Union::create_get_del(to, it)
        }
        Command::Append { key, value } => {
            let it = table::Append::create(to, &key[..], &value[..]);
            Union::create_append(to, it)
        }
        Command::StrLen { key } => {
            let it = table::StrLen::create(to, &key[..]);
            Union::create_str_len(to, it)
        }
        Command::Incr { key, by } => {
            let it = table::Incr::create(to, &key[..], *by);
            Union::create_incr(to, it)
        }
        Command::MGet { keys } => {
            let keys = write_keys(keys, to);
            let it = table::MGet::create(to, keys);
            Union::create_m_get(to, it)
        }
        Command::MSet { pairs } => {
            let pairs: Vec<_> = pairs
                .iter()
                .map(|(key, value)| table::Pair::create(to, &key[..], &value[..]))
                .collect();
            let it = table::MSet::create(to, pairs);
            Union::create_m_set(to, it)
        }
        Command::Del { keys } => {
            let keys = write_keys(keys, to);
            let it = table::Del::create(to, keys);
            Union::create_del(to, it)
        }
        Command::Exists { keys } => {
            let keys = write_keys(keys, to);
            let it = table::Exists::create(to, keys);
            Union::create_exists(to, it)
        }
        Command::Type { key } => {
            let it = table::Type::create(to, &key[..]);
            Union::create_type(to, it)
        }
        Command::Ttl { key, form } => {
            let it = table::Ttl::create(to, &key[..], place(&TIME_FORMS, Some(*form)) - 1);
            Union::create_ttl(to, it)
        }
        Command::Expire { key, deadline, condition } => {
            let (in_ms, at) = write_deadline(*deadline);
            let condition = place(&EXPIRE_CONDITIONS, *condition);
            let it = table::Expire::create(to, &key[..], in_ms, at, condition);
            Union::create_expire(to, it)
        }
        Command::Persist { key } => {
            let it = table::Persist::create(to, &key[..]);
            Union::create_persist(to, it)
        }
        Command::Scan { after, pattern, count } => {
            let it = table::Scan::create(to, after.as_deref(), pattern.as_deref(), *count);
            Union::create_scan(to, it)
        }
        Command::DbSize => {
            let it = table::DbSize::create(to);
            Union::create_db_size(to, it)
        }
        Command::FlushAll => {
            let it = table::FlushAll::create(to);
            Union::create_flush_all(to, it)
        }
    }
}

fn read_call(call: table::CallRef<'_>, from: &mut Source<'_>) -> Result<Call, Fault> {
    use table::CallRef as Union;
    let command = match call {
        Union::Get(it) => Command::Get { key: from.field("key", it.key()?)? },
        Union::Set(it) => Command::Set {
            key: from.field("key", it.key()?)?,
            value: from.field("value", it.value()?)?,
            expiry: match (read_deadline(it.in_ms()?, it.at_unix_ms()?)?, it.keep_deadline()?) {
                (None, false) => Expiry::None,
                (None, true) => Expiry::Keep,
                (Some(deadline), false) => Expiry::By(deadline),
                (Some(_), true) => {
                    let rule = "cannot be with a new deadline";
                    return Err(Failure::invalid("keep_deadline", rule).into());
                }
            },
            condition: one_of("condition", &CONDITIONS, it.condition()?)?,
            get: it.get()?,
        },
        Union::GetDel(it) => Command::GetDel { key: from.field("key", it.key()?)? },
        Union::Append(it) => Command::Append {
            key: from.field("key", it.key()?)?,
            value: from.field("value", it.value()?)?,
        },
        Union::StrLen(it) => Command::StrLen { key: from.field("key", it.key()?)? },
        Union::Incr(it) => Command::Incr { key: from.field("key", it.key()?)?, by: it.by()? },
        Union::MGet(it) => Command::MGet { keys: read_keys(it.keys()?, from)? },
        Union::MSet(it) => Command::MSet {
            pairs: from.list(it.pairs()?, |from, pair| {
                let pair = pair?;
                Ok((from.field("key", pair.key()?)?, from.field("value", pair.value()?)?))
            })?,
        },
        Union::Del(it) => Command::Del { keys: read_keys(it.keys()?, from)? },
        Union::Exists(it) => Command::Exists { keys: read_keys(it.keys()?, from)? },
        Union::Type(it) => Command::Type { key: from.field("key", it.key()?)? },
        Union::Ttl(it) => {
            let form = TIME_FORMS.get(usize::from(it.form()?)).copied();
            let form = form.ok_or_else(|| Failure::invalid("form", "is none that is known"))?;
            Command::Ttl { key: from.field("key", it.key()?)?, form }
        }
        Union::Expire(it) => {
            let deadline = read_deadline(it.in_ms()?, it.at_unix_ms()?)?;
            Command::Expire {
                key: from.field("key", it.key()?)?,
                deadline: deadline.ok_or_else(|| Failure::invalid("in_ms", "is required"))?,
                condition: one_of("condition", &EXPIRE_CONDITIONS, it.condition()?)?,
            }
        }
        Union::Persist(it) => Command::Persist { key: from.field("key", it.key()?)? },
        Union::Scan(it) => Command::Scan {
            after: it.after()?.map(|key| from.bytes(key)).transpose()?,
            pattern: it.pattern()?.map(|pattern| from.bytes(pattern)).transpose()?,
            count: it.count()?,
        },
        Union::DbSize(_) => Command::DbSize,
        Union::FlushAll(_) => Command::FlushAll,
        Union::CreateSession(_) => return Ok(Call::CreateSession),
        Union::LoadSession(_) => return Ok(Call::LoadSession),
        Union::DeleteSession(_) => return Ok(Call::DeleteSession),
    };
    Ok(Call::Data(command))
}

fn read_keys(
    keys: Option<planus::Vector<'_, planus::Result<table::BytesRef<'_>>>>,
    from: &mut Source<'_>,
) -> Result<Vec<Bytes>, Fault> {
    from.list(keys, |from, key| from.field("keys", key?.bytes()?))
}

fn write_deadline(deadline: Deadline) -> (Option<u64>, Option<u64>) {
    match deadline {
        Deadline::In(wait) => (Some(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)), None),
        Deadline::At(at) => (None, Some(at.0)),
    }
}

fn read_deadline(in_ms: Option<u64>, at: Option<u64>) -> Result<Option<Deadline>, Fault> {
    match (in_ms, at) {
        (None, None) => Ok(None),
        (Some(ms), None) => Ok(Some(Deadline::In(Duration::from_millis(ms)))),
        (None, Some(at)) => Ok(Some(Deadline::At(UnixMs(at)))),
        (Some(_), Some(_)) => Err(Failure::invalid("in_ms", "cannot be with at_unix_ms").into()),
    }
}

/// Its place among all, counted from 1; 0 is none.
fn place<T: PartialEq>(all: &[T], one: Option<T>) -> u8 {
    let place = one.and_then(|one| all.iter().position(|other| *other == one));
    place.map_or(0, |place| place as u8 + 1)
}

fn one_of<T: Copy>(field: &'static str, all: &[T], place: u8) -> Result<Option<T>, Fault> {
    match usize::from(place) {
        0 => Ok(None),
        place => match all.get(place - 1) {
            Some(one) => Ok(Some(*one)),
            None => Err(Failure::invalid(field, "is none that is known").into()),
        },
    }
}
