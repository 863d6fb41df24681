//! The client against what networks and proxies do.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
};

use serde_json::Value;
use staith_model::{Exit, Secret};

use super::{Address, Ask, Client, Refused};

/// Answers one request with these bytes; what was asked.
fn once(answer: &'static str) -> (Address, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address =
        Address::parse(&format!("http://{}/", listener.local_addr().unwrap()), None, false).unwrap();
    let asked = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = Vec::new();
        let mut buffer = [0; 4096];
        while !asked.windows(4).any(|end| end == b"\r\n\r\n") {
            let read = stream.read(&mut buffer).unwrap();
            asked.extend_from_slice(&buffer[..read]);
        }
        stream.write_all(answer.as_bytes()).unwrap();
        String::from_utf8(asked).unwrap()
    });
    (address, asked)
}

async fn asked(answer: &'static str) -> (Result<Option<Value>, Refused>, String) {
    let (address, asked) = once(answer);
    let ask = Ask::get("/x").with(&Secret::new("t0ken"));
    let answered = Client::new(&address).unwrap().maybe(&ask).await;
    (answered, asked.join().unwrap())
}

#[tokio::test]
async fn an_answer_is_a_value_or_nothing() {
    let (answered, asked) = asked("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{\"a\":1}").await;
    assert_eq!(answered.unwrap().unwrap()["a"], 1);
    assert!(
        asked.starts_with("GET /x HTTP/1.1\r\n") && asked.contains("authorization: Bearer t0ken\r\n"),
        "{asked}"
    );
    let (answered, _) = self::asked("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(answered.unwrap(), None);
}

#[tokio::test]
async fn a_no_of_the_server_is_told_as_it_says_it() {
    let (answered, _) = asked(
        "HTTP/1.1 409 Conflict\r\nContent-Type: application/problem+json\r\nContent-Length: 77\r\n\r\n\
         {\"type\":\"stale-fence\",\"title\":\"no\",\"status\":409,\"detail\":\"w\",\"remedy\":\"stop\"}",
    )
    .await;
    let refused = answered.unwrap_err();
    assert!(refused.is("stale-fence") && refused.status() == Some(409) && !refused.may_pass(), "{refused:?}");
    let problem = crate::output::Problem::from(refused);
    assert_eq!(
        (problem.exit, problem.why.as_deref(), problem.remedy.as_deref()),
        (Exit::Usage, Some("w"), Some("stop"))
    );
}

#[tokio::test]
async fn what_somebody_on_the_way_says_is_no_word_of_the_server() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<h1>Hi</h1>\r\n",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{\"a\":",
    ] {
        let refused = asked(answer).await.0.unwrap_err();
        assert!(matches!(refused, Refused::Strange { .. }) && refused.may_pass(), "{answer}: {refused:?}");
    }
    // Cut off: nobody knows what it would have been.
    let refused = asked("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"a\":1}").await.0.unwrap_err();
    assert!(matches!(refused, Refused::Away { .. }), "{refused:?}");
}

#[test]
fn only_this_machine_is_asked_in_clear_text() {
    let parse = |text: &str, insecure| {
        Address::parse(text, None, insecure).map(|address| address.as_str().to_owned())
    };
    for (text, insecure, good) in [
        ("https://ci.example.org/", false, Some("https://ci.example.org")),
        ("https://ci.example.org:8443/staith/", false, Some("https://ci.example.org:8443/staith")),
        ("http://127.0.0.1:8080", false, Some("http://127.0.0.1:8080")),
        ("http://[::1]:8080", false, Some("http://[::1]:8080")),
        ("http://localhost:8080", false, Some("http://localhost:8080")),
        ("http://ci.example.org", true, Some("http://ci.example.org")),
        ("http://ci.example.org", false, None),
        ("http://127.0.0.1.example.org", false, None),
        ("https://user:pass@ci.example.org", false, None),
        ("https://ci.example.org/?a", false, None),
        ("ci.example.org", false, None),
        ("", false, None),
    ] {
        match (parse(text, insecure), good) {
            (Ok(found), Some(good)) => assert_eq!(found, good),
            (Err(problem), None) => assert_eq!(problem.exit, Exit::Usage, "{text}"),
            (found, _) => panic!("{text}: {found:?}"),
        }
    }
    let missing = Address::parse("https://h", Some("/not/on/this/machine".as_ref()), false).unwrap_err();
    assert_eq!(missing.exit, Exit::Usage);
}

/// What is in a file after this answer, which may have ten bytes.
async fn into_a_file(answer: &'static str) -> Result<Vec<u8>, Refused> {
    let (address, asked) = once(answer);
    let mut file = tempfile::tempfile().unwrap();
    // Of an answer before, which broke off.
    file.write_all(b"something that is much longer than that").unwrap();
    let written = Client::new(&address).unwrap().bytes_to(&Ask::get("/x"), &mut file, 10).await;
    asked.join().unwrap();
    let written = written?.unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, written);
    Ok(bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_goes_into_a_file_within_its_bound() {
    let whole = into_a_file("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789").await;
    assert_eq!(whole.unwrap(), b"0123456789");
    let long = into_a_file("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n0123456789a").await;
    assert!(matches!(long, Err(Refused::Strange { .. })), "{long:?}");
    let cut = into_a_file("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234").await;
    assert!(matches!(cut, Err(Refused::Away { .. })), "{cut:?}");
    let no = "HTTP/1.1 409 Conflict\r\nContent-Type: application/problem+json\r\nContent-Length: 49\r\n\r\n\
              {\"type\":\"stale-fence\",\"title\":\"no\",\"status\":409} ";
    let refused = into_a_file(no).await.unwrap_err();
    assert!(refused.is("stale-fence"), "{refused:?}");
}
