//! What a plan needs that this host lacks, said before anything runs.

use staith_model::{Command, Name, Plan, Readiness, Tool};

use super::programs;

/// A program that a step or a service surely runs and that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingProgram {
    /// The step or service.
    pub by: Name,
    /// Whether it is a service.
    pub is_service: bool,
    /// The program's name.
    pub program: String,
    /// How to get it, in one sentence for people.
    pub remedy: String,
}

/// Somebody who runs a command in an image.
struct Runner<'a> {
    name: &'a Name,
    is_service: bool,
    image: &'a Option<String>,
    command: &'a Command,
}

/// The programs that steps and services of `plan` surely run and that `found` does not find, in the order of the plan.
///
/// `found` is asked for plain names such as `cargo`; it should look where they will be looked for: in the `PATH` of the image
/// of this name, or (none) of the host image with the plan's tools.
pub fn missing_programs(plan: &Plan, found: &dyn Fn(&Option<String>, &str) -> bool) -> Vec<MissingProgram> {
    let missing = runners(plan).flat_map(|runner| {
        let Runner { name, is_service, image, command } = runner;
        // Every script needs a shell, and images without one are not rare.
        let shell = (image.is_some() && matches!(command, Command::Shell(_))).then(|| "sh".to_owned());
        let wanted = shell.into_iter().chain(programs(command));
        let absent = wanted.filter(|program| !found(image, program));
        absent.map(move |program| MissingProgram {
            by: name.clone(),
            is_service,
            remedy: match image {
                Some(image) => {
                    let kind = if is_service { "service" } else { "step" };
                    format!("use another `image` for {kind} `{name}`: {image} has no `{program}`")
                }
                None => remedy(&program, &plan.tools),
            },
            program,
        })
    });
    let mut missing: Vec<MissingProgram> = missing.collect();
    // A service may need the same shell for what it runs and for what tells that it is ready.
    missing.dedup();
    missing
}

/// All that run something, and what; a service also what tells that it is ready.
fn runners(plan: &Plan) -> impl Iterator<Item = Runner<'_>> {
    let steps = plan.steps.iter().map(|step| Runner {
        name: &step.name,
        is_service: false,
        image: &step.image,
        command: &step.command,
    });
    let services = plan.services.iter().flat_map(|service| {
        let check = match &service.ready {
            Readiness::Port(_) => None,
            Readiness::Command(command) => Some(command),
        };
        let commands = service.command.iter().chain(check);
        let (name, image) = (&service.name, &service.image);
        commands.map(move |command| Runner { name, is_service: true, image, command })
    });
    steps.chain(services)
}

/// Programs that belong to a toolchain that Staith finds by itself.
const TOOLCHAINS: [(&str, &[&str]); 3] = [
    (
        "rust",
        &["cargo", "rustc", "rustdoc", "rustup", "rustfmt", "cargo-fmt", "cargo-clippy", "clippy-driver"],
    ),
    ("python", &["python", "python3", "pip", "pip3"]),
    ("node", &["node", "npm", "npx", "corepack"]),
];

/// Programs whose package has another name: program, package of Debian and Ubuntu, package of Fedora.
const PACKAGES: [(&str, &str, &str); 32] = [
    ("c++", "g++", "gcc-c++"),
    ("cc", "gcc", "gcc"),
    ("composer", "composer", "composer"),
    ("convert", "imagemagick", "ImageMagick"),
    ("dig", "bind9-dnsutils", "bind-utils"),
    ("dotnet", "dotnet-sdk-8.0", "dotnet-sdk-8.0"),
    ("g++", "g++", "gcc-c++"),
    ("go", "golang-go", "golang"),
    ("java", "default-jdk", "java-latest-openjdk-devel"),
    ("javac", "default-jdk", "java-latest-openjdk-devel"),
    ("ld", "binutils", "binutils"),
    ("make", "make", "make"),
    ("mvn", "maven", "maven"),
    ("nc", "netcat-openbsd", "nmap-ncat"),
    ("ninja", "ninja-build", "ninja-build"),
    ("node", "nodejs", "nodejs"),
    ("npm", "npm", "npm"),
    ("php", "php-cli", "php-cli"),
    ("pip", "python3-pip", "python3-pip"),
    ("pip3", "python3-pip", "python3-pip"),
    ("pkg-config", "pkg-config", "pkgconf-pkg-config"),
    ("protoc", "protobuf-compiler", "protobuf-compiler"),
    ("psql", "postgresql-client", "postgresql"),
    ("pytest", "python3-pytest", "python3-pytest"),
    ("python", "python-is-python3", "python-unversioned-command"),
    ("python3", "python3", "python3"),
    ("redis-server", "redis-server", "redis"),
    ("sqlite3", "sqlite3", "sqlite"),
    ("strip", "binutils", "binutils"),
    ("xmllint", "libxml2-utils", "libxml2"),
    ("xz", "xz-utils", "xz"),
    ("zstd", "zstd", "zstd"),
];

/// Programs whose package has their own name, on Debian and on Fedora.
const SAME_NAME: [&str; 22] = [
    "ansible",
    "bison",
    "clang",
    "cmake",
    "cppcheck",
    "curl",
    "doxygen",
    "flex",
    "gcc",
    "git",
    "gradle",
    "jq",
    "lua",
    "meson",
    "nasm",
    "perl",
    "rsync",
    "ruby",
    "shellcheck",
    "unzip",
    "wget",
    "zip",
];

fn remedy(program: &str, declared: &[Tool]) -> String {
    let toolchain =
        TOOLCHAINS.iter().find(|(_, programs)| programs.contains(&program)).map(|(name, _)| *name);
    match toolchain {
        Some(tool) if !is_declared(tool, declared) => {
            format!("declare the toolchain in runner.toml: `tools = [{}]`", with(tool, declared))
        }
        Some("rust") => rustup(program),
        _ => install(program),
    }
}

fn is_declared(tool: &str, declared: &[Tool]) -> bool {
    declared.iter().any(|other| matches!(other, Tool::Known(name) if name.as_str() == tool))
}

/// The items of `tools` with one more, as they are written.
fn with(tool: &str, declared: &[Tool]) -> String {
    let written = declared.iter().map(|tool| match tool {
        Tool::Known(name) => format!("\"{name}\""),
        Tool::Directory { name, path } => format!("{{ name = \"{name}\", path = \"{path}\" }}"),
    });
    written.chain([format!("\"{tool}\"")]).collect::<Vec<_>>().join(", ")
}

fn rustup(program: &str) -> String {
    let component = match program {
        "cargo-fmt" | "rustfmt" => "rustfmt",
        "cargo-clippy" | "clippy-driver" => "clippy",
        _ => return "install Rust from https://rustup.rs on this machine".to_owned(),
    };
    format!("add the component on this machine: `rustup component add {component}`")
}

fn install(program: &str) -> String {
    let packages =
        PACKAGES.iter().find(|(name, ..)| *name == program).map(|(_, debian, fedora)| (*debian, *fedora));
    let same = SAME_NAME.iter().find(|name| **name == program).map(|name| (*name, *name));
    match packages.or(same) {
        Some((debian, fedora)) => format!(
            "install it on this machine: `apt-get install {debian}` on Debian and Ubuntu, `dnf install {fedora}` on Fedora"
        ),
        None => format!(
            "install it on this machine with the system's package manager, or declare its folder in runner.toml: \
             `tools = [{{ name = \"{}\", path = \"/...\" }}]`",
            program.to_lowercase()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use staith_model::{Digest, Source};

    fn missing(tools: &str, run: &str, there: &[&str]) -> Vec<MissingProgram> {
        let text = format!("name = \"x\"\nversion = \"1\"\ntools = [{tools}]\n[steps.a]\nrun = {run:?}\n");
        missing_in(&text, there)
    }

    fn missing_in(text: &str, there: &[&str]) -> Vec<MissingProgram> {
        let pipeline = crate::pipeline::Pipeline::parse("runner.toml", text).unwrap();
        let source = Source { tree: "0".repeat(40), commit: None, dirty: false };
        let plan =
            super::super::plan(&pipeline, source, &super::super::Occasion::default(), &|_| Digest::of(b""))
                .unwrap();
        missing_programs(&plan, &|_, program| there.contains(&program))
    }

    #[test]
    fn what_is_there_is_not_missing() {
        assert_eq!(missing("", "make && jq .", &["make", "jq"]), []);
    }

    #[test]
    fn the_remedy_fits_the_program() {
        for (tools, run, expected) in [
            ("", "cargo build", "`tools = [\"rust\"]`"),
            ("\"node\"", "cargo build", "`tools = [\"node\", \"rust\"]`"),
            ("\"rust\"", "cargo build", "https://rustup.rs"),
            ("\"rust\"", "cargo-clippy", "`rustup component add clippy`"),
            ("", "python3 app.py", "`tools = [\"python\"]`"),
            ("\"python\"", "python app.py", "`apt-get install python-is-python3`"),
            ("", "jq .", "`apt-get install jq`"),
            ("", "g++ x", "`dnf install gcc-c++`"),
            ("", "frobnicate", "path = \"/...\""),
        ] {
            let found = missing(tools, run, &[]);
            assert!(found[0].remedy.contains(expected), "{run}: {}", found[0].remedy);
            assert_eq!((found[0].by.as_str(), found[0].is_service), ("a", false));
        }
    }

    #[test]
    fn services_and_what_tells_that_they_are_ready_need_programs_too() {
        let text = "name = \"x\"\nversion = \"1\"\n[services.db]\nrun = \"redis-server\"\n\
                    ready = { run = [\"redis-cli\", \"ping\"] }\nports = [6379]\n[services.web]\nimage = \"web:1\"\n\
                    ready = { run = \"true\" }\nports = [80]\n\
                    [steps.a]\nrun = \"true\"\nservices = [\"db\", \"web\"]\n";
        let told: Vec<_> = missing_in(text, &[])
            .into_iter()
            .map(|one| (one.by.to_string(), one.is_service, one.program, one.remedy))
            .collect();
        let of = |place: usize| (told[place].0.as_str(), told[place].1, told[place].2.as_str());
        assert_eq!(
            [of(0), of(1), of(2)],
            [("db", true, "redis-server"), ("db", true, "redis-cli"), ("web", true, "sh")]
        );
        assert!(told[0].3.contains("apt-get install redis-server"), "{}", told[0].3);
        assert!(told[2].3.contains("another `image` for service `web`"), "{}", told[2].3);
        assert_eq!(told.len(), 3);
    }

    #[test]
    fn each_program_of_a_step_is_told_once() {
        let found = missing("\"rust\"", "cargo fmt && cargo fmt", &["cargo"]);
        let programs: Vec<_> = found.iter().map(|missing| missing.program.as_str()).collect();
        assert_eq!(programs, ["cargo-fmt", "rustfmt"]);
    }
}
