//! Socket: the bytes of one connection that came in, and those that wait to go out.

use std::{io, pin::Pin, task::Poll, time::Duration};

use bytes::BytesMut;
use orloj_kernel::{Context, Stream};
use tokio::io::{AsyncReadExt, AsyncWrite};

/// Room made for a read while little comes in, in bytes.
const READ_SMALL: usize = 4 << 10;
/// Room made for a read while much comes in.
const READ_LARGE: usize = 64 << 10;
/// Most room made at once for a value that was announced and has not come.
const READ_AHEAD: usize = 1 << 20;
/// Buffers above this are given back when a connection falls idle.
pub(crate) const KEPT: usize = 8 << 10;
/// Bytes of a client's further words that are read and dropped after its connection's last answer,
/// so that the close does not reset the connection and take the answer with it.
const LINGER: usize = 64 << 10;

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The client closed, or its network did.
    Closed,
    /// The client asked for it, or sent what cannot be understood.
    LastAnswer,
    /// The node is stopping, and everything received was answered.
    Drained,
    /// More answers waited for the client than may.
    OutputLimit,
    /// The client took no answer for too long.
    Stalled,
    /// What became of its commands is unknown.
    Unknown,
}

pub(crate) struct Socket {
    stream: Stream,
    pub(crate) input: BytesMut,
    /// Room to make for the next read.
    room: usize,
    pub(crate) output: Vec<u8>,
    /// Bytes of `output` that were written.
    sent: usize,
}

impl Socket {
    pub(crate) fn new(stream: Stream) -> Socket {
        let (input, output) = (BytesMut::new(), Vec::new());
        Socket { stream, input, room: READ_SMALL, output, sent: 0 }
    }

    /// The addresses of the other end and of this one, as text.
    pub(crate) fn ends(&self) -> (String, String) {
        let show = |addr: io::Result<std::net::SocketAddr>| {
            addr.map_or_else(|_| "?:0".to_owned(), |addr| addr.to_string())
        };
        (show(self.stream.peer_addr()), show(self.stream.local_addr()))
    }

    /// Bytes that wait for the client.
    pub(crate) fn waiting(&self) -> usize {
        self.output.len() - self.sent
    }

    /// Reads whatever there is; 0 at the end of the stream.
    pub(crate) fn poll_read(
        &mut self,
        task: &mut std::task::Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.input.reserve(self.room);
        let before = self.input.capacity() - self.input.len();
        let read = std::pin::pin!(self.stream.read_buf(&mut self.input)).poll(task);
        if let Poll::Ready(Ok(n)) = read {
            // Much at once announces more.
            self.room = if n >= before.min(READ_SMALL) { READ_LARGE } else { READ_SMALL };
        }
        read
    }

    /// Writes what the client takes. `Ok` is whether it took anything; `Pending` when it takes
    /// nothing.
    pub(crate) fn poll_write(
        &mut self,
        task: &mut std::task::Context<'_>,
    ) -> Poll<Result<bool, Ended>> {
        let mut progress = false;
        while self.sent < self.output.len() {
            match Pin::new(&mut self.stream).poll_write(task, &self.output[self.sent..]) {
                Poll::Ready(Ok(n)) if n > 0 => self.sent += n,
                Poll::Ready(_) => return Poll::Ready(Err(Ended::Closed)),
                Poll::Pending if progress => break,
                Poll::Pending => return Poll::Pending,
            }
            progress = true;
        }
        if self.sent == self.output.len() {
            self.output.clear();
            self.sent = 0;
        } else if self.sent > self.output.len() / 2 {
            self.output.drain(..self.sent);
            self.sent = 0;
        }
        Poll::Ready(Ok(progress))
    }

    /// Writes what the client takes now, and waits for nothing.
    pub(crate) async fn write_some(&mut self) -> Result<(), Ended> {
        std::future::poll_fn(|task| match self.poll_write(task) {
            Poll::Ready(Err(ended)) => Poll::Ready(Err(ended)),
            Poll::Ready(Ok(_)) | Poll::Pending => Poll::Ready(Ok(())),
        })
        .await
    }

    pub(crate) fn make_room(&mut self, missing: usize) {
        // As much as has come already: what is only promised shall cost nothing.
        let earned = self.input.len().clamp(READ_LARGE, READ_AHEAD);
        self.room = self.room.max(missing.min(earned));
    }

    /// Nothing is going on: gives large buffers back.
    pub(crate) fn rest(&mut self) {
        if self.input.is_empty() && self.input.capacity() > KEPT {
            self.input = BytesMut::new();
        }
        if self.output.capacity() > KEPT {
            self.output = Vec::new();
        }
    }

    /// Closes the connection so that the last answer arrives.
    pub(crate) async fn part(&mut self, cx: &Context, ended: Ended) {
        if !matches!(ended, Ended::LastAnswer | Ended::Drained) {
            return;
        }
        let linger = async {
            std::future::poll_fn(|task| Pin::new(&mut self.stream).poll_shutdown(task)).await?;
            let mut left = LINGER;
            while left > 0 {
                self.input.clear();
                self.input.reserve(READ_SMALL);
                match self.stream.read_buf(&mut self.input).await? {
                    0 => break,
                    n => left = left.saturating_sub(n),
                }
            }
            Ok::<(), io::Error>(())
        };
        // The client has had its answers; how the rest of the goodbye goes is its own affair.
        let _ = cx.timeout(Duration::from_millis(200), linger).await;
    }
}
