//! How much of each segment is dead, and when one may go.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

/// A segment of the value log, as the catalogue knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentUse {
    /// Its number.
    pub number: u32,
    /// Bytes of it that count, its head included.
    pub bytes: u64,
    /// Bytes of records to which no page refers any more. They say whether collecting is worth
    /// while, and nothing rests on them.
    pub dead: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Pages refer to it.
    Live,
    /// The tree refers to it no more; the generations on disk do.
    Collected,
    /// The running checkpoint does not refer to it.
    Leaving,
    /// The newest generation does not refer to it.
    Left,
}

/// Every segment there is. Locked for moments, never across a wait.
///
/// A segment goes as a unit of `data.pages` does: when the tree, the newest generation and the one
/// before are past it.
#[derive(Debug, Default)]
pub struct Segments {
    all: Mutex<BTreeMap<u32, (SegmentUse, Fate)>>,
    /// While there is one, no segment goes.
    holds: AtomicU32,
}

impl Segments {
    /// Those that a generation's catalogue lists, and others that are there: the generation before
    /// may need them.
    pub fn new(listed: &[SegmentUse], there: &[u32]) -> Segments {
        let others = there.iter().map(|n| SegmentUse { number: *n, bytes: 0, dead: 0 });
        let mut all: BTreeMap<_, _> = others.map(|s| (s.number, (s, Fate::Left))).collect();
        all.extend(listed.iter().map(|s| (s.number, (*s, Fate::Live))));
        Segments { all: Mutex::new(all), holds: AtomicU32::new(0) }
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<u32, (SegmentUse, Fate)>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a segment has `bytes` bytes.
    pub fn grow(&self, number: u32, bytes: u64) {
        let new = SegmentUse { number, bytes: 0, dead: 0 };
        let mut all = self.all();
        let (segment, _) = all.entry(number).or_insert((new, Fate::Live));
        segment.bytes = segment.bytes.max(bytes);
    }

    /// Notes that nothing refers to `bytes` more bytes of a segment.
    pub fn die(&self, number: u32, bytes: u64) {
        if let Some((segment, _)) = self.all().get_mut(&number) {
            segment.dead += bytes;
        }
    }

    /// The segment most worth collecting: of which `percent` or more is dead, and which is not
    /// `current`.
    pub fn worst(&self, percent: u8, current: Option<u32>) -> Option<SegmentUse> {
        let all = self.all();
        let live =
            all.values().filter(|(s, fate)| *fate == Fate::Live && Some(s.number) != current);
        let worth = live.map(|(s, _)| *s).filter(|s| s.dead * 100 >= s.bytes * u64::from(percent));
        worth.filter(|s| s.dead > 0).max_by_key(|s| s.dead * 1000 / s.bytes.max(1))
    }

    /// Notes that the tree in memory refers to a segment no more.
    pub fn collected(&self, number: u32) {
        if let Some((_, fate)) = self.all().get_mut(&number) {
            assert_eq!(*fate, Fate::Live, "segment {number} is collected once");
            *fate = Fate::Collected;
        }
    }

    /// A checkpoint begins: what the tree is past is not part of it.
    pub fn begin(&self) {
        for (_, fate) in self.all().values_mut().filter(|(_, fate)| *fate == Fate::Collected) {
            *fate = Fate::Leaving;
        }
    }

    /// What the running checkpoint's catalogue lists.
    pub fn listed(&self) -> Vec<SegmentUse> {
        let all = self.all();
        let listed = all.values().filter(|(_, fate)| matches!(fate, Fate::Live | Fate::Collected));
        listed.map(|(segment, _)| *segment).collect()
    }

    /// The running checkpoint is the newest generation now. Returns the segments that may go; each
    /// is forgotten by [`Segments::gone`].
    pub fn settle(&self) -> Vec<u32> {
        let mut all = self.all();
        let left = all.values().filter(|(_, fate)| *fate == Fate::Left);
        let held = self.holds.load(Ordering::Relaxed) > 0;
        let gone = left.filter(|_| !held).map(|(segment, _)| segment.number).collect();
        for (_, fate) in all.values_mut().filter(|(_, fate)| *fate == Fate::Leaving) {
            *fate = Fate::Left;
        }
        gone
    }

    /// The running checkpoint will never be.
    pub fn abandon(&self) {
        for (_, fate) in self.all().values_mut().filter(|(_, fate)| *fate == Fate::Leaving) {
            *fate = Fate::Collected;
        }
    }

    /// Keeps every segment until [`Segments::let_go`] was called as often.
    pub fn hold(&self) {
        self.holds.fetch_add(1, Ordering::Relaxed);
    }

    /// See [`Segments::hold`].
    pub fn let_go(&self) {
        self.holds.fetch_sub(1, Ordering::Relaxed);
    }

    /// A segment is not there any more.
    pub fn gone(&self, number: u32) {
        self.all().remove(&number);
    }

    /// Bytes of all segments, and how many of them are dead.
    pub fn totals(&self) -> (u64, u64) {
        let all = self.all();
        all.values().fold((0, 0), |(bytes, dead), (s, _)| (bytes + s.bytes, dead + s.dead))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_goes_when_tree_and_two_generations_are_past_it() {
        let segments = Segments::default();
        segments.grow(1, 1000);
        segments.grow(2, 1000);
        segments.die(1, 500);
        assert_eq!(segments.worst(50, Some(1)), None, "it is being written to");
        assert_eq!(segments.worst(51, None), None);
        assert_eq!(segments.worst(50, Some(2)).map(|s| s.number), Some(1));
        let listed = |s: &Segments| s.listed().iter().map(|s| s.number).collect::<Vec<_>>();
        segments.begin();
        segments.collected(1);
        assert_eq!(listed(&segments), [1, 2], "the checkpoint began before");
        assert!(segments.settle().is_empty());
        segments.begin();
        assert_eq!(listed(&segments), [2]);
        segments.abandon();
        assert_eq!(listed(&segments), [1, 2]);
        segments.begin();
        assert!(segments.settle().is_empty(), "the generation before has it");
        segments.begin();
        segments.hold();
        assert!(segments.settle().is_empty(), "somebody holds them");
        segments.let_go();
        assert_eq!(segments.settle(), [1]);
        assert_eq!(segments.settle(), [1], "until it is gone");
        segments.gone(1);
        assert!(segments.settle().is_empty());
        assert_eq!(segments.totals(), (1000, 0));
    }

    #[test]
    fn what_is_there_and_not_listed_outlives_one_checkpoint() {
        let listed = SegmentUse { number: 2, bytes: 9, dead: 3 };
        let segments = Segments::new(&[listed], &[1, 2]);
        segments.begin();
        assert_eq!(segments.listed(), [listed]);
        assert_eq!(segments.settle(), [1]);
    }
}
