//! What steps came to goes from one runner to another: who runs a step tells it, who is to run the same step asks first.
//!
//! A record is found by the step's key, the digest of all that the step sees. It has the trust of the run that made it, and is given only
//! to attempts of the same project that are trusted as much or less: what a fork made is read by forks only, what a protected branch made
//! by everybody. Beside that, jobs of one run take from each other what their steps left, by the step's name.
//!
//! What a step left goes as bytes that the server keeps and does not understand, by their digest. Whoever takes them compares them with
//! what the record says, file by file. Nothing here is needed for a run to pass: what is not there is made again.
//!
//! 1. [`Shelf`]: the bytes, as files. 2. `routes`: who gives, who takes. Which records there are is in
//!    [`Steps`](crate::store::Steps).

mod routes;
mod shelf;

pub use self::{
    routes::routes,
    shelf::{Shelf, ShelfError},
};

use crate::{site::Site, store::StoreError};

/// Takes away what no record names: what was under way when the server ended. Only before anybody asks.
///
/// # Errors
/// The store fails.
pub async fn tidy(site: &Site) -> Result<(), StoreError> {
    let named = site.store.layers_named().await?;
    let shelf = site.layers.clone();
    let swept = tokio::task::spawn_blocking(move || shelf.sweep(&named)).await;
    swept.map_err(|panicked| StoreError::Failed(panicked.to_string()))
}
