/* Functions that do not belong to a kind of object: clock, sleep, random bits,
 * ftok(3), the boot id, and the numbers and the lock of the IPC namespace. */
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifdef __APPLE__
#include <sys/random.h>
#endif

#ifdef __linux__
#include <sys/ioctl.h>
#include <sys/syscall.h>
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
    /* -1 is also the key of some paths.  Only errno shows an error. */
    errno = 0;
    *key = ftok(path, id);
    return *key == (key_t)-1 ? -errno : 0;
}

#ifdef __linux__

/* <linux/pidfd.h> conflicts with the header of C libraries that have their
 * own. */
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#define PIDFD_OF_THREAD O_EXCL

/* The type of the second argument of ioctl(2).  POSIX and musl have int. */
#ifdef __GLIBC__
typedef unsigned long request_of_ioctl;
#else
typedef int request_of_ioctl;
#endif

#define PIDFD_IPC_NAMESPACE _IO(0xFF, 2)
#define PIDFD_USER_NAMESPACE _IO(0xFF, 9)

/* Open the inode of a namespace of this thread, which all of its threads see
 * and no other thread.  The lock is on this inode.  If /proc does not show it,
 * as after chroot(2) or in the mount namespace of another PID namespace, a
 * pidfd gives the same inode since Linux 6.11.  There is no other substitute:
 * a lock on another file would not exclude the processes that lock the
 * inode. */
static int
namespace_open(enum os_namespace_kind kind)
{
    static const struct {
        const char *path;
        request_of_ioctl request;
    } kinds[] = {
        [OS_NAMESPACE_IPC] = {"/proc/thread-self/ns/ipc",
                              (request_of_ioctl)PIDFD_IPC_NAMESPACE},
        [OS_NAMESPACE_USER] = {"/proc/thread-self/ns/user",
                               (request_of_ioctl)PIDFD_USER_NAMESPACE},
    };
    int namespace = open(kinds[kind].path, O_RDONLY | O_CLOEXEC);
    if (namespace != -1) {
        return namespace;
    }
    int thread = (int)syscall(SYS_pidfd_open, (pid_t)syscall(SYS_gettid),
                              PIDFD_OF_THREAD);
    if (thread == -1) {
        return -errno;
    }
    namespace = ioctl(thread, kinds[kind].request, 0);
    int error = errno;
    (void)close(thread);
    return namespace == -1 ? -error : namespace;
}

#else

/* These systems have one namespace.  The lock is on a folder that all
 * processes see. */
static int
namespace_open(enum os_namespace_kind kind)
{
    (void)kind;
    int folder = open("/tmp", O_RDONLY | O_CLOEXEC);
    return folder == -1 ? -errno : folder;
}

#endif

int
os_namespace_lock(void)
{
    int lock = namespace_open(OS_NAMESPACE_IPC);
    if (lock < 0) {
        return lock;
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
    /* Unlock before closing.  A child that was forked meanwhile has a copy of
     * the descriptor, and keeps the lock if only ours is closed. */
    (void)flock(lock, LOCK_UN);
    (void)close(lock);
}

#ifdef __linux__

/* From <linux/nsfs.h> of Linux 6.18. */
#ifndef NS_GET_ID
#define NS_GET_ID _IOR(0xb7, 13, uint64_t)
#endif

struct os_namespace
os_namespace(enum os_namespace_kind kind)
{
    struct os_namespace namespace = {0, 0};
    struct stat about;
    int file = namespace_open(kind);
    if (file < 0) {
        return namespace;
    }
    if (fstat(file, &about) == 0) {
        namespace.inode = (uint64_t)about.st_ino;
    }
    if (ioctl(file, (request_of_ioctl)NS_GET_ID, &namespace.id) == -1) {
        namespace.id = 0;
    }
    (void)close(file);
    return namespace;
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

/* These systems have one namespace. */
struct os_namespace
os_namespace(enum os_namespace_kind kind)
{
    (void)kind;
    return (struct os_namespace){1, 1};
}

void
os_boot_id(char *text, size_t size)
{
    (void)size;
    text[0] = '\0';
}

#endif
