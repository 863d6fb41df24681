//! Files that are too large to be held: compressed in pieces, on all cores, straight into the package.

use std::io::{self, Read, Seek, SeekFrom, Write};

use rayon::prelude::*;

use super::{
    container::{Method, Placed, Record},
    deflate,
    layout::Slot,
    limits,
    pack::Out,
    reuse::Earlier,
    source::{Pieces, Source},
    stitch,
    write::WriteError,
};

/// Length of a piece. Part of the profile: it shows in the bytes.
const PIECE_BYTES: u64 = 4 << 20;

impl<W: Read + Write + Seek + Send> Out<'_, W> {
    /// Writes a file that is too large to be held. Its header is written twice: its checksum and its packed length are known
    /// only afterwards, and Web Deploy's profile has no room for them there.
    pub(super) fn append_large(&mut self, slot: &Slot, source: Source<'_>) -> Result<(), WriteError> {
        let mut record = self.record(slot, self.at);
        record.size = source.size as u32;
        self.unsettled = Some(self.at);
        self.put(&record.local())?;
        let begin = self.at;
        match self.deflate_pieces(source)? {
            Some(crc) => (record.method, record.crc) = (Method::Deflate, crc),
            None => {
                self.to.seek(SeekFrom::Start(begin)).map_err(WriteError::Output)?;
                self.at = begin;
                record.crc = self.store_pieces(source)?;
            }
        }
        record.packed = (self.at - begin) as u32;
        self.patch(&record).map_err(WriteError::Output)?;
        self.records.push(record);
        self.count(slot);
        self.tell()
    }

    /// Copies a file that an earlier package holds compressed, piece by piece.
    pub(super) fn copy_large(
        &mut self,
        slot: &Slot,
        earlier: &Earlier,
        placed: &Placed,
    ) -> Result<(), WriteError> {
        let mut record = self.record(slot, self.at);
        (record.method, record.crc) = (placed.method, placed.crc);
        (record.packed, record.size) = (placed.packed, placed.size);
        self.put(&record.local())?;
        let (mut copied, whole) = (0, u64::from(placed.packed));
        while copied < whole {
            let mut piece = vec![0; PIECE_BYTES.min(whole - copied) as usize];
            earlier.read(placed, copied, &mut piece).map_err(WriteError::Earlier)?;
            self.put(&piece)?;
            self.tell()?;
            copied += piece.len() as u64;
        }
        self.records.push(record);
        self.count(slot);
        self.tell()
    }

    fn patch(&mut self, record: &Record) -> io::Result<()> {
        self.to.seek(SeekFrom::Start(u64::from(record.offset)))?;
        self.to.write_all(&record.local())?;
        self.unsettled = None;
        self.to.seek(SeekFrom::Start(self.at)).map(drop)
    }

    /// Writes the file compressed and gives its checksum. `None` as soon as that is seen to be no smaller than the file, or if
    /// it is so small that a reader would take it for a bomb; then what was written is shorter than the file, so that the file
    /// itself covers it.
    fn deflate_pieces(&mut self, source: Source<'_>) -> Result<Option<u32>, WriteError> {
        let (mut pieces, mut packed, mut crc) = (Pieces::open(source)?, 0, crc32fast::Hasher::new());
        let (mut window, mut ready) = (read_window(&mut pieces, source.size, &mut crc)?, Vec::new());
        let mut left = source.size;
        while left > 0 {
            left -= window.iter().map(|piece| piece.len() as u64).sum::<u64>();
            let last = left == 0;
            // One window is read while the one before it is compressed, and the one before that is written.
            let (written, (streams, next)) = rayon::join(
                || self.put_all(&ready),
                || rayon::join(|| deflate_window(&window, last), || read_window(&mut pieces, left, &mut crc)),
            );
            written?;
            let (Some(streams), next) = (streams, next?) else { return Ok(None) };
            packed += streams.iter().map(|stream| stream.len() as u64).sum::<u64>();
            if packed >= source.size {
                return Ok(None);
            }
            self.tell()?;
            (window, ready) = (next, streams);
        }
        self.put_all(&ready)?;
        pieces.finish()?;
        Ok((!limits::is_bomb(packed, source.size)).then(|| crc.finalize()))
    }

    fn store_pieces(&mut self, source: Source<'_>) -> Result<u32, WriteError> {
        let (mut pieces, mut left, mut crc) = (Pieces::open(source)?, source.size, crc32fast::Hasher::new());
        while left > 0 {
            let piece = pieces.next(PIECE_BYTES)?;
            left -= piece.len() as u64;
            crc.update(&piece);
            self.put(&piece)?;
            self.tell()?;
        }
        pieces.finish()?;
        Ok(crc.finalize())
    }
}

/// The pieces as Deflate streams that can be joined; only the very last of a file ends it.
fn deflate_window(window: &[Vec<u8>], last: bool) -> Option<Vec<Vec<u8>>> {
    window
        .par_iter()
        .enumerate()
        .map(|(nth, piece)| {
            let stream = deflate::deflate(piece)?;
            if last && nth + 1 == window.len() { Some(stream) } else { stitch::open_end(stream) }
        })
        .collect()
}

/// As many pieces as there are cores to compress them.
fn read_window(
    pieces: &mut Pieces<'_>,
    left: u64,
    crc: &mut crc32fast::Hasher,
) -> Result<Vec<Vec<u8>>, WriteError> {
    let count = left.div_ceil(PIECE_BYTES).min(rayon::current_num_threads().clamp(1, 8) as u64);
    (0..count)
        .map(|_| {
            let piece = pieces.next(PIECE_BYTES)?;
            crc.update(&piece);
            Ok(piece)
        })
        .collect()
}
