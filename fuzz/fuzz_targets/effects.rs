//! Goal: no record makes the reader of its effects panic, and bytes that are read mean one thing:
//! the same effects are written as the same bytes.
//! Method: the input is a record. The reader is the database's own file, which no crate shows.

#![no_main]
// Only the reader and the writer of effects are called here.
#![allow(dead_code)]

use libfuzzer_sys::fuzz_target;

#[path = "../../actors/db/src/state/effect.rs"]
mod effect;

fuzz_target!(|record: &[u8]| {
    let read: Option<Vec<_>> = effect::effects(record).collect();
    let Some(effects) = read else { return };
    let mut written = Vec::new();
    for (index, effect) in effects.iter().enumerate() {
        effect.write(&mut written, index == 0);
    }
    // A record without effects is its schema's number alone, which no writer writes.
    assert!(written == record || effects.is_empty() && record == [effect::SCHEMA]);
});
