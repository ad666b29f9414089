//! Law: recovering the same disk again gives the same content.
//!
//! Keys whose time may have come between two readings are left out: time is no crash.
//!
//! Broken, a crash during a recovery, or just another start, changes data.

use super::{Broken, Case, EngineLaw};
use crate::{
    engine::{Dump, Found, KeyspaceId},
    show_bytes,
};

pub(super) const LAW: EngineLaw = EngineLaw {
    name: "engine-recovery-idempotent",
    promise: "Recovering the same disk again gives the same keys, versions and values.",
    check,
};

fn check(case: &Case<'_>) -> Result<(), Broken> {
    let dumps = &case.history.dumps;
    for pair in dumps.windows(2) {
        let mortal = |found: &(KeyspaceId, Found)| !may_end(case, found, pair[1].latest);
        let stay = |dump: &Dump| -> Vec<(KeyspaceId, Found)> {
            dump.content.iter().filter(|found| mortal(found)).cloned().collect()
        };
        let (before, after) = (stay(&pair[0]), stay(&pair[1]));
        let both = before.iter().zip(&after).find(|(before, after)| before != after);
        let longer = || before.iter().skip(after.len()).chain(after.iter().skip(before.len()));
        let differs = both.map(|(before, _)| before).or_else(|| longer().next());
        if let Some((keyspace, Found { key, version, .. })) = differs {
            let key_shown = show_bytes(key);
            let what = format!(
                "key {key_shown} of keyspace {keyspace} at version {version} is there once only"
            );
            return Err(Broken::new(pair[1].at, what).key(key.clone()));
        }
    }
    Ok(())
}

fn may_end(case: &Case<'_>, (keyspace, found): &(KeyspaceId, Found), latest: u64) -> bool {
    use crate::engine::Change;
    case.history.writes.get(found.write).is_some_and(|write| {
        write.changes.iter().any(|change| match change {
            Change::Put { keyspace: of, key, deadline: Some(deadline) } => {
                of == keyspace && *key == found.key && *deadline <= latest
            }
            _ => false,
        })
    })
}

#[cfg(test)]
mod tests {
    use crate::engine::testing::*;

    #[test]
    fn content_that_changes_from_recovery_to_recovery_is_found() {
        let mut h = strict();
        let w = h.put("k").at(1);
        h.dumps(&[("k", 1, w)]);
        h.dumps(&[("k", 1, w)]);
        h.holds();
        h.dumps(&[]);
        h.breaks("engine-recovery-idempotent", "key k of keyspace 16 at version 1");
    }
}
