//! The exchange of two pools.

use staith_model::{DeploymentId, Exit, service::OrderAnswer};

use super::{
    Lane,
    clerk::{Wanted, deployer},
};
use crate::output::Problem;

impl Lane {
    /// Gives the requests to the pool that has none. As on the way back, nobody is asked, so the pool has to run what has served here
    /// before: what never did has not passed what protects the environment.
    pub(super) async fn swap(
        &self,
        deployment: &DeploymentId,
        by: &str,
        reason: &str,
    ) -> Result<OrderAnswer, Problem> {
        if let Some(known) = self.known(deployment)? {
            return Ok(known);
        }
        let recipe = &self.last_recipe()?;
        let site = self.site(recipe).await?;
        let deployer = deployer(&site).await?;
        let plan = deployer.plan_swap().await?;
        if !self.state()?.history.contains(&plan.release) {
            let what =
                format!("the other pool runs release {}, which has never served here", plan.release.short());
            return Err(Problem::new(Exit::Configuration, what)
                .with_why(
                    "a swap asks nobody, so it brings only what has passed what protects the environment",
                )
                .with_remedy("deploy that release: `staith server release deploy`"));
        }
        let wanted = Wanted { deployment, by, reason, by_itself: false, recipe, repair: false };
        self.request(&deployer, plan, &wanted).await
    }
}
