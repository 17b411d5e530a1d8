//! Alerts: a hook posts to a webhook when the violation of a limit is raised and when it is
//! cleared.
//!
//! Here the webhook is a small server on loopback; in production it is your chat or your pager.
//!
//! `cargo run --release --example sla_alert`

use core::{error::Error, net::SocketAddr, time::Duration};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    thread,
};

use tailwatch::{
    Collector, Event, Limit, Quantile, SlaChange, Threshold, Trading, WindowSpec, measure_tagged,
    time,
};
use tailwatch_examples::console::{print_line, print_note};

fn main() -> Result<(), Box<dyn Error>> {
    let webhook = TcpListener::bind("127.0.0.1:0")?;
    let address = webhook.local_addr()?;
    let receiver = thread::spawn(move || receive(&webhook));

    // A hook runs in the thread that drains, so it must not wait. It hands the change over, and
    // another thread posts it.
    let (alert, alerts) = mpsc::channel::<SlaChange>();
    let sender = thread::spawn(move || {
        for change in alerts {
            let text =
                format!("{} {}", if change.raised { "RAISED" } else { "CLEARED" }, change.limit);
            if let Err(error) = post(address, &text) {
                print_note(format_args!("the alert could not be sent: {error}"));
            }
        }
    });

    let window = WindowSpec::new(Duration::from_millis(500), 10);
    let limit = Threshold::duration(Quantile::MAX, Duration::from_millis(100)).over(window.length);
    let collector = Collector::builder()
        .windows(&[window])
        .limits(&[(Trading::OrderPlacement.id(), Limit::Quantile(limit))])
        .on_sla_change(move |change| drop(alert.send(change.clone())))
        .start()?;
    collector.install()?;

    for order in 0..200 {
        if collector.breached(Trading::OrderPlacement) {
            // The kill switch: a real bot would send no orders now. This one goes on, so that the
            // violation is cleared.
            time(Trading::SignalGeneration, || thread::sleep(Duration::from_millis(1)));
        }
        let _placing = measure_tagged(Trading::OrderPlacement, order);
        thread::sleep(Duration::from_millis(if order == 10 { 300 } else { 5 }));
    }

    collector.stop();
    drop(collector); // drops the hook too, so the sender ends
    sender.join().map_err(|_| "the sender panicked")?;
    post(address, "")?; // ends the webhook
    for text in receiver.join().map_err(|_| "the webhook panicked")?? {
        print_line(text)?;
    }
    Ok(())
}

/// Posts a text by HTTP.
fn post(address: SocketAddr, text: &str) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(
        stream,
        "POST /alert HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n{text}",
        text.len()
    )?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).map(drop)
}

/// Receives texts until an empty one arrives, and returns them.
fn receive(webhook: &TcpListener) -> std::io::Result<Vec<String>> {
    let take = |stream: TcpStream| {
        let mut reader = BufReader::new(stream);
        let (mut line, mut length) = (String::new(), 0);
        while reader.read_line(&mut line)? > 2 {
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                length = value.trim().parse().map_err(std::io::Error::other)?;
            }
            line.clear();
        }
        let mut text = vec![0; length];
        reader.read_exact(&mut text)?;
        reader.into_inner().write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?;
        String::from_utf8(text).map_err(std::io::Error::other)
    };
    let texts = webhook.incoming().map(|stream| take(stream?));
    texts.take_while(|text| !matches!(text, Ok(text) if text.is_empty())).collect()
}
