//! Plays the machine's side of an exchange that was written down, and holds ours against it.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use serde_json::Value;
use staith_releaser::fleet::{machine::MachineError, windows::PowerShell, wire::Wire};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

use super::fake::{between, start_of};

/// Steps of an exchange: `{"asked": {...}}` is a request with at least these keys, `{"data": "M."}` is the line that ends data,
/// `{"said": {...}}` is a reply, `{"raw": "..."}` goes over the wire as it is, and `{"gone": true}` ends it.
#[derive(Clone)]
pub(crate) struct Recorded {
    steps: Arc<Vec<Value>>,
    /// How far it came.
    pub(crate) played: Arc<Mutex<usize>>,
}

impl Recorded {
    pub(crate) fn of(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/windows").join(format!("{name}.json"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|no| panic!("{}: {no}", path.display()));
        Self::steps(serde_json::from_str::<Value>(&text).unwrap()["exchange"].as_array().unwrap().clone())
    }

    pub(crate) fn steps(steps: Vec<Value>) -> Self {
        Self { steps: Arc::new(steps), played: Arc::default() }
    }

    /// Whether all of it was played.
    pub(crate) fn is_over(&self) -> bool {
        *self.played.lock().unwrap() == self.steps.len()
    }
}

fn holds(wanted: &Value, line: &Value) -> bool {
    match (wanted, line) {
        (Value::Object(wanted), Value::Object(line)) => {
            wanted.iter().all(|(key, value)| line.get(key) == Some(value))
        }
        _ => false,
    }
}

#[async_trait]
impl PowerShell for Recorded {
    async fn start(&self, _: &str, command: &str) -> Result<Wire, MachineError> {
        let mark = between(&start_of(command), "$from '", "'").to_owned();
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let this = self.clone();
        tokio::spawn(async move {
            let (from, mut to) = tokio::io::split(theirs);
            let mut lines = BufReader::new(from).lines();
            let _program = lines.next_line().await.unwrap();
            for step in this.steps.iter() {
                if let Some(wanted) = step.get("asked") {
                    let line = lines.next_line().await.unwrap().unwrap_or_default();
                    let asked: Value = serde_json::from_str(&line).unwrap_or(Value::Null);
                    assert!(holds(wanted, &asked), "wanted {wanted}, and it was asked {line}");
                } else if let Some(end) = step.get("data").and_then(Value::as_str) {
                    while lines.next_line().await.unwrap().is_some_and(|line| line != end) {}
                } else if let Some(said) = step.get("said") {
                    let said = said.to_string().replace(' ', "\\u0020");
                    to.write_all(format!("{mark}({said}){mark}\n").as_bytes()).await.unwrap();
                } else if let Some(raw) = step.get("raw").and_then(Value::as_str) {
                    to.write_all(raw.replace("MARK", &mark).as_bytes()).await.unwrap();
                } else {
                    *this.played.lock().unwrap() += 1;
                    return;
                }
                *this.played.lock().unwrap() += 1;
            }
            // Stays until nobody is there any more.
            while lines.next_line().await.is_ok_and(|line| line.is_some()) {}
        });
        let (from, to) = tokio::io::split(ours);
        Ok(Wire { from: Box::new(from), to: Box::new(to) })
    }
}
