//! Removes containers and volumes of processes of Staith that were killed. Such a container has ended by itself, because its
//! first process ends with its engine; what is left is its name.

use std::{collections::HashMap, fs, time::Duration};

use bollard::{
    Docker,
    models::ContainerSummary,
    query_parameters::{
        ListContainersOptionsBuilder, ListVolumesOptionsBuilder, RemoveContainerOptionsBuilder,
        RemoveVolumeOptionsBuilder,
    },
};

use super::{
    Shared,
    container::{LABEL_BOOT, LABEL_OWNER},
    is_absent, place, refused,
};
use crate::{engine::EngineError, sandbox::shared::Owner};

/// What tells one start of this machine from another.
pub(super) fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

pub(super) async fn reap(shared: &Shared) -> Result<usize, EngineError> {
    let mut removed = place::reap(&shared.state).map_err(|error| EngineError::Setup {
        doing: "removing directories that a killed Staith left".to_owned(),
        why: error.to_string(),
    })?;
    let api = &shared.daemon().await?.api;
    let (boot, filters) = (boot(), HashMap::from([("label", vec![LABEL_OWNER])]));
    let doing = "removing containers that a killed Staith left";
    for found in list(api, &filters).await.map_err(refused(doing))? {
        let (Some(id), Some(labels)) = (found.id, found.labels) else { continue };
        if !is_left_over(&labels, &boot) {
            continue;
        }
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match api.remove_container(&id, Some(options)).await {
            Ok(()) => removed += 1,
            // Another process of Staith was quicker.
            Err(error) if is_absent(&error) || is_under_way(&error) => {}
            Err(error) => return Err(refused(doing)(error)),
        }
    }
    let options = ListVolumesOptionsBuilder::default().filters(&filters).build();
    let volumes = api
        .list_volumes(Some(options))
        .await
        .map_err(refused("looking for volumes that a killed Staith left"))?;
    for volume in volumes.volumes.into_iter().flatten() {
        if !is_left_over(&volume.labels, &boot) {
            continue;
        }
        let options = RemoveVolumeOptionsBuilder::default().force(true).build();
        match api.remove_volume(&volume.name, Some(options)).await {
            Ok(()) => removed += 1,
            Err(error) if is_absent(&error) || is_under_way(&error) => {}
            Err(error) => return Err(refused("removing volumes that a killed Staith left")(error)),
        }
    }
    Ok(removed)
}

/// For a moment Podman says of a container that has just ended a word that Docker's interface does not know.
async fn list(
    api: &Docker,
    filters: &HashMap<&str, Vec<&str>>,
) -> Result<Vec<ContainerSummary>, bollard::errors::Error> {
    const TRIES: u32 = 50;
    const BETWEEN_TRIES: Duration = Duration::from_millis(100);
    let options = ListContainersOptionsBuilder::default().all(true).filters(filters).build();
    for _ in 1..TRIES {
        match api.list_containers(Some(options.clone())).await {
            Err(bollard::errors::Error::JsonDataError { .. }) => tokio::time::sleep(BETWEEN_TRIES).await,
            listed => return listed,
        }
    }
    api.list_containers(Some(options)).await
}

fn is_under_way(error: &bollard::errors::Error) -> bool {
    matches!(error, bollard::errors::Error::DockerResponseServerError { status_code: 409, .. })
}

/// Whether whoever made it is gone. What says nothing is left alone.
fn is_left_over(labels: &HashMap<String, String>, boot: &str) -> bool {
    let Some(owner) = labels.get(LABEL_OWNER).and_then(|owner| Owner::parse(owner)) else { return false };
    let of_this_boot = labels.get(LABEL_BOOT).is_some_and(|its| its == boot);
    !of_this_boot || !owner.is_alive()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::container::labels;

    #[test]
    fn only_what_belongs_to_nobody_alive_is_left_over() {
        let own = Owner::this_process().unwrap();
        assert!(!is_left_over(&labels("run", own, "boot"), "boot"));
        assert!(is_left_over(&labels("run", own, "an earlier boot"), "boot"));
        let gone = Owner::parse(&own.to_string().replacen('-', "-9", 1)).unwrap();
        assert!(is_left_over(&labels("run", gone, "boot"), "boot"));
        assert!(!is_left_over(&HashMap::from([(LABEL_OWNER.to_owned(), "somebody".to_owned())]), "boot"));
        assert!(!is_left_over(&HashMap::new(), "boot"));
    }
}
