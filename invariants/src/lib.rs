//! The reference model, and one file per law checked against it.
