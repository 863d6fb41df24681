//! `tree STORE ORIGIN [REFERENCE]`: makes sure that the store has a directory with the files of a commit, and ends. What
//! `benches/compare/source` measures beside `git clone`: the source alone, without a plan and without steps.

use std::{env, error::Error, path::Path};

use staith_builder::source::{Origin, Selection, Sources};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    let [store, origin, reference @ ..] = words.as_slice() else {
        return Err("tree STORE ORIGIN [REFERENCE]".into());
    };
    let selection = reference.first().map_or(Selection::AsItIs, |name| Selection::Reference(name.clone()));
    let sources = Sources::open(Path::new(store), None)?;
    let origin = Origin::parse(origin, &env::current_dir()?)?;
    let resolved = sources.resolve(&origin, &selection, &mut |_| {})?;
    sources.checkout(&resolved, &[])?;
    Ok(())
}
