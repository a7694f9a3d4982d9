/*
 * A wall clock for a process that is started with this library in LD_PRELOAD:
 * the seconds since 1970 are the first eight bytes of the file that TEST_CLOCK
 * names, which the test writes. Monotonic clocks, and with them timers, stay as
 * they are. libfaketime does the same and more, but not under jemalloc, which
 * asks for the time before it can.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *clock_seconds;

__attribute__((constructor)) static void open_clock(void)
{
	const char *name = getenv("TEST_CLOCK");
	int fd = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
	void *at;

	if (fd < 0)
		return;
	at = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (at != MAP_FAILED)
		clock_seconds = at;
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
	if (clock_seconds && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
		ts->tv_sec = *clock_seconds;
		ts->tv_nsec = 0;
		return 0;
	}
	return syscall(SYS_clock_gettime, id, ts);
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
	struct timespec ts;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &ts);
	tv->tv_sec = ts.tv_sec;
	tv->tv_usec = ts.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *out)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	if (out)
		*out = ts.tv_sec;
	return ts.tv_sec;
}
