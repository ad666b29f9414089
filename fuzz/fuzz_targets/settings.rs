//! Goal: no text of a configuration file makes its reader panic or say more than one line, and
//! what is refused names its line.
//! Method: the input is the file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use orloj::settings::Partial;
use std::path::Path;

fuzz_target!(|text: &str| {
    match Partial::parse(Path::new("node.toml"), text) {
        Ok(read) => drop(read.complete()),
        Err(error) => {
            let said = error.to_string();
            assert!(said.starts_with("configuration node.toml, line "), "{said}");
            assert!(!said.contains('\n'), "{said}");
        }
    }
});
