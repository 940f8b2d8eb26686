// SPDX-License-Identifier: GPL-2.0
/*
 * sleeper map FILE - map the file, store to its second and fourth 2 MiB, say so, stay.
 *
 * sleeper pin FILE - pin a page of the file, without keeping it open or mapped, and stay.
 *
 * sleeper kexec KERNEL INITRAMFS COMMAND_LINE - go on with another kernel.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <linux/reboot.h>
#include <string.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <liburing.h>

#define SZ_4K	4096UL
#define SZ_2M	(512 * SZ_4K)

static int open_file(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0)
		err(1, "%s", path);
	return fd;
}

static char *map_file(const char *path)
{
	int fd = open_file(path, O_RDWR);
	char *map = mmap(NULL, 4 * SZ_2M, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		err(1, "%s: mmap", path);
	close(fd);
	return map;
}

static void pin(char *map)
{
	static struct io_uring ring;
	struct iovec vector = { map, SZ_4K };

	if (io_uring_queue_init(1, &ring, 0) || io_uring_register_buffers(&ring, &vector, 1))
		errx(1, "io_uring");
	munmap(map, 4 * SZ_2M);
}

static void stay(void)
{
	puts("held");
	fflush(stdout);
	pause();
}

static void kexec(char **argv)
{
	int kernel = open_file(argv[0], O_RDONLY), initramfs = open_file(argv[1], O_RDONLY);

	if (syscall(SYS_kexec_file_load, kernel, initramfs, strlen(argv[2]) + 1, argv[2], 0UL))
		err(1, "kexec_file_load");
	if (reboot(LINUX_REBOOT_CMD_KEXEC))
		err(1, "kexec");
}

int main(int argc, char **argv)
{
	char *map;

	if (argc == 5 && !strcmp(argv[1], "kexec")) {
		kexec(argv + 2);
		return 1;
	}
	if (argc != 3)
		errx(2, "see the top of sleeper.c");
	map = map_file(argv[2]);
	map[SZ_2M] = 's';
	map[3 * SZ_2M] = 's';
	if (!strcmp(argv[1], "pin"))
		pin(map);
	stay();
	return 1;
}
