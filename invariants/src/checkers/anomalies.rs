//! Which isolation transactions did not have, from what they read and wrote.
//!
//! From values that say which transaction wrote them follows who came before whom: who wrote what
//! another overwrote (*ww*), who read what another wrote (*wr*), who read what another then
//! overwrote (*rw*). If the transactions happened one after another these dependencies have no
//! cycle, and the kind of a cycle names what went wrong (Adya, "Weak Consistency", 1999). The
//! inference from lists and registers is that of Elle (Kingsbury and Alvaro, VLDB 2020): of a list
//! to which every transaction appends, one read shows the order of all writes before it; of a
//! register it shows one, and the order has to be told or follows from who read before writing.
//!
//! No cycle proves nothing of what nobody read. A cycle proves an anomaly whoever the store is.

mod cycles;
mod depend;
mod graph;
mod internal;
mod lists;
mod registers;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::linearizability::Budget;

/// One thing that a transaction did. Every value is written to its key at most once; one that is
/// written twice tells nothing and is passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Put a value at the end of a list.
    Append(String, i64),
    /// Read a whole list.
    List(String, Vec<i64>),
    /// Wrote a register.
    Write(String, i64),
    /// Removed a register.
    Delete(String),
    /// Read a register; `None` is absent.
    Read(String, Option<i64>),
    /// Read all registers of the keys from the first up to but not including the second: those
    /// that were there. A predicate, in Adya's words.
    Range(String, String, Vec<(String, i64)>),
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It happened.
    Committed,
    /// It did not.
    Aborted,
    /// Nobody knows; it happened if somebody read of it. Its own reads do not count.
    Unknown,
}

/// A transaction as its caller saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Txn {
    /// What it is called in words.
    pub name: String,
    /// Who ran it.
    pub process: u32,
    /// When it began.
    pub began: u64,
    /// When its caller knew what became of it.
    pub ended: u64,
    /// What that was.
    pub fate: Fate,
    /// What it did, in order.
    pub acts: Vec<Act>,
}

/// Orders beside the dependencies that transactions are held to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Beside {
    /// None.
    #[default]
    Nothing,
    /// A process sees its transactions in their order.
    Session,
    /// What was over before another began comes before it.
    RealTime,
}

/// What went wrong, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Of a list two reads contradict each other, so it has no order of writes.
    IncompatibleOrder,
    /// Of a register what was read before what makes a circle.
    CyclicVersions,
    /// A list shows a value twice.
    Duplicate,
    /// A transaction does not see what it did or saw itself.
    Internal,
    /// Writes in a circle: *dirty write*.
    G0,
    /// What was read had been aborted.
    G1a,
    /// What was read was not the last its writer wrote.
    G1b,
    /// Writes and reads in a circle.
    G1c,
    /// Two transactions read the same version of a key and both wrote it.
    LostUpdate,
    /// A circle with one read of what was overwritten: *read skew*.
    GSingle,
    /// A circle with several: *write skew*.
    G2Item,
    /// The same, one of them a predicate: *phantom*.
    G2,
}

/// Levels of isolation, each with all that the ones before it forbid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// No dirty writes: PL-1.
    ReadUncommitted,
    /// No reads of what never was: PL-2.
    ReadCommitted,
    /// One snapshot, and nobody else wrote what it writes.
    SnapshotIsolation,
    /// Items as if one after another: PL-2.99.
    RepeatableRead,
    /// As if one after another: PL-3.
    Serializable,
}

impl Kind {
    /// Its name in the literature.
    pub fn name(self) -> &'static str {
        match self {
            Kind::IncompatibleOrder => "incompatible order",
            Kind::CyclicVersions => "cyclic versions",
            Kind::Duplicate => "duplicate",
            Kind::Internal => "internal inconsistency",
            Kind::G0 => "G0",
            Kind::G1a => "G1a",
            Kind::G1b => "G1b",
            Kind::G1c => "G1c",
            Kind::LostUpdate => "lost update",
            Kind::GSingle => "G-single",
            Kind::G2Item => "G2-item",
            Kind::G2 => "G2",
        }
    }

    /// The lowest level that forbids it.
    pub fn forbidden_from(self) -> Level {
        match self {
            Kind::G0 | Kind::Duplicate => Level::ReadUncommitted,
            Kind::IncompatibleOrder | Kind::CyclicVersions => Level::ReadUncommitted,
            Kind::G1a | Kind::G1b | Kind::G1c => Level::ReadCommitted,
            Kind::Internal | Kind::LostUpdate | Kind::GSingle => Level::SnapshotIsolation,
            Kind::G2Item => Level::RepeatableRead,
            Kind::G2 => Level::Serializable,
        }
    }
}

/// One anomaly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    /// Which.
    pub kind: Kind,
    /// The order beside the dependencies without which there is no circle.
    pub beside: Beside,
    /// The transactions, a circle in its order.
    pub txns: Vec<usize>,
    /// All of it in words.
    pub words: String,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Worst first; of each kind of circle the shortest found of each knot of transactions.
    pub anomalies: Vec<Anomaly>,
    /// Whether the budget sufficed for all circles. A knot is found in any case.
    pub is_complete: bool,
}

impl Findings {
    /// The worst anomaly that `level` forbids.
    pub fn forbidden_by(&self, level: Level) -> Option<&Anomaly> {
        self.anomalies.iter().find(|anomaly| anomaly.kind.forbidden_from() <= level)
    }
}

/// The anomalies of a history. `orders` tells the values of registers in the order in which they
/// were written, oldest first, where that is known; of such a key nothing else is inferred.
///
/// Time and memory grow with the acts; only the search for the shortest circle of a knot takes
/// from `budget`, a step for each dependency it looks at: some ten million a second.
pub fn anomalies(
    txns: &[Txn],
    orders: &BTreeMap<String, Vec<i64>>,
    beside: Beside,
    budget: &mut Budget,
) -> Findings {
    let mut found = Vec::new();
    let writers = depend::Writers::new(txns);
    internal::check(txns, &mut found);
    let mut graph = graph::Graph::new(txns.len());
    lists::depend(txns, &writers, &mut graph, &mut found);
    registers::depend(txns, &writers, orders, &mut graph, &mut found);
    let before = found.len();
    let mut is_complete = cycles::find(txns, &graph, Beside::Nothing, budget, &mut found);
    if found.len() == before && beside != Beside::Nothing {
        // Any circle there is now needs the order beside.
        graph.put_beside(txns, &writers, beside);
        is_complete &= cycles::find(txns, &graph, beside, budget, &mut found);
    }
    found.sort_by_key(|anomaly| anomaly.kind);
    Findings { anomalies: found, is_complete }
}
