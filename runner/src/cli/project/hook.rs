//! `staith project hook`.

use clap::Args;
use staith_model::{Exit, Name};

use crate::{
    client::people::Server,
    output::{self, OutputMode, Problem},
};

/// Print a git hook that tells the server of pushes
///
/// It is a POSIX shell script for `hooks/post-receive` of a repository that people push to. It uses curl: where a repository is
/// kept there is often no Staith, and curl is almost everywhere.
#[derive(Debug, Args)]
pub(crate) struct Hook {
    /// The project
    project: Name,
}

impl Hook {
    pub(super) fn obey(self, server: &Server, mode: OutputMode) -> Result<Exit, Problem> {
        let script = script(server.address()?.as_str(), &self.project);
        output::hook(&script, mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}

/// An address has nothing that a shell would understand, and a name neither: they were looked at.
fn script(server: &str, project: &Name) -> String {
    SCRIPT.replace("@SERVER@", server).replace("@PROJECT@", project.as_str())
}

const SCRIPT: &str = r#"#!/bin/sh
# Tells Staith of what was pushed. Printed by `staith project hook @PROJECT@`.
#
# Put this into hooks/post-receive of the repository, and make it executable. Put the token into the file staith-curl beside the
# hooks directory, readable by the repository's owner only, in this one line:
#
#     header = "Authorization: Bearer TOKEN"
#
# A token that may run this one project is enough; `staith server token create NAME --role developer --project @PROJECT@` makes
# one. The token is in a file and not in this script, so that it is never among the arguments of a process, which everybody on the
# machine may see. Where an authority of your own vouches for the server, its file is named there, too: cacert = "FILE"
#
# No push is refused because of this hook. What the server does not hear now, it finds when it next looks at the repository.

config="${GIT_DIR:-.}/staith-curl"
delivery="$(date +%s)-$$-$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n')"

if [ ! -r "$config" ]; then
    echo "staith: the server was not told of this push: $config can't be read; $0 says in its first lines what belongs there" >&2
    exit 0
fi
if ! curl --silent --show-error --fail --max-time 20 --retry 3 --config "$config" \
    --header 'Content-Type: text/plain' --header "Staith-Delivery: $delivery" \
    --data-binary @- --output /dev/null '@SERVER@/api/v1/projects/@PROJECT@/pushes'; then
    echo "staith: the server was not told of this push; it finds it when it next looks at the repository" >&2
else
    echo "staith: what comes of it: staith runs list --project @PROJECT@ --server @SERVER@"
fi
exit 0
"#;

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_script_is_one_for_any_shell() {
        let script = script("https://ci.example.org", &"shop".parse().unwrap());
        assert!(
            script.contains("'https://ci.example.org/api/v1/projects/shop/pushes'")
                && !script.contains('@'.to_string().repeat(2).as_str())
        );
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("post-receive");
        std::fs::write(&file, script).unwrap();
        let read = Command::new("sh").arg("-n").arg(&file).status().unwrap();
        assert!(read.success());
        let without_token = Command::new("sh").arg(&file).env("GIT_DIR", place.path()).output().unwrap();
        assert!(without_token.status.success(), "a push is never refused");
        assert!(String::from_utf8(without_token.stderr).unwrap().contains("was not told"));
    }
}
