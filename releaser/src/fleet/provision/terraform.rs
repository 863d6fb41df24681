//! Terraform, and OpenTofu, which has the same commands and answers.
//!
//! Its own lock of the state is waited for a minute and never passed by. What is applied is the file that `plan` wrote: Terraform
//! itself refuses one that was made for another state.

use std::path::PathBuf;

use staith_model::Provisioning;

use super::{
    ProvisionError,
    program::Call,
    tool::{Drawn, Hands, argument},
};

/// What `plan -detailed-exitcode` says where there is something to do.
const CHANGES: i32 = 2;

fn call<'a>(program: &'a str, words: &[&str]) -> Call<'a> {
    let arguments = words.iter().map(std::ffi::OsString::from).collect();
    let call = Call { program, arguments, plain: Vec::new(), aloud: true };
    call.with("TF_IN_AUTOMATION", "1").with("TF_INPUT", "0").with("CHECKPOINT_DISABLE", "1")
}

/// What would be done, as `show` tells it, and the saved plan.
pub(super) async fn plan(
    hands: &Hands<'_>,
    program: &str,
    direction: Provisioning,
) -> Result<Drawn, ProvisionError> {
    init(hands, program).await?;
    let mut asked =
        call(program, &["plan", "-input=false", "-no-color", "-lock-timeout=60s", "-detailed-exitcode"])
            .quietly();
    if direction == Provisioning::Destroy {
        asked.arguments.push("-destroy".into());
    }
    asked.arguments.push(argument("-out=", &hands.place.plan()));
    let command = asked.describe();
    let ended = hands.with.run_any(asked).await?;
    let nothing = match ended.code {
        Some(0) => true,
        Some(CHANGES) => false,
        _ => return Err(ended.failure(command)),
    };
    let mut show = call(program, &["show", "-no-color"]).quietly();
    show.arguments.push(hands.place.plan().into());
    let text = String::from_utf8_lossy(&hands.with.run(show).await?).into_owned();
    Ok(Drawn { text, is_saved: true, nothing })
}

async fn init(hands: &Hands<'_>, program: &str) -> Result<(), ProvisionError> {
    hands.with.run(call(program, &["init", "-input=false", "-no-color"])).await.map(drop)
}

/// Applies a saved plan, of either direction.
pub(super) async fn apply(
    hands: &Hands<'_>,
    program: &str,
    saved: Option<PathBuf>,
) -> Result<(), ProvisionError> {
    let saved = saved.ok_or_else(|| ProvisionError::Changed { why: "there is no saved plan".into() })?;
    let mut apply = call(program, &["apply", "-input=false", "-no-color", "-lock-timeout=60s"]);
    apply.arguments.push(saved.into());
    hands.with.run(apply).await.map(drop)
}

pub(super) async fn outputs(hands: &Hands<'_>, program: &str) -> Result<Vec<u8>, ProvisionError> {
    // It prints values that are sensitive, too.
    hands.with.run(call(program, &["output", "-no-color", "-json"]).quietly()).await
}
