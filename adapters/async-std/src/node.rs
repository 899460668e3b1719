//! The handle of a running node.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use async_io::Timer;
use butter_core::Node as Core;
use butter_core::counters::Counters;
use butter_core::exchange::Status;
use butter_core::group::GroupInfo;
use butter_core::hosts::HostInfo;
use butter_core::id::{Key, NodeId, RouteId};
use butter_core::session::PeerInfo;
use butter_core::time::Instant;
use futures_lite::Stream;

use crate::builder::Builder;
use crate::content::{Get, Put};
use crate::engine::{Command, Engine};
use crate::error::Error;
use crate::event::{Event, Request};
use crate::source::Source;

/// How often a node that leaves is asked whether it has.
const LEFT_EVERY: Duration = Duration::from_millis(20);

/// A running node. Cheap to clone; the node leaves the network when the last clone is dropped, or at
/// [`Node::shutdown`].
#[derive(Clone, Debug)]
pub struct Node {
    id: NodeId,
    local: Arc<[SocketAddr]>,
    commands: Sender<Command>,
    urgent: Sender<Command>,
    ended: Receiver<()>,
}

/// Tells the node when a future is dropped before its end, so that what it waited for is given up.
pub(crate) struct Sweep {
    urgent: Sender<Command>,
    armed: bool,
}

impl Sweep {
    pub fn disarm(&mut self) {
        self.armed = false;
    }
}

impl Drop for Sweep {
    fn drop(&mut self) {
        if self.armed {
            let _ = self.urgent.try_send(Box::new(|core, engine, now| engine.sweep(core, now)));
        }
    }
}

impl Node {
    /// A node to be set up.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(
        id: NodeId,
        local: Vec<SocketAddr>,
        commands: Sender<Command>,
        urgent: Sender<Command>,
        ended: Receiver<()>,
    ) -> Node {
        Node { id, local: local.into(), commands, urgent, ended }
    }

    /// Its name.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The addresses of its sockets: the IP is unspecified where it listens at all addresses of the machine.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local
    }

    /// Gives the node a piece of work, without waiting for it to be done.
    pub(crate) async fn command(
        &self,
        work: impl FnOnce(&mut Core<'_>, &mut Engine, Instant) + Send + 'static,
    ) -> Result<(), Error> {
        self.commands.send(Box::new(work)).await.map_err(|_| Error::Stopped)
    }

    pub(crate) async fn with_engine<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Core<'_>, &mut Engine, Instant) -> R + Send + 'static,
    ) -> Result<R, Error> {
        let (sender, receiver) = async_channel::bounded(1);
        self.command(move |core, engine, now| drop(sender.try_send(work(core, engine, now)))).await?;
        receiver.recv().await.map_err(|_| Error::Stopped)
    }

    /// Does a piece of work with the core itself, for what this handle has no method for. It stops everything else
    /// while it runs, so it should be short.
    ///
    /// # Errors
    /// [`Error::Stopped`]; then the work may or may not have been done.
    pub async fn with<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Core<'_>, Instant) -> R + Send + 'static,
    ) -> Result<R, Error> {
        self.with_engine(|core, _, now| work(core, now)).await
    }

    pub(crate) fn sweep(&self) -> Sweep {
        Sweep { urgent: self.urgent.clone(), armed: true }
    }

    /// Calls a route of a node, and waits for its answer: at most `timeout`, and at most an hour. Dropping the future gives
    /// the call up.
    ///
    /// # Errors
    /// [`Error::Call`] tells how the call ended, [`Error::Refused`] why it could not begin.
    pub async fn call(
        &self,
        to: NodeId,
        route: RouteId,
        body: impl Into<Vec<u8>>,
        timeout: Duration,
    ) -> Result<Vec<u8>, Error> {
        let body = body.into();
        let deadline_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        // Dropped in the order reversed: the sweep finds the receiver gone.
        let mut sweep = self.sweep();
        let (sender, receiver) = async_channel::bounded(1);
        self.command(move |core, engine, now| match core.call(now, to, route, &body, deadline_ms) {
            Ok(call) => engine.add_call(core, now, call, sender),
            Err(refused) => drop(sender.try_send(Err(refused.into()))),
        })
        .await?;
        let answer = receiver.recv().await.unwrap_or(Err(Error::Stopped));
        sweep.disarm();
        answer
    }

    /// Serves a route from now on; replaces the handler it had. Each request runs `handler` on a task of its own, which is
    /// dropped when the caller gives up.
    ///
    /// # Errors
    /// [`Error::Refused`] when there are too many routes.
    pub async fn serve<F, A>(&self, route: RouteId, handler: F) -> Result<(), Error>
    where
        F: Fn(Request) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Vec<u8>, Status>> + Send + 'static,
    {
        self.with_engine(move |core, engine, _| {
            core.serve_route(route)?;
            engine.routes.insert(route, Arc::new(move |request| Box::pin(handler(request))));
            Ok(())
        })
        .await?
    }

    /// Serves a route no more. What was asked already is still answered.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn stop_serving(&self, route: RouteId) -> Result<(), Error> {
        self.with_engine(move |core, engine, _| {
            core.stop_route(route);
            engine.routes.remove(&route);
        })
        .await
    }

    /// Puts an object into the network: a text, bytes, or a [`Source`] that is read as the put goes on. Await what is
    /// returned; dropping it cancels the put.
    ///
    /// # Errors
    /// [`Error::Failed`] tells why the object could not be stored, [`Error::Io`] why its source could not be read.
    pub fn put(&self, source: impl Into<Source>) -> Put {
        Put::new(self.clone(), source.into())
    }

    /// Gets an object. Nothing happens before its bytes are asked for; dropping what is returned cancels the get.
    pub fn get(&self, key: Key) -> Get {
        self.get_from(key, 0)
    }

    /// Gets an object from a block of 4,096 bytes on: resumes a get that was interrupted there.
    pub fn get_from(&self, key: Key, block: u32) -> Get {
        Get::new(self.clone(), key, block)
    }

    /// The hosts with which there are sessions.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn peers(&self) -> Result<Vec<PeerInfo>, Error> {
        self.with(|core, _| core.peers().map(|(_, info)| info).filter(|info| info.up).collect()).await
    }

    /// The hosts known.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn hosts(&self) -> Result<Vec<HostInfo>, Error> {
        self.with(|core, _| core.hosts().collect()).await
    }

    /// The groups that this node is in.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn groups(&self) -> Result<Vec<GroupInfo>, Error> {
        self.with(|core, _| core.groups().collect()).await
    }

    /// What was counted since start.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn counters(&self) -> Result<Counters, Error> {
        self.with(|core, _| *core.counters()).await
    }

    /// A stream of events from now on. Whoever leaves more than 1,024 unread loses some, and is told so.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn events(&self) -> Result<impl Stream<Item = Event> + Send + Unpin + use<>, Error> {
        Ok(Box::pin(self.with_engine(|_, engine, _| engine.listen()).await?))
    }

    /// Hands all content kept here over to others, as far as they take it before `deadline`, and keeps no more from now
    /// on: what a node does that goes for good, before [`Node::shutdown`]. False: not all was handed over.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn leave(&self, deadline: Duration) -> Result<bool, Error> {
        let deadline_ms = u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX);
        let end = std::time::Instant::now() + deadline;
        self.with(move |core, now| core.leave(now, deadline_ms)).await?;
        loop {
            // At the deadline the node leaves its groups in any case.
            let late = std::time::Instant::now() >= end;
            if self.with(|core, _| core.left()).await? || late {
                return Ok(!late);
            }
            Timer::after(LEFT_EVERY).await;
        }
    }

    /// Leaves the network, and waits until everything is sent and saved. Handles that remain can do nothing more.
    pub async fn shutdown(&self) {
        let _ = self.command(|core, engine, now| engine.stop(core, now)).await;
        self.stopped().await;
    }

    /// Waits until the node has stopped.
    pub async fn stopped(&self) {
        let _ = self.ended.recv().await;
    }
}
