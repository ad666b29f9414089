//! Every decision of a run that is not determined: indexed, named, and overridable.
//!
//! A choice is a number below a bound, drawn from the stream of one concern at one site. Streams
//! are independent, so a new draw in one leaves the others as they were. By convention 0 is the
//! calm value: the oldest task, the least delay, no fault. A run is therefore a seed plus a
//! [`Script`] of the few choices that differ from it; recording, exact replay, shrinking and
//! fuzzing are operations on scripts.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Core;
use rand_core::{SeedableRng, block::Generator};

/// A concern with a random stream of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// Which ready task runs next.
    Schedule,
    /// Delays and fates of what is sent.
    Network,
    /// Delays and fates of what is written and read.
    Disk,
    /// Which faults strike hosts, links and clocks, and when.
    Nemesis,
    /// Which rare paths the code under test takes.
    Buggify,
    /// What clients do.
    Workload,
    /// The drawing of this seed's own configuration.
    Swarm,
    /// What the code on one host asks the operating system for.
    Host(u32),
}

impl Stream {
    const FIXED: usize = 7;

    fn slot(self) -> usize {
        match self {
            Stream::Schedule => 0,
            Stream::Network => 1,
            Stream::Disk => 2,
            Stream::Nemesis => 3,
            Stream::Buggify => 4,
            Stream::Workload => 5,
            Stream::Swarm => 6,
            Stream::Host(n) => Stream::FIXED + n as usize,
        }
    }

    /// Its name in scripts and reports.
    pub fn name(self) -> String {
        match self {
            Stream::Host(n) => format!("host-{n}"),
            fixed => format!("{fixed:?}").to_lowercase(),
        }
    }

    /// Mixed into the seed, so that no two streams share a key. Part of what a seed means: never
    /// renumber.
    fn salt(slot: usize) -> u64 {
        match slot.checked_sub(Stream::FIXED) {
            Some(host) => 0x1_0000_0000 | host as u64,
            None => slot as u64,
        }
    }
}

/// One choice as it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The concern it was drawn for.
    pub stream: Stream,
    /// How many choices its stream had made before.
    pub index: u64,
    /// What it decided.
    pub site: &'static str,
    /// It was made among `0..bound`.
    pub bound: u64,
    /// What was chosen.
    pub value: u64,
}

/// Choices that replace what the seed would have drawn, by stream and index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// The value to take instead. One too large for its bound is reduced modulo the bound.
    pub overrides: BTreeMap<(Stream, u64), u64>,
}

/// Where choices come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Streams derived from a seed.
    Seed(u64),
    /// Bytes, eight to a choice, in the order in which choices are made; calm when they run out.
    /// For fuzzers, which understand bytes.
    Bytes(Vec<u8>),
}

/// One stream, a block ahead.
struct Drawer {
    block: [u64; Drawer::BLOCK],
    /// The next word of the block to be drawn. A drawer that was never used is at the end of block
    /// 0.
    next: usize,
    /// Blocks drawn before this one.
    blocks: u64,
    /// Of the words up to here, those that were passed over.
    skipped: u64,
    core: Option<ChaCha8Core>,
}

impl Drawer {
    /// What the generator yields at once: four blocks of ChaCha.
    const BLOCK: usize = 32;
    const UNUSED: Drawer =
        Drawer { block: [0; 32], next: Drawer::BLOCK, blocks: 0, skipped: 0, core: None };

    /// The generator of the stream in `slot`.
    fn generator(seed: u64, slot: usize) -> ChaCha8Core {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&Stream::salt(slot).to_le_bytes());
        key[16..].copy_from_slice(b"orloj choices v1");
        ChaCha8Core::from_seed(key)
    }

    /// Choices made so far.
    fn index(&self) -> u64 {
        match self.core {
            Some(_) => self.blocks * Drawer::BLOCK as u64 + self.next as u64 - self.skipped,
            None => 0,
        }
    }
}

/// Makes the choices of one run.
pub struct Choices {
    source: Source,
    drawers: Vec<Drawer>,
    /// Whether a choice needs more than a draw: an override, a recording, or bytes.
    watched: bool,
    script: Script,
    record: Option<Vec<Choice>>,
    consumed: usize,
    pub(crate) digest: u64,
}

impl std::fmt::Debug for Choices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Choices").field("source", &self.source).field("made", &self.made()).finish()
    }
}

/// One step of the rolling hash. Odd multiplier, then a rotation, so that order and position count.
#[inline]
pub(crate) fn mix(hash: u64, word: u64) -> u64 {
    (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
}

impl Choices {
    /// Choices from `source`, changed by `script`, kept if `record`.
    pub fn new(source: Source, script: Script, record: bool) -> Choices {
        let watched = record || !script.overrides.is_empty() || matches!(source, Source::Bytes(_));
        Choices {
            source,
            drawers: Vec::new(),
            watched,
            script,
            record: record.then(Vec::new),
            consumed: 0,
            digest: 0,
        }
    }

    /// Choices from `seed` alone.
    pub fn from_seed(seed: u64) -> Choices {
        Choices::new(Source::Seed(seed), Script::default(), false)
    }

    /// A number in `0..bound`. A bound of 0 or 1 leaves nothing to choose and makes no choice. The
    /// bias is below `bound / 2^64` (Lemire, "Fast Random Integer Generation in an Interval", 2019,
    /// without its rejection step).
    #[inline]
    pub fn draw(&mut self, stream: Stream, site: &'static str, bound: u64) -> u64 {
        if bound <= 1 {
            return 0;
        }
        let word = self.word(stream);
        let mut value = ((u128::from(word) * u128::from(bound)) >> 64) as u64;
        if self.watched {
            value = self.watch(stream, site, bound, value);
        }
        self.digest = mix(self.digest, value);
        value
    }

    /// A number in `low..=high`; calm is `low`.
    #[inline]
    pub fn between(&mut self, stream: Stream, site: &'static str, low: u64, high: u64) -> u64 {
        low + self.draw(stream, site, (high - low).saturating_add(1))
    }

    /// True with probability `ppm` in a million; calm is false. 0 makes no choice.
    #[inline]
    pub fn chance(&mut self, stream: Stream, site: &'static str, ppm: u32) -> bool {
        ppm != 0 && self.draw(stream, site, 1_000_000) >= 1_000_000 - u64::from(ppm.min(1_000_000))
    }

    /// One of `items`; calm is the first.
    pub fn pick<'a, T>(&mut self, stream: Stream, site: &'static str, items: &'a [T]) -> &'a T {
        &items[self.draw(stream, site, items.len() as u64) as usize]
    }

    /// An exponentially distributed number of mean `mean`, at most 20 means; calm is 0.
    pub fn exponential(&mut self, stream: Stream, site: &'static str, mean: u64) -> u64 {
        const STEPS: u64 = 1 << 32;
        let u = self.draw(stream, site, STEPS);
        // -ln(1 - u) in 32.32 fixed point by the series of log2 bits: integer arithmetic only,
        // since the last digits of a float logarithm differ between machines.
        let ln = neg_ln_fixed(STEPS - u);
        (((u128::from(ln) * u128::from(mean)) >> 32) as u64).min(mean.saturating_mul(20))
    }

    /// 64 free bits.
    pub fn bits(&mut self, stream: Stream, site: &'static str) -> u64 {
        self.draw(stream, site, u64::MAX)
    }

    /// Draws what is chosen from here on from another seed.
    pub(crate) fn reseed(&mut self, seed: u64) {
        for (slot, drawer) in self.drawers.iter_mut().enumerate() {
            if drawer.core.is_some() {
                // Indices go on, so that a choice is still named by its stream and its number.
                drawer.core = Some(Drawer::generator(seed, slot));
                drawer.skipped += (Drawer::BLOCK - drawer.next) as u64;
                drawer.next = Drawer::BLOCK;
            }
        }
        self.source = Source::Seed(seed);
    }

    /// How many choices were made.
    pub fn made(&self) -> u64 {
        self.drawers.iter().map(Drawer::index).sum()
    }

    /// The choices made so far, if they are being recorded.
    pub fn recorded(&self) -> Option<&[Choice]> {
        self.record.as_deref()
    }

    #[inline]
    fn word(&mut self, stream: Stream) -> u64 {
        if let Some(drawer) = self.drawers.get_mut(stream.slot())
            && let Some(word) = drawer.block.get(drawer.next)
        {
            drawer.next += 1;
            return *word;
        }
        self.refill(stream)
    }

    #[cold]
    fn refill(&mut self, stream: Stream) -> u64 {
        let slot = stream.slot();
        if self.drawers.len() <= slot {
            self.drawers.resize_with(slot + 1, || Drawer::UNUSED);
        }
        let drawer = &mut self.drawers[slot];
        let core = match &mut drawer.core {
            Some(core) => {
                drawer.blocks += 1;
                core
            }
            unused => {
                let seed = match self.source {
                    Source::Seed(seed) => seed,
                    Source::Bytes(_) => 0,
                };
                unused.insert(Drawer::generator(seed, slot))
            }
        };
        let mut halves = [0; 2 * Drawer::BLOCK];
        core.generate(&mut halves);
        for (word, half) in drawer.block.iter_mut().zip(halves.chunks_exact(2)) {
            *word = u64::from(half[1]) << 32 | u64::from(half[0]);
        }
        drawer.next = 1;
        drawer.block[0]
    }

    #[cold]
    fn watch(&mut self, stream: Stream, site: &'static str, bound: u64, value: u64) -> u64 {
        let index = self.drawers[stream.slot()].index() - 1;
        let mut choice = Choice { stream, index, site, bound, value };
        if let Source::Bytes(bytes) = &self.source {
            let mut word = [0; 8];
            let rest = bytes.get(self.consumed..).unwrap_or_default();
            let n = rest.len().min(8);
            word[..n].copy_from_slice(&rest[..n]);
            self.consumed += n;
            choice.value = u64::from_le_bytes(word) % choice.bound;
        }
        if let Some(value) = self.script.overrides.get(&(choice.stream, choice.index)) {
            choice.value = value % choice.bound;
        }
        if let Some(record) = &mut self.record {
            record.push(choice);
        }
        choice.value
    }
}

/// `-ln(x / 2^32) * 2^32` for `x` in `1..=2^32`.
fn neg_ln_fixed(x: u64) -> u64 {
    const LN2: u128 = 0xb172_17f7; // ln 2 in 0.32
    if x >= 1 << 32 {
        return 0;
    }
    let shift = x.leading_zeros() - 32 + 1;
    // y in [1, 2) as 1.32, with x = y / 2^shift.
    let mut y = u128::from(x) << shift;
    if y > 1 << 32 {
        // Keep y in [1, 2): x below 2^32 was scaled so that its top bit is bit 32.
        y = y.min((2 << 32) - 1);
    }
    let mut log2 = 0u128; // of y, in 0.32
    for bit in (0..32).rev() {
        y = (y * y) >> 32;
        if y >= 2 << 32 {
            y >>= 1;
            log2 |= 1 << bit;
        }
    }
    let whole = (u128::from(shift) << 32) - log2;
    ((whole * LN2) >> 32) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(seed: u64, stream: Stream, n: usize) -> Vec<u64> {
        let mut c = Choices::from_seed(seed);
        (0..n).map(|_| c.draw(stream, "test", 1_000_000_007)).collect()
    }

    #[test]
    fn a_seed_means_the_same_for_ever() {
        assert_eq!(first(7, Stream::Network, 3), first(7, Stream::Network, 3));
        assert_ne!(first(7, Stream::Network, 3), first(7, Stream::Disk, 3));
        assert_ne!(first(7, Stream::Network, 3), first(8, Stream::Network, 3));
        assert_eq!(first(7, Stream::Schedule, 3), GOLDEN);
    }
    const GOLDEN: [u64; 3] = [55_890_999, 34_652_364, 567_946_151];

    #[test]
    fn a_draw_in_one_stream_leaves_the_others_alone() {
        let mut c = Choices::from_seed(7);
        for _ in 0..5 {
            c.draw(Stream::Disk, "noise", 9);
        }
        let got: Vec<u64> =
            (0..3).map(|_| c.draw(Stream::Network, "test", 1_000_000_007)).collect();
        assert_eq!(got, first(7, Stream::Network, 3));
    }

    #[test]
    fn an_override_changes_one_choice_and_a_recording_shows_it() {
        let mut script = Script::default();
        script.overrides.insert((Stream::Disk, 1), 4);
        let mut c = Choices::new(Source::Seed(7), script, true);
        let got: Vec<u64> = (0..3).map(|_| c.draw(Stream::Disk, "d", 10)).collect();
        let mut plain = Choices::from_seed(7);
        let want: Vec<u64> = (0..3).map(|_| plain.draw(Stream::Disk, "d", 10)).collect();
        assert_eq!((got[0], got[1], got[2]), (want[0], 4, want[2]));
        let record = c.recorded().unwrap();
        assert_eq!(record.len(), 3);
        assert_eq!((record[1].index, record[1].site, record[1].value), (1, "d", 4));
    }

    #[test]
    fn another_future_has_the_same_past_and_its_choices_keep_their_numbers() {
        for past in [0, 1, 31, 32, 33, 70] {
            let mut c = Choices::new(Source::Seed(7), Script::default(), true);
            for _ in 0..past {
                c.draw(Stream::Disk, "d", 1_000);
            }
            assert_eq!(c.made(), past);
            c.reseed(8);
            assert_eq!(c.made(), past);
            let future: Vec<u64> = (0..40).map(|_| c.draw(Stream::Disk, "d", 1_000)).collect();
            let mut other = Choices::from_seed(8);
            let want: Vec<u64> = (0..40).map(|_| other.draw(Stream::Disk, "d", 1_000)).collect();
            assert_eq!(future, want);
            let record = c.recorded().unwrap();
            assert!(record.iter().enumerate().all(|(n, choice)| choice.index == n as u64));
        }
    }

    #[test]
    fn bytes_decide_and_then_all_is_calm() {
        let bytes = [5u8, 0, 0, 0, 0, 0, 0, 0, 3];
        let mut c = Choices::new(Source::Bytes(bytes.to_vec()), Script::default(), false);
        let got: Vec<u64> = (0..4).map(|_| c.draw(Stream::Network, "n", 10)).collect();
        assert_eq!(got, [5, 3, 0, 0]);
        assert!(!c.chance(Stream::Network, "fault", 999_999));
    }

    #[test]
    fn the_exponential_has_its_mean_and_its_calm_value() {
        let mut c = Choices::from_seed(1);
        let n = 200_000;
        let sum: u64 = (0..n).map(|_| c.exponential(Stream::Network, "e", 1_000_000)).sum();
        let mean = sum / n;
        assert!((990_000..1_010_000).contains(&mean), "{mean}");
        assert_eq!(neg_ln_fixed(1 << 32), 0);
        let half = neg_ln_fixed(1 << 31) as f64 / f64::from(1u32 << 31) / 2.0;
        assert!((half - std::f64::consts::LN_2).abs() < 1e-6, "{half}");
    }
}
