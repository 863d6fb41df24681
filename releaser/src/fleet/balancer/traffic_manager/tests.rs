//! Exchanges with Azure, as its public documentation has them.

mod replay;

use serde_json::json;
use staith_model::{DeploymentId, Digest, Secret};

use super::*;
use replay::{Came, Exchange, Replay};

const PROFILE: &str = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/shop/providers/Microsoft.Network/trafficManagerProfiles/shop";

/// An endpoint's status, what is monitored of it, and its weight.
type Said = (&'static str, &'static str, u32);

const OFF: Said = ("Disabled", "Disabled", 1);
const ON: Said = ("Enabled", "Online", 256);
const COMING: Said = ("Enabled", "CheckingEndpoint", 1);
const THERE: Said = ("Enabled", "Online", 1);
const SICK: Said = ("Enabled", "Degraded", 1);

fn profile_of(blue: Said, green: Said) -> String {
    include_str!("samples/profile.json")
        .replace("BLUE_STATUS", blue.0)
        .replace("BLUE_MONITORED", blue.1)
        .replace("GREEN_STATUS", green.0)
        .replace("GREEN_MONITORED", green.1)
        .replace("GREEN_WEIGHT", &green.2.to_string())
}

fn answers(status: u16, answer: impl Into<String>) -> Exchange {
    Exchange {
        asked: format!("GET {PROFILE}?api-version=2022-04-01"),
        body: None,
        status,
        headers: "",
        answer: answer.into(),
    }
}

fn get(blue: Said, green: Said) -> Exchange {
    answers(200, profile_of(blue, green))
}

fn patch(kind: &str, name: &str, properties: serde_json::Value) -> Exchange {
    let body = json!({
        "id": format!("{PROFILE}/{kind}/{name}"),
        "name": name,
        "type": format!("Microsoft.Network/trafficManagerProfiles/{kind}"),
        "properties": properties,
    });
    Exchange {
        asked: format!("PATCH {PROFILE}/{kind}/{name}?api-version=2022-04-01"),
        answer: body.to_string(),
        body: Some(body),
        status: 200,
        headers: "",
    }
}

fn manager(replay: &Replay) -> TrafficManager {
    let sign_in = SignIn::Token(Secret::new("the-token"));
    let mut manager = TrafficManager::new(&format!("http://{}", replay.address), PROFILE, sign_in).unwrap();
    manager.look = Duration::ZERO;
    manager
}

fn order() -> Order {
    Order { epoch: 1, deployment: DeploymentId::new(0, [0; 10]), operation: Digest::of(b"test") }
}

fn to(members: &[(&str, u32)], patience: Duration) -> Shift {
    let to = members.iter().map(|(name, weight)| (name.parse().unwrap(), *weight)).collect();
    Shift { to, patience, drain: Duration::ZERO }
}

const LONG: Duration = Duration::from_secs(60);

fn is_signed(came: &[Came]) -> bool {
    came.iter().all(|one| one.head.to_ascii_lowercase().contains("authorization: bearer the-token"))
}

#[tokio::test]
async fn a_swap_enables_waits_weighs_and_only_then_disables() {
    let replay = Replay::start(vec![
        get(ON, OFF),
        patch("azureEndpoints", "Green", json!({ "endpointStatus": "Enabled", "weight": 1 })),
        get(ON, COMING),
        get(ON, COMING),
        get(ON, THERE),
        patch("azureEndpoints", "Green", json!({ "weight": 256 })),
        get(ON, ON),
        patch("externalEndpoints", "blue", json!({ "endpointStatus": "Disabled" })),
        get(OFF, ON),
        get(OFF, ON),
    ])
    .await;
    let manager = manager(&replay);
    let shift = to(&[("green", 256)], LONG);
    assert_eq!(manager.serve(&order(), &shift).await.unwrap(), Shifted::default());
    // What was told before is believed for as long as the profile says.
    assert_eq!((manager.lingers(), manager.granularity()), (Duration::from_secs(35), 256));
    assert!(manager.serve(&order(), &shift).await.unwrap().already);
    assert!(is_signed(&replay.ended().await));
}

#[tokio::test]
async fn what_does_not_come_up_is_disabled_again_and_nobody_else_is_touched() {
    let replay = Replay::start(vec![
        get(ON, OFF),
        patch("azureEndpoints", "Green", json!({ "endpointStatus": "Enabled", "weight": 1 })),
        get(ON, SICK),
        patch("azureEndpoints", "Green", json!({ "endpointStatus": "Disabled" })),
    ])
    .await;
    let error = manager(&replay).serve(&order(), &to(&[("green", 256)], Duration::ZERO)).await.unwrap_err();
    assert!(!error.is_lost());
    let error = error.to_string();
    assert!(error.contains("green (it says Degraded)") && error.contains("every 30 s"), "{error}");
    replay.ended().await;
}

#[tokio::test]
async fn what_must_not_be_is_refused_before_anything_is_said() {
    let disabled =
        profile_of(ON, OFF).replacen("\"profileStatus\": \"Enabled\"", "\"profileStatus\": \"Disabled\"", 1);
    let priority = profile_of(ON, ON).replace("Weighted", "Priority");
    for (profile, members, expected) in [
        (profile_of(ON, OFF), &[][..], "nobody is to get them"),
        (profile_of(ON, OFF), &[("pink", 1)], "has no endpoint pink"),
        (profile_of(ON, OFF), &[("green", 0)], "1 to 1000"),
        (disabled, &[("green", 1)], "is disabled"),
        (priority, &[("green", 1), ("blue", 2)], "routes by Priority"),
        ("{}".to_owned(), &[("green", 1)], "is no profile"),
    ] {
        let replay = Replay::start(vec![answers(200, profile)]).await;
        let error = manager(&replay).serve(&order(), &to(members, LONG)).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        replay.ended().await;
    }
}

#[tokio::test]
async fn who_serves_is_told_by_status_and_monitoring() {
    let stranger = profile_of(ON, ON).replace("\"name\": \"Green\"", "\"name\": \"My endpoint\"");
    let replay =
        Replay::start(vec![get(ON, COMING), get(ON, SICK), get(OFF, ON), answers(200, stranger)]).await;
    let manager = manager(&replay);
    let serving = async || -> Vec<String> {
        manager.observe().await.unwrap().serving().into_iter().map(ToString::to_string).collect()
    };
    // One that is enabled gets requests before its first probe has come back.
    assert_eq!(serving().await, ["blue", "green"]);
    assert_eq!(serving().await, ["blue"]);
    assert_eq!(serving().await, ["green"]);
    let error = manager.observe().await.unwrap_err().to_string();
    assert!(error.contains("`My endpoint`") && error.contains("disable or rename it"), "{error}");
    replay.ended().await;
}

#[tokio::test]
async fn refusals_say_what_to_do_and_what_passes_is_lost_contact() {
    let forbidden = include_str!("samples/forbidden.json");
    for (status, answer, lost, expected) in [
        (403, forbidden, false, "`Traffic Manager Contributor`"),
        (403, forbidden, false, "403 AuthorizationFailed: The client 'deployer'"),
        (401, "", false, "has not expired"),
        (404, "", false, "compare `profile`"),
        (409, "", true, "somebody else"),
        (500, "<html>", true, "try again later"),
        (302, "", false, "302"),
    ] {
        let replay = Replay::start(vec![answers(status, answer)]).await;
        let error = manager(&replay).observe().await.unwrap_err();
        assert_eq!(error.is_lost(), lost, "{error}");
        let error = error.to_string();
        assert!(error.contains(expected) && !error.contains("the-token"), "{error}");
        replay.ended().await;
    }
}

#[tokio::test]
async fn who_is_told_to_come_later_does() {
    let later = |status| Exchange { headers: "retry-after: 0\r\n", ..answers(status, "") };
    let replay = Replay::start(vec![later(429), later(503), get(ON, OFF)]).await;
    assert_eq!(manager(&replay).observe().await.unwrap().members.len(), 2);
    replay.ended().await;
    let replay = Replay::start((0..4).map(|_| later(429)).collect()).await;
    assert!(manager(&replay).observe().await.unwrap_err().is_lost());
    replay.ended().await;
    // Nobody is there at all.
    let nobody = Replay::start(vec![]).await;
    let manager = manager(&nobody);
    nobody.ended().await;
    assert!(manager.observe().await.unwrap_err().is_lost());
}

fn token(status: u16, answer: &str) -> Exchange {
    Exchange {
        asked: "POST /the-tenant/oauth2/v2.0/token".into(),
        body: None,
        status,
        headers: "",
        answer: answer.into(),
    }
}

fn signed_in(replay: &Replay) -> TrafficManager {
    let place = format!("http://{}", replay.address);
    let sign_in = SignIn::Client {
        login: place.clone(),
        tenant: "the-tenant".into(),
        client: "the-client".into(),
        secret: Secret::new("a secret&more"),
    };
    TrafficManager::new(&place, PROFILE, sign_in).unwrap()
}

#[tokio::test]
async fn tokens_are_got_once_and_anew_when_one_is_not_taken() {
    let given =
        r#"{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"the-token"}"#;
    let replay = Replay::start(vec![
        token(200, &given.replace("the-token", "an-old-one")),
        answers(401, ""),
        token(200, given),
        get(ON, OFF),
        get(ON, OFF),
    ])
    .await;
    let manager = signed_in(&replay);
    manager.observe().await.unwrap();
    manager.observe().await.unwrap();
    let came = replay.ended().await;
    let scope = manager.rest.management().replace(':', "%3A").replace('/', "%2F");
    assert_eq!(
        came[0].body,
        format!(
            "client_id=the-client&scope={scope}%2F.default&grant_type=client_credentials&client_secret=a+secret%26more"
        )
    );
    assert!(came[1].head.contains("Bearer an-old-one") && is_signed(&came[3..]));
}

#[tokio::test]
async fn an_application_that_gets_no_token_is_told_why_and_its_secret_is_not() {
    let replay = Replay::start(vec![token(401, include_str!("samples/no-token.json"))]).await;
    let error = signed_in(&replay).observe().await.unwrap_err();
    assert!(!error.is_lost());
    let error = error.to_string();
    assert!(
        error.contains("invalid_client: AADSTS7000215") && error.contains("the tenant the-tenant"),
        "{error}"
    );
    assert!(!error.contains("secret&more") && !error.contains("Trace ID"), "{error}");
    replay.ended().await;
    let replay = Replay::start(vec![token(503, "")]).await;
    assert!(signed_in(&replay).observe().await.unwrap_err().is_lost());
    replay.ended().await;
}
