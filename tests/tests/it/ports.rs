//! The conformance suite of the ports: every body runs on a machine and in a simulation.
//!
//! A body is an async function of one context, or of the contexts of two hosts. It may rest on what
//! the documentation of `orloj_kernel` promises and on nothing else. The simulator is no mock
//! because this suite holds both runtimes to the same words.

/// Makes a test on each runtime of every body named: `one` are functions of a context, `two` of the
/// contexts of two hosts.
macro_rules! conformance {
    (one: [$($one:ident),* $(,)?], two: [$($two:ident),* $(,)?] $(,)?) => {
        mod host {
            $(#[test] fn $one() { crate::ports::world::one_machine(super::$one); })*
            $(#[test] fn $two() { crate::ports::world::two_on_a_machine(super::$two); })*
        }
        mod sim {
            $(#[test] fn $one() { crate::ports::world::one_simulated(super::$one); })*
            $(#[test] fn $two() { crate::ports::world::two_simulated(super::$two); })*
        }
    };
}

/// The same, of a port that the simulator does not have yet.
macro_rules! machine_only {
    (one: [$($one:ident),* $(,)?], two: [$($two:ident),* $(,)?] $(,)?) => {
        mod host {
            $(#[test] fn $one() { crate::ports::world::one_machine(super::$one); })*
            $(#[test] fn $two() { crate::ports::world::two_on_a_machine(super::$two); })*
        }
    };
}

mod actors;
mod datagrams;
mod disk;
mod entropy;
mod probe;
mod shutdown;
mod streams;
mod supervision;
mod tasks;
mod time;
mod world;
