//! What happened: a rolling hash always, the story on request.

use std::{collections::VecDeque, fmt, io::Write};

use crate::{choice::mix, graph::Tape};

/// How much of a run is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// The hash alone.
    #[default]
    Hash,
    /// Also the last lines that code and faults wrote about themselves.
    Story,
    /// Also who caused what, as a [`Graph`](crate::graph::Graph) in the report.
    Graph,
    /// The story, and in its sink every poll, event and choice. For finding the first difference between two runs.
    Events,
}

/// One line of a story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Simulated nanoseconds since the run began.
    pub at: u64,
    /// The host it happened on, or `world`.
    pub host: String,
    /// Who wrote it.
    pub target: &'static str,
    /// What happened.
    pub text: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (s, us) = (self.at / 1_000_000_000, self.at / 1_000 % 1_000_000);
        let time = format!("{s}.{:03} {:03}", us / 1000, us % 1000);
        write!(f, "{time:>12}  {:<8} {:<10} {}", self.host, self.target, self.text)
    }
}

/// The record of one run.
pub(crate) struct Trace {
    pub(crate) hash: u64,
    pub(crate) events: u64,
    pub(crate) detail: Detail,
    /// Whether each poll and event is looked at: the one branch when it is not.
    pub(crate) close: bool,
    /// The events with their causes, if they are recorded.
    pub(crate) tape: Option<Box<Tape>>,
    story: VecDeque<Line>,
    sink: Option<Box<dyn Write + Send>>,
}

impl Trace {
    /// Lines of story that are kept.
    const KEPT: usize = 4_096;

    pub(crate) fn new(detail: Detail, sink: Option<Box<dyn Write + Send>>) -> Trace {
        Trace {
            hash: 0,
            events: 0,
            detail,
            close: detail >= Detail::Graph,
            tape: (detail == Detail::Graph).then(Box::default),
            story: VecDeque::new(),
            sink,
        }
    }

    /// Something happened, told by two words of it.
    #[inline]
    pub(crate) fn event(&mut self, a: u64, b: u64) {
        self.events += 1;
        self.hash = mix(self.hash, a ^ b.rotate_left(40));
    }

    #[inline]
    pub(crate) fn tells(&self) -> bool {
        self.detail >= Detail::Story
    }

    /// Adds a line to the story. It leaves the hash alone: a run is the same whether or not it is
    /// told.
    pub(crate) fn tell(&mut self, line: Line) {
        if let Some(sink) = &mut self.sink {
            // A trace that cannot be written must not change the run.
            let _ = writeln!(sink, "{line}");
        }
        if self.story.len() == Trace::KEPT {
            self.story.pop_front();
        }
        self.story.push_back(line);
    }

    /// Writes one line of bookkeeping, at full detail only.
    #[cold]
    pub(crate) fn note(&mut self, at: u64, what: fmt::Arguments<'_>) {
        if let Some(sink) = &mut self.sink {
            let _ = writeln!(sink, "{at} {what} #{:016x}", self.hash);
        }
    }

    pub(crate) fn finish(mut self) -> Vec<Line> {
        if let Some(sink) = &mut self.sink {
            let _ = sink.flush();
        }
        self.story.into()
    }
}
