//! What is answered without Redis: the handshake and the checks that connection pools make, in Redis's own words.
//!
//! PHP dials once a web request; pools send PING or UNWATCH at each borrow. So these commands are hot-path code and cost
//! no upstream round trip. Only their plain, well-formed shapes are read here; every odd shape (a wrong number of words,
//! a name that Redis would refuse) is left to the server, which finds the words for it.

use crate::config::Credentials;
use crate::resp::Protocol;

/// A well-formed HELLO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The protocol asked for; `None`: the present one stays.
    pub protocol: Option<Protocol>,
    /// User and password.
    pub auth: Option<(&'a [u8], &'a [u8])>,
    /// Name of the connection.
    pub name: Option<&'a [u8]>,
}

/// Reads the words after HELLO; `None` when the server should judge them.
pub fn hello<'a>(words: impl Iterator<Item = &'a [u8]>) -> Option<Hello<'a>> {
    let mut words = words;
    let mut hello = Hello {
        protocol: match words.next() {
            None => return Some(Hello::default()),
            Some(b"2") => Some(Protocol::Resp2),
            Some(b"3") => Some(Protocol::Resp3),
            Some(_) => return None,
        },
        ..Hello::default()
    };
    while let Some(option) = words.next() {
        if option.eq_ignore_ascii_case(b"AUTH") {
            hello.auth = Some((words.next()?, words.next()?));
        } else if option.eq_ignore_ascii_case(b"SETNAME") {
            hello.name = Some(words.next().filter(|name| is_name(name))?);
        } else {
            return None;
        }
    }
    Some(hello)
}

/// Tells whether a client shows the very credentials that our links use, so that they need not be asked about upstream.
pub fn is_own_identity(credentials: &Credentials, user: &[u8], password: &[u8]) -> bool {
    let own_user = credentials.username.as_deref().unwrap_or("default");
    credentials
        .password
        .as_ref()
        .is_some_and(|own| own.reveal().as_bytes() == password && own_user.as_bytes() == user)
}

/// Tells whether CLIENT SETNAME and SETINFO take this value.
///
/// Source: redis `src/networking.c`, `validateClientAttr`.
pub fn is_name(name: &[u8]) -> bool {
    name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

/// Reads a database number as clients write it; `None` when the server should judge it.
pub fn database(word: &[u8]) -> Option<u32> {
    let plain = match word {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.len() < 5 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    plain.then(|| word.iter().fold(0, |n, d| n * 10 + u32::from(d - b'0')))
}

/// What a CLIENT subcommand means for the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientWord {
    /// SETNAME.
    SetName,
    /// GETNAME.
    GetName,
    /// SETINFO.
    SetInfo,
    /// Asks or tells who the connection is: it keeps a link of its own for life.
    Identity,
    /// Changes what the server sends to the connection, or how it treats all its commands.
    OwnConnection,
    /// PAUSE.
    Pause,
    /// UNPAUSE.
    Unpause,
    /// MAINT_NOTIFICATIONS.
    MaintNotifications,
    /// Anything else.
    Other,
}

/// Reads a CLIENT subcommand.
pub fn client_word(word: &[u8]) -> ClientWord {
    const WORDS: &[(&str, ClientWord)] = &[
        ("SETNAME", ClientWord::SetName),
        ("GETNAME", ClientWord::GetName),
        ("SETINFO", ClientWord::SetInfo),
        ("ID", ClientWord::Identity),
        ("INFO", ClientWord::Identity),
        ("LIST", ClientWord::Identity),
        ("KILL", ClientWord::Identity),
        ("NO-EVICT", ClientWord::Identity),
        ("GETREDIR", ClientWord::Identity),
        ("TRACKINGINFO", ClientWord::Identity),
        ("TRACKING", ClientWord::OwnConnection),
        ("CACHING", ClientWord::OwnConnection),
        ("REPLY", ClientWord::OwnConnection),
        ("NO-TOUCH", ClientWord::OwnConnection),
        ("CAPA", ClientWord::OwnConnection),
        ("IMPORT-SOURCE", ClientWord::OwnConnection),
        ("PAUSE", ClientWord::Pause),
        ("UNPAUSE", ClientWord::Unpause),
        ("MAINT_NOTIFICATIONS", ClientWord::MaintNotifications),
    ];
    WORDS
        .iter()
        .find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()))
        .map_or(ClientWord::Other, |(_, meaning)| *meaning)
}

/// What CLIENT MAINT_NOTIFICATIONS asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maint {
    /// Pushes about failovers.
    On,
    /// None.
    Off,
}

/// Reads what follows CLIENT MAINT_NOTIFICATIONS. The type of endpoint is for pushes that never come from here: it only has
/// to be one.
///
/// # Errors
/// The refusal. The servers that know the command are not public: these are Redis's words for other commands.
pub fn maint<'a>(mut words: impl Iterator<Item = &'a [u8]>) -> Result<Maint, &'static [u8]> {
    const ENDPOINTS: &[&str] = &[
        "internal-ip",
        "internal-fqdn",
        "external-ip",
        "external-fqdn",
        "none",
    ];
    const SYNTAX: &[u8] = b"-ERR syntax error\r\n";
    let is = |word: &[u8], wanted: &str| word.eq_ignore_ascii_case(wanted.as_bytes());
    let Some(first) = words.next() else {
        return Err(b"-ERR wrong number of arguments for 'client|maint_notifications' command\r\n");
    };
    let wanted = match first {
        word if is(word, "ON") => Maint::On,
        word if is(word, "OFF") => Maint::Off,
        _ => return Err(SYNTAX),
    };
    while let Some(option) = words.next() {
        let endpoint = words.next().unwrap_or_default();
        let known = ENDPOINTS.iter().any(|name| is(endpoint, name));
        if wanted == Maint::Off || !is(option, "moving-endpoint-type") || !known {
            return Err(SYNTAX);
        }
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    #[test]
    fn only_plain_hellos_are_read() {
        let read = |words: &[&'static str]| hello(words.iter().map(|word| word.as_bytes()));
        assert_eq!(read(&[]).unwrap().protocol, None);
        let full = read(&["3", "auth", "u", "p", "SETNAME", "me"]).unwrap();
        assert_eq!(full.protocol, Some(Protocol::Resp3));
        assert_eq!(full.auth, Some((&b"u"[..], &b"p"[..])));
        assert_eq!(full.name, Some(&b"me"[..]));
        for odd in [
            &["4"][..],
            &["03"],
            &["3", "AUTH", "u"],
            &["2", "SETNAME", "a b"],
            &["2", "X"],
        ] {
            assert_eq!(read(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn maint_notifications_are_read_as_libraries_write_them() {
        let read = |line: &str| maint(line.split_whitespace().map(str::as_bytes));
        for on in [
            "ON",
            "on moving-endpoint-type internal-ip",
            "On MOVING-ENDPOINT-TYPE none",
        ] {
            assert_eq!(read(on), Ok(Maint::On), "{on}");
        }
        assert_eq!(read("off"), Ok(Maint::Off));
        for odd in [
            "x",
            "ON x",
            "ON moving-endpoint-type",
            "ON moving-endpoint-type x",
            "OFF moving-endpoint-type none",
        ] {
            assert!(read(odd).unwrap_err().starts_with(b"-ERR syntax"), "{odd}");
        }
        assert!(read("").unwrap_err().starts_with(b"-ERR wrong number"));
    }

    #[test]
    fn only_our_own_credentials_are_answered_here() {
        let with = |username: Option<&str>| Credentials {
            username: username.map(str::to_owned),
            password: Some(Secret::new("pw".into())),
        };
        assert!(is_own_identity(&with(None), b"default", b"pw"));
        assert!(is_own_identity(&with(Some("app")), b"app", b"pw"));
        assert!(!is_own_identity(&with(Some("app")), b"default", b"pw"));
        assert!(!is_own_identity(&with(None), b"default", b"PW"));
        assert!(!is_own_identity(&Credentials::default(), b"default", b""));
    }

    #[test]
    fn databases_are_plain_numbers() {
        assert_eq!(database(b"0"), Some(0));
        assert_eq!(database(b"15"), Some(15));
        for odd in [&b""[..], b"01", b"-1", b"1 ", b"x", b"9999999"] {
            assert_eq!(database(odd), None);
        }
    }
}
