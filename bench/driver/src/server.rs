//! The two servers under load: how to get them, start them, charge them for CPU, and stop them.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::time::{clock_getcpuclockid, clock_gettime};
use rustix::process::{Pid, Signal, kill_process};

/// How long a server may take to say that it is ready, or to end when asked to.
const PATIENCE: Duration = Duration::from_secs(30);

/// What an answered write survives, in our words; redis has a setting for each.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Nothing: `appendonly no`.
    InMemory,
    /// A crash of the process, and all but the last second of a crash of the machine:
    /// `appendfsync everysec`.
    Buffered,
    /// A crash of the machine: `appendfsync always`.
    Strict,
}

impl Durability {
    /// The name the daemon knows it by.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Durability::InMemory => "in_memory",
            Durability::Buffered => "buffered",
            Durability::Strict => "strict",
        }
    }
}

/// A server that listens on a loopback port and keeps its data in a directory of its own; dropping
/// it kills the process and removes the directory.
pub(crate) struct Server {
    child: Child,
    name: &'static str,
    port: u16,
    /// Of the native protocol; 0 is none.
    native: u16,
    dir: PathBuf,
}

impl Server {
    /// Starts Debian's redis-server and waits until it is ready.
    ///
    /// # Errors
    ///
    /// It does not start, or its log says so.
    pub(crate) fn start_redis(durability: Durability, dir: PathBuf) -> Result<Server> {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--loglevel", "notice"]);
        command.args(["--auto-aof-rewrite-percentage", "0"]);
        command.args(match durability {
            Durability::InMemory => ["--appendonly", "no", "--appendfsync", "no"],
            Durability::Buffered => ["--appendonly", "yes", "--appendfsync", "everysec"],
            Durability::Strict => ["--appendonly", "yes", "--appendfsync", "always"],
        });
        let port = free_port()?;
        command.args(["--port", &port.to_string()]);
        command.arg("--dir").arg(&dir);
        Server::start("redis-server", command, port, dir)
    }

    /// Starts the daemon at `program` and waits until it is ready.
    ///
    /// # Errors
    ///
    /// It does not start, or says nothing of being ready.
    pub(crate) fn start_orlojd(
        program: &Path,
        durability: Durability,
        dir: PathBuf,
    ) -> Result<Server> {
        let port = free_port()?;
        let mut command = Command::new(program);
        command.arg("--data").arg(dir.join("data"));
        command.args(["--resp", &format!("127.0.0.1:{port}")]);
        command.args(["--native", "off"]);
        command.args(["--durability", durability.name()]);
        Server::start("orlojd", command, port, dir)
    }

    /// Starts the daemon for commands in envelopes as well, without limits of their rate.
    ///
    /// # Errors
    ///
    /// It does not start, or says nothing of being ready.
    pub(crate) fn start_for_commands(
        program: &Path,
        durability: Durability,
        dir: PathBuf,
    ) -> Result<Server> {
        let (port, native) = (free_port()?, free_port()?);
        let mut command = Command::new(program);
        command.arg("--data").arg(dir.join("data"));
        command.args(["--resp", &format!("127.0.0.1:{port}")]);
        command.args(["--native", &format!("127.0.0.1:{native}")]);
        command.args(["--durability", durability.name(), "--cache-mib", "1024"]);
        command.args(["--session-rate", "0", "--global-rate", "0"]);
        let mut server = Server::start("orlojd", command, port, dir)?;
        server.native = native;
        Ok(server)
    }

    fn start(name: &'static str, mut command: Command, port: u16, dir: PathBuf) -> Result<Server> {
        if dir.exists() {
            std::fs::remove_dir_all(&dir)?;
        }
        std::fs::create_dir_all(&dir)
            .with_context(|| format!("cannot create {}", dir.display()))?;
        let path = dir.join("log");
        let log = File::create(&path)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let mut server = Server { child, name, port, native: 0, dir };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = std::fs::read_to_string(&path)?;
            if said.to_lowercase().contains("ready") {
                return Ok(server);
            }
            if let Some(status) = server.child.try_wait()? {
                bail!("{name} ended with {status} before it was ready:\n{said}");
            }
            if Instant::now() > deadline {
                bail!("{name} is not ready after {PATIENCE:?}:\n{said}");
            }
            sleep(Duration::from_millis(20));
        }
    }

    /// The loopback port it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The loopback port of the native protocol.
    pub(crate) fn native_port(&self) -> u16 {
        self.native
    }

    /// Memory that it has in use, in MiB.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub(crate) fn resident_mib(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
        Ok(kib.context("no VmRSS")? / 1024.0)
    }

    /// CPU time of all its threads so far, those that ended included, in user and kernel mode.
    ///
    /// `/proc` counts in ticks of 10 ms, too coarse for a short run; the clock of a process does
    /// not.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        let clock = clock_getcpuclockid(pid).with_context(|| format!("{} has ended", self.name))?;
        Ok(clock_gettime(clock)?.into())
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Errors
    ///
    /// It does not end in time, or ends with an error.
    pub(crate) fn stop(mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("{} ended with {status}", self.name),
                None if Instant::now() > deadline => bail!("{} does not end", self.name),
                None => sleep(Duration::from_millis(20)),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // All three may fail only because it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Builds our daemon from the repository this crate lies in and says where it is.
///
/// # Errors
///
/// It does not build.
pub(crate) fn build_orlojd() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = root.join("target");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--quiet", "-p", "orloj", "--bin", "orlojd"]);
    cargo.arg("--manifest-path").arg(root.join("Cargo.toml"));
    cargo.arg("--target-dir").arg(&target);
    let output = cargo.output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("orlojd does not build:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(target.join("release/orlojd"))
}
