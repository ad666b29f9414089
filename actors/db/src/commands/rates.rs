//! How many commands in how much time: a bucket of tokens for each session and plane, and one for
//! all of a plane.
//!
//! Buckets are of this life of the node: whoever restarts it has had to wait anyway.

use std::collections::BTreeMap;

use orloj_net::{
    UnixMs,
    envelope::{Plane, SessionName},
};

use crate::config::CommandLimits;

/// Tokens are counted in thousandths, so that a millisecond has its share.
const WHOLE: u64 = 1_000;
/// Buckets from which on those that are full are forgotten.
const MANY: usize = 4_096;

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: u64,
    at: UnixMs,
}

impl Bucket {
    /// Full again after a second without use.
    fn refill(&mut self, per_second: u64, now: UnixMs) {
        let passed = now.0.saturating_sub(self.at.0);
        let most = per_second.saturating_mul(WHOLE);
        self.tokens = self.tokens.saturating_add(passed.saturating_mul(per_second)).min(most);
        self.at = now;
    }
}

/// The buckets of a node.
#[derive(Debug)]
pub(super) struct Rates {
    session: u64,
    global: u64,
    all: BTreeMap<Plane, Bucket>,
    sessions: BTreeMap<(Plane, SessionName), Bucket>,
}

/// What a command has paid, to be given back if it is refused later.
pub(super) struct Charge(Plane, Option<SessionName>);

impl Rates {
    pub(super) fn new(limits: &CommandLimits) -> Rates {
        let (all, sessions) = (BTreeMap::new(), BTreeMap::new());
        Rates { session: limits.session_rate, global: limits.global_rate, all, sessions }
    }

    /// Takes a token; `Err` is the milliseconds until there will be one.
    pub(super) fn charge(
        &mut self,
        plane: Plane,
        session: Option<&SessionName>,
        now: UnixMs,
    ) -> Result<Charge, u64> {
        let (session_rate, global_rate) = (self.session, self.global);
        if self.sessions.len() >= MANY {
            self.sessions.retain(|_, bucket| {
                bucket.refill(session_rate, now);
                bucket.tokens < session_rate.saturating_mul(WHOLE)
            });
        }
        let full = |rate: u64| Bucket { tokens: rate.saturating_mul(WHOLE), at: now };
        let all = self.all.entry(plane).or_insert_with(|| full(global_rate));
        all.refill(global_rate, now);
        let own = match session {
            Some(name) if session_rate > 0 => {
                let key = (plane, name.clone());
                let own = self.sessions.entry(key).or_insert_with(|| full(session_rate));
                own.refill(session_rate, now);
                Some(own)
            }
            _ => None,
        };
        let wait = |bucket: &Bucket, rate: u64| match rate == 0 || bucket.tokens >= WHOLE {
            true => 0,
            false => (WHOLE - bucket.tokens).div_ceil(rate),
        };
        let for_own = own.as_ref().map_or(0, |own| wait(own, session_rate));
        match wait(all, global_rate).max(for_own) {
            0 => {}
            wait => return Err(wait),
        }
        if global_rate > 0 {
            all.tokens -= WHOLE;
        }
        if let Some(own) = own {
            own.tokens -= WHOLE;
        }
        Ok(Charge(plane, session.cloned()))
    }

    /// The command was not accepted after all.
    pub(super) fn give_back(&mut self, Charge(plane, session): Charge) {
        if let Some(all) = self.all.get_mut(&plane).filter(|_| self.global > 0) {
            all.tokens += WHOLE;
        }
        if let Some(name) = session
            && let Some(own) = self.sessions.get_mut(&(plane, name))
        {
            own.tokens += WHOLE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(session_rate: u64, global_rate: u64) -> Rates {
        Rates::new(&CommandLimits { session_rate, global_rate, ..CommandLimits::default() })
    }

    #[test]
    fn a_bucket_is_emptied_and_fills_again() {
        let mut rates = rates(2, 100);
        let (name, now) = (SessionName::from("s"), UnixMs(1_000));
        let mut ask = |at| rates.charge(Plane::Data, Some(&name), at).map(|_| ());
        assert_eq!([ask(now), ask(now), ask(now)], [Ok(()), Ok(()), Err(500)]);
        assert_eq!(ask(UnixMs(1_499)), Err(1));
        assert_eq!([ask(UnixMs(1_500)), ask(UnixMs(1_500))], [Ok(()), Err(500)]);
    }

    #[test]
    fn planes_and_sessions_have_buckets_of_their_own() {
        let mut rates = rates(1, 100);
        let now = UnixMs(1);
        let (a, b) = (SessionName::from("a"), SessionName::from("b"));
        assert!(rates.charge(Plane::Data, Some(&a), now).is_ok());
        assert!(rates.charge(Plane::Data, Some(&a), now).is_err());
        assert!(rates.charge(Plane::Control, Some(&a), now).is_ok(), "it can be deleted");
        assert!(rates.charge(Plane::Data, Some(&b), now).is_ok());
    }

    #[test]
    fn a_refusal_gives_its_charge_back() {
        let mut rates = rates(1, 1);
        let (name, now) = (SessionName::from("s"), UnixMs(1));
        let charge = rates.charge(Plane::Data, Some(&name), now).expect("a token");
        rates.give_back(charge);
        assert!(rates.charge(Plane::Data, Some(&name), now).is_ok());
        assert!(rates.charge(Plane::Data, Some(&name), now).is_err());
    }

    #[test]
    fn none_is_no_limit() {
        let mut rates = rates(0, 0);
        let name = SessionName::from("s");
        for _ in 0..10_000 {
            assert!(rates.charge(Plane::Data, Some(&name), UnixMs(1)).is_ok());
        }
    }
}
