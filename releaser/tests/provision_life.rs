//! Making machines and taking them down, by real programs, with a clock of the tests' own.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::fs::{FlockOperation, flock};
use staith_model::{Provision, ProvisionTool, Standing};
use staith_releaser::fleet::{
    drive::{Clock, Log},
    provision::{Ear, Overdue, Place, ProvisionError, Provisioner, Swept, Voice, Why, overdue, sweep},
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// What must not be told.
const SECRET: &str = "correct-horse-battery-staple";

#[derive(Default)]
struct Heard(Arc<Mutex<String>>);

/// Holds a stream back to its end, so that no piece of a secret stands alone.
struct Whole(Arc<Mutex<String>>, Vec<u8>);

impl Ear for Whole {
    fn hears(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.1.extend_from_slice(bytes);
        Vec::new()
    }
    fn ends(&mut self) -> Vec<u8> {
        let text = String::from_utf8_lossy(&self.1).replace(SECRET, "***");
        self.0.lock().unwrap().push_str(&text);
        text.into_bytes()
    }
}

impl Voice for Heard {
    fn begins(&self, what: &str) {
        self.0.lock().unwrap().push_str(&format!("> {what}\n"));
    }
    fn ear(&self, aloud: bool) -> Box<dyn Ear> {
        let to = if aloud { Arc::clone(&self.0) } else { Arc::default() };
        Box::new(Whole(to, Vec::new()))
    }
    fn masked(&self, text: &str) -> String {
        text.replace(SECRET, "***")
    }
}

/// A project, an environment below a home, and a clock.
struct Scene {
    dir: TempDir,
    now: Arc<AtomicU64>,
    log: Log,
    heard: Arc<Heard>,
}

impl Scene {
    fn new() -> Self {
        let now = Arc::new(AtomicU64::new(1_000_000));
        let clock = Self::clock(&now);
        let scene = Self {
            dir: tempfile::tempdir().unwrap(),
            now,
            log: Log::in_memory(clock),
            heard: Arc::default(),
        };
        fs::create_dir_all(scene.dir.path().join("home/shop/preview")).unwrap();
        scene.write("create", "#!/bin/sh\ntouch \"$STAITH_STATE/machine\"\n");
        scene.write("destroy", "#!/bin/sh\n[ ! -e stuck ] || exit 3\nrm -f \"$STAITH_STATE/machine\"\n");
        scene
    }

    fn clock(now: &Arc<AtomicU64>) -> Clock {
        let now = Arc::clone(now);
        Clock::of(move || now.load(Ordering::SeqCst))
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.project().join("infra").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn project(&self) -> std::path::PathBuf {
        self.dir.path().join("project")
    }

    fn homes(&self) -> std::path::PathBuf {
        self.dir.path().join("home")
    }

    fn provisioner(&self) -> Provisioner {
        let directory = self.homes().join("shop/preview");
        Provisioner {
            project: "shop".parse().unwrap(),
            environment: "preview".parse().unwrap(),
            place: Place::of(&directory),
            driver_lock: directory.join("driver.lock"),
            log: self.log.clone(),
            clock: Self::clock(&self.now),
            by: "anna".into(),
            process: "test".into(),
            secrets: BTreeMap::new(),
            versions: BTreeMap::new(),
            voice: Arc::<Heard>::clone(&self.heard),
            cancel: CancellationToken::new(),
            kill: CancellationToken::new(),
        }
    }

    fn described(time_to_live_seconds: Option<u64>) -> Provision {
        let words = |word: &str| vec![word.to_owned()];
        Provision {
            folder: "infra".into(),
            tool: ProvisionTool::Command {
                plan: None,
                apply: words("./create"),
                outputs: None,
                destroy: words("./destroy"),
            },
            time_to_live_seconds,
            variables: BTreeMap::new(),
            secrets: BTreeMap::new(),
            cloud_init: None,
            timeout_seconds: 60,
        }
    }

    async fn make(&self, provision: &Provision) -> Result<(), ProvisionError> {
        let provisioner = self.provisioner();
        let session = provisioner.begin().await?;
        let proposal = session.propose(provision, &self.project(), "").await?;
        session.carry_out(&proposal).await.map(drop)
    }

    fn overdue(&self) -> Vec<Overdue> {
        overdue(&self.homes(), self.now.load(Ordering::SeqCst))
    }

    fn machine(&self) -> bool {
        self.homes().join("shop/preview/provision/state/machine").exists()
    }

    fn pass(&self, seconds: u64) {
        self.now.fetch_add(seconds * 1000, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn what_is_past_its_time_goes_and_what_can_not_go_is_tried_again() {
    let scene = Scene::new();
    scene.make(&Scene::described(Some(3600))).await.unwrap();
    assert!(scene.machine());
    scene.pass(3599);
    assert_eq!(scene.overdue(), []);
    assert_eq!(
        sweep(&scene.provisioner()).await.unwrap(),
        Swept::Nothing,
        "it looks again before it does anything"
    );
    assert!(scene.machine());
    // Provisioned again, it has its whole time again.
    scene.make(&Scene::described(Some(3600))).await.unwrap();
    scene.pass(3599);
    assert_eq!(scene.overdue(), []);
    scene.pass(1);
    assert_eq!(scene.overdue()[0].why, Why::Due(1_000_000 + 3599 * 1000 + 3600 * 1000));
    // The project is gone, and the cloud says no.
    fs::remove_dir_all(scene.project()).unwrap();
    let work = scene.homes().join("shop/preview/provision/work");
    fs::write(work.join("stuck"), "").unwrap();
    for _ in 0..2 {
        assert!(sweep(&scene.provisioner()).await.is_err());
        assert_eq!(scene.overdue().len(), 1, "it is not forgotten");
    }
    fs::remove_file(work.join("stuck")).unwrap();
    assert_eq!(sweep(&scene.provisioner()).await.unwrap(), Swept::Gone);
    assert!(!scene.machine() && scene.overdue().is_empty());
    assert_eq!(scene.provisioner().state().unwrap().standing, Standing::Nothing);
}

#[tokio::test]
async fn what_was_left_half_made_goes_only_if_it_was_not_to_be_kept() {
    for (time_to_live, goes) in [(Some(3600), true), (None, false)] {
        let scene = Scene::new();
        scene.write(
            "create",
            "#!/bin/sh\ntouch \"$STAITH_STATE/machine\"\nexec tail -f \"$STAITH_STATE/machine\"\n",
        );
        let provision = Scene::described(time_to_live);
        // The process dies at it: its future is dropped, and with it the program.
        {
            let making = scene.make(&provision);
            tokio::pin!(making);
            loop {
                tokio::select! {
                    done = &mut making => panic!("{done:?}"),
                    () = tokio::task::yield_now() => if scene.machine() { break },
                }
                assert_eq!(scene.overdue(), [], "somebody is at it");
            }
        }
        // The program is dead in a moment, and lets go of the lock then.
        while scene.provisioner().begin().await.is_err() {
            tokio::task::yield_now().await;
        }
        assert!(matches!(scene.provisioner().state().unwrap().standing, Standing::Open(_)));
        assert_eq!(scene.overdue().len(), usize::from(goes));
        if goes {
            let stuck = scene.homes().join("shop/preview/provision/work/stuck");
            fs::write(&stuck, "").unwrap();
            assert!(sweep(&scene.provisioner()).await.is_err());
            assert_eq!(scene.overdue().len(), 1, "it is not forgotten");
            fs::remove_file(stuck).unwrap();
        }
        let swept = sweep(&scene.provisioner()).await.unwrap();
        assert_eq!(swept, if goes { Swept::Gone } else { Swept::Nothing });
        assert_eq!(scene.machine(), !goes);
    }
}

#[tokio::test]
async fn a_mark_without_a_beginning_is_none() {
    let scene = Scene::new();
    let provisioner = scene.provisioner();
    drop(provisioner.begin().await.unwrap());
    fs::write(scene.homes().join("shop/preview/provision/there"), r#"{"due": 5, "open": true}"#).unwrap();
    assert_eq!(scene.overdue().len(), 1);
    assert_eq!(sweep(&provisioner).await.unwrap(), Swept::Nothing);
    assert_eq!(scene.overdue(), []);
}

#[tokio::test]
async fn two_never_work_at_the_same_time() {
    let scene = Scene::new();
    let provisioner = scene.provisioner();
    let session = provisioner.begin().await.unwrap();
    assert!(matches!(scene.provisioner().begin().await, Err(ProvisionError::Busy(_))));
    drop(session);
    assert!(scene.provisioner().begin().await.is_ok());
    // Nor are machines changed under a deployment.
    let driver = fs::File::create(&provisioner.driver_lock).unwrap();
    flock(&driver, FlockOperation::NonBlockingLockExclusive).unwrap();
    let refused = scene.make(&Scene::described(None)).await.unwrap_err();
    assert!(matches!(refused, ProvisionError::Deploying(_)), "{refused}");
    assert!(!scene.machine());
    drop(driver);
    scene.make(&Scene::described(None)).await.unwrap();
}

#[tokio::test]
async fn the_copy_follows_the_project_and_keeps_what_tools_made() {
    let scene = Scene::new();
    scene.write("old", "old");
    scene.make(&Scene::described(None)).await.unwrap();
    let work = scene.homes().join("shop/preview/provision/work");
    fs::write(work.join("terraform.tfstate"), "state").unwrap();
    fs::remove_file(scene.project().join("infra/old")).unwrap();
    scene.write("modules/new", "new");
    let provisioner = scene.provisioner();
    let session = provisioner.begin().await.unwrap();
    assert!(
        !session.is_there(&Scene::described(None), &scene.project()).await.unwrap(),
        "its files have changed"
    );
    let has = |name: &str| work.join(name).exists();
    assert!(!has("old") && has("modules/new") && has("terraform.tfstate"));
    drop(session);
    let refused = |link: &Path| {
        std::os::unix::fs::symlink("/not/on/this/machine", link).unwrap();
    };
    refused(&scene.project().join("infra/link"));
    let error = scene.make(&Scene::described(None)).await.unwrap_err();
    assert!(error.to_string().contains("neither a file nor a folder"), "{error}");
}

#[tokio::test]
async fn a_failure_is_told_with_the_end_of_what_was_said() {
    let scene = Scene::new();
    scene.write("create", "#!/bin/sh\necho much; echo 'no more addresses' >&2; exit 4\n");
    let error = scene.make(&Scene::described(None)).await.unwrap_err();
    let told = error.to_string();
    assert!(told.contains("exit code 4") && told.contains("no more addresses"), "{told}");
    assert!(matches!(scene.provisioner().state().unwrap().standing, Standing::Failed(..)));
    assert!(scene.heard.0.lock().unwrap().contains("much"));
    // It is mended, and given again.
    scene.write("create", "#!/bin/sh\ntouch \"$STAITH_STATE/machine\"\n");
    scene.make(&Scene::described(None)).await.unwrap();
    assert!(scene.machine());
}

#[tokio::test]
async fn a_plan_file_is_applied_as_it_was_or_not_at_all() {
    let scene = Scene::new();
    scene.write("plan", "#!/bin/sh\necho 'one machine'; echo one > \"$STAITH_PLAN\"\n");
    scene.write("create", "#!/bin/sh\ncp \"$STAITH_PLAN\" \"$STAITH_STATE/machine\"\n");
    let mut provision = Scene::described(None);
    let ProvisionTool::Command { plan, .. } = &mut provision.tool else { unreachable!() };
    *plan = Some(vec!["./plan".into()]);
    let provisioner = scene.provisioner();
    let session = provisioner.begin().await.unwrap();
    let proposal = session.propose(&provision, &scene.project(), "").await.unwrap();
    assert!(proposal.text.contains("one machine") && proposal.plan.file.is_some());
    assert!(
        session.propose(&provision, &scene.project(), "").await.unwrap().again,
        "it waits, and is not made anew"
    );
    let saved = scene.homes().join("shop/preview/provision/plan");
    fs::write(&saved, "ten\n").unwrap();
    let refused = session.carry_out(&proposal).await.unwrap_err();
    assert!(matches!(refused, ProvisionError::Changed { .. }), "{refused}");
    assert!(!scene.machine());
    let proposal = session.propose(&provision, &scene.project(), "").await.unwrap();
    assert!(!proposal.again);
    session.carry_out(&proposal).await.unwrap();
    assert_eq!(
        fs::read_to_string(scene.homes().join("shop/preview/provision/state/machine")).unwrap(),
        "one\n"
    );
}

/// Cut before it is masked, the end of the secret is told.
#[tokio::test]
async fn what_a_program_said_last_is_masked_before_it_is_cut() {
    let scene = Scene::new();
    // The last 4000 bytes begin in the middle of the secret.
    let said =
        format!("#!/bin/sh\nprintf '%s' {SECRET} >&2\nhead -c 3985 /dev/zero | tr '\\0' x >&2\nexit 1\n");
    scene.write("create", &said);
    let provisioner = scene.provisioner();
    let session = provisioner.begin().await.unwrap();
    let provision = Scene::described(None);
    let proposal = session.propose(&provision, &scene.project(), "").await.unwrap();
    let error = session.carry_out(&proposal).await.unwrap_err().to_string();
    assert!(error.contains("xxx") && !error.contains("staple") && !error.contains("horse"), "{error}");
}
