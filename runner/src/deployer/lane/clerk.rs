//! Orders become entries of the ledger. An order that was carried out before this process was killed is known by what is there.

use std::{collections::BTreeMap, sync::Arc};

use staith_model::{
    DeploymentId, DeploymentState, Digest, Exit, FleetEvent, FleetPlan, FleetState, Name,
    service::{OpenOrder, Order, OrderAnswer, Trust},
};
use staith_releaser::fleet::drive::{Deployer, FleetDriveError, Rollback};
use tokio_util::sync::CancellationToken;

use super::Lane;
use crate::{
    deployer::recipe::Recipe,
    fleet::{Site, setting_for},
    output::Problem,
};

/// A deployment that somebody wants.
pub(super) struct Wanted<'a> {
    pub(super) deployment: &'a DeploymentId,
    pub(super) by: &'a str,
    pub(super) reason: &'a str,
    pub(super) by_itself: bool,
    pub(super) recipe: &'a Recipe,
    pub(super) repair: bool,
    /// Why it may lead below the rollback floor.
    pub(super) override_floor: Option<&'a str>,
}

/// That by which an environment was deployed to last, and the release that was deployed.
pub(super) struct LastRecipe {
    pub(super) recipe: Recipe,
    pub(super) release: Digest,
}

/// A way back that somebody wants.
#[derive(Clone, Copy)]
pub(super) struct Back<'a> {
    pub(super) deployment: &'a DeploymentId,
    pub(super) by: &'a str,
    pub(super) reason: &'a str,
    pub(super) override_floor: Option<&'a str>,
}

impl<'a> Back<'a> {
    pub(super) fn wanted(self, recipe: &'a Recipe) -> Wanted<'a> {
        let Self { deployment, by, reason, override_floor } = self;
        Wanted { deployment, by, reason, by_itself: false, recipe, repair: false, override_floor }
    }
}

impl Lane {
    pub(super) async fn obey(&self, order: &OpenOrder) -> Result<OrderAnswer, Problem> {
        match &order.what {
            Order::Make { .. } => Err(Problem::bug("a release is made for no environment")),
            Order::Plan { release, pipeline, inventories, repair, .. } => {
                let recipe = recipe(pipeline, inventories);
                let (_, plan) = self.planned(release, &recipe, *repair).await?;
                Ok(OrderAnswer::Planned { deployment: None, digest: plan.digest(), plan: Box::new(plan) })
            }
            Order::Deploy {
                deployment,
                release,
                trust,
                pipeline,
                inventories,
                plan,
                reason,
                by_itself,
                repair,
                override_floor,
                ..
            } => {
                let recipe = &recipe(pipeline, inventories);
                let (by_itself, repair) = (*by_itself, *repair);
                let (by, override_floor) = (order.by.as_str(), override_floor.as_deref());
                let wanted = Wanted { deployment, by, reason, by_itself, recipe, repair, override_floor };
                self.deploy(wanted, release, *trust, *plan).await
            }
            Order::Rollback { deployment, to, force, reason, override_floor, .. } => {
                let rollback = Rollback { to: *to, force: *force };
                let back =
                    Back { deployment, by: &order.by, reason, override_floor: override_floor.as_deref() };
                self.go_back(back, &rollback).await
            }
            Order::Swap { deployment, reason, override_floor, .. } => {
                let back =
                    Back { deployment, by: &order.by, reason, override_floor: override_floor.as_deref() };
                self.swap(back).await
            }
            Order::Override { deployment, plan, reason, freeze_only, floor, .. } => {
                let past = FleetEvent::Overridden {
                    deployment: deployment.clone(),
                    plan: *plan,
                    by: order.by.clone(),
                    reason: reason.clone(),
                    freeze_only: *freeze_only,
                    floor: *floor,
                };
                self.once(order, past).await
            }
            Order::Vote { deployment, plan, approves, comment, .. } => {
                let vote = FleetEvent::Voted {
                    deployment: deployment.clone(),
                    plan: *plan,
                    by: order.by.clone(),
                    approves: *approves,
                    comment: comment.clone(),
                };
                self.once(order, vote).await
            }
            Order::Wish { deployment, ask, .. } => {
                let (deployment, by) = (deployment.clone(), order.by.clone());
                self.once(order, FleetEvent::Asked { deployment, by, ask: ask.clone() }).await
            }
            Order::Lift { reason, .. } => {
                let (by, reason) = (order.by.clone(), reason.clone());
                self.once(order, FleetEvent::HoldLifted { by, reason }).await
            }
            Order::Quarantine { target, out, reason, .. } => {
                let (target, out, reason) = (target.clone(), *out, reason.clone());
                self.once(order, FleetEvent::Quarantine { target, out, by: order.by.clone(), reason }).await
            }
        }
    }

    pub(super) fn state(&self) -> Result<FleetState, Problem> {
        self.office.state(&self.project, &self.environment)
    }

    async fn append(&self, event: FleetEvent) -> Result<(), Problem> {
        let log = self.office.log(&self.project, &self.environment);
        log.append(event).await.map_err(FleetDriveError::from)?;
        Ok(())
    }

    /// Writes down what somebody says, unless that was done since they said it.
    async fn once(&self, order: &OpenOrder, event: FleetEvent) -> Result<OrderAnswer, Problem> {
        let log = self.office.log(&self.project, &self.environment);
        let entries = log.since(0).map_err(FleetDriveError::from)?;
        let is_it =
            |entry: &&staith_releaser::fleet::drive::Stamped| entry.at >= order.asked && entry.event == event;
        if entries.iter().rev().find(is_it).is_none() {
            self.append(event).await?;
        }
        Ok(OrderAnswer::Done)
    }

    pub(super) async fn site(&self, recipe: &Recipe) -> Result<Site, Problem> {
        self.office.site(&self.project, &self.environment, recipe).await
    }

    /// The same, with the server's secrets for a release.
    pub(super) async fn site_for(&self, recipe: &Recipe, release: &Digest) -> Result<Site, Problem> {
        self.office.site_for(&self.project, &self.environment, recipe, release).await
    }

    /// On the way back, machines are found by what was deployed last; what is gone back to may be of other code, and must have the
    /// secrets that are named there as well.
    pub(super) async fn refuse_what_is_withheld(
        &self,
        recipe: &LastRecipe,
        release: &Digest,
    ) -> Result<(), Problem> {
        if *release != recipe.release {
            self.site_for(&recipe.recipe, release).await?;
        }
        Ok(())
    }

    async fn planned(
        &self,
        release: &Digest,
        recipe: &Recipe,
        repair: bool,
    ) -> Result<(Deployer, FleetPlan), Problem> {
        let site = self.site_for(recipe, release).await?;
        let release = self.release(&site, release)?;
        let setting = setting_for(&release, &self.environment)?;
        let deployer = deployer(&site).await?;
        let plan = match repair {
            true => deployer.plan_repair(release.digest(), &setting).await?,
            false => deployer.plan(release.digest(), &setting).await?,
        };
        Ok((deployer, plan))
    }

    fn release(&self, site: &Site, digest: &Digest) -> Result<staith_model::FleetRelease, Problem> {
        site.shelf().get(digest)?.ok_or_else(|| {
            Problem::new(Exit::Environment, format!("release {} is not here any more", digest.short()))
                .with_remedy("make it again: `staith server release create`")
        })
    }

    async fn deploy(
        &self,
        wanted: Wanted<'_>,
        release: &Digest,
        trust: Trust,
        expected: Option<Digest>,
    ) -> Result<OrderAnswer, Problem> {
        if let Some(known) = self.known(wanted.deployment)? {
            return Ok(known);
        }
        let guard = self.office.guard(&self.project, &self.environment).await?;
        if trust < guard.trust {
            let what = format!("release {} may not go to `{}`", release.short(), self.environment);
            let why = format!(
                "its package was made by {} code, and the environment takes {} code only",
                trust.as_str(),
                guard.trust.as_str()
            );
            return Err(Problem::new(Exit::Configuration, what).with_why(why));
        }
        if wanted.by_itself {
            self.site(wanted.recipe).await?.refuse_while_held()?;
        }
        let (deployer, plan) = self.planned(release, wanted.recipe, wanted.repair).await?;
        if let Some(expected) = expected.filter(|expected| *expected != plan.digest()) {
            let what = format!("the plan is not {} any more", expected.short());
            return Err(Problem::new(Exit::NeedsDecision, what)
                .with_why(format!("machines or traffic have changed since; it is {} now", plan.digest()))
                .with_remedy("look at it again, and ask for that one"));
        }
        self.request(&deployer, plan, &wanted).await
    }

    async fn go_back(&self, back: Back<'_>, rollback: &Rollback) -> Result<OrderAnswer, Problem> {
        let Back { deployment, by, reason, override_floor } = back;
        if let Some(known) = self.known(deployment)? {
            return Ok(known);
        }
        let last = self.last_recipe()?;
        let site = self.site_for(&last.recipe, &last.release).await?;
        let deployer = deployer(&site).await?;
        let plan = deployer.plan_rollback(rollback).await?;
        self.refuse_what_is_withheld(&last, &plan.release).await?;
        // Nobody holds an environment for a way back that is refused.
        deployer.refuse_while_undecided(plan.direction)?;
        Deployer::refuse_below_floor(&plan, override_floor)?;
        let colon = if reason.trim().is_empty() { "" } else { ": " };
        let short = plan.release.short();
        deployer.hold(by, &format!("{by} went back to release {short}{colon}{}", reason.trim())).await?;
        self.request(&deployer, plan, &back.wanted(&last.recipe)).await
    }

    /// Writes down that a deployment is wanted; the driver does the rest.
    pub(super) async fn request(
        &self,
        deployer: &Deployer,
        plan: FleetPlan,
        wanted: &Wanted<'_>,
    ) -> Result<OrderAnswer, Problem> {
        // What would be refused leaves nothing behind that waits.
        deployer.refuse_while_undecided(plan.direction)?;
        Deployer::refuse_below_floor(&plan, wanted.override_floor)?;
        self.office.keep_recipe(&self.project, wanted.deployment, wanted.recipe)?;
        let (deployment, digest) = (wanted.deployment.clone(), plan.digest());
        // Nobody drives it before all that was asked is written down.
        let asking = self.asking.lock().await;
        self.append(FleetEvent::Requested {
            deployment: deployment.clone(),
            plan: Box::new(plan.clone()),
            by: wanted.by.to_owned(),
            reason: wanted.reason.to_owned(),
            by_itself: wanted.by_itself,
        })
        .await?;
        if let Some(reason) = wanted.override_floor {
            self.append(FleetEvent::Overridden {
                deployment: deployment.clone(),
                plan: digest,
                by: wanted.by.to_owned(),
                reason: reason.to_owned(),
                freeze_only: false,
                floor: true,
            })
            .await?;
        }
        drop(asking);
        Ok(OrderAnswer::Planned { deployment: Some(deployment), plan: Box::new(plan), digest })
    }

    /// The answer to an order whose deployment is in the ledger.
    pub(super) fn known(&self, deployment: &DeploymentId) -> Result<Option<OrderAnswer>, Problem> {
        let state = self.state()?;
        Ok(state.deployment(deployment).map(|record| OrderAnswer::Planned {
            deployment: Some(deployment.clone()),
            digest: record.plan.digest(),
            plan: Box::new(record.plan.clone()),
        }))
    }

    /// That by which the environment was deployed to last: it says which machines there are. One that was only asked for, and that nobody
    /// agreed to, says nothing.
    pub(super) fn last_recipe(&self) -> Result<LastRecipe, Problem> {
        let state = self.state()?;
        let ran = |record: &&staith_model::DeploymentRecord| {
            record.showed || record.state == DeploymentState::Succeeded
        };
        let showed = state.in_order().rev().filter(ran);
        let texts = showed.map(|record| {
            let recipe = self.office.recipe_of(&self.project, &record.deployment)?;
            Ok::<_, Problem>(LastRecipe { recipe, release: record.plan.release })
        });
        texts.into_iter().find_map(Result::ok).ok_or_else(|| nothing_there(&self.environment))
    }
}

fn recipe(pipeline: &str, inventories: &BTreeMap<String, String>) -> Recipe {
    Recipe { pipeline: pipeline.to_owned(), inventories: inventories.clone() }
}

fn nothing_there(environment: &Name) -> Problem {
    Problem::new(
        Exit::Usage,
        format!("nothing was ever deployed to `{environment}`, so there is no way back"),
    )
}

/// What deploys to an environment. It does not stay where people are waited for: whoever drives comes back.
pub(super) async fn deployer(site: &Site) -> Result<Deployer, Problem> {
    site.deployer(false, Arc::new(|_, _| {}), &CancellationToken::new()).await
}
