//! The life of a daemon under `orloj_host::run`, in a real process that gets real signals.

use std::{
    future::pending,
    io::{BufRead, BufReader, Lines, Read},
    os::unix::process::ExitStatusExt,
    process::{Child, ChildStdout, Command, ExitCode, Stdio},
    time::Duration,
};

use orloj_host::{Options, run};

/// What the daemon of these tests does once it is up, by the environment variable of this name.
const ROLE: &str = "ORLOJ_TEST_ROLE";

/// Not a test but the process that the tests start: this binary, so that no other is needed.
#[test]
fn daemon() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let outcome = run(Options::new("unused"), async |cx, shutdown| {
        println!("up");
        match role.as_str() {
            "drains" => {
                shutdown.wait().await;
                cx.sleep(Duration::from_millis(50)).await;
                println!("drained");
            }
            "hangs" => {
                shutdown.wait().await;
                println!("hangs");
                pending::<()>().await;
            }
            "panics" => {
                cx.spawn("panics", async { panic!("on purpose") });
                pending::<()>().await;
            }
            role => panic!("no such role: {role}"),
        }
        ExitCode::SUCCESS
    });
    assert_eq!(outcome.expect("a runtime starts"), ExitCode::SUCCESS);
}

struct Daemon {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Daemon {
    fn start(role: &str) -> Daemon {
        let mut process = Command::new(std::env::current_exe().expect("this binary has a path"))
            .args(["--exact", "--nocapture", "signals::daemon"])
            .env(ROLE, role)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the process starts");
        let stdout = process.stdout.take().expect("it is piped");
        let mut daemon = Daemon { process, lines: BufReader::new(stdout).lines() };
        daemon.says("up");
        daemon
    }

    /// Reads on until a line ends in `word`: the test harness may have begun the line.
    fn says(&mut self, word: &str) {
        for line in &mut self.lines {
            if line.expect("it prints text").ends_with(word) {
                return;
            }
        }
        panic!("it ended without saying `{word}`");
    }

    fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().expect("kill exists");
        assert!(sent.success());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It is gone already unless the test has failed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_signal_begins_an_orderly_end() {
    for name in ["TERM", "INT"] {
        let mut daemon = Daemon::start("drains");
        daemon.signal(name);
        daemon.says("drained");
        assert!(daemon.process.wait().expect("it ends").success());
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    for (first, second, code) in [("TERM", "TERM", 143), ("TERM", "INT", 130), ("INT", "INT", 130)]
    {
        let mut daemon = Daemon::start("hangs");
        daemon.signal(first);
        daemon.says("hangs");
        daemon.signal(second);
        assert_eq!(daemon.process.wait().expect("it ends").code(), Some(code));
    }
}

#[test]
fn a_panic_in_a_task_stops_the_process() {
    const SIGABRT: i32 = 6;
    let mut daemon = Daemon::start("panics");
    let status = daemon.process.wait().expect("it ends");
    assert_eq!(status.signal(), Some(SIGABRT), "{status:?}");
    let mut report = String::new();
    let stderr = daemon.process.stderr.as_mut().expect("it is piped");
    stderr.read_to_string(&mut report).expect("it prints text");
    assert!(report.contains("on purpose"), "{report}");
}
