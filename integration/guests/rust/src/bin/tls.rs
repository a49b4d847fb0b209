//! TLS on loopback, with a certificate authority of our own.
//!
//! Arguments: files with the authority's certificate, the server's certificate and its key, and with another
//! authority's certificate; the server's is for `localhost`.

use std::io::{BufRead, BufReader, Read, Write};
use std::time::Duration;

use luna_rust_guests::PATIENCE;
use lunatic::host::api::{message, networking::tls_connect};
use lunatic::net::{TcpStream, TlsListener, TlsStream};
use lunatic::{spawn_link, Mailbox, Process, Tag};

fn echo(mut stream: TlsStream, _: Mailbox<()>) {
    let mut reader = BufReader::new(stream.clone());
    let mut line = String::new();
    while reader.read_line(&mut line).unwrap_or(0) > 0 && line != "exit\n" {
        stream.write_all(line.as_bytes()).unwrap();
        stream.flush().unwrap();
        line.clear();
    }
}

/// Serves; a client that fails its handshake must not keep the others from being served.
fn serve((parent, certificate, key): (Process<u16>, Vec<u8>, Vec<u8>), _: Mailbox<()>) {
    let listener = TlsListener::bind("127.0.0.1:0", certificate, key).unwrap();
    parent.send(listener.local_addr().unwrap().port());
    loop {
        if let Ok((stream, peer)) = listener.accept() {
            assert!(peer.ip().is_loopback());
            Process::spawn(stream, echo);
        }
    }
}

/// As the interface describes it, pointer before length; the crate's own `connect_with_certs` swaps the two.
fn connect(host: &str, port: u16, authorities: &[&[u8]]) -> Result<TlsStream, u32> {
    let entries: Vec<(u32, u32)> = authorities.iter().map(|pem| (pem.as_ptr() as u32, pem.len() as u32)).collect();
    let mut id = 0u64;
    let (name, list) = (host.as_ptr(), entries.as_ptr() as *mut u8);
    let timeout = PATIENCE.as_millis() as u64;
    let code = unsafe {
        tls_connect(name, host.len() as u32, port.into(), timeout, &mut id, list, entries.len() as u32)
    };
    if code != 0 {
        return Err(code);
    }
    // The crate makes streams only itself, or out of a message.
    let own: Mailbox<TlsStream> = unsafe { Mailbox::new() };
    let tag = Tag::new();
    unsafe {
        message::create_data(tag.id(), 8);
        let index = message::push_tls_stream(id).to_le_bytes(); // as bincode writes it
        message::write_data(index.as_ptr(), index.len());
        message::send(own.this().id());
    }
    Ok(own.tag_receive(&[tag]))
}

fn talk(stream: TlsStream) {
    let mut writer = stream.clone();
    let mut reader = BufReader::new(stream);
    for text in ["hello\n", "wörld\n", &format!("{}\n", "x".repeat(100_000))] {
        writer.write_all(text.as_bytes()).unwrap();
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert_eq!(line, text);
    }
    writer.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    assert_eq!(writer.read_timeout(), Some(Duration::from_millis(20)));
    assert!(writer.read(&mut [0; 1]).is_err(), "nothing comes in time");
    writer.set_read_timeout(None).unwrap();
    writer.write_all(b"exit\n").unwrap();
    assert_eq!(reader.read_line(&mut String::new()).unwrap_or(0), 0, "the server closes after exit");
}

#[lunatic::main]
fn main(mailbox: Mailbox<u16>) {
    let mut files = std::env::args().skip(1).map(|path| std::fs::read(path).unwrap());
    let [authority, certificate, key, stranger] = [(); 4].map(|_| files.next().expect("four files"));
    Process::spawn_link((mailbox.this(), certificate, key), serve);
    let port = mailbox.receive_timeout(PATIENCE).unwrap();

    talk(connect("localhost", port, &[&authority]).unwrap());
    talk(connect("localhost", port, &[&stranger, &authority]).unwrap());
    // The crate's own way, and several at once, each on a process of its own.
    talk(TlsStream::connect_with_certs("localhost", port.into(), vec![authority.clone()]).unwrap());
    let clients: Vec<_> = (0..10)
        .map(|_| {
            spawn_link!(@task |authority = {authority.clone()}, port| {
                talk(connect("localhost", port, &[&authority]).unwrap())
            })
        })
        .collect();
    clients.into_iter().for_each(|task| task.result());

    // Not this authority, not the public ones, not that name; and no TLS at all.
    assert!(fails("localhost", port, &[&stranger]));
    assert!(fails("localhost", port, &[]));
    assert!(fails("127.0.0.1", port, &[&authority]));
    TcpStream::connect(("127.0.0.1".parse::<std::net::IpAddr>().unwrap(), port))
        .unwrap()
        .write_all(b"GET / HTTP/1.0\r\n\r\n")
        .unwrap();
    talk(connect("localhost", port, &[&authority]).unwrap());
}

/// Whether it fails, by a code or by a trap.
fn fails(host: &str, port: u16, authorities: &[&[u8]]) -> bool {
    !matches!(lunatic::panic::catch_panic(|| connect(host, port, authorities).is_ok()), Ok(true))
}
