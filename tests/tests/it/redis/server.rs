//! A redis-server of our own, and one program's way through both servers.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use orloj_net::resp::{ReplyDecoder, ReplyLimits};

use super::program::{Program, Step};

/// Debian's redis-server on a free port, without files; it ends with the test.
pub(super) struct Redis {
    process: Child,
    pub(super) addr: String,
}

impl Redis {
    pub(super) fn start(dir: &Path) -> Redis {
        std::fs::create_dir_all(dir).expect("room for a test");
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.expect("a free port").port();
        let process = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server starts (Debian: redis-server)");
        let redis = Redis { process, addr: format!("127.0.0.1:{port}") };
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(&redis.addr).is_err() {
            assert!(Instant::now() < deadline, "redis-server does not listen");
            thread::sleep(Duration::from_millis(10));
        }
        redis
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Everything one server answered on one connection, to its end.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// Each as it came.
    pub(super) list: Vec<Vec<u8>>,
    /// Bytes behind them that are no whole answer.
    pub(super) rest: Vec<u8>,
}

/// Sends the same bytes to both and reads what either says until it closes.
pub(super) fn run(program: &Program, redis: &str, orlojd: &str) -> (Answers, Answers) {
    let mut streams = [redis, orlojd].map(|addr| {
        let stream = TcpStream::connect(addr).expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
        stream
    });
    let mut bytes = b"*1\r\n$8\r\nFLUSHALL\r\n".to_vec();
    for step in &program.steps {
        step.encode(&mut bytes);
        if let Step::Brief { .. } = step {
            // One that has closed cannot be written to.
            streams.iter_mut().for_each(|stream| drop(stream.write_all(&bytes)));
            bytes.clear();
            thread::sleep(Duration::from_millis(60));
        }
    }
    for stream in &mut streams {
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(Shutdown::Write);
    }
    let [redis, orlojd] = streams.map(read);
    (redis, orlojd)
}

fn read(mut stream: TcpStream) -> Answers {
    let mut said = Vec::new();
    // A reset behind the answers is a way to close.
    let _ = stream.read_to_end(&mut said);
    let mut answers = Answers::default();
    let mut decoder = ReplyDecoder::new(ReplyLimits::default());
    let mut left = BytesMut::from(&said[..]);
    let mut from = 0;
    while let Ok(Some(_)) = decoder.decode(&mut left) {
        let to = said.len() - left.len();
        answers.list.push(said[from..to].to_vec());
        from = to;
    }
    answers.rest = said[from..].to_vec();
    // The first is that of FLUSHALL.
    if !answers.list.is_empty() {
        answers.list.remove(0);
    }
    answers
}
