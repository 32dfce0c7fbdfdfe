//! The service: each call's messages come through a bounded channel.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, ServerStreamingService};
use tonic::{Request, Response, Status};
use tower_service::Service;

use crate::Call;
use crate::paced;
use crate::raw::Raw;

/// How many messages of a call may wait.
const WAITING: usize = 64;

/// Who makes the messages.
#[derive(Clone)]
pub enum Source {
    /// An event loop, and what to call in it.
    Python(Arc<(Py<PyAny>, Py<PyAny>)>),
    Paced,
}

#[derive(Clone)]
pub struct AnswerService {
    source: Source,
}

impl AnswerService {
    pub fn new(source: Source) -> Self {
        Self { source }
    }
}

impl NamedService for AnswerService {
    const NAME: &'static str = "headwater.v1.AnswerService";
}

impl Service<http::Request<Body>> for AnswerService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let known = request.uri().path() == "/headwater.v1.AnswerService/StreamAnswer";
        let method = StreamAnswer {
            source: self.source.clone(),
            known,
        };
        Box::pin(async move { Ok(Grpc::new(Raw).server_streaming(method, request).await) })
    }
}

struct StreamAnswer {
    source: Source,
    known: bool,
}

impl ServerStreamingService<Bytes> for StreamAnswer {
    type Response = Bytes;
    type ResponseStream = ReceiverStream<Result<Bytes, Status>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        if !self.known {
            return ready(Err(Status::unimplemented("no such method")));
        }
        let (messages, taken) = mpsc::channel(WAITING);
        let asked = request.into_inner();
        match &self.source {
            Source::Paced => {
                tokio::spawn(paced::answer(asked, messages));
            }
            Source::Python(python) => {
                if let Err(error) = begin(python, &asked, messages) {
                    return ready(Err(Status::internal(error.to_string())));
                }
            }
        }
        ready(Ok(Response::new(ReceiverStream::new(taken))))
    }
}

fn begin(python: &(Py<PyAny>, Py<PyAny>), asked: &[u8], messages: mpsc::Sender<Result<Bytes, Status>>) -> PyResult<()> {
    Python::attach(|py| {
        let (event_loop, begin) = python;
        let call = Py::new(py, Call { messages })?;
        event_loop.call_method1(py, "call_soon_threadsafe", (begin, PyBytes::new(py, asked), call))?;
        Ok(())
    })
}
