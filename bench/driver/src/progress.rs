//! One line on standard error that says what is going on.

use std::io::{IsTerminal, Write};

/// The progress line: rewritten in place on a terminal, one line a step elsewhere.
pub(crate) struct Progress {
    terminal: bool,
}

impl Progress {
    pub(crate) fn new() -> Progress {
        Progress { terminal: std::io::stderr().is_terminal() }
    }

    /// Announces a step that takes a while.
    pub(crate) fn step(&self, what: &str) {
        if self.terminal {
            self.overwrite(what);
        } else {
            eprintln!("{what}");
        }
    }

    /// Announces a step of many; a file full of them would help nobody.
    pub(crate) fn tick(&self, what: &str) {
        if self.terminal {
            self.overwrite(what);
        }
    }

    /// Leaves the line to whoever prints next.
    pub(crate) fn clear(&self) {
        self.tick("");
    }

    fn overwrite(&self, what: &str) {
        eprint!("\r\x1b[2K{what}");
        // Nothing is lost when a progress line cannot be written.
        let _ = std::io::stderr().flush();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.tick("");
    }
}
