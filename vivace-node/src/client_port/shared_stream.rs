//! Small requests of one connection, which share a stream, and their replies.

use std::sync::Arc;

use quinn::{Connection, RecvStream, SendStream};
use tokio::sync::{Semaphore, mpsc};
use vivace_core::client_protocol::close_code;
use vivace_core::client_protocol::framing::{
    self, FrameTooLong, Frames, HEADER_BYTES, SHARED_MESSAGE_BYTES_MAX, SHARED_REQUESTS_MAX,
};

use super::answer::{Answer, SharedReply};
use super::{Requests, read_request};

/// The most bytes that one read of the stream yields.
const READ_BYTES_MAX: usize = 64 * 1024;

/// The most replies that one write takes.
const REPLIES_PER_WRITE: usize = 256;

/// Serves the requests of `stream` until it ends.
pub(super) async fn serve(connection: Connection, stream: RecvStream, requests: Requests) {
    let Ok(replies_stream) = connection.open_uni().await else {
        return;
    };
    // Unbounded, and yet never longer than the places.
    let (replies_sender, replies) = mpsc::unbounded_channel();
    tokio::spawn(write(connection.clone(), replies_stream, replies));
    if let Err(error) = read(stream, &requests, replies_sender).await {
        requests.refusals.count_request();
        connection.close(
            close_code::FRAME_TOO_LONG.into(),
            error.to_string().as_bytes(),
        );
    }
}

/// Hands requests over as they come in; while too many are under way, none is read.
async fn read(
    mut stream: RecvStream,
    requests: &Requests,
    replies: mpsc::UnboundedSender<SharedReply>,
) -> Result<(), FrameTooLong> {
    let room = Arc::new(Semaphore::new(SHARED_REQUESTS_MAX));
    let mut frames = Frames::new(SHARED_MESSAGE_BYTES_MAX);
    while let Ok(Some(chunk)) = stream.read_chunk(READ_BYTES_MAX, true).await {
        frames.push(&chunk.bytes);
        while let Some((number, bytes)) = frames.next_frame()? {
            let Ok(place) = room.clone().acquire_owned().await else {
                return Ok(());
            };
            match read_request(&bytes) {
                Ok(request) => {
                    let answer = Answer::shared(&request.request, number, place, replies.clone());
                    requests.hand_over(request, answer);
                }
                Err(failure) => {
                    requests.refusals.count_request();
                    let reply = Err(failure);
                    // Fails where the connection is gone, which the next read tells.
                    let _ = replies.send(SharedReply {
                        number,
                        reply,
                        place,
                    });
                }
            }
        }
    }
    Ok(())
}

/// Writes replies, all that are there at once, until nobody can give one any more.
async fn write(
    connection: Connection,
    mut stream: SendStream,
    mut replies: mpsc::UnboundedReceiver<SharedReply>,
) {
    let mut ready = Vec::with_capacity(REPLIES_PER_WRITE);
    while replies.recv_many(&mut ready, REPLIES_PER_WRITE).await > 0 {
        let mut frames = Vec::with_capacity(ready.len() * 64);
        let mut places = Vec::with_capacity(ready.len());
        let mut frame = Vec::new();
        for SharedReply {
            number,
            reply,
            place,
        } in ready.drain(..)
        {
            frame.clear();
            framing::put(number, &reply, &mut frame);
            if frame.len() <= HEADER_BYTES + SHARED_MESSAGE_BYTES_MAX {
                frames.extend_from_slice(&frame);
                places.push(place);
                continue;
            }
            let (connection, frame) = (connection.clone(), std::mem::take(&mut frame));
            tokio::spawn(async move {
                // A client that is gone hears nothing.
                let _ = write_alone(&connection, frame).await;
                drop(place);
            });
        }
        if !frames.is_empty() && stream.write_chunk(frames.into()).await.is_err() {
            // Where it stands, its client would wait for replies that never come.
            connection.close(0_u32.into(), b"replies can't be written");
            return;
        }
    }
}

async fn write_alone(connection: &Connection, frame: Vec<u8>) -> anyhow::Result<()> {
    let mut stream = connection.open_uni().await?;
    stream.write_chunk(frame.into()).await?;
    stream.finish()?;
    Ok(())
}
