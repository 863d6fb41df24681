//! Orders become entries of the ledger. An order that was carried out before this process was killed is known by what is there.

use std::sync::Arc;

use staith_model::{
    DeploymentId, Digest, Exit, FleetEvent, FleetPlan, FleetState, Name,
    service::{OpenOrder, Order, OrderAnswer, Trust},
};
use staith_releaser::fleet::drive::{Deployer, FleetDriveError, Rollback};
use tokio_util::sync::CancellationToken;

use super::Lane;
use crate::{
    fleet::{Site, setting_for},
    output::Problem,
};

/// A deployment that somebody wants.
struct Wanted<'a> {
    deployment: &'a DeploymentId,
    by: &'a str,
    reason: &'a str,
    by_itself: bool,
    pipeline: &'a str,
}

impl Lane {
    pub(super) async fn obey(&self, order: &OpenOrder) -> Result<OrderAnswer, Problem> {
        match &order.what {
            Order::Make { .. } => Err(Problem::bug("a release is made for no environment")),
            Order::Plan { release, pipeline, .. } => {
                let (_, plan) = self.planned(release, pipeline).await?;
                Ok(OrderAnswer::Planned { deployment: None, digest: plan.digest(), plan: Box::new(plan) })
            }
            Order::Deploy { deployment, release, trust, pipeline, plan, reason, by_itself, .. } => {
                let wanted = Wanted { deployment, by: &order.by, reason, by_itself: *by_itself, pipeline };
                self.deploy(wanted, release, *trust, *plan).await
            }
            Order::Rollback { deployment, to, force, reason, .. } => {
                let rollback = Rollback { to: *to, force: *force };
                self.go_back(deployment, &order.by, reason, &rollback).await
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

    async fn site(&self, pipeline: &str) -> Result<Site, Problem> {
        self.office.site(&self.project, &self.environment, pipeline).await
    }

    async fn planned(&self, release: &Digest, pipeline: &str) -> Result<(Deployer, FleetPlan), Problem> {
        let site = self.site(pipeline).await?;
        let release = self.release(&site, release)?;
        let setting = setting_for(&release, &self.environment)?;
        let deployer = deployer(&site).await?;
        let plan = deployer.plan(release.digest(), &setting).await?;
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
            self.site(wanted.pipeline).await?.refuse_while_held()?;
        }
        let (deployer, plan) = self.planned(release, wanted.pipeline).await?;
        if let Some(expected) = expected.filter(|expected| *expected != plan.digest()) {
            let what = format!("the plan is not {} any more", expected.short());
            return Err(Problem::new(Exit::NeedsDecision, what)
                .with_why(format!("machines or traffic have changed since; it is {} now", plan.digest()))
                .with_remedy("look at it again, and ask for that one"));
        }
        self.request(&deployer, plan, &wanted).await
    }

    async fn go_back(
        &self,
        deployment: &DeploymentId,
        by: &str,
        reason: &str,
        rollback: &Rollback,
    ) -> Result<OrderAnswer, Problem> {
        if let Some(known) = self.known(deployment)? {
            return Ok(known);
        }
        let pipeline = self.last_pipeline()?;
        let site = self.site(&pipeline).await?;
        let deployer = deployer(&site).await?;
        let plan = deployer.plan_rollback(rollback).await?;
        // Nobody holds an environment for a way back that is refused.
        deployer.refuse_while_undecided(plan.direction)?;
        Deployer::refuse_below_floor(&plan, None)?;
        let colon = if reason.trim().is_empty() { "" } else { ": " };
        let short = plan.release.short();
        deployer.hold(by, &format!("{by} went back to release {short}{colon}{}", reason.trim())).await?;
        let wanted = Wanted { deployment, by, reason, by_itself: false, pipeline: &pipeline };
        self.request(&deployer, plan, &wanted).await
    }

    /// Writes down that a deployment is wanted; the driver does the rest.
    async fn request(
        &self,
        deployer: &Deployer,
        plan: FleetPlan,
        wanted: &Wanted<'_>,
    ) -> Result<OrderAnswer, Problem> {
        // What would be refused leaves nothing behind that waits.
        deployer.refuse_while_undecided(plan.direction)?;
        Deployer::refuse_below_floor(&plan, None)?;
        self.office.keep_pipeline(&self.project, wanted.deployment, wanted.pipeline)?;
        let (deployment, digest) = (wanted.deployment.clone(), plan.digest());
        self.append(FleetEvent::Requested {
            deployment: deployment.clone(),
            plan: Box::new(plan.clone()),
            by: wanted.by.to_owned(),
            reason: wanted.reason.to_owned(),
            by_itself: wanted.by_itself,
        })
        .await?;
        Ok(OrderAnswer::Planned { deployment: Some(deployment), plan: Box::new(plan), digest })
    }

    /// The answer to an order whose deployment is in the ledger.
    fn known(&self, deployment: &DeploymentId) -> Result<Option<OrderAnswer>, Problem> {
        let state = self.state()?;
        Ok(state.deployment(deployment).map(|record| OrderAnswer::Planned {
            deployment: Some(deployment.clone()),
            digest: record.plan.digest(),
            plan: Box::new(record.plan.clone()),
        }))
    }

    /// The pipeline file by which the environment was deployed to last: it says which machines there are.
    fn last_pipeline(&self) -> Result<String, Problem> {
        let state = self.state()?;
        let texts =
            state.in_order().rev().map(|record| self.office.pipeline_of(&self.project, &record.deployment));
        texts.into_iter().find_map(Result::ok).ok_or_else(|| nothing_there(&self.environment))
    }
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
