//! The kernel's tables of sockets, and who holds one.

use std::{
    collections::BTreeSet,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

/// One line of the kernel's table of TCP sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Socket {
    /// Its own address.
    pub local: SocketAddr,
    /// Whether it waits for connections.
    pub listens: bool,
    /// Its inode, by which a process's descriptors name it.
    pub inode: u64,
}

/// The state that the kernel calls `TCP_LISTEN`.
const LISTEN: u8 = 0x0a;

/// Parses `/proc/net/tcp` or `/proc/net/tcp6`. Lines that are not understood are passed over: a table may change while
/// it is read, and one odd line must not hide the others.
pub fn parse_sockets(table: &str) -> Vec<Socket> {
    table.lines().filter_map(parse_socket).collect()
}

fn parse_socket(line: &str) -> Option<Socket> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [_, local, _, state, _, _, _, _, _, inode, ..] = fields.as_slice() else { return None };
    let (address, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let state = u8::from_str_radix(state, 16).ok()?;
    Some(Socket {
        local: SocketAddr::new(parse_address(address)?, port),
        listens: state == LISTEN,
        inode: inode.parse().ok()?,
    })
}

/// Addresses are printed as 32-bit words in the machine's byte order, each as eight hexadecimal digits.
fn parse_address(hex: &str) -> Option<IpAddr> {
    if !hex.is_ascii() {
        return None;
    }
    let words = (0..hex.len() / 8)
        .map(|word| u32::from_str_radix(&hex[word * 8..(word + 1) * 8], 16).ok().map(u32::to_ne_bytes))
        .collect::<Option<Vec<_>>>()?;
    match (hex.len(), words.as_slice()) {
        (8, [word]) => Some(IpAddr::V4(Ipv4Addr::from(*word))),
        (32, words) => {
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            let address = Ipv6Addr::from(bytes);
            Some(address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4))
        }
        _ => None,
    }
}

/// Whether a listener on `listener` would get a connection to `asked`.
pub fn serves(listener: SocketAddr, asked: SocketAddr) -> bool {
    listener.port() == asked.port() && (listener.ip() == asked.ip() || listener.ip().is_unspecified())
}

/// Inodes of the sockets that a process holds.
///
/// # Errors
/// It is gone, or its descriptors may not be looked at.
pub fn sockets_of(pid: u32) -> io::Result<BTreeSet<u64>> {
    let inode = |target: &Path| target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?
        .flatten()
        .filter_map(|entry| inode(&fs::read_link(entry.path()).ok()?))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the kernel would print for an address.
    fn print_address(address: IpAddr) -> String {
        let word = |bytes: &[u8]| format!("{:08X}", u32::from_ne_bytes(bytes.try_into().unwrap()));
        match address {
            IpAddr::V4(v4) => word(&v4.octets()),
            IpAddr::V6(v6) => v6.octets().chunks(4).map(word).collect(),
        }
    }

    proptest! {
        #[test]
        fn what_the_kernel_prints_is_read_back(
            address: IpAddr, port: u16, inode in 0u64..1 << 40, state in 1u8..13, slot in 0u32..9999, uid: u32
        ) {
            let line = format!(
                "  {slot}: {}:{port:04X} 00000000:0000 {state:02X} 00000000:00000000 00:00000000 00000000 {uid} 0 {inode} 1 0000000000000000 100 0 0 10 0",
                print_address(address)
            );
            let table = format!("  sl  local_address rem_address st tx_queue rx_queue\nnonsense\n{line}\n");
            let canonical = address.to_canonical();
            let expected = Socket { local: SocketAddr::new(canonical, port), listens: state == 10, inode };
            prop_assert_eq!(parse_sockets(&table), vec![expected]);
        }

        #[test]
        fn no_table_makes_the_parser_fail(table: String) {
            let _ = parse_sockets(&table);
        }
    }
}
