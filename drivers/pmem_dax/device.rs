// SPDX-License-Identifier: GPL-2.0

//! A namespace that was taken: its memory, and what all users of it share.

use crate::{
    claim::{
        Mode,
        Printable,
        Settings, //
    },
    dirty::Dirty,
    fault::TouchOrder,
    geometry::Geometry,
    io,
    lent::Lent,
    mapping::{
        self,
        Apart, //
    },
    mappings::Mappings,
    poison::Media,
    sync::{
        Account,
        Syncs, //
    }, //
};
use core::{
    mem,
    sync::atomic::{
        self,
        AtomicBool,
        Ordering, //
    },
};
use kernel::{
    device as kernel_device, fmt,
    iov::{
        IovIterDest,
        IovIterSource, //
    },
    new_mutex,
    prelude::*,
    str::{
        kstrtobool_bytes,
        CString, //
    },
    sync::{
        Arc,
        ArcBorrow,
        Mutex, //
    },
    time::{
        delay::fsleep,
        Delta, //
    },
};
use kernel_ext::{
    badblocks::Badblocks,
    block::{
        attribute::{
            Attribute,
            Disk,
            Group, //
        },
        bio::Bio,
        disk::{
            self,
            Removed, //
        },
        node::{
            self,
            AddressRequest,
            FileId,
            Node, //
        },
    },
    dax::{
        self,
        Alive, //
    },
    fs::{
        io::Io,
        pseudo::{
            BackingFile,
            File,
            FileOperations,
            Mount,
            Synced, //
        },
    },
    mm::{
        mapping::Area,
        memremap::{
            PageType,
            Span, //
        },
    },
    nvdimm::Region,
    ratelimit::RateLimit,
    task::Process,
    units::{
        ByteRange,
        PageOffset, //
    }, //
};

/// A device. It lives until the last open file of its disk is closed, which may be long after it
/// was removed; what goes earlier, the memory, is behind [`dax::Device::enter`].
#[pin_data]
pub(crate) struct Device {
    #[pin]
    pub(crate) dax: dax::Device<Media>,
    pub(crate) mode: Mode,
    /// Whether what is stored is durable once the CPU wrote it back, and MAP_SYNC keeps its promise.
    pub(crate) synchronous: bool,
    pub(crate) dirty: Dirty,
    #[pin]
    pub(crate) syncs: Syncs,
    #[pin]
    pub(crate) mappings: Mappings,
    #[pin]
    pub(crate) lent: Lent,
    pub(crate) order: TouchOrder,
    pub(crate) apart: Apart,
    /// Who has it may write to bad memory, which takes long. Taken before the memory is entered.
    #[pin]
    pub(crate) healing: Mutex<()>,
    leaving: AtomicBool,
    /// Whether sync(2) makes durable what was stored through mappings.
    global_sync: AtomicBool,
    #[pin]
    users: Mutex<Users>,
    #[pin]
    pub(crate) log: RateLimit,
}

impl Device {
    /// Maps the memory as `settings` say. May sleep for long.
    pub(crate) fn new<'a>(
        parent: &'a kernel_device::Device<kernel_device::Bound>,
        mount: &'a Arc<Mount>,
        name: CString,
        data: &'a Span,
        geometry: Geometry,
        settings: Settings,
        region: Region,
    ) -> Result<impl PinInit<Self, Error> + 'a> {
        let len = geometry.all().ok_or(EINVAL)?.len();
        let dirty = Dirty::new(len)?;
        let synchronous = region.is_synchronous();
        let syncs = Syncs::new(!synchronous);

        Ok(try_pin_init!(Self {
            dax <- dax::Device::new(
                parent,
                mount,
                data,
                match settings.mode {
                    Mode::Generic => PageType::Generic,
                    Mode::FsDax => PageType::FsDax,
                },
                settings.align,
                region,
                Media::new(name, geometry),
            ),
            mode: settings.mode,
            synchronous,
            dirty,
            syncs <- syncs,
            mappings <- Mappings::new(),
            lent <- Lent::new(),
            order: TouchOrder::new(),
            apart: Apart::new(),
            healing <- new_mutex!((), "pmem_dax healing"),
            leaving: AtomicBool::new(false),
            global_sync: AtomicBool::new(true),
            users <- new_mutex!(Users::default(), "pmem_dax users"),
            log <- RateLimit::new(),
        }))
    }

    /// The name of the disk.
    pub(crate) fn name(&self) -> &str {
        self.dax.data().name.to_str().unwrap_or("?")
    }

    /// Maps `area` of `node` from a file that is not mapped right beside it. May sleep.
    ///
    /// The file is kept for further mappings until the node is closed. The one behind it is made for the
    /// first mapping of the disk and kept until the last close: it keeps the module, which is not to
    /// be kept by a device that nobody uses.
    pub(crate) fn map_file<T: kernel_ext::mm::mapping::Operations>(
        this: ArcBorrow<'_, Self>,
        node: Node<'_>,
        area: Area<'_>,
        page: PageOffset,
    ) -> Result {
        // Where nothing of the node is mapped there are no neighbours, either.
        let is_apart = this.apart.is_set() || !this.mappings.any(node.partition());
        let fits = |file: &&BackingFile| is_apart || !area.touches(file);

        if let Some(file) = this.users.lock().files_of(node).find(fits) {
            area.set_file::<T>(file, page);
            return Ok(());
        }
        // Made without the lock, as memory that the process is charged for may let it wait for long,
        // and closing a node must not. So others may have made the same meanwhile; `node`, which is
        // open, keeps what there is.
        let known = this.users.lock().all();
        let all = match known {
            Some(all) => all,
            None => {
                let all = File::new(this.dax.file_inode(), &this.dax.data().name, this.into())?;
                let all = Arc::new(all, GFP_KERNEL)?;

                this.users.lock().files(all).all.clone()
            }
        };
        let file = all.back(node)?;
        let mut users = this.users.lock();

        area.set_file::<T>(&file, page);
        users.mappers.add(Process::current());
        users.files(all).keep(node, file);
        Ok(())
    }

    /// The disk is about to be removed. Whoever wrote to its page cache and did not see that by
    /// [`leaves`](Self::leaves) has it written back by the removal.
    pub(crate) fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
        atomic::fence(Ordering::SeqCst);
    }

    /// Whether the disk is being removed, or was.
    #[inline]
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// The same, for who has just dirtied a page.
    pub(crate) fn leaves(&self) -> bool {
        // The page is dirty before this looks: pairs with the fence in `leave`.
        atomic::fence(Ordering::SeqCst);
        self.is_leaving()
    }

    /// Ends all mapping: there will be no new ones, and no access through old ones. What was stored
    /// is made durable. Waits for pages that somebody pinned, unless the machine goes down, and makes
    /// durable what they stored.
    pub(crate) fn shut_down(&self, removed: Removed<Self>) {
        let done = removed.shut_down(
            |alive| {
                if self.finish(alive).is_err() {
                    pr_err!(
                        "{}: the last flush failed: the last stores may be lost\n",
                        self.name()
                    );
                }
                // Else who maps the memory into the kernel next finds holes (arch/x86/mm/init_64.c:
                // phys_pte_init leaves an entry that is there, though it is not present). The log has
                // what stays.
                let _ = self.dax.data().map_bad_pages(alive);
            },
            |page| {
                pr_warn!(
                    "{}: waiting for page {:#x}, which {}; mapped last by {}; until then ndctl and readers of its attributes wait, too\n",
                    self.name(),
                    page.0,
                    match self.mode {
                        Mode::Generic => "is pinned: close the files that have it (io_uring buffers, RDMA, VFIO)",
                        Mode::FsDax => "is pinned, or in a file: close the files that have it, and unmount the file system",
                    },
                    self.users.lock().mappers
                );
            },
        );

        if done.is_err() {
            pr_warn!(
                "{}: a page is still in use: left as it is, as the machine goes down\n",
                self.name()
            );
        }
    }

    /// Waits for those who pin a page of `part`, or of the disk, for a tenth of a second: it may be that
    /// they are ending.
    ///
    /// # Errors
    ///
    /// `EBUSY`.
    fn wait_for_pins(&self, part: Option<ByteRange>) -> Result {
        let alive = self.dax.enter().ok_or(ENXIO)?;
        let all = self.dax.data().geometry.all().ok_or(EINVAL)?;

        self.lent.settle(part.unwrap_or(all), |mut range| {
            for _ in 0..10 {
                let Some(page) = alive.first_pinned(range) else {
                    return Ok(());
                };

                // What is before it was looked at.
                range = range.from(page.to_bytes().unwrap_or(0));
                fsleep(Delta::from_millis(10));
            }
            Err(EBUSY)
        })
    }

    /// Makes everything that was stored through mappings durable, of which there are none any more.
    fn finish(&self, alive: &Alive<'_, Media>) -> Result {
        if let Some(all) = self.dax.data().geometry.all() {
            if self.dax.has_write_cache() {
                self.write_back_marked(alive, all);
            }
        }
        alive.provider().flush(alive)
    }

    /// Makes everything that was stored through mappings durable, unless the device was removed: that was
    /// the end of it. May sleep.
    pub(crate) fn make_durable(&self) -> Result {
        match self.dax.enter().zip(self.dax.data().geometry.all()) {
            Some((alive, all)) => self.sync_stores(&alive, all, all, Account::System),
            None => Ok(()),
        }
    }

    /// Removes all pages from all mappings, so that the next access to each is looked at anew. May
    /// sleep.
    pub(crate) fn refault(&self) {
        // A fault that looked before what changed did is over then, or has its page in the table.
        self.dax.wait_for_faults();
        if let Some(all) = self.dax.data().geometry.all() {
            self.dax.unmap(all);
        }
    }
}

/// Who uses a disk by mapping it.
#[derive(Default)]
struct Users {
    // Has references of the device: see `Device::with_file`.
    files: Option<Files>,
    mappers: LastMappers,
}

impl Users {
    /// The files that mappings of `node` have, of those that were made last.
    fn files_of(&self, node: Node<'_>) -> impl Iterator<Item = &BackingFile> {
        let node = node.id();

        (self.files.iter().flat_map(|files| &files.last).flatten())
            .filter(move |(id, _)| *id == node)
            .map(|(_, file)| file)
    }

    /// The one behind all files.
    fn all(&self) -> Option<Arc<File<Device>>> {
        Some(self.files.as_ref()?.all.clone())
    }

    /// The files, with `all` behind them if there are none yet.
    fn files(&mut self, all: Arc<File<Device>>) -> &mut Files {
        self.files.get_or_insert(Files {
            all,
            last: [const { None }; 2],
        })
    }
}

/// The files of the mappings of a disk.
struct Files {
    all: Arc<File<Device>>,
    // Those that were made last: two of a node that is mapped in one piece after the other.
    last: [Option<(FileId, BackingFile)>; 2],
}

impl Files {
    /// Keeps `file`, of mappings of `node`.
    fn keep(&mut self, node: Node<'_>, file: BackingFile) {
        self.last.rotate_right(1);
        self.last[0] = Some((node.id(), file));
    }
}

/// The processes that were the last to map a file which they had opened. The kernel does not know who pins a page, only that
/// somebody does; but to pin it, it has to be mapped.
#[derive(Default)]
struct LastMappers {
    // The last one first, each once.
    processes: [Option<Process>; 4],
}

impl LastMappers {
    fn add(&mut self, process: Process) {
        let mut next = Some(process);

        for slot in &mut self.processes {
            let old = mem::replace(slot, next);

            if old.is_none() || old == Some(process) {
                break;
            }
            next = old;
        }
    }
}

impl fmt::Display for LastMappers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";

        for process in self.processes.iter().flatten() {
            let name = Printable(process.name());

            f.write_fmt(fmt!("{}{}[{}]", separator, name, process.id()))?;
            separator = ", ";
        }
        Ok(())
    }
}

impl FileOperations for Device {
    fn sync(&self, range: ByteRange) -> Result {
        let alive = self.dax.enter().ok_or(EIO)?;
        let all = self.dax.data().geometry.all().ok_or(EIO)?;

        self.sync_stores(&alive, all, range.before(all.end()), Account::User)
    }
}

impl Synced for Device {
    fn sync(&self) -> Result {
        if self.dirty.is_empty() || !self.global_sync.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.make_durable().inspect_err(|_| {
            if self.log.allows() {
                pr_err!(
                    "{}: a sync of all file systems failed here: the last stores may be lost\n",
                    self.name()
                );
            }
        })
    }
}

impl Device {
    fn show_mode(&self, _disk: Disk<'_>) -> Result<CString> {
        CString::try_from_fmt(fmt!("{}", self.mode.name()))
    }

    fn show_mappings(&self, _disk: Disk<'_>) -> Result<CString> {
        CString::try_from_fmt(fmt!("{}", self.mappings.all()))
    }

    fn show_openers(&self, disk: Disk<'_>) -> Result<CString> {
        CString::try_from_fmt(fmt!("{}", disk.openers()))
    }

    /// The memory is kept for a part at a time, as who unbinds the device waits for it.
    fn show_pinned(&self, _disk: Disk<'_>) -> Result<CString> {
        let mut pinned = 0;
        let mut next = Some(PageOffset(0));

        while let Some(first) = next {
            let part = self.dax.enter().ok_or(ENODEV)?.pinned(first);

            pinned += part.pinned;
            next = part.next;
        }
        CString::try_from_fmt(fmt!("{}", pinned))
    }

    fn show_write_cache(&self, _disk: Disk<'_>) -> Result<CString> {
        CString::try_from_fmt(fmt!("{}", u8::from(self.dax.has_write_cache())))
    }

    fn show_global_sync(&self, _disk: Disk<'_>) -> Result<CString> {
        let global_sync = self.global_sync.load(Ordering::Relaxed);

        CString::try_from_fmt(fmt!("{}", u8::from(global_sync)))
    }

    fn store_global_sync(&self, text: &[u8]) -> Result {
        self.global_sync
            .store(kstrtobool_bytes(text)?, Ordering::Relaxed);
        Ok(())
    }

    /// The marks of what was stored stay, so nothing is lost if it is switched on again.
    fn store_write_cache(&self, text: &[u8]) -> Result {
        self.dax.set_write_cache(kstrtobool_bytes(text)?);
        Ok(())
    }
}

impl disk::Operations for Device {
    type Dax = Media;

    const ATTRIBUTES: [Group<Self>; 2] = [
        // As that of nd_pmem.
        Group {
            name: c"dax",
            attributes: [
                Some(Attribute {
                    name: c"write_cache",
                    mode: 0o644,
                    show: Self::show_write_cache,
                    store: Some(Self::store_write_cache),
                }),
                None,
                None,
                None,
                None,
            ],
        },
        Group {
            name: c"pmem_dax",
            attributes: [
                Some(Attribute {
                    name: c"mode",
                    mode: 0o444,
                    show: Self::show_mode,
                    store: None,
                }),
                Some(Attribute {
                    name: c"mappings",
                    mode: 0o444,
                    show: Self::show_mappings,
                    store: None,
                }),
                Some(Attribute {
                    name: c"openers",
                    mode: 0o444,
                    show: Self::show_openers,
                    store: None,
                }),
                Some(Attribute {
                    name: c"global_sync",
                    mode: 0o644,
                    show: Self::show_global_sync,
                    store: Some(Self::store_global_sync),
                }),
                // It looks at much memory.
                Some(Attribute {
                    name: c"pinned",
                    mode: 0o400,
                    show: Self::show_pinned,
                    store: None,
                }),
            ],
        },
    ];

    #[inline]
    fn dax(&self) -> &dax::Device<Media> {
        &self.dax
    }

    #[inline]
    fn submit_bio(&self, alive: &Alive<'_, Media>, bio: Bio) {
        io::submit(self, alive, bio);
    }

    /// A file system may map what was mapped here before.
    ///
    /// And who uses a page cache is not to meet those who pinned what was mapped here before.
    fn exclusive_open(&self, part: Option<ByteRange>) -> Result {
        match self.mode {
            Mode::FsDax => self.dax.settle(),
            Mode::Generic => self.wait_for_pins(part),
        }
        .inspect_err(|_| {
            if self.log.allows() {
                pr_notice!(
                    "{}: not to be had alone: somebody still pins a page that was mapped: close the files that have it (io_uring buffers, RDMA, VFIO); mapped last by {}\n",
                    self.name(),
                    self.users.lock().mappers
                );
            }
        })
    }

    /// As with a page cache, what was stored is durable after the last close. Nobody has a mapping
    /// any more, since that keeps its file open.
    fn last_close(&self) {
        let files = self.users.lock().files.take();

        drop(files);

        // If it was removed, that was the end of it.
        let Some(alive) = self.dax.enter() else {
            return;
        };

        alive.take_back_small();
        self.dirty.forget_hints();
        if self.dirty.is_empty() {
            return;
        }
        // What is pinned still (io_uring, RDMA, VFIO) stays marked; and all that is, if somebody wrote 0 to
        // dax/write_cache.
        let all = self.dax.data().geometry.all().ok_or(EIO);

        if all
            .and_then(|all| self.sync_stores(&alive, all, all, Account::System))
            .is_err()
            && self.log.allows()
        {
            pr_err!(
                "{}: flush at the last close failed: the last stores may be lost\n",
                self.name()
            );
        }
    }

    /// What sleep leaves of the CPU caches is up to the platform, and the host of a virtio-pmem cannot
    /// be asked for a flush any more. Where nothing is marked, nothing is at stake.
    fn suspend(&self) -> Result {
        if self.dirty.is_empty() {
            return Ok(());
        }
        self.make_durable().inspect_err(|_| {
            pr_err!(
                "{}: the machine is kept from sleep: the flush failed, and the last stores may be lost: unbind it to have it sleep all the same\n",
                self.name()
            );
        })
    }

    /// Pages that are mapped writable could not be made read-only in place, only removed: that is
    /// for the hardware to ask for, not for a user who may not know of the mapping.
    fn make_read_only(&self) -> Result {
        if self.mappings.is_empty() {
            return Ok(());
        }
        if self.log.allows() {
            pr_notice!(
                "{}: not made read-only: it is mapped; unmap it first\n",
                self.name()
            );
        }
        Err(EBUSY)
    }

    fn badblocks(&self) -> &Badblocks {
        &self.dax.data().badblocks
    }
}

impl node::Operations for Device {
    fn mmap(this: ArcBorrow<'_, Self>, node: Node<'_>, area: Area<'_>) -> Result {
        match this.mode {
            Mode::Generic => mapping::map::<false>(this, node, area),
            Mode::FsDax => mapping::map::<true>(this, node, area),
        }
    }

    fn unmapped_area(&self, node: Node<'_>, request: AddressRequest<'_>) -> Result<usize> {
        mapping::place(self, node, request)
    }

    fn read(&self, node: Node<'_>, io: &mut Io<'_>, to: &mut IovIterDest<'_>) -> Result<usize> {
        io::read(self, node, io, to)
    }

    fn write(
        &self,
        node: Node<'_>,
        io: &mut Io<'_>,
        from: &mut IovIterSource<'_>,
    ) -> Result<usize> {
        io::write(self, node, io, from)
    }

    fn sync(&self, node: Node<'_>, range: ByteRange) -> Result {
        // First, as what it writes is to be flushed too. Its error does not keep the stores back.
        let cached = node.sync_cache(range);
        let alive = self.dax.enter().ok_or(EIO)?;
        let bytes = node.bytes().ok_or(EIO)?;
        let range = bytes.after(range.start()).first(range.len());

        self.sync_stores(&alive, bytes, range, Account::User)?;
        cached
    }

    fn altered(&self, node: Node<'_>) {
        // What was the end of a partition may be somebody else's bytes next. And what is mapped
        // between `make_read_only` and the end of BLKROSET would stay writable.
        self.refault();
        if let Some(all) = self.dax.data().geometry.all() {
            self.lent.widen(all);
        }
        // Nor may a copy go on that found the old end. But for BLKPG, and the removal of the disk,
        // no end moves while its device is open (block/partitions/core.c: bdev_disk_changed); and
        // without a file or holder of a partition there is no copy of it.
        if node.has_open_partitions() {
            self.dax.wait_for_copies();
            drop(self.healing.lock());
            node.wait_for_bios();
        }
    }

    fn close(&self, node: Node<'_>) {
        if let Some(files) = &mut self.users.lock().files {
            // They keep the path of the node, and with it the mount.
            for last in &mut files.last {
                last.take_if(|(id, _)| *id == node.id());
            }
        }
        // As with a page cache, which goes with the last close of the node, its marks go with its last
        // mapping, which had a file open. The next close of a disk whose partitions are mapped is that of
        // a reader who has nothing to do with them (blkid of udev): it writes back nothing of theirs.
        let is_marked = || (node.bytes()).is_some_and(|bytes| self.dirty.marked(bytes) != 0);

        if self.mappings.take_left(node.partition())
            && is_marked()
            && self.flush(node).is_err()
            && self.log.allows()
        {
            pr_err!(
                "{}: flush after the last mapping failed: the last stores may be lost\n",
                self.name()
            );
        }
    }

    fn flush(&self, node: Node<'_>) -> Result {
        match (node.bytes(), self.dax.enter()) {
            (Some(bytes), Some(alive)) => self.sync_stores(&alive, bytes, bytes, Account::System),
            _ => Ok(()),
        }
    }
}
