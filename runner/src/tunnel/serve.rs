//! The machine's end: the program, as ssh would start it.

use std::io;

use bytes::Bytes;
use staith_releaser::fleet::{
    way::{Child, Open as _},
    wire::Wire,
};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

use super::{
    carry::{Over, hear_all, say_all},
    end::End,
};

/// Pieces that have come and were not taken by the program yet.
const AHEAD: usize = 2;

/// When a program is to end though its tunnel says nothing.
#[derive(Debug, Clone)]
pub(crate) struct Stops {
    /// The server wants the tunnel no more.
    pub(crate) unwanted: CancellationToken,
    /// The machine's runner ends.
    pub(crate) leaving: CancellationToken,
}

/// Runs the program for the application in `folder` until it ends or the tunnel is over: then the program ends what it does at a safe
/// point, as it does where a connection breaks. Gives why, where something went wrong.
pub(crate) async fn serve(
    end: &End,
    program: &Child,
    target: &str,
    folder: &str,
    stops: &Stops,
) -> Option<String> {
    let Wire { from, to } = match program.open(target, folder).await {
        Ok(wire) => wire,
        Err(error) => {
            let why = error.to_string();
            end.over(Some(why.clone())).await;
            return Some(why);
        }
    };
    let (heard, hears) = mpsc::channel(AHEAD);
    let saying = say_all(end, from);
    let hearing = async {
        let over = hear_all(end, &heard).await;
        // Its last words are still to be said.
        if over == Over::Unheard { std::future::pending().await } else { over }
    };
    let over = tokio::select! {
        said = saying => said.err().unwrap_or(Over::Unheard),
        over = hearing => over,
        () = pass_on(hears, to) => Over::Unheard,
        () = stops.unwanted.cancelled() => Over::Finished,
        () = stops.leaving.cancelled() => Over::Ended("the machine's runner was told to end".to_owned()),
    };
    match over {
        Over::Unheard | Over::Finished => {
            end.over(None).await;
            None
        }
        Over::Ended(why) => {
            end.over(Some(why.clone())).await;
            Some(why)
        }
    }
}

/// Gives the program what it is told. Never returns: that it takes no more is seen from what it says.
async fn pass_on(mut hears: mpsc::Receiver<io::Result<Bytes>>, mut to: impl AsyncWrite + Unpin) {
    while let Some(Ok(bytes)) = hears.recv().await {
        let told = async {
            to.write_all(&bytes).await?;
            to.flush().await
        };
        if told.await.is_err() {
            break;
        }
    }
    drop(hears);
    std::future::pending().await
}
