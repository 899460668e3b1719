//! Reverse echo. Start it in two terminals, or on two machines of one network: they find each other, and each answers the
//! lines typed at the other backwards.
//!
//! `cargo run --example ohce [NETWORK [ADDRESS TO JOIN]]`

use std::time::Duration;

use async_std::io::{BufReader, prelude::BufReadExt, stdin};
use async_std::stream::StreamExt;
use async_std::task;
use butter_async_std::core::id::RouteId;
use butter_async_std::{Error, Event, Node, route};

const OHCE: RouteId = route("ohce/1");

fn main() -> Result<(), Error> {
    task::block_on(run())
}

async fn run() -> Result<(), Error> {
    let mut args = std::env::args().skip(1).peekable();
    if args.peek().is_some_and(|first| first.starts_with('-')) {
        println!("Usage: ohce [NETWORK [ADDRESS TO JOIN]]   Type lines: every other ohce answers them backwards.");
        return Ok(());
    }
    let mut builder = Node::builder().network(&args.next().unwrap_or("ohce".to_owned()));
    if let Some(addr) = args.next() {
        builder = builder.join(addr);
    }
    let node = builder.spawn().await?;
    println!("I am {}", node.id());
    node.serve(OHCE, |request| async move {
        let text = String::from_utf8_lossy(&request.body).into_owned();
        Ok(text.chars().rev().collect::<String>().into_bytes())
    })
    .await?;

    let mut events = node.events().await?;
    task::spawn(async move {
        while let Some(event) = events.next().await {
            if let Event::PeerUp(id) = event {
                println!("met {id}");
            }
        }
    });

    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next().await {
        let line = line?;
        for peer in node.peers().await? {
            match node.call(peer.id, OHCE, line.clone(), Duration::from_secs(5)).await {
                Ok(answer) => println!("{:?}: {}", peer.id, String::from_utf8_lossy(&answer)),
                Err(error) => println!("{:?}: {error}", peer.id),
            }
        }
    }
    node.shutdown().await;
    Ok(())
}
