//! The exchange of two pools.

use staith_model::{Exit, service::OrderAnswer};

use super::{
    Lane,
    clerk::{Back, deployer},
};
use crate::output::Problem;

impl Lane {
    /// Gives the requests to the pool that has none. As on the way back, nobody is asked, so the pool has to run what has served here
    /// before: what never did has not passed what protects the environment.
    pub(super) async fn swap(&self, back: Back<'_>) -> Result<OrderAnswer, Problem> {
        if let Some(known) = self.known(back.deployment)? {
            return Ok(known);
        }
        let last = self.last_recipe()?;
        let site = self.site_for(&last.recipe, &last.release).await?;
        let deployer = deployer(&site).await?;
        let plan = deployer.plan_swap().await?;
        self.refuse_what_is_withheld(&last, &plan.release).await?;
        if !self.state()?.history.contains(&plan.release) {
            let what =
                format!("the other pool runs release {}, which has never served here", plan.release.short());
            return Err(Problem::new(Exit::Configuration, what)
                .with_why(
                    "a swap asks nobody, so it brings only what has passed what protects the environment",
                )
                .with_remedy("deploy that release: `staith server release deploy`"));
        }
        self.request(&deployer, plan, &back.wanted(&last.recipe)).await
    }
}
