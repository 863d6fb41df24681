//! What a deployment goes by: the pipeline file of its release's commit, and files of that commit that name machines. All of it by value:
//! what becomes of the branch afterwards changes nothing.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use staith_model::{DeploymentId, Digest, Exit, RelPath};

use crate::{home::Home, output::Problem};

/// A pipeline file, and files beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recipe {
    pub(super) pipeline: String,
    /// By their paths.
    pub(super) inventories: BTreeMap<String, String>,
}

impl Recipe {
    /// Keeps it for a deployment. It is on the disk then.
    ///
    /// # Errors
    /// It can't be written.
    pub(super) fn keep(&self, home: &Home, deployment: &DeploymentId) -> Result<(), Problem> {
        let place = pipeline_place(home, deployment);
        if !self.inventories.is_empty() {
            let beside = inventories_place(home, deployment);
            let text = serde_json::to_vec(&self.inventories).map_err(|bad| Problem::bug(bad.to_string()))?;
            keep(&beside, &text).map_err(|refused| Problem::unreadable(&beside, &refused))?;
        }
        // Whoever finds this finds all of it.
        keep(&place, self.pipeline.as_bytes()).map_err(|refused| Problem::unreadable(&place, &refused))
    }

    /// That of a deployment.
    ///
    /// # Errors
    /// It is not there, or can't be read.
    pub(super) fn of(home: &Home, deployment: &DeploymentId) -> Result<Self, Problem> {
        let place = pipeline_place(home, deployment);
        let pipeline = fs::read_to_string(&place).map_err(|refused| Problem::unreadable(&place, &refused))?;
        let beside = inventories_place(home, deployment);
        let inventories = match fs::read(&beside) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|bad| Problem::unreadable(&beside, &io::Error::other(bad)))?,
            Err(absent) if absent.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(refused) => return Err(Problem::unreadable(&beside, &refused)),
        };
        Ok(Self { pipeline, inventories })
    }

    /// A folder with the files that name machines and nothing else: what stands for the project's directory here. One for all recipes
    /// with the same files.
    ///
    /// # Errors
    /// It can't be made, or a file has a path that leads elsewhere.
    pub(super) fn folder(&self, home: &Home) -> Result<PathBuf, Problem> {
        if self.inventories.is_empty() {
            return Ok(home.path().join("nothing"));
        }
        let all = home.path().join("inventories");
        let digest = Digest::of_value("staith.inventories.v1", &self.inventories);
        let folder = all.join(digest.hex());
        for (path, text) in &self.inventories {
            let path = RelPath::try_from(path.clone()).map_err(|_| {
                Problem::new(
                    Exit::Configuration,
                    format!("`{}` is no path within a project", path.escape_debug()),
                )
            })?;
            let place = folder.join(path.as_str());
            if !place.exists() {
                keep(&place, text.as_bytes()).map_err(|refused| Problem::unreadable(&place, &refused))?;
            }
        }
        Ok(folder)
    }
}

fn pipeline_place(home: &Home, deployment: &DeploymentId) -> PathBuf {
    home.path().join("pipelines").join(format!("{deployment}.toml"))
}

fn inventories_place(home: &Home, deployment: &DeploymentId) -> PathBuf {
    home.path().join("pipelines").join(format!("{deployment}.inventories.json"))
}

fn keep(place: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = place.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    io::Write::write_all(&mut file, bytes)?;
    file.as_file().sync_all()?;
    file.persist(place)?;
    fs::File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(files: &[(&str, &str)]) -> Recipe {
        let inventories = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        Recipe { pipeline: "name = \"shop\"".to_owned(), inventories }
    }

    #[test]
    fn what_a_deployment_goes_by_is_kept_by_value() {
        let place = tempfile::tempdir().unwrap();
        let home = Home::at(place.path().to_owned());
        let (first, second) = (DeploymentId::new(1, [1; 10]), DeploymentId::new(2, [1; 10]));
        let (alone, both) = (recipe(&[]), recipe(&[("ops/hosts.json", "[\"web1\"]")]));
        alone.keep(&home, &first).unwrap();
        both.keep(&home, &second).unwrap();
        assert_eq!((Recipe::of(&home, &first).unwrap(), Recipe::of(&home, &second).unwrap()), (alone, both));
        assert!(Recipe::of(&home, &DeploymentId::new(3, [1; 10])).is_err());
    }

    #[test]
    fn the_folder_has_its_files_and_no_path_leads_out_of_it() {
        let place = tempfile::tempdir().unwrap();
        let home = Home::at(place.path().to_owned());
        let one = recipe(&[("ops/hosts.json", "[\"web1\"]")]).folder(&home).unwrap();
        assert_eq!(fs::read_to_string(one.join("ops/hosts.json")).unwrap(), "[\"web1\"]");
        let other = recipe(&[("ops/hosts.json", "[\"web2\"]")]).folder(&home).unwrap();
        assert_ne!(one, other, "what one commit says is not what another goes by");
        for bad in ["../hosts.json", "/etc/hosts"] {
            assert!(recipe(&[(bad, "[]")]).folder(&home).is_err(), "{bad}");
        }
    }
}
