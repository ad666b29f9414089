//! A checkout of the repository one stands in, beside the one that is there, built on its own.

use std::path::{Path, PathBuf};

use super::machine::{self, Scratch};

/// A work tree with its own build, given back when dropped.
pub(super) struct Checkout {
    tree: PathBuf,
    /// Holds `tree`.
    _scratch: Scratch,
}

impl Checkout {
    /// Checks a commit out.
    pub(super) fn of(commit: &str) -> Result<Checkout, String> {
        let scratch = Scratch::new()?;
        let tree = scratch.path().join("tree");
        let place = tree.display().to_string();
        git(&["worktree", "add", "--detach", "--quiet", &place, commit])?;
        Ok(Checkout { tree, _scratch: scratch })
    }

    /// Runs git in it, and returns what it printed.
    pub(super) fn git(&self, args: &[&str]) -> Result<String, String> {
        tool(&self.tree, "git", args)
    }

    /// Builds the simulator, upon what the last build left, and returns where it is.
    pub(super) fn build(&self, profile: &str) -> Result<PathBuf, String> {
        let package = ["--package", "orloj-scenarios", "--bin", "sim"];
        let target = self.tree.join("target");
        let place = target.display().to_string();
        let build = ["build", "--quiet", "--profile", profile, "--target-dir", &place];
        tool(&self.tree, "cargo", &[&build[..], &package].concat())?;
        let folder = if profile == "dev" { "debug" } else { profile };
        Ok(target.join(folder).join("sim"))
    }

    /// Runs what was built there to its end: its status.
    pub(super) fn run(&self, binary: &Path, args: &[&str]) -> Result<Option<i32>, String> {
        let binary = binary.display().to_string();
        Ok(machine::run_in(&self.tree, &binary, args)?.1)
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        // One that stays known to git is pruned by it when its directory is gone.
        let _ = git(&["worktree", "remove", "--force", &self.tree.display().to_string()]);
    }
}

/// Runs git where one stands, and returns what it printed.
pub(super) fn git(args: &[&str]) -> Result<String, String> {
    tool(Path::new("."), "git", args)
}

fn tool(dir: &Path, name: &str, args: &[&str]) -> Result<String, String> {
    match machine::run_in(dir, name, args)? {
        (output, Some(0)) => Ok(output),
        (output, _) => Err(format!("{name} {}: {}", args.join(" "), output.trim())),
    }
}
