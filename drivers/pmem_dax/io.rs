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
    pmem::Memory,
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

// A partition may shrink, or the disk be removed, while a call is under way. So each copy looks at
// the end of the node anew, and is then waited for by who moved the end: see `Device::altered`. No
// copy waits itself, nor is it long. In particular the caller's page faults are not waited for within
// one, since he can have them take for ever. What was brought for a copy may be gone again before it,
// however often; so one sector at least goes by way of the stack.

/// What is copied with one look at the end of the node, and what is brought of a caller's memory at a
/// time. If it were all, it could be gone again before it is used.
const AT_ONCE: u64 = 1 << 20;

/// The first bytes of `rest`: at most `most`, up to the end of a sector, by which bad memory is
/// healed.
#[inline(always)]
fn next_part(rest: ByteRange, most: u64) -> ByteRange {
    if rest.len() <= most - SECTOR_SIZE {
        return rest;
    }
    rest.first(most - rest.start() % SECTOR_SIZE)
}

/// The part of `range` that the node has now, and for as long as `Device::altered` waits for the
/// caller.
#[inline(always)]
fn in_node(node: Node<'_>, range: ByteRange) -> ByteRange {
    range.before(node.end().to_bytes().unwrap_or(0))
}

/// read(2) and its relatives. Returns fewer bytes than wanted at the end of the node, before bad
/// memory, and where the caller's memory ends.
///
/// # Errors
///
/// As block/fops.c: blkdev_read_iter; `EIO` if the first byte is bad, `EFAULT` if there is no memory
/// for it; `EAGAIN` if it would have to wait, and the caller may not.
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

    if !node.is_uncached() {
        write_back_cache(node, io.is_nowait())?;
    }
    node.accessed();
    let mut accounting = node.account(false);
    let first = next_part(range, AT_ONCE);
    let mut done = read_present(device, node, first, to)?;

    if (done as u64) < range.len() {
        done = read_rest(device, node, range, first, done, to)?;
    }
    if let Some(accounting) = &mut accounting {
        accounting.transferred(done);
    }
    io.advance(done);
    Ok(done)
}

/// Reads what of `part` is in the node and good, as far as the caller's memory is there.
#[inline(always)]
fn read_present(
    device: &Device,
    node: Node<'_>,
    part: ByteRange,
    to: &mut IovIterDest<'_>,
) -> Result<usize> {
    let Some(copying) = device.dax.enter_to_copy() else {
        return Ok(0);
    };
    let good = device.dax.data().good_start(in_node(node, part));

    copying.memory().try_read_iter(good, to)
}

/// Goes on with a read of which `done` bytes of `first`, the start of `range`, are done. Returns how
/// many bytes are read then.
///
/// # Errors
///
/// If there are none: as [`read_sector`].
#[cold]
#[inline(never)]
fn read_rest(
    device: &Device,
    node: Node<'_>,
    range: ByteRange,
    first: ByteRange,
    done: usize,
    to: &mut IovIterDest<'_>,
) -> Result<usize> {
    let mut rest = range.after(done as u64);
    let mut part = first;
    let mut read_on = || {
        while !rest.is_empty() {
            let is_short = rest.start() < part.end();

            if is_short && !read_sector(device, node, &mut rest, to)? {
                break;
            }
            part = next_part(rest, AT_ONCE);
            rest = rest.after(read_present(device, node, part, to)? as u64);
        }
        Ok(())
    };

    done_or_why(read_on(), range, rest)
}

/// Reads the first sector of `rest`, which then starts behind it, by way of the stack. That also shows
/// whose memory stopped the copy before: the caller's or the device's. Waits for more of the caller's
/// then. Returns whether to go on, which is not where the node ends.
///
/// # Errors
///
/// `EFAULT` if the caller's memory ends there; `EIO` if the device's is bad.
fn read_sector(
    device: &Device,
    node: Node<'_>,
    rest: &mut ByteRange,
    to: &mut IovIterDest<'_>,
) -> Result<bool> {
    let mut buffer = [0; SECTOR_SIZE as usize];
    let Some(copying) = device.dax.enter_to_copy() else {
        return Ok(false);
    };
    let part = in_node(node, next_part(*rest, SECTOR_SIZE));
    if part.is_empty() {
        return Ok(false);
    }
    // Whoever is told of machine checks lists what is bad.
    let good = device.dax.data().good_start(part);
    let bytes = &mut buffer[..good.len() as usize];
    let read = copying.memory().read(good.start(), bytes)?;

    drop(copying);
    let copied = to.copy_to_iter(&bytes[..read]);
    *rest = rest.after(copied as u64);
    if copied < read {
        return Err(EFAULT);
    }
    // The copy to the stack, which is always there, was a machine check. One more can kill the
    // machine.
    if read < bytes.len() || bytes.is_empty() {
        return Err(EIO);
    }
    fault_in_dest(to, next_part(*rest, AT_ONCE).len() as usize);
    Ok(true)
}

/// How many bytes of `range` are done, if all but `rest` are; if none, the error of `result`.
fn done_or_why(result: Result, range: ByteRange, rest: ByteRange) -> Result<usize> {
    let done = range.len() - rest.len();

    if done == 0 {
        result?;
    }
    Ok(done as usize)
}

/// write(2) and its relatives. A write that covers bad memory heals it. Returns fewer bytes than
/// wanted at the end of the node, before memory that was not healed, and where the caller's ends.
///
/// # Errors
///
/// If nothing was written: as block/fops.c: blkdev_write_iter; `EIO` if bad memory was not healed,
/// `EFAULT` for the caller's memory; `EAGAIN` if it would have to wait, and the caller may not.
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
    let range = transfer(node.start(), node.sectors(), io.position()?, from.len()).ok_or(ENOSPC)?;

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
    let mut accounting = node.account(true);
    let first = next_part(range, AT_ONCE);
    let mut done = write_present(device, node, first, io.is_nowait(), from)?;

    if (done as u64) < range.len() {
        done = write_rest(device, node, range, first, done, io.is_nowait(), from)?;
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

/// Writes to what of `part` is in the node, as far as the caller's memory is there.
///
/// # Errors
///
/// If a sector of it is bad: as [`write_bad`].
#[inline(always)]
fn write_present(
    device: &Device,
    node: Node<'_>,
    part: ByteRange,
    nowait: bool,
    from: &mut IovIterSource<'_>,
) -> Result<usize> {
    let Some(copying) = device.dax.enter_to_copy() else {
        return Ok(0);
    };
    let part = in_node(node, part);

    if device.dax.data().badblocks.first_in(part).is_some() {
        drop(copying);
        return write_bad(device, node, part, nowait, from);
    }
    copying.memory().try_write_iter(part, from)
}

/// Writes to `part`, a sector of which is bad, as far as the caller's memory is there.
///
/// # Errors
///
/// `EAGAIN` if the caller may not wait for the hardware; as [`heal`].
#[cold]
#[inline(never)]
fn write_bad(
    device: &Device,
    node: Node<'_>,
    part: ByteRange,
    nowait: bool,
    from: &mut IovIterSource<'_>,
) -> Result<usize> {
    if nowait {
        return Err(EAGAIN);
    }
    let part = supplied(device.dax.data(), part, from);

    heal(device, node, part, |memory, part| {
        memory.try_write_iter(part, from)
    })
}

/// Waits for the memory of a caller of write(2). Returns the part of `range` up to which it is there; if
/// more would be healed, and then not written, it could be read as if it were good.
fn supplied(media: &Media, range: ByteRange, from: &mut IovIterSource<'_>) -> ByteRange {
    let there = fault_in_source(from, range.len() as usize) as u64;
    let part = range.first(there);
    let last = part.end() >> SECTOR_SHIFT << SECTOR_SHIFT;
    let last = last.max(part.start());

    if part.end() < range.end() && media.badblocks.first_in(part.from(last)).is_some() {
        return part.before(last);
    }
    part
}

/// Makes what of `part` is in the node good, and writes to it by `write`. Waits for the hardware; so
/// `Device::altered` waits for it by a lock.
///
/// # Errors
///
/// `EIO` if the device was removed, or the memory stays bad.
fn heal(
    device: &Device,
    node: Node<'_>,
    part: ByteRange,
    write: impl FnOnce(Memory<'_>, ByteRange) -> Result<usize>,
) -> Result<usize> {
    let _healing = device.healing.lock();
    let alive = device.dax.enter().ok_or(EIO)?;
    let part = in_node(node, part);
    let media = device.dax.data();

    media.write(&alive, part, |memory| write(memory, part))
}

/// Goes on with a write of which `done` bytes of `first`, the start of `range`, are done. Returns how
/// many bytes are written then.
///
/// # Errors
///
/// If there are none: as [`write_sector`].
#[cold]
#[inline(never)]
fn write_rest(
    device: &Device,
    node: Node<'_>,
    range: ByteRange,
    first: ByteRange,
    done: usize,
    nowait: bool,
    from: &mut IovIterSource<'_>,
) -> Result<usize> {
    let mut rest = range.after(done as u64);
    let mut part = first;
    let mut write_on = || {
        while !rest.is_empty() {
            if rest.start() < part.end() {
                write_sector(device, node, &mut rest, from)?;
            }
            part = next_part(rest, AT_ONCE);
            rest = rest.after(write_present(device, node, part, nowait, from)? as u64);
        }
        Ok(())
    };

    done_or_why(write_on(), range, rest)
}

/// Writes the first sector of `rest`, which then starts behind it, by way of the stack. Waits for more of
/// the caller's memory then.
///
/// # Errors
///
/// `EFAULT` if the caller's memory ends there; `ENOSPC` if the node does; as [`heal`].
fn write_sector(
    device: &Device,
    node: Node<'_>,
    rest: &mut ByteRange,
    from: &mut IovIterSource<'_>,
) -> Result {
    let mut buffer = [0; SECTOR_SIZE as usize];
    let wanted = next_part(*rest, SECTOR_SIZE);
    let there = from.copy_from_iter(&mut buffer[..wanted.len() as usize]);
    let write = |memory: Memory<'_>, part: ByteRange| {
        memory.write(part.start(), &buffer[..part.len() as usize])
    };
    let copying = device.dax.enter_to_copy().ok_or(EIO)?;
    let part = in_node(node, wanted.first(there as u64));

    let is_short = (there as u64) < wanted.len();
    let done = match device.dax.data().badblocks.first_in(part) {
        None => {
            let done = write(copying.memory(), part)?;

            drop(copying);
            done
        }
        // A part of the sector does not heal it.
        Some(_) if is_short => 0,
        Some(_) => {
            drop(copying);
            heal(device, node, part, write)?
        }
    };
    *rest = rest.after(done as u64);
    if is_short {
        return Err(EFAULT);
    }
    if (done as u64) < wanted.len() {
        return Err(ENOSPC);
    }
    fault_in_source(from, next_part(*rest, AT_ONCE).len() as usize);
    Ok(())
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
