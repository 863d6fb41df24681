//! A package with values for its parameters, and what of it no directory can take.

use staith_model::Exit;
use staith_packager::{
    apply::{PackageSource, is_skipped, untaken},
    parameters::{Resolved, resolve},
    web_deploy::{ContentRoot, archive::Provider},
};

use super::Arguments;
use crate::{
    cli::{
        package::{self, OpenPackage},
        parameters::unresolved,
    },
    output::Problem,
};

/// All that is needed before files are looked at.
pub(super) struct Material {
    pub(super) package: OpenPackage,
    pub(super) resolved: Resolved,
    /// Providers that are left out as asked.
    left_out: Vec<String>,
}

impl Material {
    pub(super) async fn gather(argument: String, arguments: &Arguments) -> Result<Self, Problem> {
        let open = move || -> Result<_, Problem> {
            let package = package::open(&argument)?;
            let declared = package.reader.declarations()?;
            Ok((package, declared))
        };
        let opened = tokio::task::spawn_blocking(open).await;
        let (package, declared) = opened.map_err(|panicked| Problem::bug(panicked.to_string()))??;
        let values = arguments.values.gather(&declared).await?;
        let resolved = resolve(&declared, &values).map_err(|errors| unresolved(&errors, &declared))?;
        let left_out = left_out(&package, arguments)?;
        Ok(Self { package, resolved, left_out })
    }

    /// The content that is meant.
    pub(super) fn choose<'r, 'p>(
        &self,
        roots: &'r [ContentRoot<'p>],
        wanted: Option<&str>,
    ) -> Result<&'r ContentRoot<'p>, Problem> {
        let plain = |path: &str| path.replace('\\', "/").trim_end_matches('/').to_lowercase();
        let named = || roots.iter().map(|root| format!("`{}`", root.path)).collect::<Vec<_>>().join(", ");
        let found: Vec<_> = roots
            .iter()
            .filter(|root| wanted.is_none_or(|wanted| plain(wanted) == plain(root.path)))
            .collect();
        match found.as_slice() {
            [root] => Ok(root),
            [] if roots.is_empty() => {
                let what = format!(
                    "{} brings no files, so there is nothing to put in a directory",
                    self.package.called
                );
                Err(Problem::new(Exit::Configuration, what))
            }
            [] => {
                let what = format!("{} has no content `{}`", self.package.called, wanted.unwrap_or_default());
                Err(Problem::new(Exit::Usage, what)
                    .with_remedy(format!("--content takes one of {}", named())))
            }
            _ => {
                let what = format!("{} has several contents, and a directory takes one", self.package.called);
                let remedy = format!(
                    "apply them one by one, each to its own directory: --content takes one of {}",
                    named()
                );
                Err(Problem::new(Exit::Usage, what).with_remedy(remedy))
            }
        }
    }

    /// Sees that every parameter had something to do, now that the files of `chosen` have been asked. Says what people should
    /// know.
    pub(super) fn settle(
        &self,
        roots: &[ContentRoot<'_>],
        chosen: &ContentRoot<'_>,
        allow_unmatched: bool,
    ) -> Result<Vec<String>, Problem> {
        // Parameters may be about providers, and about contents that go elsewhere.
        for chain in self.package.reader.archive().chains() {
            if let Some(Provider { name, path: Some(path), .. }) = chain.last() {
                let found = self.resolved.provider_path(name, path);
                found.map_err(|why| Problem::new(Exit::Configuration, why.to_string()))?;
            }
        }
        for other in roots.iter().filter(|root| root.path != chosen.path) {
            PackageSource::new(&self.package.reader, other, Some(&self.resolved), None)?;
        }
        let unmatched: Vec<String> = self.resolved.unmatched().iter().map(ToString::to_string).collect();
        if !unmatched.is_empty() && !allow_unmatched {
            let what =
                "parameters matched nothing, so the package would not be configured as it was meant to be";
            return Err(Problem::new(Exit::Configuration, format!("{what}; nothing was changed"))
                .with_why(unmatched.join("\n"))
                .with_remedy("correct them in the package, or go on with --allow-unmatched"));
        }
        let mut notes = self.left_out.clone();
        notes.extend(unmatched);
        notes.extend(self.resolved.for_windows().into_iter().map(|entry| {
            let (parameter, scope) = (entry.parameter, entry.scope);
            format!("the parameter `{parameter}` is about servers of Windows (`{scope}`); a directory has nothing to set")
        }));
        Ok(notes)
    }
}

/// What is left out with consent; an error names what is not.
fn left_out(package: &OpenPackage, arguments: &Arguments) -> Result<Vec<String>, Problem> {
    let (mut left_out, mut refused) = (Vec::new(), Vec::new());
    for provider in untaken(&package.reader) {
        let by_name = arguments.skip_provider.iter().any(|name| provider.is(name));
        let by_rule = is_skipped(provider, &arguments.skip);
        let by_rule = by_rule.map_err(|why| Problem::new(Exit::Configuration, why.to_string()))?;
        let called = match &provider.path {
            Some(path) => format!("{} ({path})", provider.name),
            None => provider.name.clone(),
        };
        if by_name || by_rule {
            left_out.push(format!("left out: {called}"))
        } else {
            refused.push((provider, called))
        }
    }
    let Some((first, _)) = refused.first() else { return Ok(left_out) };
    let lines: Vec<_> = refused.iter().map(|(_, called)| called.as_str()).collect();
    let mut names: Vec<_> =
        refused.iter().map(|(provider, _)| format!("--skip-provider {}", provider.name)).collect();
    names.sort();
    names.dedup();
    let what = format!("{} holds what a directory can't take; nothing was changed", package.called);
    let place = crate::output::Place {
        file: "archive.xml".into(),
        line: Some(first.line),
        column: Some(first.column),
        ..Default::default()
    };
    let problem = Problem::new(Exit::Configuration, what)
        .with_why(lines.join("\n"))
        .with_remedy(format!("to leave it out: {}", names.join(" ")));
    Err(Problem { place: Some(Box::new(place)), ..problem })
}
