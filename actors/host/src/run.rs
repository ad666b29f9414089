//! The life of a daemon: start, serve, be asked to stop, stop.

use std::process::ExitCode;

use orloj_kernel::{Context, Shutdown};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{Host, Options, StartError};

/// Starts a runtime and runs `main` on it to its end, which is the end of the process: tasks that
/// still run are not waited for.
///
/// SIGTERM and SIGINT begin the [`Shutdown`]; `main` is expected to finish what it promised and
/// return. A second one ends the process at once, with exit code 128 plus its number. A panic in
/// any task is a bug after which no promise can be relied on: it is reported, and the process
/// aborts.
///
/// # Errors
/// [`StartError`] when the runtime cannot start; `main` has not been called then.
pub fn run<F, Main>(options: Options, main: F) -> Result<ExitCode, StartError>
where
    F: FnOnce(Context, Shutdown) -> Main,
    Main: Future<Output = ExitCode>,
{
    let context = Host::new(options)?.context();
    abort_on_panic();
    context.block_on(async {
        let refused = |cause| StartError { what: "listening for signals", cause };
        let terminate = signal(SignalKind::terminate()).map_err(refused)?;
        let interrupt = signal(SignalKind::interrupt()).map_err(refused)?;
        let shutdown = Shutdown::new();
        context.spawn("signals", watch(Signals { terminate, interrupt }, shutdown.clone()));
        Ok(main(context, shutdown).await)
    })
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// The name and number of the next signal.
    async fn next(&mut self) -> (&'static str, i32) {
        std::future::poll_fn(|cx| {
            if self.terminate.poll_recv(cx).is_ready() {
                return std::task::Poll::Ready(("SIGTERM", SignalKind::terminate().as_raw_value()));
            }
            let interrupt = SignalKind::interrupt().as_raw_value();
            self.interrupt.poll_recv(cx).map(|_| ("SIGINT", interrupt))
        })
        .await
    }
}

async fn watch(mut signals: Signals, shutdown: Shutdown) {
    let (name, _) = signals.next().await;
    tracing::info!(signal = name, "shutting down; the same again ends the process at once");
    shutdown.begin();
    let (name, number) = signals.next().await;
    tracing::warn!(signal = name, "ending at once");
    #[expect(clippy::disallowed_methods, reason = "whoever signals twice wants no destructors")]
    std::process::exit(128 + number);
}

fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}
