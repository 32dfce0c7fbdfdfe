//! The scenarios of tests/sdks/transport_server.py, which the server at HEADWATER_TRANSPORT_TARGET plays.

use std::{env, fs, time::Duration};

use headwater::v1::{
    StreamAnswerRequest, answer_chunk::Event, answer_service_client::AnswerServiceClient,
};
use tokio::time::sleep;
use tonic::{
    Code, Request, Status,
    transport::{Certificate, Channel, ClientTlsConfig},
};
use tonic_types::StatusExt;

type Client = AnswerServiceClient<Channel>;

fn request(prompt: &str) -> StreamAnswerRequest {
    StreamAnswerRequest {
        prompt: prompt.to_owned(),
        ..Default::default()
    }
}

/// Reads a stream to its end; pauses after the first piece, if it is told to.
async fn read(
    client: &mut Client,
    request: Request<StreamAnswerRequest>,
    pause: Duration,
) -> Result<Vec<String>, Status> {
    let mut stream = client.stream_answer(request).await?.into_inner();
    let mut found = Vec::new();
    while let Some(chunk) = stream.message().await? {
        if let Some(Event::Text(text)) = chunk.event {
            found.push(text.text);
        }
        if found.len() == 1 {
            sleep(pause).await;
        }
    }
    Ok(found)
}

async fn texts(client: &mut Client, prompt: &str) -> Result<Vec<String>, Status> {
    read(client, Request::new(request(prompt)), Duration::ZERO).await
}

#[tokio::test]
async fn the_transport() -> Result<(), Box<dyn std::error::Error>> {
    let Ok(target) = env::var("HEADWATER_TRANSPORT_TARGET") else {
        println!("transport: HEADWATER_TRANSPORT_TARGET is not set");
        return Ok(());
    };
    let plain = Channel::from_shared(format!("http://{target}"))?;
    let mut client = Client::new(plain.connect().await?);

    let counted = texts(&mut client, "count 1000").await?;
    assert_eq!((counted.len(), counted[999].as_str()), (1000, "999"));
    println!("transport: stream passed");

    let size = texts(&mut client, &format!("size {}", "x".repeat(3_000_000))).await?;
    assert_eq!(size, ["3000005"]);
    println!("transport: request passed");

    let large = Request::new(request("large 24"));
    let large = read(&mut client, large, Duration::from_millis(500)).await?;
    assert_eq!(large.concat().len(), 24 << 20);
    println!("transport: windows passed");

    let failure = texts(&mut client, "fail").await.unwrap_err();
    assert_eq!(failure.code(), Code::ResourceExhausted);
    assert_eq!(failure.message(), "langsam, 20 % – später");
    let info = failure.get_details_error_info().expect("an ErrorInfo");
    assert_eq!(info.reason, "PROVIDER_RATE_LIMITED");
    println!("transport: details passed");

    let mut short = Request::new(request("hang"));
    short.set_timeout(Duration::from_millis(300));
    let late = read(&mut client, short, Duration::ZERO).await.unwrap_err();
    assert!(matches!(late.code(), Code::DeadlineExceeded | Code::Cancelled), "{late}");
    assert_eq!(texts(&mut client, "gone").await?, ["gone"]);
    println!("transport: deadline passed");

    let mut hanging = client.stream_answer(request("hang")).await?.into_inner();
    assert!(hanging.message().await?.is_some());
    drop(hanging);
    assert_eq!(texts(&mut client, "gone").await?, ["gone"]);
    println!("transport: cancel passed");

    assert_eq!(texts(&mut client, "goaway").await?, ["before", "after", "last"]);
    assert_eq!(texts(&mut client, "count 2").await?.len(), 2);
    println!("transport: goaway passed");

    let authority = fs::read_to_string(env::var("HEADWATER_TRANSPORT_CA")?)?;
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority));
    let secure = format!("https://{}", env::var("HEADWATER_TRANSPORT_TLS_TARGET")?);
    let channel = Channel::from_shared(secure)?.tls_config(tls)?.connect().await?;
    assert_eq!(texts(&mut Client::new(channel), "count 3").await?.len(), 3);
    println!("transport: tls passed");
    Ok(())
}
