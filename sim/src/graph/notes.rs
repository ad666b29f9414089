//! What the world tells the recorder.

use super::Kind;
use crate::world::{Event, World};

impl World {
    /// Records an event, if events are recorded. Its host is that of the running task, or of what it
    /// follows, if `host` is [`NO_HOST`](super::NO_HOST).
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
        self.tell_faults_of(super::NO_HOST, None);
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
