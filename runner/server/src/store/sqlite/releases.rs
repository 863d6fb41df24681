//! Statements about releases. What the deployer is told is in `orders`, what it says in `ledgers`.

mod ledgers;
mod orders;
mod rules;
mod trim;

use std::collections::BTreeSet;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use staith_model::{
    Digest, FleetRelease, Name, Plan, RunId,
    service::{
        EnvironmentRules, LedgerEntry, LedgerHad, OpenOrder, Order, OrderAnswer, OrderSeen, ReleaseMaterial,
        ReleaseSeen, ReleaseStanding, Trust,
    },
};

use super::{
    Sqlite,
    audit::{Change, note},
    rows::{damaged, json, parsed},
};
use crate::store::{
    Actor, Due, KeptRelease, NewOrder, NewRelease, Packages as _, Releases, RunMade, StoreError,
};

#[async_trait]
impl Releases for Sqlite {
    async fn run_made(&self, run: &RunId) -> Result<RunMade, StoreError> {
        let run = run.clone();
        self.read(move |connection| run_made(connection, &run)).await
    }

    async fn add_release(
        &self,
        new: NewRelease,
        by: Actor,
        now: u64,
    ) -> Result<(ReleaseSeen, Option<u64>), StoreError> {
        self.write_new(move |connection| add(connection, new, &by, now)).await
    }

    async fn releases(&self, project: &Name) -> Result<Vec<KeptRelease>, StoreError> {
        let project = project.clone();
        self.read(move |connection| all(connection, &project)).await
    }

    async fn frozen(&self, project: &Name, number: u64) -> Result<Option<FleetRelease>, StoreError> {
        let project = project.clone();
        self.read(move |connection| frozen(connection, &project, number)).await
    }

    async fn rules(
        &self,
        project: &Name,
        environment: &Name,
    ) -> Result<Option<EnvironmentRules>, StoreError> {
        let (project, environment) = (project.clone(), environment.clone());
        self.read(move |connection| rules::of(connection, &project, &environment)).await
    }

    async fn all_rules(&self) -> Result<Vec<(Name, Name, EnvironmentRules)>, StoreError> {
        self.read(rules::all).await
    }

    async fn set_rules(
        &self,
        project: &Name,
        environment: &Name,
        rules: Option<EnvironmentRules>,
        by: Actor,
        now: u64,
    ) -> Result<(), StoreError> {
        let (project, environment) = (project.clone(), environment.clone());
        self.write(move |connection| {
            rules::set(connection, (&project, &environment), rules.as_ref(), &by, now)
        })
        .await
    }

    async fn add_order(&self, new: NewOrder, by: Actor, now: u64) -> Result<u64, StoreError> {
        self.write_new(move |connection| orders::add(connection, &new, &by, now)).await
    }

    async fn open_orders(&self) -> Result<Vec<OpenOrder>, StoreError> {
        self.read(orders::open).await
    }

    async fn order(&self, order: u64) -> Result<OrderSeen, StoreError> {
        self.read(move |connection| orders::one(connection, order)).await
    }

    async fn answer_order(
        &self,
        order: u64,
        answer: OrderAnswer,
        by: Actor,
        now: u64,
    ) -> Result<(), StoreError> {
        self.write(move |connection| orders::answer(connection, order, &answer, &by, now)).await
    }

    async fn append_ledger(
        &self,
        project: &Name,
        environment: &Name,
        entries: Vec<LedgerEntry>,
    ) -> Result<LedgerHad, StoreError> {
        let (project, environment) = (project.clone(), environment.clone());
        self.write(move |connection| ledgers::append(connection, &project, &environment, &entries)).await
    }

    async fn ledger(&self, project: &Name, environment: &Name) -> Result<Vec<LedgerEntry>, StoreError> {
        let (project, environment) = (project.clone(), environment.clone());
        self.read(move |connection| ledgers::all(connection, &project, &environment)).await
    }

    async fn environments(&self, project: &Name) -> Result<Vec<Name>, StoreError> {
        let project = project.clone();
        self.read(move |connection| ledgers::environments(connection, &project)).await
    }

    async fn due(&self, done: Option<Due>) -> Result<Vec<Due>, StoreError> {
        match done {
            None => self.read(rules::due).await,
            Some(done) => self.write(move |connection| rules::seen_to(connection, &done)).await,
        }
    }

    async fn trust_of(&self, project: &Name, name: &Name, manifest: &Digest) -> Result<Trust, StoreError> {
        let origin = self.package_origin(project, name, manifest).await?;
        Ok(origin.map_or(Trust::Fork, |origin| origin.trust))
    }
}

fn run_made(connection: &Connection, run: &RunId) -> Result<RunMade, StoreError> {
    let found: Option<(String, String, String, Option<String>, String)> = connection
        .prepare_cached(
            "SELECT r.project, r.state, r.trust, r.commit_id, p.plan_json FROM runs r JOIN plans p ON p.run = r.id
             WHERE r.id = ?1",
        )?
        .query_row([run.as_str()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
        })
        .optional()?;
    let Some((project, state, trust, commit, plan)) = found else {
        return Err(StoreError::Unknown { what: "run", name: run.to_string() });
    };
    let bad = |why: &dyn std::fmt::Display| damaged("runs", run.as_str(), why);
    let plan: Plan = parsed("plans", run.as_str(), &plan)?;
    Ok(RunMade {
        project: project.parse().map_err(|why: staith_model::NotAName| bad(&why))?,
        state: state.parse().map_err(|why: staith_model::service::NotAState| bad(&why))?,
        trust: trust.parse().map_err(|why: staith_model::service::NotATrust| bad(&why))?,
        commit,
        plan,
    })
}

const COLUMNS: &str =
    "number, run, trust, material_json, state, digest, environments_json, why, asked_by, created";

fn all(connection: &Connection, project: &Name) -> Result<Vec<KeptRelease>, StoreError> {
    let mut select = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM releases WHERE project = ?1 ORDER BY number DESC"))?;
    let rows = select.query_map([project.as_str()], raw)?.collect::<Result<Vec<_>, _>>()?;
    rows.into_iter().map(|row| understood(project, row)).collect()
}

fn frozen(connection: &Connection, project: &Name, number: u64) -> Result<Option<FleetRelease>, StoreError> {
    let text: Option<String> = connection
        .prepare_cached("SELECT frozen_json FROM releases WHERE project = ?1 AND number = ?2")?
        .query_row(params![project.as_str(), number], |row| row.get(0))
        .optional()?
        .flatten();
    text.map(|text| parsed("releases", &format!("{project}/{number}"), &text)).transpose()
}

struct Raw {
    number: u64,
    run: String,
    trust: String,
    material: String,
    state: String,
    digest: Option<String>,
    environments: String,
    why: Option<String>,
    by: String,
    created: u64,
}

fn raw(row: &Row<'_>) -> rusqlite::Result<Raw> {
    Ok(Raw {
        number: row.get(0)?,
        run: row.get(1)?,
        trust: row.get(2)?,
        material: row.get(3)?,
        state: row.get(4)?,
        digest: row.get(5)?,
        environments: row.get(6)?,
        why: row.get(7)?,
        by: row.get(8)?,
        created: row.get(9)?,
    })
}

fn understood(project: &Name, raw: Raw) -> Result<KeptRelease, StoreError> {
    let row = format!("{project}/{}", raw.number);
    let bad = |why: &dyn std::fmt::Display| damaged("releases", &row, why);
    let material: ReleaseMaterial = parsed("releases", &row, &raw.material)?;
    let environments: BTreeSet<Name> = parsed("releases", &row, &raw.environments)?;
    let state = match raw.state.as_str() {
        "making" => ReleaseStanding::Making,
        "made" => ReleaseStanding::Made,
        _ => ReleaseStanding::Refused,
    };
    let digest = raw.digest.map(|digest| digest.parse().map_err(|why: staith_model::NotADigest| bad(&why)));
    let seen = ReleaseSeen {
        number: raw.number,
        run: raw.run.parse().map_err(|why: staith_model::NotAnId| bad(&why))?,
        package: material.package.clone(),
        version: material.version.clone(),
        trust: raw.trust.parse().map_err(|why: staith_model::service::NotATrust| bad(&why))?,
        source: material.source.clone(),
        state,
        digest: digest.transpose()?,
        environments,
        why: raw.why,
        by: raw.by,
        created: raw.created,
    };
    Ok(KeptRelease { seen, material })
}

fn add(
    connection: &Connection,
    new: NewRelease,
    by: &Actor,
    now: u64,
) -> Result<(ReleaseSeen, Option<u64>), StoreError> {
    let NewRelease { project, run, package, trust, mut material } = new;
    let of_it = |one: &KeptRelease| one.seen.run == run && one.seen.package == package.name;
    let known = all(connection, &project)?;
    if let Some(there) = known.iter().find(|one| of_it(one)) {
        if there.seen.state != ReleaseStanding::Refused {
            return Ok((there.seen.clone(), None));
        }
        material.number = there.seen.number;
        connection
            .prepare_cached(
                "UPDATE releases SET state = 'making', why = NULL, material_json = ?3 WHERE project = ?1 AND number = ?2",
            )?
            .execute(params![project.as_str(), material.number, json(&material)?])?;
    } else {
        material.number = known.first().map_or(1, |last| last.seen.number + 1);
        connection
            .prepare_cached(
                "INSERT INTO releases (project, number, run, package, trust, material_json, state, asked_by, created)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'making', ?7, ?8)",
            )?
            .execute(params![
                project.as_str(),
                material.number,
                run.as_str(),
                package.name.as_str(),
                trust.as_str(),
                json(&material)?,
                by.who,
                now
            ])?;
    }
    let number = material.number;
    let order = Order::Make { material: Box::new(material) };
    let new = NewOrder {
        project: project.clone(),
        what: "release-asked",
        order,
        who: orders::person(by).to_owned(),
    };
    let order = orders::add(connection, &new, by, now)?;
    let made = all(connection, &project)?.into_iter().find(|one| one.seen.number == number);
    let made = made.ok_or_else(|| damaged("releases", project.as_str(), &"it was not kept"))?;
    Ok((made.seen, Some(order)))
}

/// Notes a change of what is kept here.
fn told(
    connection: &Connection,
    (what, subject): (&str, &str),
    (before, after): (Option<&str>, Option<&str>),
    by: &Actor,
    at: u64,
) -> Result<(), StoreError> {
    note(connection, &Change { by, at, what, subject, before, after })
}
