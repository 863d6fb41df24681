//! The numbers that tell attempts apart: each is higher than all before it, also those that were given before a restore.

use rusqlite::Connection;

use crate::store::{StoreError, sqlite::queue::word};

/// So many bits count attempts within a generation; what is above them is the number of restores. A backup does not know the attempts
/// that came after it, and machines do: one more generation puts the next fence above all of theirs. Forty bits are 300 years of a
/// hundred attempts a second, and leave thirteen for generations in a number that JSON readers take whole.
const BITS_OF_COUNT: u32 = 40;

pub(super) fn next(connection: &Connection) -> Result<u64, StoreError> {
    let (generation, last) = (meta(connection, "generation")?, meta(connection, "fence")?);
    let fence = after(generation, last);
    connection
        .prepare_cached("UPDATE meta SET value = ?1 WHERE key = 'fence'")?
        .execute([fence.to_string()])?;
    Ok(fence)
}

fn after(generation: u64, last: u64) -> u64 {
    last.max(generation << BITS_OF_COUNT) + 1
}

fn meta(connection: &Connection, key: &str) -> Result<u64, StoreError> {
    let text: String = connection
        .prepare_cached("SELECT value FROM meta WHERE key = ?1")?
        .query_row([key], |row| row.get(0))?;
    word("meta", key, &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restore_leads_above_all_fences_before_it() {
        let first = after(1, 0);
        assert!(after(1, first) > first);
        let forgotten = after(1, first + 1_000_000);
        assert!(
            after(2, first) > forgotten,
            "what was given after the backup is below what comes after the restore"
        );
        assert!(after(1, after(2, first)) > after(2, first), "never back");
    }
}
