//! Bodies that come in pieces, for several readers, and those that never come to their end.

use std::collections::VecDeque;

use super::*;

/// Pieces that come when they are asked for; the last may be an error.
struct Pieces(VecDeque<io::Result<Frame<Bytes>>>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(self.0.pop_front())
    }
}

fn pieces(texts: &[&'static str]) -> Body {
    Body::stream(Pieces(
        texts.iter().map(|text| Ok(Frame::data((*text).into()))).collect(),
    ))
}

fn broken_off(texts: &[&'static str]) -> Body {
    let mut all: VecDeque<_> = texts.iter().map(|text| Ok(Frame::data((*text).into()))).collect();
    all.push_back(Err(io::ErrorKind::ConnectionReset.into()));
    Body::stream(Pieces(all))
}

fn room(disk: Option<&tempfile::TempDir>, in_memory: u64) -> Room {
    Room {
        memory: Budget::new(64),
        disk: disk.map(|folder| Arc::new(Disk::new(folder.path(), 1 << 20, 64))),
        in_memory,
        max_object: 16,
    }
}

async fn read(body: Body) -> io::Result<String> {
    let whole = body.collect().await?.to_bytes();
    Ok(String::from_utf8(whole.to_vec()).unwrap())
}

/// What is in what is stored.
async fn content(content: Option<Content>) -> Option<String> {
    let content = content?;
    let length = content.len()?;
    read(content.open()?.part(0..length)).await.ok()
}

#[tokio::test]
async fn everybody_gets_everything() {
    let folder = tempfile::tempdir().unwrap();
    for (expected, in_memory, on_disk) in [
        (Some(6), 16, false),
        (None, 16, false),
        (Some(6), 3, true),
        (None, 3, true),
    ] {
        let room = room(Some(&folder), in_memory);
        let filling = room.begin(expected).unwrap();
        let (lead, other) = (filling.reader(None, true), filling.reader(None, false));
        let late = filling.reader(Some(3..5), false);
        let reading = tokio::spawn(read(lead));
        tokio::task::yield_now().await;
        let stored = room.fill(&filling, pieces(&["ab", "", "cd", "ef"])).await;
        assert_eq!(matches!(stored, Some(Content::Disk(_))), on_disk);
        assert_eq!(content(stored).await.as_deref(), Some("abcdef"));
        assert_eq!(reading.await.unwrap().unwrap(), "abcdef");
        assert_eq!(
            (read(other).await.unwrap(), read(late).await.unwrap()),
            ("abcdef".into(), "de".into())
        );
    }
}

#[tokio::test]
async fn what_is_not_whole_is_not_stored() {
    let folder = tempfile::tempdir().unwrap();
    for (expected, body, in_memory) in [
        (Some(6), pieces(&["ab", "cd"]), 16),
        (Some(6), broken_off(&["abcdef"]), 16),
        (None, broken_off(&["abcdef"]), 16),
        (None, broken_off(&["abcdef"]), 3),
    ] {
        let room = room(Some(&folder), in_memory);
        let filling = room.begin(expected).unwrap();
        let (lead, other) = (filling.reader(None, true), filling.reader(None, false));
        assert!(room.fill(&filling, body).await.is_none());
        assert!(
            read(lead).await.is_err() && read(other).await.is_err(),
            "nobody takes a part for the whole"
        );
    }
}

#[tokio::test]
async fn what_is_too_large_is_for_the_one_who_asked() {
    let folder = tempfile::tempdir().unwrap();
    for in_memory in [16, 3] {
        let room = room(Some(&folder), in_memory);
        let filling = room.begin(None).unwrap();
        let (lead, other) = (filling.reader(None, true), filling.reader(None, false));
        assert!(
            room.fill(&filling, pieces(&["0123456789", "012345", "6789", "abc"]))
                .await
                .is_none()
        );
        assert_eq!(read(lead).await.unwrap(), "01234567890123456789abc");
        assert!(read(other).await.is_err());
    }
    let room = room(None, 16);
    assert!(room.begin(Some(17)).is_none(), "that much is known");
    // Nobody is there any more who could have the rest.
    let filling = room.begin(None).unwrap();
    drop(filling.reader(None, true));
    assert!(
        room.fill(&filling, pieces(&["0123456789", "0123456789"]))
            .await
            .is_none()
    );
}

#[tokio::test]
async fn memory_on_the_way_is_bounded() {
    let room = room(None, 16);
    let all: Vec<_> = (0..4).map(|_| room.begin(Some(16)).unwrap()).collect();
    assert!(room.begin(Some(1)).is_none());
    // Of unknown length: as much as there is.
    let filling = room.begin(None).unwrap();
    let lead = filling.reader(None, true);
    assert!(room.fill(&filling, pieces(&["ab"])).await.is_none());
    assert_eq!(read(lead).await.unwrap(), "ab");
    drop(all);
    let filling = room.begin(Some(16)).unwrap();
    assert!(room.fill(&filling, pieces(&["0123456789abcdef"])).await.is_some());
    // What is stored is the store's to count.
    assert!((0..4).all(|_| room.begin(Some(16)).is_some()));
}

#[tokio::test]
async fn a_disk_that_fails_costs_nobody_anything() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let room = Room {
        disk: Some(Arc::new(Disk::new(file.path(), 4096, 64))),
        ..room(None, 3)
    };
    let filling = room.begin(None).unwrap();
    let lead = filling.reader(None, true);
    assert!(room.fill(&filling, pieces(&["ab", "cd", "ef"])).await.is_none());
    assert_eq!(read(lead).await.unwrap(), "abcdef");
}

#[tokio::test]
async fn trailers_are_for_those_who_read_along() {
    let room = room(None, 16);
    let trailers = HeaderMap::from_iter([(
        http::HeaderName::from_static("x-sum"),
        http::HeaderValue::from_static("1"),
    )]);
    let frames = [Ok(Frame::data("ab".into())), Ok(Frame::trailers(trailers.clone()))];
    let filling = room.begin(None).unwrap();
    let lead = filling.reader(None, true);
    let stored = room.fill(&filling, Body::stream(Pieces(frames.into()))).await;
    assert_eq!(lead.collect().await.unwrap().trailers(), Some(&trailers));
    assert_eq!(content(stored).await.as_deref(), Some("ab"));
}
