//! Outcomes, the values in them, and failures.

use planus::{Builder, Offset, UnionOffset};

use super::{
    source::{Fault, Source},
    table,
};
use crate::{
    Answer, Blob,
    envelope::{Code, End, Failure, Outcome, canonical},
};

pub(super) fn write_failure(failure: &Failure, to: &mut Builder) -> Offset<table::Failure> {
    let details = (!failure.details.is_empty()).then(|| {
        let details = failure.details.iter();
        let details: Vec<_> = details
            .map(|(name, value)| table::Detail::create(to, name.as_str(), value.as_str()))
            .collect();
        to.create_vector(details)
    });
    table::Failure::create(to, failure.code as u8, failure.message.as_str(), details)
}

pub(super) fn read_failure(
    failure: table::FailureRef<'_>,
    from: &mut Source<'_>,
) -> Result<Failure, Fault> {
    Ok(Failure {
        // A later server's code is none that can be acted on here.
        code: Code::from_number(failure.code()?).unwrap_or(Code::Internal),
        message: from.string(failure.message()?)?,
        details: from.list(failure.details()?, |from, detail| {
            let detail = detail?;
            Ok((from.string(detail.name()?)?, from.string(detail.value()?)?))
        })?,
    })
}

pub(super) fn write_outcome(outcome: &Outcome, to: &mut Builder) -> Offset<table::Outcome> {
    let (end, value, failure) = match &outcome.end {
        End::Ok(answer) => (0, Some(write_value(answer, to)), None),
        End::Failed(failure) => (1, None, Some(failure)),
        End::TimedOut(failure) => (2, None, Some(failure)),
        End::Cancelled(failure) => (3, None, Some(failure)),
    };
    let failure = failure.map(|failure| write_failure(failure, to));
    table::Outcome::create(to, end, value, failure, outcome.session_version, outcome.replayed)
}

pub(super) fn read_outcome(
    outcome: table::OutcomeRef<'_>,
    from: &mut Source<'_>,
) -> Result<Outcome, Fault> {
    let end = match (outcome.end()?, outcome.value()?, outcome.failure()?) {
        (0, Some(value), _) => End::Ok(read_value(value, canonical::DEPTH, from)?),
        (1, _, Some(failure)) => End::Failed(read_failure(failure, from)?),
        (2, _, Some(failure)) => End::TimedOut(read_failure(failure, from)?),
        (3, _, Some(failure)) => End::Cancelled(read_failure(failure, from)?),
        _ => return Err(Fault::Table),
    };
    let session_version = outcome.session_version()?;
    Ok(Outcome { end, session_version, replayed: outcome.replayed()? })
}

fn write_value(answer: &Answer, to: &mut Builder) -> UnionOffset<table::Value> {
    match answer {
        Answer::Ok => {
            let it = table::Done::create(to);
            table::Value::create_done(to, it)
        }
        Answer::Nil => {
            let it = table::Nil::create(to);
            table::Value::create_nil(to, it)
        }
        Answer::Int(number) => write_int(*number, to),
        Answer::Bulk(bytes) => write_bulk(bytes, to),
        Answer::List(items) | Answer::Set(items) => write_list(items, to),
        Answer::Page { next, keys } => {
            let keys: Vec<_> = keys.iter().map(|key| table::Bytes::create(to, &key[..])).collect();
            let it = table::Page::create(to, next.as_deref(), keys);
            table::Value::create_page(to, it)
        }
        Answer::Simple(word) => write_word(word, to),
        // No command inside an envelope answers with what follows; as in the canonical form.
        Answer::Error(refusal) => write_word(&refusal.to_string(), to),
        Answer::Text(text) => write_bulk(text, to),
        Answer::Map(pairs) => write_list(pairs.iter().flat_map(|(a, b)| [a, b]), to),
        Answer::Double(real) => write_bulk(real.0.to_string().as_bytes(), to),
        Answer::Bool(yes) => write_int(i64::from(*yes), to),
    }
}

fn write_int(number: i64, to: &mut Builder) -> UnionOffset<table::Value> {
    let it = table::Int::create(to, number);
    table::Value::create_int(to, it)
}

fn write_bulk(bytes: &[u8], to: &mut Builder) -> UnionOffset<table::Value> {
    let it = table::Bulk::create(to, bytes);
    table::Value::create_bulk(to, it)
}

fn write_word(word: &str, to: &mut Builder) -> UnionOffset<table::Value> {
    let it = table::Word::create(to, word);
    table::Value::create_word(to, it)
}

fn write_list<'a>(
    items: impl IntoIterator<Item = &'a Answer>,
    to: &mut Builder,
) -> UnionOffset<table::Value> {
    let mut offsets = Vec::new();
    for item in items {
        let value = write_value(item, to);
        offsets.push(table::Item::create(to, value));
    }
    let it = table::List::create(to, offsets);
    table::Value::create_list(to, it)
}

fn read_value(
    value: table::ValueRef<'_>,
    depth: usize,
    from: &mut Source<'_>,
) -> Result<Answer, Fault> {
    Ok(match value {
        table::ValueRef::Done(_) => Answer::Ok,
        table::ValueRef::Nil(_) => Answer::Nil,
        table::ValueRef::Int(it) => Answer::Int(it.value()?),
        table::ValueRef::Bulk(it) => {
            let bytes = from.bytes(it.bytes()?.unwrap_or_default())?;
            Answer::Bulk(Blob::from(bytes))
        }
        table::ValueRef::List(_) if depth == 0 => return Err(Fault::Table),
        table::ValueRef::List(it) => Answer::List(from.list(it.items()?, |from, item| {
            read_value(item?.value()?.ok_or(Fault::Table)?, depth - 1, from)
        })?),
        table::ValueRef::Page(it) => Answer::Page {
            next: it.next()?.map(|key| from.bytes(key)).transpose()?,
            keys: from
                .list(it.keys()?, |from, key| from.bytes(key?.bytes()?.unwrap_or_default()))?,
        },
        table::ValueRef::Word(it) => {
            let word = it.word()?.unwrap_or_default();
            let word = canonical::WORDS.into_iter().find(|known| *known == word);
            Answer::Simple(word.ok_or_else(|| {
                Failure::new(Code::UnknownCommand, "an answer with a word nobody knows")
            })?)
        }
    })
}
