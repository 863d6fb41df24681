//! What each reader takes out of its lock file, and what it says of one that is broken.

use proptest::prelude::*;

use super::*;
use crate::seal::sbom::component::Scope;

const SHA256: &str = "b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c";
const SHA1: &str = "2fd4e1c67a2d28fced849ee1bb76e7391b93eb12";
/// SHA-1 in base64, as integrity texts write it.
const INTEGRITY: &str = "sha1-L9ThxnotKPzthJ7hu3bnORuT6xI=";

const CARGO: &str = r#"
version = 4
[[package]]
name = "app"
version = "0.1.0"
dependencies = ["itoa", "git-dep", "rand 0.8.0"]
[[package]]
name = "itoa"
version = "1.0.0"
source = "registry+https://github.com/rust-lang/crates.io-index"
checksum = "b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c"
[[package]]
name = "rand"
version = "0.7.0"
source = "registry+https://github.com/rust-lang/crates.io-index"
[[package]]
name = "rand"
version = "0.8.0"
source = "registry+https://github.com/rust-lang/crates.io-index"
dependencies = ["itoa"]
[[package]]
name = "git-dep"
version = "0.2.0"
source = "git+https://example.org/dep?branch=main#0123abc"
dependencies = ["rand 0.7.0"]
"#;

const NPM: &str = r#"{ "lockfileVersion": 3, "packages": {
    "": { "dependencies": { "@s/a": "^1" }, "devDependencies": { "b": "*" } },
    "packages/own": { "version": "1.0.0", "dependencies": { "c": "1" } },
    "node_modules/own": { "resolved": "packages/own", "link": true },
    "node_modules/@s/a": { "version": "1.2.3", "integrity": "sha1-L9ThxnotKPzthJ7hu3bnORuT6xI=", "license": "MIT",
        "dependencies": { "b": "1", "c": "2" } },
    "node_modules/@s/a/node_modules/b": { "version": "1.0.0" },
    "node_modules/b": { "version": "2.0.0", "dev": true },
    "node_modules/c": { "version": "2.0.0", "optional": true,
        "resolved": "git+ssh://git@example.org/c.git#abc" } } }"#;

const NPM_1: &str = r#"{ "lockfileVersion": 1, "dependencies": {
    "a": { "version": "1.2.3", "requires": { "b": "^1" }, "dependencies": { "b": { "version": "1.0.0" } } },
    "b": { "version": "2.0.0", "dev": true } } }"#;

const YARN: &str = "# yarn lockfile v1\n\n\"@s/a@^1.0.0\", \"@s/a@^1.2.0\":\n  version \"1.2.3\"\n  \
    resolved \"https://registry.yarnpkg.com/@s/a/-/a-1.2.3.tgz#2fd4e1c67a2d28fced849ee1bb76e7391b93eb12\"\n  dependencies:\n    b \"^2.0.0\"\n\n\
    b@^2.0.0:\n  version \"2.0.0\"\n  integrity sha1-L9ThxnotKPzthJ7hu3bnORuT6xI=\n";

const BERRY: &str = "__metadata:\n  version: 8\n\n\"@s/a@npm:^1.0.0, @s/a@npm:^1.2.0\":\n  version: 1.2.3\n  \
    resolution: \"@s/a@npm:1.2.3\"\n  dependencies:\n    b: \"npm:^2.0.0\"\n  checksum: 10/abc\n  languageName: node\n  linkType: hard\n\n\
    \"b@npm:^2.0.0\":\n  version: 2.0.0\n  resolution: \"b@npm:2.0.0\"\n  linkType: hard\n\n\
    \"app@workspace:.\":\n  version: 0.0.0-use.local\n  resolution: \"app@workspace:.\"\n  dependencies:\n    \"@s/a\": \"npm:^1.0.0\"\n  linkType: soft\n";

const PNPM_9: &str = "lockfileVersion: '9.0'\nimporters:\n  .:\n    dependencies:\n      '@s/a':\n        specifier: ^1\n        version: 1.2.3(b@2.0.0)\n    \
    devDependencies:\n      alias:\n        specifier: npm:c@3\n        version: c@3.10.0\npackages:\n  '@s/a@1.2.3':\n    resolution: {integrity: sha1-L9ThxnotKPzthJ7hu3bnORuT6xI=}\n  \
    b@2.0.0:\n    resolution: {integrity: sha1-L9ThxnotKPzthJ7hu3bnORuT6xI=}\n  c@3.10.0:\n    resolution: {tarball: https://example.org/c.tgz}\n\
    snapshots:\n  '@s/a@1.2.3(b@2.0.0)':\n    dependencies:\n      b: 2.0.0\n  b@2.0.0: {}\n  c@3.10.0: {}\n";

const PNPM_5: &str = "lockfileVersion: 5.4\nspecifiers:\n  '@s/a': ^1\ndependencies:\n  '@s/a': 1.2.3_b@2.0.0\npackages:\n  \
    /@s/a/1.2.3_b@2.0.0:\n    resolution: {integrity: sha1-L9ThxnotKPzthJ7hu3bnORuT6xI=}\n    dependencies:\n      b: 2.0.0\n    dev: false\n  \
    /b/2.0.0:\n    resolution: {integrity: sha1-L9ThxnotKPzthJ7hu3bnORuT6xI=}\n";

const POETRY: &str = "[[package]]\nname = \"Flask_X\"\nversion = \"3.0\"\noptional = false\ngroups = [\"main\"]\nfiles = [{file = \"f.whl\", hash = \"sha256:b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c\"}]\n\
    [package.dependencies]\nJinja2 = {version = \">=3\", optional = true}\n[[package]]\nname = \"jinja2\"\nversion = \"3.1\"\noptional = true\ngroups = [\"main\"]\n\
    [[package]]\nname = \"pytest\"\nversion = \"8.0\"\ngroups = [\"dev\"]\n[metadata]\nlock-version = \"2.1\"\n";

const UV: &str = "version = 1\n[[package]]\nname = \"app\"\nsource = { virtual = \".\" }\ndependencies = [{ name = \"flask\" }]\n\
    [package.dev-dependencies]\ndev = [{ name = \"pytest\" }]\n[[package]]\nname = \"flask\"\nversion = \"3.0\"\nsource = { registry = \"https://pypi.org/simple\" }\n\
    dependencies = [{ name = \"jinja2\" }]\nwheels = [{ url = \"https://x\", hash = \"sha256:b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c\" }]\n\
    [[package]]\nname = \"jinja2\"\nversion = \"3.1\"\nsource = { git = \"https://example.org/j?rev=x#abc\" }\n[[package]]\nname = \"pytest\"\nversion = \"8.0\"\nsource = { registry = \"https://pypi.org/simple\" }\n\
    dependencies = [{ name = \"jinja2\" }]\n";

const PIPFILE: &str = r#"{ "default": { "flask": { "version": "==3.0", "hashes": ["sha256:b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c"] },
    "own": { "path": ".", "editable": true } }, "develop": { "pytest": { "version": "==8.0" } } }"#;

const REQUIREMENTS: &str = "# frozen\n-r base.txt\nflask[async]==3.0 ; python_version > \"3\" \\\n    --hash=sha256:b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c\n\
    jinja2>=3 # loose\nown @ git+https://example.org/own@2fd4e1c67a2d28fced849ee1bb76e7391b93eb12\n-e .\n";

const GO_MOD: &str = "module example.org/app\n\ngo 1.22\n\nrequire (\n\tgithub.com/A/b v1.2.3\n\tgolang.org/x/text v0.3.0 // indirect\n\texample.org/local v0.0.0\n)\n\
    replace example.org/local => ../local\nreplace golang.org/x/text v0.3.0 => golang.org/x/text v0.4.0\n";

const GO_SUM: &str =
    "github.com/A/b v1.2.3 h1:abc=\ngithub.com/A/b v1.2.3/go.mod h1:def=\ngithub.com/A/b v1.0.0 h1:old=\n";

const COMPOSER: &str = r#"{ "packages": [ { "name": "Acme/A", "version": "v1.0", "license": ["MIT"], "require": { "php": ">=8", "acme/b": "^2" },
    "dist": { "shasum": "2fd4e1c67a2d28fced849ee1bb76e7391b93eb12" } }, { "name": "acme/b", "version": "2.0", "require": [] } ],
    "packages-dev": [ { "name": "phpunit/phpunit", "version": "11.0" } ] }"#;

const NUGET: &str = r#"{ "version": 1, "dependencies": { "net8.0": {
    "Serilog": { "type": "Direct", "requested": "[3, )", "resolved": "3.1.1", "contentHash": "abc", "dependencies": { "System.Text": "1.0" } },
    "System.Text": { "type": "Transitive", "resolved": "1.0.1" }, "own": { "type": "Project" } } } }"#;

const GEM: &str = "GEM\n  remote: https://rubygems.org/\n  specs:\n    nokogiri (1.16.0-x86_64-linux)\n      racc (~> 1.4)\n    racc (1.7.3)\n\n\
    GIT\n  remote: https://example.org/g.git\n  revision: abc\n  specs:\n    g (0.1.0)\n\nPLATFORMS\n  ruby\n\nDEPENDENCIES\n  g!\n  nokogiri (~> 1.16)\n\n\
    CHECKSUMS\n  nokogiri (1.16.0-x86_64-linux) sha256=b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c\n  racc (1.7.3)\n";

const GRADLE: &str = "# This is a Gradle generated file\norg.a:lib:1.0=compileClasspath,runtimeClasspath\njunit:junit:4.13=testCompileClasspath\nempty=annotationProcessor\n";

const POM: &str = "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><version>2.0</version><properties><v>1.5</v></properties>\n\
    <dependencyManagement><dependencies><dependency><groupId>g</groupId><artifactId>managed</artifactId><version>3</version></dependency></dependencies></dependencyManagement>\n\
    <dependencies><dependency><groupId>g</groupId><artifactId>a</artifactId><version>${v}</version></dependency>\n\
    <dependency><groupId>g</groupId><artifactId>managed</artifactId><scope>test</scope></dependency>\n\
    <dependency><groupId>g</groupId><artifactId>loose</artifactId></dependency></dependencies></project>";

const ALL: [(&str, &str); 20] = [
    ("Cargo.lock", CARGO),
    ("package-lock.json", NPM),
    ("old/package-lock.json", NPM_1),
    ("yarn.lock", YARN),
    ("berry/yarn.lock", BERRY),
    ("pnpm-lock.yaml", PNPM_9),
    ("old/pnpm-lock.yaml", PNPM_5),
    ("poetry.lock", POETRY),
    ("uv.lock", UV),
    ("Pipfile.lock", PIPFILE),
    ("requirements.txt", REQUIREMENTS),
    ("requirements-dev.txt", "pytest==8.0\n"),
    ("go.mod", GO_MOD),
    ("go.sum", GO_SUM),
    ("composer.lock", COMPOSER),
    ("packages.lock.json", NUGET),
    ("Gemfile.lock", GEM),
    ("gradle.lockfile", GRADLE),
    ("pom.xml", POM),
    ("npm-shrinkwrap.json", "{}"),
];

fn path(text: &str) -> RelPath {
    text.try_into().unwrap()
}

/// Each pin as `purl scope [direct] > needs # hashes`.
fn told(name: &str) -> Vec<String> {
    let text = ALL.iter().find(|(known, _)| *known == name).unwrap().1;
    let found = read(&path(name), text.as_bytes()).unwrap();
    let line = |pin: &Pin| {
        let scope = match pin.scope {
            Scope::Required => "",
            Scope::Optional => " optional",
            Scope::Development => " dev",
        };
        let direct = if pin.is_direct == Some(true) { " direct" } else { "" };
        let needs: Vec<&str> = pin.needs.iter().map(|need| found.pins[*need].purl.name()).collect();
        let needs = if needs.is_empty() { String::new() } else { format!(" > {}", needs.join(" ")) };
        let hashes: Vec<&str> = pin.hashes.iter().map(|hash| hash.algorithm).collect();
        let hashes = if hashes.is_empty() { String::new() } else { format!(" # {}", hashes.join(" ")) };
        format!("{}{scope}{direct}{needs}{hashes}", pin.purl)
    };
    let unpinned = found.unpinned.iter().map(|(line, why)| format!("{}: {why}", line.unwrap_or_default()));
    found.pins.iter().map(line).chain(unpinned).collect()
}

#[test]
fn cargo() {
    assert_eq!(
        told("Cargo.lock"),
        [
            "pkg:cargo/itoa@1.0.0 direct # SHA-256",
            "pkg:cargo/rand@0.7.0",
            "pkg:cargo/rand@0.8.0 direct > itoa",
            "pkg:cargo/git-dep@0.2.0?vcs_url=git%2Bhttps:%2F%2Fexample.org%2Fdep%400123abc direct > rand",
        ]
    );
}

#[test]
fn npm_finds_what_node_would_find() {
    assert_eq!(
        told("package-lock.json"),
        [
            "pkg:npm/%40s/a@1.2.3 direct > b c # SHA-1",
            "pkg:npm/b@1.0.0",
            "pkg:npm/b@2.0.0 dev direct",
            "pkg:npm/c@2.0.0?vcs_url=git%2Bssh:%2F%2Fgit%40example.org%2Fc.git%40abc optional direct",
        ]
    );
    let of_a = &read(&path("package-lock.json"), NPM.as_bytes()).unwrap().pins[0];
    assert_eq!((of_a.needs.clone(), of_a.licences.clone()), (vec![1, 3], vec!["MIT".to_owned()]));
    assert_eq!(
        told("old/package-lock.json"),
        ["pkg:npm/a@1.2.3 > b", "pkg:npm/b@1.0.0", "pkg:npm/b@2.0.0 dev"]
    );
}

#[test]
fn yarn_of_both_kinds() {
    assert_eq!(told("yarn.lock"), ["pkg:npm/%40s/a@1.2.3 > b # SHA-1", "pkg:npm/b@2.0.0 # SHA-1"]);
    assert_eq!(told("berry/yarn.lock"), ["pkg:npm/%40s/a@1.2.3 direct > b", "pkg:npm/b@2.0.0"]);
}

#[test]
fn pnpm_of_all_ages() {
    assert_eq!(
        told("pnpm-lock.yaml"),
        ["pkg:npm/%40s/a@1.2.3 direct > b # SHA-1", "pkg:npm/b@2.0.0 # SHA-1", "pkg:npm/c@3.10.0 dev direct"]
    );
    assert_eq!(
        told("old/pnpm-lock.yaml"),
        ["pkg:npm/%40s/a@1.2.3 direct > b # SHA-1", "pkg:npm/b@2.0.0 # SHA-1"]
    );
}

#[test]
fn python() {
    assert_eq!(
        told("poetry.lock"),
        [
            "pkg:pypi/flask-x@3.0 > jinja2 # SHA-256",
            "pkg:pypi/jinja2@3.1 optional",
            "pkg:pypi/pytest@8.0 dev"
        ]
    );
    assert_eq!(
        told("uv.lock"),
        [
            "pkg:pypi/flask@3.0 direct > jinja2 # SHA-256",
            "pkg:pypi/jinja2@3.1?vcs_url=git%2Bhttps:%2F%2Fexample.org%2Fj%40abc",
            "pkg:pypi/pytest@8.0 dev direct > jinja2",
        ]
    );
    assert_eq!(
        told("Pipfile.lock"),
        ["pkg:pypi/flask@3.0 # SHA-256", "pkg:pypi/pytest@8.0 dev", "0: `own` has no fixed version"]
    );
    assert_eq!(
        told("requirements.txt"),
        [
            "pkg:pypi/flask@3.0 # SHA-256".to_owned(),
            format!("pkg:pypi/own?vcs_url=git%2Bhttps:%2F%2Fexample.org%2Fown%40{SHA1}"),
            "5: `jinja2>=3` has no fixed version".to_owned(),
        ]
    );
    assert_eq!(told("requirements-dev.txt"), ["pkg:pypi/pytest@8.0 dev"]);
}

#[test]
fn go_composer_nuget_and_ruby() {
    assert_eq!(
        told("go.mod"),
        ["pkg:golang/github.com/a/b@v1.2.3 direct", "pkg:golang/golang.org/x/text@v0.4.0"]
    );
    assert_eq!(told("go.sum"), ["pkg:golang/github.com/a/b@v1.2.3", "pkg:golang/github.com/a/b@v1.0.0"]);
    assert_eq!(
        told("composer.lock"),
        [
            "pkg:composer/acme/a@v1.0 > b # SHA-1",
            "pkg:composer/acme/b@2.0",
            "pkg:composer/phpunit/phpunit@11.0 dev"
        ]
    );
    assert_eq!(
        told("packages.lock.json"),
        ["pkg:nuget/Serilog@3.1.1 direct > System.Text", "pkg:nuget/System.Text@1.0.1"]
    );
    assert_eq!(
        told("Gemfile.lock"),
        [
            "pkg:gem/nokogiri@1.16.0?platform=x86_64-linux direct > racc # SHA-256",
            "pkg:gem/racc@1.7.3",
            "pkg:gem/g@0.1.0?vcs_url=git%2Bhttps:%2F%2Fexample.org%2Fg.git%40abc direct",
        ]
    );
}

#[test]
fn java() {
    assert_eq!(told("gradle.lockfile"), ["pkg:maven/org.a/lib@1.0", "pkg:maven/junit/junit@4.13 dev"]);
    assert_eq!(
        told("pom.xml"),
        [
            "pkg:maven/g/a@1.5 direct",
            "pkg:maven/g/managed@3 dev direct",
            "5: `g:loose` has no fixed version here",
        ]
    );
}

#[test]
fn a_broken_file_is_told_with_its_line() {
    for (name, text, line) in [
        ("Cargo.lock", "version = 4\n[[package]]\nname = 1\n", 3),
        ("package-lock.json", "{\n\"packages\": []\n}", 2),
        ("yarn.lock", "a@1:\n  version \"1\"\nodd\n", 3),
        ("pnpm-lock.yaml", "packages:\n  a@1: [\n", 0),
        ("go.mod", "module a\nrequire x\n", 2),
        ("go.sum", "a b\n", 1),
        ("gradle.lockfile", "\n\na:b=c\n", 3),
        ("pom.xml", "<project>\n<a></b></project>", 2),
        ("Gemfile.lock", "GEM\n  specs:\n    a\n", 3),
        ("requirements.txt", "a==1\n\u{fffd}", 0),
    ] {
        let refused = read(&path(name), text.as_bytes());
        match line {
            0 => {}
            line => assert_eq!(refused.unwrap_err().line, Some(line), "{name}"),
        }
    }
    let refused = read(&path("uv.lock"), b"a = 1\n\xff\n").unwrap_err();
    assert_eq!((refused.line, refused.why.as_str()), (Some(2), "it is not UTF-8"));
    assert!(read(&path("pnpm-lock.yaml"), b"packages: [a, b]\n").is_err());
}

#[test]
fn lock_files_of_others_do_not_count() {
    for own in ["Cargo.lock", "a/b/package-lock.json", "dev-requirements.txt", "requirements.txt"] {
        assert!(is_lock_file(&path(own)), "{own}");
    }
    for other in [
        "node_modules/a/yarn.lock",
        "vendor/x/go.mod",
        "Cargo.toml",
        "my requirements of you.txt",
        "cargo.lock",
    ] {
        assert!(!is_lock_file(&path(other)), "{other}");
    }
    assert_eq!(SHA256.len() + INTEGRITY.len(), 97);
}

#[test]
fn depth_is_bounded() {
    let deep = |open: &str, close: &str| open.repeat(100_000) + &close.repeat(100_000);
    for (name, text) in [
        ("package-lock.json", format!("{{\"dependencies\":{}", deep("{\"a\":{\"dependencies\":", "}}"))),
        ("pnpm-lock.yaml", format!("packages: {}", deep("[", "]"))),
        ("Cargo.lock", format!("package = {}", deep("[", "]"))),
        ("pom.xml", format!("<project>{}</project>", deep("<a>", "</a>"))),
        ("yarn.lock", (0..3000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect()),
    ] {
        let _ = read(&path(name), text.as_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// A lock file that somebody damaged: cut, or with something else in a place.
    #[test]
    fn no_damage_is_a_panic(which in 0..ALL.len(), at in any::<prop::sample::Index>(), put in "\\PC{0,6}|[\\[{:@/#(= \n\"]{1,4}", cut in any::<bool>()) {
        let (name, text) = ALL[which];
        let mut place = at.index(text.len() + 1);
        while !text.is_char_boundary(place) {
            place -= 1;
        }
        let rest = if cut { "" } else { &text[place..] };
        let _ = read(&path(name), format!("{}{put}{rest}", &text[..place]).as_bytes());
    }

    #[test]
    fn no_text_is_a_panic(which in 0..ALL.len(), text in "(\\PC|\n){0,200}") {
        let _ = read(&path(ALL[which].0), text.as_bytes());
    }
}
