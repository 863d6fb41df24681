//! What stands in for Prometheus: answers every query with what it was told to, and remembers how often it was asked.

use std::{
    io::Write as _,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use crate::front::head;

/// A server that knows one number. Ends with the test program.
#[derive(Debug, Clone)]
pub struct Prometheus {
    /// Where it is asked.
    pub address: SocketAddr,
    told: Arc<Mutex<Told>>,
}

#[derive(Debug, Default)]
struct Told {
    result: String,
    asked: Vec<String>,
}

impl Prometheus {
    /// One that knows nothing yet.
    ///
    /// # Panics
    /// The system refused a port.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let this = Self { address: listener.local_addr().unwrap(), told: Arc::default() };
        let told = Arc::clone(&this.told);
        thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                let Ok(head) = head(&mut client) else { continue };
                let result = {
                    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                    told.asked.push(head.lines().next().unwrap_or_default().to_owned());
                    told.result.clone()
                };
                let body = format!(
                    "{{\"status\":\"success\",\"data\":{{\"resultType\":\"vector\",\"result\":[{result}]}}}}"
                );
                let length = body.len();
                let answer =
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
                let _ = client.write_all(answer.as_bytes());
            }
        });
        this
    }

    /// From now on every query gives this: a number, or `NaN`. Forgets who asked before.
    ///
    /// # Panics
    /// Never.
    pub fn says(&self, number: &str) {
        let result = format!("{{\"metric\":{{}},\"value\":[1,\"{number}\"]}}");
        *self.told.lock().unwrap() = Told { result, asked: Vec::new() };
    }

    /// From now on every query gives nothing: nobody counted anything. Forgets who asked before.
    ///
    /// # Panics
    /// Never.
    pub fn says_nothing(&self) {
        *self.told.lock().unwrap() = Told::default();
    }

    /// The first line of each question.
    ///
    /// # Panics
    /// Never.
    pub fn asked(&self) -> Vec<String> {
        self.told.lock().unwrap().asked.clone()
    }
}
