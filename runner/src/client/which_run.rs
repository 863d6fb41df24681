//! Which run a person means.

use std::str::FromStr;

use staith_model::{
    Exit, Name, RunId,
    service::{RunPage, RunView},
};

use super::people::People;
use crate::output::Problem;

/// A run as it is named at a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WhichRun {
    Id(RunId),
    /// As people speak of it: `shop#7`.
    Numbered(Name, u64),
}

impl FromStr for WhichRun {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        let numbered = text
            .rsplit_once('#')
            .and_then(|(project, number)| Some(Self::Numbered(project.parse().ok()?, number.parse().ok()?)));
        numbered.ok_or_else(|| "a run is its id (26 characters), or PROJECT#NUMBER".to_owned())
    }
}

impl WhichRun {
    /// The run's id.
    ///
    /// # Errors
    /// There is no such run, or the server can't be asked.
    pub(crate) async fn find(&self, people: &People) -> Result<RunId, Problem> {
        let (project, number) = match self {
            Self::Id(id) => return Ok(id.clone()),
            Self::Numbered(project, number) => (project, number),
        };
        let path = format!("/api/v1/runs?project={project}&number={number}&limit=1");
        let page: RunPage = people.get(&path).await?;
        let found = page.runs.into_iter().next().map(|run| run.id);
        found.ok_or_else(|| {
            Problem::new(Exit::Usage, format!("there is no run {project}#{number}"))
                .with_remedy(format!("`staith runs list --project {project}` shows those that there are"))
        })
    }

    /// The project that it is a run of.
    ///
    /// # Errors
    /// There is no such run, or the server can't be asked.
    pub(crate) async fn project(&self, people: &People) -> Result<Name, Problem> {
        match self {
            Self::Numbered(project, _) => Ok(project.clone()),
            Self::Id(id) => {
                let run: RunView = people.get(&format!("/api/v1/runs/{id}")).await?;
                Ok(run.run.project)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_an_id_or_a_number_of_a_project() {
        let id = "01arz3ndektsv4rrffq69g5fav";
        assert_eq!(id.parse(), Ok(WhichRun::Id(id.parse().unwrap())));
        assert_eq!("shop#7".parse(), Ok(WhichRun::Numbered("shop".parse().unwrap(), 7)));
        for bad in ["", "7", "shop", "shop#", "#7", "shop#-1", "shop#x", "01ARZ3NDEKTSV4RRFFQ69G5FAV"] {
            assert!(bad.parse::<WhichRun>().is_err(), "{bad}");
        }
    }
}
