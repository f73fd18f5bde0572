//! Which sockets want attention: the data thread's ready list.
//!
//! The whole data path is one future, so that one owner holds its state and everything that became ready in one turn is
//! handled, and written, together. Each socket has a [`Bell`]: the runtime rings it when the socket can be read or
//! written, which puts the socket's [`Token`] on the list and wakes the one task.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};

/// A socket of the data path, by its place in the slab that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// A listener.
    Listener(u32),
    /// A client connection.
    Client(u32),
    /// A link.
    Link(u32),
}

#[derive(Debug, Default)]
struct Inner {
    rung: Vec<Token>,
    task: Option<Waker>,
}

/// The list of tokens whose bells have rung.
#[derive(Debug, Default)]
pub struct Ready {
    inner: Mutex<Inner>,
}

impl Ready {
    /// Makes a bell for a socket.
    pub fn bell(self: &Arc<Self>, token: Token) -> Arc<Bell> {
        Arc::new(Bell {
            token,
            rung: AtomicBool::new(false),
            ready: Arc::clone(self),
        })
    }

    /// Moves what has rung into `tokens`, and sees to it that `cx` is woken by the next ring.
    pub fn take(&self, tokens: &mut Vec<Token>, cx: &Context<'_>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut inner.rung, tokens);
        if !inner
            .task
            .as_ref()
            .is_some_and(|task| task.will_wake(cx.waker()))
        {
            inner.task = Some(cx.waker().clone());
        }
    }

    fn push(&self, token: Token) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.rung.push(token);
        if inner.rung.len() == 1
            && let Some(task) = &inner.task
        {
            task.wake_by_ref();
        }
    }
}

/// Puts a socket on the ready list, once until [`Bell::silence`].
#[derive(Debug)]
pub struct Bell {
    token: Token,
    rung: AtomicBool,
    ready: Arc<Ready>,
}

impl Bell {
    /// Rings: the socket is handled in the next turn.
    pub fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.ready.push(self.token);
        }
    }

    /// Lets the bell ring again; called before the socket is looked at, so that no ring gets lost.
    pub fn silence(&self) {
        self.rung.store(false, Ordering::Release);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bell_rings_once_until_it_is_silenced() {
        let ready = Arc::new(Ready::default());
        let bell = ready.bell(Token::Client(3));
        bell.ring();
        bell.ring();
        let mut tokens = Vec::new();
        let cx = Context::from_waker(Waker::noop());
        ready.take(&mut tokens, &cx);
        assert_eq!(tokens, [Token::Client(3)]);
        tokens.clear();
        bell.ring();
        ready.take(&mut tokens, &cx);
        assert!(tokens.is_empty());
        bell.silence();
        bell.ring();
        ready.take(&mut tokens, &cx);
        assert_eq!(tokens, [Token::Client(3)]);
    }
}
