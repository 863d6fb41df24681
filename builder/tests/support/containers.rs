//! An engine of containers for tests.

use std::sync::Arc;

use async_trait::async_trait;
use staith_builder::{
    addresses::Caution,
    docker::DockerEngine,
    engine::{
        Capabilities, Engine, EngineError, Image, ImageProgress, ImageSpec, OutputChunk, StepExit, StepSpec,
    },
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    bench::helper,
    container_engine::{ContainerEngine, Kind, LENT},
};

/// Our engine over a container engine of the tests' own. Where a test names no image it gets one made of this host's
/// programs, so that the same steps run as in the built-in sandbox.
pub struct Containers {
    pub engine: DockerEngine,
    pub daemon: Arc<ContainerEngine>,
}

/// Over the container engine that other tests of this process use, too.
pub fn containers(kind: Kind) -> Containers {
    let daemon = ContainerEngine::shared(kind);
    // One that was lent has no place for what another user keeps.
    let state = match std::env::var_os(LENT) {
        Some(_) => std::env::temp_dir().join("state"),
        None => daemon.scratch(),
    };
    let engine = DockerEngine::at(Some(daemon.host()), helper(), state);
    let engine = engine.allowing_images_below(vec![daemon.place().to_path_buf()]);
    // The tests' registries are on this machine.
    let engine = engine.with_caution(Caution::allowing(["localhost"]));
    Containers { engine, daemon }
}

#[async_trait]
impl Engine for Containers {
    async fn probe(&self) -> Result<Capabilities, EngineError> {
        self.engine.probe().await
    }

    async fn image(&self, wanted: &ImageSpec, progress: &ImageProgress<'_>) -> Result<Image, EngineError> {
        let image = || self.daemon.image().display().to_string();
        let reference = Some(wanted.reference.clone().unwrap_or_else(image));
        self.engine.image(&ImageSpec { reference, tools: wanted.tools.clone() }, progress).await
    }

    async fn run(
        &self,
        step: StepSpec,
        output: mpsc::Sender<OutputChunk>,
        cancel: CancellationToken,
    ) -> Result<StepExit, EngineError> {
        self.engine.run(step, output, cancel).await
    }

    async fn reap(&self) -> Result<usize, EngineError> {
        self.engine.reap().await
    }
}
