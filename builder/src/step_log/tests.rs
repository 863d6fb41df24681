use std::{fs, io::Write as _};

use proptest::prelude::*;
use staith_model::Stream;

use super::*;

fn clock() -> u64 {
    1_700_000_000_000
}

fn writer(path: &Path, limit: u64) -> LogWriter {
    LogWriter::open(path, limit, clock).unwrap()
}

fn lines(reader: &mut LogReader) -> Vec<LogLine> {
    std::iter::from_fn(|| reader.line().unwrap()).collect()
}

fn texts(lines: &[LogLine]) -> Vec<(LoggedStream, String)> {
    lines.iter().map(|line| (line.stream, String::from_utf8_lossy(&line.bytes).into_owned())).collect()
}

fn raw(path: &Path, wanted: LoggedStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let take = |stream, part: &[u8]| {
        if stream == wanted {
            bytes.extend_from_slice(part);
        }
        Ok(())
    };
    LogReader::open(path).unwrap().bytes(take).unwrap();
    bytes
}

#[test]
fn a_log_is_lines_with_time_and_stream() {
    use LoggedStream::{Err, Out};
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("logs/a.log");
    let mut log = writer(&path, 1 << 20);
    log.take(Stream::Stdout, b"one\ntw").unwrap();
    log.take(Stream::Stderr, b"1 out 5\nfake\n").unwrap();
    log.take(Stream::Stdout, b"o\n\xff\0\r\n").unwrap();
    log.take(Stream::Stderr, b"no end").unwrap();
    log.finish().unwrap();
    let mut reader = LogReader::open(&path).unwrap();
    let read = lines(&mut reader);
    assert!(read.iter().all(|line| line.at == clock() && line.more == 0));
    let said = |text: &str| text.to_owned();
    assert_eq!(
        texts(&read),
        [
            (Out, said("one")),
            (Err, said("1 out 5")),
            (Err, said("fake")),
            (Out, said("two")),
            (Out, said("\u{fffd}\0\r")),
        ]
    );
    assert_eq!(texts(&reader.unfinished().collect::<Vec<_>>()), [(Err, said("no end"))]);
    assert_eq!(raw(&path, Out), b"one\ntwo\n\xff\0\r\n");
    assert_eq!(fs::read_to_string(&path).unwrap_err().kind(), std::io::ErrorKind::InvalidData);
}

#[test]
fn a_line_without_end_is_whole_in_the_log_and_cut_in_the_view() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("a.log");
    let mut log = writer(&path, 1 << 30);
    for _ in 0..100 {
        log.take(Stream::Stdout, &[b'x'; 10_000]).unwrap();
    }
    log.take(Stream::Stdout, b"\nnext\n").unwrap();
    log.finish().unwrap();
    let read = lines(&mut LogReader::open(&path).unwrap());
    assert_eq!((read[0].bytes.len(), read[0].more), (LONGEST_HELD, 1_000_000 - LONGEST_HELD as u64));
    assert_eq!(read[1].bytes, b"next");
    assert_eq!(raw(&path, LoggedStream::Out).len(), 1_000_006);
}

#[test]
fn a_log_that_is_full_says_so_once() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("a.log");
    let mut log = writer(&path, 1 << 20);
    let line = [&[b'x'; 99_999][..], b"\n"].concat();
    let kept: Vec<Logged> = (0..13).map(|_| log.take(Stream::Stdout, &line).unwrap()).collect();
    assert_eq!(kept[9..], [Logged::Kept, Logged::Full, Logged::Dropped, Logged::Dropped]);
    log.finish().unwrap();
    let read = lines(&mut LogReader::open(&path).unwrap());
    assert_eq!(read.len(), 11);
    assert_eq!(read[10].stream, LoggedStream::Staith);
    assert!(fs::metadata(&path).unwrap().len() < (1 << 20) + 200);
}

#[test]
fn another_attempt_is_written_after_the_first() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("a.log");
    for line in ["first\n", "second\n"] {
        let mut log = writer(&path, 1 << 20);
        log.take(Stream::Stdout, line.as_bytes()).unwrap();
        log.finish().unwrap();
    }
    assert_eq!(lines(&mut LogReader::open(&path).unwrap()).len(), 2);
}

#[test]
fn what_is_no_log_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("a.log");
    for bad in [
        "something else entirely",
        "staith-log 1\nnonsense\n",
        "staith-log 1\n1 out 3\nabcX",
        "staith-log 2\n",
    ] {
        fs::write(&path, bad).unwrap();
        let mut reader = LogReader::open(&path).unwrap();
        assert!(std::iter::from_fn(|| reader.line().transpose()).any(|line| line.is_err()), "{bad}");
    }
}

proptest! {
    #[test]
    fn a_log_that_was_cut_is_read_up_to_the_cut_and_on_when_it_grows(
        parts in prop::collection::vec((any::<bool>(), "[ab\n]{0,12}"), 0..12),
        cut: prop::sample::Index,
    ) {
        let place = tempfile::tempdir().unwrap();
        let (path, growing) = (place.path().join("a.log"), place.path().join("b.log"));
        let mut log = writer(&path, 1 << 20);
        for (is_err, text) in &parts {
            let stream = if *is_err { Stream::Stderr } else { Stream::Stdout };
            log.take(stream, text.as_bytes()).unwrap();
        }
        log.finish().unwrap();
        let whole = fs::read(&path).unwrap();
        let (head, tail) = whole.split_at(cut.index(whole.len() + 1));
        fs::write(&growing, head).unwrap();
        let mut reader = LogReader::open(&growing).unwrap();
        let mut read = lines(&mut reader);
        fs::File::options().append(true).open(&growing).unwrap().write_all(tail).unwrap();
        read.extend(lines(&mut reader));
        read.extend(reader.unfinished());
        let mut reader = LogReader::open(&path).unwrap();
        let mut at_once = lines(&mut reader);
        at_once.extend(reader.unfinished());
        prop_assert_eq!(read, at_once);
        for (stream, is_err) in [(LoggedStream::Out, false), (LoggedStream::Err, true)] {
            let wrote: String = parts.iter().filter(|part| part.0 == is_err).map(|part| part.1.as_str()).collect();
            prop_assert_eq!(String::from_utf8(raw(&path, stream)).unwrap(), wrote);
        }
    }
}
