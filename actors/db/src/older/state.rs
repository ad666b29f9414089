//! The store of release 0.0, as far as its journal needs it: what each effect does to the keys.

use std::collections::BTreeMap;

use orloj_net::{UnixMs, parse_i64, write_i64};

use super::effect::{Effect, effects};

/// What one key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) value: Vec<u8>,
    pub(crate) deadline: Option<UnixMs>,
}

/// All keys, dead ones included, and the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    keys: BTreeMap<Vec<u8>, Entry>,
    clock: UnixMs,
}

impl State {
    /// No key, and no time.
    pub(crate) fn new() -> State {
        State { keys: BTreeMap::new(), clock: UnixMs(0) }
    }

    /// Does again what a record says; false if it makes no sense.
    pub(crate) fn replay(&mut self, record: &[u8]) -> bool {
        effects(record).all(|effect| effect.is_some_and(|effect| self.apply(effect)))
    }

    fn apply(&mut self, effect: Effect<'_>) -> bool {
        match effect {
            Effect::Put { key, value, deadline } => {
                self.put(key, Entry { value: value.to_vec(), deadline });
            }
            Effect::Remove { key } => drop(self.keys.remove(key)),
            Effect::Append { key, value } => match self.live(key) {
                Some(entry) => entry.value.extend_from_slice(value),
                None => self.put(key, Entry { value: value.to_vec(), deadline: None }),
            },
            Effect::Add { key, by } => return self.add(key, by).is_some(),
            Effect::Deadline { key, deadline } => match self.live(key) {
                Some(entry) => entry.deadline = deadline,
                None => return false,
            },
            Effect::Clear => self.keys.clear(),
            Effect::Clock { now } => self.clock = self.clock.max(now),
        }
        true
    }

    fn put(&mut self, key: &[u8], entry: Entry) {
        match self.keys.get_mut(key) {
            Some(held) => *held = entry,
            None => drop(self.keys.insert(key.to_vec(), entry)),
        }
    }

    /// Adds to a key's number, a key that is not there being 0; `None` if it makes no sense.
    fn add(&mut self, key: &[u8], by: i64) -> Option<()> {
        let (number, deadline) = match self.live(key) {
            None => (0, None),
            Some(entry) => (parse_i64(&entry.value)?, entry.deadline),
        };
        let mut value = Vec::new();
        write_i64(&mut value, number.checked_add(by)?);
        self.put(key, Entry { value, deadline });
        Some(())
    }

    fn live(&mut self, key: &[u8]) -> Option<&mut Entry> {
        let clock = self.clock;
        self.keys.get_mut(key).filter(|entry| entry.lives(clock))
    }

    /// Keys with a deadline up to here are gone.
    pub(crate) fn clock(&self) -> UnixMs {
        self.clock
    }

    /// Forgets the keys that are gone, and says how many they were.
    pub(crate) fn sweep(&mut self) -> u64 {
        let (before, clock) = (self.keys.len(), self.clock);
        self.keys.retain(|_, entry| entry.lives(clock));
        (before - self.keys.len()) as u64
    }

    /// What there is, in the order of the keys.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&[u8], &Entry)> {
        self.keys.iter().map(|(key, entry)| (&key[..], entry))
    }
}

impl Entry {
    fn lives(&self, clock: UnixMs) -> bool {
        self.deadline.is_none_or(|deadline| deadline > clock)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::effect::tests::record, *};

    const K: &[u8] = b"k";

    fn replayed(effects: &[Effect<'_>]) -> Option<State> {
        let mut state = State::new();
        state.replay(&record(effects)).then_some(state)
    }

    fn held(effects: &[Effect<'_>]) -> Option<(Vec<u8>, Option<u64>)> {
        let mut state = replayed(effects).expect("it makes sense");
        state.sweep();
        let mut held = state.entries().map(|(_, entry)| entry);
        held.next().map(|entry| (entry.value.clone(), entry.deadline.map(|at| at.0)))
    }

    #[test]
    fn effects_do_what_they_did() {
        let value = |bytes: &[u8], deadline| Some((bytes.to_vec(), deadline));
        let put = |value, deadline: Option<u64>| {
            let deadline = deadline.map(UnixMs);
            Effect::Put { key: K, value, deadline }
        };
        let deadline = |at: Option<u64>| Effect::Deadline { key: K, deadline: at.map(UnixMs) };
        let append = |value| Effect::Append { key: K, value };
        let add = |by| Effect::Add { key: K, by };
        let clock = |now| Effect::Clock { now: UnixMs(now) };
        assert_eq!(held(&[put(b"1", Some(9)), put(b"2", None)]), value(b"2", None));
        assert_eq!(held(&[put(b"1", None), Effect::Remove { key: K }]), None);
        assert_eq!(held(&[put(b"1", None), Effect::Clear]), None);
        assert_eq!(held(&[append(b"ab"), append(b"c")]), value(b"abc", None));
        assert_eq!(held(&[put(b"4", Some(9)), add(-5)]), value(b"-1", Some(9)));
        assert_eq!(held(&[add(5)]), value(b"5", None));
        // What lengthens a value keeps its deadline, and what is dead is not there.
        assert_eq!(held(&[put(b"a", Some(9)), append(b"b")]), value(b"ab", Some(9)));
        assert_eq!(held(&[put(b"a", Some(9)), clock(9), append(b"b")]), value(b"b", None));
        assert_eq!(held(&[put(b"7", Some(9)), clock(9), add(1)]), value(b"1", None));
        assert_eq!(held(&[put(b"a", Some(9)), clock(8)]), value(b"a", Some(9)));
        assert_eq!(held(&[put(b"a", Some(9)), clock(9)]), None);
        assert_eq!(held(&[clock(9), clock(3), put(b"a", Some(7))]), None);
        assert_eq!(held(&[put(b"a", None), deadline(Some(9))]), value(b"a", Some(9)));
        assert_eq!(held(&[put(b"a", Some(9)), deadline(None), clock(9)]), value(b"a", None));
        for senseless in [
            &[deadline(Some(9))][..],
            &[put(b"a", Some(9)), clock(9), deadline(None)],
            &[put(b"a", None), add(1)],
            &[add(i64::MAX), add(1)],
        ] {
            assert_eq!(replayed(senseless), None, "{senseless:?}");
        }
    }
}
