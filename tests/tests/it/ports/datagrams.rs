//! Datagrams. On the loop of one machine, and in a calm simulation, none is lost.

use std::{io::ErrorKind, net::SocketAddr, time::Duration};

use orloj_kernel::{Context, Datagram};

use super::world::own_address;

conformance! {
    one: [
        a_bound_port_is_in_use,
        streams_and_datagrams_have_ports_of_their_own,
        an_address_of_somebody_else_cannot_be_bound,
        a_datagram_to_oneself_arrives,
    ],
    two: [
        an_echo_knows_whom_to_answer,
        a_datagram_arrives_whole_or_not_at_all,
        a_long_datagram_is_cut_to_the_room,
        the_longest_datagram_passes_and_a_longer_one_is_refused,
        an_empty_datagram_is_one,
        nobody_answers_for_who_is_not_there,
        a_socket_is_shared_by_sender_and_receiver,
        a_dropped_receive_loses_nothing,
    ],
}

async fn bind(cx: Context) -> (Datagram, SocketAddr) {
    let socket = cx.bind(&own_address()).await.expect("some port is free");
    let at = socket.local_addr().expect("a socket has an address");
    (socket, at)
}

async fn a_bound_port_is_in_use(cx: Context) {
    let (socket, at) = bind(cx).await;
    let at = at.to_string();
    assert_eq!(cx.bind(&at).await.unwrap_err().kind(), ErrorKind::AddrInUse);
    drop(socket);
    assert_eq!(cx.bind(&at).await.unwrap().local_addr().unwrap().to_string(), at);
}

async fn streams_and_datagrams_have_ports_of_their_own(cx: Context) {
    let (_socket, at) = bind(cx).await;
    let listener = cx.listen(&at.to_string()).await.unwrap();
    assert_eq!(listener.local_addr().unwrap(), at);
}

async fn an_address_of_somebody_else_cannot_be_bound(cx: Context) {
    let refused = cx.bind("192.0.2.1:0").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AddrNotAvailable);
}

async fn a_datagram_to_oneself_arrives(cx: Context) {
    let (socket, at) = bind(cx).await;
    socket.send_to(b"me", at).await.unwrap();
    let mut buf = [0; 8];
    assert_eq!(socket.recv_from(&mut buf).await.unwrap(), (2, at));
    assert!(format!("{socket:?}").contains(&at.to_string()));
}

async fn an_echo_knows_whom_to_answer(here: Context, there: Context) {
    let ((near, near_at), (far, far_at)) = (bind(here).await, bind(there).await);
    let echo = there.spawn("echo", async move {
        let mut buf = [0; 64];
        for _ in 0..10 {
            let (len, from) = far.recv_from(&mut buf).await.unwrap();
            far.send_to(&buf[..len], from).await.unwrap();
        }
    });
    for n in 0..10_u8 {
        near.send_to(&[n; 3], far_at).await.unwrap();
        let mut buf = [0; 64];
        assert_eq!(near.recv_from(&mut buf).await.unwrap(), (3, far_at));
        assert_eq!(buf[..3], [n; 3]);
    }
    assert_eq!(near.local_addr().unwrap(), near_at);
    echo.await.unwrap();
}

async fn a_datagram_arrives_whole_or_not_at_all(here: Context, there: Context) {
    let ((near, _), (far, far_at)) = (bind(here).await, bind(there).await);
    for len in [1_usize, 100, 1_000, 9_000] {
        near.send_to(&vec![len as u8; len], far_at).await.unwrap();
        let mut buf = vec![0; 10_000];
        assert_eq!(far.recv_from(&mut buf).await.unwrap().0, len);
        assert!(buf[..len].iter().all(|b| *b == len as u8));
    }
}

async fn a_long_datagram_is_cut_to_the_room(here: Context, there: Context) {
    let ((near, _), (far, far_at)) = (bind(here).await, bind(there).await);
    near.send_to(b"0123456789", far_at).await.unwrap();
    let mut four = [0; 4];
    assert_eq!(far.recv_from(&mut four).await.unwrap().0, 4);
    assert_eq!(four, *b"0123");
    near.send_to(b"next", far_at).await.unwrap();
    let mut buf = [0; 16];
    assert_eq!(far.recv_from(&mut buf).await.unwrap().0, 4);
    assert_eq!(buf[..4], *b"next");
}

async fn the_longest_datagram_passes_and_a_longer_one_is_refused(here: Context, there: Context) {
    let ((near, _), (far, far_at)) = (bind(here).await, bind(there).await);
    let longer = vec![7; Datagram::MAX + 1];
    let refused = near.send_to(&longer, far_at).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    near.send_to(&longer[1..], far_at).await.unwrap();
    let mut buf = vec![0; Datagram::MAX + 1];
    assert_eq!(far.recv_from(&mut buf).await.unwrap().0, Datagram::MAX);
}

async fn an_empty_datagram_is_one(here: Context, there: Context) {
    let ((near, near_at), (far, far_at)) = (bind(here).await, bind(there).await);
    near.send_to(b"", far_at).await.unwrap();
    assert_eq!(far.recv_from(&mut [0; 8]).await.unwrap(), (0, near_at));
}

async fn nobody_answers_for_who_is_not_there(here: Context, there: Context) {
    let (near, _) = bind(here).await;
    let (gone, gone_at) = bind(there).await;
    drop(gone);
    for _ in 0..3 {
        near.send_to(b"anybody?", gone_at).await.unwrap();
    }
    let answer = here.timeout(Duration::from_millis(20), near.recv_from(&mut [0; 8])).await;
    assert!(answer.is_err(), "{answer:?}");
}

async fn a_socket_is_shared_by_sender_and_receiver(here: Context, there: Context) {
    let ((near, near_at), (far, far_at)) = (bind(here).await, bind(there).await);
    let near = std::sync::Arc::new(near);
    let receiver = near.clone();
    let receiving = here.spawn("receiver", async move {
        let mut buf = [0; 8];
        receiver.recv_from(&mut buf).await.unwrap().0
    });
    here.sleep(Duration::from_millis(1)).await;
    near.send_to(b"ask", far_at).await.unwrap();
    let mut buf = [0; 8];
    assert_eq!(far.recv_from(&mut buf).await.unwrap(), (3, near_at));
    far.send_to(b"reply", near_at).await.unwrap();
    assert_eq!(receiving.await, Ok(5));
}

async fn a_dropped_receive_loses_nothing(here: Context, there: Context) {
    let ((near, _), (far, far_at)) = (bind(here).await, bind(there).await);
    let mut buf = [0; 8];
    let receive = far.recv_from(&mut buf);
    assert!(there.timeout(Duration::from_millis(1), receive).await.is_err());
    near.send_to(b"kept", far_at).await.unwrap();
    assert_eq!(far.recv_from(&mut [0; 8]).await.unwrap().0, 4);
}
