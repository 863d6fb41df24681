//! Rows 19 to 21, 53, 54: sockets and what they lead to.

use super::row::{
    NO_FAMILY, Outside,
    Room::{Machine, Namespaces},
    Row, python, state,
};

const REFUSED: &[&str] = &["EPERM"];
const NO_WAY: &[&str] = &["ENETUNREACH"];

/// Ways to say this machine, which are refused, or mean nothing (502), and what only machines beside it should reach.
const FORBIDDEN: &str = "'127.0.0.1:{port}', '127.1:{port}', '2130706433:{port}', '0x7f000001:{port}', '0177.0.0.1:{port}', \
    '0.0.0.0:{port}', 'localhost:{port}', 'localhost.:{port}', 'LOCALHOST:{port}', '[::1]:{port}', '[::]:{port}', \
    '[::ffff:127.0.0.1]:{port}', '[::ffff:7f00:1]:{port}', '[::127.0.0.1]:{port}', '[64:ff9b::7f00:1]:{port}', \
    '[2002:7f00:1::]:{port}'";
const METADATA: &str = "'169.254.169.254:80', '2852039166:80', '0xa9fea9fe:80', '0251.0376.0251.0376:80', \
    '169.254.43518:80', '[::ffff:169.254.169.254]:80', '[fd00:ec2::254]:80', '[fe80::1]:80', '168.63.129.16:80', \
    '100.100.100.200:80', '169.254.170.2:80', '224.0.0.1:80', '255.255.255.255:80'";

pub fn rows() -> Vec<Row> {
    let family = |number, what, expression| {
        let row = python(number, what, expression, NO_FAMILY);
        Row {
            outside: Outside::No("many kernels do not have it; all families are counted in another row"),
            ..row
        }
    };
    let mut rows = vec![
        python(19, "AF_PACKET", "socket.socket(17, socket.SOCK_RAW)", NO_FAMILY).outside(Namespaces),
        python(19, "raw ICMP", "socket.socket(2, socket.SOCK_RAW, 1)", REFUSED).outside(Namespaces),
        python(19, "raw ICMPv6", "socket.socket(10, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 58)", REFUSED)
            .outside(Namespaces),
        python(19, "listening to all of an interface", "interface(0x1 | 0x100)", REFUSED).outside(Namespaces),
        family(20, "AF_VSOCK", "socket.socket(40, 1)"),
        family(20, "AF_ALG", "socket.socket(38, 5)"),
        family(20, "AF_KEY", "socket.socket(15, 3, 2)"),
        family(20, "AF_RDS", "socket.socket(21, 5)"),
        family(20, "AF_TIPC", "socket.socket(30, 5)"),
        family(20, "AF_XDP", "socket.socket(44, 3)"),
        family(20, "AF_BLUETOOTH", "socket.socket(31, 3)"),
        python(20, "all families that there are", "families()", &["[1, 2, 10, 16]", "[1, 2, 16]"]),
        family(20, "multipath TCP", "socket.socket(2, 1, 262)"),
        family(20, "multipath TCP of IPv6", "socket.socket(10, 1 | socket.SOCK_CLOEXEC, 262)"),
        python(21, "tables of the network", "socket.socket(16, 3, 12)", REFUSED),
        python(21, "all that can be asked over netlink", "netlinks()", &["[0]"]),
    ];
    rows.extend(egress());
    rows
}

fn egress() -> Vec<Row> {
    let forbidden = FORBIDDEN.replace("{port}", "' + PORT + '");
    vec![
        python(
            53,
            "a server of this machine",
            "connect('127.0.0.1', int(PORT))",
            &["ECONNREFUSED", "ENETUNREACH"],
        ),
        python(
            53,
            "a server of this machine by IPv6",
            "connect('::ffff:127.0.0.1', int(PORT))",
            &["ECONNREFUSED", "ENETUNREACH"],
        ),
        python(53, "any address but loopback", "connect('192.0.2.1', 80)", NO_WAY)
            .instead(Machine, "connect('127.0.0.1', int(PORT))"),
        python(53, "the cloud's metadata", "connect('169.254.169.254', 80)", NO_WAY)
            .instead(Machine, "connect('127.0.0.1', int(PORT))"),
        python(
            53,
            "this machine, through the proxy",
            format!("answered_otherwise([{forbidden}], ('403', '502'))"),
            &["{}", "ECONNREFUSED"],
        )
        .instead(Machine, "connect('127.0.0.1', int(PORT))"),
        python(
            53,
            "the cloud's metadata, through the proxy",
            format!("answered_otherwise([{METADATA}], ('403', '502'))"),
            &["{}", "ECONNREFUSED"],
        )
        .instead(Machine, "connect('127.0.0.1', int(PORT))"),
        state(
            53,
            "interfaces",
            "[line.split(':')[0].strip() for line in list(open('/proc/net/dev'))[2:]]",
            &["['lo']"],
        ),
        python(54, "a name server of the internet", "datagram('192.0.2.53', 53)", NO_WAY)
            .instead(Machine, "datagram('127.0.0.1', int(PORT))"),
        python(54, "a name server of this machine", "datagram('127.0.0.1', 53)", &["ECONNREFUSED"])
            .instead(Machine, "datagram('127.0.0.1', int(PORT))"),
        python(54, "names of the internet", "len(socket.getaddrinfo('canary.example', 80)) > 0", NO_NAME)
            .instead(Machine, "len(socket.getaddrinfo('localhost', 80)) > 0"),
    ]
}

const NO_NAME: &[&str] = &[
    "[Errno -3] Temporary failure in name resolution",
    "[Errno -2] Name or service not known",
    "[Errno -5] No address associated with hostname",
];
