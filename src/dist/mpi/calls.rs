//! The calls of the MPI library that are used, each behind a function that returns its error.
//!
//! All of it runs on the one thread that has initialised the library (`MPI_THREAD_FUNNELED`): [`Library`] is neither
//! `Send` nor `Sync`, and everything else is reached through it.

use std::ffi::{c_char, c_int, c_void};
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr;

use mpi::ffi;

/// The value of `MPI_IN_PLACE`, a macro of C, which bindings do not have. Open MPI, whose handles are pointers, and the ABI of MPI 5 define
/// it as 1; MPICH and its relatives, whose handles are numbers, as -1 (mpi.h of both).
const IN_PLACE: *const c_void = match size_of::<ffi::MPI_Comm>() == size_of::<*const c_void>() {
    true => ptr::without_provenance(1),
    false => ptr::without_provenance(usize::MAX),
};

/// Elements of one call: counts are of 32 bits with a sign, and libraries may double them.
const MOST: usize = 1 << 29;

/// Numbers that are moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Bytes,
    F32,
}

impl Kind {
    fn datatype(self) -> ffi::MPI_Datatype {
        // SAFETY: constants of the library, set before any code runs.
        unsafe {
            match self {
                Self::Bytes => ffi::RSMPI_UINT8_T,
                Self::F32 => ffi::RSMPI_FLOAT,
            }
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::Bytes => 1,
            Self::F32 => 4,
        }
    }
}

/// Memory that the library reads and writes until the requests made with it are done.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    begin: *mut c_void,
    n: usize,
    kind: Kind,
}

impl Place {
    /// # Safety
    /// `begin` is the beginning of `n` numbers of `kind`, which stay there, and which nothing else reads or writes, until every
    /// request made with the place is done, or for as long as the process lives.
    pub unsafe fn new(begin: *mut c_void, n: usize, kind: Kind) -> Self {
        Self { begin, n, kind }
    }

    /// Parts of at most [`MOST`] numbers.
    fn parts(self) -> impl Iterator<Item = Self> {
        (0..self.n)
            .step_by(MOST)
            .map(move |from| self.part(from..self.n.min(from + MOST)))
    }

    /// A part; `range` must lie within.
    fn part(self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.n);
        Self {
            begin: self
                .begin
                .wrapping_byte_add(range.start * self.kind.bytes()),
            n: range.len(),
            kind: self.kind,
        }
    }

    fn count(self) -> c_int {
        // At most MOST.
        self.n as c_int
    }
}

/// A call that is under way.
#[derive(Debug)]
pub struct Pending(ffi::MPI_Request);

/// A group of ranks whose messages are kept apart from those of other groups.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    comm: ffi::MPI_Comm,
    pub rank: usize,
    pub world: usize,
}

/// The library, initialised by this thread.
#[derive(Debug)]
pub struct Library {
    /// Bound to its thread.
    bound: PhantomData<*const ()>,
}

impl Library {
    /// Initialises the library for this thread alone.
    ///
    /// # Errors
    /// When it refuses. (Most libraries end the process instead.)
    pub fn start() -> Result<Self, String> {
        let mut provided = 0;
        // SAFETY: both arguments may be null, and `provided` is written.
        let code = unsafe {
            ffi::MPI_Init_thread(
                ptr::null_mut(),
                ptr::null_mut(),
                ffi::RSMPI_THREAD_FUNNELED,
                &raw mut provided,
            )
        };
        check("MPI_Init_thread", code)?;
        // SAFETY: a constant of the library.
        if provided < unsafe { ffi::RSMPI_THREAD_FUNNELED } {
            return Err("the MPI library does not allow threads (MPI_THREAD_FUNNELED)".into());
        }
        Ok(Self { bound: PhantomData })
    }

    /// The library's name and release.
    pub fn version(&self) -> String {
        let mut text = vec![0u8; ffi::MPI_MAX_LIBRARY_VERSION_STRING as usize + 1];
        let mut length = 0;
        // SAFETY: the buffer has the size that the standard asks for, and one byte more.
        let code = unsafe {
            ffi::MPI_Get_library_version(text.as_mut_ptr().cast::<c_char>(), &raw mut length)
        };
        if code != ffi::MPI_SUCCESS as c_int {
            return "an MPI library without a name".into();
        }
        let text = words(text, length);
        let first = text.lines().map(str::trim).find(|line| !line.is_empty());
        let first = first.unwrap_or_default();
        let end = first.find(", package").unwrap_or(first.len());
        first[..end]
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// A group of all ranks, whose errors are returned.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn group(&self) -> Result<Group, String> {
        // SAFETY: plain calls on the world's communicator, whose results are written to locals of the right types.
        unsafe {
            let world = ffi::RSMPI_COMM_WORLD;
            let code = ffi::MPI_Comm_set_errhandler(world, ffi::RSMPI_ERRORS_RETURN);
            check("MPI_Comm_set_errhandler", code)?;
            let mut comm = ffi::RSMPI_COMM_NULL;
            check("MPI_Comm_dup", ffi::MPI_Comm_dup(world, &raw mut comm))?;
            let code = ffi::MPI_Comm_set_errhandler(comm, ffi::RSMPI_ERRORS_RETURN);
            check("MPI_Comm_set_errhandler", code)?;
            let (mut rank, mut size) = (0, 0);
            check("MPI_Comm_rank", ffi::MPI_Comm_rank(comm, &raw mut rank))?;
            check("MPI_Comm_size", ffi::MPI_Comm_size(comm, &raw mut size))?;
            let natural = |n: c_int| usize::try_from(n).map_err(|_| format!("a rank of {n}"));
            Ok(Group {
                comm,
                rank: natural(rank)?,
                world: natural(size)?,
            })
        }
    }

    /// The number of processes that the library has started together, before any group is made.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn world(&self) -> Result<usize, String> {
        let mut size = 0;
        // SAFETY: as in `group`.
        let code = unsafe { ffi::MPI_Comm_size(ffi::RSMPI_COMM_WORLD, &raw mut size) };
        check("MPI_Comm_size", code)?;
        usize::try_from(size).map_err(|_| format!("a world of {size}"))
    }

    /// Starts adding up `place` over the group, in place.
    ///
    /// # Errors
    /// When the library refuses; requests that were started before are in `requests` all the same.
    pub fn sum(
        &self,
        group: Group,
        place: Place,
        requests: &mut Vec<Pending>,
    ) -> Result<(), String> {
        for part in place.parts() {
            // SAFETY: the place is as `Place::new` demands until the request is done, and its type and length are given.
            let started = pending("MPI_Iallreduce", |request| unsafe {
                ffi::MPI_Iallreduce(
                    IN_PLACE,
                    part.begin,
                    part.count(),
                    part.kind.datatype(),
                    ffi::RSMPI_SUM,
                    group.comm,
                    request,
                )
            });
            requests.push(started?);
        }
        Ok(())
    }

    /// Starts copying `root`'s `place` to all ranks.
    ///
    /// # Errors
    /// When the library refuses; requests that were started before are in `requests` all the same.
    pub fn broadcast(
        &self,
        group: Group,
        place: Place,
        root: usize,
        requests: &mut Vec<Pending>,
    ) -> Result<(), String> {
        for part in place.parts() {
            // SAFETY: as in `sum`.
            let started = pending("MPI_Ibcast", |request| unsafe {
                ffi::MPI_Ibcast(
                    part.begin,
                    part.count(),
                    part.kind.datatype(),
                    root as c_int,
                    group.comm,
                    request,
                )
            });
            requests.push(started?);
        }
        Ok(())
    }

    /// Starts completing `place`: numbers `parts[r]` come from rank r. Returns memory that must live as long as the requests.
    ///
    /// # Errors
    /// When the library refuses; requests that were started before are in `requests` all the same.
    pub fn all_gather(
        &self,
        group: Group,
        place: Place,
        parts: &[Range<usize>],
        requests: &mut Vec<Pending>,
    ) -> Result<Vec<c_int>, String> {
        let end = parts.iter().map(|part| part.end).max().unwrap_or(0);
        if end > MOST {
            // Displacements are of 32 bits: every rank copies its part to the others.
            for (root, part) in parts.iter().enumerate() {
                self.broadcast(group, place.part(part.clone()), root, requests)?;
            }
            return Ok(Vec::new());
        }
        let whole = place.part(0..end);
        // Counts, then displacements: below MOST.
        let counts = parts.iter().map(|part| part.len() as c_int);
        let begins = parts.iter().map(|part| part.start as c_int);
        let table: Vec<c_int> = counts.chain(begins).collect();
        // SAFETY: as in `sum`; counts and displacements are one per rank, which the caller has checked, and lie within the
        // place; they stay where they are, as the vector's memory does when the vector is moved.
        let request = pending("MPI_Iallgatherv", |request| unsafe {
            ffi::MPI_Iallgatherv(
                IN_PLACE,
                0,
                whole.kind.datatype(),
                whole.begin,
                table.as_ptr(),
                table.as_ptr().add(group.world),
                whole.kind.datatype(),
                group.comm,
                request,
            )
        })?;
        requests.push(request);
        Ok(table)
    }

    /// Starts waiting for all ranks.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn barrier(&self, group: Group) -> Result<Pending, String> {
        // SAFETY: a plain call.
        pending("MPI_Ibarrier", |request| unsafe {
            ffi::MPI_Ibarrier(group.comm, request)
        })
    }

    /// Starts sending `place` to a rank.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn send(&self, group: Group, place: Place, to: usize) -> Result<Pending, String> {
        // SAFETY: as in `sum`.
        pending("MPI_Isend", |request| unsafe {
            ffi::MPI_Isend(
                place.begin,
                place.count(),
                place.kind.datatype(),
                to as c_int,
                0,
                group.comm,
                request,
            )
        })
    }

    /// Starts receiving from a rank into `place`.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn receive(&self, group: Group, place: Place, from: usize) -> Result<Pending, String> {
        // SAFETY: as in `sum`.
        pending("MPI_Irecv", |request| unsafe {
            ffi::MPI_Irecv(
                place.begin,
                place.count(),
                place.kind.datatype(),
                from as c_int,
                0,
                group.comm,
                request,
            )
        })
    }

    /// Lets all calls progress, and returns whether this one is done.
    ///
    /// # Errors
    /// When it has failed.
    pub fn is_done(&self, pending: &mut Pending) -> Result<bool, String> {
        let mut done = 0;
        // SAFETY: the request is one of this library, or null after its end, which counts as done.
        let code =
            unsafe { ffi::MPI_Test(&raw mut pending.0, &raw mut done, ffi::RSMPI_STATUS_IGNORE) };
        check("MPI_Test", code)?;
        Ok(done != 0)
    }

    /// Ends the library's part in this process. All ranks must come.
    pub fn finish(self) {
        // SAFETY: called once, by the thread that has initialised the library.
        unsafe {
            ffi::MPI_Finalize();
        }
    }

    /// Ends all ranks.
    pub fn abort(&self, code: i32) {
        // SAFETY: a plain call, which need not return.
        unsafe {
            ffi::MPI_Abort(ffi::RSMPI_COMM_WORLD, code);
        }
    }
}

/// Makes a call that returns a request.
fn pending(
    call: &str,
    start: impl FnOnce(*mut ffi::MPI_Request) -> c_int,
) -> Result<Pending, String> {
    // SAFETY: a constant of the library.
    let mut request = unsafe { ffi::RSMPI_REQUEST_NULL };
    check(call, start(&raw mut request))?;
    Ok(Pending(request))
}

/// Turns an error code into the library's message.
fn check(call: &str, code: c_int) -> Result<(), String> {
    if code == ffi::MPI_SUCCESS as c_int {
        return Ok(());
    }
    let mut text = vec![0u8; ffi::MPI_MAX_ERROR_STRING as usize + 1];
    let mut length = 0;
    // SAFETY: the buffer has the size that the standard asks for, and one byte more.
    unsafe {
        ffi::MPI_Error_string(code, text.as_mut_ptr().cast::<c_char>(), &raw mut length);
    }
    let text = words(text, length);
    Err(format!("{call} failed: {} (code {code})", text.trim()))
}

/// The first bytes of a buffer of C.
fn words(mut text: Vec<u8>, length: c_int) -> String {
    text.truncate(usize::try_from(length).unwrap_or(0));
    String::from_utf8_lossy(&text).trim_matches('\0').into()
}
