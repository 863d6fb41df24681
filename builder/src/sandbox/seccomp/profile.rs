//! The same lists as a profile for container engines, in Docker's format.
//!
//! In a container they are two walls. The engine puts this profile around everything that the container runs, its first
//! process included; that process then puts the filters of [`super`] around the step. So a step gets the same answers as in
//! the built-in sandbox, and what is between the container's start and the step is confined as well.
//!
//! A profile can say for which arguments a call is allowed, not for which it is refused, so the refusals of
//! [`super::refused`] are turned round here. A test compares the two for all kinds of arguments.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{MANY_SEMAPHORES, NAMESPACE_FLAGS, PERSONALITIES, TERMINAL_TRICKS, calls};

/// Whether programs may make sockets of the internet's families.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Internet {
    /// They may. What they reach is decided by the network that they are in.
    Allowed,
    /// They may not: an interface that is up, as loopback is in any container, leads nowhere then.
    Refused,
}

/// The profile, as the JSON that engines take.
pub(crate) fn profile(internet: Internet) -> String {
    let rules = rules(internet);
    let mut free = Vec::new();
    let mut partly = Vec::new();
    for (name, conditions) in rules {
        match conditions {
            None => free.push(name),
            Some(conditions) => partly.extend(conditions.into_iter().map(|args| Entry {
                names: vec![name],
                action: "SCMP_ACT_ALLOW",
                args,
                errno: None,
            })),
        }
    }
    let mut entries = vec![Entry { names: free, action: "SCMP_ACT_ALLOW", args: Vec::new(), errno: None }];
    entries.extend(partly);
    entries.push(Entry {
        names: refused(),
        action: "SCMP_ACT_ERRNO",
        args: Vec::new(),
        errno: Some(libc::EPERM),
    });
    let profile = Profile {
        default_action: "SCMP_ACT_ERRNO",
        default_errno: libc::ENOSYS,
        architectures: [if cfg!(target_arch = "aarch64") { "SCMP_ARCH_AARCH64" } else { "SCMP_ARCH_X86_64" }],
        syscalls: entries,
    };
    // A value of texts and numbers has a JSON form.
    serde_json::to_string(&profile).unwrap_or_default()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: &'static str,
    #[serde(rename = "defaultErrnoRet")]
    default_errno: i32,
    architectures: [&'static str; 1],
    syscalls: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    names: Vec<&'static str>,
    action: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    args: Vec<Masked>,
    #[serde(rename = "errnoRet", skip_serializing_if = "Option::is_none")]
    errno: Option<i32>,
}

/// Holds when the bits of an argument that the mask has are those of the value. All comparisons are of this kind, and none
/// looks at the upper half of a register: the kernel does not either, so a bit there must not make a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Masked {
    index: u8,
    #[serde(rename = "value")]
    mask: u64,
    #[serde(rename = "valueTwo")]
    bits: u64,
    op: Op,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
enum Op {
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEqual,
}

const fn masked(index: u8, mask: u64, bits: u64) -> Masked {
    Masked { index, mask, bits, op: Op::MaskedEqual }
}

const WHOLE: u64 = u32::MAX as u64;

/// For each call `None` when it is allowed whatever its arguments are; else the sets of conditions of which one must hold.
type Rules = BTreeMap<&'static str, Option<Vec<Vec<Masked>>>>;

fn rules(internet: Internet) -> Rules {
    let mut rules: Rules = calls::ALLOWED.iter().map(|call| (call.name(), None)).collect();
    #[cfg(target_arch = "x86_64")]
    rules.extend(calls::ALLOWED_ON_X86_64.iter().map(|call| (call.name(), None)));
    let mut limit = |name, sets| rules.insert(name, Some(sets));
    limit("clone", vec![vec![masked(0, NAMESPACE_FLAGS, 0)]]);
    limit("socket", sockets(internet));
    limit("socketpair", vec![vec![masked(0, WHOLE, libc::AF_UNIX as u64)]]);
    limit("ioctl", all_but(1, &TERMINAL_TRICKS));
    limit("personality", PERSONALITIES.map(|value| vec![masked(0, WHOLE, value)]).to_vec());
    limit("prlimit64", all_but(0, &[1]));
    limit("semget", vec![vec![masked(1, MANY_SEMAPHORES, 0)]]);
    for (name, mode) in [("fchmod", 1), ("fchmodat", 2), ("fchmodat2", 2), ("mknodat", 2)] {
        limit(name, vec![vec![masked(mode, SET_ID, 0)]]);
    }
    limit("openat", not_making_with(2, 3));
    #[cfg(target_arch = "x86_64")]
    {
        for name in ["chmod", "mknod", "creat"] {
            limit(name, vec![vec![masked(1, SET_ID, 0)]]);
        }
        limit("open", not_making_with(1, 2));
    }
    rules
}

fn refused() -> Vec<&'static str> {
    let mut names: Vec<&str> = calls::REFUSED.iter().map(|call| call.name()).collect();
    #[cfg(target_arch = "x86_64")]
    names.extend(calls::REFUSED_ON_X86_64.iter().map(|call| call.name()));
    names
}

/// Set-user-id and set-group-id.
const SET_ID: u64 = (libc::S_ISUID | libc::S_ISGID) as u64;

/// Either no file is made, or none that sets a user or a group.
fn not_making_with(flags: u8, mode: u8) -> Vec<Vec<Masked>> {
    // O_CREAT, and of O_TMPFILE the bit that it shares with no other flag.
    const MAKING: u64 = 0o100 | 0o20_000_000;
    vec![vec![masked(flags, MAKING, 0)], vec![masked(mode, SET_ID, 0)]]
}

fn sockets(internet: Internet) -> Vec<Vec<Masked>> {
    let family = |family: libc::c_int| masked(0, WHOLE, family as u64);
    let mut sets = vec![
        vec![family(libc::AF_UNIX)],
        vec![family(libc::AF_NETLINK), masked(2, WHOLE, libc::NETLINK_ROUTE as u64)],
    ];
    if internet == Internet::Refused {
        return sets;
    }
    // Streams and datagrams, neither raw nor of multipath TCP.
    for address in [libc::AF_INET, libc::AF_INET6] {
        for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM] {
            for protocol in [
                0,
                libc::IPPROTO_TCP,
                libc::IPPROTO_UDP,
                libc::IPPROTO_UDPLITE,
                libc::IPPROTO_ICMP,
                libc::IPPROTO_ICMPV6,
            ] {
                sets.push(vec![
                    family(address),
                    masked(1, 0xf, kind as u64),
                    masked(2, WHOLE, protocol as u64),
                ]);
            }
        }
    }
    sets
}

/// Every value of 32 bits but these: a set for each way to leave the paths to them, bit by bit from the top.
fn all_but(index: u8, values: &[u64]) -> Vec<Vec<Masked>> {
    let mut sets = Vec::new();
    for bit in 0..32 {
        let (lowest, above) = (1_u64 << bit, WHOLE << (bit + 1) & WHOLE);
        for value in values {
            let bits = (value & above) | (!value & lowest);
            let mask = above | lowest;
            let leaves = values.iter().all(|other| other & mask != bits);
            let set = vec![masked(index, mask, bits)];
            if leaves && !sets.contains(&set) {
                sets.push(set);
            }
        }
    }
    sets
}

#[cfg(test)]
mod tests;
