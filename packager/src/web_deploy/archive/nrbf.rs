//! One record of .NET's binary format (MS-NRBF), read as data.
//!
//! Web Deploy hands such bytes to .NET's `BinaryFormatter`, which makes any object that they name: whoever writes them decides
//! what runs. Here they are held against the one shape that provider options have; anything else is refused.

use std::collections::HashMap;

/// What the record holds. A value may be absent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) provider: Option<String>,
    pub(super) path: Option<String>,
    pub(super) settings: Vec<(String, Option<String>)>,
}

const CLASS: &str = "Microsoft.Web.Deployment.DeploymentProviderOptions";
const LIBRARY: &str = "Microsoft.Web.Deployment";
const MEMBERS: [&str; 4] = ["providerName", "path", "names", "values"];

/// Most settings of one provider; those with the most have some thirty.
const MOST_SETTINGS: u32 = 1000;

mod record {
    pub(super) const HEADER: u8 = 0;
    pub(super) const CLASS: u8 = 5;
    pub(super) const STRING: u8 = 6;
    pub(super) const REFERENCE: u8 = 9;
    pub(super) const NULL: u8 = 10;
    pub(super) const END: u8 = 11;
    pub(super) const LIBRARY: u8 = 12;
    pub(super) const NULLS: u8 = 13;
    pub(super) const STRINGS: u8 = 17;
}

/// Reads the record, or says what is not as it must be.
pub(super) fn read(bytes: &[u8]) -> Result<Options, &'static str> {
    let mut stream = Stream { rest: bytes, strings: HashMap::new() };
    let object = stream.header()?;
    let library = stream.library()?;
    stream.class(object, library)?;
    let (provider, path) = (stream.string()?, stream.string()?);
    let [names_at, values_at] = [stream.reference()?, stream.reference()?];
    let names = stream.array(names_at)?;
    // Two empty arrays are one object.
    let values = if values_at == names_at { names.clone() } else { stream.array(values_at)? };
    stream.expect(record::END, "the end of the record")?;
    if !stream.rest.is_empty() {
        return Err("something follows the record");
    }
    if names.len() != values.len() || (names_at == values_at && !names.is_empty()) {
        return Err("it has not as many values as names");
    }
    let named = |(name, value): (Option<String>, Option<String>)| name.map(|name| (name, value));
    let settings: Option<_> = names.into_iter().zip(values).map(named).collect();
    Ok(Options { provider, path, settings: settings.ok_or("a setting has no name")? })
}

struct Stream<'b> {
    rest: &'b [u8],
    strings: HashMap<u32, String>,
}

impl Stream<'_> {
    fn take(&mut self, many: usize) -> Result<&[u8], &'static str> {
        let (taken, rest) = self.rest.split_at_checked(many).ok_or("it is cut off")?;
        self.rest = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, &'static str> {
        self.take(1).map(|taken| taken[0])
    }

    fn number(&mut self) -> Result<u32, &'static str> {
        let taken = self.take(4)?;
        Ok(taken.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    fn expect(&mut self, kind: u8, what: &'static str) -> Result<(), &'static str> {
        if self.byte()? == kind { Ok(()) } else { Err(what_is_missing(what)) }
    }

    /// A text, with its length in 7 bits a byte before it.
    fn text(&mut self) -> Result<String, &'static str> {
        let mut length = 0usize;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            length |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                let bytes = self.take(length)?.to_vec();
                return String::from_utf8(bytes).map_err(|_| "a text is not UTF-8");
            }
        }
        Err("a text's length has no end")
    }

    /// The id of the outermost object.
    fn header(&mut self) -> Result<u32, &'static str> {
        self.expect(record::HEADER, "a header")?;
        let (root, _header) = (self.number()?, self.number()?);
        if (self.number()?, self.number()?) == (1, 0) { Ok(root) } else { Err("its version is not 1.0") }
    }

    fn library(&mut self) -> Result<u32, &'static str> {
        self.expect(record::LIBRARY, "the name of a library")?;
        let id = self.number()?;
        let name = self.text()?;
        let assembly = name.split(',').next().unwrap_or_default();
        if assembly.eq_ignore_ascii_case(LIBRARY) { Ok(id) } else { Err("its library is not Web Deploy's") }
    }

    /// The class with its four members: two texts, two arrays of texts.
    fn class(&mut self, object: u32, library: u32) -> Result<(), &'static str> {
        self.expect(record::CLASS, "a class")?;
        if self.number()? != object || self.text()? != CLASS {
            return Err("its object is not of Web Deploy's class for provider options");
        }
        if self.number()? != 4 {
            return Err("its class has not four members");
        }
        for member in MEMBERS {
            if self.text()? != member {
                return Err("its class has other members than provider options");
            }
        }
        if self.take(4)? != [1, 1, 6, 6] {
            return Err("the members of its class are of other types than those of provider options");
        }
        if self.number()? == library { Ok(()) } else { Err("its class is of another library") }
    }

    /// A text, a reference to one that was there before, or nothing.
    fn string(&mut self) -> Result<Option<String>, &'static str> {
        match self.byte()? {
            record::STRING => {
                let id = self.number()?;
                let text = self.text()?;
                match self.strings.insert(id, text.clone()) {
                    None => Ok(Some(text)),
                    Some(_) => Err("two texts have one number"),
                }
            }
            record::REFERENCE => {
                let id = self.number()?;
                self.strings.get(&id).cloned().map(Some).ok_or("it refers to a text that is not there")
            }
            record::NULL => Ok(None),
            _ => Err("a text is of another kind"),
        }
    }

    fn reference(&mut self) -> Result<u32, &'static str> {
        self.expect(record::REFERENCE, "a reference to an array")?;
        self.number()
    }

    fn array(&mut self, id: u32) -> Result<Vec<Option<String>>, &'static str> {
        self.expect(record::STRINGS, "an array of texts")?;
        if self.number()? != id {
            return Err("an array has another number than was referred to");
        }
        let length = self.number()?;
        if length > MOST_SETTINGS {
            return Err("it has more than a thousand settings");
        }
        let length = length as usize;
        let mut array = Vec::with_capacity(length);
        while array.len() < length {
            if self.rest.first() == Some(&record::NULLS) {
                self.byte()?;
                let nulls = usize::from(self.byte()?);
                array.resize(array.len() + nulls.max(1), None);
            } else {
                array.push(self.string()?);
            }
        }
        if array.len() == length { Ok(array) } else { Err("an array is longer than it says") }
    }
}

fn what_is_missing(what: &'static str) -> &'static str {
    match what {
        "a header" => "it does not begin with a header",
        "the end of the record" => "it has more records than provider options have",
        "a class" => "its object is of another kind",
        "the name of a library" => "its library is not named first",
        _ => "a record is of another kind than provider options have there",
    }
}
