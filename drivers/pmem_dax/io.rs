// SPDX-License-Identifier: GPL-2.0

//! Reads and writes: bios, and system calls on the nodes.
//!
//! Both copy straight from and to the media, so they see what mappings store at once. Only while
//! somebody else holds the device do system calls go through the page cache, which is then shared
//! with the holder: that is what tools for mounted file systems rely on.

use crate::device::Device;
use crate::geometry::transfer;
use kernel::{
    iov::{
        IovIterDest,
        IovIterSource, //
    },
    prelude::*, //
};
use kernel_ext::{
    block::{
        bio::{
            Bio,
            Segment, //
        },
        node::Node,
    },
    dax::{
        Alive,
        Operations as _, //
    },
    fs::io::{
        fault_in_dest,
        fault_in_source,
        Io, //
    },
    units::{
        ByteRange,
        Sector,
        SECTOR_SHIFT,
        SECTOR_SIZE, //
    },
};

use crate::poison::Media;

/// Handles a bio, as drivers/nvdimm/pmem.c does.
#[inline(always)]
pub(crate) fn submit(device: &Device, alive: &Alive<'_, Media>, bio: Bio) {
    if bio.is_past_end() {
        return refuse_past_end(device, bio);
    }
    if bio.is_nowait() && would_wait(device, &bio) {
        return bio.end(Err(EAGAIN));
    }
    if bio.is_preflush() {
        if let Err(e) = alive.provider().flush(alive) {
            return bio.end(Err(e));
        }
    }
    if bio.has_data() {
        let write = bio.is_write();
        let accounting = bio.start_accounting();
        let mut result = Ok(());

        for (sector, mut segment) in bio.segments() {
            result = if write {
                write_segment(device, alive, sector, &mut segment)
            } else {
                read_segment(device, alive, sector, &mut segment)
            };
            if result.is_err() {
                break;
            }
        }

        bio.end_accounting(accounting);
        if result.is_err() {
            return bio.end(result);
        }
    }
    if bio.is_fua() {
        return alive.provider().flush_and_end(alive, bio);
    }
    bio.end(Ok(()));
}

/// Ends a bio of a partition that shrank after the block layer looked.
#[cold]
#[inline(never)]
fn refuse_past_end(device: &Device, bio: Bio) {
    if device.log.allows() {
        pr_notice!(
            "{}: {} refused: it is past the end that partition {} has now: stop what uses it before it shrinks\n",
            device.name(),
            if bio.is_write() { "write" } else { "read" },
            bio.partition()
        );
    }
    bio.end(Err(EIO));
}

/// Whether the hardware may have to be waited for: to flush, or to make bad memory good.
#[cold]
#[inline(never)]
fn would_wait(device: &Device, bio: &Bio) -> bool {
    let badblocks = &device.dax.data().badblocks;
    let is_bad = |(sector, segment)| {
        segment_range(sector, &segment).is_ok_and(|range| badblocks.first_in(range).is_some())
    };

    (bio.is_preflush() || bio.is_fua()) && !device.synchronous
        || bio.is_write() && bio.has_data() && bio.segments().any(is_bad)
}

#[inline(always)]
fn read_segment(
    device: &Device,
    alive: &Alive<'_, Media>,
    sector: Sector,
    segment: &mut Segment<'_>,
) -> Result {
    let range = segment_range(sector, segment)?;

    if device.dax.data().badblocks.first_in(range).is_some() {
        return Err(EIO);
    }
    alive.memory().read_segment(range.start(), segment)
}

#[inline(always)]
fn write_segment(
    device: &Device,
    alive: &Alive<'_, Media>,
    sector: Sector,
    segment: &mut Segment<'_>,
) -> Result {
    let range = segment_range(sector, segment)?;

    device.dax.data().write(alive, range, |memory| {
        memory.write_segment(range.start(), segment)?;
        Ok(range.len() as usize)
    })?;
    Ok(())
}

#[inline(always)]
fn segment_range(sector: Sector, segment: &Segment<'_>) -> Result<ByteRange> {
    sector
        .to_bytes()
        .and_then(|start| ByteRange::new(start, segment.len()))
        .ok_or(EIO)
}

/// Whether the page cache of the node is what to read from and write to.
#[inline]
fn uses_page_cache(device: &Device, node: Node<'_>) -> bool {
    node.is_held_by_other() && !device.mappings.any(node.partition())
}

/// Makes the media the only place where the bytes of the node are.
#[inline]
fn leave_page_cache(node: Node<'_>) -> Result {
    if node.is_uncached() {
        return Ok(());
    }
    node.write_back_cache()?;
    node.drop_cache()
}

/// Writes back what the page cache has of the node: that is something, which takes time.
///
/// # Errors
///
/// `EAGAIN` if the caller may not wait for it.
#[cold]
#[inline(never)]
fn write_back_cache(node: Node<'_>, nowait: bool) -> Result {
    if nowait {
        return Err(EAGAIN);
    }
    node.write_back_cache()
}

/// read(2) and its relatives. Returns fewer bytes than wanted at the end of the node, before bad
/// memory, and where the caller's memory ends.
///
/// # Errors
///
/// As block/fops.c: blkdev_read_iter; `EIO` if the first byte is bad; `EAGAIN` if it would have to
/// wait, and the caller may not.
pub(crate) fn read(
    device: &Device,
    node: Node<'_>,
    io: &mut Io<'_>,
    to: &mut IovIterDest<'_>,
) -> Result<usize> {
    if uses_page_cache(device, node) {
        return node.default_read(io, to);
    }
    let Some(range) = transfer(node.start(), node.sectors(), io.position()?, to.len()) else {
        return Ok(0);
    };
    let Some(alive) = device.dax.enter() else {
        return Ok(0);
    };

    if !node.is_uncached() {
        write_back_cache(node, io.is_nowait())?;
    }
    node.accessed();
    let good = device.dax.data().good_start(range);
    if good.is_empty() {
        return Err(EIO);
    }
    let mut accounting = node.account(false);
    let mut done = alive.memory().try_read_iter(good, to)?;

    drop(alive);
    if (done as u64) < good.len() {
        done = read_rest(device, good, done, to)?;
    }
    if let Some(accounting) = &mut accounting {
        accounting.transferred(done);
    }
    io.advance(done);
    Ok(done)
}

/// What is brought of a caller's memory at a time. If it were all, it could be gone again before it is
/// used.
const AT_ONCE: usize = 1 << 20;

// The caller's page faults are not waited for while the device is kept, since he can have them take
// for ever, and who unbinds the device would wait too. What was brought may be gone again, however
// often: so one sector at least goes by way of the stack.

/// Goes on with a read that stopped after `done` bytes of `range`: the caller's memory was not there, or
/// the device's is bad, which nobody knew. Returns how many bytes are read then.
///
/// # Errors
///
/// If there are none: `EFAULT` for the caller's memory, `EIO` for the device's.
#[cold]
#[inline(never)]
fn read_rest(
    device: &Device,
    range: ByteRange,
    mut done: usize,
    to: &mut IovIterDest<'_>,
) -> Result<usize> {
    let mut buffer = [0; SECTOR_SIZE as usize];
    let mut why = EIO;
    // Whoever is told of machine checks lists what is bad.
    let rest = |done| {
        let good = device.dax.data().good_start(range);
        good.from(range.start() + done as u64)
    };

    while (done as u64) < range.len() {
        let Some(alive) = device.dax.enter() else {
            break;
        };
        let next = rest(done);
        let next = next.before(next.start() + buffer.len() as u64);
        let bytes = &mut buffer[..next.len() as usize];
        let read = alive.memory().read(next.start(), bytes)?;

        drop(alive);
        let copied = to.copy_to_iter(&bytes[..read]);
        done += copied;
        if copied < read {
            why = EFAULT;
            break;
        }
        // The copy to the stack, which is always there, was a machine check. One more can kill the
        // machine.
        if read < bytes.len() || bytes.is_empty() {
            break;
        }
        fault_in_dest(to, AT_ONCE.min(range.len() as usize - done));
        if let Some(alive) = device.dax.enter() {
            done += alive.memory().try_read_iter(rest(done), to)?;
        }
    }
    if done == 0 {
        return Err(why);
    }
    Ok(done)
}

/// write(2) and its relatives. A write that covers bad memory heals it.
///
/// # Errors
///
/// As block/fops.c: blkdev_write_iter; `EIO` if bad memory was not healed; `EAGAIN` if it would have
/// to wait, and the caller may not.
pub(crate) fn write(
    device: &Device,
    node: Node<'_>,
    io: &mut Io<'_>,
    from: &mut IovIterSource<'_>,
) -> Result<usize> {
    if uses_page_cache(device, node) {
        if let Some(result) = write_cached(device, node, io, from) {
            return result;
        }
    }
    if node.is_read_only() {
        return Err(EPERM);
    }
    if node.is_swap() {
        return Err(ETXTBSY);
    }
    if from.is_empty() {
        return Ok(0);
    }
    let mut range =
        transfer(node.start(), node.sectors(), io.position()?, from.len()).ok_or(ENOSPC)?;

    if !node.is_uncached() {
        write_back_cache(node, io.is_nowait())?;
        if node.drop_cache().is_err() {
            // Somebody dirtied a page again, or reads one; a buffer that the CPUs only remember is
            // no reason (see `drop_cache`). As block/fops.c: blkdev_direct_write.
            if let Some(result) = write_cached(device, node, io, from) {
                return result;
            }
            return Err(EBUSY);
        }
    }
    // May wait for the file system that the node is on to be thawed, which unbind must not. So may
    // who is not to wait, as by block/fops.c: blkdev_write_iter.
    node.modified()?;
    let media = device.dax.data();
    if media.badblocks.first_in(range).is_some() {
        if io.is_nowait() {
            return Err(EAGAIN);
        }
        range = supplied(media, range, from);
        if range.is_empty() {
            return Err(EFAULT);
        }
    }
    let alive = device.dax.enter().ok_or(EIO)?;
    let mut accounting = node.account(true);
    let mut done = media.write(&alive, range, |memory| memory.try_write_iter(range, from))?;

    drop(alive);
    if (done as u64) < range.len() {
        done = write_rest(device, range, done, from)?;
    }
    if let Some(accounting) = &mut accounting {
        accounting.transferred(done);
    }
    drop(accounting);
    // Somebody may have read a page meanwhile.
    if leave_page_cache(node).is_err() && device.log.allows() {
        pr_warn!(
            "{}: the page cache could not be dropped after a write\n",
            device.name()
        );
    }
    io.advance(done);
    io.sync_written(done)
}

/// Waits for the memory of a caller of write(2). Returns the part of `range` up to which it is there; if
/// more would be healed, and then not written, it could be read as if it were good.
#[cold]
#[inline(never)]
fn supplied(media: &Media, range: ByteRange, from: &mut IovIterSource<'_>) -> ByteRange {
    let there = fault_in_source(from, range.len() as usize) as u64;
    let part = range.before(range.start() + there);
    let last = part.end() >> SECTOR_SHIFT << SECTOR_SHIFT;
    let last = last.max(part.start());

    if part.end() < range.end() && media.badblocks.first_in(part.from(last)).is_some() {
        return part.before(last);
    }
    part
}

/// Goes on with a write that stopped after `done` bytes of `range`, as the caller's memory was not
/// there. Returns how many bytes are written then.
///
/// # Errors
///
/// If there are none: `EFAULT` for the caller's memory, `EIO` for the device's.
#[cold]
#[inline(never)]
fn write_rest(
    device: &Device,
    range: ByteRange,
    mut done: usize,
    from: &mut IovIterSource<'_>,
) -> Result<usize> {
    let media = device.dax.data();
    let mut buffer = [0; SECTOR_SIZE as usize];
    let mut why = EIO;
    let rest = |done, most: u64| {
        let rest = range.from(range.start() + done as u64);
        // Bad memory is healed by sectors.
        rest.before((rest.start() + most) >> SECTOR_SHIFT << SECTOR_SHIFT)
    };

    while (done as u64) < range.len() {
        let next = rest(done, SECTOR_SIZE);
        let bytes = &mut buffer[..next.len() as usize];
        let supply = from.copy_from_iter(bytes);

        if supply > 0 {
            let next = next.before(next.start() + supply as u64);
            let Some(alive) = device.dax.enter() else {
                break;
            };
            let Ok(more) = media.write(&alive, next, |memory| {
                memory.write(next.start(), &bytes[..supply])
            }) else {
                break;
            };
            done += more;
        }
        if supply < bytes.len() {
            why = EFAULT;
            break;
        }
        let next = supplied(media, rest(done, AT_ONCE as u64), from);
        let Some(alive) = device.dax.enter() else {
            break;
        };
        let Ok(more) = media.write(&alive, next, |memory| memory.try_write_iter(next, from)) else {
            break;
        };
        done += more;
    }
    if done == 0 {
        return Err(why);
    }
    Ok(done)
}

/// Writes to the page cache, unless the device is mapped.
///
/// The block layer writes it back when the disk is removed, but what comes after that never; so
/// whoever may have come after waits for his own.
#[cold]
fn write_cached(
    device: &Device,
    node: Node<'_>,
    io: &mut Io<'_>,
    from: &mut IovIterSource<'_>,
) -> Option<Result<usize>> {
    // Until its pages are dirty, whoever maps the device waits for it.
    let _writer = device.mappings.writer(node.partition())?;

    Some(io.position().and_then(|start| {
        let done = node.default_write(io, from)?;

        if device.leaves() {
            node.sync_cache(ByteRange::new(start, done as u64).ok_or(EIO)?)?;
        }
        Ok(done)
    }))
}
