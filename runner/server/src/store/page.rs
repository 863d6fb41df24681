//! Parts of lists.

/// The page that these begin with, and where the next one begins: `rest` has one more than the page, if there are more.
pub(crate) fn cut<T, K>(
    rest: impl IntoIterator<Item = T>,
    most: u32,
    key: impl Fn(&T) -> K,
) -> (Vec<T>, Option<K>) {
    let mut rest = rest.into_iter();
    let page: Vec<T> = rest.by_ref().take(most as usize).collect();
    let more = rest.next().and(page.last());
    let next = more.map(key);
    (page, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_where_the_next_begins_and_the_last_says_nothing() {
        let list = [9, 7, 5];
        let after = |after: Option<u32>| {
            cut(list.into_iter().filter(|one| after.is_none_or(|after| *one < after)), 2, |one| *one)
        };
        assert_eq!(after(None), (vec![9, 7], Some(7)));
        assert_eq!(after(Some(7)), (vec![5], None));
        assert_eq!(after(Some(8)), (vec![7, 5], None), "what is gone meanwhile ends no list");
        assert_eq!(after(Some(5)), (vec![], None));
    }
}
