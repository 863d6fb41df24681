use super::*;

fn around() -> Surroundings {
    Surroundings {
        home: "/home/me".into(),
        user: "me".into(),
        uid: 1000,
        machine: "laptop.example.org".into(),
        variables: [("SSH_AUTH_SOCK", "/run/agent"), ("KEYS", "/keys")]
            .map(|(k, v)| (k.into(), v.into()))
            .into(),
    }
}

fn parse(printed: &str) -> Result<Settings, SshError> {
    Settings::parse(printed, &Destination::of("web"), &around())
}

#[test]
fn what_openssh_prints_is_read() {
    let settings = parse(
        "host web\nuser deploy\nhostname 10.0.0.7\nport 2222\nidentitiesonly yes\nserveraliveinterval 20\n\
         serveralivecountmax 5\nidentityfile ~/.ssh/id_%r\nidentityfile ${KEYS}/%h-%n-%p\ncertificatefile /keys/c\n\
         userknownhostsfile /a /b\nglobalknownhostsfile /etc/known\nproxyjump a@b:3,c\nconnecttimeout none\n\
         ciphers aes256-ctr,aes128-ctr\nhostkeyalias WEB\naddressfamily inet6\n\
         controlmaster auto\ncontrolpath /run/me/%C\ncontrolpersist 600\n",
    )
    .unwrap();
    assert_eq!(
        (settings.host_name.as_str(), settings.port, settings.user.as_str()),
        ("10.0.0.7", 2222, "deploy")
    );
    let files = ["/home/me/.ssh/id_deploy", "/keys/10.0.0.7-web-2222"].map(PathBuf::from);
    assert_eq!(settings.identity_files, files);
    assert_eq!(settings.certificate_files, [PathBuf::from("/keys/c")]);
    assert_eq!(settings.known_hosts, ["/a", "/b", "/etc/known"].map(PathBuf::from));
    assert_eq!(settings.jumps.iter().map(Destination::describe).collect::<Vec<_>>(), ["a@b:3", "c"]);
    assert_eq!((settings.connect_timeout, settings.alive_count), (None, 5));
    assert_eq!(settings.alive_interval, Some(Duration::from_secs(20)));
    assert_eq!(settings.algorithms.ciphers, ["aes256-ctr", "aes128-ctr"]);
    assert_eq!((settings.key_name().as_str(), settings.family), ("web", Some(6)));
    assert_eq!(settings.agent, Some("/run/agent".into()));
    assert!(settings.identities_only);
}

#[test]
fn agents_are_named_in_four_ways() {
    for (line, agent) in [
        ("identityagent none", None),
        ("identityagent SSH_AUTH_SOCK", Some("/run/agent")),
        ("identityagent ~/agent", Some("/home/me/agent")),
        ("identityagent $KEYS", Some("/keys")),
        ("identityagent ${KEYS}/a", Some("/keys/a")),
    ] {
        assert_eq!(parse(line).unwrap().agent, agent.map(PathBuf::from), "{line}");
    }
}

#[test]
fn what_cannot_be_filled_in_is_told() {
    for (line, told) in [
        ("identityfile /a/%Z", "%Z"),
        ("identityfile /a/%", "% "),
        ("certificatefile /a/${NOWHERE}", "NOWHERE"),
        ("certificatefile ${NOWHERE", "without its end"),
        ("proxycommand nc %Q", "%Q"),
        ("port 99999", "99999"),
        ("port many", "many"),
    ] {
        let error = parse(line).unwrap_err().to_string();
        assert!(error.contains(told), "{line}: {error}");
    }
    assert!(parse("proxyjump -oX").is_err());
}

#[test]
fn other_ports_have_other_names() {
    assert_eq!(parse("hostname Web.Example.ORG").unwrap().key_name(), "web.example.org");
    assert_eq!(parse("hostname web\nport 2222").unwrap().key_name(), "[web]:2222");
    assert_eq!(parse("proxycommand nc %h %p %% ${A}").unwrap().proxy_command.unwrap(), "nc web 22 % ${A}");
}

proptest::proptest! {
    #[test]
    fn nothing_printed_makes_it_panic(printed in "(hostname|port|identityfile|proxycommand|proxyjump)? ?[ -~\n%${}é]{0,60}") {
        let _ = parse(&printed);
    }
}
