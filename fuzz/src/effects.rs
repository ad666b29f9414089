//! Goal: no record of schema 1 makes its reader or the replay of its effects panic, bytes that are
//! read mean one thing, and a record does what its effects do one by one.
//! Method: the input is a record. Reader and replay are the database's own files, which no crate
//! shows; what they read is written here, as the release did that wrote such records.

// Not all of those files is called here.
#![allow(dead_code)]

#[path = "../../actors/db/src/older/effect.rs"]
mod effect;
#[path = "../../actors/db/src/older/state.rs"]
mod state;

use effect::{Effect, SCHEMA, effects};
use state::State;

/// Judges one input.
///
/// # Panics
/// If the goal is missed.
pub fn judge(record: &[u8]) {
    let mut whole = State::new();
    let makes_sense = whole.replay(record);
    let read: Option<Vec<Effect<'_>>> = effects(record).collect();
    let Some(effects) = read else {
        assert!(!makes_sense, "it cannot be read");
        return;
    };
    let mut written = vec![SCHEMA];
    effects.iter().for_each(|effect| write(effect, &mut written));
    assert!(written == record, "{effects:?}");

    let mut single = State::new();
    let all_do = effects.iter().all(|effect| {
        let mut one = vec![SCHEMA];
        write(effect, &mut one);
        single.replay(&one)
    });
    assert!(all_do == makes_sense && single == whole, "{effects:?}");
    let before = whole.entries().count() as u64;
    let dead = whole.sweep();
    assert_eq!(before, dead + whole.entries().count() as u64);
    assert_eq!(whole.sweep(), 0);
}

fn write(effect: &Effect<'_>, record: &mut Vec<u8>) {
    let (tag, strings, number): (u8, &[&[u8]], Option<u64>) = match effect {
        Effect::Put { key, value, deadline: None } => (1, &[key, value], None),
        Effect::Put { key, value, deadline: Some(at) } => (2, &[key, value], Some(at.0)),
        Effect::Remove { key } => (3, &[key], None),
        Effect::Append { key, value } => (4, &[key, value], None),
        Effect::Add { key, by } => (5, &[key], Some(*by as u64)),
        Effect::Deadline { key, deadline: Some(at) } => (6, &[key], Some(at.0)),
        Effect::Clear => (7, &[], None),
        Effect::Clock { now } => (8, &[], Some(now.0)),
        Effect::Deadline { key, deadline: None } => (9, &[key], None),
    };
    record.push(tag);
    for string in strings {
        record.extend_from_slice(&(string.len() as u32).to_le_bytes());
        record.extend_from_slice(string);
    }
    record.extend(number.iter().flat_map(|number| number.to_le_bytes()));
}
