//! One command to a node and its reply.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Instant, timeout},
};

use super::dial::{Dial, Stream};
use crate::fleet::point::point;

/// A node that takes longer for what costs it a millisecond is one that does not answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest that nobody listens while a node is reloaded.
const RELOADING: Duration = Duration::from_secs(2);

/// How often it is tried meanwhile.
const LOOK: Duration = Duration::from_millis(10);

/// The longest reply that is read. A table of ten thousand servers is a tenth of it.
const LONGEST: u64 = 64 << 20;

/// Why there is no good reply.
#[derive(Debug)]
pub(super) enum Unsaid {
    /// It can't be known whether the command was carried out.
    Lost(String),
    /// The node said why it was not.
    Refused(String),
}

/// Says one line, on a connection of its own, and reads the reply to its end. When this is dropped, what was sent may still be done.
pub(super) async fn say(dial: &Dial, line: &str) -> Result<String, Unsaid> {
    let unopened = |why: String| Unsaid::Lost(format!("{dial}: {why}"));
    let mut stream = match timeout(dial.patience(), open(dial)).await {
        Ok(opened) => opened.map_err(|error| unopened(error.to_string()))?,
        Err(_) => return Err(unopened(format!("no connection within {} s", dial.patience().as_secs()))),
    };
    let exchange = async {
        stream.write_all(format!("{line}\n").as_bytes()).await?;
        let mut reply = Vec::new();
        // One line beyond is what a master's socket needs: it waits for more commands otherwise.
        if dial_waits(line) {
            stream.write_all(b"quit\n").await?;
        }
        (&mut stream).take(LONGEST).read_to_end(&mut reply).await?;
        if reply.len() as u64 >= LONGEST {
            return Err(io::Error::other("its reply has no end"));
        }
        if reply.is_empty() {
            // Even those who have nothing to say end a line: this one was not carried out to its end.
            return Err(io::Error::other("it ended the connection without a reply"));
        }
        String::from_utf8(reply).map_err(io::Error::other)
    };
    match timeout(PATIENCE, exchange).await {
        Ok(Ok(reply)) => Ok(reply),
        Ok(Err(error)) => Err(Unsaid::Lost(format!("{dial}: {error}"))),
        Err(_) => Err(Unsaid::Lost(format!("{dial} did not answer within {} s", PATIENCE.as_secs()))),
    }
}

/// A connection. While HAProxy is reloaded there are moments at which nobody listens; nothing was said then, so it is tried again.
async fn open(dial: &Dial) -> io::Result<Box<dyn Stream>> {
    let began = Instant::now();
    loop {
        match dial.open().await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && began.elapsed() < RELOADING => {
                tokio::time::sleep(LOOK).await;
            }
            other => return other,
        }
    }
}

/// Says commands that change something and have nothing to say when all is well: whatever they say is why it was not done.
pub(super) async fn tell(dial: &Dial, commands: &[String]) -> Result<(), Unsaid> {
    // A line is bounded by HAProxy's buffer; a few commands are far from it.
    for some in commands.chunks(16) {
        point();
        let said = say(dial, &some.join("; ")).await?;
        point();
        let said = said.trim();
        if !said.is_empty() {
            return Err(Unsaid::Refused(format!(
                "{dial} answered to `{}`: {}",
                some.join("; "),
                first_lines(said)
            )));
        }
    }
    Ok(())
}

fn dial_waits(line: &str) -> bool {
    line.starts_with('@') || line == "show proc"
}

/// The beginning of what a node said: its help has a hundred lines.
pub(super) fn first_lines(said: &str) -> String {
    let said: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).take(3).collect();
    said.join(" / ").chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncReadExt as _, net::TcpListener};

    use super::*;

    /// A node that says one thing to whoever asks.
    async fn node(reply: &'static str) -> Dial {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dial = Dial::Tcp(listener.local_addr().unwrap().to_string());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut asked = [0; 1024];
                let _ = stream.read(&mut asked).await;
                let _ = stream.write_all(reply.as_bytes()).await;
            }
        });
        dial
    }

    #[tokio::test]
    async fn a_reply_with_words_is_a_refusal_and_none_at_all_is_lost_contact() {
        let commands = ["set server app/blue state ready".to_owned()];
        assert!(tell(&node("\n").await, &commands).await.is_ok());
        let refused = tell(&node("No such server.\n\n").await, &commands).await;
        assert!(matches!(refused, Err(Unsaid::Refused(why)) if why.contains("No such server.")));
        assert!(matches!(tell(&node("").await, &commands).await, Err(Unsaid::Lost(_))));
        assert!(tell(&node("No such server.\n").await, &[]).await.is_ok());
    }
}
