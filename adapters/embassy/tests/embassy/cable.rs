//! A network device whose frames go to all others on the same cable.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Waker};

use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState, RxToken, TxToken};

#[derive(Default)]
struct Port {
    frames: VecDeque<Vec<u8>>,
    plugged: bool,
    wakers: Vec<Waker>,
}

impl Port {
    fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

/// A cable with as many ends as there are devices.
#[derive(Clone, Default)]
pub struct Cable(Rc<RefCell<Vec<Port>>>);

impl Cable {
    pub fn device(&self) -> Device {
        let mut ports = self.0.borrow_mut();
        ports.push(Port { plugged: true, ..Port::default() });
        Device { cable: self.clone(), port: ports.len() - 1 }
    }

    /// Plugs an end in, or pulls it out.
    pub fn plug(&self, port: usize, plugged: bool) {
        let port = &mut self.0.borrow_mut()[port];
        port.plugged = plugged;
        port.wake();
    }
}

pub struct Device {
    cable: Cable,
    port: usize,
}

impl Device {
    fn wait(&self, cx: &Context<'_>) {
        self.cable.0.borrow_mut()[self.port].wakers.push(cx.waker().clone());
    }
}

pub struct Rx(Vec<u8>);

impl RxToken for Rx {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(mut self, f: F) -> R {
        f(&mut self.0)
    }
}

pub struct Tx<'a>(&'a Device);

impl TxToken for Tx<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        let mut ports = self.0.cable.0.borrow_mut();
        if ports[self.0.port].plugged {
            for (_, port) in ports.iter_mut().enumerate().filter(|(at, port)| *at != self.0.port && port.plugged) {
                port.frames.push_back(frame.clone());
                port.wake();
            }
        }
        result
    }
}

impl Driver for Device {
    type RxToken<'a> = Rx;
    type TxToken<'a> = Tx<'a>;

    fn receive(&mut self, cx: &mut Context<'_>) -> Option<(Rx, Tx<'_>)> {
        self.wait(cx);
        let frame = self.cable.0.borrow_mut()[self.port].frames.pop_front()?;
        Some((Rx(frame), Tx(self)))
    }

    fn transmit(&mut self, _: &mut Context<'_>) -> Option<Tx<'_>> {
        Some(Tx(self))
    }

    fn link_state(&mut self, cx: &mut Context<'_>) -> LinkState {
        self.wait(cx);
        if self.cable.0.borrow()[self.port].plugged { LinkState::Up } else { LinkState::Down }
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = 1514;
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet([2, 0, 0, 0, 0, self.port as u8])
    }
}
