//! [`Ranks`] over NCCL.
//!
//! NCCL has a stream of its own. An exchange waits there for the compute stream's work queued so far, and the host waits for the exchange,
//! checking the other ranks meanwhile. So the compute stream never waits for another rank, and no call of the driver blocks without end
//! when a rank is lost.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use candle_core::cuda_backend::cudarc::driver::{
    CudaEvent, CudaSlice, CudaStream, DevicePtr, DriverError, result, sys,
};
use candle_core::{DType, Device, Tensor};

use super::address::version;
use super::communicator::{Communicator, Place};
use super::library::{self, Id};
use super::limit::Limit;
use super::machines::Process;
use super::waiting::{Patience, Watch};
use crate::dist::messages::{self, HEAD, PART};
use crate::dist::peer::Peer;
use crate::dist::{DistError, End, Ranks, Waited};
use crate::ops::cuda::address;

/// One of several ranks, each with a GPU.
#[derive(Debug)]
pub struct Nccl {
    rank: usize,
    world: usize,
    device: Device,
    /// The stream on which the device computes.
    compute: Arc<CudaStream>,
    /// The stream on which NCCL exchanges.
    stream: Arc<CudaStream>,
    limit: Limit,
    watch: Watch,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The communicator; `None` after an error.
    comm: Option<Communicator>,
    /// The error after which the communicator was aborted.
    failed: Option<DistError>,
    /// Bytes of messages on the GPU.
    buffer: Option<CudaSlice<u8>>,
    /// The start of the sums that are under way.
    begun: Option<CudaEvent>,
}

impl Nccl {
    /// Meets the other ranks; every rank's `device` is another GPU. `over` is the library that has carried the id, if one has: it ends
    /// together with this engine, and may detect a lost rank sooner.
    ///
    /// # Errors
    /// When NCCL's library is missing or too old, a rank does not come within `limit`, or cannot be reached.
    pub fn open(
        device: &Device,
        rank: usize,
        world: usize,
        id: &Id,
        limit: Duration,
        over: Option<Arc<dyn Ranks>>,
    ) -> Result<Self, DistError> {
        let compute = device.as_cuda_device()?.cuda_stream();
        let context = compute.context();
        context.bind_to_thread().map_err(driver)?;
        let stream = context.new_stream().map_err(driver)?;
        let limit = Limit::new(limit);
        let comm = Communicator::join(rank, world, id, limit.clone(), over.clone())?;
        let state = State {
            comm: Some(comm),
            failed: None,
            buffer: None,
            begun: None,
        };
        let mut ranks = Self {
            rank,
            world,
            device: device.clone(),
            compute,
            stream,
            watch: Watch::new(rank, limit.clone(), over),
            limit,
            state: Mutex::new(state),
        };
        let own = serde_json::to_vec(&Process::own());
        let own = own.map_err(|why| DistError::Library(why.to_string()))?;
        let all = ranks.exchanged("learning of the others", |state| {
            ranks.all_bytes(state, &own)
        })?;
        let all = all.iter().map(|one| serde_json::from_slice(one));
        let all = all.collect::<Result<Vec<Process>, _>>();
        ranks.watch.know(
            all.map_err(|why| DistError::Library(format!("ranks of different programs: {why}")))?,
        );
        Ok(ranks)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs an exchange. After an error the communicator is aborted, so that the GPU waits for nothing, and later calls return the
    /// same error.
    fn exchanged<T>(
        &self,
        what: &str,
        exchange: impl FnOnce(&mut State) -> Result<T, DistError>,
    ) -> Result<T, DistError> {
        let mut state = self.lock();
        if state.comm.is_none() {
            let failed = state.failed.as_ref().map(DistError::again);
            return Err(failed
                .unwrap_or_else(|| DistError::Library(format!("{what}: the ranks have parted"))));
        }
        self.stream.context().bind_to_thread().map_err(driver)?;
        let done = exchange(&mut state);
        if let Err(failed) = &done
            && let Some(comm) = state.comm.take()
        {
            state.failed = Some(failed.again());
            comm.give_up();
        }
        done
    }

    /// Makes NCCL's stream wait for the computation queued so far.
    fn after_compute(&self) -> Result<(), DistError> {
        let ready = self.compute.record_event(None).map_err(driver)?;
        self.stream.wait(&ready).map_err(driver)
    }

    /// Waits for the work queued on NCCL's stream so far.
    fn wait(&self, comm: &Communicator, what: &str, patience: Patience) -> Result<(), DistError> {
        let done = self.stream.record_event(None).map_err(driver)?;
        self.watch.wait(&done, comm, what, patience)
    }

    /// Returns memory on the GPU for `bytes` bytes of messages, of unspecified contents.
    fn buffer(&self, buffer: &mut Option<CudaSlice<u8>>, bytes: usize) -> Result<u64, DistError> {
        if buffer.as_ref().is_none_or(|b| b.len() < bytes) {
            *buffer = None;
            // SAFETY: written before it is read, by a copy or by NCCL.
            *buffer =
                Some(unsafe { self.stream.alloc(bytes.next_power_of_two()) }.map_err(driver)?);
        }
        let address = buffer.as_ref().map(|b| b.device_ptr(&self.stream).0);
        address.ok_or_else(|| DistError::Library("no memory for messages".into()))
    }

    fn upload(&self, to: u64, bytes: &[u8]) -> Result<(), DistError> {
        if bytes.is_empty() {
            return Ok(());
        }
        // SAFETY: within the buffer, whose user has asked for as much; memory that is not pinned is copied before this returns.
        unsafe { result::memcpy_htod_async(to, bytes, self.stream.cu_stream()) }.map_err(driver)
    }

    /// Copies bytes from the GPU. Work that waits for other ranks must not be queued, because this call cannot check them.
    fn download(&self, from: u64, bytes: usize) -> Result<Vec<u8>, DistError> {
        let mut into = vec![0; bytes];
        if bytes > 0 {
            // SAFETY: within the buffer; waited for before `into` is used.
            unsafe { result::memcpy_dtoh_async(&mut into, from, self.stream.cu_stream()) }
                .map_err(driver)?;
            self.stream.synchronize().map_err(driver)?;
        }
        Ok(into)
    }

    /// Every rank's `own`, all of the same number of bytes, one after the other.
    fn all_equal(&self, state: &mut State, own: &[u8], what: &str) -> Result<Vec<u8>, DistError> {
        let State {
            comm: Some(comm),
            buffer,
            ..
        } = state
        else {
            return Err(given_up());
        };
        let bytes = own.len();
        let all = self.buffer(buffer, self.world * bytes)?;
        self.upload(all + (self.rank * bytes) as u64, own)?;
        // SAFETY: the buffer has as many bytes for every rank.
        unsafe { comm.all_gather(all, bytes, &self.stream) }?;
        self.wait(comm, what, Patience::Limited)?;
        self.download(all, self.world * bytes)
    }

    /// Every rank's `own`, of any number of bytes.
    fn all_bytes(&self, state: &mut State, own: &[u8]) -> Result<Vec<Vec<u8>>, DistError> {
        let lengths = self.all_equal(
            state,
            &(own.len() as u64).to_le_bytes(),
            "gathering lengths",
        )?;
        let lengths = messages::lengths(&lengths);
        let lengths = lengths.ok_or_else(|| DistError::Library("messages without end".into()))?;
        let mut all: Vec<Vec<u8>> = vec![Vec::new(); self.world];
        for (start, size) in messages::rounds(&lengths, PART) {
            let mut part = vec![0; size];
            let range = messages::within(own.len(), start, size);
            part[..range.len()].copy_from_slice(&own[range]);
            let round = self.all_equal(state, &part, "gathering messages")?;
            for ((one, length), part) in all.iter_mut().zip(&lengths).zip(round.chunks(size)) {
                one.extend(&part[..messages::within(*length, start, size).len()]);
            }
        }
        Ok(all)
    }

    /// Returns the address of a tensor of this rank's device, and its bytes.
    fn place(&self, t: &Tensor) -> Result<Place, DistError> {
        if !t.device().same_device(&self.device) {
            return Err(DistError::Library(format!(
                "a tensor on {:?} cannot be exchanged by a rank on {:?}",
                t.device().location(),
                self.device.location()
            )));
        }
        Ok(Place {
            address: address(t)?,
            count: t.elem_count() * t.dtype().size_in_bytes(),
        })
    }

    /// Copies parts of tensors from the ranks that have them, and waits.
    fn copy(&self, parts: &[(usize, Place)], what: &str) -> Result<(), DistError> {
        self.exchanged(what, |state| {
            let comm = state.comm.as_ref().ok_or_else(given_up)?;
            self.after_compute()?;
            // SAFETY: parts of a tensor that lives; the compute stream's work on it comes first, and this waits.
            unsafe { comm.broadcast(parts, &self.stream) }?;
            self.wait(comm, what, Patience::Limited)
        })
    }
}

impl Ranks for Nccl {
    fn rank(&self) -> usize {
        self.rank
    }

    fn world(&self) -> usize {
        self.world
    }

    fn start_sum(&self, part: &Tensor) -> Result<(), DistError> {
        if part.dtype() != DType::F32 {
            return Err(DistError::Library(format!(
                "sums over ranks are of f32, not {:?}",
                part.dtype()
            )));
        }
        let place = self.place(part)?;
        if place.count == 0 {
            return Ok(());
        }
        self.exchanged("adding up", |state| {
            self.after_compute()?;
            if state.begun.is_none() {
                state.begun = Some(self.stream.record_event(TIMED).map_err(driver)?);
            }
            let comm = state.comm.as_ref().ok_or_else(given_up)?;
            let count = part.elem_count();
            // SAFETY: so many f32; the caller leaves them alone until `finish_sums`, and keeps them.
            unsafe { comm.sum(Place { count, ..place }, &self.stream) }
        })
    }

    fn finish_sums(&self) -> Result<Waited, DistError> {
        self.exchanged("adding up gradients", |state| {
            let Some(begun) = state.begun.take() else {
                return Ok(Waited::default());
            };
            let comm = state.comm.as_ref().ok_or_else(given_up)?;
            let computed = self.compute.record_event(TIMED).map_err(driver)?;
            let done = self.stream.record_event(TIMED).map_err(driver)?;
            // The time limit applies to other ranks, not to this rank's own computation.
            computed.synchronize().map_err(driver)?;
            self.watch
                .wait(&done, comm, "adding up gradients", Patience::Limited)?;
            let between = |from: &CudaEvent| {
                let milliseconds = from.elapsed_ms(&done).map_err(driver)?;
                Ok::<_, DistError>(Duration::from_secs_f32(milliseconds.max(0.0) / 1e3))
            };
            Ok(Waited {
                wait: between(&computed)?,
                exchange: between(&begun)?,
            })
        })
    }

    fn sum(&self, numbers: &mut [f64]) -> Result<(), DistError> {
        if numbers.is_empty() {
            return Ok(());
        }
        let own: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        let all = self.exchanged("adding up numbers", |state| {
            self.all_equal(state, &own, "adding up numbers")
        })?;
        numbers.fill(0.0);
        for rank in all.chunks_exact(own.len()) {
            let (values, _) = rank.as_chunks::<8>();
            for (sum, value) in numbers.iter_mut().zip(values) {
                *sum += f64::from_le_bytes(*value);
            }
        }
        Ok(())
    }

    fn all_gather(&self, flat: &Tensor, parts: &[Range<usize>]) -> Result<(), DistError> {
        let (n, size) = (flat.elem_count(), flat.dtype().size_in_bytes());
        if parts.len() != self.world || parts.iter().any(|p| p.start > p.end || p.end > n) {
            return Err(DistError::Library(format!(
                "{} parts of {n} elements do not fit {} ranks: {parts:?}",
                parts.len(),
                self.world
            )));
        }
        let all = self.place(flat)?;
        let at = |part: &Range<usize>| Place {
            address: all.address + (part.start * size) as u64,
            count: part.len() * size,
        };
        const WHAT: &str = "completing tensors";
        if messages::are_equal(parts) {
            let first = at(&parts[0]);
            return self.exchanged(WHAT, |state| {
                let comm = state.comm.as_ref().ok_or_else(given_up)?;
                self.after_compute()?;
                // SAFETY: equal parts of a tensor that lives, one after the other; this waits.
                unsafe { comm.all_gather(first.address, first.count, &self.stream) }?;
                self.wait(comm, WHAT, Patience::Limited)
            });
        }
        let parts = parts.iter().map(at).enumerate();
        let parts: Vec<_> = parts.filter(|(_, place)| place.count > 0).collect();
        self.copy(&parts, WHAT)
    }

    fn broadcast(&self, flat: &Tensor) -> Result<(), DistError> {
        match self.place(flat)? {
            Place { count: 0, .. } => Ok(()),
            place => self.copy(&[(0, place)], "copying rank 0's tensors"),
        }
    }

    fn announce(&self, message: &mut Vec<u8>) -> Result<(), DistError> {
        const WHAT: &str = "announcing";
        const WAITS: &str = "waiting for rank 0";
        self.exchanged(WHAT, |state| {
            let State {
                comm: Some(comm),
                buffer,
                ..
            } = state
            else {
                return Err(given_up());
            };
            let mut send = |bytes: &[u8], n: usize, what: &str, patience| {
                let place = Place {
                    address: self.buffer(buffer, n)?,
                    count: n,
                };
                self.upload(place.address, bytes)?;
                // SAFETY: the buffer has so many bytes.
                unsafe { comm.broadcast(&[(0, place)], &self.stream) }?;
                self.wait(comm, what, patience)?;
                match self.rank {
                    0 => Ok(Vec::new()),
                    _ => self.download(place.address, n),
                }
            };
            if self.rank == 0 {
                let head = messages::head(message);
                send(&head, HEAD, WHAT, Patience::Limited)?;
                let (_, rest) = messages::read_head(&head).unwrap_or_default();
                if rest > 0 {
                    let rest = &message[message.len() - rest..];
                    send(rest, rest.len(), WHAT, Patience::Limited)?;
                }
                return Ok(());
            }
            let head = send(&[], HEAD, WAITS, Patience::Unlimited)?;
            let read = messages::read_head(&head);
            let (mut read, rest) =
                read.ok_or_else(|| DistError::Library("half a message".into()))?;
            if rest > 0 {
                read.extend(send(&[], rest, WAITS, Patience::Limited)?);
            }
            *message = read;
            Ok(())
        })
    }

    fn gather(&self, message: &[u8]) -> Result<Vec<Vec<u8>>, DistError> {
        let all = self.exchanged("gathering messages", |state| self.all_bytes(state, message))?;
        Ok(if self.rank == 0 { all } else { Vec::new() })
    }

    fn check(&self) -> Result<(), DistError> {
        self.exchanged("working alone", |state| {
            self.watch.look(state.comm.as_ref().ok_or_else(given_up)?)
        })
    }

    fn set_timeout(&self, timeout: Duration) {
        self.limit.set(timeout);
        if let Some(over) = self.watch.over() {
            over.set_timeout(timeout);
        }
    }

    fn library(&self) -> String {
        let over = self.watch.over().map(|over| over.library());
        let nccl = library::version().map_or(0, |number| number);
        let nccl = format!("NCCL {}", version(nccl));
        over.map_or_else(|| nccl.clone(), |over| format!("{over}, {nccl}"))
    }

    fn hosts(&self) -> Vec<String> {
        self.watch.hosts()
    }

    fn on_host(&self) -> usize {
        self.watch.count(Peer::is_near)
    }

    fn sharing(&self) -> usize {
        self.watch.count(Peer::shares)
    }

    fn end(&self, how: &End) {
        if *how == End::Together {
            // The last exchange; if it fails, the run has ended anyway.
            let _ = self.exchanged("ending", |state| self.all_equal(state, &[0], "ending"));
        }
        if let Some(comm) = self.lock().comm.take() {
            match how {
                End::Together => drop(comm),
                End::Failed(_) => comm.give_up(),
            }
        }
        if let Some(over) = self.watch.over() {
            over.end(how);
        }
    }
}

/// Events with a time.
const TIMED: Option<sys::CUevent_flags> = Some(sys::CUevent_flags::CU_EVENT_DEFAULT);

fn given_up() -> DistError {
    DistError::Library("the ranks were given up after an error".into())
}

fn driver(error: DriverError) -> DistError {
    match error.0 {
        sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
            candle_core::Error::from(crate::ops::OutOfMemory::Gpu).into()
        }
        _ => DistError::Library(format!("the GPU's driver reports {error}")),
    }
}
