//! The server: what happened at repositories becomes runs, runs become jobs, jobs go to runners, and nothing that was acknowledged is
//! lost. A map, in reading order:
//!
//! 1. [`site`]: what every part of a server has at hand. [`clock`]: its two clocks. [`bells`]: who is told that something changed.
//! 2. [`store`]: what is kept. One file of SQLite, one writer.
//! 3. [`api`]: the frame of the HTTP API: problems, callers, what they may. [`limits`], [`counts`]: how often they may, and how often
//!    they did.
//! 4. [`tokens`] of people; [`enrolment`] of runners. [`secrets`] of projects. [`audit`]: what was done.
//!    [`health`]: how the server is, for supervisors and monitoring. [`upkeep`]: what operators do with a server's directory.
//! 5. [`triggers`]: projects, what happens to them, and which runs come of it.
//! 6. [`queue`]: which runner gets which job, and what becomes of it. [`streams`]: the bytes that attempts send, and who reads them.
//!    [`source_transfer`]: what they get. [`layers`]: what one tells the others. [`packages`]: what comes of it.
//! 7. [`releases`]: what of that is deployed where, and who agreed. The process that deploys is another one.
//! 8. [`targets`]: machines that the server can't reach, and that reach it: the deployer speaks to them through it.
//! 9. [`serve`]: all of it on a port, with its loops, until it is to stop.
//!
//! Nothing here runs a step, reads a repository or knows an engine: what of that the server needs comes in through
//! [`site::Site`].

pub mod api;
pub mod audit;
pub mod bells;
pub mod clock;
pub mod counts;
pub mod enrolment;
pub mod health;
pub mod layers;
pub mod limits;
pub mod packages;
pub mod queue;
pub mod releases;
pub mod secrets;
pub mod serve;
pub mod site;
pub mod source_transfer;
pub mod store;
pub mod streams;
pub mod targets;
pub mod tokens;
pub mod triggers;
pub mod upkeep;
