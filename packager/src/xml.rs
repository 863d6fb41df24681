//! XML files read with the place of every node, asked with XPath, and edited so that no other byte changes. In reading order:
//!
//! 1. [`Text`]: the bytes of a file as text, with what it takes to write them as they came.
//! 2. [`Document`]: that text as a tree; [`Node`]: what lies in it and where.
//! 3. [`XPath`]: a question to a document, with a bound on what its answer may cost.
//! 4. [`Edits`]: what shall be otherwise, collected and applied at once; [`Fragment`]: XML that shall come in.
//!
//! Files come from packages, so from anywhere: entities are refused, sizes and depths are bounded, and nothing is ever fetched.

mod document;
mod edits;
mod error;
mod escape;
mod fragment;
mod layout;
mod node;
mod tag;
mod text;
mod xpath;

#[cfg(test)]
mod tests;

pub use document::{Document, Position};
pub use edits::Edits;
pub use error::XmlError;
pub use fragment::Fragment;
pub use node::Node;
pub use tag::{RawAttribute, StartTag};
pub use text::Text;
pub use xpath::{Namespaces, Outcome, XPath, XPathError};
