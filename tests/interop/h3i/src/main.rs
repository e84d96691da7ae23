//! Cloudflare's h3i as a program: a list of actions in JSON from standard input, what became of them as JSON to
//! standard output. Frames and field sections are encoded by quiche.
//!
//!     h3i-peer PORT <<< '[{"headers": {"stream": 0, "fields": [[":method", "GET"], ...], "fin": true}}]'

use std::io::{self, Read};
use std::time::Duration;

use h3i::actions::h3::{
    Action, ExpectedStreamSendResult, StreamEvent, StreamEventType, WaitType, send_headers_frame,
    send_headers_frame_literal,
};
use h3i::client::sync_client;
use h3i::config::Config;
use h3i::quiche::ConnectionError;
use h3i::quiche::h3::Header;
use h3i::quiche::h3::frame::Frame;
use serde::Deserialize;

/// What to do next. `fin` ends the stream.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Step {
    /// A HEADERS frame; `literal` sends names as they are, in whatever case.
    Headers {
        stream: u64,
        fields: Vec<(String, String)>,
        #[serde(default)]
        literal: bool,
        #[serde(default)]
        fin: bool,
    },
    /// Any other frame.
    Frame {
        stream: u64,
        frame: Content,
        #[serde(default)]
        fin: bool,
    },
    /// Bytes that are no frame, in hexadecimal.
    Bytes {
        stream: u64,
        hex: String,
        #[serde(default)]
        fin: bool,
    },
    /// A unidirectional stream and its type (RFC 9114 section 6.2).
    Open {
        stream: u64,
        kind: u64,
        #[serde(default)]
        fin: bool,
    },
    Reset {
        stream: u64,
        code: u64,
    },
    Stop {
        stream: u64,
        code: u64,
    },
    /// Go on after so many milliseconds.
    Sleep(u64),
    /// Go on when the peer has ended or reset a stream.
    Ended(u64),
    /// Close the connection without an error.
    Close,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Content {
    Data(String),
    Settings(Vec<(u64, u64)>),
    CancelPush(u64),
    PushPromise(u64),
    Goaway(u64),
    MaxPushId(u64),
    /// Request stream and field value (RFC 9218 section 7.1).
    PriorityUpdate(u64, String),
    /// A type, and a payload in hexadecimal.
    Unknown(u64, String),
}

impl Step {
    fn action(self) -> Result<Action, hex::FromHexError> {
        let expected_result = ExpectedStreamSendResult::Ok;
        Ok(match self {
            Self::Headers {
                stream,
                fields,
                literal,
                fin,
            } => {
                let fields = fields
                    .iter()
                    .map(|(name, value)| Header::new(name.as_bytes(), value.as_bytes()))
                    .collect();
                match literal {
                    true => send_headers_frame_literal(stream, fin, fields),
                    false => send_headers_frame(stream, fin, fields),
                }
            }
            Self::Frame { stream, frame, fin } => Action::SendFrame {
                stream_id: stream,
                fin_stream: fin,
                frame: frame.frame()?,
                expected_result,
            },
            Self::Bytes { stream, hex, fin } => Action::StreamBytes {
                stream_id: stream,
                fin_stream: fin,
                bytes: hex::decode(hex)?,
                expected_result,
            },
            Self::Open { stream, kind, fin } => Action::OpenUniStream {
                stream_id: stream,
                fin_stream: fin,
                stream_type: kind,
                expected_result,
            },
            Self::Reset { stream, code } => Action::ResetStream {
                stream_id: stream,
                error_code: code,
            },
            Self::Stop { stream, code } => Action::StopSending {
                stream_id: stream,
                error_code: code,
            },
            Self::Sleep(milliseconds) => Action::Wait {
                wait_type: WaitType::WaitDuration(Duration::from_millis(milliseconds)),
            },
            Self::Ended(stream) => {
                let event = StreamEvent {
                    stream_id: stream,
                    event_type: StreamEventType::Finished,
                };
                Action::Wait {
                    wait_type: WaitType::StreamEvent(event),
                }
            }
            Self::Close => Action::ConnectionClose {
                error: ConnectionError {
                    is_app: true,
                    error_code: 0x100,
                    reason: Vec::new(),
                },
            },
        })
    }
}

impl Content {
    fn frame(self) -> Result<Frame, hex::FromHexError> {
        Ok(match self {
            Self::Data(hex) => Frame::Data {
                payload: hex::decode(hex)?,
            },
            Self::Settings(pairs) => Frame::Settings {
                max_field_section_size: None,
                qpack_max_table_capacity: None,
                qpack_blocked_streams: None,
                connect_protocol_enabled: None,
                h3_datagram: None,
                grease: None,
                additional_settings: Some(pairs),
                raw: None,
            },
            Self::CancelPush(push_id) => Frame::CancelPush { push_id },
            Self::PushPromise(push_id) => Frame::PushPromise {
                push_id,
                header_block: Vec::new(),
            },
            Self::Goaway(id) => Frame::GoAway { id },
            Self::MaxPushId(push_id) => Frame::MaxPushId { push_id },
            Self::PriorityUpdate(stream, value) => Frame::PriorityUpdateRequest {
                prioritized_element_id: stream,
                priority_field_value: value.into_bytes(),
            },
            Self::Unknown(raw_type, hex) => Frame::Unknown {
                raw_type,
                payload: hex::decode(hex)?,
            },
        })
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = std::env::args().nth(1).ok_or("which port?")?.parse()?;
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    let steps: Vec<Step> = serde_json::from_str(&text)?;
    let actions = steps.into_iter().map(Step::action).collect::<Result<_, _>>()?;
    let config = Config::new()
        .with_host_port("localhost:443".into())
        .with_connect_to(format!("127.0.0.1:{port}"))
        .verify_peer(false)
        .with_idle_timeout(5_000)
        .build()?;
    let summary = sync_client::connect(config, actions, None).map_err(|error| format!("{error:?}"))?;
    println!("{}", serde_json::to_string(&summary)?);
    Ok(())
}
