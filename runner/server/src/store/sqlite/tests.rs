//! What holds for all work: durable once answered, whole or not at all, one server.

use super::*;

fn store() -> (tempfile::TempDir, Sqlite) {
    let place = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&place.path().join("staith.db")).unwrap();
    (place, store)
}

fn put(key: &str) -> impl FnOnce(&Connection) -> Result<(), StoreError> + use<> {
    let key = key.to_owned();
    move |connection| {
        connection.execute("INSERT INTO meta (key, value) VALUES (?1, 'x')", [key])?;
        Ok(())
    }
}

async fn keys(store: &Sqlite) -> Vec<String> {
    let read = store.read(|connection| {
        let mut statement = connection.prepare("SELECT key FROM meta WHERE value = 'x' ORDER BY key")?;
        Ok(statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
    });
    read.await.unwrap()
}

#[tokio::test]
async fn the_writer_syncs_its_log_with_every_commit() {
    let (_place, store) = store();
    let asked = store.write(|connection| {
        let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
        let synchronous: u8 = connection.pragma_query_value(None, "synchronous", |row| row.get(0))?;
        Ok((mode, synchronous))
    });
    // 2 is FULL. NORMAL, which is 1, syncs when there is a checkpoint only.
    assert_eq!(asked.await.unwrap(), ("wal".to_owned(), 2));
}

#[tokio::test]
async fn work_that_fails_takes_nothing_else_with_it() {
    let (_place, store) = store();
    let fails = |connection: &Connection| -> Result<(), StoreError> {
        put("half")(connection)?;
        Err(StoreError::Conflict("no".to_owned()))
    };
    let (a, b, c) = tokio::join!(store.write(put("a")), store.write(fails), store.write(put("c")));
    assert!(a.is_ok() && c.is_ok() && matches!(b, Err(StoreError::Conflict(_))));
    assert_eq!(keys(&store).await, ["a", "c"]);
}

#[tokio::test]
async fn a_second_server_is_refused_and_a_later_one_finds_everything() {
    let (place, store) = store();
    store.write(put("a")).await.unwrap();
    let path = place.path().join("staith.db");
    assert!(matches!(Sqlite::open(&path), Err(StoreError::InUse(_))));
    drop(store);
    assert_eq!(keys(&Sqlite::open(&path).unwrap()).await, ["a"]);
}

#[tokio::test]
async fn a_later_version_is_left_alone() {
    let (place, store) = store();
    store.write(|connection| Ok(connection.pragma_update(None, "user_version", 9999)?)).await.unwrap();
    drop(store);
    assert!(matches!(
        Sqlite::open(&place.path().join("staith.db")),
        Err(StoreError::TooNew { found: 9999, .. })
    ));
}
