//! A server that is up within milliseconds: it answers any path with the path, and says which release it is.
//!
//! `/long/MILLIS` takes its time. It keeps connections, and a port that another process is about to leave is waited for. With `BELL_IS_SICK`
//! in its environment each answer is a failure.

use std::{
    env,
    io::{self, BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

fn main() -> io::Result<()> {
    let port: u16 = env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(8080);
    let release = env::var("STAITH_RELEASE").unwrap_or_default();
    let listener = listen(port)?;
    for client in listener.incoming().flatten() {
        let release = release.clone();
        thread::spawn(move || serve(client, &release));
    }
    Ok(())
}

fn listen(port: u16) -> io::Result<TcpListener> {
    for _ in 0..1000 {
        match TcpListener::bind(("127.0.0.1", port)) {
            Err(taken) if taken.kind() == io::ErrorKind::AddrInUse => {
                thread::sleep(Duration::from_millis(5));
            }
            other => return other,
        }
    }
    TcpListener::bind(("127.0.0.1", port))
}

fn serve(client: TcpStream, release: &str) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut to = client.try_clone()?;
    let mut from = BufReader::new(client);
    loop {
        let Some((path, stays)) = request(&mut from)? else { return Ok(()) };
        if let Some(millis) = path.strip_prefix("/long/").and_then(|millis| millis.parse().ok()) {
            thread::sleep(Duration::from_millis(millis));
        }
        let connection = if stays { "keep-alive" } else { "close" };
        let status = if env::var_os("BELL_IS_SICK").is_some() { "500 Sick" } else { "200 OK" };
        let answer = format!(
            "HTTP/1.1 {status}\r\nx-staith-release: {release}\r\ncontent-length: {}\r\nconnection: {connection}\r\n\r\n{path}",
            path.len()
        );
        to.write_all(answer.as_bytes())?;
        if !stays {
            return Ok(());
        }
    }
}

/// The path of the next request, and whether the connection stays. No request has a body here.
fn request(from: &mut BufReader<TcpStream>) -> io::Result<Option<(String, bool)>> {
    let (mut line, mut path, mut stays) = (String::new(), None, true);
    loop {
        line.clear();
        if from.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let text = line.trim_end();
        if text.is_empty() {
            return Ok(path.map(|path| (path, stays)));
        }
        if path.is_none() {
            path = text.split(' ').nth(1).map(str::to_owned);
            stays = text.ends_with("HTTP/1.1");
        } else if text.eq_ignore_ascii_case("connection: close") {
            stays = false;
        }
    }
}
