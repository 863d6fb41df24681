//! What edits leave alone, what they mean, and what expressions select.

mod edits;
mod reading;
mod xpath;
