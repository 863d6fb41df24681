//! Lists come page by page; whoever shows one wants all of it.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::output::Problem;

/// As many on a page as a server gives at most.
const MOST: u32 = 200;

/// All of the list that is called so in the answers of an address. `ask` gets one of them.
///
/// # Errors
/// `ask` fails, or an answer has no such list.
pub(crate) async fn all<T: DeserializeOwned>(
    path: &str,
    list: &str,
    ask: impl AsyncFn(String) -> Result<Value, Problem>,
) -> Result<Vec<T>, Problem> {
    let (mut all, mut after) = (Vec::new(), None::<String>);
    loop {
        let from = after.as_ref().map(|after| format!("&after={after}")).unwrap_or_default();
        let mut page = ask(format!("{path}?limit={MOST}{from}")).await?;
        let items: Vec<T> = serde_json::from_value(page[list].take())
            .map_err(|bad| Problem::bug(format!("the server's list of {list} is none: {bad}")))?;
        all.extend(items);
        let next = match page["next"].take() {
            Value::Null => return Ok(all),
            Value::String(next) => next,
            next => next.to_string(),
        };
        if after.as_ref() == Some(&next) {
            return Err(Problem::bug(format!("the server's list of {list} does not go on after {next}")));
        }
        after = Some(next);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn pages_are_followed_to_the_end() {
        let ask = async |path: String| {
            Ok(match path.as_str() {
                "/list?limit=200" => json!({ "numbers": [9, 7], "next": 7 }),
                "/list?limit=200&after=7" => json!({ "numbers": [5], "next": "five" }),
                "/list?limit=200&after=five" => json!({ "numbers": [] }),
                other => return Err(Problem::bug(other.to_owned())),
            })
        };
        assert_eq!(all::<u32>("/list", "numbers", ask).await.unwrap(), [9, 7, 5]);
        assert!(all::<u32>("/list", "words", ask).await.is_err());
        let round = async |_| Ok(json!({ "numbers": [1], "next": 1 }));
        assert!(all::<u32>("/list", "numbers", round).await.is_err(), "nobody asks for ever");
    }
}
