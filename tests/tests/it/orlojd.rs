//! The real daemon as a process, and a client on a plain socket, for the tests that need either.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

/// The daemon's program, built once for this run.
pub(crate) fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let this = std::env::current_exe().expect("this binary has a path");
        let profile = this.parent().and_then(Path::parent).expect("target/PROFILE/deps");
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "orloj", "--bin", "orlojd"]);
        match profile.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => {}
            Some(name) => drop(build.args(["--profile", name])),
        }
        let built = build.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo runs");
        assert!(built.success(), "orlojd does not build");
        profile.join("orlojd")
    })
}

/// A daemon that serves; it ends with the test.
pub(crate) struct Orlojd {
    process: Child,
    /// Where clients connect.
    pub(crate) addr: String,
    /// The line it said so with.
    pub(crate) ready: String,
}

impl Orlojd {
    /// Starts it over `data` at a free port and waits until it is ready.
    pub(crate) fn start(data: &Path, flags: &[&str]) -> Orlojd {
        let is_said = flags.contains(&"--native");
        let native: &[&str] = if is_said { &[] } else { &["--native", "127.0.0.1:0"] };
        let mut process = Command::new(program())
            .arg("--data")
            .arg(data)
            .args(["--resp", "127.0.0.1:0", "--log", "warn"])
            .args(native)
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("orlojd starts");
        let mut ready = String::new();
        let stdout = process.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut ready).expect("it prints text");
        let addr = ready.split_whitespace().find_map(|word| word.strip_prefix("resp="));
        let Some(addr) = addr.map(str::to_owned) else {
            let mut said = String::new();
            let _ = process.stderr.take().expect("it is piped").read_to_string(&mut said);
            panic!("not ready: {ready:?} {said}");
        };
        Orlojd { process, addr, ready }
    }

    /// Where clients of the native protocol connect.
    pub(crate) fn native(&self) -> &str {
        let native = self.ready.split_whitespace().find_map(|word| word.strip_prefix("native="));
        native.expect("it says where")
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(&self.addr).expect("it is ready for clients")
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().expect("kill exists");
        assert!(sent.success());
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("it is our child");
        self.process.wait().expect("it is our child");
    }

    /// Exit code, and everything it said on standard error.
    pub(crate) fn end(&mut self) -> (Option<i32>, String) {
        let status = self.process.wait().expect("it is our child");
        let mut said = String::new();
        let _ = self.process.stderr.take().expect("it is piped").read_to_string(&mut said);
        (status.code(), said)
    }
}

impl Drop for Orlojd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A connection that sends inline commands and reads lines.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    lines: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(addr: &str) -> std::io::Result<Client> {
        let stream = TcpStream::connect(addr)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let lines = BufReader::new(stream.try_clone()?);
        Ok(Client { stream, lines })
    }

    /// Sends lines of words as inline commands, in one write.
    pub(crate) fn send(&mut self, commands: &[String]) -> std::io::Result<()> {
        self.stream.write_all((commands.join("\r\n") + "\r\n").as_bytes())
    }

    /// The next line, without its end; `None` when the connection is over.
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(n) if n > 0 && line.ends_with('\n') => Some(line.trim_end().to_owned()),
            _ => None,
        }
    }

    pub(crate) fn ask(&mut self, command: &str) -> String {
        self.send(&[command.to_owned()]).expect("the node is up");
        let line = self.line().expect("the node is up");
        match line.starts_with('$') && line != "$-1" {
            true => self.line().expect("the node is up"),
            false => line,
        }
    }
}

/// Starts a daemon that must not start: its exit code and the one line it says.
pub(crate) fn refusal(data: &Path, flags: &[&str]) -> (Option<i32>, String) {
    refusal_of(Command::new(program()).arg("--data").arg(data).args(flags))
}

/// As [`refusal`], of a daemon that `command` starts in a way of its own.
pub(crate) fn refusal_of(command: &mut Command) -> (Option<i32>, String) {
    let output = command.args(["--native", "off"]).output().expect("orlojd runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "not ready");
    assert_eq!(said.trim_end().lines().count(), 1, "one line: {said}");
    assert!(!said.contains("panicked"), "{said}");
    (output.status.code(), said)
}
