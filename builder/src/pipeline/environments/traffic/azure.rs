//! `traffic-manager`: Azure Traffic Manager.

use staith_model::{AzureSignIn, TrafficSpec};

use super::super::{
    super::{
        keys::{HOST, Keys, REQUIRED, SECRET, Shape, TEXT, URL, key},
        problems::{Problem, quoted},
        values::{Understood, complaint},
        variables,
        walk::Table,
    },
    rollout::url,
};

const MANAGEMENT: &str = "https://management.azure.com";
const LOGIN: &str = "https://login.microsoftonline.com";

pub(in crate::pipeline) const KEYS: Keys = Keys {
    known: &[
        key(
            "profile",
            Shape::Text(&TEXT),
            REQUIRED,
            "The profile's resource id: `\"/subscriptions/...\"`. Its endpoints are the targets, by the targets' names.",
        ),
        key("tenant", Shape::Text(&HOST), "`token`", "The tenant's id, for a token of an application."),
        key("client", Shape::Text(&HOST), "`token`", "The application's (client) id."),
        key("secret", Shape::Text(&SECRET), "`token`", "The name of the secret that is the application's."),
        key(
            "token",
            Shape::Text(&SECRET),
            "`tenant`, `client` and `secret`",
            "The name of a secret that is an access token, as `az account get-access-token` prints it. It has to live as long as \
             the deployment.",
        ),
        key(
            "management",
            Shape::Text(&URL),
            "`\"https://management.azure.com\"`",
            "Where resources are managed, in other clouds of Azure.",
        ),
        key(
            "login",
            Shape::Text(&URL),
            "`\"https://login.microsoftonline.com\"`",
            "Where applications get their tokens, in other clouds of Azure.",
        ),
    ],
    elsewhere: &[
        ("id", "profile"),
        ("resource", "profile"),
        ("tenant-id", "tenant"),
        ("tenant_id", "tenant"),
        ("client-id", "client"),
        ("client_id", "client"),
        ("client-secret", "secret"),
        ("client_secret", "secret"),
    ],
};

pub(super) fn read(table: &Table<'_>) -> Option<TrafficSpec> {
    let profile = table.required("profile", "profile = \"/subscriptions/...\"", profile);
    let management = service(table, "management", MANAGEMENT);
    let sign_in = sign_in(table);
    Some(TrafficSpec::TrafficManager { profile: profile?.value, management: management?, sign_in: sign_in? })
}

/// One of the two ways in.
fn sign_in(table: &Table<'_>) -> Option<AzureSignIn> {
    let login = service(table, "login", LOGIN)?;
    let of_client = ["tenant", "client", "secret"];
    let some = of_client.iter().any(|key| table.has(key));
    if table.has("token") == some {
        let (what, label) = match some {
            true => ("says two ways to get a token", "`token` and the application's keys exclude each other"),
            false => ("does not say who asks", "`token`, or `tenant`, `client` and `secret`, belong here"),
        };
        let help = "write `token = \"NAME-OF-A-SECRET\"`, or `tenant = \"...\"`, `client = \"...\"` and `secret = \"NAME-OF-A-SECRET\"`";
        table.problems().add(Problem::at(table.place(), format!("{} {what}", table.title()), label, help));
        return None;
    }
    if !some {
        let secret = table.text("token", variables::secret)?.value;
        return Some(AzureSignIn::Token { secret });
    }
    let tenant = table.required("tenant", "tenant = \"00000000-0000-0000-0000-000000000000\"", id);
    let client = table.required("client", "client = \"00000000-0000-0000-0000-000000000000\"", id);
    let secret = table.required("secret", "secret = \"azure/deployer\"", variables::secret);
    Some(AzureSignIn::Client { login, tenant: tenant?.value, client: client?.value, secret: secret?.value })
}

/// The address of a service that is sent tokens or secrets.
fn service(table: &Table<'_>, name: &str, usual: &str) -> Option<String> {
    match table.has(name) {
        true => table.text(name, encrypted).map(|address| address.value),
        false => Some(usual.to_owned()),
    }
}

/// An address at which nobody on the way reads along: `https`, or this machine itself.
fn encrypted(text: &str) -> Understood<String> {
    let address = url(text)?;
    let here = |rest: &str| {
        let host = rest.split(['/', ':']).next().unwrap_or_default();
        matches!(host, "127.0.0.1" | "localhost") || rest.starts_with("[::1]")
    };
    if address.strip_prefix("http://").is_none_or(here) && !address.contains(['@', '?', '#']) {
        return Ok(address.trim_end_matches('/').to_owned());
    }
    complaint(
        "is not an address for secrets",
        format!("{} would let others read along", quoted(text)),
        "write an address that begins with `https://`, without a user and a query",
    )
}

/// The id of a tenant or an application, or a tenant's domain.
fn id(text: &str) -> Understood<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    let whole = text.split('.').all(|part| !part.is_empty());
    if text.len() <= 200 && whole && text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    complaint(
        "is not an id",
        format!("{} can't be one", quoted(text)),
        "write it as Azure shows it: 00000000-0000-0000-0000-000000000000",
    )
}

fn profile(text: &str) -> Understood<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.()".contains(c);
    if text.starts_with("/subscriptions/") && text.chars().all(plain) && !text.contains("..") {
        return Ok(text.to_owned());
    }
    complaint(
        "is not a resource id",
        format!("{} names no profile", quoted(text)),
        "write the profile's id as Azure shows it: \"/subscriptions/.../trafficManagerProfiles/NAME\"",
    )
}
