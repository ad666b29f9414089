//! Directories as only one process sees them: another file system in their place, or none that can
//! be written to. They are as they were when that process is gone.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// A directory on which something is mounted, for as long as this lives.
pub(crate) struct Mounted {
    /// Holds the mount; it ends when its standard input does.
    holder: Child,
    /// The directory as the holder sees it.
    pub(crate) path: PathBuf,
}

impl Mounted {
    /// Runs `mount`, a line of shell to which the directory is `$1`.
    pub(crate) fn new(dir: &Path, mount: &str) -> Mounted {
        let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
        let mut command = Command::new("unshare");
        // Whoever is not root may mount as the root of a user namespace.
        command.args(if is_root { &["-m"][..] } else { &["-U", "-r", "-m"] });
        command.args(["sh", "-c", &format!("{mount} && echo up && exec cat"), "sh"]).arg(dir);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn().expect("unshare exists (Debian: util-linux)");
        let mut said = String::new();
        let stdout = holder.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut said).expect("it prints text");
        assert_eq!(said, "up\n", "this machine lets nobody mount; allow user namespaces");
        let inside = dir.strip_prefix("/").expect("it is absolute");
        let path = PathBuf::from(format!("/proc/{}/root", holder.id())).join(inside);
        Mounted { holder, path }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
