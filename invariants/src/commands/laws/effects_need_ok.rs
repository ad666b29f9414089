//! Law: what can be read at the end, keys and sessions, is what the commands that ended `ok` have
//! made, and those without an envelope.
//!
//! Source: specification of causal commands, section 4 and P2: effects are visible if and only if
//! the outcome is `ok`.
//!
//! Broken, a command that failed has done something, or one that succeeded has not.

use std::collections::BTreeMap;

use orloj_net::envelope::SessionName;

use super::{Broken, Case, CommandLaw};
use crate::{
    Entry,
    commands::{Dump, Item, Model},
    show::show_entry,
    show_bytes,
};

pub(super) const LAW: CommandLaw = CommandLaw {
    name: "effects-need-ok",
    promise: "Effects are visible if and only if the outcome is ok.",
    check,
};

fn check(case: &Case<'_>) -> Result<(), Broken> {
    case.history.dumps.iter().try_for_each(|dump| agrees(case, dump))
}

/// The model behind everything that was told before the full read.
fn model(case: &Case<'_>, dump: &Dump) -> Option<Model> {
    let life = case.history.lives.iter().rposition(|life| life.began <= dump.seen)?;
    let mut model = None;
    let _ = case.account.views(|items| {
        let is_its = items.iter().rev().find_map(|item| match item {
            Item::Recovered { life } => Some(*life),
            Item::Step(_) => None,
        });
        if is_its != Some(life) {
            return Ok::<(), ()>(());
        }
        let mut behind = Model::new(case.history.limits);
        for item in items {
            let explained = match item {
                Item::Recovered { .. } => {
                    behind.recover();
                    Ok(())
                }
                Item::Step(place) => {
                    let told = case.account.told(*place);
                    if told.seen <= dump.seen { behind.explain(told) } else { Ok(()) }
                }
            };
            // A step that cannot be explained is `explained`'s matter.
            if explained.is_err() {
                model = None;
                return Err(());
            }
        }
        model = Some(behind);
        Ok(())
    });
    model
}

fn agrees(case: &Case<'_>, dump: &Dump) -> Result<(), Broken> {
    let Some(model) = model(case, dump) else { return Ok(()) };
    let expected: Vec<Entry> = model
        .store()
        .entries(dump.at)
        .map(|(key, value, deadline)| Entry { key: key.clone(), value: value.clone(), deadline })
        .collect();
    // What expired while the store was read may have been met or not.
    let lives_on = |entry: &&Entry| entry.deadline.is_none_or(|deadline| deadline > dump.at);
    let wrong = |a: &[Entry], b: &[Entry]| {
        a.iter().filter(lives_on).find(|entry| !b.contains(entry)).cloned()
    };
    let differs = wrong(&dump.entries, &expected).or_else(|| wrong(&expected, &dump.entries));
    if let Some(Entry { key, .. }) = differs {
        let at = |entries: &[Entry]| {
            let entry = entries.iter().find(|entry| entry.key == key);
            entry.map_or("absent".to_owned(), show_entry)
        };
        let evidence = format!(
            "{} is {} in a full read, and commands that ended ok have left it {}",
            show_bytes(&key),
            at(&dump.entries),
            at(&expected)
        );
        let mut broken = Broken::new(dump.seen, evidence);
        broken.about.keys.push(key);
        return Err(broken);
    }
    let shown = dump.sessions.iter().map(|s| (s.name.clone(), (s.version, s.lane_sequence)));
    let shown: BTreeMap<SessionName, (u64, u64)> = shown.collect();
    let expected = model.sessions();
    if shown != expected {
        let names = shown.keys().chain(expected.keys());
        let name = names.into_iter().find(|name| shown.get(*name) != expected.get(*name));
        let name = name.cloned().unwrap_or_else(|| "".into());
        let evidence = format!(
            "session {name} has version and lane sequence {:?} in a full read; its commands left \
             {:?}",
            shown.get(&name),
            expected.get(&name)
        );
        return Err(Broken::new(dump.seen, evidence));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use orloj_net::envelope::Code;

    use super::LAW;
    use crate::commands::testing::*;

    #[test]
    fn what_ended_ok_is_there_and_nothing_else() {
        let mut h = strict();
        h.does(&create("s"), int(0));
        h.does(&data(set("k", "a")).session("s"), ok());
        h.runs(&data(incr("k", 1)), failed(Code::Invalid, &[("reason", "not_an_integer")]));
        h.plain(set("j", "b"), ok());
        let mut missing = h.clone();
        let mut surplus = h.clone();
        let mut session = h.clone();
        h.dumps(0, &[("j", "b"), ("k", "a")]);
        h.holds();
        missing.dumps(0, &[("j", "b")]);
        missing.breaks(LAW.name, "k is absent in a full read, and commands that ended ok have");
        surplus.dumps(0, &[("j", "b"), ("k", "b")]);
        surplus.breaks(LAW.name, "k is b in a full read");
        session.dumps(0, &[("j", "b"), ("k", "a")]).sessions[0].version = 2;
        session.breaks(LAW.name, "session s has version and lane sequence Some((2, 6))");
    }
}
