//! Answers that succeed.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

/// A value in JSON, with status 200. Not to be stored by anybody on the way.
#[derive(Debug, Clone, Copy)]
pub struct Answer<T>(pub T);

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        answer(StatusCode::OK, &self.0)
    }
}

/// The same with status 201: something was made.
#[derive(Debug, Clone, Copy)]
pub struct Made<T>(pub T);

impl<T: Serialize> IntoResponse for Made<T> {
    fn into_response(self) -> Response {
        answer(StatusCode::CREATED, &self.0)
    }
}

fn answer<T: Serialize>(status: StatusCode, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => {
            let kind = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
            (status, kind, body).into_response()
        }
        Err(bad) => {
            tracing::error!(%bad, "an answer can't be written as JSON");
            super::Problem::new(500, "bug", "the answer can't be written").into_response()
        }
    }
}
