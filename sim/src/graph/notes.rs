//! What the world tells the recorder.

use super::{Kind, NO_HOST};
use crate::{
    task::TaskId,
    trace::{Detail, Line},
    world::{Event, World},
};

impl World {
    /// Adds to the story, if it is told.
    pub(crate) fn tell(
        &mut self,
        host: Option<u32>,
        target: &'static str,
        text: std::fmt::Arguments<'_>,
    ) {
        self.tell_as(Kind::Story, host, target, text);
    }

    /// As [`World::tell`], as a kind of event; its number, if events are recorded.
    pub(crate) fn tell_as(
        &mut self,
        kind: Kind,
        host: Option<u32>,
        target: &'static str,
        text: std::fmt::Arguments<'_>,
    ) -> Option<u32> {
        if !self.trace.tells() {
            return None;
        }
        let text = text.to_string();
        let recorded = self.record(kind, host.unwrap_or(NO_HOST), Some(target), &text, None);
        let host = host.map_or("world".to_owned(), |h| self.hosts[h as usize].name.clone());
        self.trace.tell(Line { at: self.now, host, target, text });
        recorded
    }

    /// A task's turn begins.
    #[cold]
    pub(crate) fn note_poll(&mut self, id: TaskId, host: u32) {
        self.tell_faults();
        let slot = id.slot();
        let (name, made, digest) =
            (self.names[slot as usize], self.choices.made(), self.choices.digest);
        if let Some(tape) = &mut self.trace.tape {
            tape.turn(id, (host, name), self.now, made);
            return;
        }
        let host = &self.hosts[host as usize].name;
        self.trace.note(
            self.now,
            format_args!("poll {slot} {name} on {host}; choices {made} {digest:016x}"),
        );
    }

    /// As [`World::carry`], noted.
    #[cold]
    pub(crate) fn happen_noted(&mut self, event: Event) {
        self.note_event(event);
        if self.carry(event) && self.trace.detail == Detail::Events {
            self.trace.note(self.now, format_args!("event {event:?}"));
        }
        self.tell_faults();
    }

    /// Records an event, if events are recorded. Its host is that of the running task, or of what
    /// it follows, if `host` is [`NO_HOST`].
    #[cold]
    pub(crate) fn record(
        &mut self,
        kind: Kind,
        host: u32,
        actor: Option<&'static str>,
        text: &str,
        of: Option<u32>,
    ) -> Option<u32> {
        if self.trace.tape.as_ref().is_none_or(|tape| tape.is_over) {
            return None;
        }
        if kind != Kind::Fault {
            self.tell_faults_of(host, actor);
        }
        let choices = self.choices.made();
        let tape = self.trace.tape.as_mut()?;
        let id = tape.record(self.now, host, (kind, actor), text.to_owned(), of, choices);
        self.stop_if_told();
        Some(id)
    }

    /// Something is about to happen in no task's turn.
    #[cold]
    pub(crate) fn note_event(&mut self, event: Event) {
        self.tell_faults();
        let Some(tape) = &mut self.trace.tape else { return };
        tape.no_turn(matches!(event, Event::Timer { .. }));
        if let Event::Net(event) = event {
            self.note_arrival(event);
        }
    }

    /// Records the faults that were counted since this was last called.
    #[cold]
    pub(crate) fn tell_faults(&mut self) {
        self.tell_faults_of(NO_HOST, None);
    }

    fn tell_faults_of(&mut self, host: u32, actor: Option<&'static str>) {
        let Some(tape) = &mut self.trace.tape else { return };
        let told = std::mem::replace(&mut tape.told, self.faults.clone());
        let news: Vec<(&str, u64)> = self
            .faults
            .injections()
            .map(|(class, times)| (class.name(), times - told.injected(class)))
            .filter(|(_, times)| *times > 0)
            .collect();
        for (name, times) in news {
            let text = if times > 1 { format!("{name}, {times} times") } else { name.to_owned() };
            self.record(Kind::Fault, host, actor, &text, None);
        }
    }
}
