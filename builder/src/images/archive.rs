//! Reading tar archives that strangers wrote: one entry after another, nothing kept in memory that has no bound.
//!
//! The `tar` crate reads headers and extensions; the walk over them is ours, because the crate's own keeps names of any
//! length in memory and is stricter about an archive's end than the tools that make layers.

use std::{
    io::{self, Read},
    ops::ControlFlow,
};

use tar::{EntryType, Header, PaxExtensions};

/// All archives are made of blocks of this many bytes.
const BLOCK: usize = 512;
/// Names and extensions of one entry, in bytes.
const LONGEST_EXTENSION: u64 = 1 << 20;
/// A path in bytes. With a store's own path before it, it has to fit the kernel's 4096.
pub(super) const LONGEST_PATH: usize = 2048;

/// What is wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub(super) enum Flaw {
    /// It could not be read at all.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is damaged or cut short.
    #[error("the archive is damaged: {0}")]
    Damaged(String),
    /// It is well-formed, and no honest image has this.
    #[error("`{}`: {why}", .path.escape_ascii())]
    Hostile {
        /// The entry.
        path: Vec<u8>,
        /// What is wrong with it.
        why: String,
    },
    /// It is larger than anything that is unpacked here.
    #[error("{0}")]
    TooLarge(String),
}

impl Flaw {
    pub(super) fn hostile(path: &[u8], why: impl Into<String>) -> Self {
        Self::Hostile { path: path.to_vec(), why: why.into() }
    }
}

/// One entry of an archive, its content aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// As it stands in the archive.
    pub(super) path: Vec<u8>,
    pub(super) kind: Kind,
    /// All that stat calls mode but for the type.
    pub(super) mode: u32,
    /// Modification time in seconds.
    pub(super) modified: u64,
    /// Bytes of content that follow.
    pub(super) size: u64,
    /// Where the content begins, in bytes from the archive's start.
    pub(super) offset: u64,
    /// Whether an extended attribute of overlay's was set.
    pub(super) has_overlay_attribute: bool,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Symlink(Vec<u8>),
    HardLink(Vec<u8>),
    /// Major and minor number.
    Device(u32, u32),
    Pipe,
}

/// What extensions before an entry said of it.
#[derive(Debug, Default)]
struct Ahead {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    modified: Option<u64>,
    has_overlay_attribute: bool,
    is_sparse: bool,
}

/// What is done with each entry and its content.
type Each<'a> = dyn FnMut(&Entry, &mut dyn Read) -> Result<ControlFlow<()>, Flaw> + 'a;

/// Reads an archive to its end, and calls `each` with every entry and its content. What `each` does not read of the content
/// is passed over. When it breaks, the rest is not read.
///
/// # Errors
/// The archive is damaged or hostile, or `each` refused.
pub(super) fn read(from: &mut dyn Read, each: &mut Each<'_>) -> Result<(), Flaw> {
    let mut from = Counted { from, at: 0 };
    let mut ahead = Ahead::default();
    while let Some(header) = next_header(&mut from)? {
        let declared = header.entry_size().map_err(|error| Flaw::Damaged(error.to_string()))?;
        match header.entry_type() {
            EntryType::GNULongName => ahead.path = Some(name(&extension(&mut from, declared)?)),
            EntryType::GNULongLink => ahead.link = Some(name(&extension(&mut from, declared)?)),
            EntryType::XHeader => note(&extension(&mut from, declared)?, &mut ahead)?,
            // What holds for the whole archive: tools write a comment there, and nothing that matters here.
            EntryType::XGlobalHeader => drop(extension(&mut from, declared)?),
            _ => {
                let entry = entry(&header, std::mem::take(&mut ahead), from.at)?;
                let mut content = (&mut from as &mut dyn Read).take(entry.size);
                let flow = each(&entry, &mut content)?;
                let left = content.limit();
                if flow.is_break() {
                    return Ok(());
                }
                pass_over(&mut from, left, false)?;
                pass_over(&mut from, padding(entry.size), true)?;
            }
        }
    }
    Ok(())
}

struct Counted<'a> {
    from: &'a mut dyn Read,
    at: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let length = self.from.read(to)?;
        self.at += length as u64;
        Ok(length)
    }
}

/// None at the end: a block of zeros, or the end of the file, which some tools leave without one.
fn next_header(from: &mut Counted<'_>) -> Result<Option<Header>, Flaw> {
    let mut block = [0; BLOCK];
    let mut filled = 0;
    while filled < BLOCK {
        match from.read(&mut block[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(Flaw::Damaged("it ends in the middle of a header".to_owned())),
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    if block.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let header = Header::from_byte_slice(&block).clone();
    // The checksum counts its own eight bytes as spaces.
    let sum = block
        .iter()
        .enumerate()
        .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) });
    match header.cksum() {
        Ok(told) if told == sum.sum::<u32>() => Ok(Some(header)),
        _ => Err(Flaw::Damaged("a header does not add up".to_owned())),
    }
}

const fn padding(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}

/// Passes over bytes. Where they are padding, the archive may end before them: some tools leave out the last.
fn pass_over(from: &mut Counted<'_>, bytes: u64, may_end: bool) -> Result<(), Flaw> {
    let passed = io::copy(&mut from.take(bytes), &mut io::sink())?;
    if passed == bytes || may_end {
        return Ok(());
    }
    Err(Flaw::Damaged("it ends in the middle of a file".to_owned()))
}

fn extension(from: &mut Counted<'_>, size: u64) -> Result<Vec<u8>, Flaw> {
    if size > LONGEST_EXTENSION {
        return Err(Flaw::TooLarge(format!("the archive describes one file with {size} bytes of text")));
    }
    let mut bytes = Vec::new();
    from.take(size).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != size {
        return Err(Flaw::Damaged("it ends in the middle of a name".to_owned()));
    }
    pass_over(from, padding(size), true)?;
    Ok(bytes)
}

/// Names end with a zero byte.
fn name(bytes: &[u8]) -> Vec<u8> {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
}

fn note(bytes: &[u8], ahead: &mut Ahead) -> Result<(), Flaw> {
    for extension in PaxExtensions::new(bytes) {
        let extension = extension.map_err(|error| Flaw::Damaged(error.to_string()))?;
        let value = extension.value_bytes();
        let number = || {
            let whole = std::str::from_utf8(value).ok()?.split('.').next()?;
            whole.parse::<u64>().ok()
        };
        match extension.key_bytes() {
            b"path" => ahead.path = Some(value.to_vec()),
            b"linkpath" => ahead.link = Some(value.to_vec()),
            b"size" => {
                let told = number().ok_or_else(|| Flaw::Damaged("a size is not a number".to_owned()))?;
                ahead.size = Some(told);
            }
            // Before 1970 there is no time that a build would care for.
            b"mtime" => ahead.modified = Some(number().unwrap_or(0)),
            key if key.starts_with(b"GNU.sparse.") => ahead.is_sparse = true,
            key => {
                let attribute =
                    key.strip_prefix(b"SCHILY.xattr.").or_else(|| key.strip_prefix(b"LIBARCHIVE.xattr."));
                ahead.has_overlay_attribute |= attribute.is_some_and(is_overlays);
            }
        }
    }
    Ok(())
}

/// `user.overlay.opaque`, `trusted.overlay.redirect` and all their like: what a layer says to overlay, it says by whiteouts.
fn is_overlays(attribute: &[u8]) -> bool {
    attribute.split(|byte| *byte == b'.').any(|part| part == b"overlay")
}

fn entry(header: &Header, ahead: Ahead, offset: u64) -> Result<Entry, Flaw> {
    let path = ahead.path.unwrap_or_else(|| header.path_bytes().into_owned());
    if path.contains(&0) {
        return Err(Flaw::hostile(&path, "its name has a zero byte"));
    }
    let damaged = |error: io::Error| Flaw::Damaged(format!("{}: {error}", path.escape_ascii()));
    let link = || {
        let link = ahead.link.clone().or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned));
        link.filter(|link| !link.is_empty() && !link.contains(&0) && link.len() <= LONGEST_PATH).ok_or_else(
            || Flaw::hostile(&path, "it is a link to nothing, or to something with an impossible name"),
        )
    };
    let number = |read: io::Result<Option<u32>>| read.map_err(damaged).map(Option::unwrap_or_default);
    let kind = match header.entry_type() {
        _ if ahead.is_sparse => return Err(Flaw::hostile(&path, "sparse files are not supported in images")),
        EntryType::GNUSparse => return Err(Flaw::hostile(&path, "sparse files are not supported in images")),
        EntryType::Regular | EntryType::Continuous if path.ends_with(b"/") => Kind::Directory,
        EntryType::Regular | EntryType::Continuous => Kind::File,
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => Kind::Symlink(link()?),
        EntryType::Link => Kind::HardLink(link()?),
        EntryType::Char | EntryType::Block => {
            Kind::Device(number(header.device_major())?, number(header.device_minor())?)
        }
        EntryType::Fifo => Kind::Pipe,
        other => {
            return Err(Flaw::hostile(
                &path,
                format!("entries of type {other:?} are not supported in images"),
            ));
        }
    };
    // Some tools write the target's size into a link's header, and no content.
    let declared = ahead.size.map_or_else(|| header.entry_size(), Ok).map_err(damaged)?;
    let has_content = matches!(kind, Kind::File);
    if has_content && declared > i64::MAX as u64 {
        return Err(Flaw::TooLarge(format!("{}: {declared} bytes", path.escape_ascii())));
    }
    Ok(Entry {
        mode: header.mode().map_err(damaged)? & 0o7777,
        modified: ahead.modified.map_or_else(|| header.mtime(), Ok).unwrap_or(0),
        size: if has_content { declared } else { 0 },
        offset,
        has_overlay_attribute: ahead.has_overlay_attribute,
        kind,
        path,
    })
}
