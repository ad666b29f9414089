//! The network port: byte streams with listeners, and datagrams.
//!
//! Streams speak tokio's `AsyncRead` and `AsyncWrite`, so codecs, hyper and rustls run on them in
//! both worlds. `poll_shutdown` ends the writing half; dropping a stream closes both, and bytes
//! that the peer has not read may then be lost.

use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    task::{self, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{HostKey, Io};

/// The network of a host, as its runtime offers it.
pub trait Network {
    /// See [`Context::connect`](crate::Context::connect).
    fn connect(&self, host: HostKey, addr: &str) -> Io<'static, io::Result<Stream>>;
    /// See [`Context::listen`](crate::Context::listen).
    fn listen(&self, host: HostKey, addr: &str) -> Io<'static, io::Result<Listener>>;
    /// See [`Context::bind`](crate::Context::bind).
    fn bind(&self, host: HostKey, addr: &str) -> Io<'static, io::Result<Datagram>>;
}

/// A connected byte stream, as its runtime offers it.
pub trait RawStream: AsyncRead + AsyncWrite + Send + Unpin {
    /// The address of the other end.
    fn peer_addr(&self) -> io::Result<SocketAddr>;
    /// The address of this end.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// A listening socket, as its runtime offers it.
pub trait RawListener: Send {
    /// The next incoming stream.
    fn poll_accept(&mut self, cx: &mut task::Context<'_>)
    -> Poll<io::Result<(Stream, SocketAddr)>>;
    /// The address it listens at.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// A datagram socket, as its runtime offers it.
pub trait RawDatagram: Send + Sync {
    /// Sends one datagram, or loses it. Never waits for the receiver.
    fn poll_send(
        &self,
        cx: &mut task::Context<'_>,
        to: SocketAddr,
        bytes: &[u8],
    ) -> Poll<io::Result<()>>;
    /// Receives one datagram, cut to the buffer's room.
    fn poll_recv(
        &self,
        cx: &mut task::Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<SocketAddr>>;
    /// The address it is bound to.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// A connected byte stream.
pub struct Stream(Box<dyn RawStream>);

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({:?})", self.peer_addr())
    }
}

impl Stream {
    /// Wraps a runtime's stream.
    pub fn new(raw: impl RawStream + 'static) -> Stream {
        Stream(Box::new(raw))
    }

    /// The address of the other end.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.peer_addr()
    }

    /// The address of this end.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Sockets differ in whether nothing can be read while nothing is there.
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut *self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(cx)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write_vectored(cx, bufs)
    }
    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}

/// Accepts byte streams.
pub struct Listener(Box<dyn RawListener>);

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listener({:?})", self.local_addr())
    }
}

impl Listener {
    /// Wraps a runtime's listener.
    pub fn new(raw: impl RawListener + 'static) -> Listener {
        Listener(Box::new(raw))
    }

    /// The next incoming stream and its peer's address.
    ///
    /// # Errors
    /// An error concerns one connection or a passing shortage of descriptors; the listener goes on.
    pub async fn accept(&mut self) -> io::Result<(Stream, SocketAddr)> {
        std::future::poll_fn(|cx| self.0.poll_accept(cx)).await
    }

    /// The address it listens at.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// Sends and receives datagrams, which may be lost, doubled, reordered or damaged on their way. One
/// task at a time may wait to receive.
pub struct Datagram(Box<dyn RawDatagram>);

impl fmt::Debug for Datagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Datagram({:?})", self.local_addr())
    }
}

impl Datagram {
    /// Largest datagram in bytes; a longer one is refused.
    pub const MAX: usize = 65_507;

    /// Wraps a runtime's socket.
    pub fn new(raw: impl RawDatagram + 'static) -> Datagram {
        Datagram(Box::new(raw))
    }

    /// Sends one datagram. `Ok` says nothing about its arrival.
    ///
    /// # Errors
    /// `InvalidInput` when it is longer than [`Datagram::MAX`].
    pub async fn send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        if bytes.len() > Datagram::MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "datagram too long"));
        }
        std::future::poll_fn(|cx| self.0.poll_send(cx, to, bytes)).await
    }

    /// Receives one datagram into `buf`, cut to its length, and returns its length and sender.
    pub async fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let mut buf = ReadBuf::new(buf);
        let from = std::future::poll_fn(|cx| self.0.poll_recv(cx, &mut buf)).await?;
        Ok((buf.filled().len(), from))
    }

    /// The address it is bound to.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}
