//! Accounts of the machine. The C library's own functions for them need its shared parts, which a static program has not.

use std::{fs, process::Command};

use crate::refusal::{self, Outcome};

/// Who a service runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) user: u32,
    pub(crate) group: u32,
    pub(crate) home: String,
    pub(crate) shell: String,
}

/// Finds an account by name: in `/etc/passwd`, else by asking `getent`, which knows what the machine's directories know.
pub(crate) fn find(name: &str) -> Outcome<Account> {
    let of_file = fs::read_to_string("/etc/passwd").ok().and_then(|text| in_table(&text, name));
    let ask = || {
        let output = Command::new("getent").args(["passwd", "--", name]).output().ok()?;
        in_table(&String::from_utf8_lossy(&output.stdout), name)
    };
    of_file.or_else(ask).ok_or_else(|| {
        refusal::environment(
            format!("there is no account `{name}` on this machine"),
            format!(
                "create the account (useradd --system {name}), or name another one as the service's user"
            ),
        )
    })
}

fn in_table(table: &str, name: &str) -> Option<Account> {
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [found, _, user, group, _, home, shell] = fields.as_slice() else { return None };
        (*found == name).then_some(())?;
        let (user, group) = (user.parse().ok()?, group.parse().ok()?);
        Some(Account { user, group, home: (*home).to_owned(), shell: (*shell).to_owned() })
    })
}

/// The groups that an account is in beside its own.
pub(crate) fn groups(name: &str, own: u32) -> Vec<u32> {
    let asked = Command::new("id").args(["-G", "--", name]).output();
    let text = asked.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let mut groups: Vec<u32> = text.split_ascii_whitespace().filter_map(|id| id.parse().ok()).collect();
    if !groups.contains(&own) {
        groups.push(own);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let table = "root:x:0:0:root:/root:/bin/sh\n# odd\nshopper:x:7:8::/h:/s\nshop:x:33:34:,,:/srv/shop:/bin/false\n";
        let shop = in_table(table, "shop").unwrap();
        assert_eq!((shop.user, shop.group, shop.home.as_str()), (33, 34, "/srv/shop"));
        assert_eq!(in_table(table, "sho"), None);
    }
}
