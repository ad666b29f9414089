//! Law: a command that ends `ok` comes behind the `ok` of every command it depends on.
//!
//! Source: specification of causal commands, section 5 and P4.
//!
//! Broken, somebody is paid for an order that failed.

use std::collections::BTreeMap;

use orloj_net::envelope::Id;

use super::{Broken, Case, CommandLaw};
use crate::commands::What;

pub(super) const LAW: CommandLaw = CommandLaw {
    name: "after-dependencies",
    promise: "A dependent's effects never precede a successful dependency.",
    check,
};

#[derive(Default)]
struct Seen<'h> {
    depends: BTreeMap<u64, (&'h Id, &'h [Id])>,
    /// How commands ended, by id.
    ends: BTreeMap<&'h Id, &'static str>,
}

fn check(case: &Case<'_>) -> Result<(), Broken> {
    case.each_step(|seen: &mut Seen<'_>, told| match &told.what {
        What::Accepted { row, id, envelope } => {
            seen.depends.insert(*row, (id, &envelope.depends_on));
            // An id that was let go and is used again is another command.
            seen.ends.remove(id);
            Ok(())
        }
        What::Finished { row, outcome } => {
            let Some((id, depends)) = seen.depends.get(row) else { return Ok(()) };
            let ended = |on: &Id| seen.ends.get(on).copied().unwrap_or("not at all");
            let wrong = depends.iter().find(|on| ended(on) != "ok");
            if let (Some(on), true) = (wrong, outcome.end.is_ok()) {
                return Err(format!("{on}, on which it depends, has ended {}", ended(on)));
            }
            seen.ends.insert(id, outcome.end.name());
            Ok(())
        }
        _ => Ok(()),
    })
}

#[cfg(test)]
mod tests {
    use orloj_net::envelope::{Code, End};

    use super::LAW;
    use crate::commands::testing::*;

    #[test]
    fn a_dependent_behind_its_dependency_holds() {
        let mut h = strict();
        h.does(&create("s"), int(0));
        h.turn();
        let second = h.sends(&data(incr("n", 1)).id("b").after("a"));
        let first = h.sends(&data(incr("n", 1)).id("a").session("s"));
        h.starts(second);
        h.starts(first);
        h.ends(first, End::Ok(int(1)));
        h.ends(second, End::Ok(int(2)));
        h.holds();
    }

    #[test]
    fn a_dependent_before_its_dependency_is_found() {
        let mut h = strict();
        h.does(&create("s"), int(0));
        h.turn();
        let second = h.sends(&data(incr("n", 1)).id("b").after("a"));
        let first = h.sends(&data(incr("n", 1)).id("a").session("s"));
        h.starts(second);
        h.starts(first);
        h.ends(second, End::Ok(int(1)));
        h.ends(first, End::Ok(int(2)));
        h.breaks(LAW.name, "a, on which it depends, has ended not at all");
    }

    #[test]
    fn a_dependent_of_a_failure_is_found() {
        let mut h = strict();
        h.does(&data(set("k", "x")), ok());
        let why = [("reason", "not_an_integer")];
        h.runs(&data(incr("k", 1)).id("a"), failed(Code::Invalid, &why));
        let mut right = h.clone();
        let why = [("on", "a"), ("outcome", "failed")];
        right.runs(&data(set("k", "y")).id("b").after("a"), failed(Code::DependencyFailed, &why));
        right.holds();
        h.does(&data(set("k", "y")).id("b").after("a"), ok());
        h.breaks(LAW.name, "a, on which it depends, has ended failed");
    }
}
