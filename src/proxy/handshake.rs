//! Handshakes and pool checks: answered here where the answer is certain, else asked of the server.

use crate::command::local::{self, ClientWord};
use crate::command::table::Kind;
use crate::downstream::client::Stall;
use crate::metrics::{CloseCause, ErrorKind};
use crate::resp::Protocol;
use crate::resp::encode;
use crate::upstream::link::{Lane, Settle, What};

use super::Proxy;
use super::requests::{Request, Taken};

/// The first id that our own HELLO gives to a connection: far above any that a server gives, so that the one is never
/// taken for the other (by CLIENT KILL ID, say). Below 2^53, where JavaScript's numbers end.
const HELLO_ID_FIRST: u64 = 1 << 48;

impl Proxy {
    /// Handles the commands that have an answer of ours in their plain shape.
    pub(super) fn answer_or_ask(&mut self, request: Request<'_>) -> Taken {
        let words = request.words.len();
        match request.command.kind {
            Kind::Ping | Kind::Echo if self.must_ask() => self.ask_general(request),
            Kind::Ping if words == 1 => {
                self.reply(request, |out| out.extend_from_slice(b"+PONG\r\n"))
            }
            Kind::Ping | Kind::Echo if words == 2 => {
                let word = request.word(1).unwrap_or_default();
                self.reply(request, |out| encode::bulk(out, word))
            }
            Kind::Select => self.select(request),
            Kind::Hello => self.hello(request),
            Kind::Auth => self.auth(request),
            Kind::Client => self.client_command(request),
            Kind::Unwatch if words == 1 => {
                self.reply(request, |out| out.extend_from_slice(b"+OK\r\n"))
            }
            Kind::Quit => {
                let taken = self.reply(request, |out| out.extend_from_slice(b"+OK\r\n"));
                self.close_when_answered(request.client);
                taken
            }
            Kind::Reset if words == 1 => self.reset(request),
            _ => self.ask_general(request),
        }
    }

    /// Commands of a client that must show credentials first.
    pub(super) fn dispatch_locked(&mut self, request: Request<'_>) -> Taken {
        match request.command.kind {
            Kind::Auth => self.auth(request),
            Kind::Hello => {
                let words = request.words_from(1);
                match local::hello(words) {
                    Some(hello) if hello.auth.is_some() => self.hello(request),
                    hello => self.refuse_hello(request, hello.and_then(|hello| hello.name)),
                }
            }
            Kind::Quit => self.answer_or_ask(request),
            Kind::Reset if self.facts.as_ref().is_some_and(|facts| facts.resets_strangers()) => {
                self.answer_or_ask(request)
            }
            // What a command that does not exist is answered by the server is not told to strangers here.
            Kind::Exec => self.reply(request, |out| {
                out.extend_from_slice(
                    b"-EXECABORT Transaction discarded because of: NOAUTH Authentication required.\r\n",
                )
            }),
            _ => self.reply(request, |out| {
                out.extend_from_slice(b"-NOAUTH Authentication required.\r\n")
            }),
        }
    }

    /// HELLO without credentials; older servers take the name that comes with it all the same.
    fn refuse_hello(&mut self, request: Request<'_>, name: Option<&[u8]>) -> Taken {
        match self.facts.clone() {
            Some(facts) => {
                if let Some(name) = name.filter(|_| facts.names_strangers()) {
                    self.clients[request.client as usize].introduce().name = name.to_vec();
                }
                self.reply(request, |out| facts.write_hello_refusal(out))
            }
            None => self.no_link(&request),
        }
    }

    pub(super) fn reply(
        &mut self,
        request: Request<'_>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Taken {
        self.counters.requests[crate::metrics::Lane::Local.index()] += 1;
        self.answer(request.client, write);
        Taken::Bytes(request.length)
    }

    /// While a script runs the server answers BUSY, and a PING is how people notice; while it is paused it answers late;
    /// and who watches the server's commands through us wants to see them all.
    fn must_ask(&mut self) -> bool {
        self.scripts > 0 || self.is_watched() || self.is_paused()
    }

    /// Tells whether somebody watches the server's commands through us.
    pub(super) fn is_watched(&self) -> bool {
        self.observed.monitors > 0 || self.observed.slow_log
    }

    fn ask_general(&mut self, request: Request<'_>) -> Taken {
        let protocol = self.clients[request.client as usize].protocol;
        self.send_shared(request, Lane::General, protocol)
    }

    fn select(&mut self, request: Request<'_>) -> Taken {
        let database = match (request.words.len(), request.word(1)) {
            (2, Some(word)) => local::database(word),
            _ => None,
        };
        let Some(database) = database else {
            return self.ask_general(request);
        };
        let known = self
            .known_databases
            .get(database as usize)
            .copied()
            .unwrap_or(false);
        let client = &mut self.clients[request.client as usize];
        if !known || client.own.is_some() {
            return self.send_settling(request, Settle::Select(database));
        }
        // What is in flight may have to be sent again, to the database that it is for.
        if client.inflight > 0 && client.database != database {
            client.stall = Stall::Lane;
            return Taken::Stalled;
        }
        client.database = database;
        self.warm(request.client);
        self.reply(request, |out| out.extend_from_slice(b"+OK\r\n"))
    }

    fn hello(&mut self, request: Request<'_>) -> Taken {
        let words = request.words_from(1);
        let Some(hello) = local::hello(words) else {
            return self.send_settling(request, Settle::Hello);
        };
        let credentials = &self.config.upstream.credentials;
        if let Some((user, password)) = hello.auth
            && !local::is_own_identity(credentials, user, password)
        {
            return self.send_settling(request, Settle::Hello);
        }
        let Some(facts) = self.facts.clone() else {
            return self.hello_without_facts(request);
        };
        let client = &mut self.clients[request.client as usize];
        if client.own.is_some()
            && hello
                .protocol
                .is_some_and(|wanted| wanted != client.protocol)
        {
            return self.send_settling(request, Settle::Hello);
        }
        // What is in flight may have to be asked again, in the protocol that it is for.
        let changes = hello
            .protocol
            .is_some_and(|wanted| wanted != client.protocol);
        if client.inflight > 0 && changes {
            client.stall = Stall::Lane;
            return Taken::Stalled;
        }
        client.by_library = true;
        client.locked &= hello.auth.is_none();
        if let Some(protocol) = hello.protocol {
            client.speak(protocol);
        }
        if let Some(name) = hello.name {
            client.introduce().name = name.to_vec();
            self.repeat_introduction(request.client);
        }
        self.warm(request.client);
        let client = &self.clients[request.client as usize];
        let (protocol, id) = (client.protocol, HELLO_ID_FIRST + u64::from(client.serial));
        self.reply(request, |out| facts.write_hello(out, protocol, id))
    }

    /// Nothing is known of the server yet: the first link, which is being dialled, tells.
    fn hello_without_facts(&mut self, request: Request<'_>) -> Taken {
        if self.must_wait() {
            return self.no_link(&request);
        }
        let client = &mut self.clients[request.client as usize];
        client.stall = Stall::Greeting;
        self.greeting.push(client.id(request.client));
        Taken::Stalled
    }

    /// Looks again at the HELLOs that waited: the server has greeted, or can't be reached.
    pub(super) fn end_greeting(&mut self) {
        for id in std::mem::take(&mut self.greeting) {
            self.unstall(id, Stall::Greeting);
        }
    }

    fn auth(&mut self, request: Request<'_>) -> Taken {
        let shown = match (request.words.len(), request.word(1), request.word(2)) {
            (2, Some(password), _) => Some((&b"default"[..], password)),
            (3, Some(user), Some(password)) => Some((user, password)),
            _ => None,
        };
        let credentials = &self.config.upstream.credentials;
        match shown {
            Some((user, password)) if local::is_own_identity(credentials, user, password) => {
                self.clients[request.client as usize].locked = false;
                self.reply(request, |out| out.extend_from_slice(b"+OK\r\n"))
            }
            _ => self.send_settling(request, Settle::Auth),
        }
    }

    fn client_command(&mut self, request: Request<'_>) -> Taken {
        let word = request.word(1).unwrap_or_default();
        let words = request.words.len();
        match local::client_word(word) {
            ClientWord::SetName if words == 3 => {
                let name = request.word(2).unwrap_or_default();
                if !local::is_name(name) {
                    return self.ask_general(request);
                }
                self.clients[request.client as usize].introduce().name = name.to_vec();
                if !name.is_empty() {
                    self.give_name(request.client);
                }
                self.repeat_introduction(request.client);
                self.reply(request, |out| out.extend_from_slice(b"+OK\r\n"))
            }
            ClientWord::GetName if words == 2 => {
                let client = &self.clients[request.client as usize];
                let protocol = client.protocol;
                let name = client.introduction.as_ref().map(|told| told.name.clone());
                self.reply(request, |out| match name.as_deref() {
                    None | Some([]) => out.extend_from_slice(protocol.null()),
                    Some(name) => encode::bulk(out, name),
                })
            }
            ClientWord::SetInfo => self.set_info(request),
            ClientWord::MaintNotifications => self.maint_notifications(request),
            ClientWord::Identity => {
                let taken = self.send_identity(request);
                if let Taken::Bytes(_) = taken
                    && self.clients[request.client as usize].own.is_some()
                {
                    self.clients[request.client as usize].held.identity = true;
                }
                taken
            }
            ClientWord::OwnConnection if words > 2 => {
                self.go_raw(request.client, request.bytes, request.length)
            }
            ClientWord::Pause => {
                let pause = request
                    .word(2)
                    .and_then(|word| std::str::from_utf8(word).ok()?.parse().ok())
                    .unwrap_or(0);
                self.send_settling(request, Settle::Pause(pause))
            }
            ClientWord::Unpause => self.send_settling(request, Settle::Unpause),
            _ => self.send_own(request, None),
        }
    }

    /// Commands that ask or tell who the connection is run on a link that bears its name.
    fn send_identity(&mut self, request: Request<'_>) -> Taken {
        if self.naming > 0 {
            let client = &mut self.clients[request.client as usize];
            client.stall = Stall::Naming;
            let id = client.id(request.client);
            self.asking.push(id);
            return Taken::Stalled;
        }
        match self.own_link(request.client) {
            Ok(Some(link)) => self.introduce(request.client, link),
            Ok(None) => return Taken::Stalled,
            // Not left to the call below: asked twice, a client that has waited long enough would begin to wait anew.
            Err(ErrorKind::Masterdown) => return self.no_link(&request),
            Err(kind) => {
                self.refuse(request.client, kind);
                return Taken::Bytes(request.length);
            }
        }
        self.send_own(request, None)
    }

    fn set_info(&mut self, request: Request<'_>) -> Taken {
        let word = request.word(1).unwrap_or_default();
        let Some(facts) = self.facts.clone() else {
            return self.ask_general(request);
        };
        if !facts.has_setinfo() {
            return self.unknown_client_word(request, word);
        }
        let (Some(option), Some(value), 4) =
            (request.word(2), request.word(3), request.words.len())
        else {
            return self.ask_general(request);
        };
        if !local::is_name(value) {
            return self.ask_general(request);
        }
        if value.is_empty() && self.clients[request.client as usize].own.is_some() {
            return self.send_own(request, None);
        }
        let client = &mut self.clients[request.client as usize];
        client.by_library = true;
        client.held.named = false;
        let told = client.introduce();
        if option.eq_ignore_ascii_case(b"LIB-NAME") {
            told.library = value.to_vec();
        } else if option.eq_ignore_ascii_case(b"LIB-VER") {
            told.library_version = value.to_vec();
        } else {
            return self.ask_general(request);
        }
        self.repeat_introduction(request.client);
        self.reply(request, |out| out.extend_from_slice(b"+OK\r\n"))
    }

    pub(super) fn unknown_client_word(&mut self, request: Request<'_>, word: &[u8]) -> Taken {
        match self.facts.clone() {
            Some(facts) => self.reply(request, |out| facts.write_unknown_client_word(out, word)),
            None => self.no_link(&request),
        }
    }

    /// Tells the own link, if there is one that bears the client's name, what has changed.
    fn repeat_introduction(&mut self, index: u32) {
        let client = &self.clients[index as usize];
        let (Some(own), true) = (client.own, client.held.identity) else {
            return;
        };
        self.links[own.index as usize].introduced = false;
        // SETNAME with an empty name takes it away; the others are only ever set.
        let nameless = client
            .introduction
            .as_ref()
            .is_some_and(|told| told.name.is_empty());
        if nameless {
            self.send_ours(own, &["CLIENT", "SETNAME", ""], What::Swallow);
        }
        self.introduce(index, own);
    }

    fn reset(&mut self, request: Request<'_>) -> Taken {
        if let Some(stalled) = self.stall_in_flight(request.client) {
            return stalled;
        }
        let locked = self.requires_auth();
        let client = &mut self.clients[request.client as usize];
        client.speak(Protocol::Resp2);
        client.locked = locked;
        client.database = 0;
        if let Some(told) = &mut client.introduction {
            told.name.clear();
        }
        client.forget_held();
        client.poisoned = false;
        client.lane = None;
        if let Some(own) = client.own.take() {
            self.drop_link(own);
        }
        self.reply(request, |out| out.extend_from_slice(b"+RESET\r\n"))
    }

    /// Lets a client wait while replies to it are to come; `None` when there are none.
    pub(super) fn stall_in_flight(&mut self, index: u32) -> Option<Taken> {
        let client = &mut self.clients[index as usize];
        (client.inflight > 0).then(|| {
            client.stall = Stall::Lane;
            Taken::Stalled
        })
    }

    fn close_when_answered(&mut self, index: u32) {
        let client = &mut self.clients[index as usize];
        match client.inflight {
            0 => self.close_after_flush(index, CloseCause::Client),
            _ => client.quitting = true,
        }
    }
}
