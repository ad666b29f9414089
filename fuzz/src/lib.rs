//! What is fuzzed, a file a target: each judges one input and panics where something is wrong.
//! `fuzz_targets/` calls them under libFuzzer, `tests/tests/it/corpus.rs` with every input that is
//! kept.

pub mod bundle;
pub mod canonical;
pub mod copies;
pub mod effects;
pub mod engine_files;
pub mod journal;
pub mod json_request;
pub mod json_wire;
pub mod native_frames;
pub mod pages;
pub mod peer;
pub mod program;
pub mod records;
pub mod resp_parse;
pub mod resp_reply;
pub mod session;
pub mod settings;
pub mod single_shot;

/// Judges one input of a target.
pub type Judge = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: &[(&str, Judge)] = &[
    ("bundle", bundle::judge),
    ("canonical", canonical::judge),
    ("copies", copies::judge),
    ("effects", effects::judge),
    ("engine_files", engine_files::judge),
    ("journal", journal::judge),
    ("json_request", json_request::judge),
    ("json_wire", json_wire::judge),
    ("native_frames", native_frames::judge),
    ("pages", pages::judge),
    ("peer", peer::judge),
    ("program_commands", program::commands::judge),
    ("program_engine", program::engine::judge),
    ("program_resp", program::resp::judge),
    ("records", records::judge),
    ("resp_parse", resp_parse::judge),
    ("resp_reply", resp_reply::judge),
    ("session", session::judge),
    ("settings", settings::judge),
    ("single_shot", single_shot::judge),
];
