//! One contract for all places that bytes are kept in: a directory, memory, S3 and Azure Blob. And a store over each.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_const_for_fn,
    missing_docs,
    reason = "tests"
)]

mod store_places;

use std::{
    io::{Read as _, Write as _},
    sync::{Arc, atomic::Ordering},
    thread,
};

use object_store::{ObjectStore, memory::InMemory, multipart::MultipartStore};
use staith_model::{Digest, Name, Package, Version};
use staith_packager::store::{Blobs, Bucket, Directory, Expected, Reference, Staged, Store, StoreError, oci};

use self::store_places::{Breaking, Server, runtime};

/// S3 takes no parts that are smaller, but for the last.
const PART: u64 = 5 << 20;

fn bucket<S: ObjectStore + MultipartStore>(objects: S, prefix: &str) -> Arc<Bucket> {
    let bucket = Bucket::open(Arc::new(objects), prefix, "test://packages", runtime().clone()).unwrap();
    Arc::new(bucket.with_parts_of(PART))
}

fn staged(store: &Store, bytes: &[u8]) -> Staged {
    let mut staged = store.stage().unwrap();
    staged.file().write_all(bytes).unwrap();
    staged
}

fn read(blobs: &dyn Blobs, key: &str) -> Option<Vec<u8>> {
    Some(blobs.read(key, None).unwrap()?.whole().unwrap().0)
}

fn keeps_the_contract(blobs: &Arc<dyn Blobs>) {
    nothing_is_no_error(&**blobs);
    what_is_new_is_written_once(&**blobs);
    parts_are_parts(&**blobs);
    replacing_needs_what_was_read(&**blobs);
    lists_end_where_the_prefix_ends(&**blobs);
    files_of_any_size_come_whole(blobs);
    of_many_at_once_one_is_told(blobs);
    nobody_loses_a_change(blobs);
}

fn nothing_is_no_error(blobs: &dyn Blobs) {
    assert!(blobs.read("a/missing", None).unwrap().is_none());
    assert!(blobs.read("a/missing", Some(0..0)).unwrap().is_none());
    blobs.delete("a/missing").unwrap();
    assert_eq!(blobs.list("a").unwrap(), []);
}

fn what_is_new_is_written_once(blobs: &dyn Blobs) {
    let key = "names/shop/1.0.0-rc.1+c.0123456789ab.json";
    assert!(blobs.put_new(key, b"one").unwrap());
    assert!(!blobs.put_new(key, b"two").unwrap());
    assert_eq!(read(blobs, key).unwrap(), b"one");
    blobs.delete(key).unwrap();
    assert!(read(blobs, key).is_none() && blobs.list("names").unwrap().is_empty());
    assert!(blobs.put_new(key, b"").unwrap());
    assert_eq!(read(blobs, key).unwrap(), b"");
    blobs.delete(key).unwrap();
}

fn parts_are_parts(blobs: &dyn Blobs) {
    assert!(blobs.put_new("parts/x", b"0123456789").unwrap());
    let cases: [(_, &[u8]); 6] =
        [(0..0, b""), (0..4, b"0123"), (3..5, b"34"), (8..99, b"89"), (10..12, b""), (50..60, b"")];
    for (part, expected) in cases {
        let mut reading = blobs.read("parts/x", Some(part.clone())).unwrap().unwrap();
        let mut found = Vec::new();
        reading.bytes.read_to_end(&mut found).unwrap();
        assert_eq!((reading.size, found.as_slice()), (10, expected), "{part:?}");
    }
}

fn replacing_needs_what_was_read(blobs: &dyn Blobs) {
    let tag = || blobs.read("cas/x", None).unwrap().unwrap().whole().unwrap().1;
    assert!(blobs.replace("cas/x", b"one", None).unwrap());
    assert!(!blobs.replace("cas/x", b"other", None).unwrap());
    let first = tag();
    assert!(blobs.replace("cas/x", b"two", Some(&first)).unwrap());
    assert!(!blobs.replace("cas/x", b"three", Some(&first)).unwrap());
    assert_eq!(read(blobs, "cas/x").unwrap(), b"two");
    let second = tag();
    blobs.delete("cas/x").unwrap();
    assert!(!blobs.replace("cas/x", b"four", Some(&second)).unwrap());
    assert!(read(blobs, "cas/x").is_none());
}

fn lists_end_where_the_prefix_ends(blobs: &dyn Blobs) {
    for key in ["list/b/2", "list/b/1", "list/b-c/1", "list/a"] {
        assert!(blobs.put_new(key, key.as_bytes()).unwrap());
    }
    let keys = |prefix| {
        blobs.list(prefix).unwrap().into_iter().map(|found| (found.key, found.size)).collect::<Vec<_>>()
    };
    let named = |key: &str| (key.to_owned(), key.len() as u64);
    assert_eq!(keys("list/b"), ["list/b/1", "list/b/2"].map(named));
    assert_eq!(keys("list"), ["list/a", "list/b-c/1", "list/b/1", "list/b/2"].map(named));
    assert!(blobs.list("list").unwrap().iter().all(|found| found.at > 0));
}

fn large() -> Vec<u8> {
    (0..2 * PART + 77).map(|at| (at % 251) as u8).collect()
}

fn files_of_any_size_come_whole(blobs: &Arc<dyn Blobs>) {
    let store = Store::over(Arc::clone(blobs)).unwrap();
    for bytes in [Vec::new(), vec![7; 1000], vec![8; PART as usize], large()] {
        let key = format!("files/{}", bytes.len());
        blobs.put_file(&key, staged(&store, b"damaged")).unwrap();
        blobs.put_file(&key, staged(&store, &bytes)).unwrap();
        assert!(read(&**blobs, &key).unwrap() == bytes, "{}", bytes.len());
    }
    assert_eq!(blobs.list("uploads").unwrap(), [], "how far the file had come is forgotten");
}

fn of_many_at_once_one_is_told(blobs: &Arc<dyn Blobs>) {
    for round in 0..5 {
        let key = format!("race/{round}");
        let told = thread::scope(|scope| {
            let racers: Vec<_> = (0..4)
                .map(|nth| {
                    (
                        nth,
                        scope.spawn({
                            let key = &key;
                            move || blobs.put_new(key, format!("racer {nth}").as_bytes()).unwrap()
                        }),
                    )
                })
                .collect();
            racers
                .into_iter()
                .filter_map(|(nth, racer)| racer.join().unwrap().then_some(nth))
                .collect::<Vec<i32>>()
        });
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(read(&**blobs, &key).unwrap(), format!("racer {}", told[0]).as_bytes());
    }
}

fn nobody_loses_a_change(blobs: &Arc<dyn Blobs>) {
    assert!(blobs.put_new("count", b"0").unwrap());
    let add = || loop {
        let (bytes, tag) = blobs.read("count", None).unwrap().unwrap().whole().unwrap();
        let next = String::from_utf8(bytes).unwrap().parse::<u32>().unwrap() + 1;
        if blobs.replace("count", next.to_string().as_bytes(), Some(&tag)).unwrap() {
            break;
        }
    };
    thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(|| (0..5).for_each(|_| add())))));
    assert_eq!(read(&**blobs, "count").unwrap(), b"20");
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn publish(store: &Store, as_version: &str, bytes: &[u8]) -> Result<Package, StoreError> {
    let (digest, size) = (Digest::of(bytes), bytes.len() as u64);
    let package = Package { name: name("shop"), version: version(as_version), digest, content: digest, size };
    store.publish(staged(store, bytes), &package, 1, None).map(|published| published.package)
}

/// What a store promises, whatever it lies in.
fn keeps_packages(blobs: &Arc<dyn Blobs>) {
    let store = Store::over(Arc::clone(blobs)).unwrap();
    let one = publish(&store, "1.0.0", b"one").unwrap();
    publish(&store, "1.1.0", &large()).unwrap();
    assert!(matches!(publish(&store, "1.0.0", b"other"), Err(StoreError::Conflict { .. })));
    // As another process sees it.
    let store = Store::over(Arc::clone(blobs)).unwrap();
    let resolve = |text: &str| store.resolve(&text.parse::<Reference>().unwrap()).unwrap().package;
    assert_eq!((resolve("shop@1.0").version, resolve("shop").version), (version("1.0.0"), version("1.1.0")));
    assert!(store.get_bytes(&resolve("shop@1").digest).unwrap() == large());
    store.move_channel(&name("shop"), &one.version, &name("stable"), &Expected::Nothing, "ada").unwrap();
    assert_eq!(resolve("shop@stable"), one);
    let manifest = store.manifest(&store.tagged(&name("shop"), "stable").unwrap().unwrap()).unwrap().unwrap();
    assert_eq!(Digest::of(&manifest.bytes), manifest.digest);
    assert_eq!(store.tags(&name("shop")).unwrap(), ["1.0.0", "1.1.0", "latest", "stable"]);
    let index: oci::Index = serde_json::from_slice(&read(&**blobs, "index.json").unwrap()).unwrap();
    assert_eq!(index.manifests.len(), 2);
    // A flipped bit is refused, not served.
    let key = format!("blobs/sha256/{}", one.digest.hex());
    blobs.put_file(&key, staged(&store, b"onf")).unwrap();
    assert!(matches!(store.get(&one.digest), Err(StoreError::Damaged { .. })));
    publish(&store, "1.0.0", b"one").unwrap();
    assert_eq!(store.get_bytes(&one.digest).unwrap(), b"one");
}

fn goes_on_after_an_interruption<S: ObjectStore + MultipartStore>(objects: S) {
    let breaking = Breaking::after(2, objects);
    let open =
        || Bucket::open(Arc::clone(&breaking), "going/on", "test://packages", runtime().clone()).unwrap();
    let blobs: Arc<dyn Blobs> = Arc::new(open().with_parts_of(PART));
    let store = Store::over(Arc::clone(&blobs)).unwrap();
    let digest = Digest::of(&large());
    let refused = store.put(staged(&store, &large()), &digest).unwrap_err();
    assert!(refused.to_string().contains("the connection broke"), "{refused}");
    assert_eq!(store.blob_size(&digest).unwrap(), None, "a part of a file is nothing");
    breaking.left.store(100, Ordering::SeqCst);
    // As another process, which knows only what the bucket has.
    let blobs: Arc<dyn Blobs> = Arc::new(open().with_parts_of(PART));
    let store = Store::over(Arc::clone(&blobs)).unwrap();
    store.put(staged(&store, &large()), &digest).unwrap();
    assert_eq!(breaking.arrived.load(Ordering::SeqCst), 3, "what had arrived was sent again");
    assert!(store.get_bytes(&digest).unwrap() == large());
    assert_eq!(blobs.list("uploads").unwrap(), []);
}

#[test]
fn a_directory() {
    let place = tempfile::tempdir().unwrap();
    let blobs: Arc<dyn Blobs> = Arc::new(Directory::open(&place.path().join("contract")).unwrap());
    keeps_the_contract(&blobs);
    let blobs: Arc<dyn Blobs> = Arc::new(Directory::open(&place.path().join("packages")).unwrap());
    keeps_packages(&blobs);
}

#[test]
fn memory() {
    keeps_the_contract(&(bucket(InMemory::new(), "") as Arc<dyn Blobs>));
    keeps_packages(&(bucket(InMemory::new(), "a/b") as Arc<dyn Blobs>));
    goes_on_after_an_interruption(InMemory::new());
}

#[test]
fn s3() {
    let server = Server::s3();
    keeps_the_contract(&(bucket(server.s3_client(), "contract") as Arc<dyn Blobs>));
    keeps_packages(&(bucket(server.s3_client(), "packages/of ours") as Arc<dyn Blobs>));
    goes_on_after_an_interruption(server.s3_client());
}

#[test]
fn azure() {
    let server = Server::azure();
    keeps_the_contract(&(bucket(server.azure_client(), "contract") as Arc<dyn Blobs>));
    keeps_packages(&(bucket(server.azure_client(), "packages/of ours") as Arc<dyn Blobs>));
    goes_on_after_an_interruption(server.azure_client());
}

#[test]
fn a_server_without_conditions_is_refused() {
    let objects = Arc::new(NoConditions(InMemory::new()));
    let refused = Bucket::open(objects, "", "test://packages", runtime().clone()).unwrap_err();
    assert!(refused.to_string().contains("If-None-Match"), "{refused}");
}

/// A server of the time before conditions.
#[derive(Debug)]
struct NoConditions(InMemory);

impl std::fmt::Display for NoConditions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

mod no_conditions {
    use futures_util::stream::BoxStream;
    use object_store::{
        CopyOptions, GetOptions, GetResult, ListResult, MultipartId, MultipartUpload, ObjectMeta,
        ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
        multipart::{MultipartStore, PartId},
        path::Path,
    };

    use super::NoConditions;

    #[async_trait::async_trait]
    impl ObjectStore for NoConditions {
        async fn put_opts(&self, key: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
            self.0.put_opts(key, payload, PutOptions { mode: PutMode::Overwrite, ..options }).await
        }
        async fn put_multipart_opts(
            &self,
            key: &Path,
            options: PutMultipartOptions,
        ) -> Result<Box<dyn MultipartUpload>> {
            self.0.put_multipart_opts(key, options).await
        }
        async fn get_opts(&self, key: &Path, options: GetOptions) -> Result<GetResult> {
            self.0.get_opts(key, options).await
        }
        fn delete_stream(&self, keys: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
            self.0.delete_stream(keys)
        }
        fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
            self.0.list(prefix)
        }
        async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
            self.0.list_with_delimiter(prefix).await
        }
        async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
            self.0.copy_opts(from, to, options).await
        }
    }

    #[async_trait::async_trait]
    impl MultipartStore for NoConditions {
        async fn create_multipart(&self, key: &Path) -> Result<MultipartId> {
            self.0.create_multipart(key).await
        }
        async fn put_part(
            &self,
            key: &Path,
            id: &MultipartId,
            number: usize,
            data: PutPayload,
        ) -> Result<PartId> {
            self.0.put_part(key, id, number, data).await
        }
        async fn complete_multipart(
            &self,
            key: &Path,
            id: &MultipartId,
            parts: Vec<PartId>,
        ) -> Result<PutResult> {
            self.0.complete_multipart(key, id, parts).await
        }
        async fn abort_multipart(&self, key: &Path, id: &MultipartId) -> Result<()> {
            self.0.abort_multipart(key, id).await
        }
    }
}
