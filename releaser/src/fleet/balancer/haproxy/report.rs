//! What a node says of itself and of its servers.

use std::collections::BTreeMap;

/// A node's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// `2.6.12-1+deb12u4`.
    pub version: String,
    /// Changes with each reload.
    pub pid: u32,
    /// Seconds since it was started.
    pub uptime: u64,
}

/// A server of a backend, as `show servers state` and `show stat` have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Whether HAProxy finds that it is up.
    pub up: bool,
    /// Bits of HAProxy's: see [`Server::in_maintenance`] and [`Server::is_draining`].
    pub admin: u32,
    /// The weight that counts.
    pub weight: u32,
    /// Whether it has a check of its own that is enabled.
    pub checked: bool,
    /// Sessions that it has now.
    pub sessions: u64,
    /// What its last check came to: `L7OK`, `L4CON`; empty before the first.
    pub check: String,
}

/// Forced, inherited, because of a name that can't be resolved, and because of a name that changed.
const MAINTENANCE: u32 = 0x01 | 0x02 | 0x20 | 0x40;
/// Forced and inherited.
const DRAIN: u32 = 0x08 | 0x10;
/// Of the column `srv_check_state`: configured and enabled.
const CHECKED: u32 = 0x02 | 0x04;
/// Of the column `srv_op_state`: running. Starting is what a server with `slowstart` is, which gets a part of its weight.
const RUNNING: [u32; 2] = [1, 2];

impl Server {
    /// Whether it gets nothing, not even checks.
    pub const fn in_maintenance(&self) -> bool {
        self.admin & MAINTENANCE != 0
    }

    /// Whether it gets no new requests but those of clients that are bound to it.
    pub const fn is_draining(&self) -> bool {
        self.admin & DRAIN != 0
    }

    /// Whether it gets new requests as long as it is up.
    pub const fn is_admitted(&self) -> bool {
        self.admin & (MAINTENANCE | DRAIN) == 0 && self.weight > 0
    }
}

/// Reads `show info`.
///
/// # Errors
/// It is none; says what is missing.
pub fn info(text: &str) -> Result<Info, String> {
    let lines: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once(':')).collect();
    let field = |name: &str| {
        lines.get(name).map(|value| value.trim()).ok_or_else(|| missing("show info", name, text))
    };
    let number = |name: &str| field(name)?.parse().map_err(|_| missing("show info", name, text));
    Ok(Info {
        version: field("Version")?.to_owned(),
        pid: u32::try_from(number("Pid")?).map_err(|_| missing("show info", "Pid", text))?,
        uptime: number("Uptime_sec")?,
    })
}

/// Reads `show servers state BACKEND` and `show stat BACKEND 4 -1` of the same node.
///
/// # Errors
/// One of them is not what it should be; says what is missing.
pub fn servers(backend: &str, state: &str, stat: &str) -> Result<BTreeMap<String, Server>, String> {
    let of_stat = table(stat, ',', "show stat")?;
    let mut seen: BTreeMap<&str, (u64, &str)> = BTreeMap::new();
    for row in of_stat.iter().filter(|row| row.get("pxname") == Some(&backend)) {
        let name = cell(row, "svname", "show stat")?;
        let sessions = number(row, "scur", "show stat")?;
        seen.insert(
            name,
            (sessions, row.get("check_status").copied().unwrap_or_default().trim_start_matches("* ")),
        );
    }
    // The first line is the version of the table.
    let (version, rest) = state.trim_start().split_once('\n').unwrap_or_default();
    if version.trim() != "1" {
        return Err(format!(
            "`show servers state` began with `{}` and not with version 1",
            super::talk::first_lines(state)
        ));
    }
    let mut found = BTreeMap::new();
    for row in
        table(rest, ' ', "show servers state")?.iter().filter(|row| row.get("be_name") == Some(&backend))
    {
        let what = "show servers state";
        let name = cell(row, "srv_name", what)?;
        // A server that one table has and the other has not was added or removed in between; the next look tells.
        let Some((sessions, check)) = seen.get(name) else { continue };
        let bits = |column| {
            number(row, column, what).and_then(|bits| u32::try_from(bits).map_err(|error| error.to_string()))
        };
        found.insert(
            name.to_owned(),
            Server {
                up: RUNNING.contains(&bits("srv_op_state")?),
                admin: bits("srv_admin_state")?,
                weight: bits("srv_uweight")?,
                checked: bits("srv_check_state")? & CHECKED == CHECKED,
                sessions: *sessions,
                check: (*check).to_owned(),
            },
        );
    }
    Ok(found)
}

/// Sessions of a backend's servers by `show stat BACKEND 4 -1`; `None` if it is no such table.
pub fn sessions(backend: &str, stat: &str) -> Option<BTreeMap<String, u64>> {
    let rows = table(stat, ',', "show stat").ok()?;
    let ours = rows.iter().filter(|row| row.get("pxname") == Some(&backend));
    Some(
        ours.filter_map(|row| Some(((*row.get("svname")?).to_owned(), row.get("scur")?.parse().ok()?)))
            .collect(),
    )
}

/// Reads `show proc` of a master: the process ids of workers that finish what they had before a reload.
///
/// # Errors
/// It is no such table.
pub fn old_workers(text: &str) -> Result<Vec<u32>, String> {
    if !text.starts_with("#<PID>") {
        return Err(missing("show proc", "#<PID>", text));
    }
    let old = text.lines().skip_while(|line| line.trim() != "# old workers").skip(1);
    Ok(old
        .take_while(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_whitespace().next()?.parse().ok())
        .collect())
}

type Row<'a> = BTreeMap<&'a str, &'a str>;

/// Rows by the names of the columns, which the line that begins with `# ` gives.
fn table<'a>(text: &'a str, between: char, what: &str) -> Result<Vec<Row<'a>>, String> {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let head = lines.next().and_then(|line| line.strip_prefix("# "));
    let names: Vec<&str> = head.ok_or_else(|| missing(what, "# ", text))?.split(between).collect();
    Ok(lines.map(|line| names.iter().copied().zip(line.split(between)).collect()).collect())
}

fn cell<'a>(row: &Row<'a>, column: &str, what: &str) -> Result<&'a str, String> {
    row.get(column).copied().ok_or_else(|| format!("`{what}` has no column `{column}`"))
}

fn number(row: &Row<'_>, column: &str, what: &str) -> Result<u64, String> {
    let text = cell(row, column, what)?;
    text.parse().map_err(|_| format!("`{what}` has `{text}` in the column `{column}`, which is no number"))
}

fn missing(what: &str, name: &str, text: &str) -> String {
    format!("`{what}` has no `{name}`; it said: {}", super::talk::first_lines(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = include_str!("samples/info-2.6.txt");
    const STATE: &str = include_str!("samples/servers-state-2.6.txt");
    const STAT: &str = include_str!("samples/stat-2.6.csv");
    const PROC: &str = include_str!("samples/proc-2.6.txt");

    #[test]
    fn what_debians_haproxy_says_is_read() {
        assert_eq!(info(INFO).unwrap(), Info { version: "2.6.12-1+deb12u4".into(), pid: 13331, uptime: 1 });
        let servers = servers("app", STATE, STAT).unwrap();
        assert_eq!(servers.keys().collect::<Vec<_>>(), ["blue", "dead", "green"]);
        let blue = &servers["blue"];
        assert!(blue.up && blue.is_admitted() && blue.checked && blue.check == "L7OK");
        let green = &servers["green"];
        // Disabled in the configuration is a bit that stays; what counts is what was forced since.
        assert!(green.up && !green.in_maintenance() && !green.is_admitted() && green.weight == 0);
        assert!(!servers["dead"].up && servers["dead"].check == "L4CON");
        assert_eq!(old_workers(PROC).unwrap(), [13331]);
        assert_eq!(
            old_workers("#<PID> <type>\n1 master\n# workers\n2 worker\n# programs\n").unwrap(),
            Vec::<u32>::new()
        );
    }

    #[test]
    fn columns_of_other_versions_are_found_by_name() {
        let stat = "# pxname,new,svname,scur,check_status\napp,x,blue,3,* L7OK\nfront,x,FRONTEND,9,\n";
        let state = "1\n# new be_name srv_name srv_uweight srv_admin_state srv_op_state srv_check_state\nx app blue 7 8 2 6 more\n";
        let blue = &servers("app", state, stat).unwrap()["blue"];
        assert_eq!(
            (blue.weight, blue.sessions, blue.is_draining(), blue.check.as_str()),
            (7, 3, true, "L7OK")
        );
    }

    #[test]
    fn what_is_no_report_is_told_and_not_guessed() {
        for bad in [
            "",
            "Permission denied\n",
            "No such proxy.\n",
            "1\n",
            "2\n# be_name\n",
            "1\n# be_name srv_name\napp blue\n",
        ] {
            assert!(servers("app", bad, STAT).is_err(), "{bad}");
            assert!(servers("app", STATE, bad).is_err(), "{bad}");
            assert!(info(bad).is_err() && old_workers(bad).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_report_makes_it_panic(text in "[#1 a-z,\n-]{0,200}") {
            let _ = (info(&text), servers("app", &text, STAT), servers("app", STATE, &text), old_workers(&text));
        }
    }
}
