//! One question, one answer: to an actor of this host, and to one of another.

use std::{future::Future, io, time::Duration};

use orloj_kernel::{Addr, Context, Reply, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A question or an answer on the wire: four words, little-endian.
pub type Frame = [u64; 4];

/// How long an answer may take. Whether a question without one took effect is unknown.
pub const PATIENCE: Duration = Duration::from_millis(200);

/// Asks an actor; `None` when it ended before it answered, and the effect is unknown.
pub async fn ask<M, T>(actor: &Addr<M>, question: impl FnOnce(Reply<T>) -> M) -> Option<T> {
    let (reply, answer) = Reply::new();
    actor.send(question(reply)).await.ok()?;
    answer.await.ok()
}

/// Asks the server at `addr` over a connection of its own.
///
/// # Errors
/// Nobody answered within [`PATIENCE`]; the effect is unknown.
pub async fn call(cx: &Context, addr: &str, question: Frame) -> io::Result<Frame> {
    let exchange = async {
        let mut stream = cx.connect(addr).await?;
        write(&mut stream, question).await?;
        read(&mut stream).await
    };
    match cx.timeout(PATIENCE, exchange).await {
        Ok(outcome) => outcome,
        Err(elapsed) => Err(io::Error::new(io::ErrorKind::TimedOut, elapsed)),
    }
}

/// Serves questions at `addr` for ever. Where `answer` has none, the connection ends without one.
///
/// # Errors
/// The address cannot be had.
pub async fn serve<F, A>(cx: Context, addr: String, answer: F) -> io::Result<()>
where
    F: Fn(Frame) -> A + Clone + Send + 'static,
    A: Future<Output = Option<Frame>> + Send,
{
    let mut listener = cx.listen(&addr).await?;
    loop {
        // An error is one connection's; the listener goes on.
        let Ok((mut stream, _)) = listener.accept().await else { continue };
        let answer = answer.clone();
        cx.spawn("connection", async move {
            while let Ok(question) = read(&mut stream).await {
                let Some(frame) = answer(question).await else { return };
                if write(&mut stream, frame).await.is_err() {
                    return;
                }
            }
        });
    }
}

async fn write(stream: &mut Stream, frame: Frame) -> io::Result<()> {
    let bytes: Vec<u8> = frame.iter().flat_map(|word| word.to_le_bytes()).collect();
    stream.write_all(&bytes).await?;
    stream.flush().await
}

async fn read(stream: &mut Stream) -> io::Result<Frame> {
    let mut frame = Frame::default();
    for word in &mut frame {
        *word = stream.read_u64_le().await?;
    }
    Ok(frame)
}
