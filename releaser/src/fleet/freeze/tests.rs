use staith_model::{Access, Amount, HealthCheck, Hook, HookPoint, Rollout, SecretVersion, Target};

use super::*;
use crate::fleet::diff::diff;

fn key() -> VersionKey {
    VersionKey::of(&[7; 32])
}

fn file(bytes: &[u8]) -> Entry {
    Entry::File { mode: 0o755, size: bytes.len() as u64, digest: Digest::of(bytes) }
}

fn manifest() -> Manifest {
    let entry = |path: &str, bytes: &[u8]| (path.try_into().unwrap(), file(bytes));
    Manifest { entries: [entry("server", b"s"), entry("bin/migrate", b"m"), entry("app.json", b"{}")].into() }
}

fn package(manifest: &Manifest) -> Package {
    Package {
        name: "shop".parse().unwrap(),
        version: "1.0.0".parse().unwrap(),
        digest: Digest::of(b"zip"),
        content: manifest.digest(),
        size: 3,
    }
}

fn environment(name: &str) -> FleetEnvironment {
    let texts = |list: &[(&str, &str)]| list.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect();
    let health = HealthCheck {
        path: "/".into(),
        release_header: None,
        release_file: None,
        deadline_seconds: 30,
        successes: 2,
    };
    let hook = Hook {
        name: "migrate".parse().unwrap(),
        at: HookPoint::BeforeSwitch,
        command: vec!["./bin/migrate".into()],
        repeatable: false,
        once: true,
        roles: [].into(),
        timeout_seconds: 60,
    };
    let secret = SecretVersion { name: "shop/db".into(), version: String::new() };
    let target = Target {
        name: "web1".parse().unwrap(),
        access: Access::Local,
        pool: None,
        tags: [].into(),
        roles: [].into(),
        variables: [].into(),
        serves_at: None,
    };
    FleetEnvironment {
        name: name.parse().unwrap(),
        targets: vec![target],
        inventory: None,
        setting: ReleaseSetting {
            folder: "/srv/shop".into(),
            service: Service::Systemd {
                unit: "shop".into(),
                command: vec!["./server".into()],
                env: texts(&[("A", "b")]),
                user: None,
                stop_seconds: 10,
            },
            health: Some(health),
            port: Some(8080),
            min_healthy_seconds: 5,
            variables: texts(&[("LOG_LEVEL", "info")]),
            role_variables: [("web".parse().unwrap(), texts(&[("THREADS", "4")]))].into(),
            secrets: [("DB_PASSWORD".to_owned(), secret)].into(),
            rendered: vec!["*.json".into()],
            schema: None,
            hooks: vec![hook],
        },
        rollout: Rollout::Rolling { max_unavailable: Amount::Count(1), watch: None },
        traffic: None,
        drain_seconds: 30,
        keep_releases: 3,
    }
}

fn secrets(value: &str) -> BTreeMap<String, Secret> {
    [("shop/db".to_owned(), Secret::new(value)), ("other".to_owned(), Secret::new("x"))].into()
}

fn frozen(environment: &FleetEnvironment, value: &str) -> Result<FleetRelease, Vec<FreezeError>> {
    let (manifest, secrets) = (manifest(), [(environment.name.clone(), secrets(value))].into());
    freeze(&Ingredients {
        project: &"shop".parse().unwrap(),
        package: &package(&manifest),
        manifest: &manifest,
        source: &SourceOfRelease {
            commit: Some("c".into()),
            branch: None,
            dirty: false,
            committed_at: None,
            trust: None,
        },
        environments: &[environment],
        secrets: &secrets,
        key: &key(),
    })
}

#[test]
fn what_is_frozen_depends_on_everything_that_a_machine_sees_and_on_nothing_else() {
    let base = environment("production");
    let release = frozen(&base, "hunter2").unwrap();
    assert_eq!(frozen(&base.clone(), "hunter2").unwrap().digest(), release.digest());
    // Who gets it, in which order and by whom is no part of it.
    let mut elsewhere = base.clone();
    elsewhere.targets.clear();
    elsewhere.rollout = Rollout::AllAtOnce { watch: None };
    elsewhere.drain_seconds = 1;
    elsewhere.keep_releases = 9;
    assert_eq!(frozen(&elsewhere, "hunter2").unwrap(), release);

    type Edit = fn(&mut ReleaseSetting);
    let edits: [(&str, Edit); 12] = [
        ("folder", |s| s.folder.push('2')),
        ("service.unit", |s| s.service = Service::Unit { unit: "x".into() }),
        ("service.env.A", |s| {
            if let Service::Systemd { env, .. } = &mut s.service {
                env.insert("A".into(), "c".into());
            }
        }),
        ("health.path", |s| s.health.as_mut().unwrap().path = "/x".into()),
        ("port", |s| s.port = None),
        ("min_healthy_seconds", |s| s.min_healthy_seconds = 6),
        ("variables.LOG_LEVEL", |s| s.variables.get_mut("LOG_LEVEL").unwrap().push('x')),
        ("role_variables.web.THREADS", |s| s.role_variables.clear()),
        ("secrets.DB_PASSWORD.name", |s| s.secrets.get_mut("DB_PASSWORD").unwrap().name = "other".into()),
        ("rendered", |s| s.rendered.clear()),
        ("hooks.migrate.once", |s| s.hooks[0].once = false),
        ("hooks.migrate.position", |s| {
            let mut first = s.hooks[0].clone();
            first.name = "first".parse().unwrap();
            s.hooks.insert(0, first);
        }),
    ];
    for (what, edit) in edits {
        let mut other = base.clone();
        edit(&mut other.setting);
        let other = frozen(&other, "hunter2").unwrap();
        assert_ne!(other.digest(), release.digest(), "{what}");
        let told = diff(&release, &other, None);
        assert!(told.differences.iter().any(|difference| difference.what == what), "{what}: {told}");
        assert!(diff(&other, &release, None).differences.len() == told.differences.len());
    }
    assert_ne!(frozen(&environment("staging"), "hunter2").unwrap().digest(), release.digest());
}

#[test]
fn a_secret_is_in_a_release_by_a_version_that_tells_nothing() {
    let base = environment("production");
    let (one, other) = (frozen(&base, "hunter2").unwrap(), frozen(&base, "hunter3").unwrap());
    let text = serde_json::to_string(&one).unwrap();
    assert!(!text.contains("hunter2") && !text.contains(&Digest::of(b"hunter2").hex()[..32]), "{text}");
    let told = diff(&one, &other, None);
    let whats: Vec<_> = told.differences.iter().map(|difference| difference.what.as_str()).collect();
    assert_eq!(whats, ["secrets.DB_PASSWORD.version"]);
    let value = Secret::new("hunter2");
    assert_ne!(key().version("a", &value), key().version("b", &value));
    assert_ne!(key().version("a", &value), VersionKey::of(&[8; 32]).version("a", &value));
    let setting = &one.settings["production"];
    assert!(changed_secrets(setting, &secrets("hunter2"), &key()).is_empty());
    assert_eq!(changed_secrets(setting, &secrets("hunter3"), &key()), ["shop/db".to_owned()].into());
    assert!(!format!("{:?}", key()).contains('7'));
}

#[test]
fn what_can_not_work_is_refused_at_once() {
    let mut base = environment("production");
    base.setting.rendered.push("config/*.ini".into());
    base.setting.hooks[0].command = vec!["./migrate".into()];
    base.setting.secrets.get_mut("DB_PASSWORD").unwrap().name = "absent".into();
    let told: Vec<_> = frozen(&base, "x").unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    for (told, part) in told.iter().zip(["hook `migrate`", "config/*.ini", "`absent`"]) {
        assert!(told.contains(part), "{told}");
    }
    base = environment("production");
    let (manifest, other) = (manifest(), Manifest::default());
    let refused = freeze(&Ingredients {
        project: &"shop".parse().unwrap(),
        package: &package(&other),
        manifest: &manifest,
        source: &SourceOfRelease { commit: None, branch: None, dirty: true, committed_at: None, trust: None },
        environments: &[&base],
        secrets: &[(base.name.clone(), secrets("x"))].into(),
        key: &key(),
    });
    assert!(matches!(refused.unwrap_err()[..], [FreezeError::OtherManifest { .. }]));
}

#[test]
fn releases_are_kept_on_a_shelf() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = FleetShelf::new(dir.path());
    let release = frozen(&environment("production"), "x").unwrap();
    assert!(!shelf.keep(&release).unwrap());
    assert!(shelf.keep(&release).unwrap());
    assert_eq!(shelf.get(&release.digest()).unwrap(), Some(release.clone()));
    assert_eq!(shelf.all().unwrap(), [release]);
}

#[test]
fn the_key_is_made_once_and_for_its_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys/secret-versions");
    let version = |key: &VersionKey| key.version("a", &Secret::new("b"));
    let first = VersionKey::open(&path).unwrap();
    assert_eq!(version(&first), version(&VersionKey::open(&path).unwrap()));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(VersionKey::open(&path), Err(VersionKeyError::Open { .. })));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, "short").unwrap();
    assert!(matches!(VersionKey::open(&path), Err(VersionKeyError::Damaged { .. })));
}

#[test]
fn differences_are_readable_and_name_files() {
    let release = frozen(&environment("production"), "x").unwrap();
    let mut other = release.clone();
    other.settings.clear();
    let mut after = manifest();
    after.entries.remove(&RelPath::try_from("app.json").unwrap());
    after.entries.insert("new\u{1b}".try_into().unwrap(), file(b"n"));
    let told = diff(&release, &other, Some((&manifest(), &after))).to_string();
    assert!(
        told.contains("- files.app.json = 2 bytes") && told.contains("- production: folder = /srv/shop"),
        "{told}"
    );
    assert!(told.contains("+ files.new\\u{1b} = 1 bytes") && !told.contains('\u{1b}'), "{told}");
    assert_eq!(diff(&release, &release, None).differences, []);
}
