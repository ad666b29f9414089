//! What users add and run: the daemon orlojd, the tool orloj, and targets of backups.

pub mod settings;
pub mod store;
pub mod tool;
