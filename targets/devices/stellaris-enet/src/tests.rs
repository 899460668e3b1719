extern crate std;

use std::boxed::Box;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::vec::Vec;

use super::*;

/// The controller, as far as the data sheet says what the driver relies on.
#[derive(Default)]
struct Model {
    frames_in: VecDeque<VecDeque<u32>>,
    words_out: Vec<u32>,
    sending: bool,
    receives: bool,
    address: [u32; 2],
    divider: u32,
    ris: u32,
    im: u32,
    phy: [u16; 32],
    phy_data: u32,
}

impl Model {
    fn arrive(&mut self, frame: &[u8]) {
        self.arrive_as(frame, (frame.len() + AROUND) as u16);
    }

    fn arrive_as(&mut self, frame: &[u8], length: u16) {
        assert!(self.receives);
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend(frame);
        bytes.extend([0xee; 4]);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        self.frames_in.push_back(bytes.chunks(4).map(|part| u32::from_le_bytes(part.try_into().unwrap())).collect());
        self.ris |= RXINT;
    }

    fn interrupts(&self) -> bool {
        self.ris & self.im != 0
    }

    /// The frame handed over to be sent, without what fills its last word.
    fn sent(&mut self) -> Vec<u8> {
        let bytes: Vec<u8> = self.words_out.drain(..).flat_map(u32::to_le_bytes).collect();
        let length = HEADER + usize::from(u16::from_le_bytes([bytes[0], bytes[1]]));
        assert_eq!(bytes.len(), (length + 2).next_multiple_of(4), "as many words as the frame needs");
        bytes[2..2 + length].to_vec()
    }
}

#[derive(Clone, Default)]
struct Handle(Rc<RefCell<Model>>);

impl Registers for Handle {
    fn read(&mut self, at: u16) -> u32 {
        let mut model = self.0.borrow_mut();
        match at {
            RIS => model.ris,
            NP => model.frames_in.len() as u32,
            DATA => {
                let frame = model.frames_in.front_mut().expect("nothing is read from an empty FIFO");
                let word = frame.pop_front().unwrap();
                if frame.is_empty() {
                    model.frames_in.pop_front();
                }
                word
            }
            TR => model.sending.into(),
            MCTL => 0,
            MRXD => model.phy_data,
            _ => panic!("register {at:#x} is not read"),
        }
    }

    fn write(&mut self, at: u16, value: u32) {
        let mut model = self.0.borrow_mut();
        match at {
            RIS => model.ris &= !value,
            IM => model.im = value,
            RCTL => {
                assert!(value & RSTFIFO == 0 || value & RXEN == 0, "the FIFO is reset while nothing is received");
                model.receives = value & RXEN != 0;
                if value & RSTFIFO != 0 {
                    model.frames_in.clear();
                }
            }
            TCTL => assert_eq!(value, TXEN | PADEN | CRC | DUPLEX),
            DATA => {
                assert!(!model.sending);
                model.words_out.push(value);
            }
            TR => model.sending = value & NEWTX != 0,
            IA0 => model.address[0] = value,
            IA1 => model.address[1] = value,
            MDV => model.divider = value,
            MTXD => model.phy_data = value,
            MCTL => {
                assert!(value & START != 0);
                let number = (value >> 3 & 31) as usize;
                if value & WRITE != 0 {
                    model.phy[number] = model.phy_data as u16;
                } else {
                    model.phy_data = model.phy[number].into();
                }
            }
            _ => panic!("register {at:#x} is not written"),
        }
    }
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

const MAC: [u8; 6] = [2, 0x62, 0x75, 0x74, 0x74, 9];

fn start(chip: &Handle) -> (StellarisEnet<Handle>, &'static Interrupt) {
    let interrupt = Box::leak(Box::new(Interrupt::new()));
    (StellarisEnet::new(chip.clone(), interrupt, MAC, 50_000_000), interrupt)
}

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn receive(driver: &mut StellarisEnet<Handle>) -> Option<Vec<u8>> {
    let (rx, _) = driver.receive(&mut cx())?;
    Some(rx.consume(|frame| frame.to_vec()))
}

fn frame(length: usize) -> Vec<u8> {
    (0..length).map(|n| n as u8).collect()
}

#[test]
fn it_starts_with_its_address_and_reads_its_phy_slowly_enough() {
    let chip = Handle::default();
    let (driver, _) = start(&chip);
    assert_eq!(driver.hardware_address(), HardwareAddress::Ethernet(MAC));
    let model = chip.0.borrow();
    assert_eq!(model.address, [0x7475_6202, 0x0974]);
    assert!(50_000_000 / (2 * (model.divider + 1)) <= 2_500_000);
    assert!(model.receives);
}

#[test]
fn frames_pass_whatever_their_length() {
    let chip = Handle::default();
    let (mut driver, _) = start(&chip);
    for length in [14, 60, 61, 62, 63, FRAME - 1, FRAME] {
        let frame = frame(length);
        chip.0.borrow_mut().arrive(&frame);
        assert_eq!(receive(&mut driver), Some(frame.clone()), "{length}");
        driver.transmit(&mut cx()).unwrap().consume(length, |buffer| buffer.copy_from_slice(&frame));
        let mut model = chip.0.borrow_mut();
        assert!(core::mem::take(&mut model.sending));
        assert_eq!(model.sent(), frame, "{length}");
    }
    assert_eq!(receive(&mut driver), None);
}

#[test]
fn an_impossible_length_and_a_lost_frame_empty_the_fifo_and_nothing_else() {
    for (length, lost) in [(3, 0), (u16::MAX, 0), ((FRAME + AROUND + 1) as u16, 0), (66, FOV)] {
        let chip = Handle::default();
        let (mut driver, _) = start(&chip);
        chip.0.borrow_mut().arrive_as(&frame(60), length);
        chip.0.borrow_mut().ris |= lost;
        assert_eq!(receive(&mut driver), None);
        assert!(chip.0.borrow().frames_in.is_empty() && chip.0.borrow().receives);
        chip.0.borrow_mut().arrive(&frame(60));
        assert_eq!(receive(&mut driver), Some(frame(60)));
    }
}

#[test]
fn a_frame_interrupts_once_and_again_after_all_were_taken() {
    let chip = Handle::default();
    let (mut driver, interrupt) = start(&chip);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let mut cx = Context::from_waker(&waker);
    assert!(driver.receive(&mut cx).is_none());
    for _ in 0..2 {
        assert!(!chip.0.borrow().interrupts());
        chip.0.borrow_mut().arrive(&frame(60));
        assert!(chip.0.borrow().interrupts());
        interrupt.on_interrupt(&mut chip.clone());
        assert!(!chip.0.borrow().interrupts(), "a level that stays would interrupt for ever");
        assert!(woken.0.swap(false, Ordering::Relaxed));
        assert!(driver.receive(&mut cx).is_some());
        assert!(driver.receive(&mut cx).is_none());
    }
}

#[test]
fn while_a_frame_is_sent_nothing_is_taken_and_its_end_interrupts() {
    let chip = Handle::default();
    let (mut driver, _) = start(&chip);
    driver.transmit(&mut cx()).unwrap().consume(60, |buffer| buffer.fill(1));
    chip.0.borrow_mut().arrive(&frame(60));
    assert!(driver.transmit(&mut cx()).is_none());
    assert!(driver.receive(&mut cx()).is_none(), "there must be room for an answer");
    let mut model = chip.0.borrow_mut();
    assert!(!model.interrupts());
    (model.sending, model.ris) = (false, model.ris | TXEMP);
    assert!(model.interrupts());
    drop(model);
    assert_eq!(receive(&mut driver), Some(frame(60)));
    assert!(driver.transmit(&mut cx()).is_some());
}

#[test]
fn a_pulled_cable_is_seen() {
    let chip = Handle::default();
    chip.0.borrow_mut().phy[usize::from(PHY_ID)] = 0x161;
    chip.0.borrow_mut().phy[usize::from(PHY_BSR)] = PHY_LINK;
    let (mut driver, _) = start(&chip);
    assert_eq!(chip.0.borrow().phy[usize::from(PHY_INT)], PHY_CHANGES);
    let state = |driver: &mut StellarisEnet<Handle>| matches!(driver.link_state(&mut cx()), LinkState::Up);
    assert!(state(&mut driver));
    for up in [false, true] {
        let mut model = chip.0.borrow_mut();
        model.phy[usize::from(PHY_BSR)] = if up { PHY_LINK } else { 0 };
        model.ris |= PHYINT;
        drop(model);
        assert_eq!(state(&mut driver), up);
        assert_eq!(chip.0.borrow().ris & PHYINT, 0);
    }
}

#[test]
fn a_chip_without_a_phy_is_an_emulated_one_and_always_linked() {
    let (mut driver, _) = start(&Handle::default());
    assert!(matches!(driver.link_state(&mut cx()), LinkState::Up));
}
