//! The threads that Lance's asynchronous calls run on, for callers that may or may not be asynchronous themselves.

use std::future::Future;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::Builder;

use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::runtime::Runtime;

use crate::error::{Error, Result};

/// A store's own runtime. Blocking on it is safe from any thread, also from one of another runtime.
#[derive(Debug)]
pub(crate) struct Executor {
    runtime: Option<Runtime>,
}

impl Executor {
    pub(crate) fn new(store: &Path) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_name("alluvium-io")
            .enable_all()
            .build()
            .map_err(Error::io("start the threads of", store))?;
        Ok(Self {
            runtime: Some(runtime),
        })
    }

    /// Starts a future and gives the end at which its result arrives.
    pub(crate) fn start<T, F>(&self, future: F) -> Pending<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel();
        if let Some(runtime) = &self.runtime {
            runtime.spawn(async move {
                // Nobody waits any more when the receiver is gone.
                let _ = sender.send(future.await);
            });
        }
        Pending(receiver)
    }

    /// Runs a future to its end.
    pub(crate) fn run<T, F>(&self, future: F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        self.start(future).wait()
    }
}

/// Does something that waits for a channel of tokio's, on a thread of its own: on one of a runtime, as a host's may be, that panics.
pub(crate) fn off_runtime<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let done = std::thread::scope(|scope| {
        let thread = Builder::new().spawn_scoped(scope, work);
        let thread = thread.map_err(|error| format!("there is no thread for it: {error}"))?;
        let done = thread.join();
        done.map_err(|_| "it panicked; its message is on standard error".to_owned())
    });
    done.unwrap_or_else(|reason| Err(Error::Internal { reason }))
}

/// A stream's items, computed as they are taken, for a caller that is not asynchronous.
pub(crate) struct Items<T> {
    stream: Option<BoxStream<'static, Result<T>>>,
    executor: Arc<Executor>,
}

impl<T> Items<T> {
    pub(crate) fn new(executor: &Arc<Executor>, stream: BoxStream<'static, Result<T>>) -> Self {
        Self {
            stream: Some(stream),
            executor: Arc::clone(executor),
        }
    }
}

impl<T: Send + 'static> Iterator for Items<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut stream = self.stream.take()?;
        let next = self.executor.run(async move {
            let item = stream.next().await;
            (stream, item)
        });
        match next {
            Ok((stream, item)) => {
                self.stream = Some(stream);
                item
            }
            Err(error) => Some(Err(error)),
        }
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        // A plain drop would block, which panics within another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A result that is being computed.
#[derive(Debug)]
pub(crate) struct Pending<T>(mpsc::Receiver<T>);

impl<T> Pending<T> {
    pub(crate) fn wait(self) -> Result<T> {
        self.0.recv().map_err(|_| Error::Unavailable {
            action: "finish a task",
            state: "closing, or the task failed in a way that its log tells",
        })
    }
}
