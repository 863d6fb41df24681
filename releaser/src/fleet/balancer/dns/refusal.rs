//! What an answer that is no good one means, and what to do about it. Pure.

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::rdata::tsig::TsigError,
};

/// What is known of whoever was asked.
pub(super) struct Asked<'a> {
    pub(super) server: &'a str,
    pub(super) zone: &'a str,
    pub(super) record: &'a str,
    pub(super) key: &'a str,
}

impl Asked<'_> {
    /// For people: what the server said, and what to do.
    pub(super) fn explain(&self, answer: &Message) -> String {
        let code = answer.metadata.response_code;
        let of_key = answer.signature().and_then(|signature| signature.data.error);
        let said = match of_key {
            None => word(code),
            Some(error) => format!("{} ({})", word(code), tsig_word(error)),
        };
        let Self { server, record, .. } = self;
        format!("{server} answered {said} about {record}: {}", self.hint(code, of_key))
    }

    fn hint(&self, code: ResponseCode, of_key: Option<TsigError>) -> String {
        let Self { zone, key, .. } = self;
        match (of_key, code) {
            (Some(TsigError::BadKey), _) => format!(
                "it knows no key `{key}` for HMAC-SHA256; compare the name and the algorithm with its configuration"
            ),
            (Some(TsigError::BadSig), _) => format!(
                "its key `{key}` has another value; look at the key's name and value, and set the secret anew"
            ),
            (Some(TsigError::BadTime), _) => {
                "its clock and the one here differ by more than 300 s; see that both are set".into()
            }
            (Some(_), _) => {
                format!("it does not accept the signature; look at the key `{key}` there and here")
            }
            (None, ResponseCode::NotAuth | ResponseCode::BADSIG | ResponseCode::BADKEY) => format!(
                "it is not an authority for the zone {zone}, or does not know the key; `server` has to be the zone's primary server, \
                 and look at the key's name and value"
            ),
            (None, ResponseCode::Refused) => format!(
                "it does not allow the key `{key}` to do that in the zone {zone}; see `allow-update` or `update-policy`, and \
                 `allow-query`, of the zone in its configuration, and that the zone is not frozen"
            ),
            (None, ResponseCode::ServFail) => format!(
                "it can't do it; see its log. Often the zone {zone} is not loaded or has expired, or the server may not write the \
                 zone's journal"
            ),
            (None, ResponseCode::NotImp) => "it takes no dynamic updates (RFC 2136)".into(),
            (None, ResponseCode::NotZone) => {
                format!("the name is not in its zone {zone}; compare `zone` and `record`")
            }
            (None, ResponseCode::FormErr) => {
                "it does not understand the message; see its log, and report this".into()
            }
            (None, ResponseCode::NoError) => {
                "it is not an authority for the name; `server` has to be the zone's primary server".into()
            }
            _ => "look at the server's log".into(),
        }
    }
}

/// A code as people know it from `dig`.
fn word(code: ResponseCode) -> String {
    match code {
        ResponseCode::NoError => "NOERROR".into(),
        ResponseCode::FormErr => "FORMERR".into(),
        ResponseCode::ServFail => "SERVFAIL".into(),
        ResponseCode::NXDomain => "NXDOMAIN".into(),
        ResponseCode::NotImp => "NOTIMP".into(),
        ResponseCode::Refused => "REFUSED".into(),
        ResponseCode::NotAuth => "NOTAUTH".into(),
        ResponseCode::NotZone => "NOTZONE".into(),
        other => other.to_string(),
    }
}

fn tsig_word(error: TsigError) -> String {
    match error {
        TsigError::BadSig => "BADSIG".into(),
        TsigError::BadKey => "BADKEY".into(),
        TsigError::BadTime => "BADTIME".into(),
        TsigError::BadTrunc => "BADTRUNC".into(),
        TsigError::Unknown(code) => format!("TSIG error {code}"),
    }
}
