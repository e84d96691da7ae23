//! What waits, and for how much; what ends with a session.

use std::sync::atomic::Ordering;

use super::super::testing::counting;
use super::*;

fn session() -> (Arc<Session>, Mailbox) {
    let session = Session::new(Waker::noop().clone());
    session.accept();
    (session, Mailbox::default())
}

fn opened(stream: u64) -> Message {
    Message::Opened {
        stream,
        bidirectional: true,
        ours: false,
    }
}

fn data(stream: u64, len: usize) -> Message {
    Message::Data {
        stream,
        data: vec![0; len].into(),
        end: false,
    }
}

fn say(stream: u64, len: usize) -> Command {
    Command::Data {
        stream,
        data: vec![0; len].into(),
        end: false,
    }
}

fn never() -> Notify {
    Box::new(|| {})
}

fn taken(session: &Session, mailbox: &Mailbox) -> Vec<Message> {
    std::iter::from_fn(|| match session.take(mailbox, never) {
        Taken::Message(message) => Some(message),
        Taken::Ended(_) | Taken::Wait => None,
    })
    .collect()
}

#[test]
fn an_application_that_does_not_read_holds_the_connection_back() {
    for len in [10_000, 1] {
        let (session, mailbox) = session();
        let mut count = 0;
        while session.has_room() {
            session.push(data(4, len));
            count += 1;
        }
        assert_eq!(count, (HIGH.div_ceil(len)).min(MAX_ITEMS));
        assert!(!mailbox.is_noted());
        assert_eq!(taken(&session, &mailbox).len(), count);
        assert!(mailbox.is_noted() && session.has_room());
    }
}

#[test]
fn a_client_that_does_not_read_one_stream_holds_back_no_other() {
    let (session, mailbox) = session();
    session.push(opened(4));
    session.push(opened(8));
    assert_eq!(session.command(&mailbox, say(4, HIGH)), Room::Enough);
    assert_eq!(session.command(&mailbox, say(4, 1)), Room::Full);
    assert_eq!(session.command(&mailbox, say(8, 1)), Room::Enough);
    let (count, later) = counting();
    assert_eq!(session.room(Some(4), later), Room::Full);
    session.sent(4, HIGH - LOW);
    assert_eq!(count.load(Ordering::Relaxed), 0);
    session.sent(4, 1);
    assert_eq!(count.load(Ordering::Relaxed), 1);
    assert_eq!(session.room(Some(4), never), Room::Enough);
}

#[test]
fn all_streams_of_a_session_are_bounded_together() {
    let (session, mailbox) = session();
    for stream in 0..17 {
        session.push(opened(4 * stream));
        let wanted = if stream < 16 { Room::Enough } else { Room::Full };
        assert_eq!(session.command(&mailbox, say(4 * stream, HIGH)), wanted, "{stream}");
    }
    for _ in 0..=MAX_OPENING {
        session.command(&mailbox, Command::Open { bidirectional: true });
    }
    session.sent(0, 17 * HIGH);
    assert_eq!(session.room(None, never), Room::Full);
}

#[test]
fn of_datagrams_the_oldest_are_dropped_and_streams_have_their_turn() {
    let (session, mailbox) = session();
    for n in 0..=MAX_DATAGRAMS {
        session.push(Message::Datagram(vec![n as u8].into()));
        session.datagram(&mailbox, vec![n as u8].into());
    }
    assert_eq!(session.next_datagram().as_deref(), Some(&[1][..]));
    session.push(opened(4));
    let taken = taken(&session, &mailbox);
    assert_eq!(taken.len(), MAX_DATAGRAMS + 1);
    assert_eq!(taken[0], Message::Datagram(vec![1].into()));
    assert_eq!(taken[1], opened(4));
}

#[test]
fn nothing_is_heard_before_the_session_is_accepted_and_the_end_always() {
    let (session, mailbox) = session();
    session.state().accepted = false;
    session.push(opened(4));
    let (count, later) = counting();
    assert_eq!(session.take(&mailbox, later), Taken::Wait);
    session.accept();
    assert_eq!(count.load(Ordering::Relaxed), 1, "it is told that there is something");
    assert_eq!(session.take(&mailbox, never), Taken::Message(opened(4)));
    let ending = Ending {
        code: Some(7),
        reason: "enough".into(),
    };
    session.end(ending.clone());
    session.end(Ending::default());
    assert_eq!(session.take(&mailbox, never), Taken::Ended(ending));
    assert_eq!(session.command(&mailbox, say(4, 1)), Room::Gone);
    assert_eq!(session.datagram(&mailbox, Bytes::new()), Room::Gone);
}

#[test]
fn what_cannot_be_sent_on_is_told() {
    let (session, mailbox) = session();
    assert_eq!(session.command(&mailbox, say(4, 1)), Room::Gone);
    session.push(opened(4));
    let end = Command::Data {
        stream: 4,
        data: Bytes::new(),
        end: true,
    };
    assert_eq!(session.command(&mailbox, end), Room::Enough);
    assert_eq!(session.command(&mailbox, say(4, 1)), Room::Gone);
    session.push(opened(8));
    session.push(Message::Stopped { stream: 8, code: None });
    assert_eq!(
        session.command(&mailbox, Command::Reset { stream: 8, code: 0 }),
        Room::Gone
    );
}
