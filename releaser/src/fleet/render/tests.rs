use proptest::prelude::*;
use staith_model::{Access, Package, ReleaseSetting, SecretVersion, SourceOfRelease};

use super::*;

const SECRET: &str = "hunter2<&\"\\";

struct Files(Manifest, BTreeMap<RelPath, Vec<u8>>);

impl PackageFiles for Files {
    fn manifest(&self) -> &Manifest {
        &self.0
    }

    fn copy_file(
        &self,
        path: &RelPath,
        to: &mut dyn Write,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(to.write_all(&self.1[path])?)
    }
}

fn files(list: &[(&str, &str)]) -> Files {
    let bytes: BTreeMap<RelPath, Vec<u8>> =
        list.iter().map(|(path, text)| ((*path).try_into().unwrap(), text.as_bytes().to_vec())).collect();
    let entry =
        |bytes: &Vec<u8>| Entry::File { mode: 0o644, size: bytes.len() as u64, digest: Digest::of(bytes) };
    let entries = bytes.iter().map(|(path, bytes)| (path.clone(), entry(bytes))).collect();
    Files(Manifest { entries }, bytes)
}

/// What a test says of environment, roles and machine; everything else does not matter.
struct Case {
    setting: ReleaseSetting,
    target: Target,
    declarations: Declarations,
}

fn texts(list: &[(&str, &str)]) -> BTreeMap<String, String> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn case(variables: &[(&str, &str)], rendered: &[&str]) -> Case {
    let secret = SecretVersion { name: "shop/db".into(), version: "v".into() };
    Case {
        setting: ReleaseSetting {
            folder: "/srv/shop".into(),
            service: Service::Files,
            health: None,
            port: None,
            min_healthy_seconds: 0,
            variables: texts(variables),
            role_variables: BTreeMap::new(),
            secrets: [("DB_PASSWORD".to_owned(), secret)].into(),
            rendered: rendered.iter().map(|glob| (*glob).to_owned()).collect(),
            schema: None,
            hooks: vec![],
        },
        target: Target {
            name: "web1".parse().unwrap(),
            access: Access::Local,
            pool: None,
            tags: [].into(),
            roles: [].into(),
            variables: BTreeMap::new(),
            serves_at: None,
        },
        declarations: Declarations::read(b"<parameters/>").unwrap(),
    }
}

impl Case {
    fn render(&self, list: &[(&str, &str)]) -> Result<Rendered, RenderError> {
        self.render_files(&files(list))
    }

    fn render_files(&self, files: &Files) -> Result<Rendered, RenderError> {
        let environment: Name = "production".parse().unwrap();
        let release = FleetRelease {
            project: "shop".parse().unwrap(),
            package: Package {
                name: "shop".parse().unwrap(),
                version: "1.2.3".parse().unwrap(),
                digest: Digest::of(b"zip"),
                content: files.0.digest(),
                size: 3,
            },
            source: SourceOfRelease {
                commit: None,
                branch: None,
                dirty: false,
                committed_at: None,
                trust: None,
            },
            settings: [(environment.clone(), self.setting.clone())].into(),
        };
        let secrets = [("shop/db".to_owned(), Secret::new(SECRET))].into();
        let scene = Scene {
            release: &release,
            environment: &environment,
            target: &self.target,
            secrets: &secrets,
            declarations: &self.declarations,
        };
        render(files, &scene)
    }

    fn text(&self, path: &str, text: &str) -> Result<String, RenderError> {
        let rendered = self.render(&[(path, text)])?;
        let content = rendered.contents.get(&RelPath::try_from(path).unwrap());
        Ok(content.map_or(text.to_owned(), |content| String::from_utf8(content.as_bytes().to_vec()).unwrap()))
    }
}

#[test]
fn tokens_are_values_in_any_text_file() {
    let case = case(&[("LOG_LEVEL", "info #{X}#"), ("Service Url", "u")], &["**"]);
    let text = "a=#{LOG_LEVEL}# #{Service Url}# ##{LOG_LEVEL}# #{x} ä#{STAITH_TARGET}#/#{STAITH_VERSION}#\n";
    assert_eq!(case.text("a.ini", text).unwrap(), "a=info #{X}# u #{LOG_LEVEL}# #{x} äweb1/1.2.3\n");
}

#[test]
fn a_token_without_a_value_is_an_error_with_its_place() {
    let case = case(&[], &["**"]);
    let error = case.render(&[("b/a.ini", "x\nä #{NOPE}# #{DB_PASSWORD}#\n#{TOO}#")]).unwrap_err();
    assert_eq!(error.to_string(), "no value for b/a.ini:2:3: `#{NOPE}#`, b/a.ini:3:1: `#{TOO}#`");
}

#[test]
fn values_stay_where_they_are_put() {
    let value = "a\"b\\c<d>&'e\n]]>--*/";
    let case = case(&[("V", value), ("N", "8080")], &["**"]);
    let json =
        case.text("a.json", "{\"k\": \"x#{V}#\", // #{N}#\n \"p\": #{N}#, \"#{N}#\\\"#{N}#\": 1}").unwrap();
    let plain: String = json.lines().map(|line| line.split("//").next().unwrap()).collect();
    let read: serde_json::Value = serde_json::from_str(&plain).unwrap();
    assert_eq!((read["k"].as_str().unwrap(), read["p"].as_u64()), (format!("x{value}").as_str(), Some(8080)));
    assert_eq!(read["8080\"8080"], 1);
    let xml = case.text("a.xml", "<a b=\"#{V}#\"><!-- #{N}# -->#{V}#<![CDATA[#{N}#]]>#{V}#</a>").unwrap();
    assert!(xml.contains("a&quot;b\\c&lt;d&gt;&amp;&apos;e&#10;]]&gt;--*/"), "{xml}");
    assert!(!xml.contains("<d>"), "{xml}");
    for (path, text) in [
        ("a.json", "{\"k\": #{V}#}"),
        ("a.json", "{} // #{V}#"),
        ("a.json", "{} /* #{V}# */"),
        ("a.xml", "<a><![CDATA[#{V}#]]></a>"),
        ("a.xml", "<a><!-- #{V}# --></a>"),
    ] {
        let error = case.render(&[(path, text)]).unwrap_err();
        assert!(matches!(error, RenderError::Unfit { .. }), "{text}: {error}");
    }
}

#[test]
fn the_machine_wins_over_its_role_and_the_role_over_the_environment() {
    let mut case = case(&[("A", "environment"), ("B", "environment"), ("C", "environment")], &["**"]);
    let web: Name = "web".parse().unwrap();
    case.setting.role_variables.insert(web.clone(), texts(&[("B", "role"), ("C", "role")]));
    case.setting.role_variables.insert("other".parse().unwrap(), texts(&[("A", "other")]));
    case.target.roles.insert(web);
    case.target.variables = texts(&[("C", "target")]);
    assert_eq!(case.text("a.ini", "#{A}# #{B}# #{C}#").unwrap(), "environment role target");
}

#[test]
fn roles_that_disagree_are_an_error_unless_the_machine_decides() {
    let mut case = case(&[], &["**"]);
    for (role, value) in [("web", "4"), ("worker", "8")] {
        case.setting.role_variables.insert(role.parse().unwrap(), texts(&[("T", value), ("SAME", "x")]));
        case.target.roles.insert(role.parse().unwrap());
    }
    let error = case.text("a.ini", "#{T}#").unwrap_err().to_string();
    assert!(["web1", "`web`", "`worker`", "`T`"].iter().all(|part| error.contains(part)), "{error}");
    case.target.variables = texts(&[("T", "6")]);
    assert_eq!(case.text("a.ini", "#{T}# #{SAME}#").unwrap(), "6 x");
    case.target.variables.insert("DB_PASSWORD".into(), "plain".into());
    assert!(matches!(case.text("a.ini", ""), Err(RenderError::SecretAndPlain { .. })));
}

const CONFIG: &str = "<configuration>\n  <appSettings>\n    <add key=\"Mode\" value=\"debug\" />\n    <add key=\"Url\" value=\"x\" />\n  </appSettings>\n</configuration>\n";

fn transform(value: &str) -> String {
    format!(
        "<configuration xmlns:xdt=\"{}\"><appSettings><add key=\"Mode\" value=\"{value}\" xdt:Transform=\"SetAttributes\" \
         xdt:Locator=\"Match(key)\" /></appSettings></configuration>",
        staith_packager::transform::xdt::NAMESPACE
    )
}

#[test]
fn transforms_are_found_by_the_environments_name_and_stay_as_they_are() {
    let case = case(&[("Url", "https://shop"), ("M", "fast")], &["*.config"]);
    let (mine, other) = (transform("#{M}#"), transform("#{NOPE}#"));
    let list =
        [("web.config", CONFIG), ("Web.Production.config", mine.as_str()), ("web.staging.config", &other)];
    let rendered = case.render(&list).unwrap();
    let changed: Vec<_> = rendered.contents.keys().map(RelPath::as_str).collect();
    assert_eq!(changed, ["web.config"]);
    let content = &rendered.contents[&RelPath::try_from("web.config").unwrap()];
    let expected = CONFIG.replace("debug", "fast").replace("\"x\"", "\"https://shop\"");
    assert_eq!(std::str::from_utf8(content.as_bytes()).unwrap(), expected);
    assert!(rendered.unused.is_empty() && rendered.private.is_empty());
}

#[test]
fn settings_and_parameters_of_the_package_get_values() {
    let mut case = case(&[("Server.Port", "9090"), ("shop name", "Lantern"), ("TYPO", "1")], &["app.json"]);
    let xml = "<parameters><parameter name=\"Shop Name\" defaultValue=\"x\"><parameterEntry kind=\"TextFile\" scope=\"site\\\\name.txt$\" \
               match=\"NAME\" /></parameter></parameters>";
    case.declarations = Declarations::read(xml.as_bytes()).unwrap();
    let list = [
        ("app.json", "{ \"Server\": { \"Port\": 80 } } // kept"),
        ("site/name.txt", "the NAME"),
        ("x", "NAME"),
    ];
    let rendered = case.render(&list).unwrap();
    let bytes = |path: &str| rendered.contents[&RelPath::try_from(path).unwrap()].as_bytes().to_vec();
    assert_eq!(bytes("app.json"), b"{ \"Server\": { \"Port\": 9090 } } // kept");
    assert_eq!(bytes("site/name.txt"), b"the Lantern");
    assert_eq!((rendered.contents.len(), &rendered.unused), (2, &["TYPO".to_owned()].into()));
    let error = case.render(&list[..1]).unwrap_err();
    assert!(
        matches!(error, RenderError::Parameters { .. }) && error.to_string().contains("Shop Name"),
        "{error}"
    );
}

#[test]
fn files_that_hold_secrets_are_private_and_the_manifest_is_that_of_the_machine() {
    let mut case = case(&[], &["*.json", "*.ini"]);
    case.setting.service = Service::Systemd {
        unit: "shop".into(),
        command: vec!["./s".into()],
        env: texts(&[("AT", "#{STAITH_TARGET}#")]),
        user: None,
        stop_seconds: 1,
    };
    let list = [
        ("a.json", "{\"DB_PASSWORD\": \"\"}"),
        ("b.ini", "p=#{DB_PASSWORD}#"),
        ("c.ini", "plain"),
        ("d", "x"),
    ];
    let rendered = case.render(&list).unwrap();
    let private: Vec<_> = rendered.private.iter().map(RelPath::as_str).collect();
    assert_eq!(private, ["a.json", "b.ini"]);
    let load = rendered.load();
    assert_eq!((load.private.len(), load.secrets.len(), load.secrets[0].0.as_str()), (2, 1, "DB_PASSWORD"));
    let Service::Systemd { env, .. } = &load.service else { panic!() };
    assert_eq!(env["AT"], "web1");
    let together = RenderedFiles::new(Arc::new(files(&list)), Arc::new(rendered.clone()));
    for (path, entry) in &together.manifest().entries {
        let (Entry::File { digest, size, .. }, mut bytes) = (entry, Vec::new()) else { panic!() };
        together.copy_file(path, &mut bytes).unwrap();
        assert_eq!((Digest::of(&bytes), bytes.len() as u64), (*digest, *size), "{path}");
    }
    assert!(!format!("{rendered:?} {load:?}").contains("hunter2"));
    let Service::Systemd { env, .. } = &mut case.setting.service else { panic!() };
    env.insert("P".into(), "#{DB_PASSWORD}#".into());
    assert!(matches!(case.render(&list), Err(RenderError::InEnvironment { .. })));
}

#[test]
fn what_is_no_text_is_told_with_the_file() {
    let (path, bytes): (RelPath, _) = ("a/b.bin".try_into().unwrap(), vec![0xff, 0x01]);
    let entry = Entry::File { mode: 0o644, size: 2, digest: Digest::of(&bytes) };
    let files = Files(Manifest { entries: [(path.clone(), entry)].into() }, [(path, bytes)].into());
    let (values, globs) = (case(&[], &["a"]), Globs::new(&["a".to_owned()]).unwrap());
    assert!(globs.matches(&"a/b.bin".try_into().unwrap()) && !globs.matches(&"ab".try_into().unwrap()));
    let error = values.render_files(&files).unwrap_err();
    assert!(error.to_string().starts_with("a/b.bin: "), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn escaped_text_renders_to_itself(text in "[#{}A\n\"<ä ]{0,40}") {
        prop_assert_eq!(case(&[], &["**"]).text("a.txt", &format!("x{}", escaped(&text))).unwrap(), format!("x{text}"));
    }

    /// Whatever a file looks like, no error and no debug output holds a secret.
    #[test]
    fn no_secret_is_ever_told(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "#{DB_PASSWORD}#", "#{NOPE}#", "\"", "{", "}", ":", "<a>", "</a>", "<![CDATA[", "]]>", "<!--", "-->", "//", "/*", "\n", "k", "[", ",",
            "\"DB_PASSWORD\"", "&", "<add key=\"DB_PASSWORD\" value=\"\"/>",
        ]), 0..14),
        end in prop::sample::select(vec!["a.json", "a.xml", "a.config", "a.ini"]),
    ) {
        let told = match case(&[], &["**"]).render(&[(end, pieces.concat().as_str())]) {
            Ok(rendered) => {
                let holds = |content: &Content| String::from_utf8_lossy(content.as_bytes()).contains("hunter2");
                for (path, content) in &rendered.contents {
                    prop_assert!(!holds(content) || rendered.private.contains(path));
                }
                format!("{rendered:?} {:?}", rendered.load())
            }
            Err(error) => format!("{error} {error:?}"),
        };
        prop_assert!(!told.contains("hunter2"), "{}", told);
    }

    #[test]
    fn a_value_in_a_json_text_is_read_back_as_it_is(value in "(?s).{0,30}") {
        let text = case(&[("V", &value)], &["**"]).text("a.json", "{\"k\": \"#{V}#\"}").unwrap();
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(read["k"].as_str().unwrap(), value);
    }
}
