//! The floor under a transfer: what moving, hashing and writing the bytes costs with no protocol at all.
//!
//! ```text
//! floor seed FILE ADDRESS:PORT
//! floor fetch ADDRESS:PORT FILE PIECE_LENGTH
//! ```
//!
//! `seed` hands the file to all who connect, at once, with `sendfile` from the page cache to the socket.
//! `fetch` receives into buffers of one piece, writes each with `pwrite`, and hashes it on a second
//! thread meanwhile. No client that keeps BitTorrent's promises can do less, so `tests/bench`
//! gives our figures as a ratio against it.
//!
//! Not here, and a client pays for it: messages and their parsing, requests and the wait for them,
//! choosing pieces and peers, comparing a digest before the piece is written or announced, more
//! than one connection, rate limits, progress, the state that lets a fetch resume.

use std::error::Error;
use std::fs::File;
use std::hint::black_box;
use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::sync::mpsc::sync_channel;
use std::thread;

use sha1::{Digest, Sha1};

/// Pieces between the socket and the hash: one is filled, one is hashed, the others even out.
const BUFFERS: usize = 4;
/// Bytes asked of one `sendfile`: below the 2 GiB at which Linux cuts it anyway.
const SENDFILE_BYTES: usize = 1 << 30;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["seed", file, address] => seed(&File::open(file)?, &TcpListener::bind(address)?)?,
        ["fetch", address, file, piece_length] => {
            fetch(TcpStream::connect(address)?, &File::create(file)?, piece_length.parse()?)?;
        }
        _ => {
            return Err(
                "floor seed FILE ADDR:PORT | floor fetch ADDR:PORT FILE PIECE_LENGTH".into()
            );
        }
    }
    Ok(())
}

/// Serves every connection on a thread of its own, until it is killed.
fn seed(file: &File, listener: &TcpListener) -> io::Result<()> {
    thread::scope(|scope| {
        for stream in listener.incoming() {
            let stream = stream?;
            scope.spawn(move || {
                let mut offset = 0;
                // The end of the file, or a receiver that has gone.
                while rustix::fs::sendfile(&stream, file, Some(&mut offset), SENDFILE_BYTES)
                    .is_ok_and(|sent| sent > 0)
                {}
            });
        }
        Ok(())
    })
}

/// Takes what comes until the other end closes.
fn fetch(mut stream: TcpStream, file: &File, piece_length: usize) -> Result<(), Box<dyn Error>> {
    let (give_piece, pieces) = sync_channel::<(Vec<u8>, usize)>(BUFFERS);
    let (give_buffer, buffers) = sync_channel(BUFFERS);
    for _ in 0..BUFFERS {
        give_buffer.send(vec![0; piece_length])?;
    }
    let hasher = thread::spawn(move || {
        for (buffer, length) in pieces {
            black_box(Sha1::digest(buffer.get(..length).unwrap_or_default()));
            // The receiver is gone once the last piece is in.
            let _ = give_buffer.send(buffer);
        }
    });
    let mut offset = 0;
    loop {
        let mut buffer: Vec<u8> = buffers.recv()?;
        let length = fill(&mut stream, &mut buffer)?;
        if length == 0 {
            break;
        }
        file.write_all_at(buffer.get(..length).unwrap_or_default(), offset)?;
        offset += u64::try_from(length)?;
        give_piece.send((buffer, length))?;
    }
    drop(give_piece);
    hasher.join().map_err(|_| "the hashing thread ended early".into())
}

/// Reads until the buffer is full or the stream ends; returns how many bytes came.
fn fill(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match stream.read(rest)? {
            0 => break,
            more => filled += more,
        }
    }
    Ok(filled)
}
