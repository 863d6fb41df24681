//! Statements about clocks that start runs.

use async_trait::async_trait;
use rusqlite::{OptionalExtension as _, params};
use staith_model::Name;

use super::{Sqlite, arrivals::arrive};
use crate::store::{NewArrival, Schedules, StoreError};

#[async_trait]
impl Schedules for Sqlite {
    async fn looked(&self, project: &Name, schedule: &Name) -> Result<Option<u64>, StoreError> {
        let (project, schedule) = (project.clone(), schedule.clone());
        self.read(move |connection| {
            let mut select =
                connection.prepare_cached("SELECT looked FROM schedules WHERE project = ?1 AND name = ?2")?;
            Ok(select.query_row([project.as_str(), schedule.as_str()], |row| row.get(0)).optional()?)
        })
        .await
    }

    async fn look(
        &self,
        project: &Name,
        schedule: &Name,
        due: Option<NewArrival>,
        now: u64,
    ) -> Result<(), StoreError> {
        let (project, schedule) = (project.clone(), schedule.clone());
        self.write(move |connection| {
            if let Some(due) = &due {
                arrive(connection, due, now)?;
            }
            connection
                .prepare_cached(
                    "INSERT INTO schedules (project, name, looked) VALUES (?1, ?2, ?3)
                     ON CONFLICT (project, name) DO UPDATE SET looked = excluded.looked",
                )?
                .execute(params![project.as_str(), schedule.as_str(), now])?;
            Ok(())
        })
        .await
    }

    async fn built(&self, project: &Name, schedule: &Name) -> Result<Option<String>, StoreError> {
        let (project, schedule) = (project.clone(), schedule.clone());
        self.read(move |connection| {
            let mut select =
                connection.prepare_cached("SELECT built FROM schedules WHERE project = ?1 AND name = ?2")?;
            let found =
                select.query_row([project.as_str(), schedule.as_str()], |row| row.get(0)).optional()?;
            Ok(found.flatten())
        })
        .await
    }

    async fn builds(&self, project: &Name, schedule: &Name, commit: &str) -> Result<(), StoreError> {
        let (project, schedule, commit) = (project.clone(), schedule.clone(), commit.to_owned());
        self.write(move |connection| {
            connection
                .prepare_cached("UPDATE schedules SET built = ?3 WHERE project = ?1 AND name = ?2")?
                .execute([project.as_str(), schedule.as_str(), &commit])?;
            Ok(())
        })
        .await
    }

    async fn forget(&self, project: &Name, schedule: &Name) -> Result<(), StoreError> {
        let (project, schedule) = (project.clone(), schedule.clone());
        self.write(move |connection| {
            connection
                .prepare_cached("DELETE FROM schedules WHERE project = ?1 AND name = ?2")?
                .execute([project.as_str(), schedule.as_str()])?;
            Ok(())
        })
        .await
    }
}
