//! The table of connections.

use crate::task::Wake;

/// What is asked of a connection now and then.
pub(super) struct Conn {
    pub(super) ports: [u16; 2],
    pub(super) boots: [u32; 2],
}

/// One direction of a connection, all that moving bytes through it touches: writing, arriving and
/// reading each find what they need in one place.
pub(super) struct Pipe {
    pub(super) life: u32,
    pub(super) from: u32,
    pub(super) to: u32,
    /// Bytes sent: read ones up to `head`, then readable ones, then those on their way.
    pub(super) bytes: Vec<u8>,
    pub(super) head: u32,
    pub(super) readable: u32,
    /// When the last thing sent arrives. Nothing overtakes it.
    pub(super) last_at: u64,
    pub(super) reader: Wake,
    /// Waits for room.
    pub(super) writer: Wake,
    /// Nothing passes any more, and nobody is told.
    pub(super) severed: bool,
    /// Whether the reading end has a handle.
    pub(super) open: bool,
    /// The writing end has said that it sends no more,
    pub(super) shut: bool,
    /// and that has been heard.
    pub(super) fin: bool,
    pub(super) reader_reset: bool,
    pub(super) writer_reset: bool,
}

impl Pipe {
    pub(super) fn new(life: u32, from: u32, to: u32) -> Pipe {
        Pipe {
            life,
            from,
            to,
            bytes: Vec::new(),
            head: 0,
            readable: 0,
            last_at: 0,
            reader: Wake::Nobody,
            writer: Wake::Nobody,
            severed: false,
            open: true,
            shut: false,
            fin: false,
            reader_reset: false,
            writer_reset: false,
        }
    }

    pub(super) fn unread(&self) -> usize {
        self.bytes.len() - self.head as usize
    }
}

/// The connections; those that are over make room for new ones.
#[derive(Default)]
pub(crate) struct Conns {
    pub(super) conns: Vec<Conn>,
    /// Two to a connection, one towards each end.
    pub(super) pipes: Vec<Pipe>,
    pub(super) free: Vec<u32>,
}

impl Conns {
    /// The direction towards the end `side` of a connection that still exists.
    #[inline]
    pub(super) fn pipe(&mut self, conn: u32, life: u32, side: u8) -> Option<&mut Pipe> {
        self.pipes.get_mut(at(conn, side)).filter(|p| p.life == life)
    }

    /// From and to which host the direction towards `side` leads.
    pub(super) fn route(&self, conn: u32, life: u32, side: u8) -> Option<(u32, u32)> {
        let pipe = self.pipes.get(at(conn, side)).filter(|p| p.life == life)?;
        Some((pipe.from, pipe.to))
    }

    /// As [`Conns::pipe`], to look at it.
    pub(super) fn peek(&self, conn: u32, life: u32, side: u8) -> Option<&Pipe> {
        self.pipes.get(at(conn, side)).filter(|p| p.life == life)
    }

    #[inline]
    pub(super) fn to(&mut self, conn: u32, side: u8) -> &mut Pipe {
        &mut self.pipes[at(conn, side)]
    }

    pub(super) fn both(&mut self, conn: u32) -> &mut [Pipe] {
        &mut self.pipes[at(conn, 0)..=at(conn, 1)]
    }

    /// The end `side` finds its connection reset.
    pub(super) fn reset(&mut self, conn: u32, side: u8) {
        self.to(conn, side).reader_reset = true;
        self.to(conn, 1 - side).writer_reset = true;
    }

    pub(super) fn count(&self) -> u32 {
        self.conns.len() as u32
    }

    /// Ends a connection that no handle is left of.
    pub(super) fn free_unused(&mut self, conn: u32) {
        if self.both(conn).iter().any(|p| p.open) {
            return;
        }
        for pipe in self.both(conn) {
            pipe.life = pipe.life.wrapping_add(1);
            pipe.bytes = Vec::new();
        }
        self.free.push(conn);
    }
}

#[inline]
fn at(conn: u32, side: u8) -> usize {
    conn as usize * 2 + side as usize
}
