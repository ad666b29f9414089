//! What users add and run: the daemon orlojd.

pub mod settings;
