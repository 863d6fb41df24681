//! What is wrong with an XML file, or with what it shall become.

use crate::xml::Position;

/// Why a file can't be read as XML, or can't be edited as asked. No message holds a value that somebody wants to put in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    /// The declaration names an encoding that is not known here.
    #[error("its encoding `{0}` is not known; save it as UTF-8")]
    UnknownEncoding(String),
    /// The declaration and the bytes contradict each other.
    #[error(
        "its declaration says `{declared}`, and its bytes are {found}: programs would read it in different ways; save it as UTF-8"
    )]
    EncodingsDiffer {
        /// The name in the declaration.
        declared: String,
        /// What the first bytes say.
        found: &'static str,
    },
    /// Bytes that are no text in the file's encoding, or that could not be written back as they are.
    #[error("it is not valid {encoding} text, or can't be written back unchanged in it")]
    NotText {
        /// The encoding's name.
        encoding: String,
    },
    /// Longer than XML files are taken.
    #[error("it is {size} bytes long; XML files of up to {most} bytes are taken")]
    TooLarge {
        /// Its length in bytes.
        size: usize,
        /// The limit in bytes.
        most: usize,
    },
    /// Elements within elements beyond reason.
    #[error("line {}, column {}: elements are nested deeper than {most} levels", at.line, at.column)]
    TooDeep {
        /// The first element that is too deep.
        at: Position,
        /// The limit.
        most: usize,
    },
    /// The document type declares entities, which can be made to blow up or to fetch files.
    #[error(
        "its document type declares entities, which are not expanded here; write their text in their places"
    )]
    Entities,
    /// Not well-formed.
    #[error("line {}, column {}: {why}", at.line, at.column)]
    NotWellFormed {
        /// Where it stops being XML.
        at: Position,
        /// What is wrong there.
        why: String,
    },
    /// A value holds a character that no XML file can hold.
    #[error("the value for {what} holds the character U+{:04X}, which XML can't hold", u32::from(*character))]
    NotXmlCharacter {
        /// What the value is for: an attribute's or element's name.
        what: String,
        /// The character.
        character: char,
    },
    /// A name, comment or the like holds a character that the file's encoding lacks.
    #[error("`{character}` can't be written in the file's encoding {encoding}; save the file as UTF-8")]
    NotInEncoding {
        /// The character.
        character: char,
        /// The encoding's name.
        encoding: String,
    },
    /// Not a name that an attribute can have.
    #[error("`{0}` is not a name that XML allows")]
    NotAName(String),
    /// Two edits change the same text in different ways.
    #[error("line {}, column {} is to be changed in two ways that exclude each other", at.line, at.column)]
    Overlap {
        /// Where the second of them begins.
        at: Position,
    },
    /// Something can't be there: a sibling of the root element, text of a document.
    #[error("{0}")]
    Impossible(&'static str),
    /// XML that shall be put in is not well-formed. Its text may be a secret, so only the place in it is told.
    #[error("the XML to put in is not well-formed at its line {}, column {}", at.line, at.column)]
    Fragment {
        /// The place within the fragment.
        at: Position,
    },
    /// The edits, each good by itself, would make a file that is no XML.
    #[error("the changes asked for would leave a file that is not well-formed XML ({why})")]
    WouldBreak {
        /// What would be wrong, without any value.
        why: &'static str,
    },
}
