//! A lane comes to a command, and what it depends on is looked at.

use orloj_net::{
    UnixMs,
    envelope::{Code, Failure},
};

use super::{Command, Expected, Model, Progress};
use crate::commands::{Told, show::show_failure};

/// How a command fails for one that it depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Doom {
    code: Code,
    /// Names and values that its failure must carry.
    details: Vec<(&'static str, String)>,
}

impl Doom {
    pub(super) fn new(code: Code, details: Vec<(&'static str, String)>) -> Doom {
        Doom { code, details }
    }

    pub(super) fn is(&self, failure: &Failure) -> bool {
        let carries = |(name, value): &(&str, String)| failure.detail(name) == Some(value);
        failure.code == self.code && self.details.iter().all(carries)
    }

    pub(super) fn show(&self) -> String {
        let details = self.details.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect();
        show_failure(&Failure { code: self.code, message: String::new(), details })
    }
}

impl Model {
    pub(super) fn started(&mut self, row: u64, told: &Told) -> Result<(), Expected> {
        let Some(command) = self.commands.get(&row) else {
            return Err(format!("the acceptance of row {row} first"));
        };
        if !matches!(command.progress, Progress::Queued) {
            return Err(format!("nothing: {} was started before or is finished", command.id));
        }
        let session = command.envelope.session.clone();
        let first = self.lane(&session).and_then(|lane| lane.queue.front()).copied();
        if let Some(first) = first.filter(|first| *first != row) {
            let first = &self.commands[&first].id;
            return Err(format!("{first} to be finished first, which is before it on its lane"));
        }
        self.count(&session, told)?;
        self.look(row, 0, told.at, false);
        Ok(())
    }

    /// Looks at what a command depends on, from the place `from` of its list on.
    pub(super) fn look(&mut self, row: u64, from: usize, since: UnixMs, again: bool) {
        let again = again.then_some((from, since));
        let command = &self.commands[&row];
        let mut progress = Progress::Ready;
        for (place, on) in command.envelope.depends_on.iter().enumerate().skip(from) {
            let named = vec![("on", on.to_string())];
            let Some(other) = self.ids.get(on).map(|row| &self.commands[row]) else {
                let doom = Doom::new(Code::DependencyUnknown, named);
                progress = Progress::Doomed { doom, again };
                break;
            };
            match &other.progress {
                Progress::Done { outcome, .. } if outcome.end.is_ok() => continue,
                Progress::Done { outcome, .. } => {
                    let how = ("outcome", outcome.end.name().to_owned());
                    let doom = Doom::new(Code::DependencyFailed, [named, vec![how]].concat());
                    progress = Progress::Doomed { doom, again };
                }
                _ if other.envelope.session == command.envelope.session => {
                    let why = ("reason", "same_lane".to_owned());
                    let doom = Doom::new(Code::DependencyFailed, [named, vec![why]].concat());
                    progress = Progress::Doomed { doom, again };
                }
                _ => progress = Progress::Waiting { on: place, since },
            }
            break;
        }
        if let Some(command) = self.commands.get_mut(&row) {
            command.progress = progress;
        }
    }

    /// Those that waited for the command in `row` go on.
    pub(super) fn wake(&mut self, row: u64) {
        let id = self.commands[&row].id.clone();
        let waiting = self.in_flight.iter().filter_map(|row| {
            let command = &self.commands[row];
            match command.progress {
                Progress::Waiting { on, since } if command.envelope.depends_on[on] == id => {
                    Some((*row, on, since))
                }
                _ => None,
            }
        });
        for (row, on, since) in waiting.collect::<Vec<_>>() {
            self.look(row, on, since, true);
        }
    }

    /// The command that `command` waits for now.
    pub(super) fn waits_for(&self, command: &Command) -> Option<&Command> {
        match command.progress {
            Progress::Waiting { on, .. } => {
                self.ids.get(&command.envelope.depends_on[on]).map(|row| &self.commands[row])
            }
            _ => None,
        }
    }
}
