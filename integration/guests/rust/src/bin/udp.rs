//! UDP on loopback: datagrams with and without a connection, options, clones, two processes.

use luna_rust_guests::PATIENCE;
use lunatic::net::UdpSocket;
use lunatic::{Mailbox, Process};

/// Answers each datagram to whoever sent it, backwards, until an empty one comes.
fn answer(parent: Process<String>, _: Mailbox<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    parent.send(socket.local_addr().unwrap().to_string());
    let mut buffer = vec![0; 65_536];
    loop {
        let (size, sender) = socket.recv_from(&mut buffer).unwrap();
        if size == 0 {
            return parent.send("done".to_string());
        }
        buffer[..size].reverse();
        assert_eq!(socket.send_to(&buffer[..size], sender).unwrap(), size);
    }
}

#[lunatic::main]
fn main(mailbox: Mailbox<String>) {
    Process::spawn_link(mailbox.this(), answer);
    let server = mailbox.receive_timeout(PATIENCE).unwrap();

    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    assert!(socket.send(b"to whom?").is_err(), "a socket without a connection has no peer");
    assert!(socket.peer_addr().is_err());
    let mut buffer = vec![0; 65_536];
    for size in [1, 100, 1400, 60_000] {
        let data: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        assert_eq!(socket.send_to(&data, server.as_str()).unwrap(), size);
        let (received, sender) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!((received, sender.to_string()), (size, server.clone()));
        assert!(data.iter().rev().eq(&buffer[..size]));
    }

    // Only the connected peer's datagrams come; what does not fit is cut off.
    socket.connect(server.as_str()).unwrap();
    assert_eq!(socket.peer_addr().unwrap().to_string(), server);
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.send_to(b"a stranger", socket.local_addr().unwrap()).unwrap();
    let clone = socket.try_clone().unwrap();
    drop(socket);
    assert_eq!(clone.send(b"0123456789").unwrap(), 10);
    let mut small = [0; 4];
    assert_eq!(clone.recv(&mut small).unwrap(), 4);
    assert_eq!(&small, b"9876");

    for ttl in [1, 64, 255] {
        clone.set_ttl(ttl).unwrap();
        assert_eq!(clone.ttl().unwrap(), ttl);
    }
    for broadcast in [true, false] {
        clone.set_broadcast(broadcast).unwrap();
        assert_eq!(clone.broadcast().unwrap(), broadcast);
    }
    let taken = clone.local_addr().unwrap();
    assert!(UdpSocket::bind(taken).is_err());

    clone.send(b"").unwrap();
    assert_eq!(mailbox.receive_timeout(PATIENCE).unwrap(), "done");
    drop((clone, stranger));
    UdpSocket::bind(taken).unwrap(); // free again
}
