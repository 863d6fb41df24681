//! Machines that are made before a release goes to them, and taken down after: by programs, by Terraform, by Azure's command line.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use staith_tests::{wait, world::World};
use tempfile::TempDir;

const HEAD: &str = r#"
name = "bell"
version = "1.0.0"

[steps.build]
run = "mkdir dist; cp ring word.txt dist/; chmod +x dist/ring"
inputs = ["ring", "word.txt"]
outputs = ["dist"]

[package]
root = "dist"
"#;

const BY_COMMANDS: &str = r#"
[environments.qa]
folder = "PLACE/qa"
service = { restart = ["./ring"] }

[environments.qa.provision]
kind = "command"
folder = "infra"
apply = ["./create", "SIZE"]
outputs = ["./list"]
destroy = ["./destroy"]
variables = { PLACE = "PLACE" }
secrets = { CLOUD_TOKEN = "cloud/token" }
"#;

/// Makes a machine: here, no more than a file that says that it is there.
const CREATE: &str = r#"#!/bin/sh
echo "create $* in $STAITH_PROJECT/$STAITH_ENVIRONMENT" >> "$PLACE/calls"
echo "the token is $CLOUD_TOKEN"
touch "$PLACE/machine"
[ ! -e "$PLACE/slow" ] || { touch "$PLACE/waits"; while [ ! -e "$PLACE/go" ]; do sleep 0.05; done; echo "done" >> "$PLACE/calls"; }
"#;
const LIST: &str = "#!/bin/sh\necho '[{\"local\": true, \"name\": \"here\"}]'\n";
const DESTROY: &str = r#"#!/bin/sh
echo "destroy" >> "$PLACE/calls"
[ ! -e "$PLACE/stuck" ] || { echo "the cloud says no to $CLOUD_TOKEN" >&2; exit 3; }
rm -f "$PLACE/machine"
"#;
const TOKEN: &str = "s3cr3t-t0ken-of-the-cloud";

struct Site {
    world: World,
    place: TempDir,
}

impl Site {
    fn new(environments: &str) -> Self {
        // Where releases live is no folder of the system.
        let place = tempfile::tempdir_in("/var/tmp").unwrap();
        let site = Self { world: World::new(), place };
        site.describe(environments);
        site.program("create", CREATE);
        site.program("list", LIST);
        site.program("destroy", DESTROY);
        site.world.write("ring", "#!/bin/sh\ncat word.txt >> \"$STAITH_FOLDER/rung\"\n");
        site.world.write("word.txt", "one\n");
        site.set("cloud/token", TOKEN);
        site
    }

    fn describe(&self, environments: &str) {
        let text =
            format!("{HEAD}{environments}").replace("PLACE\"", &format!("{}\"", self.place.path().display()));
        self.world
            .write("runner.toml", &text.replace("PLACE/", &format!("{}/", self.place.path().display())));
    }

    fn program(&self, name: &str, text: &str) {
        self.world.write(&format!("infra/{name}"), text);
        let path = self.world.project().join("infra").join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn set(&self, secret: &str, value: &str) {
        use std::io::Write as _;
        let mut set = self.world.command(&["secret", "set", secret]);
        let mut child = set.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }

    fn at(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.at("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn protect(&self, text: &str) {
        fs::create_dir_all(self.world.home()).unwrap();
        fs::write(self.world.home().join("config.toml"), text).unwrap();
    }

    /// The place where programs run for an environment.
    fn work(&self, environment: &str) -> PathBuf {
        self.world.home().join("environments/bell").join(environment).join("provision")
    }
}

fn whoami() -> String {
    let id = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(id.stdout).unwrap().trim().to_owned()
}

/// The digest of the plan that a command showed.
fn plan_of(said: &staith_tests::world::Said) -> String {
    let line = said.out.lines().find_map(|line| line.strip_prefix("plan sha256:"));
    format!("sha256:{}", line.expect(&said.out))
}

#[test]
fn a_release_has_its_machines_made_first() {
    let site = Site::new(BY_COMMANDS);
    let world = &site.world;
    world.commit("one");
    world.staith(&["run"]).exits(0);
    world.staith(&["release", "create"]).exits(0);
    let deployed = world.staith(&["release", "deploy", "--to", "qa"]).exits(0);
    let deployed =
        deployed.says("qa is made: here").says("serves in qa").says("the token is ***").never_says(TOKEN);
    assert!(deployed.out.contains("runs \"./create\" \"SIZE\" in infra"), "{}", deployed.out);
    assert_eq!(fs::read_to_string(site.at("qa/current/word.txt")).unwrap(), "one\n");
    assert_eq!(site.calls(), ["create SIZE in bell/qa"]);
    // Nothing has changed: nothing is made again.
    world.staith(&["release", "deploy", "--to", "qa"]).exits(0);
    assert_eq!(site.calls().len(), 1);
    // What makes them has changed: it is made anew.
    site.program("create", &format!("{CREATE}\n# more\n"));
    world.staith(&["release", "deploy", "--to", "qa"]).exits(0);
    assert_eq!(site.calls().len(), 2);
    // And so it is with another value of a secret, of which nothing is written down.
    site.set("cloud/token", "another-t0ken-of-the-cloud");
    world.staith(&["release", "deploy", "--to", "qa"]).exits(0).says("the token is ***");
    assert_eq!(site.calls().len(), 3);
    world.staith(&["env", "destroy", "qa"]).exits(0).says("qa is taken down");
    assert!(!site.at("machine").exists());
    world.staith(&["env", "destroy", "qa"]).exits(64).says("nothing was made");
    assert!(!site.work("qa").join("work/create").exists(), "nothing is kept of what is gone");
    world.staith(&["release", "plan", "--to", "qa"]).exits(20).says("staith env provision qa");
    // Whoever looks around is told, and goes on to the other environments.
    world.staith(&["env", "list"]).exits(0).says("its machines are not made");
    world.staith(&["env", "status", "--check"]).exits(0).says("its machines are not made");
    world.staith(&["targets"]).exits(0).says("there are no machines");
    world.staith(&["trace", "here"]).exits(0).says("was taken down").never_says("qa here");
    world.staith(&["where", "HEAD"]).exits(0).says("no machine runs commit");
    world.staith(&["audit", "verify"]).exits(0);
    let ledger = fs::read_to_string(world.home().join("environments/bell/qa/ledger.jsonl")).unwrap();
    assert!(!ledger.contains("t0ken-of"), "no secret is in the ledger");
}

#[test]
fn who_protects_an_environment_approves_exactly_one_plan() {
    let site = Site::new(BY_COMMANDS);
    let world = &site.world;
    let me = whoami();
    site.protect(&format!(
        "[environments.\"bell/qa\"]\napprovals = {{ people = [{me:?}], needed = 1, requester-may = true, deadline-seconds = 3600 }}\n"
    ));
    let shown = world.staith(&["env", "provision", "qa", "--no-wait"]).exits(41).says("approvals");
    let shown = shown.says("`staith env approve qa`").says("  staith env provision qa");
    world.staith(&["release", "resume", "qa"]).exits(64).says("staith env approve qa");
    world.commit("one");
    world.staith(&["run"]).exits(0);
    world.staith(&["release", "create"]).exits(0);
    let deployed = world.staith(&["release", "deploy", "--to", "qa", "--no-wait"]).exits(41);
    deployed.says("  staith release deploy ").says("--to qa");
    let plan = plan_of(&shown);
    assert!(site.calls().is_empty(), "nothing is made before somebody said yes");
    let other = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
    world.staith(&["env", "approve", "qa", "--plan", other]).exits(41).says("--plan-only");
    world.staith(&["env", "approve", "qa", "--plan", &plan]).exits(0);
    // It is described in another way now: another plan, and nobody said yes to that.
    let before = fs::read_to_string(world.project().join("runner.toml")).unwrap();
    world.edit("runner.toml", |text| text.replace("\"SIZE\"", "\"LARGE\""));
    world.staith(&["env", "provision", "qa", "--no-wait"]).exits(41);
    assert!(site.calls().is_empty());
    world.write("runner.toml", &before);
    world.staith(&["env", "provision", "qa", "--no-wait"]).exits(41);
    world.staith(&["env", "approve", "qa"]).exits(0);
    world.staith(&["env", "provision", "qa", "--no-wait", "--plan", &plan]).exits(0).says("qa is made");
    assert_eq!(site.calls(), ["create SIZE in bell/qa"]);
    // Taking it down is protected as well, and can be refused.
    world.staith(&["env", "destroy", "qa", "--no-wait"]).exits(41);
    world.staith(&["env", "reject", "qa", "--comment", "we need it"]).exits(0);
    world.staith(&["env", "destroy", "qa", "--no-wait"]).exits(40).says("we need it");
    assert!(site.at("machine").exists());
    world.staith(&["env", "approve", "qa"]).exits(64).says("no plan");
}

#[test]
fn a_killed_deployer_forgets_nothing_and_nothing_runs_twice() {
    let ephemeral = format!("{BY_COMMANDS}time-to-live = \"4h\"\n");
    let site = Site::new(&ephemeral);
    let world = &site.world;
    fs::write(site.at("slow"), "").unwrap();
    let mut killed = world.start(&["env", "provision", "qa"]);
    wait::until("the machine is being made", || site.at("waits").exists().then_some(()));
    kill_process(Pid::from_child(&killed), Signal::KILL).unwrap();
    killed.wait().unwrap();
    // Its program still runs, and has the environment for itself.
    world.staith(&["env", "provision", "qa"]).exits(30).says("makes or takes down the machines");
    world.staith(&["env", "sweep"]).exits(0).never_says("taken down");
    fs::write(site.at("go"), "").unwrap();
    let free = || {
        let said = world.staith(&["env", "provision", "qa", "--plan-only"]);
        (said.code == Some(0)).then_some(said)
    };
    wait::until("the program has ended", free).says("was not finished");
    // Whoever made it is dead, and it is not to be kept: every command tells, and a sweep takes it down.
    world.staith(&["gc"]).exits(0).says("staith env sweep");
    world.staith(&["env", "sweep"]).exits(0).says("bell/qa is taken down").says("left half made");
    assert!(!site.at("machine").exists());
    assert_eq!(site.calls().last().unwrap(), "destroy");
    world.staith(&["env", "sweep"]).exits(0).says("no machines are due").never_says("bell");
    // What is to be kept is gone on with.
    site.describe(BY_COMMANDS);
    fs::remove_file(site.at("go")).unwrap();
    fs::remove_file(site.at("waits")).unwrap();
    let mut killed = world.start(&["env", "provision", "qa"]);
    wait::until("the machine is being made", || site.at("waits").exists().then_some(()));
    kill_process(Pid::from_child(&killed), Signal::KILL).unwrap();
    killed.wait().unwrap();
    fs::write(site.at("go"), "").unwrap();
    wait::until("the program has ended", || {
        let said = world.staith(&["env", "provision", "qa"]);
        (said.code == Some(0)).then_some(said)
    });
    world.staith(&["env", "sweep"]).exits(0).never_says("bell");
    assert!(site.at("machine").exists());
    world.staith(&["env", "destroy", "qa"]).exits(0);
}

#[test]
fn what_is_past_its_time_is_taken_down_without_the_project_and_a_failure_is_tried_again() {
    let site = Site::new(&format!("{BY_COMMANDS}time-to-live = \"1s\"\n"));
    let world = &site.world;
    world.staith(&["env", "provision", "qa"]).exits(0).says("qa is made, for");
    // The project that made it is gone.
    fs::remove_dir_all(world.project().join("infra")).unwrap();
    fs::remove_file(world.project().join("runner.toml")).unwrap();
    fs::write(site.at("stuck"), "").unwrap();
    let failed = wait::until("its time is up", || {
        let swept = world.staith(&["env", "sweep"]);
        (swept.code != Some(0)).then_some(swept)
    });
    let failed =
        failed.exits(30).says("bell/qa is still there").says("the cloud says no to ***").never_says(TOKEN);
    failed.says("do: what was done so far stays");
    world.staith(&["gc"]).exits(0).says("bell/qa is still there");
    fs::remove_file(site.at("stuck")).unwrap();
    world.staith(&["env", "sweep", "--json"]).exits(0).says("\"gone\":true");
    assert!(!site.at("machine").exists());
    assert_eq!(site.calls(), ["create SIZE in bell/qa", "destroy", "destroy"]);
    world.staith(&["gc"]).exits(0).never_says("bell");
}

/// Answers as Terraform documents it, and writes down how it was asked.
const TERRAFORM: &str = r#"#!/bin/sh
echo "$1 $2" >> "$PLACE/calls"
for last; do :; done
case "$1" in
init) echo "Terraform has been successfully initialized!" ;;
plan)
    for word; do case "$word" in -out=*) out=${word#-out=} ;; -destroy) destroy=1 ;; esac; done
    if [ "$destroy" ]; then
        echo destroy > "$out"
        [ -e terraform.tfstate ] && exit 2 || exit 0
    fi
    cp main.tf "$out"
    cmp -s main.tf terraform.tfstate && exit 0
    exit 2 ;;
show) echo "Terraform will perform the following actions:"; cat "$last" ;;
apply)
    if [ "$(cat "$last")" = destroy ]; then rm terraform.tfstate; else cp "$last" terraform.tfstate; fi
    echo "Apply complete! with $TF_VAR_CLOUD_TOKEN" ;;
output) echo '{"targets": {"sensitive": false, "type": ["list", "string"], "value": [{"host": "192.0.2.7", "name": "web1"}]}}' ;;
esac
"#;

const BY_TERRAFORM: &str = r#"
[environments.qa]
folder = "PLACE/qa"
service = { restart = ["./ring"] }

[environments.qa.provision]
kind = "terraform"
program = "./terraform"
folder = "infra"
variables = { PLACE = "PLACE" }
secrets = { CLOUD_TOKEN = "cloud/token" }
"#;

#[test]
fn terraform_applies_exactly_the_plan_that_was_looked_at() {
    let site = Site::new(BY_TERRAFORM);
    let world = &site.world;
    site.program("terraform", TERRAFORM);
    world.write("infra/main.tf", "one machine\n");
    let shown = world.staith(&["env", "provision", "qa", "--plan-only"]).exits(0).says("one machine");
    let plan = plan_of(&shown);
    assert_eq!(site.calls(), ["init -input=false", "plan -input=false", "show -no-color"]);
    // The plan that was shown is kept: nothing is planned again, so that a yes to it counts.
    fs::write(site.work("qa").join("plan"), "ten machines\n").unwrap();
    world.staith(&["env", "provision", "qa", "--plan", &plan]).exits(41).says("other bytes");
    assert_eq!(site.calls().len(), 3, "nothing is applied");
    world
        .staith(&["env", "provision", "qa"])
        .exits(0)
        .says("qa is made: web1")
        .says("with ***")
        .never_says(TOKEN);
    assert_eq!(site.calls()[6..], ["apply -input=false", "output -no-color"]);
    assert_eq!(fs::read_to_string(site.work("qa").join("work/terraform.tfstate")).unwrap(), "one machine\n");
    assert!(!site.work("qa").join("plan").exists(), "a saved plan holds values; it goes when it is applied");
    // The machine is one of the environment's.
    world.staith(&["env", "provision", "qa"]).exits(0).says("nothing has to be done");
    assert_eq!(site.calls().iter().filter(|call| call.starts_with("apply")).count(), 1);
    // State that lies in the project would be a second truth.
    world.write("infra/terraform.tfstate", "{}");
    world.staith(&["env", "provision", "qa"]).exits(20).says("terraform.tfstate");
    fs::remove_file(world.project().join("infra/terraform.tfstate")).unwrap();
    world.staith(&["env", "destroy", "qa"]).exits(0).says("taken down");
    world.staith(&["audit", "verify"]).exits(0);
}

/// Answers as Azure's reference documents it.
const AZ: &str = r#"#!/bin/sh
echo "$1 $2 $3" >> "$PLACE/calls"
case "$1 $2 $3" in
"bicep build "*) echo '{"parameters": {"password": {"type": "securestring"}, "count": {"type": "int"}}, "resources": []}' > "$6" ;;
"deployment group what-if")
    for word; do case "$word" in @*) grep -q "s3cr3t" "${word#@}" || exit 9; grep -q '"count":{"value":2}' "${word#@}" || exit 8 ;; esac; done
    printf '{"status": "Succeeded", "changes": [{"changeType": "Create", "resourceId": "/subscriptions/s/vm%s"}]}' "$(cat "$PLACE/azure" 2>/dev/null)" ;;
"stack group create") echo "{}" ;;
"stack group show") echo '{"targets": {"type": "Array", "value": [{"host": "192.0.2.8", "name": "web8"}]}}' ;;
"stack group delete") ;;
*) exit 7 ;;
esac
"#;

#[test]
fn azure_is_asked_again_before_a_template_is_applied() {
    let site = Site::new(
        r#"
[environments.qa]
folder = "PLACE/qa"
service = { restart = ["./ring"] }

[environments.qa.provision]
kind = "bicep"
program = "./az"
folder = "infra"
template = "main.bicep"
group = "bell-qa"
stack = "bell-qa"
variables = { PLACE = "PLACE", count = "2" }
secrets = { password = "cloud/token" }
"#,
    );
    let world = &site.world;
    site.program("az", AZ);
    world.write("infra/main.bicep", "param count int\n");
    world.staith(&["env", "provision", "qa", "--plan-only"]).exits(0).says("Create /subscriptions/s/vm");
    // Somebody changed something in Azure since.
    fs::write(site.at("azure"), "9").unwrap();
    world.staith(&["env", "provision", "qa"]).exits(41).says("something else would be done now");
    assert!(!site.calls().contains(&"stack group create".to_owned()));
    world.staith(&["env", "provision", "qa"]).exits(0).says("qa is made: web8").never_says(TOKEN);
    assert!(!site.work("qa").join("values.json").exists(), "a file with secrets goes when it is used");
    world.staith(&["env", "destroy", "qa"]).exits(0);
    assert_eq!(site.calls().last().unwrap(), "stack group delete");
}

#[test]
fn cloud_init_is_told_what_to_do_and_awaited() {
    let site = Site::new(&format!(
        "{BY_COMMANDS}cloud-init = {{ template = \"user-data.yaml\", machines = [\"here\"], wait = \"30s\" }}\n"
    ));
    let template = "#cloud-config\nhostname: \"#{STAITH_TARGET}#\"\nssh_authorized_keys:\n  - #{KEY}#\n";
    site.world.write("infra/user-data.yaml", template);
    site.world.edit("runner.toml", |text| {
        text.replace("variables = {", "variables = { KEY = \"ssh-ed25519 AAAA anna@example\",")
    });
    let bin = site.at("bin");
    fs::create_dir(&bin).unwrap();
    let fake = |text: &str| {
        fs::write(bin.join("cloud-init"), format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(bin.join("cloud-init"), fs::Permissions::from_mode(0o755)).unwrap();
    };
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let Site { world, place } = site;
    let site = Site { world: world.with_env("PATH", &path), place };
    let told = site.world.staith(&["env", "cloud-init", "qa", "web1"]).exits(0);
    assert_eq!(
        told.out,
        "#cloud-config\nhostname: \"web1\"\nssh_authorized_keys:\n  - ssh-ed25519 AAAA anna@example\n"
    );
    fake(
        r#"[ "$*" = "status --wait --format json" ] || exit 9
echo '{"status": "error", "detail": "", "errors": ["runcmd failed: no such package"]}'; exit 1"#,
    );
    let failed = site.world.staith(&["env", "provision", "qa"]).exits(30);
    failed.says("machine `here` is not ready").says("no such package");
    assert!(
        fs::read_to_string(site.work("qa").join("user-data/here")).unwrap().contains("hostname: \"here\"")
    );
    // What is not ready gets no release.
    site.world.commit("one");
    site.world.staith(&["run"]).exits(0);
    site.world.staith(&["release", "create"]).exits(0);
    site.world.staith(&["release", "deploy", "--to", "qa"]).exits(30).says("not ready");
    assert!(!site.at("qa").exists());
    fake(r#"echo '{"status": "done", "detail": "", "errors": []}'"#);
    site.world.staith(&["release", "deploy", "--to", "qa"]).exits(0).says("serves in qa");
    // Once it is known which machines there are, any other name is a mistake.
    site.world
        .staith(&["env", "cloud-init", "qa", "her"])
        .exits(64)
        .says("there are here")
        .says("did you mean `here`");
}

/// The real program, with what is built into it: no provider is fetched.
#[test]
#[ignore = "needs Terraform, which no registry of packages has; tests/run gives this where it is installed"]
fn terraform_itself_makes_and_takes_down() {
    let site = Site::new(&BY_TERRAFORM.replace("program = \"./terraform\"\n", ""));
    let world = site.world.with_env("TF_CLI_CONFIG_FILE", "");
    let site = Site { world, place: site.place };
    let world = &site.world;
    let infra = |count: u32| {
        let text = format!(
            "variable \"CLOUD_TOKEN\" {{\n  sensitive = true\n}}\nresource \"terraform_data\" \"vm\" {{\n  count = {count}\n  \
             input = \"vm${{count.index}}\"\n  provisioner \"local-exec\" {{\n    command = \"echo made ${{self.input}} >> $PLACE/calls\"\n  }}\n}}\n\
             output \"targets\" {{\n  value = [for vm in terraform_data.vm : {{ host = \"192.0.2.${{index(terraform_data.vm, vm) + 1}}\", name = vm.output }}]\n}}\n"
        );
        world.write("infra/main.tf", &text);
    };
    infra(2);
    let shown = world.staith(&["env", "provision", "qa", "--plan-only"]).exits(0).says("Plan: 2 to add");
    let plan = plan_of(&shown);
    world.staith(&["env", "provision", "qa", "--plan", &plan]).exits(0).says("qa is made: vm0, vm1");
    let mut made = site.calls();
    made.sort();
    assert_eq!(made, ["made vm0", "made vm1"]);
    world.staith(&["env", "provision", "qa"]).exits(0).says("nothing has to be done");
    // One more, and those that are there stay.
    infra(3);
    world
        .staith(&["env", "provision", "qa", "--plan-only"])
        .exits(0)
        .says("Plan: 1 to add, 0 to change, 0 to destroy");
    let mut bytes = fs::read(site.work("qa").join("plan")).unwrap();
    bytes.push(0);
    fs::write(site.work("qa").join("plan"), bytes).unwrap();
    world.staith(&["env", "provision", "qa"]).exits(41).says("other bytes");
    world.staith(&["env", "provision", "qa"]).exits(0).says("vm0, vm1, vm2");
    assert_eq!(site.calls().len(), 3);
    world.staith(&["env", "destroy", "qa"]).exits(0).says("3 to destroy").says("taken down");
}

#[test]
fn a_timer_of_systemd_sweeps_and_a_unit_that_was_changed_is_not_replaced() {
    let world = World::new();
    let units = world.scratch().join("units");
    let to = units.display().to_string();
    let install = ["env", "sweep", "--install", "--to", to.as_str()];
    world.staith(&["env", "sweep", "--to", &to]).exits(64);
    world.staith(&install).exits(64).says("staith-sweep.service is not written");
    fs::create_dir(&units).unwrap();
    world.staith(&install).exits(0).says("nothing is enabled");
    let [service, timer] = ["service", "timer"].map(|end| units.join(format!("staith-sweep.{end}")));
    let text = fs::read_to_string(&service).unwrap();
    assert!(text.contains(&format!("\nEnvironment=\"STAITH_HOME={}\"\n", world.home().display())), "{text}");
    assert!(text.contains("/staith\" env sweep\n"), "{text}");
    // Whether systemd understands it, systemd says.
    match Command::new("systemd-analyze").args(["verify", "--man=no"]).args([&service, &timer]).output() {
        Ok(said) => assert!(said.status.success() && said.stderr.is_empty(), "{said:?}"),
        Err(missing) => println!("nobody reads the units here: systemd-analyze: {missing}"),
    }
    let said = world.staith(&[&install[..], &["--json"]].concat()).exits(0).values().remove(0);
    assert_eq!((&said["enabled"], said["units"].as_array().unwrap().len()), (&false.into(), 2));
    assert_eq!(fs::read_to_string(&service).unwrap(), text);
    fs::write(&timer, "[Timer]\nOnCalendar=hourly\n").unwrap();
    world.staith(&install).exits(64).says("staith-sweep.timer is there, and says something else");
    assert_eq!(fs::read_to_string(&timer).unwrap(), "[Timer]\nOnCalendar=hourly\n");
}

/// Stands in for systemd, which is not everywhere that this is tested: writes down what it is told.
const SYSTEMCTL: &str = r#"#!/bin/sh
echo "$*" >> "$STAITH_HOME/told"
[ ! -e "$STAITH_HOME/refuses" ] || { echo "Failed to connect to bus" >&2; exit 1; }
"#;

#[test]
fn an_ordinary_account_has_its_own_systemd_begin() {
    let world = World::new().by_an_ordinary_user();
    let programs = world.scratch().join("programs");
    fs::create_dir(&programs).unwrap();
    let systemctl = programs.join("systemctl");
    fs::write(&systemctl, SYSTEMCTL).unwrap();
    fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
    let (home, path) = (world.home(), format!("{}:/usr/bin:/bin", programs.display()));
    let config = home.join("config");
    let world = world.with_env("PATH", &path).with_env("XDG_CONFIG_HOME", &config.display().to_string());
    let refuses = home.join("refuses");
    fs::create_dir_all(&home).unwrap();
    fs::write(&refuses, "").unwrap();
    let failed = world.staith(&["env", "sweep", "--install"]).exits(30);
    failed.says("`systemctl --user daemon-reload` failed").says("Failed to connect to bus");
    fs::remove_file(&refuses).unwrap();
    world.staith(&["env", "sweep", "--install"]).exits(0).says("enable-linger").says("every five minutes");
    let service = fs::read_to_string(config.join("systemd/user/staith-sweep.service")).unwrap();
    assert!(service.contains(&format!("Environment=\"PATH={path}\"\n")), "{service}");
    let told = fs::read_to_string(home.join("told")).unwrap();
    let enabled = "--user daemon-reload\n--user enable --now staith-sweep.timer\n";
    assert_eq!(told, format!("--user daemon-reload\n{enabled}"));
}
