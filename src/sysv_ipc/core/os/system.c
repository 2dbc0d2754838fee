/* What is neither of the three kinds: clock, random bits, ftok(3), and the
 * lock of the IPC namespace. */
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifdef __APPLE__
#include <sys/random.h>
#endif

int64_t
os_clock_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t
os_time(void)
{
    return (int64_t)time(NULL);
}

int
os_sleep_ns(int64_t duration_ns)
{
    struct timespec duration = {
        .tv_sec = (time_t)(duration_ns / 1000000000),
        .tv_nsec = (long)(duration_ns % 1000000000),
    };
    return nanosleep(&duration, NULL) == -1 ? -errno : 0;
}

int
os_random_bits(uint32_t *bits)
{
    return getentropy(bits, sizeof(*bits)) == -1 ? -errno : 0;
}

int
os_ftok(const char *path, int id, key_t *key)
{
    /* -1 is also the key of some paths: only errno tells. */
    errno = 0;
    *key = ftok(path, id);
    return *key == (key_t)-1 ? -errno : 0;
}

/* On Linux the lock is on the namespace itself, an inode that all of its
 * processes see and no other; elsewhere there is one namespace a machine. */
#ifdef __linux__
#define NAMESPACE_PATH "/proc/self/ns/ipc"
#else
#define NAMESPACE_PATH "/tmp"
#endif

int
os_namespace_lock(void)
{
    int lock = open(NAMESPACE_PATH, O_RDONLY | O_CLOEXEC);
    if (lock == -1 && (errno == ENOENT || errno == EACCES)) {
        /* Without /proc, all processes that see this root share it. */
        lock = open("/", O_RDONLY | O_CLOEXEC);
    }
    if (lock == -1) {
        return -errno;
    }
    if (flock(lock, LOCK_EX | LOCK_NB) == -1) {
        int error = errno;
        (void)close(lock);
        return -error;
    }
    return lock;
}

void
os_namespace_unlock(int lock)
{
    /* Unlock before closing: a child forked meanwhile holds a copy of the
     * descriptor, and closing ours alone would leave the lock with it. */
    (void)flock(lock, LOCK_UN);
    (void)close(lock);
}

#ifdef __linux__

uint64_t
os_namespace(const char *kind)
{
    char path[64];
    struct stat about;
    (void)snprintf(path, sizeof(path), "/proc/thread-self/ns/%s", kind);
    return stat(path, &about) == 0 ? (uint64_t)about.st_ino : 0;
}

void
os_boot_id(char *text, size_t size)
{
    ssize_t length = 0;
    int file = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (file != -1) {
        length = read(file, text, size - 1);
        (void)close(file);
    }
    text[length > 0 ? length : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
}

#else

/* There is one namespace a machine. */
uint64_t
os_namespace(const char *kind)
{
    (void)kind;
    return 1;
}

void
os_boot_id(char *text, size_t size)
{
    (void)size;
    text[0] = '\0';
}

#endif
