//! `staith server runner-code`.

use clap::Args;
use staith_model::{
    Exit, Name,
    service::{EnrolmentAsked, EnrolmentMade, TargetOf},
};

use crate::{
    client::{Address, people::Server},
    output::{self, OutputMode, Problem},
};

/// Make a code by which one host becomes a runner, and print the command for that host
///
/// The code is shown this once, and is good for one host.
#[derive(Debug, Args)]
pub(crate) struct RunnerCode {
    #[command(flatten)]
    server: Server,
    /// The pool that the host will belong to
    #[arg(long, value_name = "POOL", default_value = "default")]
    pool: Name,
    /// A label that the host gets, beside those that it says itself; may be repeated
    #[arg(long = "label", value_name = "LABEL")]
    labels: Vec<Name>,
    /// The host gets one job, after which its key counts for nothing
    #[arg(long)]
    ephemeral: bool,
    /// The machine that the host is, of those with `pull = true`: it gets deployments and no jobs. Another host that was it is it no more
    #[arg(long, value_name = "PROJECT/ENVIRONMENT/TARGET", conflicts_with_all = ["pool", "labels", "ephemeral"])]
    target: Option<TargetOf>,
    /// How long the code is valid: 90s, 15m, 2h; a day at most
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = millis)]
    valid: u64,
}

fn millis(text: &str) -> Result<u64, String> {
    let split = text.len().saturating_sub(1);
    let (number, unit) = text.split_at_checked(split).unwrap_or(("", ""));
    let factor = match unit {
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("a time is a whole number and `s`, `m` or `h`: 15m".to_owned()),
    };
    let is_whole = !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
    let number = number.parse::<u64>().ok().filter(|_| is_whole);
    number
        .and_then(|number| number.checked_mul(factor))
        .ok_or_else(|| "a time is a whole number and `s`, `m` or `h`: 15m".to_owned())
}

impl RunnerCode {
    pub(super) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let people = self.server.open()?;
        let asked = EnrolmentAsked {
            pool: self.pool,
            labels: self.labels.into_iter().collect(),
            ephemeral: self.ephemeral,
            valid_millis: Some(self.valid),
            target: self.target,
        };
        let made: EnrolmentMade = people.post("/api/v1/enrolments", &asked).await?;
        let command = command(people.address(), &made.code);
        output::runner_code(&made, &command, mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}

/// What is to be said on the host. An address has nothing that a shell would understand.
fn command(server: &Address, code: &str) -> String {
    let mut command = format!("staith runner register --url {} --token {code}", server.as_str());
    if let Some(file) = server.authorities() {
        let file = file.display().to_string().replace('\'', r"'\''");
        command.push_str(&format!(" --ca '{file}'"));
    }
    if server.needs_leave() {
        command.push_str(" --insecure");
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        for (text, expected) in [("90s", 90_000), ("15m", 900_000), ("2h", 7_200_000)] {
            assert_eq!(millis(text), Ok(expected));
        }
        for bad in ["", "m", "15", "-1m", "+1m", "1.5h", "1d", "99999999999999999999h", "1é"] {
            assert!(millis(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_command_says_all_that_the_host_needs() {
        let command = |url, insecure| command(&Address::parse(url, None, insecure).unwrap(), "CODE");
        assert_eq!(
            command("https://ci.example.org/", false),
            "staith runner register --url https://ci.example.org --token CODE"
        );
        assert!(!command("http://127.0.0.1:1", false).contains("--insecure"));
        assert!(command("http://ci.example.org", true).ends_with(" --insecure"));
    }
}
