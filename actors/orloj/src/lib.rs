//! What users add and run: the daemon orlojd, the tool orloj, a client for programs that wait, and
//! targets of backups.

pub mod client;
pub mod settings;
pub mod store;
pub mod tool;
