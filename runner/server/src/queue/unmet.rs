//! Why no runner can take a job. Pure.

use std::collections::BTreeSet;

use staith_model::Name;

/// A runner, as far as jobs for it hang on that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// What people call it.
    pub name: String,
    /// Its pool.
    pub pool: Name,
    /// What it has.
    pub labels: BTreeSet<Name>,
    /// Whether it takes new jobs.
    pub active: bool,
}

/// What stands between a job and all runners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmet {
    /// The labels that the nearest runner of its pool lacks; all that it wants if there is no runner.
    pub labels: BTreeSet<Name>,
    /// The same for people, with what to do.
    pub why: String,
}

/// What stands between a job of this pool with these labels and all runners; `None` if one could take it, busy or not.
pub fn unmet(pool: &Name, labels: &BTreeSet<Name>, offers: &[Offer]) -> Option<Unmet> {
    let there: Vec<&Offer> = offers.iter().filter(|offer| offer.pool == *pool).collect();
    let (active, leaving): (Vec<&Offer>, Vec<&Offer>) = there.into_iter().partition(|offer| offer.active);
    let fits = |offer: &&&Offer| labels.is_subset(&offer.labels);
    if active.iter().any(|offer| fits(&offer)) {
        return None;
    }
    if let Some(draining) = leaving.iter().find(fits) {
        let why = format!("`{}` could take it, and takes no new jobs: it is draining", draining.name);
        return Some(Unmet { labels: BTreeSet::new(), why });
    }
    let lacking = |offer: &Offer| labels.difference(&offer.labels).cloned().collect::<BTreeSet<Name>>();
    let nearest =
        active.iter().map(|offer| (lacking(offer), *offer)).min_by_key(|(lacking, _)| lacking.len());
    Some(match nearest {
        Some((lacking, nearest)) => Unmet {
            why: format!(
                "no runner of the pool `{pool}` has all its labels: `{}`, the nearest, lacks {}; register one with them, or change what the \
                 job asks for",
                nearest.name,
                words(&lacking)
            ),
            labels: lacking,
        },
        None => Unmet { labels: labels.clone(), why: no_runner(pool, offers) },
    })
}

fn no_runner(pool: &Name, offers: &[Offer]) -> String {
    let others: BTreeSet<Name> =
        offers.iter().filter(|offer| offer.active).map(|offer| offer.pool.clone()).collect();
    let rest = match others.is_empty() {
        true => "there is no runner at all; `staith runner register` makes one".to_owned(),
        false => format!("there are some in {}", words(&others)),
    };
    format!("no runner is in the pool `{pool}`: {rest}")
}

fn words(names: &BTreeSet<Name>) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(words: &[&str]) -> BTreeSet<Name> {
        words.iter().map(|word| word.parse().unwrap()).collect()
    }

    fn offer(name: &str, pool: &str, labels: &[&str], active: bool) -> Offer {
        Offer { name: name.to_owned(), pool: pool.parse().unwrap(), labels: names(labels), active }
    }

    #[test]
    fn it_says_what_is_lacking() {
        let pool = "default".parse().unwrap();
        let wanted = names(&["linux", "gpu"]);
        let of = |offers: &[Offer]| unmet(&pool, &wanted, offers);
        assert_eq!(of(&[offer("a", "default", &["linux", "gpu", "arm"], true)]), None);
        let lacks = of(&[offer("a", "default", &[], true), offer("b", "default", &["linux"], true)]).unwrap();
        assert_eq!(lacks.labels, names(&["gpu"]));
        assert!(lacks.why.contains("`b`") && lacks.why.contains("`gpu`"), "{}", lacks.why);
        let none = of(&[offer("a", "big", &["linux", "gpu"], true)]).unwrap();
        assert_eq!(none.labels, wanted);
        assert!(none.why.contains("`default`") && none.why.contains("`big`"), "{}", none.why);
        assert!(of(&[offer("a", "default", &["linux", "gpu"], false)]).unwrap().why.contains("draining"));
        assert!(of(&[]).unwrap().why.contains("no runner at all"));
    }

    proptest! {
        #[test]
        fn it_is_silent_exactly_where_a_runner_could_take_the_job(offers in prop::collection::vec((prop::sample::select(vec!["a", "b"]), prop::sample::subsequence(vec!["x", "y", "z"], 0..=3), any::<bool>()), 0..5), wanted in prop::sample::subsequence(vec!["x", "y", "z"], 0..=3)) {
            let offers: Vec<Offer> = offers.iter().map(|(pool, labels, active)| offer("r", pool, labels, *active)).collect();
            let (pool, wanted): (Name, _) = ("a".parse().unwrap(), names(&wanted));
            let could = offers.iter().any(|offer| offer.active && offer.pool == pool && wanted.is_subset(&offer.labels));
            prop_assert_eq!(unmet(&pool, &wanted, &offers).is_none(), could);
        }
    }
}
