//! Goal: commands mean the same from within the process and over a network, on a machine and in a
//! simulation.
//! Method: one suite, written for whatever takes [`Commands`], run on each.

mod suite;
mod world;

/// Makes a test of every body on each way to the database, in each world.
macro_rules! everywhere {
    ($($body:ident),* $(,)?) => {
        mod embedded {
            mod host {
                $(#[test] fn $body() {
                    crate::commands::world::machine(
                        |node, _| crate::commands::suite::$body(node.commands())
                    );
                })*
            }
            mod sim {
                $(#[test] fn $body() {
                    crate::commands::world::simulated(
                        |node, _| crate::commands::suite::$body(node.commands())
                    );
                })*
            }
        }
        mod network {
            mod host {
                $(#[test] fn $body() {
                    crate::commands::world::machine(
                        |node, cx| crate::commands::suite::$body(super::super::client(node, cx))
                    );
                })*
            }
            mod sim {
                $(#[test] fn $body() {
                    crate::commands::world::simulated(
                        |node, cx| crate::commands::suite::$body(super::super::client(node, cx))
                    );
                })*
            }
        }
    };
}

everywhere! {
    every_command_answers,
    refusals_leave_no_trace,
    outcomes_are_replayed,
    sessions_have_versions,
    dependencies_are_kept,
    history_tells_what_was,
    events_tell_lives,
    questions_are_answered,
}

/// A client of that node's native listener.
fn client(node: &orloj_db::Node, cx: orloj_kernel::Context) -> orloj_net::client::Client {
    let addr = node.native_addr().expect("it listens").to_string();
    orloj_net::client::Client::new(cx, orloj_net::client::ClientConfig::new(addr))
}
