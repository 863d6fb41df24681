//! A short script on a machine, with what it is given and what it says.

use std::sync::{Arc, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{
    client::SshClient,
    destination::Destination,
    error::SshError,
    start::{mark, quoted},
};

/// The longest text that is read.
const LONGEST: u64 = 64 << 20;

impl SshClient {
    /// Runs a script by `/bin/sh` on a machine, gives it `input`, and returns what it wrote to its standard output. `$1` and so on are
    /// `arguments`. Nothing of what a login shell says before is among it. When this is dropped, the script finds its input ended.
    ///
    /// # Errors
    /// The machine can't be reached, or the script failed: then with the last of what it said.
    pub async fn run(
        &self,
        to: &Destination,
        script: &str,
        arguments: &[&str],
        input: &[u8],
    ) -> Result<Vec<u8>, SshError> {
        let connection = self.connect(to).await?;
        let failed = |why: String| SshError::Channel {
            host: to.host.clone(),
            what: "a script".into(),
            why,
            remedy: "See that the user may read and write what it is about.".into(),
            nobody_listens: false,
        };
        let mark = mark().map_err(failed)?;
        let script = format!("echo {mark}\n{script}");
        let words = ["/bin/sh", "-c", &script, "staith"];
        let words: Vec<String> = words.iter().chain(arguments).map(|word| quoted(word)).collect();
        let (mut from, mut to_it) = connection.exec(&words.join(" ")).await?;
        let end = from.end();
        let mut said = Vec::new();
        let send = async {
            // One that ends early has a reason, which it tells.
            let _ = to_it.write_all(input).await;
            let _ = to_it.shutdown().await;
        };
        let mut bounded = (&mut from).take(LONGEST);
        let (read, ()) = tokio::join!(bounded.read_to_end(&mut said), send);
        drop(connection);
        read.map_err(|error| {
            let end = Arc::clone(&end);
            let told = end.lock().unwrap_or_else(PoisonError::into_inner).describe();
            failed(format!("{error} ({told})"))
        })?;
        let line = format!("{mark}\n");
        let begins = said.windows(line.len()).position(|window| window == line.as_bytes());
        let begins = begins.ok_or_else(|| failed("its login shell ran no script".into()))?;
        Ok(said.split_off(begins + line.len()))
    }
}
