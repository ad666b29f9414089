//! Histories of an engine told in a few words, for the tests of the laws.

use std::time::Duration;

use super::{
    Begin, Change, Dump, Found, History, Listing, Look, Read, Span, Told, Version, Write, WriteId,
    judge,
};
use crate::{Durability, Ending, Moment};

const SPACE: u32 = 16;

#[derive(Clone, Debug)]
pub(super) struct Story {
    pub(super) history: History,
    /// The database's time, Unix ms.
    pub(super) now: u64,
    at: Moment,
}

pub(super) fn strict() -> Story {
    story(Durability::Strict)
}

pub(super) fn buffered(window_ms: u64) -> Story {
    story(Durability::Buffered { window: Duration::from_millis(window_ms) })
}

fn story(mode: Durability) -> Story {
    let begin = Begin::Opened { after: Ending::Stopped, died: Moment(0) };
    let history = History {
        mode,
        spans: vec![Span { begin, at: Moment(0), base: 0 }],
        writes: Vec::new(),
        reads: Vec::new(),
        listings: Vec::new(),
        wrong: Vec::new(),
        lost_snapshots: Vec::new(),
        caches: Vec::new(),
        failures: Vec::new(),
        dumps: Vec::new(),
    };
    Story { history, now: 0, at: Moment(1) }
}

/// A write that was asked for.
pub(super) struct Asked<'s>(&'s mut Story, WriteId);

impl Story {
    fn tick(&mut self) -> Moment {
        self.at = self.at.after(Duration::from_micros(1));
        self.at
    }

    pub(super) fn wait_ms(&mut self, ms: u64) {
        self.at = self.at.after(Duration::from_millis(ms));
    }

    fn asks(&mut self, changes: Vec<Change>) -> Asked<'_> {
        let (invoked, span) = (self.tick(), self.history.spans.len() - 1);
        let versions = self.history.writes.iter().filter_map(|write| match write.told {
            Told::Version { version, span: at, .. } if at == span => Some(version),
            _ => None,
        });
        let after = versions.max().unwrap_or(self.history.spans[span].base);
        let (rests_on, since, told) = (Vec::new(), None, Told::Nothing);
        let write = Write { changes, invoked, span, after, rests_on, since, told };
        self.history.writes.push(write);
        let id = self.history.writes.len() - 1;
        Asked(self, id)
    }

    pub(super) fn put(&mut self, key: &str) -> Asked<'_> {
        self.put_all(&[key])
    }

    pub(super) fn put_all(&mut self, keys: &[&str]) -> Asked<'_> {
        let put = |key: &&str| Change::Put { keyspace: SPACE, key: (*key).into(), deadline: None };
        self.asks(keys.iter().map(put).collect())
    }

    pub(super) fn put_until(&mut self, key: &str, deadline: u64) -> Asked<'_> {
        let deadline = Some(deadline);
        self.asks(vec![Change::Put { keyspace: SPACE, key: key.into(), deadline }])
    }

    pub(super) fn delete(&mut self, key: &str) -> Asked<'_> {
        self.asks(vec![Change::Delete { keyspace: SPACE, key: key.into() }])
    }

    pub(super) fn clear(&mut self) -> Asked<'_> {
        self.asks(vec![Change::Clear(SPACE)])
    }

    pub(super) fn crash(&mut self, base: Version) {
        let died = self.tick();
        let begin = Begin::Opened { after: Ending::PowerLoss, died };
        let at = self.tick();
        self.history.spans.push(Span { begin, at, base });
    }

    /// The disk takes no write: versions behind `base` are given again.
    pub(super) fn takes_back(&mut self, base: Version) {
        let at = self.tick();
        self.history.spans.push(Span { begin: Begin::TakenBack, at, base });
    }

    fn look(&self, (from, to): (&str, &str), shown: &[(&str, Version, WriteId)]) -> Look {
        let found = |(key, version, write): &(&str, Version, WriteId)| Found {
            key: (*key).into(),
            version: *version,
            write: *write,
        };
        let found = shown.iter().map(found).collect();
        let to = (!to.is_empty()).then(|| to.into());
        let now = (self.now, self.now);
        Look { keyspace: SPACE, from: from.into(), to, found, now, latest: self.now }
    }

    /// Everything was shown at a version.
    pub(super) fn shows(&mut self, at: Version, shown: &[(&str, Version, WriteId)]) {
        let look = self.look(("", ""), shown);
        let (done, span) = (self.tick(), Some(self.history.spans.len() - 1));
        self.history.reads.push(Read { look, at: (at, at), span, done });
    }

    /// Whoever waited for a write hears that it was taken back.
    pub(super) fn is_told_so(&mut self, write: WriteId) {
        let span = self.history.spans.len() - 1;
        self.history.writes[write].told = Told::TakenBack { span };
    }

    /// The latest of a key was asked for.
    pub(super) fn latest(
        &mut self,
        at: (Version, Version),
        key: &str,
        shown: Option<(Version, WriteId)>,
    ) {
        let now = (self.now, self.now);
        let look = Look::at_key(SPACE, key.as_bytes(), shown, now, self.now);
        let (done, span) = (self.tick(), Some(self.history.spans.len() - 1));
        self.history.reads.push(Read { look, at, span, done });
    }

    pub(super) fn lists(&mut self, there: &[u32], expected: &[u32]) {
        let (there, expected) = (there.to_vec(), expected.to_vec());
        let at = self.tick();
        self.history.listings.push(Listing { at, there, expected });
    }

    pub(super) fn dumps(&mut self, shown: &[(&str, Version, WriteId)]) {
        let found = self.look(("", ""), shown).found;
        let content = found.into_iter().map(|found| (SPACE, found)).collect();
        let at = self.tick();
        self.history.dumps.push(Dump { at, content, latest: self.now });
    }

    pub(super) fn holds(&self) {
        let broken = judge(&self.history);
        assert_eq!(broken, [], "it holds");
    }

    pub(super) fn breaks(&self, law: &str, evidence: &str) {
        let broken = judge(&self.history);
        let found = broken.iter().find(|violation| violation.law == law);
        let found = found.unwrap_or_else(|| panic!("{law} holds; broken: {broken:#?}"));
        assert!(found.evidence.contains(evidence), "{}", found.evidence);
    }
}

impl Asked<'_> {
    pub(super) fn resting_on(
        self,
        range: (&str, &str),
        shown: &[(&str, Version, WriteId)],
    ) -> Self {
        let look = self.0.look(range, shown);
        self.0.history.writes[self.1].rests_on.push(look);
        self
    }

    pub(super) fn since(self, version: Version) -> Self {
        self.0.history.writes[self.1].since = Some(version);
        self
    }

    pub(super) fn at(self, version: Version) -> WriteId {
        let (at, span) = (self.0.tick(), self.0.history.spans.len() - 1);
        self.0.history.writes[self.1].told = Told::Version { at, span, version, durable: false };
        self.1
    }

    pub(super) fn refused(self) -> WriteId {
        self.0.history.writes[self.1].told = Told::Refused;
        self.1
    }

    pub(super) fn unknown(self) -> WriteId {
        self.1
    }
}
