//! From elements to providers.

use std::collections::BTreeMap;

use super::{
    Archive, Attribute, Element, Mistake, Provider, ProviderOptions, Wrong, element::Attribute as Written,
    is_same, options, parse_xml, value,
};

/// What Web Deploy puts before names that are its own.
const PREFIX: &str = "MSDeploy.";

/// Most directories and files that may be named: each covers a part of the zip's entries.
const MOST_ROOTS: usize = 1000;

/// Reads `archive.xml`.
pub(crate) fn archive(bytes: &[u8]) -> Result<Archive, Mistake> {
    let root = root(bytes)?;
    let file = File { bytes, is_gallery: false };
    let mut archive = Archive {
        root: root.name.to_owned(),
        resolvers: BTreeMap::new(),
        options: None,
        providers: file.providers(&root)?,
    };
    for attribute in &root.attributes {
        let Some(name) = own(attribute.name) else { continue };
        if let Some(provider) = name.strip_prefix("ObjectResolver.") {
            archive.resolvers.insert(provider.to_owned(), attribute.value.clone());
        } else if name == "MSDeployProviderOptions" {
            let options = file.options(&root, attribute)?;
            // The path is that of the only provider inside.
            let visible = archive.providers.first().and_then(|provider| provider.path.as_deref());
            file.compare(&options, root.name, visible, attribute.at)?;
            archive.options = Some(options);
        }
    }
    file.count_roots(&archive, root.at)?;
    Ok(archive)
}

/// Reads the gallery dialect's `manifest.xml`: the same providers with plain attributes.
pub(crate) fn gallery(bytes: &[u8]) -> Result<Archive, Mistake> {
    let root = root(bytes)?;
    let file = File { bytes, is_gallery: true };
    let (name, providers) = (root.name.to_owned(), file.providers(&root)?);
    let archive = Archive { root: name, resolvers: BTreeMap::new(), options: None, providers };
    file.count_roots(&archive, root.at)?;
    Ok(archive)
}

fn root(bytes: &[u8]) -> Result<Element<'_>, Mistake> {
    let root = parse_xml(bytes)?;
    let known = root.name.eq_ignore_ascii_case("sitemanifest") || own(root.name).is_some();
    if known { Ok(root) } else { Err(Mistake::at(bytes, root.at, Wrong::Root(root.name.to_owned()))) }
}

/// A name of Web Deploy's own without its prefix.
fn own(name: &str) -> Option<&str> {
    let (prefix, rest) = name.split_at_checked(PREFIX.len())?;
    prefix.eq_ignore_ascii_case(PREFIX).then_some(rest)
}

struct File<'x> {
    bytes: &'x [u8],
    is_gallery: bool,
}

impl File<'_> {
    fn mistake(&self, at: usize, wrong: Wrong) -> Mistake {
        Mistake::at(self.bytes, at, wrong)
    }

    fn providers(&self, parent: &Element<'_>) -> Result<Vec<Provider>, Mistake> {
        parent.children.iter().map(|element| self.provider(element)).collect()
    }

    fn provider(&self, element: &Element<'_>) -> Result<Provider, Mistake> {
        let mut provider = Provider {
            name: own(element.name).unwrap_or(element.name).to_owned(),
            is_prefixed: own(element.name).is_some(),
            children: self.providers(element)?,
            line: element.line,
            column: element.column,
            ..Provider::default()
        };
        for attribute in &element.attributes {
            match own(attribute.name).filter(|_| !self.is_gallery) {
                Some("MSDeployLinkName") => provider.link = Some(attribute.value.clone()),
                Some("MSDeployKeyAttributeName") => provider.key = Some(attribute.value.clone()),
                Some("MSDeployStreamRelativeFilePath") => provider.stream = Some(attribute.value.clone()),
                Some("MSDeployProviderOptions") => provider.options = Some(self.options(element, attribute)?),
                // Types and flags are looked up from the attributes that they are about.
                Some(_) => {}
                None if attribute.name == "path" => provider.path = Some(attribute.value.clone()),
                None => provider.attributes.push(self.attribute(element, attribute)?),
            }
        }
        if let Some(options) = &provider.options {
            self.compare(options, &provider.name, provider.path.as_deref(), element.at)?;
        }
        Ok(provider)
    }

    fn attribute(&self, element: &Element<'_>, written: &Written<'_>) -> Result<Attribute, Mistake> {
        let name = written.name.to_owned();
        let about = |suffix: &str| element.attribute(&format!("{PREFIX}{name}{suffix}"));
        let wrong = |wrong| self.mistake(written.at, wrong);
        let value = value::decode(about(".Type").unwrap_or_default(), &written.value)
            .map_err(|expected| wrong(Wrong::Value { name: name.clone(), expected }))?;
        let flags = about("")
            .map(|flags| flags.parse().map_err(|_| wrong(Wrong::Flags(name.clone()))))
            .transpose()?;
        Ok(Attribute { name, value, flags })
    }

    fn options(&self, element: &Element<'_>, written: &Written<'_>) -> Result<ProviderOptions, Mistake> {
        options::decode(&written.value).map_err(|why| {
            self.mistake(written.at, Wrong::Options { provider: element.name.to_owned(), why })
        })
    }

    /// Holds what options say of a provider against what everybody sees.
    fn compare(
        &self,
        options: &ProviderOptions,
        name: &str,
        path: Option<&str>,
        at: usize,
    ) -> Result<(), Mistake> {
        let redirects = |what, hidden: &str, visible: &str| {
            let (provider, hidden, visible) = (name.to_owned(), hidden.to_owned(), visible.to_owned());
            Err(self.mistake(at, Wrong::Redirects { provider, what, hidden, visible }))
        };
        let name = own(name).unwrap_or(name);
        if let Some(hidden) = options.provider.as_deref().filter(|hidden| !hidden.eq_ignore_ascii_case(name))
        {
            return redirects("name", hidden, name);
        }
        let (hidden, visible) = (options.path.as_deref().unwrap_or_default(), path.unwrap_or_default());
        if is_same(hidden, visible) { Ok(()) } else { redirects("path", hidden, visible) }
    }

    fn count_roots(&self, archive: &Archive, at: usize) -> Result<(), Mistake> {
        fn count(providers: &[Provider]) -> usize {
            let own = |provider: &Provider| usize::from(provider.is_directory() || provider.is_file());
            providers.iter().map(|provider| own(provider) + count(&provider.children)).sum()
        }
        let roots = if self.is_gallery { archive.providers.len() } else { count(&archive.providers) };
        if roots > MOST_ROOTS { Err(self.mistake(at, Wrong::TooManyRoots)) } else { Ok(()) }
    }
}
