//! The application side of the loop: commands from handles in, events out.

use std::collections::HashMap;
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_channel::{Receiver, Sender, TrySendError};
use async_io::Timer;
use butter_core::exchange::Status;
use butter_core::id::{NodeId, RouteId};
use butter_core::node::{CallId, GetId, PeerId, PutId, Refused, ServeId};
use butter_core::time::Instant;
use butter_core::{Event as CoreEvent, Node as Core};
use butter_driver::App;
use futures_lite::Stream;

use crate::content::{GetWait, PutWait};
use crate::data_dir::DataDir;
use crate::error::Error;
use crate::event::{Event, Request};
use crate::{hosts, rt};

/// A piece of work with the node, done between packets.
pub(crate) type Command = Box<dyn FnOnce(&mut Core<'_>, &mut Engine, Instant) + Send>;
/// A handler's answer.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<Vec<u8>, Status>> + Send>>;
/// What serves a route.
pub(crate) type Handler = Arc<dyn Fn(Request) -> Answer + Send + Sync>;

/// How often the known hosts are saved.
const SAVE_EVERY: Duration = Duration::from_secs(60);
/// Events that a listener may leave unread before it loses some.
const EVENTS: usize = 1024;

/// Somebody who listens to events.
#[derive(Debug)]
struct Listener {
    events: Sender<Event>,
    /// Whether events were lost that it has not been told of.
    lost: bool,
}

/// What the handles of one node have under way.
pub(crate) struct Engine {
    /// From handles; bounded, so that they wait for a busy node. Closed when there are no more handles.
    commands: Pin<Box<Receiver<Command>>>,
    /// From what must not wait: answers of handlers and futures that were dropped. Bounded by what is under way.
    urgent: Pin<Box<Receiver<Command>>>,
    pub urgent_sender: Sender<Command>,
    calls: HashMap<CallId, Sender<Result<Vec<u8>, Error>>>,
    pub routes: HashMap<RouteId, Handler>,
    puts: HashMap<PutId, PutWait>,
    pub gets: HashMap<GetId, GetWait>,
    /// Handlers at work: dropping the sender stops one.
    serving: HashMap<ServeId, Sender<()>>,
    peers: HashMap<PeerId, NodeId>,
    listeners: Vec<Listener>,
    dir: Option<Arc<DataDir>>,
    save: Timer,
    /// A save under way.
    saving: Option<Receiver<()>>,
    /// Whether the loop is to end.
    stopping: bool,
}

impl Engine {
    pub fn new(
        commands: Receiver<Command>,
        urgent: Receiver<Command>,
        urgent_sender: Sender<Command>,
        dir: Option<Arc<DataDir>>,
    ) -> Engine {
        let save = if dir.is_some() { Timer::interval(SAVE_EVERY) } else { Timer::never() };
        Engine {
            commands: Box::pin(commands),
            urgent: Box::pin(urgent),
            urgent_sender,
            calls: HashMap::new(),
            routes: HashMap::new(),
            puts: HashMap::new(),
            gets: HashMap::new(),
            serving: HashMap::new(),
            peers: HashMap::new(),
            listeners: Vec::new(),
            dir,
            save,
            saving: None,
            stopping: false,
        }
    }

    /// Tells the network that we leave, and ends the loop.
    pub fn stop(&mut self, core: &mut Core<'_>, now: Instant) {
        if !self.stopping {
            core.shutdown(now);
            self.stopping = true;
        }
    }

    /// A stream of events from now on.
    pub fn listen(&mut self) -> Receiver<Event> {
        let (events, receiver) = async_channel::bounded(EVENTS);
        self.listeners.push(Listener { events, lost: false });
        receiver
    }

    fn tell(&mut self, event: Event) {
        self.listeners.retain_mut(|listener| {
            if listener.lost && listener.events.try_send(Event::Lost).is_ok() {
                listener.lost = false;
            }
            let outcome = if listener.lost { Err(TrySendError::Full(event)) } else { listener.events.try_send(event) };
            match outcome {
                Ok(()) => true,
                Err(TrySendError::Full(_)) => {
                    listener.lost = true;
                    true
                }
                Err(TrySendError::Closed(_)) => false,
            }
        });
    }

    /// Waits for the answer of a call.
    pub fn add_call(
        &mut self,
        core: &mut Core<'_>,
        now: Instant,
        call: CallId,
        waiter: Sender<Result<Vec<u8>, Error>>,
    ) {
        if waiter.is_closed() {
            core.cancel(now, call);
        } else {
            self.calls.insert(call, waiter);
        }
    }

    /// Feeds a put from now on.
    pub fn add_put(&mut self, core: &mut Core<'_>, now: Instant, put: PutId, wait: PutWait) {
        if wait.abandoned() {
            core.put_free(now, put);
        } else {
            self.puts.insert(put, wait);
        }
    }

    /// Empties a get from now on.
    pub fn add_get(&mut self, core: &mut Core<'_>, now: Instant, get: GetId, wait: GetWait) {
        if wait.abandoned() {
            core.get_free(now, get);
        } else {
            self.gets.insert(get, wait);
        }
    }

    /// Gives up what nobody waits for any more.
    pub fn sweep(&mut self, core: &mut Core<'_>, now: Instant) {
        self.puts.retain(|put, wait| {
            if wait.abandoned() {
                core.put_free(now, *put);
            }
            !wait.abandoned()
        });
        self.gets.retain(|get, wait| {
            if wait.abandoned() {
                core.get_free(now, *get);
            }
            !wait.abandoned()
        });
        self.calls.retain(|call, waiter| {
            if waiter.is_closed() {
                core.cancel(now, *call);
            }
            !waiter.is_closed()
        });
    }

    fn answered(&mut self, core: &mut Core<'_>, now: Instant, call: CallId) {
        if let Some(waiter) = self.calls.remove(&call)
            && let Some(answer) = core.answer(call)
        {
            let _ = waiter.try_send(answer.map(<[u8]>::to_vec).map_err(Error::Call));
        }
        core.cancel(now, call);
    }

    fn request(&mut self, core: &mut Core<'_>, now: Instant, serve: ServeId) {
        let Some(request) = core.request(serve) else { return };
        let Some(handler) = self.routes.get(&request.route) else {
            let _ = core.respond(now, serve, Status::NoRoute, &[]);
            return;
        };
        let answer = handler(Request { from: request.from, body: request.body.to_vec() });
        let (alive, stopped) = async_channel::bounded::<()>(1);
        let urgent = self.urgent_sender.clone();
        self.serving.insert(serve, alive);
        rt::spawn(async move {
            let given_up = async {
                let _ = stopped.recv().await;
                None
            };
            let Some(answer) = futures_lite::future::or(given_up, async { Some(answer.await) }).await else { return };
            let respond: Command = Box::new(move |core, engine, now| {
                engine.serving.remove(&serve);
                let (status, body) = match &answer {
                    Ok(body) => (Status::Ok, body.as_slice()),
                    Err(status) => (*status, &[][..]),
                };
                let _ = match core.respond(now, serve, status, body) {
                    Err(Refused::NoBuffer) => core.respond(now, serve, Status::Busy, &[]),
                    Err(Refused::TooLong) => core.respond(now, serve, Status::Failed, &[]),
                    outcome => outcome,
                };
            });
            let _ = urgent.try_send(respond);
        });
    }

    /// Starts to save the known hosts, unless that is under way.
    fn save(&mut self, core: &Core<'_>) {
        let Some(dir) = self.dir.clone().filter(|_| self.saving.as_ref().is_none_or(Receiver::is_closed)) else {
            return;
        };
        let bytes = hosts::write(core);
        let (done, saving) = async_channel::bounded::<()>(1);
        self.saving = Some(saving);
        rt::spawn(async move {
            // A full disk now may have room in a minute, and hosts can be found anew.
            let _ = blocking::unblock(move || dir.save_hosts(&bytes)).await;
            drop(done);
        });
    }

    /// After the loop: saves the known hosts a last time, and frees the data directory.
    pub async fn finish(mut self, core: &Core<'_>) {
        if let Some(saving) = self.saving.take() {
            let _ = saving.recv().await;
        }
        if let Some(dir) = self.dir.take() {
            let bytes = hosts::write(core);
            let _ = blocking::unblock(move || dir.save_hosts(&bytes)).await;
        }
    }
}

impl App for Engine {
    fn on_event(&mut self, core: &mut Core<'_>, now: Instant, event: CoreEvent) {
        match event {
            CoreEvent::PeerUp(peer) => {
                if let Some(info) = core.peer_info(peer) {
                    self.peers.insert(peer, info.id);
                    self.tell(Event::PeerUp(info.id));
                }
            }
            CoreEvent::PeerDown(peer) => {
                if let Some(id) = self.peers.remove(&peer) {
                    self.tell(Event::PeerDown(id));
                }
            }
            CoreEvent::Request(serve) => self.request(core, now, serve),
            CoreEvent::Cancelled(serve) => drop(self.serving.remove(&serve)),
            CoreEvent::Answered(call) => self.answered(core, now, call),
            CoreEvent::GroupChanged(_) => self.tell(Event::GroupChanged),
            CoreEvent::Lost => self.tell(Event::Lost),
            CoreEvent::PutWants { put, block } => {
                if let Some(wait) = self.puts.get(&put) {
                    wait.wants(block);
                }
            }
            CoreEvent::PutDone(put) => {
                if let Some(wait) = self.puts.remove(&put) {
                    wait.end(core.put_status(put));
                }
                core.put_free(now, put);
            }
            CoreEvent::GetHas { get, block } => {
                if let Some(wait) = self.gets.get_mut(&get) {
                    wait.has(core, now, get, block);
                }
            }
            CoreEvent::GetDone(get) => {
                if let Some(wait) = self.gets.get_mut(&get) {
                    wait.end(core, now, get);
                }
            }
        }
    }

    fn poll_work(&mut self, cx: &mut Context<'_>, core: &mut Core<'_>, now: Instant) -> Poll<ControlFlow<()>> {
        let command = match self.urgent.as_mut().poll_next(cx) {
            Poll::Ready(Some(command)) => Some(command),
            _ => match self.commands.as_mut().poll_next(cx) {
                Poll::Ready(Some(command)) => Some(command),
                Poll::Ready(None) => {
                    self.stop(core, now);
                    None
                }
                Poll::Pending if Pin::new(&mut self.save).poll_next(cx).is_ready() => {
                    self.save(core);
                    None
                }
                Poll::Pending => return Poll::Pending,
            },
        };
        if let Some(command) = command {
            command(core, self, now);
        }
        Poll::Ready(if self.stopping { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }
}
