//! Windows machines over a real ssh server, with something in the place of PowerShell that answers as it does.

use std::{fs, os::unix::fs::PermissionsExt as _};

use staith_model::WindowsRelease;
use staith_releaser::fleet::{
    machine::{Machine as _, MachineError},
    ssh::Destination,
    windows::{OverSsh, WindowsMachine},
};

use super::{server::World, tells};

/// Takes the command line apart as PowerShell does, compares the program that comes with the digest in it, and answers two requests.
const STAND_IN: &str = r#"#!/bin/sh
for encoded; do :; done
start=$(printf %s "$encoded" | base64 -d | tr -d '\000')
mark=${start##*\$from \'}
mark=${mark%%\'*}
IFS= read -r line
seen=$(printf %s "$line" | base64 -d | sha256sum | tr a-f A-F)
case $start in *"-ne '${seen%% *}'"*) ;; *) echo 'the program arrived damaged' >&2; exit 3;; esac
echo 'Microsoft Windows [Version 10.0]'
while IFS= read -r line; do
    case $line in
    *'"ask":"begin"'*) printf '%s({"say":"hello","protocol":1,"ver\r\nsion":"5.1"})%s\r\n' "$mark" "$mark";;
    *'"ask":"observe"'*) echo "$mark({\"say\":\"observed\",\"epoch\":7,\"releases\":[],\"current\":null,\"previous\":null,\"serving\":\"up\",\"unfinished\":null})$mark";;
    *) echo 'it ends' >&2; exit 5;;
    esac
done
"#;

fn machine(world: &World) -> WindowsMachine {
    let gets = WindowsRelease { site: Some("Shop".into()), ..WindowsRelease::default() };
    let by = OverSsh { destination: Destination::of("web"), client: world.client() };
    WindowsMachine::new("win1", "/srv/shop", gets, by)
}

fn with_programs(world: &World) -> String {
    let bin = world.path("bin");
    fs::create_dir(&bin).unwrap();
    format!("SetEnv PATH={}:/usr/bin:/bin", bin.display())
}

#[tokio::test]
async fn a_windows_machine_is_spoken_to_through_its_ssh_server() {
    let world = World::new();
    let environment = with_programs(&world);
    let program = world.path("bin").join("powershell.exe");
    fs::write(&program, STAND_IN).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let (server, _) = world.simple(&environment);
    let machine = machine(&world);
    assert_eq!(machine.observe().await.unwrap().epoch, 7);
    assert_eq!(machine.observe().await.unwrap().epoch, 7);
    // What ends in the middle says how, and the next call begins anew.
    let lost = machine.reach().await.unwrap_err();
    let MachineError::Lost { why, .. } = lost else { panic!("{lost}") };
    assert!(why.contains("exit code 5") && why.contains("it ends"), "{why}");
    assert_eq!(machine.observe().await.unwrap().epoch, 7);
    assert_eq!(server.let_in(), 1);
}

#[tokio::test]
async fn a_machine_without_powershell_is_told_to_be_none_of_windows() {
    let world = World::new();
    let environment = with_programs(&world);
    let (_server, _) = world.simple(&environment);
    let told = super::told(machine(&world).observe().await);
    tells!(told, "PowerShell did not start", "exit code 127", "this is no Windows machine");
}
