//! One connection's bytes, either way.

use std::{
    fmt, io,
    pin::Pin,
    task::{self, Poll},
};

use bytes::{Buf, BytesMut};
use orloj_kernel::{Context, Sleep, Stream, buggify, sometimes};
use orloj_net::peer::{HELLO_MAX, Inbox, Malformed, Message, Outbox, Sent};
use tokio::io::{AsyncReadExt, AsyncWrite};

use super::{SILENT_TICKS, TICK};

/// Bytes made room for before a read.
const READ: usize = 16 << 10;
/// What one poll takes at most before others have their turn.
const GULP: u32 = 64;

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// The way.
    Gone(String),
    /// The other end, or the bytes on their way.
    Malformed(Malformed),
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lost::Gone(why) => f.write_str(why),
            Lost::Malformed(malformed) => malformed.fmt(f),
        }
    }
}

impl From<io::Error> for Lost {
    fn from(e: io::Error) -> Lost {
        Lost::Gone(e.to_string())
    }
}

impl From<Malformed> for Lost {
    fn from(malformed: Malformed) -> Lost {
        Lost::Malformed(malformed)
    }
}

pub(super) struct Wire {
    pub(super) cx: Context,
    stream: Stream,
    inbox: Inbox,
    pub(super) outbox: Outbox,
    input: BytesMut,
    /// One frame at most, so that the next is chosen as late as can be.
    output: BytesMut,
    /// What `output` is of, until it is written.
    writing: Option<Sent>,
    /// The stream had no room: what it takes next has made the other end read.
    is_full: bool,
    pulse: Sleep,
    /// Since the last tick.
    heard: bool,
    wrote: bool,
    silent: u32,
    /// Messages that one more poll may take.
    gulp: u32,
}

impl Wire {
    /// A connection on which nobody has said hello.
    pub(super) fn new(cx: Context, stream: Stream) -> Wire {
        let mut inbox = Inbox::default();
        inbox.set_most(HELLO_MAX);
        Wire {
            cx,
            stream,
            inbox,
            outbox: Outbox::default(),
            input: BytesMut::new(),
            output: BytesMut::new(),
            writing: None,
            is_full: false,
            pulse: cx.sleep(TICK),
            heard: false,
            wrote: false,
            silent: 0,
            gulp: GULP,
        }
    }

    /// The greetings are over.
    pub(super) fn greeted(&mut self) {
        self.inbox.set_most(usize::MAX);
        self.pulse.reset(self.cx.now() + TICK);
    }

    /// The next message.
    pub(super) async fn receive(&mut self) -> Result<Message, Lost> {
        std::future::poll_fn(|task| {
            self.begin_poll();
            self.poll_message(task)
        })
        .await
    }

    /// Writes all that waits.
    pub(super) async fn flush(&mut self) -> Result<(), Lost> {
        std::future::poll_fn(|task| {
            loop {
                match std::task::ready!(self.poll_write(task)) {
                    Ok(Some(_)) => {}
                    Ok(None) => return Poll::Ready(Ok(())),
                    Err(lost) => return Poll::Ready(Err(lost)),
                }
            }
        })
        .await
    }

    /// Writes all that waits and says that nothing follows.
    pub(super) async fn close(mut self) {
        // Whether it is heard is the other end's affair.
        if self.flush().await.is_ok() {
            let _ =
                std::future::poll_fn(|task| Pin::new(&mut self.stream).poll_shutdown(task)).await;
        }
    }

    pub(super) fn begin_poll(&mut self) {
        self.gulp = GULP;
    }

    pub(super) fn poll_message(
        &mut self,
        task: &mut task::Context<'_>,
    ) -> Poll<Result<Message, Lost>> {
        if self.gulp == 0 {
            task.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            match self.inbox.next(&mut self.input) {
                Ok(Some(message)) => {
                    self.gulp -= 1;
                    return Poll::Ready(Ok(message));
                }
                Ok(None) => {}
                Err(malformed) => return Poll::Ready(Err(malformed.into())),
            }
            self.input.reserve(READ.max(self.inbox.missing(&self.input)));
            let read = std::pin::pin!(self.stream.read_buf(&mut self.input)).poll(task);
            match std::task::ready!(read) {
                Ok(0) => return Poll::Ready(Err(Lost::Gone("it was closed".to_owned()))),
                Ok(_) => (self.heard, self.silent) = (true, 0),
                Err(e) => return Poll::Ready(Err(e.into())),
            }
        }
    }

    /// Writes one more frame; `None` when there is none.
    pub(super) fn poll_write(
        &mut self,
        task: &mut task::Context<'_>,
    ) -> Poll<Result<Option<Sent>, Lost>> {
        if self.output.is_empty() {
            self.writing = self.outbox.next(&mut self.output);
            if self.writing.is_none() {
                return Poll::Ready(Ok(None));
            }
            self.damage();
        }
        while !self.output.is_empty() {
            match Pin::new(&mut self.stream).poll_write(task, &self.output) {
                Poll::Ready(Ok(0)) => {
                    let gone = io::Error::from(io::ErrorKind::WriteZero);
                    return Poll::Ready(Err(gone.into()));
                }
                Poll::Ready(Ok(n)) => {
                    self.output.advance(n);
                    self.wrote = true;
                    if std::mem::take(&mut self.is_full) {
                        (self.heard, self.silent) = (true, 0);
                    }
                }
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e.into())),
                Poll::Pending => {
                    self.is_full = true;
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(self.writing.take()))
    }

    /// Whether a tick has passed in which nothing was written, or nothing heard.
    pub(super) fn poll_tick(&mut self, task: &mut task::Context<'_>) -> Poll<Result<bool, Lost>> {
        std::task::ready!(Pin::new(&mut self.pulse).poll(task));
        self.pulse.reset(self.cx.now() + TICK);
        let (heard, wrote) = (std::mem::take(&mut self.heard), std::mem::take(&mut self.wrote));
        self.silent = if heard { 0 } else { self.silent + 1 };
        sometimes!(self.cx, self.silent >= SILENT_TICKS, "link: a silent peer is given up");
        match self.silent >= SILENT_TICKS {
            true => Poll::Ready(Err(Lost::Gone("the peer is silent".to_owned()))),
            false => Poll::Ready(Ok(!heard || !wrote)),
        }
    }

    /// TCP's checksums are weak: what they let pass must be caught here.
    fn damage(&mut self) {
        if buggify!(self.cx, "link: a byte flips on its way") && self.cx.below(32) == 0 {
            let at = self.cx.below(self.output.len() as u64) as usize;
            self.output[at] ^= 1 << self.cx.below(8);
        }
    }
}
