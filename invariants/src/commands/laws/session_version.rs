//! Law: a session begins at version 0, and each of its commands that ends `ok` and may change
//! something adds exactly 1; nothing else does. What a command is told is the version behind it.
//!
//! Source: specification of causal commands, section 6 and P5.
//!
//! Broken, `if_session_version` lets a lost update through.

use std::collections::BTreeMap;

use orloj_net::envelope::{Call, Envelope, SessionName};

use super::{Broken, Case, CommandLaw};
use crate::commands::What;

pub(super) const LAW: CommandLaw = CommandLaw {
    name: "session-version",
    promise: "The session version is monotonic and gap-free over effects, across restarts.",
    check,
};

#[derive(Default)]
struct Sessions<'h> {
    asked: BTreeMap<u64, &'h Envelope>,
    versions: BTreeMap<&'h SessionName, u64>,
}

fn check(case: &Case<'_>) -> Result<(), Broken> {
    case.each_step(|sessions: &mut Sessions<'_>, told| match &told.what {
        What::Accepted { row, envelope, .. } => {
            sessions.asked.insert(*row, envelope);
            Ok(())
        }
        What::Finished { row, outcome } => {
            let Some(envelope) = sessions.asked.get(row) else { return Ok(()) };
            let versions = &mut sessions.versions;
            let expected = envelope.session.as_ref().and_then(|name| {
                match (&envelope.call, outcome.end.is_ok()) {
                    (Call::CreateSession, true) => {
                        versions.insert(name, 0);
                    }
                    (Call::DeleteSession, true) => {
                        versions.remove(name);
                    }
                    (Call::Data(command), true) if command.is_write() => {
                        versions.entry(name).and_modify(|version| *version += 1);
                    }
                    _ => {}
                }
                versions.get(name).copied()
            });
            if outcome.session_version == expected {
                return Ok(());
            }
            let expected = expected.map_or("none".to_owned(), |version| version.to_string());
            Err(format!("the session version behind it is {expected}"))
        }
        _ => Ok(()),
    })
}

#[cfg(test)]
mod tests {
    use orloj_net::envelope::Code;

    use super::LAW;
    use crate::{Ending, commands::testing::*};

    #[test]
    fn versions_count_effects_and_nothing_else() {
        let mut h = strict();
        h.does(&create("s"), int(0));
        h.does(&data(set("k", "a")).session("s"), ok());
        h.does(&data(get("k")).session("s"), bulk("a"));
        let why = [("reason", "not_an_integer")];
        h.runs(&data(incr("k", 1)).session("s"), failed(Code::Invalid, &why));
        h.does(&load("s"), int(1));
        h.dies(Ending::Crash);
        h.recovers(5);
        h.does(&load("s"), int(1));
        h.does(&delete("s"), ok());
        h.does(&create("s"), int(0));
        h.holds();
    }

    #[test]
    fn a_version_that_stands_still_or_leaps_is_found() {
        for wrong in [Some(0), Some(2), None] {
            let mut h = strict();
            h.does(&create("s"), int(0));
            h.does(&data(set("k", "a")).session("s"), ok());
            h.last_outcome().session_version = wrong;
            h.breaks(LAW.name, "the session version behind it is 1");
        }
    }

    #[test]
    fn a_read_that_counts_and_a_restart_that_forgets_are_found() {
        let mut h = strict();
        h.does(&create("s"), int(0));
        h.does(&data(get("k")).session("s"), nil());
        h.last_outcome().session_version = Some(1);
        h.breaks(LAW.name, "the session version behind it is 0");
        let mut h = strict();
        h.does(&create("s"), int(0));
        h.does(&data(set("k", "a")).session("s"), ok());
        h.dies(Ending::Crash);
        h.recovers(2);
        h.does(&data(set("k", "b")).session("s"), ok());
        h.last_outcome().session_version = Some(1);
        h.breaks(LAW.name, "the session version behind it is 2");
    }
}
