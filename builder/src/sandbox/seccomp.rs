//! Which system calls a step may make: an allow-list, after the profile that Docker ships, made stricter.
//!
//! Two filters, because one can answer in two ways only and three answers are needed. The first lets the list through
//! and says "no such system call" (ENOSYS) to everything else, so that programs built for newer kernels fall back. The
//! second says "not permitted" (EPERM) to what is known and refused, because programs and people understand that better.
//! Where both refuse, the kernel takes the answer of the filter that was installed last.
//!
//! Programs for another architecture than the host's (32-bit, x32) are ended or get ENOSYS: their numbers mean other calls.

mod calls;
pub(crate) mod profile;

use std::{collections::BTreeMap, io};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};

/// Both filters, as the bytes that the kernel takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filters {
    /// Allows the list, ENOSYS for the rest.
    pub(super) allow: Vec<u8>,
    /// EPERM for what is known and refused.
    pub(super) refuse: Vec<u8>,
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Compiles the filters. Takes about a millisecond, so the engine does it once and not each sandbox.
pub(crate) fn compile() -> Result<Filters, seccompiler::BackendError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let no_such_call = SeccompAction::Errno(libc::ENOSYS as u32);
    let not_permitted = SeccompAction::Errno(libc::EPERM as u32);
    let allow = SeccompFilter::new(allowed()?, no_such_call, SeccompAction::Allow, arch)?;
    let refuse = SeccompFilter::new(refused()?, SeccompAction::Allow, not_permitted, arch)?;
    Ok(Filters { allow: to_bytes(&allow.try_into()?), refuse: to_bytes(&refuse.try_into()?) })
}

/// Puts this process, for good, under both filters. It must have `no_new_privs` set.
pub(super) fn install(filters: &Filters) -> io::Result<()> {
    for filter in [&filters.allow, &filters.refuse] {
        seccompiler::apply_filter(&from_bytes(filter)).map_err(io::Error::other)?;
    }
    Ok(())
}

fn allowed() -> Result<Rules, seccompiler::BackendError> {
    let mut rules: Rules = calls::ALLOWED.iter().map(|call| (call.number, Vec::new())).collect();
    #[cfg(target_arch = "x86_64")]
    rules.extend(calls::ALLOWED_ON_X86_64.iter().map(|call| (call.number, Vec::new())));
    // What the second filter allows only in part has to pass the first.
    rules.extend(calls::ALLOWED_IN_PART.iter().map(|call| (call.number, Vec::new())));
    // Its flags are behind a pointer where no filter can see them. The C library then uses `clone`.
    rules.remove(&libc::SYS_clone3);
    Ok(rules)
}

fn refused() -> Result<Rules, seccompiler::BackendError> {
    let mut rules: Rules = calls::REFUSED.iter().map(|call| (call.number, Vec::new())).collect();
    #[cfg(target_arch = "x86_64")]
    rules.extend(calls::REFUSED_ON_X86_64.iter().map(|call| (call.number, Vec::new())));
    rules.insert(libc::SYS_clone, any_bit(0, NAMESPACE_FLAGS)?);
    rules.insert(libc::SYS_socket, socket_families()?);
    rules.insert(libc::SYS_socketpair, vec![none_of(0, &[libc::AF_UNIX as u64])?]);
    rules.insert(libc::SYS_ioctl, any_of(1, &TERMINAL_TRICKS)?);
    rules.insert(libc::SYS_personality, vec![none_of(0, &PERSONALITIES)?]);
    // A limit of no processor time at all would be a way to kill the sandbox's first process.
    rules.insert(libc::SYS_prlimit64, any_of(0, &[1])?);
    rules.insert(libc::SYS_semget, any_bit(1, MANY_SEMAPHORES)?);
    rules.extend(set_user_id()?);
    Ok(rules)
}

/// Making files that would run as the step's user for whoever starts them. They mean nothing in the sandbox and are
/// stripped from layers; this is so that there is none in between. `openat2` has its mode behind a pointer.
fn set_user_id() -> Result<Rules, seccompiler::BackendError> {
    const BITS: u64 = (libc::S_ISUID | libc::S_ISGID) as u64;
    let mut rules = Rules::new();
    // The number of the argument that is the mode.
    for (call, mode) in
        [(libc::SYS_fchmod, 1), (libc::SYS_fchmodat, 2), (calls::SYS_fchmodat2, 2), (libc::SYS_mknodat, 2)]
    {
        rules.insert(call, any_bit(mode, BITS)?);
    }
    rules.insert(libc::SYS_openat, creating_with(2, 3, BITS)?);
    #[cfg(target_arch = "x86_64")]
    {
        for call in [libc::SYS_chmod, libc::SYS_mknod, libc::SYS_creat] {
            rules.insert(call, any_bit(1, BITS)?);
        }
        rules.insert(libc::SYS_open, creating_with(1, 2, BITS)?);
    }
    Ok(rules)
}

/// Match when a file is made with one of the bits. Without the flags that make one, the mode may hold anything.
fn creating_with(flags: u8, mode: u8, bits: u64) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    // O_CREAT, and of O_TMPFILE the bit that it shares with no other flag.
    const MAKING: [u64; 2] = [0o100, 0o20_000_000];
    let mut rules = Vec::new();
    for making in MAKING {
        for bit in (0..32).map(|shift| 1 << shift).filter(|bit| bits & bit != 0) {
            rules.push(SeccompRule::new(vec![
                condition(flags, SeccompCmpOp::MaskedEq(making), making)?,
                condition(mode, SeccompCmpOp::MaskedEq(bit), bit)?,
            ])?);
        }
    }
    Ok(rules)
}

/// The bits of clone's flags that ask for a new namespace.
const NAMESPACE_FLAGS: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u64
    | 0x80; // CLONE_NEWTIME

/// A set of more than 255 semaphores. Their memory is held against no process; kernels allow 32000 sets of 32000, which are
/// sixty gibibytes, and allowed 250 in a set until 3.19.
const MANY_SEMAPHORES: u64 = 0xffff_ff00;

/// TIOCSTI, TIOCLINUX and TIOCCONS: typing into a terminal, and taking its screen or the console's messages. Spelled out
/// because C libraries disagree on their type.
const TERMINAL_TRICKS: [u64; 3] = [0x5412, 0x541c, 0x541d];

/// Linux as it is, with 32-bit addresses, with the layout not randomised (debuggers, reproducible builds), and "just ask".
const PERSONALITIES: [u64; 5] = [0, 0x0008, 0x0002_0000, 0x0004_0000, 0xffff_ffff];

fn socket_families() -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let families =
        [libc::AF_UNIX as u64, libc::AF_INET as u64, libc::AF_INET6 as u64, libc::AF_NETLINK as u64];
    let other_family = none_of(0, &families)?;
    // Programs list interfaces with NETLINK_ROUTE; the other protocols only widen what the kernel exposes.
    let other_netlink = SeccompRule::new(vec![
        condition(0, SeccompCmpOp::Eq, libc::AF_NETLINK as u64)?,
        condition(2, SeccompCmpOp::Ne, libc::NETLINK_ROUTE as u64)?,
    ])?;
    // Raw sockets need a privilege that a step lacks; refusing them here as well costs nothing.
    let raw = |family: libc::c_int| {
        SeccompRule::new(vec![
            condition(0, SeccompCmpOp::Eq, family as u64)?,
            condition(1, SeccompCmpOp::MaskedEq(0xf), libc::SOCK_RAW as u64)?,
        ])
    };
    // Multipath TCP is much young code in the kernel that no build needs; programs fall back to TCP.
    let multipath = |family: libc::c_int| {
        SeccompRule::new(vec![
            condition(0, SeccompCmpOp::Eq, family as u64)?,
            condition(2, SeccompCmpOp::Eq, libc::IPPROTO_MPTCP as u64)?,
        ])
    };
    Ok(vec![
        other_family,
        other_netlink,
        raw(libc::AF_INET)?,
        raw(libc::AF_INET6)?,
        multipath(libc::AF_INET)?,
        multipath(libc::AF_INET6)?,
    ])
}

fn condition(
    argument: u8,
    compare: SeccompCmpOp,
    value: u64,
) -> Result<SeccompCondition, seccompiler::BackendError> {
    // All arguments looked at are C ints: the upper half of the register is not looked at by the kernel either.
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, compare, value)
}

/// Matches when the argument is none of the values.
fn none_of(argument: u8, values: &[u64]) -> Result<SeccompRule, seccompiler::BackendError> {
    let conditions = values.iter().map(|value| condition(argument, SeccompCmpOp::Ne, *value));
    SeccompRule::new(conditions.collect::<Result<_, _>>()?)
}

/// Match when the argument is one of the values.
fn any_of(argument: u8, values: &[u64]) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let rule = |value: &u64| SeccompRule::new(vec![condition(argument, SeccompCmpOp::Eq, *value)?]);
    values.iter().map(rule).collect()
}

/// Match when the argument has one of the bits.
fn any_bit(argument: u8, bits: u64) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let rule = |bit: u64| SeccompRule::new(vec![condition(argument, SeccompCmpOp::MaskedEq(bit), bit)?]);
    (0..32).map(|shift| 1 << shift).filter(|bit| bits & bit != 0).map(rule).collect()
}

fn to_bytes(program: &BpfProgram) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(program.len() * 8);
    for instruction in program {
        bytes.extend_from_slice(&instruction.code.to_ne_bytes());
        bytes.extend_from_slice(&[instruction.jt, instruction.jf]);
        bytes.extend_from_slice(&instruction.k.to_ne_bytes());
    }
    bytes
}

fn from_bytes(bytes: &[u8]) -> BpfProgram {
    let instruction = |part: &[u8; 8]| sock_filter {
        code: u16::from_ne_bytes([part[0], part[1]]),
        jt: part[2],
        jf: part[3],
        k: u32::from_ne_bytes([part[4], part[5], part[6], part[7]]),
    };
    bytes.as_chunks::<8>().0.iter().map(instruction).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_fit_the_kernel_and_survive_their_encoding() {
        let filters = compile().unwrap();
        for filter in [&filters.allow, &filters.refuse] {
            assert!(filter.len() / 8 <= 4096, "{} instructions", filter.len() / 8);
            assert_eq!(&to_bytes(&from_bytes(filter)), filter);
        }
    }

    #[test]
    fn nothing_is_both_allowed_and_refused() {
        let allowed = allowed().unwrap();
        for (call, rules) in refused().unwrap() {
            assert!(!rules.is_empty() || !allowed.contains_key(&call), "{call}");
        }
        assert!(!allowed.contains_key(&libc::SYS_clone3));
    }
}
