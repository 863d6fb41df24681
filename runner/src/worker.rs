//! What a build host does for a server: it asks for jobs, has each carried out by a keeper, and brings what comes of it back.
//! A map, in reading order:
//!
//! 1. [`Registration`] and `identity`: who this host is for a server. `session`: how it proves that.
//! 2. `rooms` and [`Job`]: what lies where below `STAITH_HOME/runner`. Everything that must survive is a file.
//! 3. [`keep`]: the process that carries out one job, with `source` from the server. It outlives the runner. `sharing`: what other
//!    runners know of steps, and what they are told; `taken`: what other jobs of the run left.
//! 4. [`Lease`], pure: whether what an attempt does still counts. `boot` is the clock that it goes by.
//! 5. `courier`: one for each job. It renews the lease (`renewing`), sends what comes of the job (`streams`, `packages`), and ends
//!    the keeper (`ending`) when the server wants that or the lease is over.
//! 6. [`start`]: the runner: claims, adopts, drains. `serving`: that of a machine that pulls its deployments, and gets no jobs.
//!
//! The runner does all that can be seen from outside, the keeper does what takes long. So the runner may end, be killed or be
//! replaced by a newer one at any time: the next one finds every job as a directory and goes on with it.

mod boot;
mod courier;
mod ending;
mod identity;
mod job;
mod keep;
mod lease;
mod packages;
mod renewing;
mod rooms;
mod serving;
mod session;
mod sharing;
mod source;
mod start;
mod streams;
mod taken;

pub(crate) use self::{
    identity::{Registration, register},
    job::Job,
    keep::keep,
    rooms::Rooms,
    start::{Beginning, News, start},
};
