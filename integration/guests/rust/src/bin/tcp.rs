//! TCP on loopback: an echo server and its clients in one program, streams in messages, clones, timeouts.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::time::Duration;

use luna_rust_guests::{wait_until, PATIENCE};
use lunatic::net::{SocketAddrIterator, TcpListener, TcpStream, ToSocketAddrs};
use lunatic::{spawn_link, Mailbox, Process};

const CLIENTS: u32 = 100;

/// Echoes lines until one says "exit"; a stream moves to this process with the message it came in.
fn echo(mut stream: TcpStream, _: Mailbox<()>) {
    let mut reader = BufReader::new(stream.clone());
    let mut line = String::new();
    while reader.read_line(&mut line).unwrap() > 0 && line != "exit\n" {
        stream.write_all(line.as_bytes()).unwrap();
        stream.flush().unwrap();
        line.clear();
    }
}

/// Tells where it listens, then serves each connection in a process of its own.
fn serve(parent: Process<String>, _: Mailbox<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    parent.send(listener.local_addr().unwrap().to_string());
    while let Ok((stream, peer)) = listener.accept() {
        assert_eq!(stream.peer_addr().unwrap(), peer);
        Process::spawn_link(stream, echo);
    }
}

fn client(address: &str, number: u32) {
    let mut stream = TcpStream::connect(address).unwrap();
    let mut reader = BufReader::new(stream.clone());
    for round in 0..20 {
        let text = format!("client {number} round {round}\n");
        stream.write_all(text.as_bytes()).unwrap();
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert_eq!(line, text);
    }
    stream.write_all(b"exit\n").unwrap();
    assert_eq!(reader.read_line(&mut String::new()).unwrap(), 0, "the server closes after exit");
}

/// A connected pair of this process.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    (near, far)
}

fn timeouts_and_peeking() {
    let (mut near, mut far) = pair();
    let short = Duration::from_millis(20);
    near.set_read_timeout(Some(short)).unwrap();
    near.set_peek_timeout(Some(short)).unwrap();
    near.set_write_timeout(Some(short)).unwrap();
    let clone = near.clone();
    assert_eq!((clone.read_timeout(), clone.peek_timeout()), (Some(short), Some(short)), "clones share them");
    let mut buffer = [0; 8];
    for _ in 0..3 {
        assert_eq!(near.read(&mut buffer).unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(near.peek(&mut buffer).unwrap_err().kind(), ErrorKind::TimedOut);
    }
    far.write_all(b"peeked").unwrap();
    near.set_peek_timeout(Some(PATIENCE)).unwrap();
    near.set_read_timeout(None).unwrap();
    assert_eq!(near.read_timeout(), None);
    assert_eq!(near.peek(&mut buffer[..4]).unwrap(), 4);
    assert_eq!(near.read(&mut buffer).unwrap(), 6);
    assert_eq!(&buffer[..6], b"peeked");
    // Nobody reads: the buffers fill up, and a write that gets no further times out.
    let chunk = vec![1; 1 << 20];
    let full = (0..1000).find_map(|_| near.write(&chunk).err()).expect("no write timed out");
    assert_eq!(full.kind(), ErrorKind::TimedOut);
    drop((near, clone));
    while far.read(&mut vec![0; 1 << 20]).unwrap() > 0 {}
}

/// 8 MB in both directions at once, through clones that other processes write to.
fn both_ways() {
    let (near, far) = pair();
    for stream in [&near, &far] {
        Process::spawn_link(stream.clone(), |mut stream: TcpStream, _: Mailbox<()>| {
            let data: Vec<u8> = (0..8_000_000).map(|at| (at % 251) as u8).collect();
            stream.write_all(&data).unwrap();
        });
    }
    for mut stream in [near, far] {
        let (mut seen, mut buffer) = (0, vec![0; 100_000]);
        while seen < 8_000_000 {
            let size = stream.read(&mut buffer).unwrap();
            assert!(buffer[..size].iter().enumerate().all(|(at, byte)| *byte == ((seen + at) % 251) as u8));
            seen += size;
        }
    }
}

fn failures() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let taken = TcpListener::bind(address).err().expect("an address was given twice").to_string();
    assert!(taken.contains("in use"), "{taken}");
    drop(listener);
    let refused = TcpStream::connect(address).err().expect("nobody listens there").to_string();
    assert!(refused.contains("refused"), "{refused}");
    let (mut near, far) = pair();
    drop(far);
    assert_eq!(near.read(&mut [0; 4]).unwrap(), 0);
    wait_until("writing to a closed connection fails", || near.write_all(b"gone").is_err());
    // An accept that waits ends with its process.
    let waiting = Process::spawn((), |_, _: Mailbox<()>| {
        let _ = TcpListener::bind("[::1]:0").unwrap().accept();
    });
    lunatic::sleep(Duration::from_millis(5));
    waiting.kill();
    wait_until("a process that was killed in accept is gone", || !waiting.is_alive());
}

#[lunatic::main]
fn main(mailbox: Mailbox<String>) {
    Process::spawn_link(mailbox.this(), serve);
    let address = mailbox.receive_timeout(PATIENCE).unwrap();
    let resolved: SocketAddrIterator = address.as_str().to_socket_addrs().unwrap();
    assert_eq!(resolved.map(|found| found.to_string()).collect::<Vec<_>>(), [address.clone()]);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| spawn_link!(@task |number, address = {address.clone()}| client(&address, number)))
        .collect();
    clients.into_iter().for_each(|task| task.result());
    timeouts_and_peeking();
    both_ways();
    failures();
}
