use super::*;

fn at(milliseconds: u64) -> Time {
    Time::from_millis(milliseconds)
}

fn counted(held: u64) -> Requests {
    Requests {
        held,
        ..Requests::default()
    }
}

fn begin(book: &mut Book, milliseconds: u64, held: u64) {
    book.begin(Begin {
        at: at(milliseconds),
        unix_ms: 1_000_000 + milliseconds,
        by: "silent",
        from: "a:1".into(),
        counted: counted(held),
    });
}

fn switch(book: &mut Book, generation: u64, milliseconds: u64) {
    let change = Change {
        reason: "failover",
        to: format!("b:{generation}"),
        generation,
        epoch: 7,
    };
    book.switch(change, at(milliseconds));
}

fn repair(repaired: u64) -> Repair {
    Repair {
        writes: Writes {
            at_risk: repaired,
            repaired,
            ..Writes::default()
        },
        ..Repair::default()
    }
}

/// Number, outcome, requests held, settled after, writes repaired, whether it is final.
type Line = (u64, Outcome, u64, Option<u64>, Option<u64>, bool);

fn lines(book: &mut Book) -> Vec<Line> {
    let line = |(episode, is_final): (Episode, bool)| {
        (
            episode.number,
            episode.outcome,
            episode.requests.held,
            episode.settled_after_ms,
            episode.repair.map(|repair| repair.writes.repaired),
            is_final,
        )
    };
    book.take().into_iter().map(line).collect()
}

#[test]
fn a_failover_is_told_when_it_serves_and_again_when_all_is_settled() {
    let mut book = Book::default();
    begin(&mut book, 100, 5);
    switch(&mut book, 2, 1_100);
    book.end(counted(25), true, at(1_200));
    assert_eq!(
        lines(&mut book),
        [(1, Outcome::Switched, 20, None, None, false)]
    );
    // A hold meanwhile is one of its own.
    begin(&mut book, 1_300, 25);
    book.end(counted(26), true, at(1_400));
    book.settle(repair(9), Some(at(1_500)), at(5_100));
    let told = book.take();
    assert_eq!(told[0].0.outcome, Outcome::CalledOff);
    let (episode, is_final) = &told[1];
    assert!(is_final);
    assert_eq!((episode.number, episode.generation), (1, Some(2)));
    assert_eq!(
        (&episode.from[..], episode.to.as_deref()),
        ("a:1", Some("b:2"))
    );
    assert_eq!(episode.began_unix_ms, 1_000_100);
    assert_eq!(episode.named_after_ms, Some(1_000));
    assert_eq!(episode.serving_after_ms, 1_100);
    assert_eq!(episode.settled_after_ms, Some(5_000));
    assert_eq!(episode.repair.unwrap().repaired_after_ms, Some(1_400));
}

#[test]
fn what_is_settled_before_requests_go_on_or_never_is_told_once() {
    let mut book = Book::default();
    begin(&mut book, 0, 0);
    switch(&mut book, 2, 10);
    book.settle(repair(3), None, at(20));
    book.end(counted(0), true, at(30));
    begin(&mut book, 40, 0);
    switch(&mut book, 3, 50);
    book.end(counted(0), false, at(60));
    assert_eq!(
        lines(&mut book),
        [
            (1, Outcome::Switched, 0, Some(30), Some(3), true),
            (2, Outcome::Switched, 0, Some(20), None, true),
        ]
    );
}

#[test]
fn a_switch_interrupts_the_repair_before_and_not_what_is_not_served_yet() {
    let mut book = Book::default();
    begin(&mut book, 0, 0);
    switch(&mut book, 2, 10);
    book.end(counted(0), true, at(20));
    begin(&mut book, 30, 0);
    book.interrupt(repair(1), None, at(40));
    switch(&mut book, 3, 40);
    // One more before it is served from.
    book.interrupt(repair(5), None, at(50));
    switch(&mut book, 4, 50);
    book.end(counted(0), true, at(60));
    book.settle(repair(2), None, at(70));
    assert_eq!(
        lines(&mut book),
        [
            (1, Outcome::Switched, 0, None, None, false),
            (1, Outcome::Interrupted, 0, Some(40), Some(1), true),
            (2, Outcome::Switched, 0, None, None, false),
            (2, Outcome::Switched, 0, Some(40), Some(2), true),
        ]
    );
}

#[test]
fn a_hold_that_goes_on_is_one_and_is_closed_a_second_after_its_end() {
    let mut book = Book::default();
    begin(&mut book, 0, 0);
    book.end(counted(1), false, at(100));
    begin(&mut book, 0, 1);
    assert_eq!(book.next_tick(), None);
    book.end(counted(3), false, at(200));
    book.tick(at(1_199));
    assert_eq!(
        lines(&mut book),
        [
            (1, Outcome::CalledOff, 1, Some(100), None, false),
            (1, Outcome::CalledOff, 3, Some(200), None, false),
        ]
    );
    assert_eq!(book.next_tick(), Some(at(1_200)));
    book.tick(at(1_200));
    assert_eq!(
        lines(&mut book),
        [(1, Outcome::CalledOff, 3, Some(200), None, true)]
    );
    assert_eq!(book.next_tick(), None);
}

#[test]
fn another_hold_closes_the_one_before_at_once() {
    let mut book = Book::default();
    begin(&mut book, 0, 0);
    book.end(counted(1), false, at(100));
    begin(&mut book, 150, 1);
    let told = lines(&mut book);
    assert_eq!(told[1], (1, Outcome::CalledOff, 1, Some(100), None, true));
    assert!(book.is_open());
}

#[test]
fn the_last_are_kept_each_once() {
    let mut book = Book::default();
    let mut episodes = Episodes::default();
    for number in 0..EPISODES_MAX as u64 + 3 {
        begin(&mut book, number * 10, 0);
        book.end(counted(number), false, at(number * 10 + 5));
        book.tick(at(number * 10 + 2_000));
        book.take()
            .into_iter()
            .for_each(|(episode, _)| episodes.put(episode));
    }
    let numbers: Vec<u64> = episodes.iter().map(|episode| episode.number).collect();
    assert_eq!(numbers, (4..=EPISODES_MAX as u64 + 3).collect::<Vec<_>>());
}

#[test]
fn the_json_is_flat_and_leaves_out_what_is_not_known() {
    let mut book = Book::default();
    begin(&mut book, 0, 0);
    book.end(counted(1), false, at(100));
    let (mut episode, _) = book.take().remove(0);
    let json = serde_json::to_value(&episode).unwrap();
    assert_eq!(
        (&json["outcome"], &json["held"]),
        (&"called_off".into(), &1.into())
    );
    assert!(json.get("at_risk").is_none());
    episode.repair = Some(repair(4));
    let json = serde_json::to_value(&episode).unwrap();
    assert_eq!((&json["at_risk"], &json["keys"]), (&4.into(), &0.into()));
}

#[test]
fn one_that_was_called_off_is_final_when_what_was_acknowledged_is_put_back() {
    let mut book = Book::default();
    begin(&mut book, 0, 0);
    book.end(counted(2), true, at(2_000));
    let open = (1, Outcome::CalledOff, 2, None, None, false);
    assert_eq!(lines(&mut book), [open]);
    assert_eq!(book.next_tick(), None, "it may take longer than a second");
    book.settle(repair(5), Some(at(2_900)), at(3_500));
    let settled = (1, Outcome::CalledOff, 2, Some(3_500), Some(5), true);
    assert_eq!(lines(&mut book), [settled]);
}
