#![allow(unsafe_code, reason = "the model reads and writes the driver's memory, as the device does")]

extern crate std;

use core::ptr::NonNull;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::boxed::Box;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU16};
use std::task::{Wake, Waker};
use std::vec::Vec;

use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus};
use virtio_drivers::{BufferDirection, PAGE_SIZE, PhysAddr};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::*;

const N: usize = 4;
const MAC: [u8; 6] = [2, 0x62, 0x75, 0x74, 0x74, 9];
/// Bytes of virtio's header before each frame.
const HEADER: usize = 12;
const VERSION_1: u64 = 1 << 32;

/// Memory that the device sees where the driver sees it.
struct Host;

fn pages(count: usize) -> Layout {
    Layout::from_size_align(count * PAGE_SIZE, PAGE_SIZE).unwrap()
}

// SAFETY: what is allocated is zeroed, aligned, and nobody else's.
unsafe impl Hal for Host {
    fn dma_alloc(count: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        // SAFETY: the size is not 0.
        let memory = NonNull::new(unsafe { alloc_zeroed(pages(count)) }).unwrap();
        (memory.as_ptr() as PhysAddr, memory)
    }

    unsafe fn dma_dealloc(_: PhysAddr, at: NonNull<u8>, count: usize) -> i32 {
        // SAFETY: it came from `dma_alloc`.
        unsafe { dealloc(at.as_ptr(), pages(count)) };
        0
    }

    unsafe fn mmio_phys_to_virt(_: PhysAddr, _: usize) -> NonNull<u8> {
        unreachable!("there is no PCI here")
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        buffer.cast::<u8>().as_ptr() as PhysAddr
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}

/// A queue as the device sees it (virtio 1.2, split virtqueues).
#[derive(Clone, Copy, Default)]
struct Queue {
    descriptors: usize,
    avail: usize,
    used: usize,
    seen: u16,
}

impl Queue {
    fn word(at: usize) -> u16 {
        // SAFETY: within a queue's memory; the driver runs in the same thread.
        unsafe { (*(at as *const AtomicU16)).load(Ordering::SeqCst) }
    }

    /// The next buffer that the driver has lent, and its number; `None` when there is none.
    fn next(&mut self) -> Option<(u16, &'static mut [u8])> {
        if Queue::word(self.avail + 2) == self.seen {
            return None;
        }
        let head = Queue::word(self.avail + 4 + usize::from(self.seen) % N * 2);
        self.seen = self.seen.wrapping_add(1);
        let descriptor = self.descriptors + usize::from(head) * 16;
        // SAFETY: a descriptor is an address of 8 bytes and a length of 4; the driver has lent what it tells of.
        let buffer = unsafe {
            let (at, len) = (*(descriptor as *const u64), *((descriptor + 8) as *const u32));
            core::slice::from_raw_parts_mut(at as *mut u8, len as usize)
        };
        Some((head, buffer))
    }

    /// Gives a buffer back, with so many bytes written.
    fn give_back(&self, head: u16, length: usize) {
        let index = Queue::word(self.used + 2);
        let entry = (self.used + 4 + usize::from(index) % N * 8) as *mut u32;
        // SAFETY: within the queue's memory.
        unsafe {
            entry.write(head.into());
            entry.add(1).write(length as u32);
            (*((self.used + 2) as *const AtomicU16)).store(index.wrapping_add(1), Ordering::SeqCst);
        }
    }
}

#[derive(Default)]
struct Model {
    queues: [Queue; 2],
    longest_queue: u32,
    sent: Vec<Vec<u8>>,
    /// Frames wait until they are told to be sent.
    slow: bool,
}

#[derive(Clone)]
struct Device(Arc<Mutex<Model>>);

impl Device {
    fn new() -> Self {
        Device(Arc::new(Mutex::new(Model { longest_queue: 256, ..Model::default() })))
    }

    /// Whether there was a buffer for it.
    fn arrive(&self, frame: &[u8]) -> bool {
        let mut model = self.0.lock().unwrap();
        let Some((head, buffer)) = model.queues[0].next() else { return false };
        buffer[..HEADER].fill(0);
        buffer[HEADER..HEADER + frame.len()].copy_from_slice(frame);
        model.queues[0].give_back(head, HEADER + frame.len());
        true
    }

    fn send(&self) {
        let mut model = self.0.lock().unwrap();
        while let Some((head, buffer)) = model.queues[1].next() {
            assert_eq!(buffer[..HEADER], [0; HEADER], "no offloading is asked for");
            let frame = buffer[HEADER..].to_vec();
            model.sent.push(frame);
            model.queues[1].give_back(head, 0);
        }
    }
}

impl Transport for Device {
    fn device_type(&self) -> DeviceType {
        DeviceType::Network
    }

    fn read_device_features(&mut self) -> u64 {
        VERSION_1
    }

    fn write_driver_features(&mut self, features: u64) {
        assert_eq!(features, VERSION_1);
    }

    fn max_queue_size(&mut self, _: u16) -> u32 {
        self.0.lock().unwrap().longest_queue
    }

    fn notify(&mut self, queue: u16) {
        let slow = self.0.lock().unwrap().slow;
        if queue == 1 && !slow {
            self.send();
        }
    }

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::empty()
    }

    fn set_status(&mut self, _: DeviceStatus) {}

    fn set_guest_page_size(&mut self, _: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(&mut self, queue: u16, _: u32, descriptors: PhysAddr, avail: PhysAddr, used: PhysAddr) {
        self.0.lock().unwrap().queues[usize::from(queue)] =
            Queue { descriptors: descriptors as usize, avail: avail as usize, used: used as usize, seen: 0 };
    }

    fn queue_unset(&mut self, queue: u16) {
        self.0.lock().unwrap().queues[usize::from(queue)] = Queue::default();
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.0.lock().unwrap().queues[usize::from(queue)].descriptors != 0
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        InterruptStatus::empty()
    }

    fn read_config_generation(&self) -> u32 {
        0
    }

    fn read_config_space<V: FromBytes + IntoBytes>(&self, offset: usize) -> Result<V, Error> {
        let mut space = MAC.to_vec();
        space.extend([1, 0, 0, 0, 0, 0]);
        Ok(V::read_from_prefix(&space[offset..]).unwrap().0)
    }

    fn write_config_space<V: IntoBytes + Immutable>(&mut self, _: usize, _: V) -> Result<(), Error> {
        unreachable!("nothing is configured")
    }
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

type Net = VirtioNet<Host, Device, N>;

fn start(device: &Device) -> (Net, &'static Interrupt) {
    let interrupt = Box::leak(Box::new(Interrupt::new()));
    (VirtioNet::new(device.clone(), interrupt, Box::leak(Box::new(Frames::new()))).unwrap(), interrupt)
}

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn receive(driver: &mut Net) -> Option<Vec<u8>> {
    let (rx, _) = driver.receive(&mut cx())?;
    Some(rx.consume(|frame| frame.to_vec()))
}

fn frame(length: usize) -> Vec<u8> {
    (0..length).map(|n| n as u8).collect()
}

#[test]
fn the_address_is_the_devices_and_short_queues_are_refused() {
    let device = Device::new();
    assert_eq!(start(&device).0.hardware_address(), HardwareAddress::Ethernet(MAC));
    static INTERRUPT: Interrupt = Interrupt::new();
    let device = Device::new();
    device.0.lock().unwrap().longest_queue = 2;
    let refused = Net::new(device, &INTERRUPT, Box::leak(Box::new(Frames::new())));
    assert_eq!(refused.map(drop), Err(Error::InvalidParam));
}

#[test]
fn frames_pass_whatever_their_length_and_many_times_around_the_queues() {
    let device = Device::new();
    let (mut driver, _) = start(&device);
    for length in [14, 60, 61, 1000, FRAME, 15, 64, 65, 66, 67, 68] {
        let frame = frame(length);
        assert!(device.arrive(&frame));
        assert_eq!(receive(&mut driver), Some(frame.clone()));
        driver.transmit(&mut cx()).unwrap().consume(length, |buffer| buffer.copy_from_slice(&frame));
        assert_eq!(device.0.lock().unwrap().sent.last(), Some(&frame));
    }
    assert_eq!(receive(&mut driver), None);
}

#[test]
fn as_many_frames_wait_as_there_are_buffers_and_come_in_order() {
    let device = Device::new();
    let (mut driver, _) = start(&device);
    for round in 0..3 {
        for n in 0..N {
            assert!(device.arrive(&[n as u8; 60]), "{round} {n}");
        }
        assert!(!device.arrive(&[9; 60]));
        for n in 0..N {
            assert_eq!(receive(&mut driver), Some([n as u8; 60].to_vec()), "{round}");
        }
        assert_eq!(receive(&mut driver), None);
    }
}

#[test]
fn one_frame_is_sent_at_a_time_and_its_end_wakes() {
    let device = Device::new();
    device.0.lock().unwrap().slow = true;
    let (mut driver, interrupt) = start(&device);
    driver.transmit(&mut cx()).unwrap().consume(60, |buffer| buffer.fill(1));
    device.arrive(&frame(60));
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let mut cx = Context::from_waker(&waker);
    assert!(driver.transmit(&mut cx).is_none());
    assert!(driver.receive(&mut cx).is_none(), "there must be room for an answer");
    device.send();
    interrupt.on_interrupt();
    assert!(woken.0.load(Ordering::Relaxed));
    assert_eq!(receive(&mut driver), Some(frame(60)));
    assert!(driver.transmit(&mut cx).is_some());
}
