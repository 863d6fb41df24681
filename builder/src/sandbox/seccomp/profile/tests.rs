use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::sandbox::seccomp;

/// What the filters of the built-in sandbox answer to a call: a small machine for the instructions that they are made of.
fn built_in_allows(number: i64, arguments: [u64; 6]) -> bool {
    let filters = seccomp::compile().unwrap();
    [filters.allow, filters.refuse]
        .iter()
        .all(|filter| run(filter, number, arguments) == libc::SECCOMP_RET_ALLOW)
}

fn run(filter: &[u8], number: i64, arguments: [u64; 6]) -> u32 {
    let mut data = Vec::new();
    data.extend_from_slice(&(number as u32).to_ne_bytes());
    let arch: u32 = if cfg!(target_arch = "aarch64") { 0xc000_00b7 } else { 0xc000_003e };
    data.extend_from_slice(&arch.to_ne_bytes());
    data.extend_from_slice(&[0; 8]);
    arguments.iter().for_each(|argument| data.extend_from_slice(&argument.to_ne_bytes()));
    let (mut at, mut accumulator) = (0_usize, 0_u32);
    let program = seccomp::from_bytes(filter);
    loop {
        let step = &program[at];
        at += 1;
        let jump = |holds: bool| if holds { step.jt as usize } else { step.jf as usize };
        match u32::from(step.code) {
            // Load a word of the call.
            0x20 => {
                let word = &data[step.k as usize..step.k as usize + 4];
                accumulator = u32::from_ne_bytes(word.try_into().unwrap());
            }
            0x54 => accumulator &= step.k,
            0x05 => at += step.k as usize,
            0x15 => at += jump(accumulator == step.k),
            0x25 => at += jump(accumulator > step.k),
            0x35 => at += jump(accumulator >= step.k),
            0x06 => return step.k,
            other => panic!("an instruction {other:#x} that filters are not made of"),
        }
    }
}

fn profile_allows(internet: Internet, name: &str, arguments: [u64; 6]) -> bool {
    match rules(internet).get(name) {
        None => false,
        Some(None) => true,
        Some(Some(sets)) => sets.iter().any(|set| {
            set.iter()
                .all(|condition| arguments[usize::from(condition.index)] & condition.mask == condition.bits)
        }),
    }
}

fn numbers() -> BTreeMap<&'static str, i64> {
    let lists = [
        calls::ALLOWED,
        calls::ALLOWED_IN_PART,
        calls::ALLOWED_ON_X86_64,
        calls::REFUSED,
        calls::REFUSED_ON_X86_64,
    ];
    lists.into_iter().flatten().map(|call| (call.name(), call.number)).collect()
}

/// Values at which rules turn, and any other.
fn argument() -> impl Strategy<Value = u64> {
    let turning = vec![
        0,
        1,
        2,
        3,
        6,
        10,
        16,
        17,
        39,
        58,
        262,
        0x5411,
        0x5412,
        0x5413,
        0x541c,
        0x541d,
        0x541e,
        0o100,
        0o755,
        0o2000,
        0o4000,
        0o4755,
        0o6755,
        0o20_000_000,
        0o20_000_102,
        0x10_0000,
        0x1000_0000,
        0x0002_0000,
        0x0004_0000,
        0x0400_0000,
        0x80,
        0x8_0001,
        0x8_0003,
        0xffff_ffff,
        0x1_0000_5412,
        0x1_0000_0000,
    ];
    prop_oneof![3 => prop::sample::select(turning), 1 => any::<u64>(), 1 => any::<u32>().prop_map(u64::from)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn the_profile_allows_nothing_that_the_built_in_sandbox_refuses(
        name in prop::sample::select(numbers().into_keys().collect::<Vec<_>>()),
        arguments in prop::array::uniform6(argument()),
    ) {
        if profile_allows(Internet::Allowed, name, arguments) {
            prop_assert!(built_in_allows(numbers()[name], arguments), "{name} {arguments:x?}");
        }
        if profile_allows(Internet::Refused, name, arguments) {
            prop_assert!(profile_allows(Internet::Allowed, name, arguments), "{name} {arguments:x?}");
        }
    }

    #[test]
    fn and_it_refuses_nothing_else_but_odd_sockets(
        name in prop::sample::select(numbers().into_keys().filter(|name| *name != "socket").collect::<Vec<_>>()),
        arguments in prop::array::uniform6(argument()),
    ) {
        let (profile, built_in) =
            (profile_allows(Internet::Allowed, name, arguments), built_in_allows(numbers()[name], arguments));
        prop_assert_eq!(profile, built_in, "{} {:x?}", name, arguments);
    }

    #[test]
    fn all_but_some_is_all_but_those(values in prop::collection::vec(any::<u32>(), 1..5), probe in any::<u32>()) {
        let values: Vec<u64> = values.into_iter().map(u64::from).collect();
        let sets = all_but(0, &values);
        let allowed = |value: u64| sets.iter().any(|set| value & set[0].mask == set[0].bits);
        prop_assert_eq!(allowed(u64::from(probe)), !values.contains(&u64::from(probe)));
        for value in &values {
            prop_assert!(!allowed(*value));
            prop_assert_eq!(allowed(value ^ 1), !values.contains(&(value ^ 1)));
        }
    }
}

#[test]
fn ordinary_sockets_are_allowed_and_without_internet_none_of_its_families() {
    for family in [libc::AF_INET, libc::AF_INET6] {
        let arguments = [family as u64, (libc::SOCK_STREAM | libc::SOCK_CLOEXEC) as u64, 6, 0, 0, 0];
        assert!(profile_allows(Internet::Allowed, "socket", arguments));
        assert!(!profile_allows(Internet::Refused, "socket", arguments));
    }
    assert!(profile_allows(Internet::Refused, "socket", [libc::AF_UNIX as u64, 1, 0, 0, 0, 0]));
}

#[test]
fn a_call_is_in_one_list_and_has_a_name_of_the_kernels() {
    let allowed: BTreeSet<&str> = rules(Internet::Allowed).into_keys().collect();
    assert!(refused().iter().all(|name| !allowed.contains(name)));
    for name in numbers().keys() {
        assert!(
            name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'),
            "{name}"
        );
    }
    let json = profile(Internet::Allowed);
    assert!(json.contains(r#""defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38"#), "{json}");
    assert!(!json.contains("clone3"));
}
