//! `tools`: toolchains of the host that steps see.

use staith_model::{Name, Tool};
use toml::{Spanned, de::DeValue};

use super::{
    keys::{HOST_FOLDER, Keys, NAME, REQUIRED, Shape, key},
    problems::{Problem, quoted},
    suggest::{closest, listed},
    values::{self, Complaint, Understood, complaint},
    walk::{Placed, Table},
};

/// The toolchains that Staith knows how to find.
pub const KNOWN_TOOLS: [&str; 3] = ["rust", "python", "node"];

pub(super) const KEYS: Keys = Keys {
    known: &[
        key("name", Shape::Text(&NAME), REQUIRED, "What the folder is called in the sandbox."),
        key(
            "path",
            Shape::Text(&HOST_FOLDER),
            REQUIRED,
            "The folder on the host. If there is a `bin` in it, that comes first in the `PATH` of the steps.",
        ),
    ],
    elsewhere: &[("dir", "path"), ("folder", "path")],
};

/// An item of `tools`.
pub(super) const SHAPE: Shape =
    Shape::List { of: &Shape::Either(&[Shape::Word(&KNOWN_TOOLS), Shape::Table(&KEYS)]), filled: false };

/// Folders of the host that hold its state or its secrets, never a toolchain. What a pipeline names is shown to steps, and a
/// pipeline is part of the repository. Which of the other folders may be shown, the machine's owner decides; the sandbox
/// knows, and this file's reader may be on another machine.
const NEVER_BELOW: [&str; 6] = ["/proc", "/sys", "/dev", "/run", "/etc", "/boot"];
const NEVER_WHOLE: [&str; 8] = ["/", "/opt", "/root", "/home", "/var", "/tmp", "/srv", "/mnt"];
const NEVER_INSIDE: [&str; 6] = [".ssh", ".cargo", ".gnupg", ".aws", ".kube", ".docker"];

/// The declared tools, in the order of the file.
pub(super) fn read(file: &Table<'_>) -> Vec<Tool> {
    let Some(entry) = file.entry("tools") else { return Vec::new() };
    let Some(items) = entry.value.get_ref().as_array() else {
        let help = match entry.value.get_ref() {
            DeValue::String(text) => format!("write `tools = [\"{text}\"]`"),
            _ => "write a list: `tools = [\"rust\"]`".to_owned(),
        };
        file.wrong_kind("tools", entry.value, "a list", help);
        return Vec::new();
    };
    let mut tools: Vec<Tool> = Vec::new();
    for item in items.iter() {
        let Some(tool) = one(file, item) else { continue };
        if tools.iter().any(|other| name_of(other) == name_of(&tool)) {
            let twice = Complaint {
                what: format!("names `{}` twice", name_of(&tool)),
                label: "it is named before".into(),
                help: "name it once".into(),
            };
            file.complain("tools", item.span(), twice);
        } else {
            tools.push(tool);
        }
    }
    tools
}

fn name_of(tool: &Tool) -> &Name {
    match tool {
        Tool::Known(name) | Tool::Directory { name, .. } => name,
    }
}

fn one<'t>(file: &Table<'t>, item: &'t Spanned<DeValue<'t>>) -> Option<Tool> {
    match item.get_ref() {
        DeValue::String(_) => file.understand("tools", item, known).map(|name| Tool::Known(name.value)),
        DeValue::Table(_) => directory(&Table::below("this tool".into(), item, &KEYS, file.problems())?),
        _ => {
            let help = "write a name such as \"rust\", or `{ name = \"jdk\", path = \"/opt/jdk\" }`";
            file.wrong_kind("tools", item, "a name or a table", help.into());
            None
        }
    }
}

fn known(text: &str) -> Understood<Name> {
    match text.parse::<Name>() {
        Ok(name) if KNOWN_TOOLS.contains(&text) => Ok(name),
        _ => complaint(
            "has an unknown tool in it",
            format!("{} is not known", quoted(text)),
            match closest(text, KNOWN_TOOLS) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!(
                    "known are {}; for any other, name its folder: `{{ name = \"jdk\", path = \"/opt/jdk\" }}`",
                    listed(KNOWN_TOOLS)
                ),
            },
        ),
    }
}

fn directory(table: &Table<'_>) -> Option<Tool> {
    let name = table.required("name", "name = \"jdk\"", values::name);
    let path = table.required("path", "path = \"/opt/jdk\"", host_folder);
    let (name, path) = (name?, path?);
    refuse_known_name(table, &name)?;
    Some(Tool::Directory { name: name.value, path: path.value })
}

/// A folder under a known name would make two things of one word.
fn refuse_known_name(table: &Table<'_>, name: &Placed<Name>) -> Option<()> {
    if !KNOWN_TOOLS.contains(&name.value.as_str()) {
        return Some(());
    }
    table.problems().add(Problem::at(
        name.place.clone(),
        format!("`{}` is the name of a toolchain that Staith finds by itself", name.value),
        "a folder needs another name",
        format!("write `tools = [\"{0}\"]`, or choose a name such as `{0}-custom`", name.value),
    ));
    None
}

fn host_folder(text: &str) -> Understood<String> {
    let path = text.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(text);
    let parts = || path.split('/').skip(1);
    let tidy = path == "/" || !parts().any(|part| matches!(part, "" | "." | ".."));
    if !path.starts_with('/') || !tidy || path.chars().any(char::is_control) {
        return complaint(
            "is not an absolute path",
            format!("{} does not name a folder of the host", quoted(text)),
            "write the folder's whole path, without `.` and `..`, for example \"/opt/jdk\"",
        );
    }
    let below =
        |folder: &str| path == folder || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    let a_home = path.strip_prefix("/home/").is_some_and(|rest| !rest.contains('/'));
    if NEVER_WHOLE.contains(&path)
        || a_home
        || NEVER_BELOW.iter().any(|folder| below(folder))
        || parts().any(|part| NEVER_INSIDE.contains(&part))
    {
        return complaint(
            "is not a toolchain's folder",
            "this may hold what no step should read",
            "name the folder of the toolchain itself, for example \"/opt/jdk\"",
        );
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_of_toolchains_are_shown_to_steps() {
        for good in ["/opt/jdk", "/opt/jdk/", "/home/me/sdk/go", "/usr/local/go"] {
            assert!(host_folder(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "jdk",
            "/",
            "/opt/../etc",
            "/opt//x",
            "/opt",
            "/home/me/.cargo",
            "/etc",
            "/etc/ssl",
            "/proc/1/root",
            "/home/me",
            "/root",
            "/root/",
            "/home/me/.ssh",
            "/srv/.aws/x",
            "/run/secrets",
            "/a\nb",
        ] {
            assert!(host_folder(bad).is_err(), "{bad:?}");
        }
    }
}
