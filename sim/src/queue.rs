//! What is to happen, by time: a monotone radix heap.
//!
//! Pushing is a shift and an append; popping moves each entry at most once per bit. A million
//! pending events cost about as much as a hundred, where a binary heap costs twenty times more.
//! Entries of equal time leave in the order in which they came.
//!
//! Source: Ahuja, Mehlhorn, Orlin, Tarjan, "Faster Algorithms for the Shortest Path Problem", 1990.

use std::collections::VecDeque;

/// A queue of entries that never goes back in time.
pub(crate) struct Queue<E> {
    /// The time of the last entry taken. No entry may be pushed before it.
    last: u64,
    /// Entries at `last`.
    front: VecDeque<E>,
    /// Entry `(at, _)` is in bucket `b` when bit `b` is the highest in which `at` and `last`
    /// differ. Entries of one time are always in one bucket: `last` can come to agree with them in
    /// a higher bit only by emptying the bucket of that bit.
    buckets: [Vec<(u64, E)>; 64],
    /// Bit `b` is set when bucket `b` is not empty.
    occupied: u64,
    len: usize,
}

impl<E> Queue<E> {
    pub(crate) fn new() -> Queue<E> {
        Queue {
            last: 0,
            front: VecDeque::new(),
            buckets: [const { Vec::new() }; 64],
            occupied: 0,
            len: 0,
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn push(&mut self, at: u64, entry: E) {
        assert!(at >= self.last, "an event at {at} is before the last one at {}", self.last);
        self.len += 1;
        self.place(at, entry);
    }

    #[inline]
    fn place(&mut self, at: u64, entry: E) {
        let differ = at ^ self.last;
        if differ == 0 {
            self.front.push_back(entry);
        } else {
            let bucket = 63 - differ.leading_zeros() as usize;
            self.buckets[bucket].push((at, entry));
            self.occupied |= 1 << bucket;
        }
    }

    /// The earliest entry, the first pushed among equals.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<(u64, E)> {
        if let Some(entry) = self.front.pop_front() {
            self.len -= 1;
            return Some((self.last, entry));
        }
        if self.occupied == 0 {
            return None;
        }
        self.len -= 1;
        let bucket = self.occupied.trailing_zeros() as usize;
        if self.buckets[bucket].len() == 1 {
            let (at, entry) = self.buckets[bucket].pop()?;
            self.occupied &= !(1 << bucket);
            self.last = at;
            return Some((at, entry));
        }
        self.spread(bucket);
        let entry = self.front.pop_front()?;
        Some((self.last, entry))
    }

    /// Advances to the bucket's earliest time and spreads its entries over the buckets below.
    fn spread(&mut self, bucket: usize) {
        let mut entries = std::mem::take(&mut self.buckets[bucket]);
        self.occupied &= !(1 << bucket);
        self.last =
            entries.iter().map(|(at, _)| *at).min().expect("an occupied bucket has entries");
        for (at, entry) in entries.drain(..) {
            self.place(at, entry);
        }
        // Keep the allocation: this bucket fills again soon.
        self.buckets[bucket] = entries;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choice::{Choices, Stream};

    /// Goal: time order, and push order within a time. Method: random pushes and pops beside a
    /// sorted list.
    #[test]
    fn it_is_a_stable_priority_queue() {
        for seed in 0..200 {
            let mut c = Choices::from_seed(seed);
            let mut queue = Queue::new();
            let mut model: Vec<(u64, u64)> = Vec::new();
            let (mut now, mut n) = (0, 0);
            for _ in 0..500 {
                if c.chance(Stream::Workload, "pop", 450_000) {
                    let got = queue.pop();
                    let first = model.iter().min().copied();
                    model.retain(|e| Some(*e) != first);
                    assert_eq!(got, first, "seed {seed}");
                    now = got.map_or(now, |(at, _)| at);
                } else {
                    let spread = *c.pick(Stream::Workload, "spread", &[1, 4, 100, 1 << 40]);
                    let at = now + c.draw(Stream::Workload, "at", spread);
                    queue.push(at, n);
                    model.push((at, n));
                    n += 1;
                }
                assert_eq!(queue.len(), model.len());
            }
        }
    }
}
