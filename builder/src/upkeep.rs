//! What is kept stays within a budget. A map, in reading order:
//!
//! 1. [`Item`], [`Inventory`]: all that is kept and could be made again.
//! 2. [`plan_collection`]: what goes, so that the rest fits. Pure.
//! 3. [`Stockroom`]: a store on disk: what is in it, and how things are taken out of it while others use it.
//! 4. [`Budget`]: the ledger of what is kept, asked before anything is added ([`Allowance`]).
//!
//! What goes first is what was used longest ago. What a live process has said that it uses never goes. Only what can be made
//! again is counted and removed: what is deployed belongs to its environment, and what a step writes at this moment to it.

mod budget;
mod choice;
mod stockroom;

pub use self::{
    budget::{Allowance, Budget, LedgerError, MakeRoom, NoRoom, known_to_be_kept},
    choice::{Collection, plan_collection},
    stockroom::Stockroom,
};
pub(crate) use budget::{GrowingRoom, Room, allowed, is_over_budget};

/// One thing that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What it is.
    pub kind: Kind,
    /// Its name, unique in its store: its path there.
    pub name: String,
    /// Bytes on disk that are its own.
    pub bytes: u64,
    /// When it was last used, in nanoseconds since 1970, as far as that is known.
    pub used: i64,
    /// For contents: the inode, by which checkouts refer to it.
    pub inode: Option<Inode>,
}

/// A file that may have several names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inode {
    /// Its number.
    pub number: u64,
    /// Names beside that in the pool: one for each checkout that has it.
    pub links: u64,
}

/// What can be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The record of a step that passed, or of what steps saw.
    StepResult,
    /// What a step left.
    Layer,
    /// The workspace of a step that failed.
    LeftWorkspace,
    /// A tree of files, made of contents.
    Checkout,
    /// The content of a source file.
    Content,
    /// The list of a commit's files.
    Listing,
    /// A repository of another machine.
    Mirror,
    /// An object of git-lfs that a server gave.
    LargeFile,
    /// A layer of an image.
    ImageLayer,
    /// What is known of an image, or a part of one that has not come in full.
    ImageRecord,
    /// A package.
    Package,
    /// The log of a run.
    RunLog,
}

impl Kind {
    /// For people, several of them.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::StepResult => "step results",
            Self::Layer => "layers",
            Self::LeftWorkspace => "workspaces of failed steps",
            Self::Checkout => "checkouts",
            Self::Content => "file contents",
            Self::Listing => "listings",
            Self::Mirror => "mirrors",
            Self::LargeFile => "large files",
            Self::ImageLayer => "image layers",
            Self::ImageRecord => "image records",
            Self::Package => "packages",
            Self::RunLog => "run logs",
        }
    }
}

/// All that is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Each thing, in no order.
    pub items: Vec<Item>,
}

impl Inventory {
    /// Bytes of all together.
    pub fn bytes(&self) -> u64 {
        self.items.iter().map(|item| item.bytes).sum()
    }
}

/// What so many bytes take on a disk, in bytes.
pub(crate) const fn whole_blocks(bytes: u64) -> u64 {
    bytes.div_ceil(4096).saturating_mul(4096)
}
