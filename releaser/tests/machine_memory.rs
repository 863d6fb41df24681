//! What travels to a machine when the process that deploys to it is another one than the last time.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on fails")]

mod machine_support;

use std::{
    fs,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use async_trait::async_trait;
use machine_support::{Here, Tree, order, release_of, stage};
use staith_releaser::fleet::{
    machine::{Machine as _, MachineError},
    remote::{Memory, RemoteMachine},
    way::{Open, Way},
    wire::Wire,
};
use tokio::io::AsyncWrite;

/// A way that counts what goes to the machine.
struct Counted {
    way: Way,
    bytes: Arc<AtomicUsize>,
}

struct Counter {
    to: Box<dyn AsyncWrite + Send + Unpin>,
    bytes: Arc<AtomicUsize>,
}

#[async_trait]
impl Open for Counted {
    async fn open(&self, target: &str, folder: &str) -> Result<Wire, MachineError> {
        let wire = self.way.open(target, folder).await?;
        let to = Counter { to: wire.to, bytes: Arc::clone(&self.bytes) };
        Ok(Wire { from: wire.from, to: Box::new(to) })
    }
}

impl AsyncWrite for Counter {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        piece: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let polled = Pin::new(&mut self.to).poll_write(cx, piece);
        if let Poll::Ready(Ok(written)) = polled {
            self.bytes.fetch_add(written, Ordering::Relaxed);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.to).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.to).poll_shutdown(cx)
    }
}

/// As a process of its own would see the machine, with what it sends.
fn process(here: &Here) -> (RemoteMachine, Arc<AtomicUsize>) {
    let bytes = Arc::new(AtomicUsize::new(0));
    let way = Counted { way: Way::Child(here.child.clone()), bytes: Arc::clone(&bytes) };
    let machine = RemoteMachine::new("here", way, here.folder().to_str().unwrap());
    (machine.remembering(Memory::new(here.dir.path().join("manifests"))), bytes)
}

fn tree(changed: &str) -> Tree {
    let mut tree = Tree::default();
    for nth in 0..2_000 {
        let content = if nth == 7 { changed.to_owned() } else { format!("{nth}") };
        tree.add(&format!("d/{nth}"), 0o644, content.as_bytes());
    }
    tree
}

#[tokio::test]
async fn another_process_sends_the_difference_and_what_it_does_not_remember_whole() {
    let here = Here::new();
    let mut sent = Vec::new();
    for name in ["a", "b", "c"] {
        if name == "c" {
            fs::remove_dir_all(here.dir.path().join("manifests")).unwrap();
        }
        let (machine, bytes) = process(&here);
        let tree = tree(name);
        let staged = stage(&machine, &order(1), &tree.load(name), &tree).await.unwrap();
        assert_eq!(staged.files, if name == "a" { 2_000 } else { 1 });
        if name != "a" {
            assert_eq!(tree.asked(), ["d/7".to_owned()].into());
        }
        sent.push(bytes.load(Ordering::Relaxed));
    }
    // Digests are noise to whoever compresses: 2,000 of them can't be told in less than 64,000 bytes.
    assert!(sent[1] < 2_000 && sent[2] > 64_000, "{sent:?}");
}

#[tokio::test]
async fn what_was_taken_for_there_and_is_damaged_is_asked_for() {
    let here = Here::new();
    let (old, new) = (tree("old"), tree("new"));
    stage(&process(&here).0, &order(1), &old.load("old"), &old).await.unwrap();
    let victim = here.release("old").join("d/9");
    fs::remove_file(&victim).unwrap();
    let staged = stage(&process(&here).0, &order(1), &new.load("new"), &new).await.unwrap();
    assert_eq!(staged.files, 2);
    assert_eq!(new.asked(), ["d/7", "d/9"].map(str::to_owned).into());
    assert_eq!(fs::read(here.release("new").join("d/9")).unwrap(), b"9");
}

#[tokio::test]
async fn what_comes_unasked_and_is_there_is_passed_over() {
    let here = Here::new();
    let (old, new) = (tree("old"), tree("new"));
    let (first, _) = process(&here);
    stage(&first, &order(1), &old.load("old"), &old).await.unwrap();
    // While this one believes that the machine has the old release only, another brings the same new content.
    stage(&process(&here).0, &order(1), &new.load("other"), &new).await.unwrap();
    new.asked();
    let staged = stage(&first, &order(1), &new.load("new"), &new).await.unwrap();
    assert_eq!((staged.already, staged.files), (false, 0));
    assert_eq!(fs::read(here.release("new").join("d/7")).unwrap(), b"new");
    // The conversation is in order: the next request is understood.
    let state = first.observe().await.unwrap();
    assert_eq!(state.releases, ["new", "old", "other"].map(release_of).into());
}

#[tokio::test]
async fn a_package_that_can_not_be_read_ahead_is_refused_and_leaves_nothing() {
    let here = Here::new();
    let (old, mut new) = (tree("old"), tree("new"));
    let (machine, _) = process(&here);
    stage(&machine, &order(1), &old.load("old"), &old).await.unwrap();
    new.lie("d/7", b"odd");
    let refused = stage(&machine, &order(1), &new.load("new"), &new).await;
    assert!(matches!(refused, Err(MachineError::Refused { .. })), "{refused:?}");
    assert_eq!(machine.observe().await.unwrap().releases, [release_of("old")].into());
    let new = tree("new");
    assert!(!stage(&machine, &order(1), &new.load("new"), &new).await.unwrap().already);
}
