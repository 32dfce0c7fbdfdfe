//! Serves `headwater.v1.AnswerService/StreamAnswer` by tonic, on a thread of its own.
//!
//! The chunks come from Python, as bytes and in batches, or, to see what that costs, from Rust itself (`paced`).

mod paced;
mod raw;
mod service;

use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use tokio::net::TcpListener;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;
use tonic::Status;
use tonic::transport::server::TcpIncoming;

use service::{AnswerService, Source};

/// A call as Python sees it: where its messages go.
#[pyclass(frozen)]
pub struct Call {
    messages: Sender<Result<Bytes, Status>>,
}

#[pymethods]
impl Call {
    /// Takes a message; false where so many wait that the caller has to wait too. Raises OSError if nobody reads any more.
    fn send(&self, message: &[u8]) -> PyResult<bool> {
        match self.messages.try_send(Ok(Bytes::copy_from_slice(message))) {
            Ok(()) => Ok(true),
            Err(TrySendError::Full(_)) => Ok(false),
            Err(TrySendError::Closed(_)) => Err(PyOSError::new_err("the caller has gone")),
        }
    }
}

/// Takes messages of many calls; returns the positions of those that have to wait. What nobody will read is dropped.
#[pyfunction]
fn send_all(batch: Vec<(Py<Call>, Vec<u8>)>) -> Vec<usize> {
    let mut waiting = Vec::new();
    let mut full: Vec<*const Call> = Vec::new(); // what comes after a message that waits must wait behind it
    for (position, (call, message)) in batch.into_iter().enumerate() {
        let call = call.get();
        if full.contains(&(call as *const Call)) {
            waiting.push(position);
        } else if let Err(TrySendError::Full(_)) = call.messages.try_send(Ok(message.into())) {
            full.push(call);
            waiting.push(position);
        }
    }
    waiting
}

/// Begins to serve. `begin(request, call)` is called in the loop's thread; the call ends when its last reference goes.
#[pyfunction]
fn serve(event_loop: Py<PyAny>, begin: Py<PyAny>) -> PyResult<u16> {
    start(Source::Python(Arc::new((event_loop, begin))))
}

/// Begins to serve chunks that Rust makes itself.
#[pyfunction]
fn serve_paced() -> PyResult<u16> {
    start(Source::Paced)
}

fn start(source: Source) -> PyResult<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::spawn(move || {
        runtime.block_on(async move {
            let listener = TcpListener::from_std(listener).expect("a listener is a listener");
            let served = tonic::transport::Server::builder()
                .add_service(AnswerService::new(source))
                .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)));
            if let Err(error) = served.await {
                eprintln!("serving has ended: {error}");
            }
        });
    });
    Ok(port)
}

#[pymodule]
mod front_tonic {
    #[pymodule_export]
    use super::{Call, send_all, serve, serve_paced};
}
