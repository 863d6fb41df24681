//! The first fetch of a repository, which is by far the largest: everything is wanted, so there is nothing to negotiate. The
//! pack is asked for here and received on all cores. Git's library then fetches as ever, and finds that it has it all.
//!
//! Whatever is unusual is left to the library: then nothing is received here.

use std::{
    collections::BTreeSet,
    io::{self, Read, Write as _},
    net::TcpStream,
    path::Path,
};

use ureq::{Agent, Body, http::Response};

use super::super::pack;

/// What the other side has to offer, and is asked to use.
const NEEDED: [&str; 2] = ["ofs-delta", "side-band-64k"];
/// A line of git's protocol holds no more.
const LONGEST_LINE: usize = 65_520;
/// No honest server has more references.
const MOST_LINES: usize = 2_000_000;

/// Asks for all that the references of the other side name, through the door at `url`, and receives it into `packs`.
/// `extra` are references to take beside branches and tags. `false` when nothing was asked for.
pub(super) fn first_pack(
    url: &str,
    extra: &[String],
    packs: &Path,
    progress: &mut dyn FnMut(usize, usize, u64),
) -> io::Result<bool> {
    match url.strip_prefix("git://") {
        Some(rest) => {
            let (address, path) = rest.split_once('/').ok_or(io::ErrorKind::InvalidInput)?;
            let mut line = TcpStream::connect(address)?;
            line.write_all(&packet(&format!("git-upload-pack /{path}\0host=localhost\0")))?;
            let Some(question) = question(&mut line, extra)? else {
                return line.write_all(b"0000").map(|()| false);
            };
            line.write_all(&question)?;
            receive(&mut line, packs, progress)
        }
        None => {
            // The door is on this machine: no proxy leads to it, and whoever is behind it watches the time.
            let agent = Agent::new_with_config(Agent::config_builder().proxy(None).build());
            let list = agent.get(format!("{url}/info/refs?service=git-upload-pack")).call();
            let mut list = list.map(reader).map_err(io::Error::other)?;
            // What service it is, and the end of that.
            while line(&mut list)?.is_some() {}
            let Some(question) = question(&mut list, extra)? else { return Ok(false) };
            let answer = agent.post(format!("{url}/git-upload-pack")).send(&question[..]);
            receive(&mut answer.map(reader).map_err(io::Error::other)?, packs, progress)
        }
    }
}

fn reader(answer: Response<Body>) -> impl Read {
    answer.into_body().into_reader()
}

/// What to ask for, from the list of what there is. `None` where that is nothing, or unusual.
fn question(list: &mut dyn Read, extra: &[String]) -> io::Result<Option<Vec<u8>>> {
    let (mut wanted, mut offered, mut lines) = (BTreeSet::new(), None, 0);
    while let Some(bytes) = line(list)? {
        lines += 1;
        let text = String::from_utf8_lossy(&bytes);
        let (text, capabilities) = text.split_once('\0').unwrap_or((&text, ""));
        offered.get_or_insert_with(|| capabilities.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        let Some((id, name)) = text.trim_end().split_once(' ') else { return Ok(None) };
        let is_id = id.len() == 40 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        // Shallow repositories have less than their references name.
        if !is_id || lines > MOST_LINES {
            return Ok(None);
        }
        let is_one = name == "HEAD" || name.starts_with("refs/heads/") || name.starts_with("refs/tags/");
        if (is_one || extra.iter().any(|extra| extra == name)) && !name.ends_with("^{}") {
            wanted.insert(id.to_owned());
        }
    }
    let offered = offered.unwrap_or_default();
    if !NEEDED.iter().all(|needed| offered.iter().any(|offered| offered == needed)) {
        return Ok(None);
    }
    let mut question = Vec::new();
    for (number, id) in wanted.iter().enumerate() {
        let capabilities =
            if number == 0 { format!(" {} agent=staith", NEEDED.join(" ")) } else { String::new() };
        question.extend(packet(&format!("want {id}{capabilities}\n")));
    }
    question.extend(b"0000");
    question.extend(packet("done\n"));
    Ok((!wanted.is_empty()).then_some(question))
}

fn receive(
    answer: &mut dyn Read,
    packs: &Path,
    progress: &mut dyn FnMut(usize, usize, u64),
) -> io::Result<bool> {
    // `NAK`: nothing is had in common.
    match line(answer)? {
        Some(first) if first.starts_with(b"NAK") => {}
        _ => return Err(io::ErrorKind::InvalidData.into()),
    }
    let mut band = Band { answer, line: Vec::new(), start: 0 };
    pack::receive(&mut band, packs, progress)?;
    // To the end, so that the other side is not cut off in what it still says.
    io::copy(&mut band, &mut io::sink())?;
    Ok(true)
}

fn packet(text: &str) -> Vec<u8> {
    format!("{:04x}{text}", text.len() + 4).into_bytes()
}

/// One line of git's protocol. `None` is the end of some.
fn line(from: &mut dyn Read) -> io::Result<Option<Vec<u8>>> {
    let mut digits = [0; 4];
    from.read_exact(&mut digits)?;
    let length = std::str::from_utf8(&digits).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
    let length = match length {
        Some(0) => return Ok(None),
        Some(length @ 4..=LONGEST_LINE) => length - 4,
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok(Some(bytes))
}

/// The pack, from lines that also hold what the other side says to people.
struct Band<'a> {
    answer: &'a mut dyn Read,
    line: Vec<u8>,
    start: usize,
}

impl Read for Band<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.start >= self.line.len() {
            let Some(line) = line(self.answer)? else { return Ok(0) };
            match line.first() {
                Some(1) => (self.line, self.start) = (line, 1),
                Some(2) | None => {}
                _ => return Err(io::Error::other("the other side gave up")),
            }
        }
        let length = to.len().min(self.line.len() - self.start);
        to[..length].copy_from_slice(&self.line[self.start..self.start + length]);
        self.start += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ONE: &str = "1111111111111111111111111111111111111111";
    const TWO: &str = "2222222222222222222222222222222222222222";

    fn list(lines: &[String]) -> Vec<u8> {
        let mut bytes: Vec<u8> = lines.iter().flat_map(|line| packet(line)).collect();
        bytes.extend(b"0000");
        bytes
    }

    fn asked(lines: &[String]) -> Option<String> {
        let asked = question(&mut list(lines).as_slice(), &["refs/pull/1/head".to_owned()]).unwrap();
        asked.map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn branches_tags_and_what_is_named_are_asked_for_once() {
        let offer = "multi_ack ofs-delta side-band-64k thin-pack";
        let text = asked(&[
            format!("{ONE} HEAD\0{offer}\n"),
            format!("{ONE} refs/heads/main\n"),
            format!("{TWO} refs/tags/v1\n"),
            format!("{} refs/tags/v1^{{}}\n", "3".repeat(40)),
            format!("{} refs/changes/7\n", "4".repeat(40)),
            format!("{} refs/pull/1/head\n", "5".repeat(40)),
        ]);
        let text = text.unwrap();
        assert!(text.contains(&format!("want {ONE} ofs-delta side-band-64k agent=staith\n")), "{text}");
        assert_eq!(text.matches("want ").count(), 3);
        assert!(text.ends_with("00000009done\n") && text.contains(&"5".repeat(40)), "{text}");
    }

    #[test]
    fn the_unusual_is_left_to_the_library() {
        let offer = "ofs-delta side-band-64k";
        assert_eq!(asked(&[]), None);
        assert_eq!(asked(&[format!("{ONE} refs/heads/main\0ofs-delta\n")]), None);
        assert_eq!(asked(&[format!("{} capabilities^{{}}\0{offer}\n", "0".repeat(40))]), None);
        assert_eq!(asked(&[format!("{ONE} refs/heads/main\0{offer}\n"), format!("shallow {ONE}\n")]), None);
        assert_eq!(asked(&["ERR access denied\n".to_owned()]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, text in "[0-9a-f]{4}.{0,40}") {
            let _ = question(&mut bytes.as_slice(), &[]);
            let _ = question(&mut text.as_bytes(), &[]);
        }
    }
}
