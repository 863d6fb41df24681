//! Points `current` elsewhere and has the service restarted.

use std::{path::Path, time::Duration};

use staith_model::{Digest, Service};

use crate::{
    durable,
    layout::Layout,
    lock::Lock,
    place::Place,
    point::point,
    protocol::{Order, Reply, Serving},
    refusal::{self, Outcome},
    service::{self, serving},
    session::Flags,
    spec::{self, Spec},
    state::{State, pointed},
};

/// How long another program may be at work.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes the machine run `to`, or nothing.
pub(crate) fn switch(place: &Place, order: &Order, to: Option<Digest>, flags: &Flags) -> Outcome<Reply> {
    let layout = &place.layout;
    let _lock = Lock::wait(layout, PATIENCE, flags)?;
    let mut state = State::admit(layout, order)?;
    let now = pointed(&layout.current())?;
    let Some(to) = to else { return leave(place, order, state, now) };
    let Some(spec) = Spec::read(layout, &to)? else {
        return Err(refusal::environment(
            format!("release {} is not on this machine", to.short()),
            "stage the release first",
        ));
    };
    if is_so(layout, &state, now, &to, &spec.service) {
        if state.under_way.is_some() {
            // It was killed after the restart and before it could say so.
            end(layout, &mut state, Some(to))?;
        }
        return Ok(Reply::Switched { already: true });
    }
    if now != Some(to) {
        state.previous = now;
    }
    state.current = Some(to);
    state.under_way = Some(order.operation);
    state.restarted = None;
    state.write(layout)?;
    point("switch-noted");
    if let Some(now) = now.filter(|now| *now != to) {
        aim(&layout.previous(), &now)?;
    }
    point("switch-previous");
    aim(&layout.current(), &to)?;
    point("switch-current");
    if let Some(before) = now.filter(|now| *now != to)
        && let Some(before_spec) = Spec::read(layout, &before)?
        && !service::is_same(&before_spec.service, &spec.service)
    {
        service::stop(place, &before, &before_spec.service)?;
    }
    point("switch-stopped-old");
    service::prepare(place, &spec.service)?;
    point("switch-unit");
    service::restart(place, &to, &spec.service)?;
    point("switch-restarted");
    end(layout, &mut state, Some(to))?;
    point("switch-ended");
    Ok(Reply::Switched { already: false })
}

fn aim(link: &Path, release: &Digest) -> Outcome<()> {
    let target = Path::new("releases").join(release.hex());
    durable::point(link, &target).map_err(refusal::io("point", link))
}

/// Whether `current` and what runs are right.
fn is_so(layout: &Layout, state: &State, now: Option<Digest>, to: &Digest, service: &Service) -> bool {
    if now != Some(*to) || state.replaced {
        return false;
    }
    // Forgotten when a switch begins, and written down when its restart is over.
    let restarted = state.restarted == Some(*to);
    match (service, serving::of(layout, service)) {
        (_, Some(Serving::Up(Some(release)))) => release == *to,
        // A unit of somebody else's may run a program that no release brings.
        (Service::Unit { .. }, Some(Serving::Up(None))) => restarted,
        (Service::Command { .. } | Service::Files, _) => restarted,
        (Service::Systemd { .. } | Service::Supervised { .. } | Service::Unit { .. }, _) => false,
    }
}

/// Stops the service and removes the pointer.
fn leave(place: &Place, order: &Order, mut state: State, now: Option<Digest>) -> Outcome<Reply> {
    let layout = &place.layout;
    let Some(now) = now else {
        if state.under_way.is_some() {
            end(layout, &mut state, None)?;
        }
        return Ok(Reply::Switched { already: true });
    };
    state.current = None;
    state.previous = Some(now);
    state.under_way = Some(order.operation);
    state.restarted = None;
    state.write(layout)?;
    point("switch-noted");
    if let Some(spec) = Spec::read(layout, &now)? {
        service::stop(place, &now, &spec.service)?;
    }
    aim(&layout.previous(), &now)?;
    durable::remove(&layout.current()).map_err(refusal::io("remove", &layout.current()))?;
    end(layout, &mut state, None)?;
    Ok(Reply::Switched { already: false })
}

fn end(layout: &Layout, state: &mut State, restarted: Option<Digest>) -> Outcome<()> {
    state.under_way = None;
    state.replaced = false;
    state.restarted = restarted;
    state.write(layout)
}

/// What is there.
pub(crate) fn observe(layout: &Layout) -> Outcome<crate::protocol::State> {
    let state = State::read(layout)?;
    let releases = spec::releases(layout)?;
    let (current, previous) = (pointed(&layout.current())?, pointed(&layout.previous())?);
    let of = |release: Digest| releases.iter().find(|(there, _)| *there == release).map(|(_, spec)| spec);
    let serving = current.or(previous).and_then(of).and_then(|spec| serving::of(layout, &spec.service));
    Ok(crate::protocol::State {
        epoch: state.epoch,
        releases: releases.iter().map(|(release, spec)| (*release, spec.manifest)).collect(),
        current,
        previous: previous
            .or(state.previous)
            .filter(|before| Some(*before) != current || previous == current),
        serving,
        unfinished: state.under_way,
    })
}
