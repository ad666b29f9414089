//! The one table of commands: what is parsed, what COMMAND reports and what is documented.

mod rows;

pub use rows::COMMANDS;

use super::request::{Args, Request};
use crate::words::Refusal;

/// One command, or one subcommand.
#[derive(Debug)]
pub struct Spec {
    /// Its name, lower case: of a subcommand, the second word alone.
    pub name: &'static str,
    /// Its name as errors spell it: `get`, `client|setinfo`.
    pub full: &'static str,
    /// How many arguments it takes, names included; if negative, at least so many.
    pub arity: i8,
    /// Redis's flags.
    pub flags: &'static [&'static str],
    /// Place of the first key, 0 if it has none.
    pub first_key: i8,
    /// Place of the last key, counted from the end if negative.
    pub last_key: i8,
    /// From one key to the next.
    pub step: i8,
    /// The chapter it is documented in.
    pub group: &'static str,
    /// The Redis version that introduced it.
    pub since: &'static str,
    /// One line on what it does.
    pub summary: &'static str,
    /// Its arguments as documentation shows them.
    pub usage: &'static str,
    /// The subcommands, if it is a container.
    pub subs: &'static [Spec],
    pub(super) read: fn(&Args<'_>) -> Result<Request, Refusal>,
}

impl Spec {
    /// Whether the command takes `len` arguments, names included.
    #[inline]
    pub fn accepts(&self, len: usize) -> bool {
        let least = usize::from(self.arity.unsigned_abs());
        if self.arity < 0 { len >= least } else { len == least }
    }

    /// The subcommand that `args` name, if this is a container and they name one.
    #[inline]
    pub(super) fn sub(&self, args: &Args<'_>) -> Result<Option<&'static Spec>, Refusal> {
        if self.subs.is_empty() || args.len() < 2 {
            return Ok(None);
        }
        let name = args.get(1);
        let Some(sub) = self.subs.iter().find(|sub| name.eq_ignore_ascii_case(sub.name.as_bytes()))
        else {
            return Err(Refusal::unknown_subcommand(self.full, name));
        };
        if sub.accepts(args.len()) {
            Ok(Some(sub))
        } else {
            Err(Refusal::WrongArity { command: sub.full })
        }
    }

    /// The places of the keys in a command line of `len` arguments, ascending.
    pub fn key_places(&self, len: usize) -> impl Iterator<Item = usize> + use<> {
        let first = usize::try_from(self.first_key).unwrap_or(0);
        let last = match usize::try_from(self.last_key) {
            Ok(last) => last,
            Err(_) => len.saturating_sub(usize::from(self.last_key.unsigned_abs())),
        };
        let none = first == 0 || last >= len;
        let range = if none { 1..1 } else { first..last + 1 };
        range.step_by(usize::try_from(self.step).unwrap_or(1).max(1))
    }
}

/// Finds a command by its name, in any case.
#[inline]
pub fn find(name: &[u8]) -> Option<&'static Spec> {
    let folded = fold(name);
    let mut slot = slot_of(folded);
    loop {
        let at = usize::from(INDEX[slot]);
        if at >= COMMANDS.len() {
            return None;
        }
        // Names of up to eight letters are known by their fold and length alone.
        if KEYS[at] == (folded, name.len())
            && (name.len() <= 8 || COMMANDS[at].name.as_bytes().eq_ignore_ascii_case(name))
        {
            return Some(&COMMANDS[at]);
        }
        slot = (slot + 1) % INDEX.len();
    }
}

const EMPTY: u8 = u8::MAX;

/// A name as one number, letters in lower case. Different names of one length up to eight have
/// different numbers; of a longer one the first and the last letters count.
///
/// Setting bit 5 also merges bytes that are not letters, but every name in the table is letters
/// only, and only a letter in either case becomes a lower-case letter by it.
#[inline]
const fn fold(name: &[u8]) -> u64 {
    let folded = match name {
        [] => 0,
        // Both ends as four bytes each; in between they overlap.
        [a, b, c, d, ..] if let [.., e, f, g, h] = name => {
            u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h])
        }
        _ => {
            let (first, middle, last) = (name[0], name[name.len() / 2], name[name.len() - 1]);
            u64::from_le_bytes([first, middle, last, 0, 0, 0, 0, 0])
        }
    };
    folded | 0x2020_2020_2020_2020
}

/// Where the search for a folded name begins in [`INDEX`].
#[inline]
const fn slot_of(folded: u64) -> usize {
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize
}

/// The folded name and the length of every command, in the order of the table.
static KEYS: [(u64, usize); COMMANDS.len()] = {
    let mut keys = [(0, 0); COMMANDS.len()];
    let mut i = 0;
    while i < COMMANDS.len() {
        let name = COMMANDS[i].name.as_bytes();
        keys[i] = (fold(name), name.len());
        i += 1;
    }
    keys
};

/// Open addressing over the table: the place of a command at the slot of its name or soon after.
static INDEX: [u8; 256] = {
    assert!(COMMANDS.len() < 128, "the index must stay at most half full");
    let mut index = [EMPTY; 256];
    let mut i = 0;
    while i < COMMANDS.len() {
        let mut slot = slot_of(KEYS[i].0);
        while index[slot] != EMPTY {
            slot = (slot + 1) % index.len();
        }
        index[slot] = i as u8;
        i += 1;
    }
    index
};

/// A row of the table, to be refined.
const fn row(
    name: &'static str,
    arity: i8,
    flags: &'static [&'static str],
    keys: [i8; 3],
    read: fn(&Args<'_>) -> Result<Request, Refusal>,
) -> Spec {
    Spec {
        name,
        full: name,
        arity,
        flags,
        first_key: keys[0],
        last_key: keys[1],
        step: keys[2],
        group: "string",
        since: "1.0.0",
        summary: "",
        usage: "",
        subs: &[],
        read,
    }
}

/// A row for a subcommand.
const fn sub(
    name: &'static str,
    full: &'static str,
    arity: i8,
    read: fn(&Args<'_>) -> Result<Request, Refusal>,
) -> Spec {
    Spec { full, ..row(name, arity, rows::CALM, rows::NO_KEYS, read) }
}

impl Spec {
    const fn doc(
        self,
        group: &'static str,
        since: &'static str,
        usage: &'static str,
        summary: &'static str,
    ) -> Spec {
        Spec { group, since, usage, summary, ..self }
    }

    const fn with(self, subs: &'static [Spec]) -> Spec {
        Spec { subs, ..self }
    }
}

#[cfg(test)]
mod tests;
