//! Commands that wait for each other in a circle.
//!
//! A command that has its turn waits for another lane's; one that has not waits for the one before
//! it on its lane. So each waits for one other at most, and a walk along finds every circle.

use orloj_net::envelope::Failure;

use super::{Command, Expected, Model, Progress};

impl Model {
    /// Whether any commands wait for each other in a circle, which nothing but time would end.
    ///
    /// # Errors
    /// That one of them was expected to fail.
    pub fn settled(&self) -> Result<(), Expected> {
        for row in &self.in_flight {
            let circle = self.circle(&self.commands[row]);
            if let Some(youngest) = circle.iter().max() {
                let ids: Vec<&str> = circle.iter().map(|row| &*self.commands[row].id).collect();
                let circle = ids.join(" -> ");
                let youngest = &self.commands[youngest].id;
                return Err(format!("DependencyCycle of {youngest}: {circle} wait for each other"));
            }
        }
        Ok(())
    }

    /// The rows of the circle on which `command` is; none if it is on none.
    fn circle(&self, command: &Command) -> Vec<u64> {
        let mut circle = Vec::new();
        let mut at = command;
        while circle.len() <= self.in_flight.len() {
            circle.push(at.row);
            let Some(next) = self.waits_for(at).or_else(|| self.before(at)) else { break };
            if next.row == command.row {
                return circle;
            }
            at = next;
        }
        Vec::new()
    }

    fn before(&self, command: &Command) -> Option<&Command> {
        let queue = &self.lane(&command.envelope.session)?.queue;
        let place = queue.iter().position(|row| *row == command.row)?;
        queue.get(place.checked_sub(1)?).map(|row| &self.commands[row])
    }

    /// Whether a command may fail for the circle that `failure` names: each in it waits for the
    /// next, and none in it is younger.
    pub(super) fn is_victim(&self, command: &Command, failure: &Failure) -> Result<(), Expected> {
        let named = failure.detail("cycle").unwrap_or_default();
        let mut ids: Vec<&str> = named.split(" -> ").collect();
        if ids.len() > 1 && ids.first() == ids.last() {
            ids.pop();
        }
        let mut members: Vec<&Command> = Vec::new();
        for id in ids {
            let known = self.in_flight.iter().map(|row| &self.commands[row]);
            let Some(member) = known.into_iter().find(|command| &*command.id == id) else {
                return Err(format!("a cycle of commands in flight, and {id} is not"));
            };
            members.push(member);
        }
        if let Some(younger) = members.iter().find(|member| member.row > command.row) {
            return Err(format!("DependencyCycle of {}, which is younger", younger.id));
        }
        if !members.iter().any(|member| member.row == command.row) {
            return Err("a cycle that it is part of".to_owned());
        }
        let next = members.iter().cycle().skip(1);
        for (member, next) in members.iter().zip(next) {
            if !self.rests_on(member, next) {
                return Err(format!("a cycle, and {} does not wait for {}", member.id, next.id));
            }
        }
        Ok(())
    }

    /// Whether `command` cannot end well before `other` has ended: it stands behind it, or behind
    /// itself something it depends on does.
    fn rests_on(&self, command: &Command, other: &Command) -> bool {
        let is_at_or_behind = |row: u64| {
            let queue = self.lane(&other.envelope.session).map(|lane| &lane.queue);
            row >= other.row && queue.is_some_and(|queue| queue.contains(&row))
        };
        let from = match command.progress {
            Progress::Waiting { on, .. } => on,
            // It may wait for what has come since.
            Progress::Doomed { again: Some((from, _)), .. } => from,
            Progress::Queued => 0,
            _ => return false,
        };
        let depends = command.envelope.depends_on.iter().skip(from);
        let is_queued_behind = command.row != other.row && is_at_or_behind(command.row);
        is_queued_behind
            || depends.filter_map(|on| self.ids.get(on)).any(|row| is_at_or_behind(*row))
    }
}
