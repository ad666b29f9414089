//! Traps: what simulated code asks of the machine past its context.
//!
//! Every binary that links this crate calls the C library's clocks, randomness, threads, sleeps and
//! sockets through the functions of [`symbols`]. Outside of a simulated task they pass the call on.
//! Inside of one they answer from the world, and by policy the run fails, with a backtrace of the
//! first such call. System calls made without the C library are not seen.

use std::{backtrace::Backtrace, cell::Cell};

use orloj_kernel::{Context, try_ambient};

use crate::{verdict::Failure, world::try_current};

#[cfg(all(target_os = "linux", target_env = "gnu", not(miri)))]
mod symbols;

/// What happens when simulated code asks the machine for time, randomness, a thread or a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Traps {
    /// The run fails.
    #[default]
    Deny,
    /// Clocks show the host's time, randomness comes from the host's stream, and one processor is
    /// there. Threads, sleeps and sockets fail the run all the same.
    Virtualise,
    /// The machine answers.
    Off,
}

thread_local! {
    /// Without a destructor, so that it can be read at any time in the life of a thread and in a
    /// signal handler.
    static ARMED: Cell<Traps> = const { Cell::new(Traps::Off) };
}

/// Traps are armed on this thread until this is dropped.
#[derive(Debug)]
pub(crate) struct Armed(Traps);

impl Drop for Armed {
    fn drop(&mut self) {
        ARMED.set(self.0);
    }
}

/// Arms the traps of this thread. Only calls made by a task, while the world is not in use, spring
/// them: the simulator itself may ask the machine what it likes.
pub(crate) fn arm(traps: Traps) -> Armed {
    Armed(ARMED.replace(traps))
}

/// How bad a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    /// The world has an answer of its own.
    Answered,
    /// Nothing in a world can stand for it.
    Refused,
}

/// The context of the task that makes `call`, if it is one and this is not the machine's to answer.
#[inline]
fn caught(call: Call, name: &'static str) -> Option<Context> {
    match ARMED.get() {
        Traps::Off => None,
        traps => spring(traps, call, name),
    }
}

#[cold]
fn spring(traps: Traps, call: Call, name: &'static str) -> Option<Context> {
    let context = try_ambient()?;
    let failed = try_current(|w| w.failure.is_some())?;
    if !failed && (traps == Traps::Deny || call == Call::Refused) {
        // Taking a backtrace may ask the machine again.
        let _disarmed = arm(Traps::Off);
        let backtrace = Some(Backtrace::force_capture().to_string());
        let evidence = format!("simulated code called `{name}` of the machine");
        let failure = Failure { law: "trap".to_owned(), evidence, backtrace };
        try_current(|w| w.fail(failure));
    }
    Some(context)
}
