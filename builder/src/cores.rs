//! Work over many things: on all cores where there is enough of it.
//!
//! The threads for it are started when they are first needed, and a process that ends waits for each of its threads, which on a
//! busy machine takes as long as their turns at the processor. A run whose steps are all known and whose repository is small
//! needs none of them.

use rayon::prelude::*;

/// Things of a kind that takes some microseconds each; fewer are not worth the threads.
pub(crate) const MANY: usize = 256;

/// Does something with each thing, in order as far as the results are concerned; on all cores if there are `enough`.
pub(crate) fn each<T, R, C>(things: &[T], enough: bool, act: impl Fn(&T) -> R + Sync + Send) -> C
where
    T: Sync,
    R: Send,
    C: FromIterator<R> + FromParallelIterator<R>,
{
    if enough { things.par_iter().map(act).collect() } else { things.iter().map(act).collect() }
}

/// Does two things, at once if they are `enough`.
pub(crate) fn both<A: Send, B: Send>(
    enough: bool,
    one: impl FnOnce() -> A + Send,
    other: impl FnOnce() -> B + Send,
) -> (A, B) {
    if enough { rayon::join(one, other) } else { (one(), other()) }
}
