//! Who may agree to a deployment, and who may go past what protects an environment.

use std::collections::BTreeSet;

use staith_model::Name;

use crate::{
    api::{Permission, Problem, Scope, Who, allows},
    site::Site,
    store::TokenSeen,
};

/// The names of those who may do that there now, by a token that counts. Two tokens of one name are one person. Whoever has the server's
/// directory and no token is not among them: nobody can tell who that is.
pub(super) fn who_may(
    tokens: &[TokenSeen],
    permission: Permission,
    (project, environment): (&Name, &Name),
    now: u64,
) -> BTreeSet<String> {
    let counts = |token: &&TokenSeen| token.revoked.is_none() && token.expires > now;
    let may = |token: &&TokenSeen| {
        let who = Who::Person { name: token.name.clone(), grants: token.grants.clone() };
        allows(&who, permission, Scope::Environment(project, environment))
    };
    tokens.iter().filter(counts).filter(may).map(|token| token.name.clone()).collect()
}

/// Goes on where as many may agree as have to: a deployment for which they can't be found would only end.
///
/// # Errors
/// They are too few. Who asks counts only where that was said.
pub(super) async fn must_be_enough(
    site: &Site,
    (project, environment): (&Name, &Name),
    requester: &str,
) -> Result<(), Problem> {
    let rules = site.store.rules(project, environment).await?.unwrap_or_default();
    let tokens = site.store.tokens().await?;
    let people = who_may(&tokens, Permission::Release, (project, environment), site.clock.unix_millis());
    let others = people.iter().filter(|person| rules.requester_may || *person != requester).count();
    if u64::try_from(others).unwrap_or(u64::MAX) >= u64::from(rules.needed) {
        return Ok(());
    }
    let beside = if rules.requester_may { "" } else { " beside you" };
    let may = if others == 0 { "nobody".to_owned() } else { format!("only {others}") };
    let what = format!("`{environment}` needs {} approval(s), and {may} may give one{beside}", rules.needed);
    Err(Problem::new(409, "nobody-may-agree", what)
        .with_why("a yes comes with a token of its own, of somebody who may release there; two tokens of one name are one person")
        .with_remedy(format!(
            "on the server's machine: `staith server token create NAME --role releaser --project {project}`, for each of them"
        )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Grant, Role};

    fn token(name: &str, role: Role, environment: Option<&str>) -> TokenSeen {
        let project = environment.map(|_| "shop".parse().unwrap());
        TokenSeen {
            id: staith_model::TokenId::new(1, [0; 10]),
            name: name.to_owned(),
            grants: vec![Grant { role, project, environment: environment.map(|name| name.parse().unwrap()) }],
            created: 1,
            expires: 100,
            revoked: None,
        }
    }

    #[test]
    fn a_token_that_counts_and_may_release_there_is_a_person() {
        let there = (&"shop".parse().unwrap(), &"production".parse().unwrap());
        let mut all = vec![
            token("ann", Role::Releaser, Some("production")),
            token("ann", Role::Releaser, None),
            token("ben", Role::Releaser, Some("qa")),
            token("cid", Role::Developer, None),
            token("dan", Role::Admin, None),
        ];
        let release = |all: &[TokenSeen], now| who_may(all, Permission::Release, there, now);
        let administer = |all: &[TokenSeen], now| who_may(all, Permission::Administer, there, now);
        assert_eq!(release(&all, 50), ["ann".to_owned(), "dan".to_owned()].into());
        assert_eq!(administer(&all, 50), ["dan".to_owned()].into());
        assert!(release(&all, 100).is_empty() && administer(&all, 100).is_empty(), "they have expired");
        all.iter_mut().for_each(|token| token.revoked = Some(1));
        assert!(release(&all, 50).is_empty() && administer(&all, 50).is_empty());
    }
}
