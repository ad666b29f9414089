//! Starting other programs: where the workspace is, which cargo to call, what became of a child.

use anyhow::{Context, Result};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// The top folder of the workspace this binary was built from.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace")
}

/// The cargo that started us, run in the top folder.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Whether cargo has the external subcommand `name` (`cargo-nextest` for `nextest`).
pub(crate) fn has_subcommand(name: &str) -> bool {
    cargo()
        .args([name, "--version"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Replaces this process by `command`, so that signals and the exit status are the child's own.
///
/// Returns only when the program could not be started.
pub(crate) fn exec(mut command: Command) -> anyhow::Error {
    let program = command.get_program().to_owned();
    let error = command.exec();
    anyhow::Error::new(error).context(format!("{} does not start", program.display()))
}

/// Runs `command` with our own standard streams.
pub(crate) fn run(mut command: Command) -> Result<ExitStatus> {
    let program = command.get_program().to_owned();
    command.status().with_context(|| format!("{} does not start", program.display()))
}

/// Where the built binary `name` lies, according to the JSON messages of a cargo build.
pub(crate) fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_the_one_of_the_named_target() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"dep"},"executable":null}"#,
            "\nnot json\n",
            r#"{"reason":"compiler-artifact","target":{"name":"other"},"executable":"/t/other"}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"sim"},"executable":"/t/sim"}"#,
            "\n"
        );
        assert_eq!(executable(messages, "sim"), Some(PathBuf::from("/t/sim")));
        assert_eq!(executable(messages, "dep"), None);
        assert_eq!(executable(messages, "absent"), None);
    }
}
