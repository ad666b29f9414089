//! The code of the book's tutorial: its first form breaks the law that the page shows broken, its
//! last one holds. The figures on the page are of seed 1; who changes what a seed means runs the
//! commands of the page again.

#![expect(unreachable_pub, reason = "each module is the lib.rs of a crate of its own")]

mod first;
mod fixed;
