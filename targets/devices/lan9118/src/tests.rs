extern crate std;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::vec::Vec;

use super::*;

/// The chip, as far as the data sheet says what the driver relies on.
#[derive(Default)]
struct Model {
    absent: bool,
    stuck: bool,
    resetting: u32,
    words_in: VecDeque<u32>,
    statuses: VecDeque<u32>,
    words_out: Vec<u32>,
    sent_statuses: u32,
    full: bool,
    csr: [u32; 16],
    data: u32,
    phy: [u16; 32],
    int_sts: u32,
    int_en: u32,
}

impl Model {
    fn arrive(&mut self, frame: &[u8], error: bool) {
        let mut bytes = frame.to_vec();
        bytes.extend([0; CHECKSUM]);
        self.statuses.push_back((bytes.len() as u32) << 16 | if error { RX_ERROR } else { 0 });
        for part in bytes.chunks(4) {
            let mut word = [0; 4];
            word[..part.len()].copy_from_slice(part);
            self.words_in.push_back(u32::from_le_bytes(word));
        }
        self.int_sts |= RSFL_INT;
    }

    fn interrupts(&self) -> bool {
        self.int_sts & self.int_en != 0
    }

    /// The frames handed over to be sent.
    fn sent(&self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        let mut words = self.words_out.iter();
        while let Some(a) = words.next() {
            let length = (a & 0x7ff) as usize;
            assert_eq!(a & !0x7ff, TX_WHOLE);
            assert_eq!(words.next().map(|b| b & 0x7ff), Some(length as u32));
            let bytes = words.by_ref().take(length.div_ceil(4)).flat_map(|word| word.to_le_bytes());
            frames.push(bytes.collect::<Vec<_>>()[..length].to_vec());
        }
        frames
    }

    fn csr(&mut self, command: u32) {
        let at = (command & 0xff) as usize;
        assert!(command & CSR_BUSY != 0);
        if command & CSR_READ != 0 {
            self.data = self.csr[at];
            return;
        }
        self.csr[at] = self.data;
        if at == usize::from(MII_ACC) {
            let register = (self.data >> 6 & 31) as usize;
            assert_eq!(self.data & (31 << 11), MII_PHY);
            if self.data & MII_WRITE != 0 {
                self.phy[register] = self.csr[usize::from(MII_DATA)] as u16;
            } else {
                self.csr[usize::from(MII_DATA)] = self.phy[register].into();
                if register == usize::from(PHY_INT_SOURCE) {
                    self.phy[register] = 0;
                }
            }
            self.csr[at] &= !MII_BUSY;
        }
    }
}

#[derive(Clone, Default)]
struct Handle(Rc<RefCell<Model>>);

impl Registers for Handle {
    fn read(&mut self, at: u16) -> u32 {
        let mut model = self.0.borrow_mut();
        match at {
            BYTE_TEST if model.absent => u32::MAX,
            BYTE_TEST => BYTE_TEST_VALUE,
            HW_CFG if model.stuck => SRST,
            HW_CFG => {
                model.resetting = model.resetting.saturating_sub(1);
                (model.resetting > 0).into()
            }
            RX_FIFO_INF => ((model.statuses.len() as u32) << 16) | (model.words_in.len() as u32 * 4),
            RX_STATUS => model.statuses.pop_front().unwrap(),
            RX_DATA => model.words_in.pop_front().unwrap(),
            TX_FIFO_INF => model.sent_statuses << 16 | if model.full { 100 } else { 4608 },
            TX_STATUS => {
                model.sent_statuses -= 1;
                0
            }
            INT_STS => model.int_sts,
            MAC_CSR_CMD => 0,
            MAC_CSR_DATA => model.data,
            _ => panic!("register {at:#x} is not read"),
        }
    }

    fn write(&mut self, at: u16, value: u32) {
        let mut model = self.0.borrow_mut();
        match at {
            HW_CFG if value & SRST != 0 => model.resetting = 3,
            INT_EN => model.int_en = value,
            INT_STS => model.int_sts &= !value,
            TX_DATA => model.words_out.push(value),
            MAC_CSR_DATA => model.data = value,
            MAC_CSR_CMD => model.csr(value),
            HW_CFG | IRQ_CFG | FIFO_INT | TX_CFG => {}
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

fn start(chip: &Handle) -> (Lan9118<Handle>, &'static Interrupt) {
    let interrupt = std::boxed::Box::leak(std::boxed::Box::new(Interrupt::new()));
    chip.0.borrow_mut().phy[usize::from(PHY_BSR)] = PHY_LINK;
    (Lan9118::new(chip.clone(), interrupt, Some(MAC)).unwrap(), interrupt)
}

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn receive(driver: &mut Lan9118<Handle>) -> Option<Vec<u8>> {
    let (rx, _) = driver.receive(&mut cx())?;
    Some(rx.consume(|frame| frame.to_vec()))
}

#[test]
fn a_chip_that_is_not_there_or_does_not_start_is_told() {
    static INTERRUPT: Interrupt = Interrupt::new();
    for (absent, stuck, error) in [(true, false, Error::Absent), (false, true, Error::Stuck)] {
        let chip = Handle(Rc::new(RefCell::new(Model { absent, stuck, ..Model::default() })));
        assert_eq!(Lan9118::new(chip, &INTERRUPT, None).map(drop), Err(error));
    }
}

#[test]
fn the_address_of_the_chip_is_used_unless_another_is_given() {
    static INTERRUPT: Interrupt = Interrupt::new();
    let chip = Handle::default();
    chip.0.borrow_mut().csr[usize::from(ADDRL)] = 0x3412_0052;
    chip.0.borrow_mut().csr[usize::from(ADDRH)] = 0x7856;
    let driver = Lan9118::new(chip, &INTERRUPT, None).unwrap();
    assert_eq!(driver.hardware_address(), HardwareAddress::Ethernet([0x52, 0, 0x12, 0x34, 0x56, 0x78]));
    let (driver, _) = start(&Handle::default());
    assert_eq!(driver.hardware_address(), HardwareAddress::Ethernet(MAC));
}

#[test]
fn frames_pass_whatever_their_length() {
    let chip = Handle::default();
    let (mut driver, _) = start(&chip);
    for length in [14, 60, 61, 62, 63, FRAME] {
        let frame: Vec<u8> = (0..length).map(|n| n as u8).collect();
        chip.0.borrow_mut().arrive(&frame, false);
        assert_eq!(receive(&mut driver), Some(frame.clone()));
        driver.transmit(&mut cx()).unwrap().consume(length, |buffer| buffer.copy_from_slice(&frame));
        assert_eq!(chip.0.borrow().sent().last(), Some(&frame));
    }
    assert_eq!(receive(&mut driver), None);
}

#[test]
fn bad_frames_are_taken_out_and_dropped() {
    let chip = Handle::default();
    let (mut driver, _) = start(&chip);
    chip.0.borrow_mut().arrive(&[1; 60], true);
    chip.0.borrow_mut().arrive(&[2; FRAME + 1], false);
    chip.0.borrow_mut().arrive(&[3; 60], false);
    assert_eq!(receive(&mut driver), Some([3; 60].to_vec()));
    assert!(chip.0.borrow().words_in.is_empty());
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
        chip.0.borrow_mut().arrive(&[1; 60], false);
        assert!(chip.0.borrow().interrupts());
        interrupt.on_interrupt(&mut chip.clone());
        assert!(!chip.0.borrow().interrupts(), "a level that stays would interrupt for ever");
        assert!(woken.0.swap(false, Ordering::Relaxed));
        assert!(driver.receive(&mut cx).is_some());
        assert!(driver.receive(&mut cx).is_none());
    }
}

#[test]
fn a_full_chip_takes_nothing_and_tells_when_it_does_again() {
    let chip = Handle::default();
    let (mut driver, _) = start(&chip);
    chip.0.borrow_mut().full = true;
    chip.0.borrow_mut().sent_statuses = 7;
    assert!(driver.transmit(&mut cx()).is_none());
    assert_eq!(chip.0.borrow().sent_statuses, 0);
    chip.0.borrow_mut().int_sts |= TDFA_INT;
    assert!(chip.0.borrow().interrupts());
    chip.0.borrow_mut().full = false;
    assert!(driver.transmit(&mut cx()).is_some());
}

#[test]
fn a_pulled_cable_is_seen() {
    let chip = Handle::default();
    let (mut driver, _) = start(&chip);
    let state = |driver: &mut Lan9118<Handle>| match driver.link_state(&mut cx()) {
        LinkState::Up => true,
        LinkState::Down => false,
    };
    assert!(state(&mut driver));
    for up in [false, true] {
        let mut model = chip.0.borrow_mut();
        model.phy[usize::from(PHY_BSR)] = if up { PHY_LINK } else { 0 };
        model.phy[usize::from(PHY_INT_SOURCE)] = PHY_CHANGES;
        model.int_sts |= PHY_INT;
        drop(model);
        assert_eq!(state(&mut driver), up);
        assert_eq!(chip.0.borrow().int_sts & PHY_INT, 0);
    }
}
