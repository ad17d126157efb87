/* A wall clock that jumps every tenth of a second: by an hour, by ten years, forth and back.

   Preloaded (LD_PRELOAD) it stands before the C library's own; every other clock is the kernel's.
   JUMPING_CLOCK_SAYS names a file to which each process that asked for the wall clock adds a byte. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const long long jumps_s[] = {0, 3600, -3600, 315360000, -315360000};

static void say_once(void) {
    static int has_said = 0;
    const char *path = getenv("JUMPING_CLOCK_SAYS");
    if (has_said++ || path == NULL)
        return;
    int file = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (file >= 0) {
        if (write(file, "x", 1) != 1)
            has_said = 0;
        close(file);
    }
}

static long long jump_s(void) {
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    long long tenths = now.tv_sec * 10LL + now.tv_nsec / 100000000L;
    say_once();
    return jumps_s[tenths % (long long)(sizeof jumps_s / sizeof jumps_s[0])];
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    long done = syscall(SYS_clock_gettime, clock, now);
    if (done == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += jump_s();
    return (int)done;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *where) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (where != NULL)
        *where = precise.tv_sec;
    return precise.tv_sec;
}
