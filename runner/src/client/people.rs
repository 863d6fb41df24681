//! A server as people ask it, by a token of theirs.

use std::{fs, io, path::PathBuf, time::Duration};

use clap::Args;
use reqwest::{Client, Method, StatusCode, header::HeaderValue, redirect::Policy};
use serde::{Serialize, de::DeserializeOwned};
use staith_model::{Exit, Secret, causes, service::ProblemDetails};

use crate::output::Problem;

/// A connection that is not made within this time is not made.
const CONNECTING: Duration = Duration::from_secs(10);
/// A server that is planning may fetch a repository first.
const ANSWERING: Duration = Duration::from_secs(300);
/// No answer is longer, in bytes.
const LONGEST: u64 = 64 << 20;

/// Which server, and who asks.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// The server's address: https://ci.example.org
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "STAITH_SERVER",
        default_value = "http://127.0.0.1:8765"
    )]
    server: String,
    /// A file with the token; if not given, the variable STAITH_TOKEN has it
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// A server that can be asked.
pub(crate) struct People {
    client: Client,
    base: String,
    token: Option<Secret>,
}

impl Server {
    /// The address, without a `/` at its end.
    ///
    /// # Errors
    /// It is none.
    pub(crate) fn address(&self) -> Result<String, Problem> {
        let base = self.server.trim_end_matches('/');
        let rest = base.strip_prefix("https://").or_else(|| base.strip_prefix("http://"));
        if rest.is_none_or(|rest| rest.is_empty() || rest.contains(['@', '?', '#', ' ', '\'', '"'])) {
            let what = format!("`{}` is no address of a server", self.server.escape_debug());
            return Err(Problem::new(Exit::Usage, what).with_remedy("write it as https://ci.example.org"));
        }
        Ok(base.to_owned())
    }

    /// Gets ready to ask. Nothing is sent yet.
    ///
    /// # Errors
    /// The address or the token can't be used.
    pub(crate) fn open(&self) -> Result<People, Problem> {
        let base = self.address()?;
        // One may be there already, and is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .user_agent(concat!("staith/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECTING)
            .timeout(ANSWERING)
            // A token goes to the server that was named and to no other.
            .redirect(Policy::none());
        let client = client.build().map_err(|refused| Problem::new(Exit::Environment, causes(&refused)))?;
        Ok(People { client, base, token: self.token()? })
    }

    fn token(&self) -> Result<Option<Secret>, Problem> {
        let Some(file) = &self.token_file else {
            let said = std::env::var("STAITH_TOKEN").ok().filter(|token| !token.is_empty());
            return Ok(said.map(Secret::new));
        };
        let text =
            fs::read_to_string(file).map_err(|refused: io::Error| Problem::unreadable(file, &refused))?;
        Ok(Some(Secret::new(text.trim())))
    }
}

impl People {
    /// What is there.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Problem> {
        self.ask(Method::GET, path, None::<&()>).await
    }

    /// Asks for something to be done.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Problem> {
        self.ask(Method::POST, path, Some(body)).await
    }

    /// Changes a part of something.
    pub(crate) async fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Problem> {
        self.ask(Method::PATCH, path, Some(body)).await
    }

    /// Sets something.
    pub(crate) async fn put(&self, path: &str, body: &impl Serialize) -> Result<(), Problem> {
        self.send(Method::PUT, path, Some(body)).await.map(drop)
    }

    /// Removes something.
    pub(crate) async fn delete(&self, path: &str) -> Result<(), Problem> {
        self.send(Method::DELETE, path, None::<&()>).await.map(drop)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, Problem> {
        let bytes = self.send(method, path, body).await?;
        serde_json::from_slice(&bytes).map_err(|bad| {
            Problem::new(Exit::Environment, format!("what {} answers is not understood", self.base))
                .with_why(bad.to_string())
                .with_remedy("see that it is a server of Staith's, and of a version like this program's")
        })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Vec<u8>, Problem> {
        let away = |error: reqwest::Error| {
            Problem::new(Exit::Environment, format!("the server {} can't be reached", self.base))
                .with_why(causes(&error.without_url()))
                .with_remedy("see that it runs, and that --server or STAITH_SERVER names it")
        };
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            let header = token.expose_to(|token| HeaderValue::from_str(&format!("Bearer {token}")));
            let mut header = header
                .map_err(|_| Problem::new(Exit::Usage, "the token has characters that no token has"))?;
            header.set_sensitive(true);
            request = request.header("authorization", header);
        }
        if let Some(body) = body {
            let body = serde_json::to_vec(body).map_err(|bad| Problem::bug(bad.to_string()))?;
            request = request.header("content-type", "application/json").body(body);
        }
        let mut response = request.send().await.map_err(away)?;
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(away)? {
            bytes.extend_from_slice(&piece);
            if bytes.len() as u64 > LONGEST {
                return Err(Problem::new(
                    Exit::Environment,
                    format!("the answer of {} has no end", self.base),
                ));
            }
        }
        if status.is_success() { Ok(bytes) } else { Err(refusal(&self.base, status, &bytes)) }
    }
}

/// What a server says when it does not do what it was asked.
fn refusal(base: &str, status: StatusCode, body: &[u8]) -> Problem {
    let exit = match status.as_u16() {
        400 | 404 | 405 | 413 | 422 => Exit::Usage,
        409 => Exit::Configuration,
        _ => Exit::Environment,
    };
    let Ok(told) = serde_json::from_slice::<ProblemDetails>(body) else {
        return Problem::new(
            Exit::Environment,
            format!("{base} answers {status}, and not as a server of Staith's does"),
        );
    };
    let problem = Problem::new(exit, told.title);
    Problem { why: told.detail, remedy: told.remedy, ..problem }
}
