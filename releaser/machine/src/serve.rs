//! Answers requests until the stream ends.

use std::io::{Read, Write};

use crate::{
    facts, hook,
    lock::Lock,
    place::Place,
    probe,
    protocol::{PROTOCOL, Reply, Request},
    refusal::Outcome,
    retain,
    session::Session,
    spare,
    spec::{self, Manifests},
    stage, switch,
};

/// Answers requests until the stream ends.
pub(crate) fn serve(place: &Place, from: impl Read + Send + 'static, to: impl Write + Send + 'static) {
    // Files are for those whom their modes name, whatever the account's habit is.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    // What a program that was killed left behind goes first, unless one is at work.
    if let Some(_lock) = Lock::try_now(&place.layout) {
        let _ = spec::clear_leftovers(&place.layout);
    }
    let session = Session::begin(from, to);
    let state = switch::observe(&place.layout).ok();
    session.say(&Reply::Hello { protocol: PROTOCOL, state: state.clone() });
    let mut manifests = Manifests::default();
    // As a rule, a release comes next, told by its difference to the one that runs. Until the request is here, there is time to read that.
    if let Some(state) = state {
        manifests.expect(&place.layout, &state);
    }
    while let Some(request) = session.next_request() {
        match answer(place, &session, request, &mut manifests) {
            Ok(reply) => {
                session.say(&reply);
                if matches!(&reply, Reply::Removed(gone) if !gone.is_empty()) {
                    spare::sweep(&place.layout);
                }
            }
            Err(why) => session.refuse(why),
        }
    }
}

fn answer(place: &Place, session: &Session, request: Request, manifests: &mut Manifests) -> Outcome<Reply> {
    let (layout, flags) = (&place.layout, session.flags());
    match request {
        Request::Reach => Ok(Reply::Reached(facts::system(layout))),
        Request::Observe => switch::observe(layout).map(Reply::Observed),
        Request::Inspect { release, every_byte } => {
            stage::inspect(layout, &release, every_byte, manifests, flags)
        }
        Request::Stage(stage) => stage::stage(layout, session, &stage, manifests),
        Request::Switch { order, to } => switch::switch(place, &order, to, flags),
        Request::Hook { order, release, hook } => hook::hook(layout, &order, &release, &hook, flags),
        Request::Probe(question) => probe::probe(layout, session, &question),
        Request::Retain { order, keep } => retain::retain(layout, &order, &keep, flags),
        Request::Sent | Request::Abandon | Request::Cancel => {
            Err(crate::refusal::ours("nothing is under way"))
        }
    }
}
