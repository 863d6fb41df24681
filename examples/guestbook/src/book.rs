//! Where entries are kept.
//!
//! While one release takes over from another, two processes serve the same book for a moment. A book in a file is therefore
//! read anew for every answer and written under a lock, so that neither process misses what the other was told.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use crate::entry::Entry;

/// Most entries of a book. Anyone may write, so something has to end it.
pub const CAPACITY: usize = 1000;

/// A guest book.
#[derive(Debug)]
pub enum Book {
    /// Forgotten when the process ends.
    Memory(Mutex<Vec<Entry>>),
    /// One entry a line, as JSON.
    File(PathBuf),
}

/// Why an entry was not written.
#[derive(Debug)]
pub enum NotWritten {
    Full,
    Io(io::Error),
}

impl Book {
    /// Opens the book in `directory`, which is made if need be; without one, the book is in memory.
    pub fn open(directory: Option<&Path>) -> io::Result<Self> {
        let Some(directory) = directory else { return Ok(Self::Memory(Mutex::default())) };
        fs::create_dir_all(directory)?;
        let file = directory.join("entries.jsonl");
        OpenOptions::new().append(true).create(true).open(&file)?;
        Ok(Self::File(file))
    }

    /// All entries, the oldest first.
    pub fn entries(&self) -> io::Result<Vec<Entry>> {
        match self {
            Self::Memory(entries) => Ok(entries.lock().unwrap_or_else(PoisonError::into_inner).clone()),
            Self::File(path) => fs::read(path).map(|bytes| parse(&bytes)),
        }
    }

    /// Writes an entry at the end. It is on the disk when this returns, where the book is in a file.
    pub fn write(&self, entry: Entry) -> Result<(), NotWritten> {
        match self {
            Self::Memory(entries) => {
                let mut entries = entries.lock().unwrap_or_else(PoisonError::into_inner);
                room_beside(entries.len())?;
                entries.push(entry);
                Ok(())
            }
            Self::File(path) => append(path, &entry),
        }
    }
}

fn append(path: &Path, entry: &Entry) -> Result<(), NotWritten> {
    let mut file = OpenOptions::new().read(true).append(true).open(path)?;
    file.lock()?; // until the file is closed
    room_beside(parse(&whole(&mut file)?).len())?;
    // The line end comes first as well: should the last writer have died in the middle of a line, only that line is lost.
    let line = format!("\n{}\n", serde_json::to_string(entry).map_err(io::Error::from)?);
    file.write_all(line.as_bytes())?;
    file.sync_data()?;
    Ok(())
}

fn whole(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The entries in a file's bytes. Lines that are none, such as half-written ones, are passed over.
fn parse(bytes: &[u8]) -> Vec<Entry> {
    bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

fn room_beside(written: usize) -> Result<(), NotWritten> {
    if written < CAPACITY { Ok(()) } else { Err(NotWritten::Full) }
}

impl From<io::Error> for NotWritten {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for NotWritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => write!(f, "The book is full: it has room for {CAPACITY} entries."),
            Self::Io(_) => f.write_str("The entry could not be written. Please try again later."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(message: &str) -> Entry {
        Entry { name: "Ada".into(), message: message.into(), written: 1 }
    }

    /// A directory of its own for a test, removed at the test's end.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(test: &str) -> Self {
            let path = std::env::temp_dir().join(format!("guestbook-{}-{test}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn two_processes_share_a_book() {
        let scratch = Scratch::new("share");
        let (blue, green) = (Book::open(Some(&scratch.0)).unwrap(), Book::open(Some(&scratch.0)).unwrap());
        blue.write(entry("from blue,\nin two lines")).unwrap();
        green.write(entry("from green")).unwrap();
        assert_eq!(blue.entries().unwrap(), [entry("from blue,\nin two lines"), entry("from green")]);
        assert_eq!(green.entries().unwrap(), blue.entries().unwrap());
    }

    #[test]
    fn a_half_written_line_costs_no_other_entry() {
        let scratch = Scratch::new("torn");
        let book = Book::open(Some(&scratch.0)).unwrap();
        book.write(entry("first")).unwrap();
        let file = scratch.0.join("entries.jsonl");
        fs::write(&file, [&fs::read(&file).unwrap()[..], br#"{"name":"Grace","mess"#].concat()).unwrap();
        book.write(entry("second")).unwrap();
        assert_eq!(book.entries().unwrap(), [entry("first"), entry("second")]);
    }

    #[test]
    fn a_book_ends() {
        let scratch = Scratch::new("full");
        for book in [Book::open(None).unwrap(), Book::open(Some(&scratch.0)).unwrap()] {
            if let Book::File(path) = &book {
                fs::write(
                    path,
                    format!("{}\n", serde_json::to_string(&entry("x")).unwrap()).repeat(CAPACITY - 1),
                )
                .unwrap();
            } else {
                (1..CAPACITY).for_each(|_| book.write(entry("x")).unwrap());
            }
            assert!(book.write(entry("the last one")).is_ok());
            assert!(matches!(book.write(entry("one too many")), Err(NotWritten::Full)));
            assert_eq!(book.entries().unwrap().len(), CAPACITY);
        }
    }

    #[test]
    fn the_last_pages_are_not_given_to_two() {
        let scratch = Scratch::new("race");
        let book = Book::open(Some(&scratch.0)).unwrap();
        let line = format!("{}\n", serde_json::to_string(&entry("x")).unwrap());
        fs::write(scratch.0.join("entries.jsonl"), line.repeat(CAPACITY - 3)).unwrap();
        let taken = std::thread::scope(|scope| {
            let writers = [(); 16].map(|()| scope.spawn(|| book.write(entry("me!")).is_ok()));
            writers.into_iter().filter_map(|writer| writer.join().unwrap().then_some(())).count()
        });
        assert_eq!((taken, book.entries().unwrap().len()), (3, CAPACITY));
    }

    #[test]
    fn a_book_that_is_gone_is_an_error_and_not_an_empty_book() {
        let scratch = Scratch::new("gone");
        let book = Book::open(Some(&scratch.0)).unwrap();
        fs::remove_dir_all(&scratch.0).unwrap();
        assert!(book.entries().is_err());
        assert!(matches!(book.write(entry("lost")), Err(NotWritten::Io(_))));
    }
}
