//! Byte streams and listeners.

use std::{
    future::poll_fn,
    io::{self, ErrorKind},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use orloj_kernel::{Context, Listener, Stream};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::world::own_address;

conformance! {
    one: [
        a_port_nobody_listens_at_refuses,
        a_port_that_is_taken_is_in_use,
        a_port_is_free_again_after_its_listener,
        an_address_of_somebody_else_is_not_available,
        what_is_no_address_is_refused,
        a_name_nobody_has_is_not_found,
        a_host_calls_itself_localhost,
    ],
    two: [
        both_ends_know_each_other,
        bytes_arrive_in_order,
        a_large_transfer_crosses_both_ways_at_once,
        a_writer_waits_for_a_slow_reader,
        a_half_closed_stream_still_carries_the_other_half,
        a_dropped_stream_ends_for_its_peer,
        what_was_written_before_the_end_arrives,
        dropping_unread_bytes_is_an_end_of_some_kind,
        writing_to_who_is_gone_fails_in_the_end,
        nothing_is_written_after_the_shutdown,
        a_read_without_room_does_not_wait,
        a_write_without_bytes_does_not_wait,
        vectored_writes_arrive_whole,
        many_connections_do_not_mix,
        a_dropped_listener_refuses,
        connections_wait_to_be_accepted,
        halves_work_in_two_tasks,
        a_dropped_connect_takes_nothing_with_it,
        a_dropped_read_loses_nothing,
    ],
}

async fn listen(cx: Context) -> (Listener, String) {
    let listener = cx.listen(&own_address()).await.expect("some port is free");
    let at = listener.local_addr().expect("a listener has an address").to_string();
    (listener, at)
}

/// A connection from `here` to `there`: both ends.
async fn pair(here: Context, there: Context) -> (Stream, Stream) {
    let (mut listener, at) = listen(there).await;
    let accepting = there.spawn("accept", async move { listener.accept().await });
    let near = here.connect(&at).await.expect("somebody listens");
    let (far, _) = accepting.await.expect("no panic").expect("somebody connects");
    (near, far)
}

/// `len` bytes of which none is where it belongs if it was moved.
fn pattern(len: usize, seed: u32) -> Vec<u8> {
    let words = 0..(len as u32).div_ceil(4);
    let word = |n: u32| (n ^ seed).wrapping_mul(2_654_435_761).to_be_bytes();
    words.flat_map(word).take(len).collect()
}

/// What reading gives when the peer has gone, be it politely or not.
fn is_over(read: &io::Result<usize>) -> bool {
    match read {
        Ok(0) => true,
        Err(e) => matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
        Ok(_) => false,
    }
}

async fn a_port_nobody_listens_at_refuses(cx: Context) {
    let (listener, at) = listen(cx).await;
    drop(listener);
    let refused = cx.connect(&at).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

async fn a_port_that_is_taken_is_in_use(cx: Context) {
    let (_listener, at) = listen(cx).await;
    assert_eq!(cx.listen(&at).await.unwrap_err().kind(), ErrorKind::AddrInUse);
}

async fn a_port_is_free_again_after_its_listener(cx: Context) {
    let (mut listener, at) = listen(cx).await;
    let near = cx.connect(&at).await.unwrap();
    let (far, _) = listener.accept().await.unwrap();
    drop((listener, far, near));
    let listener = cx.listen(&at).await.unwrap();
    assert_eq!(listener.local_addr().unwrap().to_string(), at);
}

async fn an_address_of_somebody_else_is_not_available(cx: Context) {
    // An address set aside for documentation belongs to nobody.
    let refused = cx.listen("192.0.2.1:0").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AddrNotAvailable);
}

async fn what_is_no_address_is_refused(cx: Context) {
    for no_address in ["", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:http", ":"] {
        for refused in [
            cx.connect(no_address).await.map(drop),
            cx.listen(no_address).await.map(drop),
            cx.bind(no_address).await.map(drop),
        ] {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput, "{no_address:?}");
        }
    }
}

async fn a_name_nobody_has_is_not_found(cx: Context) {
    let refused = cx.connect("nobody.invalid:80").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
}

async fn a_host_calls_itself_localhost(cx: Context) {
    let mut listener = cx.listen("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let accepting = cx.spawn("accept", async move { listener.accept().await.map(drop) });
    cx.connect(&format!("localhost:{port}")).await.unwrap();
    accepting.await.unwrap().unwrap();
}

async fn both_ends_know_each_other(here: Context, there: Context) {
    let (mut listener, at) = listen(there).await;
    let accepting = there.spawn("accept", async move { listener.accept().await });
    let near = here.connect(&at).await.unwrap();
    let (far, from) = accepting.await.unwrap().unwrap();
    assert_eq!(near.peer_addr().unwrap().to_string(), at);
    assert_eq!(far.local_addr().unwrap().to_string(), at);
    assert_eq!(near.local_addr().unwrap(), from);
    assert_eq!(far.peer_addr().unwrap(), from);
    assert_ne!(from.port(), 0);
    assert!(format!("{near:?}").contains(&at));
}

async fn bytes_arrive_in_order(here: Context, there: Context) {
    let (mut near, mut far) = pair(here, there).await;
    let sent = pattern(10_000, 1);
    let bytes = sent.clone();
    let writer = here.spawn("writer", async move {
        for (n, piece) in bytes.chunks(37).enumerate() {
            near.write_all(piece).await.unwrap();
            if n % 50 == 0 {
                near.flush().await.unwrap();
                here.yield_now().await;
            }
        }
        near
    });
    let mut got = vec![0; sent.len()];
    far.read_exact(&mut got).await.unwrap();
    assert_eq!(got, sent);
    drop(writer.await.unwrap());
}

async fn a_large_transfer_crosses_both_ways_at_once(here: Context, there: Context) {
    const LEN: usize = 512 << 10;
    async fn exchange(cx: Context, stream: Stream, send: u32, receive: u32) {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let writing = cx.spawn("writer", async move {
            writer.write_all(&pattern(LEN, send)).await.unwrap();
            writer.shutdown().await.unwrap();
        });
        let mut got = Vec::new();
        reader.read_to_end(&mut got).await.unwrap();
        assert!(got == pattern(LEN, receive), "{} bytes came", got.len());
        writing.await.unwrap();
    }
    let (near, far) = pair(here, there).await;
    let other = there.spawn("far", exchange(there, far, 2, 1));
    exchange(here, near, 1, 2).await;
    other.await.unwrap();
}

async fn a_writer_waits_for_a_slow_reader(here: Context, there: Context) {
    const LEN: usize = 32 << 20;
    let (mut near, mut far) = pair(here, there).await;
    let written = Arc::new(AtomicUsize::new(0));
    let counter = written.clone();
    let writer = here.spawn("writer", async move {
        let block = vec![7; 64 << 10];
        while counter.load(Ordering::SeqCst) < LEN {
            near.write_all(&block).await.unwrap();
            counter.fetch_add(block.len(), Ordering::SeqCst);
        }
        near.shutdown().await.unwrap();
    });
    // The writer has come to rest when it writes no more for a while.
    let mut before = usize::MAX;
    while before != written.load(Ordering::SeqCst) {
        before = written.load(Ordering::SeqCst);
        here.sleep(Duration::from_millis(100)).await;
    }
    assert!(before < LEN, "{before} bytes went to a reader that reads none");
    let mut got = 0;
    let mut buf = vec![0; 1 << 20];
    loop {
        match far.read(&mut buf).await.unwrap() {
            0 => break,
            n => got += n,
        }
    }
    assert_eq!(got, LEN);
    writer.await.unwrap();
}

async fn a_half_closed_stream_still_carries_the_other_half(here: Context, there: Context) {
    let (mut near, mut far) = pair(here, there).await;
    near.write_all(b"question").await.unwrap();
    near.shutdown().await.unwrap();
    let mut question = String::new();
    far.read_to_string(&mut question).await.unwrap();
    assert_eq!(question, "question");
    assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0, "an end stays an end");
    far.write_all(b"answer").await.unwrap();
    drop(far);
    let mut answer = String::new();
    near.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "answer");
}

async fn a_dropped_stream_ends_for_its_peer(here: Context, there: Context) {
    let (near, mut far) = pair(here, there).await;
    let reader = there.spawn("reader", async move { far.read(&mut [0; 8]).await });
    here.sleep(Duration::from_millis(2)).await;
    drop(near);
    assert_eq!(reader.await.unwrap().unwrap(), 0);
}

async fn what_was_written_before_the_end_arrives(here: Context, there: Context) {
    let (mut near, mut far) = pair(here, there).await;
    near.write_all(&pattern(30_000, 3)).await.unwrap();
    drop(near);
    let mut got = Vec::new();
    far.read_to_end(&mut got).await.unwrap();
    assert!(got == pattern(30_000, 3));
}

async fn dropping_unread_bytes_is_an_end_of_some_kind(here: Context, there: Context) {
    let (mut near, mut far) = pair(here, there).await;
    far.write_all(b"never read").await.unwrap();
    // Let it arrive, so that it lies there unread.
    let mut first = [0; 1];
    near.read_exact(&mut first).await.unwrap();
    drop(near);
    let end = there.timeout(Duration::from_secs(50), far.read(&mut [0; 8])).await;
    assert!(is_over(&end.expect("no hang")));
}

async fn writing_to_who_is_gone_fails_in_the_end(here: Context, there: Context) {
    let (near, mut far) = pair(here, there).await;
    drop(near);
    let refused = loop {
        match far.write_all(&[7; 1_000]).await {
            Ok(()) => there.sleep(Duration::from_millis(1)).await,
            Err(e) => break e,
        }
    };
    let kind = refused.kind();
    assert!(matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{kind:?}");
}

async fn nothing_is_written_after_the_shutdown(here: Context, there: Context) {
    let (mut near, _far) = pair(here, there).await;
    near.shutdown().await.unwrap();
    assert_eq!(near.write_all(b"late").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
}

async fn a_read_without_room_does_not_wait(here: Context, there: Context) {
    let (mut near, mut far) = pair(here, there).await;
    assert_eq!(near.read(&mut []).await.unwrap(), 0);
    far.write_all(b"x").await.unwrap();
    let mut byte = [0; 1];
    near.read_exact(&mut byte).await.unwrap();
    assert_eq!(byte, *b"x");
}

async fn a_write_without_bytes_does_not_wait(here: Context, there: Context) {
    let (mut near, mut far) = pair(here, there).await;
    assert_eq!(near.write(&[]).await.unwrap(), 0);
    near.flush().await.unwrap();
    near.write_all(b"x").await.unwrap();
    let mut byte = [0; 1];
    far.read_exact(&mut byte).await.unwrap();
    assert_eq!(byte, *b"x");
}

async fn vectored_writes_arrive_whole(here: Context, there: Context) {
    let (mut near, mut far) = pair(here, there).await;
    let parts = [&b"one "[..], b"", b"two ", b"three"];
    let whole = parts.concat();
    let mut sent = 0;
    while sent < whole.len() {
        let mut slices = parts.map(io::IoSlice::new);
        let mut rest = &mut slices[..];
        io::IoSlice::advance_slices(&mut rest, sent);
        sent += poll_fn(|cx| Pin::new(&mut near).poll_write_vectored(cx, rest)).await.unwrap();
    }
    let mut got = vec![0; whole.len()];
    far.read_exact(&mut got).await.unwrap();
    assert_eq!(got, whole);
}

async fn many_connections_do_not_mix(here: Context, there: Context) {
    const CONNECTIONS: u32 = 200;
    let (mut listener, at) = listen(there).await;
    let server = there.spawn("server", async move {
        for _ in 0..CONNECTIONS {
            let (mut stream, _) = listener.accept().await.unwrap();
            there.spawn("echo", async move {
                let mut word = [0; 4];
                while stream.read_exact(&mut word).await.is_ok() {
                    stream.write_all(&word).await.unwrap();
                }
            });
        }
    });
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|n| {
            let at = at.clone();
            here.spawn("client", async move {
                let mut stream = here.connect(&at).await.unwrap();
                for round in 0..5 {
                    let word = (n * 1_000 + round).to_le_bytes();
                    stream.write_all(&word).await.unwrap();
                    let mut echo = [0; 4];
                    stream.read_exact(&mut echo).await.unwrap();
                    assert_eq!(echo, word);
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    server.await.unwrap();
}

async fn a_dropped_listener_refuses(here: Context, there: Context) {
    let (mut listener, at) = listen(there).await;
    let kept = here.connect(&at).await.unwrap();
    let (mut far, _) = listener.accept().await.unwrap();
    drop(listener);
    let refused = here.connect(&at).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    // What was accepted stays.
    drop(kept);
    assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0);
}

async fn connections_wait_to_be_accepted(here: Context, there: Context) {
    let (mut listener, at) = listen(there).await;
    let mut waiting = Vec::new();
    for n in 0..100_u8 {
        let mut stream = here.connect(&at).await.unwrap();
        stream.write_all(&[n]).await.unwrap();
        waiting.push(stream);
    }
    let mut seen = Vec::new();
    for _ in 0..100 {
        let (mut stream, _) = listener.accept().await.unwrap();
        seen.push(stream.read_u8().await.unwrap());
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..100).collect::<Vec<_>>());
}

async fn halves_work_in_two_tasks(here: Context, there: Context) {
    let (near, mut far) = pair(here, there).await;
    let (mut reader, mut writer) = tokio::io::split(near);
    let reading = here.spawn("reader", async move {
        let mut got = Vec::new();
        reader.read_to_end(&mut got).await.unwrap();
        got
    });
    let writing = here.spawn("writer", async move {
        for n in 0..100_u8 {
            writer.write_all(&[n]).await.unwrap();
            here.yield_now().await;
        }
        writer.shutdown().await.unwrap();
    });
    let mut got = Vec::new();
    far.read_to_end(&mut got).await.unwrap();
    far.write_all(&got).await.unwrap();
    far.shutdown().await.unwrap();
    writing.await.unwrap();
    assert_eq!(reading.await.unwrap(), (0..100).collect::<Vec<_>>());
}

async fn a_dropped_connect_takes_nothing_with_it(here: Context, there: Context) {
    let (mut listener, at) = listen(there).await;
    for _ in 0..20 {
        let mut connecting = Box::pin(here.connect(&at));
        let _ = poll_fn(|cx| Poll::Ready(connecting.as_mut().poll(cx))).await;
    }
    let mut near = here.connect(&at).await.unwrap();
    near.write_all(b"x").await.unwrap();
    // Those given up may or may not have got through; each of them is at its end.
    loop {
        let (mut far, _) = listener.accept().await.unwrap();
        let mut byte = [0; 1];
        let read = there.timeout(Duration::from_secs(50), far.read(&mut byte)).await;
        let read = read.expect("no hang");
        if !is_over(&read) {
            assert_eq!((read.unwrap(), byte), (1, *b"x"));
            break;
        }
    }
}

async fn a_dropped_read_loses_nothing(here: Context, there: Context) {
    let (mut near, mut far) = pair(here, there).await;
    for _ in 0..10 {
        let mut buf = [0; 8];
        let read = far.read(&mut buf);
        assert!(there.timeout(Duration::from_micros(100), read).await.is_err());
    }
    near.write_all(b"all of it").await.unwrap();
    drop(near);
    let mut got = String::new();
    far.read_to_string(&mut got).await.unwrap();
    assert_eq!(got, "all of it");
}
