//! A conversation with the program on a Windows machine.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{
    FIRST_WORD, PowerShell,
    meaning::Errand,
    program,
    words::{Reply, Request},
};
use crate::fleet::{machine::MachineError, wire::Wire};

/// The protocol of the program that is sent.
const PROTOCOL: u32 = 1;

/// How much of a reply, or of what others say before one, is read.
const MOST: usize = 16 << 20;

/// A program that has said hello.
pub(super) struct Session {
    wire: Wire,
    heard: Vec<u8>,
    mark: String,
    /// Whether the machine waits for a request, and not for data.
    pub(super) settled: bool,
}

impl Session {
    /// Starts the program, which is sent first, and waits until it has said hello.
    pub(super) async fn begin(
        by: &dyn PowerShell,
        target: &str,
        errand: Errand,
        begin: &Request<'_>,
    ) -> Result<Self, MachineError> {
        let mark = program::mark().map_err(|why| errand.unexpected(target, &why))?;
        let program = program::program();
        let wire = by.start(target, &program::command(&program, &mark)).await?;
        let mut session = Self { wire, heard: Vec::new(), mark, settled: true };
        let hello = async {
            // A machine that ends early has a reason, which it tells: that is worth more than that writing failed.
            let _ = session.write(program::first_line(&program).as_bytes()).await;
            let line = begin.line().map_err(|error| errand.unexpected(target, &error.to_string()))?;
            let _ = session.write(line.as_bytes()).await;
            session.reply().await.map_err(|why| errand.silent(target, &why))
        };
        let said = tokio::time::timeout(FIRST_WORD, hello).await;
        let said = said.unwrap_or_else(|_| Err(errand.silent(target, &Unheard::late())))?;
        match said {
            Reply::Hello { protocol: PROTOCOL, version } => {
                tracing::debug!("{target}: PowerShell {version}");
                Ok(session)
            }
            Reply::Not(why) => Err(errand.refused(target, why)),
            other => Err(errand.unexpected(target, &format!("{other:?}"))),
        }
    }

    /// Asks one thing and waits for its answer.
    pub(super) async fn ask(
        &mut self,
        target: &str,
        errand: Errand,
        request: &Request<'_>,
    ) -> Result<Reply, MachineError> {
        let line = request.line().map_err(|error| errand.unexpected(target, &error.to_string()))?;
        self.send(target, errand, line.as_bytes()).await?;
        self.hear(target, errand).await
    }

    /// Sends a line of data that ends them, and waits for the answer.
    pub(super) async fn ask_line(
        &mut self,
        target: &str,
        errand: Errand,
        line: &[u8],
    ) -> Result<Reply, MachineError> {
        self.send(target, errand, line).await?;
        self.hear(target, errand).await
    }

    /// Sends lines.
    pub(super) async fn send(
        &mut self,
        target: &str,
        errand: Errand,
        lines: &[u8],
    ) -> Result<(), MachineError> {
        self.write(lines).await.map_err(|error| errand.lost(target, &error.to_string()))
    }

    /// What the machine says next.
    pub(super) async fn hear(&mut self, target: &str, errand: Errand) -> Result<Reply, MachineError> {
        self.reply().await.map_err(|why| match why {
            Unheard::Ended { why, .. } => errand.lost(target, &why),
            Unheard::Strange(what) => errand.unexpected(target, &what),
        })
    }

    async fn write(&mut self, lines: &[u8]) -> std::io::Result<()> {
        self.wire.to.write_all(lines).await?;
        self.wire.to.flush().await
    }

    async fn reply(&mut self) -> Result<Reply, Unheard> {
        let mut piece = [0; 16 << 10];
        let mut looked_at = 0;
        loop {
            if let Some(json) = take(&mut self.heard, self.mark.as_bytes(), &mut looked_at) {
                return serde_json::from_slice(&json).map_err(|error| {
                    Unheard::Strange(format!("{error} in {}", String::from_utf8_lossy(&json)))
                });
            }
            if self.heard.len() > MOST {
                return Err(Unheard::Strange("it says more than is ever asked".into()));
            }
            let ended = |why: String| Unheard::Ended { why, noise: short(&self.heard) };
            match self.wire.from.read(&mut piece).await {
                Ok(0) => return Err(ended("the program on it ended, or the connection to it".into())),
                // Whoever stands in between may have folded long lines; our own replies have no line breaks within.
                Ok(length) => {
                    self.heard.extend(piece[..length].iter().filter(|byte| !matches!(byte, b'\r' | b'\n')));
                }
                Err(error) => return Err(ended(error.to_string())),
            }
        }
    }
}

/// Why there is no reply.
#[derive(Debug)]
pub(super) enum Unheard {
    /// The streams ended; `noise` is what was said that is no reply.
    Ended { why: String, noise: String },
    /// What was said is no reply of this protocol.
    Strange(String),
}

impl Unheard {
    fn late() -> Self {
        Self::Ended { why: "nothing came in time".into(), noise: String::new() }
    }
}

fn short(noise: &[u8]) -> String {
    String::from_utf8_lossy(noise).chars().take(500).collect()
}

/// Takes the first whole reply out of what was heard, and everything before it. `looked_at` is how far no end of one was found.
fn take(heard: &mut Vec<u8>, mark: &[u8], looked_at: &mut usize) -> Option<Vec<u8>> {
    let (open, close) = ([mark, b"("].concat(), [b")", mark].concat());
    let begin = find(heard, &open, 0)? + open.len();
    let end = find(heard, &close, begin.max(*looked_at));
    let Some(end) = end else {
        *looked_at = heard.len().saturating_sub(close.len());
        return None;
    };
    let json = heard[begin..end].to_vec();
    heard.drain(..end + close.len());
    *looked_at = 0;
    Some(json)
}

fn find(bytes: &[u8], what: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    rest.windows(what.len()).position(|window| window == what).map(|at| from + at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn replies_are_found_behind_noise() {
        let mut heard = b"Welcome!m:({\"say\":1})m:morem:({}".to_vec();
        let mut at = 0;
        assert_eq!(take(&mut heard, b"m:", &mut at).unwrap(), b"{\"say\":1}");
        assert_eq!(take(&mut heard, b"m:", &mut at), None);
        heard.extend(b")m:");
        assert_eq!(take(&mut heard, b"m:", &mut at).unwrap(), b"{}");
        assert!(heard.is_empty());
    }

    proptest! {
        #[test]
        fn however_it_comes_in_pieces_it_is_the_same(json in "[ -~]{0,200}", noise in "[a-l]{0,50}", cut in 1usize..20) {
            let all = format!("{noise}m:({json})m:");
            let (mut heard, mut at, mut found) = (Vec::new(), 0, None);
            for piece in all.as_bytes().chunks(cut) {
                heard.extend(piece);
                found = found.or_else(|| take(&mut heard, b"m:", &mut at));
            }
            prop_assume!(!json.contains("m:"));
            prop_assert_eq!(found.unwrap(), json.as_bytes());
        }
    }
}
