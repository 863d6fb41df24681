//! Objects that came as changes to others: made and hashed on all cores, each chain from its beginning.

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use libdeflater::Decompressor;
use rayon::prelude::*;

use super::{
    delta,
    entry::{Base, Kind},
    receive::Came,
};
use crate::source::listing::ObjectId;

/// Changes of a pack that came whole.
pub(super) struct Unfolding<'a> {
    file: &'a File,
    /// Where the last entry ends.
    end: u64,
    came: &'a [Came],
    /// Those that are whole, and their ids.
    whole: &'a [(usize, ObjectId)],
    /// Base and change, by position, sorted.
    by_position: Vec<(usize, usize)>,
    /// Base and change, by the base's id, sorted.
    by_id: Vec<(ObjectId, usize)>,
    /// A pack may hold an object twice; what is made of it is made once.
    claimed: Vec<AtomicBool>,
}

impl<'a> Unfolding<'a> {
    pub(super) fn new(file: &'a File, end: u64, came: &'a [Came], whole: &'a [(usize, ObjectId)]) -> Self {
        let (mut by_position, mut by_id) = (Vec::new(), Vec::new());
        for (change, one) in came.iter().enumerate() {
            match one.entry.base {
                Base::None(_) => {}
                Base::Object(id) => by_id.push((id, change)),
                Base::Before(distance) => {
                    let at = one.offset.checked_sub(distance);
                    let base = at.and_then(|at| came.binary_search_by_key(&at, |base| base.offset).ok());
                    by_position.extend(base.map(|base| (base, change)));
                }
            }
        }
        by_position.sort_unstable();
        by_id.sort_unstable();
        let claimed = came.iter().map(|_| AtomicBool::new(false)).collect();
        Self { file, end, came, whole, by_position, by_id, claimed }
    }

    /// Positions and ids of all changes that have a base. `None` where one is damaged.
    pub(super) fn all(&self) -> Option<Vec<(usize, ObjectId)>> {
        let chains =
            self.whole.par_iter().filter(|(position, id)| self.changes_to(*position, *id).next().is_some());
        let made = chains.map_init(Reader::new, |reader, whole| self.chain(reader, *whole));
        made.try_fold(Vec::new, |mut all, made: Option<Vec<_>>| {
            all.extend(made?);
            Some(all)
        })
        .try_reduce(Vec::new, |mut left, right| {
            left.extend(right);
            Some(left)
        })
    }

    fn changes_to(&self, position: usize, id: ObjectId) -> impl Iterator<Item = usize> + '_ {
        let first = self.by_position.partition_point(|(base, _)| *base < position);
        let by_position = self.by_position.get(first..).into_iter().flatten();
        let first = self.by_id.partition_point(|(base, _)| *base < id);
        let by_id = self.by_id.get(first..).into_iter().flatten();
        by_position
            .take_while(move |(base, _)| *base == position)
            .map(|(_, change)| *change)
            .chain(by_id.take_while(move |(base, _)| *base == id).map(|(_, change)| *change))
    }

    fn chain(&self, reader: &mut Reader, (root, id): (usize, ObjectId)) -> Option<Vec<(usize, ObjectId)>> {
        let Base::None(kind) = self.came.get(root)?.entry.base else { return None };
        let content = Arc::new(reader.read(self, root)?);
        let mut made = Vec::new();
        let mut waiting: Vec<_> = self.claim(root, id).map(|change| (change, Arc::clone(&content))).collect();
        drop(content);
        while let Some((position, base)) = waiting.pop() {
            let content = Arc::new(delta::applied(&reader.read(self, position)?, &base)?);
            drop(base);
            let id = Kind::id_of(kind, &content).ok()?;
            made.push((position, id));
            waiting.extend(self.claim(position, id).map(|change| (change, Arc::clone(&content))));
        }
        Some(made)
    }

    fn claim(&self, position: usize, id: ObjectId) -> impl Iterator<Item = usize> + '_ {
        let is_free = |change: &usize| {
            self.claimed.get(*change).is_some_and(|claimed| !claimed.swap(true, Ordering::Relaxed))
        };
        self.changes_to(position, id).filter(is_free)
    }
}

/// Reads entries, for one thread.
struct Reader {
    inflate: Decompressor,
    compressed: Vec<u8>,
}

impl Reader {
    fn new() -> Self {
        Self { inflate: Decompressor::new(), compressed: Vec::new() }
    }

    fn read(&mut self, of: &Unfolding<'_>, position: usize) -> Option<Vec<u8>> {
        let one = of.came.get(position)?;
        let begin = one.offset + one.entry.head as u64;
        let end = of.came.get(position + 1).map_or(of.end, |next| next.offset);
        self.compressed.resize(usize::try_from(end.checked_sub(begin)?).ok()?, 0);
        of.file.read_exact_at(&mut self.compressed, begin).ok()?;
        let mut content = vec![0; one.entry.size];
        let length = self.inflate.zlib_decompress(&self.compressed, &mut content).ok()?;
        (length == content.len()).then_some(content)
    }
}
