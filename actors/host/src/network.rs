//! TCP and UDP of the machine.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{self, Poll, ready},
};

use orloj_kernel::{
    Datagram, HostKey, Io, Listener, Network, RawDatagram, RawListener, RawStream, Stream,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpSocket, TcpStream, UdpSocket, lookup_host},
};

use crate::machine::Machine;

/// Connections the system accepts on our behalf before we do; a larger burst sees its handshake
/// retried. The system may cap it (`net.core.somaxconn`).
const BACKLOG: u32 = 4096;

impl Network for Machine {
    fn connect(&self, _: HostKey, addr: &str) -> Io<'static, io::Result<Stream>> {
        let addr = addr.to_owned();
        Box::pin(async move {
            let mut error = nowhere();
            for addr in resolve(&addr).await? {
                match TcpStream::connect(addr).await {
                    Ok(tcp) => return stream(tcp),
                    Err(e) => error = e,
                }
            }
            Err(error)
        })
    }

    fn listen(&self, _: HostKey, addr: &str) -> Io<'static, io::Result<Listener>> {
        let addr = addr.to_owned();
        Box::pin(async move {
            let mut error = nowhere();
            for addr in resolve(&addr).await? {
                match listener(addr) {
                    Ok(listener) => return Ok(Listener::new(HostListener(listener))),
                    Err(e) => error = e,
                }
            }
            Err(error)
        })
    }

    fn bind(&self, _: HostKey, addr: &str) -> Io<'static, io::Result<Datagram>> {
        let addr = addr.to_owned();
        Box::pin(async move {
            let mut error = nowhere();
            for addr in resolve(&addr).await? {
                match UdpSocket::bind(addr).await {
                    Ok(socket) => return Ok(Datagram::new(HostDatagram(socket))),
                    Err(e) => error = e,
                }
            }
            Err(error)
        })
    }
}

fn nowhere() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the name has no address")
}

/// The addresses behind `host:port`. Only a name that is no address is looked up, on a thread.
async fn resolve(addr: &str) -> io::Result<Vec<SocketAddr>> {
    if let Ok(addr) = addr.parse() {
        return Ok(vec![addr]);
    }
    let bad = || io::Error::new(io::ErrorKind::InvalidInput, format!("`{addr}` is not HOST:PORT"));
    let (name, port) = addr.rsplit_once(':').ok_or_else(bad)?;
    let port: u16 = port.parse().map_err(|_| bad())?;
    let unknown = |e| io::Error::new(io::ErrorKind::NotFound, format!("`{name}`: {e}"));
    Ok(lookup_host((name, port)).await.map_err(unknown)?.collect())
}

fn listener(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restarted daemon must not wait for the connections of its former life to time out.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

fn stream(tcp: TcpStream) -> io::Result<Stream> {
    // Answers are written whole; waiting for more to send would only delay them.
    tcp.set_nodelay(true)?;
    Ok(Stream::new(HostStream(tcp)))
}

struct HostStream(TcpStream);

impl RawStream for HostStream {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.peer_addr()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl AsyncRead for HostStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for HostStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}

struct HostListener(TcpListener);

impl RawListener for HostListener {
    fn poll_accept(
        &mut self,
        cx: &mut task::Context<'_>,
    ) -> Poll<io::Result<(Stream, SocketAddr)>> {
        let (tcp, from) = ready!(self.0.poll_accept(cx))?;
        Poll::Ready(stream(tcp).map(|stream| (stream, from)))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

struct HostDatagram(UdpSocket);

impl RawDatagram for HostDatagram {
    fn poll_send(
        &self,
        cx: &mut task::Context<'_>,
        to: SocketAddr,
        bytes: &[u8],
    ) -> Poll<io::Result<()>> {
        self.0.poll_send_to(cx, bytes, to).map_ok(drop)
    }

    fn poll_recv(
        &self,
        cx: &mut task::Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<SocketAddr>> {
        self.0.poll_recv_from(cx, buf)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}
