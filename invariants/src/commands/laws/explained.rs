//! Law: every step that the node tells of is one that the single-threaded reference model takes
//! there, and nothing that waits in a circle is left to time.
//!
//! Source: specification of causal commands, sections 3 to 7 and P10.
//!
//! Broken, the database does something that its rules do not.

use std::time::Duration;

use orloj_net::UnixMs;

use super::{Broken, Case, CommandLaw};
use crate::commands::{Item, Model, Place};

pub(super) const LAW: CommandLaw = CommandLaw {
    name: "explained",
    promise: "The whole history is explained by the single-threaded reference model.",
    check,
};

/// How long commands may wait for each other before one of them fails: a turn or two, which come
/// soon. What undid the end of a circle may have made it anew.
const CIRCLE: Duration = Duration::from_millis(100);

fn check(case: &Case<'_>) -> Result<(), Broken> {
    case.account.views(|items| {
        let mut model = Model::new(case.history.limits);
        let mut before: Option<Place> = None;
        let mut circle: Option<UnixMs> = None;
        for item in items {
            let Item::Step(place) = item else {
                (before, circle) = (None, None);
                model.recover();
                continue;
            };
            let told = case.account.told(*place);
            // What belongs together is told together: look behind the end of each turn.
            if let Some(before) =
                before.filter(|before| case.account.told(*before).turn < told.turn)
            {
                let now = case.account.told(before).at;
                if let Err(expected) = model.settled() {
                    let since = *circle.get_or_insert(now);
                    if now > since.after(CIRCLE) {
                        return Err(unexpected(case, before, &expected));
                    }
                } else {
                    circle = None;
                }
            }
            model.explain(told).map_err(|expected| unexpected(case, *place, &expected))?;
            before = Some(*place);
        }
        Ok(())
    })
}

fn unexpected(case: &Case<'_>, place: Place, expected: &str) -> Broken {
    case.wrong(place, format!("the model expected {expected}"))
}

#[cfg(test)]
mod tests;
