//! The ClientHello, alone and in records (RFC 9846, sections 4.1.2 and 5.1).

use velocity_tls::hello::Hello;
use velocity_tls::record::{Inspection, inspect};

/// A ClientHello says the same in one record, in many, and on its own; and more bytes change no verdict.
pub fn client_hello(data: &[u8]) {
    stays(data);
    let Some((cut, message)) = data.split_first() else {
        return;
    };
    let parsed = Hello::parse(message);
    if Hello::complete_len(message) != Some(message.len()) {
        return;
    }
    for size in [usize::from(*cut).max(1), 1 << 14] {
        let records: Vec<u8> = message
            .chunks(size)
            .flat_map(|fragment| [&[22, 3, 1][..], &(fragment.len() as u16).to_be_bytes(), fragment].concat())
            .collect();
        let wanted = match &parsed {
            Ok(hello) => Inspection::Hello(Box::new(hello.clone())),
            Err(_) => Inspection::Malformed,
        };
        if message.len() <= velocity_tls::hello::MAX_HELLO {
            assert_eq!(inspect(&records), wanted);
        }
        if size > 1000 {
            stays(&records);
        }
    }
}

/// Whatever is said before all has come is still said then.
fn stays(received: &[u8]) {
    let all = inspect(received);
    let step = received.len() / 20 + 1;
    for cut in (0..received.len()).step_by(step) {
        let early = inspect(&received[..cut]);
        assert!(
            early == Inspection::Incomplete || early == all,
            "{early:?} and then {all:?}"
        );
    }
}
