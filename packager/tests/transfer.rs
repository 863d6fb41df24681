//! Packages with all that belongs to them, from one place to another: to a store, to a registry that lists what speaks of a
//! manifest, and to one that does not know of such a thing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    unreachable_pub,
    dead_code,
    reason = "tests, which share more than each needs"
)]

#[path = "registry/memory.rs"]
mod memory;
#[path = "registry/wire.rs"]
mod wire;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::{
    extract::Request,
    http::StatusCode,
    middleware::{Next, from_fn},
    response::{IntoResponse as _, Response},
};
use memory::Memory;
use staith_model::{Digest, Name, Package};
use staith_packager::{
    registry::{
        Options,
        access::Open,
        client::{Remote, Settings},
        names::Reference as Asked,
        router,
        shelf::Shelf as _,
        transfer::{Place, TransferError, pull, push},
    },
    store::{
        Companion, Publication, Published, Store,
        oci::{Descriptor, TITLE},
    },
};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use wire::Served;

const STATEMENT: &str = "application/vnd.in-toto+json";
const BILL: &str = "application/vnd.cyclonedx+json";
const VALUES: &[u8] = b"<parameters />";

/// A registry of an earlier specification: it has no lists of what speaks of a manifest, and does not say that it takes note.
async fn without_referrers(request: Request, next: Next) -> Response {
    if request.uri().path().contains("/referrers/") {
        return StatusCode::NOT_FOUND.into_response();
    }
    let mut response = next.run(request).await;
    response.headers_mut().remove("oci-subject");
    response
}

fn shop() -> Name {
    "shop".parse().unwrap()
}

/// A store with a package that has a companion.
fn store_with_package() -> (tempfile::TempDir, Store, Published) {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let mut staged = store.stage().unwrap();
    staged.file().write_all(b"zip").unwrap();
    let digest = Digest::of(b"zip");
    let package =
        Package { name: shop(), version: "1.0+c.ab".parse().unwrap(), digest, content: digest, size: 3 };
    let announced = store.put_announced([VALUES]).unwrap();
    let companion = Companion {
        title: "shop.SetParameters.xml".into(),
        media_type: "application/xml".into(),
        digest: Digest::of(VALUES),
        size: VALUES.len() as u64,
    };
    let publication =
        Publication { package: &package, profile: 1, origin: None, companions: vec![companion] };
    let published = store.publish_with(staged, publication).unwrap();
    drop(announced);
    (root, store, published)
}

fn attach(store: &Store, subject: Descriptor, kind: &str, title: &str, bytes: &[u8]) -> Digest {
    let digest = store.put_bytes(bytes).unwrap();
    let file = Descriptor {
        annotations: [(TITLE.to_owned(), title.to_owned())].into(),
        ..Descriptor::new("application/json", digest, bytes.len() as u64)
    };
    store.attach(&shop(), subject, kind, vec![file]).unwrap()
}

/// Such a store, where two have made a statement about the package, and somebody one about the first of them.
fn full() -> (tempfile::TempDir, Store, Published) {
    let (root, store, published) = store_with_package();
    let subject = published.manifest();
    attach(&store, subject.clone(), BILL, "shop.cdx.json", b"parts");
    let statement = attach(&store, subject.clone(), STATEMENT, "shop.provenance.json", b"first");
    attach(&store, subject, STATEMENT, "shop.provenance.json", b"second");
    let size = store.manifest(&statement).unwrap().unwrap().bytes.len() as u64;
    let subject = Descriptor::new(staith_packager::store::oci::MANIFEST, statement, size);
    attach(&store, subject, "application/vnd.example", "of-the-statement.json", b"witnessed");
    (root, store, published)
}

fn remote(served: &Served, runtime: &Runtime) -> Place {
    let settings = Settings {
        registry: served.address.to_string(),
        prefix: String::new(),
        at: None,
        is_plain: true,
        authorities: None,
        proxy: None,
        credentials: None,
        notes: None,
        stop: CancellationToken::new(),
    };
    Place::Registry(Remote::new(settings, runtime.handle().clone()).unwrap())
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Pushes all to a place, twice, and pulls it from there with and without what belongs to it.
fn goes_there_and_back(to: &Place) {
    let (_root, store, published) = full();
    let quiet = |_: &str, _, _| {};
    let pushed = push(&store, &published, to, &quiet, &CancellationToken::new()).unwrap();
    assert_eq!((pushed.referrers, pushed.manifest), (4, published.manifest().digest));
    assert!(pushed.sent > 0);
    let again = push(&store, &published, to, &quiet, &CancellationToken::new()).unwrap();
    assert_eq!((again.referrers, again.sent), (4, 0));

    let wanted = "shop@1.0+c.ab".parse().unwrap();
    let only = tempfile::tempdir().unwrap();
    let pulled = pull(to, &wanted, only.path(), false, &quiet, &CancellationToken::new()).unwrap();
    assert_eq!(names_in(only.path()), [published.package.file_name()]);
    assert!(pulled.beside.is_empty());

    let all = tempfile::tempdir().unwrap();
    let pulled = pull(to, &wanted, all.path(), true, &quiet, &CancellationToken::new()).unwrap();
    assert_eq!(pulled.beside.len(), 4);
    let read = |name: &str| fs::read(all.path().join(name)).unwrap();
    assert_eq!(read("shop.SetParameters.xml"), VALUES);
    assert_eq!(read("shop.cdx.json"), b"parts");
    // Both statements are there, the further one under a name of its own.
    let of = |path: &&PathBuf| path.to_string_lossy().ends_with("shop.provenance.json");
    let mut statements: Vec<Vec<u8>> =
        pulled.beside.iter().filter(of).map(|path| fs::read(path).unwrap()).collect();
    statements.sort();
    assert_eq!(statements, [b"first".to_vec(), b"second".to_vec()]);
    assert!(names_in(all.path()).contains(&"shop.provenance.json".to_owned()));

    // Again is fine; what was edited stays, and is named.
    assert_eq!(
        pull(to, &wanted, all.path(), true, &quiet, &CancellationToken::new()).unwrap().beside,
        pulled.beside
    );
    fs::write(all.path().join("shop.SetParameters.xml"), "edited").unwrap();
    let refused = pull(to, &wanted, all.path(), true, &quiet, &CancellationToken::new()).unwrap_err();
    assert!(matches!(&refused, TransferError::InTheWay(path) if path.ends_with("shop.SetParameters.xml")));
    assert_eq!(read("shop.SetParameters.xml"), b"edited");
}

#[test]
fn all_of_a_package_goes_from_store_to_store() {
    let root = tempfile::tempdir().unwrap();
    let place = Place::Store(Store::open(root.path()).unwrap());
    goes_there_and_back(&place);
    // And goes when the package goes.
    let Place::Store(store) = place else { unreachable!() };
    let published = store.latest(&shop()).unwrap().unwrap();
    store.forget(&published).unwrap();
    assert_eq!(store.referrers(&published.manifest().digest).unwrap(), []);
    assert_eq!(store.blob_size(&Digest::of(b"first")).unwrap(), None);
    assert_eq!(store.blob_size(&Digest::of(b"witnessed")).unwrap(), None);
}

#[test]
fn all_of_a_package_goes_through_a_registry_that_lists_referrers() {
    let runtime = Runtime::new().unwrap();
    let served = Served::over(Arc::new(Memory::default()), Open, Options::default());
    let place = remote(&served, &runtime);
    goes_there_and_back(&place);
}

#[test]
fn a_registry_that_does_not_list_referrers_gets_a_tag_with_the_list() {
    let runtime = Runtime::new().unwrap();
    let shelf = Memory::default();
    let routes = router(Arc::new(shelf.clone()), Arc::new(Open), Options::default());
    let served = Served::of(routes.layer(from_fn(without_referrers)));
    goes_there_and_back(&remote(&served, &runtime));
    let (_root, _, published) = full();
    let tag = format!("sha256-{}", published.manifest().digest.hex());
    let list = shelf.manifest(&shop(), &Asked::Tag(tag.parse().unwrap())).unwrap().unwrap();
    let list: serde_json::Value = serde_json::from_slice(&list.bytes).unwrap();
    let listed = list["manifests"].as_array().unwrap();
    let mut kinds: Vec<&str> = listed.iter().map(|one| one["artifactType"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    // Once each, though they were pushed twice.
    assert_eq!(kinds, [BILL, STATEMENT, STATEMENT]);
}
