//! Errors in words.

use std::error::Error;

/// The whole chain of what went wrong, outermost first; of libraries' errors that rarely says anything by itself. What two
/// neighbours of the chain say alike is said once.
pub fn causes(error: &dyn Error) -> String {
    let mut told = vec![error.to_string()];
    let mut next = error.source();
    while let Some(error) = next {
        told.push(error.to_string());
        next = error.source();
    }
    told.dedup();
    told.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{says}")]
    struct Link {
        says: &'static str,
        source: Option<Box<Link>>,
    }

    #[test]
    fn every_cause_is_said_once() {
        let link = |says, source: Option<Link>| Link { says, source: source.map(Box::new) };
        let error = link("not sent", Some(link("refused", Some(link("refused", None)))));
        assert_eq!(causes(&error), "not sent: refused");
        assert_eq!(causes(&link("alone", None)), "alone");
    }
}
