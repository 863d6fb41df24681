//! What is said when a request is refused: OCI's error codes, each with its status.

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::{names::BadWord, shelf::ShelfError};

/// The codes of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are the specification's words")]
pub enum Code {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    SizeInvalid,
    Unauthorized,
    Denied,
    Unsupported,
    TooManyRequests,
}

impl Code {
    /// As it is written in an answer.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid => "MANIFEST_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::SizeInvalid => "SIZE_INVALID",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Denied => "DENIED",
            Self::Unsupported => "UNSUPPORTED",
            Self::TooManyRequests => "TOOMANYREQUESTS",
        }
    }
}

/// A request that is not granted.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    code: Code,
    message: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: Code, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), headers: Vec::new() }
    }

    pub(super) fn bad(code: Code, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(super) fn not_found(code: Code, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// What failed in here, and is nobody's fault out there. There is no code of OCI's for it; the words say what to do.
    fn failed(message: String) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Unsupported, message)
    }

    /// A failure of a thread of ours.
    pub(super) fn broken(error: &tokio::task::JoinError) -> Self {
        Self::failed(format!("the registry failed: {error}"))
    }
}

impl From<BadWord> for Refusal {
    fn from(bad: BadWord) -> Self {
        let code = match bad {
            BadWord::Tag(_) => Code::ManifestInvalid,
            BadWord::Digest(_) => Code::DigestInvalid,
            BadWord::Upload(_) => Code::BlobUploadInvalid,
            BadWord::Name(_) => Code::NameInvalid,
        };
        Self::bad(code, bad.to_string())
    }
}

impl From<ShelfError> for Refusal {
    fn from(error: ShelfError) -> Self {
        let message = error.to_string();
        let (status, code) = match error {
            ShelfError::Conflict(_) => (StatusCode::CONFLICT, Code::Denied),
            ShelfError::Invalid(_) => (StatusCode::BAD_REQUEST, Code::ManifestInvalid),
            ShelfError::Mismatch { .. } => (StatusCode::BAD_REQUEST, Code::DigestInvalid),
            ShelfError::Busy(_) => (StatusCode::TOO_MANY_REQUESTS, Code::TooManyRequests),
            ShelfError::Unknown(_) => (StatusCode::NOT_FOUND, Code::BlobUploadUnknown),
            ShelfError::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, Code::SizeInvalid),
            ShelfError::Refused(_) => (StatusCode::CONFLICT, Code::Denied),
            // Both name places of this machine, which are nobody's business out there.
            ShelfError::Damaged(_) => {
                return Self::failed(
                    "what is kept of this is damaged, so it is not served; build the package again and publish it: the same \
                     content gives the same bytes"
                        .to_owned(),
                );
            }
            ShelfError::Unavailable(_) => {
                let message = "the registry can't read or write what it keeps; try again later";
                return Self::new(StatusCode::SERVICE_UNAVAILABLE, Code::Unsupported, message)
                    .with(header::RETRY_AFTER, HeaderValue::from_static("5"));
            }
        };
        Self::new(status, code, message)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({ "errors": [{ "code": self.code.as_str(), "message": self.message }] });
        let kind = [(header::CONTENT_TYPE, "application/json")];
        let mut response = (self.status, kind, body.to_string()).into_response();
        response.headers_mut().extend(self.headers);
        response
    }
}
