//! What common objects mean, for the check of linearizability.

mod counter;
mod kv;
mod list;
mod register;
mod set;

pub use counter::{Counter, CounterOp};
pub use kv::{Kv, KvOp};
pub use list::{List, ListOp};
pub use register::{Register, RegisterOp};
pub use set::{Set, SetOp};

use std::fmt::Debug;

/// `[1, 2]` without the marks of `Debug`; nothing known is `?`.
fn told<O: Debug>(output: Option<&O>) -> String {
    output.map_or("?".to_owned(), |output| format!("{output:?}"))
}
