//! The synthetic answer, made here: as `benchmarks/fronts/answers.py` makes it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, sleep_until};
use tonic::Status;

const FIRST: Duration = Duration::from_millis(50);
const BETWEEN: Duration = Duration::from_millis(20);

/// Sends an answer of as many tokens as the request's model (`paced-N`) says; ends where nobody reads any more.
pub async fn answer(asked: Bytes, messages: Sender<Result<Bytes, Status>>) {
    let count = tokens(&asked);
    let (began, clock) = (Instant::now(), SystemTime::now());
    let started = chunk(1, 2, &field(1, b"answers/paced"));
    let retrieved = chunk(2, 3, &field(2, b""));
    for message in [started, retrieved] {
        if messages.send(Ok(message.into())).await.is_err() {
            return;
        }
    }
    let mut text = Vec::new();
    for number in 0..count {
        let after = FIRST + BETWEEN * number;
        sleep_until(began + after).await;
        let mut delta = field(1, token(number, clock + after).as_bytes());
        number_field(&mut delta, 2, text.len() as u64);
        text.extend_from_slice(token(number, clock + after).as_bytes());
        if messages
            .send(Ok(chunk(u64::from(number) + 3, 4, &delta).into()))
            .await
            .is_err()
        {
            return;
        }
    }
    let sequence = u64::from(count) + 3;
    let _ = messages.send(Ok(terminal(sequence, &text).into())).await; // if nobody reads it, nobody misses it
}

/// The number after `paced-` in a request.
fn tokens(asked: &[u8]) -> u32 {
    let text = String::from_utf8_lossy(asked);
    let number = text.split("paced-").nth(1).unwrap_or("");
    number
        .chars()
        .take_while(char::is_ascii_digit)
        .collect::<String>()
        .parse()
        .unwrap_or(0)
}

fn token(number: u32, sent: SystemTime) -> String {
    let mut micros = sent.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    let mut digits = [b'0'; 10];
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdefghijklmnopqrstuvwxyz"[(micros % 36) as usize];
        micros /= 36;
    }
    format!(" {number:05}{}", String::from_utf8_lossy(&digits))
}

fn terminal(sequence: u64, text: &[u8]) -> Vec<u8> {
    let mut whole = field(1, b"answers/paced");
    number_field(&mut whole, 7, 2); // succeeded
    whole.extend(field(8, text));
    number_field(&mut whole, 11, 1); // finish reason stop
    number_field(&mut whole, 16, sequence);
    varint(&mut whole, 21 << 3 | 5);
    whole.extend(crc32c::crc32c(text).to_le_bytes());
    chunk(sequence, 15, &whole)
}

fn chunk(sequence: u64, event: u64, body: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(body.len() + 12);
    number_field(&mut message, 1, sequence);
    message.extend(field(event, body));
    message
}

fn field(number: u64, body: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(body.len() + 8);
    varint(&mut encoded, number << 3 | 2);
    varint(&mut encoded, body.len() as u64);
    encoded.extend_from_slice(body);
    encoded
}

fn number_field(target: &mut Vec<u8>, number: u64, value: u64) {
    varint(target, number << 3);
    varint(target, value);
}

fn varint(target: &mut Vec<u8>, mut value: u64) {
    while value >= 128 {
        target.push(value as u8 | 128);
        value >>= 7;
    }
    target.push(value as u8);
}
