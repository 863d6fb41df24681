//! Environments that can't be shown beside others that can: each is told with what is wrong, and hides none of the others.

use staith_model::{Exit, Name};

use crate::output::{self, OutputMode, Problem};

/// Environments that can't be shown, and why.
#[derive(Debug, Default)]
pub(super) struct Hidden(Vec<(Name, Problem)>);

impl Hidden {
    /// Takes one more.
    pub(super) fn hides(&mut self, environment: &Name, problem: Problem) {
        self.0.push((environment.clone(), problem));
    }

    /// Whether all can be shown.
    pub(super) fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether nothing is left of so many, which are some.
    pub(super) fn is_all(&self, of: usize) -> bool {
        of > 0 && self.0.len() == of
    }

    /// Tells of all of them; the exit of the first, if there is one.
    ///
    /// # Errors
    /// Somebody stopped it (130): that is not told as a mistake of each environment.
    pub(super) fn told(self, mode: OutputMode) -> Result<Option<Exit>, Problem> {
        let mut first = None;
        for (environment, problem) in self.0 {
            if problem.exit == Exit::Interrupted {
                return Err(problem);
            }
            first.get_or_insert(problem.exit);
            let what = format!("`{environment}` can't be shown: {}", problem.what);
            output::error(&Problem { what, ..problem }, mode.is_json());
        }
        Ok(first)
    }
}

/// What could be shown, and what could not.
pub(super) fn apart<'a, T>(each: impl Iterator<Item = (&'a Name, Result<T, Problem>)>) -> (Vec<T>, Hidden) {
    let (mut shown, mut hidden) = (Vec::new(), Hidden::default());
    for (environment, look) in each {
        match look {
            Ok(look) => shown.push(look),
            Err(problem) => hidden.hides(environment, problem),
        }
    }
    (shown, hidden)
}
