//! Up to which ticket so many replicas have everything, by what a primary tells of them: pure.
//!
//! Two things tell it. WAIT behind something that went into the stream answers how many replicas have acknowledged that; where the
//! server does not let us do so, INFO tells what each replica has acknowledged, and the next INFO that names an offset which a
//! question before it had covers what stood behind that question.

use std::collections::VecDeque;

use crate::outbox::Ticket;

/// Questions that are remembered. Replicas tell once a second how far they are, each at a time of its own, and so far back at least
/// one must be found, also where each write brings a question: when there are too many, every second one is forgotten.
const QUESTIONS_MAX: usize = 1024;

/// What one connection to a primary has told.
#[derive(Debug)]
pub struct Reach {
    /// How many replicas are wanted; at least 1.
    replicas: usize,
    reached: Ticket,
    /// The ticket in hand when something was asked, and how far the stream had come when it was answered; both rising.
    questions: VecDeque<(Ticket, i64)>,
}

impl Reach {
    /// Knows nothing yet.
    pub fn new(replicas: usize) -> Self {
        Self {
            replicas: replicas.max(1),
            reached: 0,
            questions: VecDeque::new(),
        }
    }

    /// Takes in an answer of WAIT alone: so many replicas have what was asked with this `ticket` in hand. Returns the newest ticket
    /// that enough replicas have.
    pub fn waited(&mut self, ticket: Ticket, count: usize) -> Ticket {
        if count >= self.replicas {
            self.reached = self.reached.max(ticket);
        }
        self.reached
    }

    /// Takes in an answer: how many replicas have what was asked with this `ticket` in hand, where WAIT can tell, how far the stream
    /// was then, and what each replica has acknowledged. Returns the newest ticket that enough replicas have.
    pub fn told(
        &mut self,
        ticket: Ticket,
        waited: Option<usize>,
        offset: i64,
        acknowledged: impl Iterator<Item = i64>,
    ) -> Ticket {
        let mut acknowledged: Vec<i64> = acknowledged.collect();
        acknowledged.sort_unstable_by_key(|offset| std::cmp::Reverse(*offset));
        let reached = self.waited(ticket, waited.unwrap_or(0));
        if reached < ticket
            && let Some(enough) = acknowledged.get(self.replicas - 1)
        {
            let mut covered = self.questions.iter().rev();
            let last = covered.find(|(_, at)| at <= enough);
            self.reached = self.reached.max(last.map_or(0, |(ticket, _)| *ticket));
        }
        let reached = self.reached;
        let is_told =
            |question: Option<&(Ticket, i64)>| question.is_some_and(|one| one.0 <= reached);
        while is_told(self.questions.front()) {
            self.questions.pop_front();
        }
        if ticket > self.reached {
            if self.questions.len() == QUESTIONS_MAX {
                let mut at = 0;
                self.questions.retain(|_| {
                    at += 1;
                    at % 2 == 1
                });
            }
            self.questions.push_back((ticket, offset));
        }
        self.reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_tells_at_once() {
        let mut reach = Reach::new(2);
        let none = || std::iter::empty();
        assert_eq!(reach.told(3, Some(1), 100, none()), 0);
        assert_eq!(reach.told(3, Some(2), 110, none()), 3);
        assert_eq!(reach.told(5, Some(1), 120, none()), 3);
        assert_eq!(reach.told(6, Some(9), 130, none()), 6);
        assert_eq!((reach.waited(7, 1), reach.waited(7, 2)), (6, 7));
        assert!(reach.questions.is_empty());
    }

    #[test]
    fn without_it_the_offsets_of_so_many_replicas_tell_it_later() {
        let mut reach = Reach::new(2);
        let mut told = |ticket, offset, acknowledged: &[i64]| {
            reach.told(ticket, None, offset, acknowledged.iter().copied())
        };
        assert_eq!(told(1, 100, &[999]), 0, "one is too few");
        assert_eq!(told(2, 200, &[100, 50, 90]), 0, "the second of them has 90");
        assert_eq!(told(2, 210, &[50, 100, 300]), 1);
        assert_eq!(told(4, 300, &[199, 250]), 1);
        assert_eq!(
            told(4, 310, &[200, 200]),
            2,
            "the first question with that ticket"
        );
        assert_eq!(told(4, 320, &[]), 2, "what is known stays known");
        assert_eq!(told(4, 320, &[320, 400]), 4);
    }

    #[test]
    fn questions_are_bounded_and_go_back_as_far_as_the_slowest_replica() {
        let mut reach = Reach::new(2);
        for ticket in 1..10_000 {
            reach.told(ticket, Some(0), ticket as i64, [0, 0].into_iter());
            assert!(reach.questions.len() <= QUESTIONS_MAX);
        }
        // One has told how far it is just now, the other some time ago.
        let reached = reach.told(10_000, None, 10_000, [9_999, 6_000].into_iter());
        assert!((5_000..=6_000).contains(&reached), "{reached}");
        let reached = reach.told(10_001, None, 10_001, [9_999, 10_000].into_iter());
        assert_eq!(reached, 9_999);
    }
}
