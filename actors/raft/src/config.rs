//! How fast the cluster notices things, and what openraft is told.

use std::time::Duration;

use openraft::{Config, SnapshotPolicy};

/// How fast the cluster notices that a leader is gone.
///
/// A follower that hears nothing campaigns after `election_max` and a random time between
/// `election_min` and `election_max` on top. So the defaults mean 750 to 1000 ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between two signs of life of a leader.
    pub heartbeat: Duration,
    /// See above.
    pub election_min: Duration,
    /// See above. So long, too, may a leader go on that hears of no quorum.
    pub election_max: Duration,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            heartbeat: Duration::from_millis(100),
            election_min: Duration::from_millis(250),
            election_max: Duration::from_millis(500),
        }
    }
}

/// Times with which no leader would last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "heartbeat {heartbeat:?}, election_min {election_min:?} and election_max {election_max:?} must \
     be at least 1 ms and rise in this order"
)]
pub struct TimingError {
    heartbeat: Duration,
    election_min: Duration,
    election_max: Duration,
}

impl Timing {
    /// What openraft is told.
    ///
    /// # Errors
    /// [`TimingError`].
    pub fn config(&self, cluster: &str) -> Result<Config, TimingError> {
        let Timing { heartbeat, election_min, election_max } = *self;
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let config = Config {
            cluster_name: cluster.to_owned(),
            heartbeat_interval: ms(heartbeat),
            election_timeout_min: ms(election_min),
            election_timeout_max: ms(election_max),
            // A leader that lost what it had not synced would lead on in the same term, and give
            // the same places of the log to other entries.
            enable_leader_restore: Some(false),
            // Whoever comes back from behind a cut does not depose anybody by asking.
            enable_pre_vote: Some(true),
            // A leader that speaks and hears nothing falls silent, or nobody would replace it.
            quorum_loss_probe_interval: Some(ms(election_max).saturating_mul(2)),
            // The log has reasons of its own, in bytes.
            snapshot_policy: SnapshotPolicy::Never,
            ..Config::default()
        };
        let in_order = ms(heartbeat) >= 1
            && ms(heartbeat) < ms(election_min)
            && ms(election_min) < ms(election_max);
        match config.validate() {
            Ok(config) if in_order => Ok(config),
            _ => Err(TimingError { heartbeat, election_min, election_max }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restarted_leader_does_not_lead_on() {
        let config = Timing::default().config("test").unwrap();
        assert_eq!(config.enable_leader_restore, Some(false));
        assert_eq!(config.enable_pre_vote, Some(true));
        // It has to outlast the lease and an election.
        assert_eq!(config.quorum_loss_probe_interval, Some(1_000));
    }

    #[test]
    fn times_that_make_no_sense_are_refused() {
        let usual = Timing::default();
        for timing in [
            Timing { heartbeat: Duration::ZERO, ..usual },
            Timing { heartbeat: usual.election_min, ..usual },
            Timing { election_min: usual.election_max, ..usual },
        ] {
            assert!(timing.config("test").is_err(), "{timing:?}");
        }
    }
}
