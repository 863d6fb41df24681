//! Something between a client and its server that breaks connections.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

/// Passes on what goes through it. Of connections on which something is asked that has a text in it, the first ones break after some
/// bytes of their answers.
#[derive(Debug)]
pub struct Cutting {
    /// Where it listens: `127.0.0.1:PORT`.
    pub address: String,
    left: Arc<AtomicUsize>,
}

impl Cutting {
    /// Breaks `times` connections on which `text` is asked for, each after `bytes` bytes.
    ///
    /// # Panics
    /// The system refuses a port.
    pub fn before(server: &str, text: &'static str, times: usize, bytes: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let left = Arc::new(AtomicUsize::new(times));
        let (server, counter) = (server.to_owned(), Arc::clone(&left));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&server) else { continue };
                pass(client, server, text, bytes, &counter);
            }
        });
        Self { address, left }
    }

    /// How many connections it will still break.
    pub fn left(&self) -> usize {
        self.left.load(Ordering::SeqCst)
    }
}

fn pass(client: TcpStream, server: TcpStream, text: &'static str, bytes: usize, left: &Arc<AtomicUsize>) {
    let (mut asks, mut hears) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let (mut answers, mut told) = (server, client);
    let wanted = Arc::new(AtomicBool::new(false));
    let (is_wanted, left) = (Arc::clone(&wanted), Arc::clone(left));
    thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(read @ 1..) = asks.read(&mut buffer) {
            // A question comes in one piece.
            if String::from_utf8_lossy(&buffer[..read]).contains(text) {
                wanted.store(true, Ordering::SeqCst);
            }
            if hears.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        let _ = hears.shutdown(Shutdown::Both);
    });
    thread::spawn(move || {
        let (mut buffer, mut passed) = ([0; 1024], 0);
        while let Ok(read @ 1..) = answers.read(&mut buffer) {
            if is_wanted.load(Ordering::SeqCst) {
                passed += read;
                let take = |left: usize| left.checked_sub(1);
                if passed > bytes && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok() {
                    break;
                }
            }
            if told.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        let _ = told.shutdown(Shutdown::Both);
    });
}
