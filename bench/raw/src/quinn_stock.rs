//! Pre-encoded answers on stock quinn: a task for each connection and each stream.

use std::sync::Arc;

use quinn_proto::{EndpointConfig, ServerConfig};

use crate::{Answer, Result};

pub async fn serve(
    socket: std::net::UdpSocket,
    server: ServerConfig,
    config: EndpointConfig,
    answer: Answer,
) -> Result<()> {
    let endpoint = quinn::Endpoint::new(config, Some(server), socket, Arc::new(quinn::TokioRuntime))?;
    while let Some(incoming) = endpoint.accept().await {
        let answer = answer.clone();
        tokio::spawn(async move {
            let Ok(connection) = incoming.await else { return };
            let Ok(mut control) = connection.open_uni().await else {
                return;
            };
            let _ = control.write_all(&[0x00, 0x04, 0x00]).await;
            while let Ok((send, receive)) = connection.accept_bi().await {
                tokio::spawn(stream(send, receive, answer.clone()));
            }
        });
    }
    Ok(())
}

async fn stream(mut send: quinn::SendStream, mut receive: quinn::RecvStream, answer: Answer) {
    while let Ok(Some(_)) = receive.read_chunk(usize::MAX, true).await {}
    let mut sent = 0;
    let mut chunks = [answer.head.clone(), answer.piece(0)];
    while send.write_all_chunks(&mut chunks).await.is_ok() {
        sent += answer.piece(sent).len();
        if sent == answer.length {
            break;
        }
        chunks = [Default::default(), answer.piece(sent)];
    }
    let _ = send.finish();
}
