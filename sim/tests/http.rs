//! The ecosystem runs in the world: hyper serves and calls HTTP over simulated streams.

use std::{convert::Infallible, time::Duration};

use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Bytes, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use orloj_kernel::Context;
use orloj_sim::{Config, Latency, NetFaults, Simulation, Traps};

async fn hello(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.map(|b| b.to_bytes()).unwrap_or_default();
    Ok(Response::new(Full::from(format!("{path} heard {} bytes", body.len()))))
}

async fn serve(cx: Context) {
    let mut listener = cx.listen("0.0.0.0:80").await.unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        cx.spawn("http", async move {
            let serving = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(hello));
            // A client that hangs up is no concern of the server's.
            let _ = serving.await;
        });
    }
}

async fn call(cx: Context, path: &str, body: usize) -> Result<(u16, String), hyper::Error> {
    let stream = cx.connect("server:80").await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    cx.spawn("connection", async move {
        let _ = connection.await;
    });
    let request = Request::post(path)
        .header("host", "server")
        .body(Full::<Bytes>::from(vec![7; body]))
        .expect("the request is well formed");
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let text = response.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&text).into_owned()))
}

fn world(seed: u64, faults: NetFaults) -> (u64, u64, Vec<(u16, String)>) {
    let mut config = Config::seed(seed);
    config.latency = Latency::Uniform(1_000_000, 3_000_000);
    // The header `date` asks the machine what day it is.
    config.traps = Traps::Virtualise;
    let mut sim = Simulation::new(config);
    sim.host("server", serve);
    let client = sim.idle_host("client");
    sim.control(|c| c.set_net_faults(faults));
    let answers = sim
        .run(client, async move {
            let mut answers = Vec::new();
            for (n, body) in [0, 1, 1_000, 200_000].into_iter().enumerate() {
                let path = format!("/{n}");
                let call = call(client, &path, body);
                answers.push(client.timeout(Duration::from_secs(60), call).await.unwrap().unwrap());
            }
            answers
        })
        .unwrap();
    let report = sim.finish();
    (report.trace_hash, report.virtual_ns, answers)
}

#[test]
fn hyper_serves_and_calls() {
    let (_, took, answers) = world(7, NetFaults::default());
    let want =
        ["/0 heard 0 bytes", "/1 heard 1 bytes", "/2 heard 1000 bytes", "/3 heard 200000 bytes"];
    assert_eq!(answers, want.map(|text| (200, text.to_owned())));
    assert!(took >= 4 * 4_000_000, "four calls cost at least two round trips each, not {took} ns");
}

#[test]
fn torn_frames_change_the_run_and_not_the_answers() {
    let faults = NetFaults {
        partial_write_ppm: 300_000,
        partial_frame_ppm: 300_000,
        slow_reader_ppm: 300_000,
        ..NetFaults::default()
    };
    let calm = world(7, NetFaults::default());
    for seed in 0..20 {
        let torn = world(seed, faults.clone());
        assert_eq!(torn.2, calm.2, "seed {seed}");
        assert_eq!(torn, world(seed, faults.clone()), "seed {seed} is one run");
    }
}
