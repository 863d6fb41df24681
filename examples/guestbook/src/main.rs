//! A guest book: one page, a form, and what visitors wrote.
//!
//! `entry` says what may be written, `book` keeps it, `page` shows it, and `web` answers requests.

mod book;
mod entry;
mod page;
mod web;

use std::{
    env, error::Error, io, net::Ipv4Addr, path::PathBuf, process::ExitCode, sync::Arc, time::Duration,
};

use axum::http::HeaderValue;
use tokio::{
    net::TcpListener,
    select,
    signal::unix::{SignalKind, signal},
    time::sleep,
};

use crate::{book::Book, web::Site};

/// How long requests in flight are given once the process is asked to end.
const LAST_REQUESTS: Duration = Duration::from_secs(8);

/// What the environment says.
struct Settings {
    /// Where to listen; 0 takes any free port.
    port: u16,
    /// Where the book is kept; in memory, if nowhere.
    data: Option<PathBuf>,
    release: HeaderValue,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("guestbook: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let Settings { port, data, release } = Settings::from_env()?;
    let book = Book::open(data.as_deref()).map_err(|error| {
        format!("can't open the book in the directory that GUESTBOOK_DATA names: {error}")
    })?;
    // Before anyone can know that the process is there, so that no request to end it is missed.
    let (asked_to_end, asked_to_end_too) = (end_signal()?, end_signal()?);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .map_err(|error| format!("can't listen on 127.0.0.1:{port}: {error}"))?;
    println!("listening on http://{}", listener.local_addr()?);

    let site = Site { book: Arc::new(book), release };
    let served = axum::serve(listener, web::routes(site)).with_graceful_shutdown(asked_to_end);
    let overdue = async {
        asked_to_end_too.await;
        sleep(LAST_REQUESTS).await;
    };
    select! {
        result = served => result?,
        () = overdue => eprintln!("guestbook: ended although some requests were not finished"),
    }
    Ok(())
}

impl Settings {
    fn from_env() -> Result<Self, String> {
        let port = env::var("PORT").unwrap_or_else(|_| "8080".to_owned());
        let release = env::var("STAITH_RELEASE").unwrap_or_else(|_| "unreleased".to_owned());
        Ok(Self {
            port: port
                .parse()
                .map_err(|_| format!("PORT is {port:?}, but should be a number up to 65535"))?,
            data: env::var_os("GUESTBOOK_DATA").map(PathBuf::from),
            release: HeaderValue::from_str(&release)
                .map_err(|_| format!("STAITH_RELEASE is {release:?}, which can't be sent as a header"))?,
        })
    }
}

/// Waits for SIGTERM, which Staith sends, or SIGINT, which Ctrl-C does. Both are caught from this call on.
fn end_signal() -> io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    })
}
