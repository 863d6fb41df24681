//! Asks what checks and metrics want to know. Bounded in time and size; whatever goes wrong is no answer, never a good one.

use std::time::Duration;

use reqwest::{Client, ClientBuilder, Response, redirect::Policy};
use serde::Deserialize;
use staith_model::{Check, Digest, Metric, causes};

use super::checks::Answer;

/// All of one question, from the name to the last byte.
const PATIENCE: Duration = Duration::from_secs(10);
/// One number takes less.
const LONGEST: usize = 256 << 10;

/// Whoever asks. Goes through the proxy that `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` name.
#[derive(Debug, Clone)]
pub struct Asker(Client);

/// Nobody can be asked.
#[derive(Debug, thiserror::Error)]
#[error("checks can't be asked over HTTP: {0}; see that the proxy variables hold addresses")]
pub struct NoAsker(String);

impl Asker {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// The settings of this process's environment can't be used.
    pub fn new() -> Result<Self, NoAsker> {
        // One may be there already, and is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self::of(Client::builder())
    }

    fn of(client: ClientBuilder) -> Result<Self, NoAsker> {
        let client = client
            .user_agent(concat!("staith/", env!("CARGO_PKG_VERSION")))
            .timeout(PATIENCE)
            // What is wanted is the answer of this address, and not of one that it names.
            .redirect(Policy::none());
        client.build().map(Self).map_err(|error| NoAsker(causes(&error)))
    }

    /// Asks what a check wants to know; `None` for [`Check::Health`], which is not asked over HTTP. Cancel-safe.
    pub async fn check(&self, check: &Check, release: &Digest) -> Option<Answer> {
        match check {
            Check::Http { url, .. } => Some(self.status(url).await),
            Check::Metric { metric } => Some(self.metric(metric, release).await),
            Check::Health => None,
        }
    }

    /// The status that an address answers with. Cancel-safe.
    pub async fn status(&self, url: &str) -> Answer {
        match self.0.get(url).send().await {
            Ok(response) => Answer::Status(response.status().as_u16()),
            Err(error) => Answer::Nothing(causes(&error.without_url())),
        }
    }

    /// The one number that a Prometheus query gives. Cancel-safe.
    pub async fn metric(&self, metric: &Metric, release: &Digest) -> Answer {
        let number = self.query(metric, release).await;
        number.map_or_else(Answer::Nothing, Answer::Number)
    }

    async fn query(&self, metric: &Metric, release: &Digest) -> Result<f64, String> {
        let base = metric.prometheus.trim_end_matches('/');
        let mut url = reqwest::Url::parse(&format!("{base}/api/v1/query")).map_err(|why| why.to_string())?;
        url.query_pairs_mut().append_pair("query", &metric.query.replace("{{release}}", &release.short()));
        let asked = self.0.get(url).send().await;
        let response = asked.map_err(|error| causes(&error.without_url()))?;
        let status = response.status();
        let body = bounded(response).await?;
        if !status.is_success() {
            return Err(format!("it answers with {status}"));
        }
        number(&body)
    }
}

async fn bounded(mut response: Response) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| causes(&error.without_url()))? {
        if bytes.len() + piece.len() > LONGEST {
            return Err(format!("an answer of more than {LONGEST} bytes, where one number is wanted"));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

#[derive(Deserialize)]
struct Body {
    status: String,
    data: Data,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Scalar(Point),
    Vector(Vec<Series>),
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Series {
    value: Point,
}

#[derive(Deserialize)]
struct Point(#[allow(dead_code, reason = "the time is the server's business")] f64, String);

/// The one number in an answer of Prometheus. NaN is given as it is: it is compared with nothing.
fn number(body: &[u8]) -> Result<f64, String> {
    let body: Body =
        serde_json::from_slice(body).map_err(|_| "it is no answer of Prometheus's".to_owned())?;
    if body.status != "success" {
        return Err("Prometheus says that the query failed".to_owned());
    }
    let Point(_, text) = match body.data {
        Data::Scalar(point) => point,
        Data::Vector(mut series) => match (series.pop(), series.len()) {
            (Some(one), 0) => one.value,
            (None, _) => return Err("the query gives nothing".to_owned()),
            (Some(_), more) => return Err(format!("the query gives {} numbers, not one", more + 1)),
        },
        Data::Other => return Err("the query gives no number".to_owned()),
    };
    let text = text.replace("Inf", "inf");
    text.parse().map_err(|_| "the query gives no number".to_owned())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
        thread::JoinHandle,
    };

    use staith_model::Comparison;

    use super::*;

    #[test]
    fn only_one_number_is_a_number() {
        let of = |data: &str| number(format!(r#"{{"status":"success","data":{data}}}"#).as_bytes());
        let one = r#"{"resultType":"vector","result":[{"metric":{},"value":[1.5,"0.25"]}]}"#;
        assert_eq!(of(one), Ok(0.25));
        assert_eq!(of(r#"{"resultType":"scalar","result":[1,"+Inf"]}"#), Ok(f64::INFINITY));
        assert!(of(r#"{"resultType":"scalar","result":[1,"NaN"]}"#).unwrap().is_nan());
        for bad in [
            r#"{"resultType":"vector","result":[]}"#,
            r#"{"resultType":"vector","result":[{"value":[1,"1"]},{"value":[1,"1"]}]}"#,
            r#"{"resultType":"scalar","result":[1,"many"]}"#,
            r#"{"resultType":"string","result":[1,"1"]}"#,
            "{}",
        ] {
            assert!(of(bad).is_err(), "{bad}");
        }
        assert!(number(br#"{"status":"error","data":{"resultType":"vector","result":[]}}"#).is_err());
        assert!(number(b"<html>").is_err());
    }

    /// One that no proxy of whoever runs the test is in the way of.
    fn asker() -> Asker {
        Asker::new().unwrap();
        Asker::of(Client::builder().no_proxy()).unwrap()
    }

    /// Answers one request so, and gives what was asked.
    fn answering(answer: Vec<u8>) -> (String, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = vec![0; 4096];
            let read = stream.read(&mut asked).unwrap();
            // Whoever asked may have heard enough.
            let _ = stream.write_all(&answer);
            String::from_utf8_lossy(&asked[..read]).lines().next().unwrap_or_default().to_owned()
        });
        (base, server)
    }

    fn http(status: &str, body: &str) -> Vec<u8> {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
            .into_bytes()
    }

    fn metric(prometheus: &str) -> Metric {
        Metric {
            name: "errors".parse().unwrap(),
            prometheus: prometheus.to_owned(),
            query: "rate(errors{release=\"{{release}}\"}[5m])".into(),
            holds: Comparison::Below,
            limit: "1".into(),
            dry_run: false,
        }
    }

    #[tokio::test]
    async fn a_query_names_the_release_and_its_number_comes_back() {
        let body =
            r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"3"]}]}}"#;
        let (base, server) = answering(http("200 OK", body));
        let release = Digest::of(b"x");
        let answer = asker().metric(&metric(&base), &release).await;
        assert_eq!(answer, Answer::Number(3.0));
        let asked = server.join().unwrap();
        assert!(asked.starts_with("GET /api/v1/query?query=rate%28errors%7B"), "{asked}");
        assert!(asked.contains(&release.short()), "{asked}");
    }

    #[tokio::test]
    async fn errors_redirections_and_floods_are_no_answers() {
        let asker = asker();
        let (base, server) = answering(http("302 Found", ""));
        assert_eq!(asker.status(&base).await, Answer::Status(302));
        server.join().unwrap();
        let flood = [http("200 OK", ""), vec![]].concat();
        let flood =
            String::from_utf8(flood).unwrap().replace("Content-Length: 0\r\n", "") + &"x".repeat(LONGEST + 1);
        for answer in [http("500 Oops", "{}"), http("200 OK", "{}"), flood.into_bytes(), b"nonsense".to_vec()]
        {
            let (base, server) = answering(answer);
            let said = asker.metric(&metric(&base), &Digest::of(b"x")).await;
            assert!(matches!(said, Answer::Nothing(_)), "{said:?}");
            server.join().unwrap();
        }
        let nobody = {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            format!("http://{}", listener.local_addr().unwrap())
        };
        assert!(matches!(asker.status(&nobody).await, Answer::Nothing(_)));
        assert!(matches!(asker.status("file:///etc/passwd").await, Answer::Nothing(_)));
    }
}
