//! Properties stated in the code, and the questions by which a simulation disturbs it.
//!
//! Each macro is a named place. All places of a binary are collected at link time ([`sites`]), so a
//! campaign can name the `sometimes!` it never saw and the `buggify!` it never took.

use std::sync::{
    OnceLock,
    atomic::{AtomicU32, Ordering},
};

use linkme::distributed_slice;

/// What a place in the code states or asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SiteKind {
    /// Must hold whenever it is passed.
    Always,
    /// Must hold at least once in a campaign.
    Sometimes,
    /// Must be passed at least once in a campaign.
    Reachable,
    /// Must never be passed.
    Unreachable,
    /// Asks whether to take a rare path.
    Buggify,
    /// Declares the clock error in nanoseconds that this place tolerates.
    ClockBound(u64),
    /// Asks whether a planted defect is active.
    Mutant,
    /// Names a shape of data that a workload means to produce, and must in a campaign.
    Shape,
}

/// A named place in the code.
#[derive(Debug)]
pub struct Site {
    /// What it states or asks.
    pub kind: SiteKind,
    /// Its name, unique among places of its kind.
    pub name: &'static str,
    /// Where it stands.
    pub file: &'static str,
    /// Where it stands.
    pub line: u32,
    #[doc(hidden)]
    pub number: AtomicU32,
}

impl Site {
    /// Its position in [`sites`].
    pub fn number(&'static self) -> usize {
        let number = self.number.load(Ordering::Relaxed);
        if number != u32::MAX {
            return number as usize;
        }
        sites();
        self.number.load(Ordering::Relaxed) as usize
    }
}

/// Filled by the macros at link time, in no particular order; see [`sites`].
#[distributed_slice]
pub static SITES: [Site];

/// Every place linked into this binary, by kind and name: an order that does not depend on the
/// linker.
pub fn sites() -> &'static [&'static Site] {
    static SORTED: OnceLock<Vec<&'static Site>> = OnceLock::new();
    SORTED.get_or_init(|| {
        let mut sites: Vec<&'static Site> = SITES.iter().collect();
        sites.sort_by_key(|s| (s.kind, s.name, s.file, s.line));
        for (number, site) in sites.iter().enumerate() {
            let number = u32::try_from(number).expect("a binary has fewer than 2^32 places");
            site.number.store(number, Ordering::Relaxed);
        }
        sites
    })
}

#[doc(hidden)]
#[macro_export]
macro_rules! site {
    ($kind:expr, $name:literal) => {{
        #[$crate::linkme::distributed_slice($crate::SITES)]
        #[linkme(crate = $crate::linkme)]
        static SITE: $crate::Site = $crate::Site {
            kind: $kind,
            name: $name,
            file: file!(),
            line: line!(),
            number: ::std::sync::atomic::AtomicU32::new(u32::MAX),
        };
        &SITE
    }};
}

/// States that a condition holds whenever this place is passed: `always!(cx, cond, "name",
/// "format", args..)`. Broken, it ends a simulation with this verdict, and panics on a machine.
#[macro_export]
macro_rules! always {
    ($cx:expr, $cond:expr, $name:literal) => {
        $crate::always!($cx, $cond, $name, "{}", stringify!($cond))
    };
    ($cx:expr, $cond:expr, $name:literal, $($evidence:tt)+) => {{
        let site = $crate::site!($crate::SiteKind::Always, $name);
        let held = $cond;
        $cx.observe_at(site, held);
        if !held {
            $cx.violated_at(site, format_args!($($evidence)+));
        }
    }};
}

/// States that a condition holds at least once in a campaign: `sometimes!(cx, cond, "name")`.
#[macro_export]
macro_rules! sometimes {
    ($cx:expr, $cond:expr, $name:literal) => {{
        let hit = $cond;
        $cx.observe_at($crate::site!($crate::SiteKind::Sometimes, $name), hit);
    }};
}

/// States that this place is passed at least once in a campaign: `reachable!(cx, "name")`.
#[macro_export]
macro_rules! reachable {
    ($cx:expr, $name:literal) => {
        $cx.observe_at($crate::site!($crate::SiteKind::Reachable, $name), true)
    };
}

/// States that this place is never passed: `orloj_kernel::unreachable!(cx, "name", "format",
/// args..)`.
#[macro_export]
macro_rules! unreachable {
    ($cx:expr, $name:literal, $($evidence:tt)+) => {{
        let site = $crate::site!($crate::SiteKind::Unreachable, $name);
        $cx.observe_at(site, true);
        $cx.violated_at(site, format_args!($($evidence)+));
    }};
}

/// Asks whether to take a rare but legal path: `if buggify!(cx, "name") { .. }`. A machine says no;
/// a simulation wakes a random quarter of these places per seed, and each then fires a quarter of
/// the time.
#[macro_export]
macro_rules! buggify {
    ($cx:expr, $name:literal) => {
        $cx.buggify_at($crate::site!($crate::SiteKind::Buggify, $name))
    };
}

/// Declares the clock error that the code here tolerates, and returns it as a `Duration`:
/// `clock_bound!(cx, "name", nanoseconds)`. A simulation skews clocks up to it, and beyond.
#[macro_export]
macro_rules! clock_bound {
    ($cx:expr, $name:literal, $nanos:expr) => {{
        const NANOS: u64 = $nanos;
        $cx.observe_at($crate::site!($crate::SiteKind::ClockBound(NANOS), $name), true);
        ::std::time::Duration::from_nanos(NANOS)
    }};
}

/// Asks whether the planted defect `name` is active: `if mutant!(cx, "name") { wrong } else { right
/// }`. The constant `false` in every build but the simulator's.
#[macro_export]
macro_rules! mutant {
    ($cx:expr, $name:literal) => {{
        let _ = $crate::site!($crate::SiteKind::Mutant, $name);
        $cx.mutant_named($name)
    }};
}
