//! The program from outside: started as Staith starts it, and talked to over HTTP.

mod guestbook;

use guestbook::{Guestbook, Scratch};

const FORM: &str = "content-type: application/x-www-form-urlencoded";
const JSON: &str = "content-type: application/json";

#[test]
fn every_response_says_which_release_answered() {
    let site = Guestbook::start(&[("STAITH_RELEASE", "sha256:0123456789abcdef")]);
    let too_long = format!("name=Ada&message={}", "x".repeat(20_000));
    for (response, status) in [
        (site.get("/healthz"), 200),
        (site.get("/"), 200),
        (site.get("/style.css"), 200),
        (site.get("/api/entries"), 200),
        (site.get("/nowhere"), 404),
        (site.request("DELETE", "/", "", ""), 405),
        (site.post("/", FORM, "name=Ada&message=Hello"), 303),
        (site.post("/", FORM, "name=&message="), 422),
        (site.post("/", FORM, &too_long), 413),
        (site.post("/", JSON, "{}"), 415),
        (site.post("/api/entries", JSON, "{"), 400),
    ] {
        assert_eq!(response.status, status, "{response:?}");
        assert_eq!(response.header("x-staith-release"), Some("sha256:0123456789abcdef"), "{response:?}");
    }
}

#[test]
fn a_visitor_signs_with_the_form_and_is_seen() {
    let site = Guestbook::start(&[]);
    assert!(site.get("/").body.contains("Nobody has signed yet"));
    let signed =
        site.post("/", FORM, "name=Ada+L%C3%B6v&message=Hello%2C%0D%0A%3Cscript%3Ebook%3C%2Fscript%3E");
    assert_eq!((signed.status, signed.header("location")), (303, Some("/")));
    let page = site.get("/").body;
    assert!(page.contains("Ada Löv"), "{page}");
    assert!(page.contains("Hello,\n&lt;script&gt;book&lt;/script&gt;"), "{page}");
}

#[test]
fn a_refused_visitor_is_told_why_and_need_not_type_again() {
    let site = Guestbook::start(&[]);
    let refused = site.post("/", FORM, "name=&message=A+long+story");
    assert_eq!(refused.status, 422);
    assert!(refused.body.contains("Please say who you are."), "{}", refused.body);
    assert!(refused.body.contains("A long story</textarea>"), "{}", refused.body);
    assert_eq!(site.get("/api/entries").body, "[]");
}

#[test]
fn programs_sign_and_read_as_json() {
    let site = Guestbook::start(&[]);
    let signed = site.post("/api/entries", JSON, r#"{"name":"Ada","message":"Hello"}"#);
    assert_eq!(signed.status, 201);
    let entries: Vec<serde_json::Value> = serde_json::from_str(&site.get("/api/entries").body).unwrap();
    assert_eq!(entries, [signed.json()]);
    assert_eq!(entries[0]["name"], "Ada");
    let refused = site.post("/api/entries", JSON, r#"{"message":"Hello"}"#);
    assert_eq!((refused.status, &refused.json()["error"]), (422, &"Please say who you are.".into()));
}

#[test]
fn a_request_in_flight_is_finished_before_the_end() {
    let mut site = Guestbook::start(&[]);
    let body = "name=Ada&message=Just+in+time";
    let mut visitor = site.connect();
    visitor.send(&format!(
        "POST / HTTP/1.1\r\nhost: x\r\n{FORM}\r\ncontent-length: {}\r\nexpect: 100-continue\r\n\r\n",
        body.len()
    ));
    // The server asks for the body: so it has begun to work on this request.
    assert_eq!(visitor.line(), "HTTP/1.1 100 Continue\r\n");
    site.ask_to_end();
    site.wait_until_closed();
    visitor.send(body);
    assert_eq!(visitor.line(), "\r\n");
    assert_eq!(visitor.response().status, 303);
    assert!(site.wait().success());
}

#[test]
fn entries_outlive_a_release() {
    let scratch = Scratch::new();
    let data = [("GUESTBOOK_DATA", scratch.path())];
    let mut blue = Guestbook::start(&data);
    assert_eq!(blue.post("/", FORM, "name=Ada&message=to+blue").status, 303);
    let green = Guestbook::start(&data);
    assert!(green.get("/").body.contains("to blue"));
    assert_eq!(green.post("/", FORM, "name=Grace&message=to+green").status, 303);
    assert!(blue.get("/").body.contains("to green"), "both serve while traffic moves");
    blue.ask_to_end();
    assert!(blue.wait().success());
    assert!(green.get("/").body.contains("to blue"));
}

#[test]
fn a_wrong_environment_is_an_error_that_says_so() {
    for (name, value) in
        [("PORT", "70000"), ("STAITH_RELEASE", "line\nbreak"), ("GUESTBOOK_DATA", "/dev/null/x")]
    {
        let (status, said) = Guestbook::refusal(&[(name, value)]);
        assert!(!status.success());
        assert!(said.contains(name), "{said}");
    }
}

#[test]
fn a_book_that_is_gone_makes_the_release_unhealthy() {
    let scratch = Scratch::new();
    let site = Guestbook::start(&[("GUESTBOOK_DATA", scratch.path())]);
    assert_eq!(site.get("/healthz").status, 200);
    drop(scratch);
    assert_eq!(site.get("/healthz").status, 503);
    assert_eq!(site.post("/", FORM, "name=Ada&message=Hello").status, 503);
}
