//! SCAN's numbers.
//!
//! Redis clients want a cursor to be an unsigned integer, and some keep it in a double. The store
//! continues a scan after a key, because a position that is a key survives every insertion and
//! removal. [`Cursors`] stands between: it remembers, for each number handed out, the key it means.
//!
//! A number is the key's hash, so it does not depend on who asked or when: one table may serve one
//! connection or a whole node, and a node-wide one lets a client that spreads a scan over a pool of
//! connections go on anywhere. The table is bounded and forgets the oldest numbers first; a number
//! it does not know is refused, never guessed, because a guess could skip keys.
//!
//! Invariant: a number resolves to the key it was handed out for, or not at all.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::resp::{Request, write_page};
use crate::words::{Command, Key, Refusal};

/// Numbers stay below this, so that a double holds them exactly.
const CURSOR_MAX: u64 = 1 << 48;

/// Which key each cursor means.
#[derive(Debug)]
pub struct Cursors {
    keys: BTreeMap<u64, Key>,
    /// The cursors in `keys`, oldest first.
    order: VecDeque<u64>,
    /// Bytes of all keys in `keys`.
    bytes: usize,
    entries_max: usize,
    bytes_max: usize,
}

impl Default for Cursors {
    /// A thousand open scans, a mebibyte of keys.
    fn default() -> Cursors {
        Cursors::new(1024, 1 << 20)
    }
}

impl Cursors {
    /// A table of at most `entries_max` cursors whose keys take at most `bytes_max` bytes. The
    /// newest cursor is kept even if its key alone is larger.
    pub fn new(entries_max: usize, bytes_max: usize) -> Cursors {
        let entries_max = entries_max.max(1);
        Cursors { keys: BTreeMap::new(), order: VecDeque::new(), bytes: 0, entries_max, bytes_max }
    }

    /// The cursor that continues after `key`: from 1 to 2^48.
    pub fn park(&mut self, key: &Key) -> u64 {
        let mut cursor = hash(key) % CURSOR_MAX + 1;
        // Different keys with one hash take the numbers that follow.
        while let Some(known) = self.keys.get(&cursor) {
            if known == key {
                return cursor;
            }
            cursor = cursor % CURSOR_MAX + 1;
        }
        self.keys.insert(cursor, Bytes::copy_from_slice(key));
        self.order.push_back(cursor);
        self.bytes += key.len();
        while self.order.len() > self.entries_max
            || (self.bytes > self.bytes_max && self.order.len() > 1)
        {
            let oldest = self.order.pop_front().and_then(|oldest| self.keys.remove(&oldest));
            self.bytes -= oldest.map_or(0, |key| key.len());
        }
        assert_eq!(self.keys.len(), self.order.len(), "every cursor has one key");
        cursor
    }

    /// The key a cursor continues after, or `None` for 0, the beginning.
    ///
    /// # Errors
    ///
    /// [`Refusal::InvalidCursor`] for a number that was not handed out, or too long ago.
    pub fn resume(&self, cursor: u64) -> Result<Option<Key>, Refusal> {
        match cursor {
            0 => Ok(None),
            _ => self.keys.get(&cursor).cloned().map(Some).ok_or(Refusal::InvalidCursor),
        }
    }

    /// The command a request asks for, once its cursor is resolved; anything else as it is.
    ///
    /// # Errors
    ///
    /// As [`resume`](Cursors::resume).
    pub fn resolve(&self, request: Request) -> Result<Request, Refusal> {
        match request {
            Request::Scan { cursor, pattern, count } => {
                let after = self.resume(cursor)?;
                Ok(Request::Data(Command::Scan { after, pattern, count }))
            }
            other => Ok(other),
        }
    }

    /// Appends a page as SCAN's answer to `out`, with the cursor that continues it.
    pub fn encode_page(&mut self, next: Option<&Key>, keys: &[Key], out: &mut Vec<u8>) {
        let cursor = next.map_or(0, |next| self.park(next));
        write_page(out, cursor, keys);
    }
}

/// FNV-1a, 64 bits, folded so that the low bits depend on all: fixed by its definition.
fn hash(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests;
