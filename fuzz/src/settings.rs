//! Goal: no text of a configuration file makes its reader panic or say more than one line, and
//! what is refused names its line.
//! Method: the input is the file.

use orloj::settings::Partial;
use std::path::Path;

/// Judges one input.
///
/// # Panics
/// If the goal is missed.
pub fn judge(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    match Partial::parse(Path::new("node.toml"), text) {
        Ok(read) => drop(read.complete()),
        Err(error) => {
            let said = error.to_string();
            assert!(said.starts_with("configuration node.toml, line "), "{said}");
            assert!(!said.contains('\n'), "{said}");
        }
    }
}
