//! Amounts with units, and ranges of them: `5ms`, `1s..4s`, `0.5%..2%`, `16..64`.

use std::{fmt, marker::PhantomData, time::Duration};

use orloj_sim::choice::{Choices, Stream};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A kind of amount.
pub trait Unit {
    /// What to write instead, for errors.
    const EXAMPLE: &'static str;
    /// Suffixes with how much of the base amount each stands for, the base amount last.
    const SUFFIXES: &'static [(&'static str, u64)];
}

/// Time, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {}
/// Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {}
/// A share, in parts per million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {}
/// A number of things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {}

impl Unit for Time {
    const EXAMPLE: &'static str = "a time such as \"250us\", \"5ms\", \"2s\" or \"1m\"";
    const SUFFIXES: &'static [(&'static str, u64)] =
        &[("us", 1_000), ("ms", 1_000_000), ("ns", 1), ("s", 1_000_000_000), ("m", 60_000_000_000)];
}

impl Unit for Size {
    const EXAMPLE: &'static str = "a size such as \"100B\", \"64KiB\" or \"1MiB\"";
    const SUFFIXES: &'static [(&'static str, u64)] =
        &[("KiB", 1 << 10), ("MiB", 1 << 20), ("B", 1)];
}

impl Unit for Share {
    const EXAMPLE: &'static str = "a share such as \"0.5%\"";
    const SUFFIXES: &'static [(&'static str, u64)] = &[("%", 10_000)];
}

impl Unit for Count {
    const EXAMPLE: &'static str = "a number such as \"16\"";
    const SUFFIXES: &'static [(&'static str, u64)] = &[("", 1)];
}

/// An amount, or a range from which each seed draws one. Both ends belong to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Span<U> {
    /// The least.
    pub low: u64,
    /// The most.
    pub high: u64,
    unit: PhantomData<U>,
}

impl<U> fmt::Debug for Span<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.low, self.high)
    }
}

impl<U> Default for Span<U> {
    fn default() -> Self {
        Span::new(0, 0)
    }
}

impl<U> Span<U> {
    /// So many times as much.
    pub(super) fn times(self, times: u64) -> Span<U> {
        Span::new(self.low.saturating_mul(times), self.high.saturating_mul(times))
    }

    /// From `low` to `high`, in base amounts.
    ///
    /// # Panics
    /// When there is nothing between them.
    pub const fn new(low: u64, high: u64) -> Span<U> {
        assert!(low <= high, "a range begins below its end");
        Span { low, high, unit: PhantomData }
    }

    /// An amount of this range, drawn from the stream of configurations.
    pub fn draw(self, choices: &mut Choices, site: &'static str) -> u64 {
        choices.between(Stream::Swarm, site, self.low, self.high)
    }

    /// An amount of this range, drawn from the stream of faults.
    pub fn strike(self, choices: &mut Choices, site: &'static str) -> u64 {
        choices.between(Stream::Nemesis, site, self.low, self.high)
    }
}

impl Span<Time> {
    /// [`Span::draw`] as a duration.
    pub fn draw_time(self, choices: &mut Choices, site: &'static str) -> Duration {
        Duration::from_nanos(self.draw(choices, site))
    }

    /// [`Span::strike`] as a duration.
    pub fn strike_time(self, choices: &mut Choices, site: &'static str) -> Duration {
        Duration::from_nanos(self.strike(choices, site))
    }
}

impl Span<Share> {
    /// [`Span::draw`] in parts per million.
    pub fn draw_ppm(self, choices: &mut Choices, site: &'static str) -> u32 {
        u32::try_from(self.draw(choices, site)).unwrap_or(1_000_000).min(1_000_000)
    }
}

impl<'de, U: Unit> Deserialize<'de> for Span<U> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reads<U>(PhantomData<U>);
        impl<U: Unit> de::Visitor<'_> for Reads<U> {
            type Value = Span<U>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}, or a range \"low..high\" of them", U::EXAMPLE)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span<U>, E> {
                parse(text).map_err(E::custom)
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Span<U>, E> {
                parse(&number.to_string()).map_err(E::custom)
            }
        }
        from.deserialize_any(Reads(PhantomData))
    }
}

impl<U: Unit> Serialize for Span<U> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.low == self.high {
            true => to.serialize_str(&amount::<U>(self.low)),
            false => {
                to.serialize_str(&format!("{}..{}", amount::<U>(self.low), amount::<U>(self.high)))
            }
        }
    }
}

/// An amount as it is written: in the largest unit of which it is a whole or, of shares, a decimal
/// number.
pub(crate) fn amount<U: Unit>(value: u64) -> String {
    if value == 0 {
        return "0".to_owned();
    }
    let mut units: Vec<(&str, u64)> = U::SUFFIXES.to_vec();
    units.sort_by_key(|(_, by)| std::cmp::Reverse(*by));
    // Nobody reads more digits than nine, and no whole number of nanoseconds above a second.
    let is_whole = |by: u64| value.is_multiple_of(by) && value / by < 100_000;
    if let Some((suffix, by)) = units.iter().find(|(_, by)| is_whole(*by)) {
        return format!("{}{suffix}", value / by);
    }
    let can_be_cut = |by: u64| by <= value && 1_000_000_000_u64.is_multiple_of(by);
    let (suffix, by) =
        units.iter().find(|(_, by)| can_be_cut(*by)).unwrap_or(&units[units.len() - 1]);
    let part = format!("{:09}", (value % by) * (1_000_000_000 / by));
    let part = part.trim_end_matches('0');
    let point = if part.is_empty() { "" } else { "." };
    format!("{}{point}{part}{suffix}", value / by)
}

/// Reads one amount of time, in nanoseconds.
///
/// # Errors
/// What is wrong with it and what was expected.
pub(crate) fn time(text: &str) -> Result<u64, String> {
    read::<Time>(text)
}

/// Reads an amount or a range.
///
/// # Errors
/// What is wrong with it and what was expected.
fn parse<U: Unit>(text: &str) -> Result<Span<U>, String> {
    let (low, high) = match text.split_once("..") {
        Some((low, high)) => (read::<U>(low)?, read::<U>(high)?),
        None => (read::<U>(text)?, read::<U>(text)?),
    };
    if low > high {
        return Err(format!("the range \"{text}\" ends below its beginning"));
    }
    Ok(Span::new(low, high))
}

/// Reads one amount without going through a float, so that it means the same everywhere.
fn read<U: Unit>(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let wrong = || format!("\"{text}\" is not {}", U::EXAMPLE);
    let found = U::SUFFIXES.iter().find_map(|(suffix, by)| Some((text.strip_suffix(suffix)?, by)));
    // Nothing is nothing in any unit.
    let (number, by) = if text == "0" { (text, &1) } else { found.ok_or_else(wrong)? };
    let (whole, part) = number.trim_end().split_once('.').unwrap_or((number.trim_end(), ""));
    let digits = |s: &str| s.bytes().all(|byte| byte.is_ascii_digit()) && s.len() <= 9;
    if whole.is_empty() || !digits(whole) || !digits(part) {
        return Err(wrong());
    }
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let scale = 10_u64.pow(part.len() as u32);
    let part: u64 = if part.is_empty() { 0 } else { part.parse().map_err(|_| wrong())? };
    if !(part * by).is_multiple_of(scale) {
        return Err(format!("\"{text}\" is finer than the unit can express"));
    }
    whole.checked_mul(*by).and_then(|n| n.checked_add(part * by / scale)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends<U: Unit>(text: &str) -> Result<(u64, u64), String> {
        parse::<U>(text).map(|span| (span.low, span.high))
    }

    #[test]
    fn amounts_and_ranges_are_read_in_their_unit() {
        assert_eq!(ends::<Time>("250us..2ms"), Ok((250_000, 2_000_000)));
        assert_eq!(ends::<Time>("1.5s"), Ok((1_500_000_000, 1_500_000_000)));
        assert_eq!(ends::<Time>("0..1m"), Ok((0, 60_000_000_000)));
        assert_eq!(ends::<Time>("7ns"), Ok((7, 7)));
        assert_eq!(ends::<Size>("0..64KiB"), Ok((0, 65_536)));
        assert_eq!(ends::<Share>("0.05%..100%"), Ok((500, 1_000_000)));
        assert_eq!(ends::<Count>("1..8"), Ok((1, 8)));
    }

    #[test]
    fn an_amount_is_written_as_it_is_read() {
        for ns in [0, 1, 999, 1_000, 1_500_000, 250_000_001, 1_568_492_453, 60_000_000_000] {
            assert_eq!(time(&amount::<Time>(ns)), Ok(ns), "{}", amount::<Time>(ns));
        }
        for ppm in [0, 1, 500, 10_000, 12_345, 1_000_000] {
            assert_eq!(read::<Share>(&amount::<Share>(ppm)), Ok(ppm), "{}", amount::<Share>(ppm));
        }
        assert_eq!(amount::<Size>(96 << 10), "96KiB");
        assert_eq!(amount::<Count>(7), "7");
    }

    #[test]
    fn what_cannot_be_read_is_named_with_what_was_expected() {
        assert!(ends::<Time>("5").unwrap_err().contains("\"5\" is not a time such as"));
        assert!(ends::<Time>("5 parsecs").unwrap_err().contains("is not a time"));
        assert!(ends::<Time>("2s..1s").unwrap_err().contains("ends below its beginning"));
        assert!(ends::<Count>("-3").unwrap_err().contains("is not a number"));
        assert!(ends::<Count>("1.5").unwrap_err().contains("finer"));
        assert!(ends::<Share>("0.00001%").unwrap_err().contains("finer"));
        assert!(ends::<Size>("9999999999KiB").is_err());
    }
}
