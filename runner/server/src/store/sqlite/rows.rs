//! What statements of all rooms share: values in columns.

use serde::{Serialize, de::DeserializeOwned};

use crate::store::StoreError;

/// A value as a column that ends in `_json` holds it.
pub(super) fn json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|bad| StoreError::Conflict(bad.to_string()))
}

/// What such a column holds.
pub(super) fn parsed<T: DeserializeOwned>(
    table: &'static str,
    row: &str,
    text: &str,
) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|bad| damaged(table, row, &bad))
}

/// A row that does not make sense.
pub(super) fn damaged(table: &'static str, row: &str, why: &dyn std::fmt::Display) -> StoreError {
    StoreError::Damaged { table, row: row.to_owned(), why: why.to_string() }
}
