/* The system layer: one system call a function, plain C, no Python.
 *
 * Every function makes one attempt and returns its result or -errno.  None
 * touches Python, so all may run while the GIL is released.  A platform
 * difference is another body of a function here, never another caller.
 */
#ifndef SYSV_IPC_OS_H
#define SYSV_IPC_OS_H

#include "os/call.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <sys/types.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

/* The permission bits of a mode; the kernel ignores all others. */
#define OS_MODE_MASK 0777

/* On s390x a mode has 32 bits, of which Linux looks at the lower half.  A
 * program under qemu-user finds it in the upper one, and puts it there. */
#ifdef __s390x__
#define OS_MODE_READ(mode) ((mode) > 0xffff ? (mode) >> 16 : (mode))
#define OS_MODE_WRITE(mode) ((mode) << 16 | (mode))
#else
#define OS_MODE_READ(mode) (mode)
#define OS_MODE_WRITE(mode) ((unsigned short)(mode))
#endif

/* The largest value of a semaphore, SEMVMX in semop(2). */
#define OS_SEM_VALUE_MAX 32767

/* "Wait for ever", where a timeout is asked for. */
#define OS_FOREVER ((int64_t)-1)

/* The whole seconds of a timeout, at most as many as a time_t of 32 bits
 * holds: 68 years. */
static inline int
os_seconds(int64_t timeout_ns)
{
    int64_t seconds = timeout_ns / 1000000000;
    return seconds < INT32_MAX ? (int)seconds : INT32_MAX;
}

/* The flags of shmget(2) and shmat(2) that not all systems have: X(name,
 * value) for each that this one has.  A huge page's size is the logarithm in
 * the six bits from 26 on; see <linux/shm.h>, which cannot be included
 * together with <sys/shm.h>. */
#ifdef __linux__
#define OS_SHM_REMAP SHM_REMAP
#define OS_SHM_HUGETLB SHM_HUGETLB
#define OS_SHM_NORESERVE SHM_NORESERVE
#define OS_SHM_FLAGS(X)            \
    X(SHM_EXEC, SHM_EXEC)          \
    X(SHM_REMAP, SHM_REMAP)        \
    X(SHM_NORESERVE, SHM_NORESERVE) \
    X(SHM_HUGETLB, SHM_HUGETLB)    \
    X(SHM_HUGE_64KB, 16U << 26)    \
    X(SHM_HUGE_512KB, 19U << 26)   \
    X(SHM_HUGE_1MB, 20U << 26)     \
    X(SHM_HUGE_2MB, 21U << 26)     \
    X(SHM_HUGE_8MB, 23U << 26)     \
    X(SHM_HUGE_16MB, 24U << 26)    \
    X(SHM_HUGE_32MB, 25U << 26)    \
    X(SHM_HUGE_256MB, 28U << 26)   \
    X(SHM_HUGE_512MB, 29U << 26)   \
    X(SHM_HUGE_1GB, 30U << 26)     \
    X(SHM_HUGE_2GB, 31U << 26)     \
    X(SHM_HUGE_16GB, 34U << 26)
#else
#define OS_SHM_REMAP 0
#define OS_SHM_HUGETLB 0
#define OS_SHM_NORESERVE 0
#define OS_SHM_FLAGS(X)
#endif

/* What IPC_STAT tells: the common part, then that of each kind. */
struct os_info {
    key_t key;
    int id; /* for the caller to set */
    unsigned int uid, gid, cuid, cgid, mode;
    int64_t last_change_time;
    union {
        struct {
            uint64_t nsems;
            int64_t last_operation_time;
        } sem;
        struct {
            uint64_t size, number_attached;
            int64_t last_attach_time, last_detach_time;
            int creator_pid, last_pid;
            bool marked_for_removal, locked;
        } shm;
        struct {
            uint64_t current_messages, current_bytes, max_size;
            int64_t last_send_time, last_receive_time;
            int last_send_pid, last_receive_pid;
        } msg;
    };
};

/* os_<kind>_list() tells of the object at one place of the kernel's table,
 * readable or not, and returns its id; -EINVAL for an empty place, -EACCES for
 * an object that may not be read where the kernel lists only what may (Linux
 * before 4.17).  Places go from 0 to os_<kind>_last_place(). */

/* One place by the command that lists what is not readable too, or by the one
 * that every kernel has.  An empty place is EINVAL by both, so an object that
 * only the second knows of is looked for once more: it may have been made
 * between the two. */
static inline int
os_list(int (*ask)(int place, int command, struct os_info *info), int place,
        int any, int readable, struct os_info *info)
{
    int id = ask(place, any, info);
    if (id != -EINVAL) {
        return id;
    }
    id = ask(place, readable, info);
    if (id != -EACCES) {
        return id;
    }
    id = ask(place, any, info);
    return id == -EINVAL ? -EACCES : id;
}

/* semget(2), semop(2), semctl(2).  os_sem_set() takes uid, gid and mode. */
int os_sem_get(key_t key, size_t nsems, int flags);
/* Whether os_sem_op() keeps a timeout other than 0 and OS_FOREVER. */
#ifdef __linux__
#define OS_SEM_KEEPS_DEADLINE true
#else
#define OS_SEM_KEEPS_DEADLINE false
#endif

int os_sem_op(int id, struct sembuf *operations, size_t count,
              int64_t timeout_ns);
/* The same without waiting, by a copy with IPC_NOWAIT: a semtimedop(2) without
 * time goes to sleep all the same, to be woken at once, which takes longer
 * than many a wait.  Inline, because most operations are one. */
#define OS_SEM_TRIED_MAX 100
static inline int
os_sem_try(int id, const struct sembuf *operations, size_t count)
{
    struct sembuf tried[OS_SEM_TRIED_MAX];
    for (size_t i = 0; i < count; i++) {
        tried[i] = operations[i];
        tried[i].sem_flg = (short)(tried[i].sem_flg | IPC_NOWAIT);
    }
    return (int)OS_CALL(semop, id, tried, count);
}
int os_sem_get_value(int id, int index);
int os_sem_set_value(int id, int index, int value);
/* SETALL, GETALL: -EIDRM if the set does not have that many members. */
int os_sem_set_all(int id, const unsigned short *values, size_t count);
int os_sem_get_all(int id, unsigned short *values, size_t count);
int os_sem_get_pid(int id, int index);
int os_sem_get_ncnt(int id, int index);
int os_sem_get_zcnt(int id, int index);
int os_sem_stat(int id, struct os_info *info);
int os_sem_list(int place, struct os_info *info);
int os_sem_last_place(void);
int os_sem_set(int id, const struct os_info *info);
int os_sem_remove(int id);

/* shmget(2), shmat(2), shmdt(2), shmctl(2). */
int os_shm_get(key_t key, size_t size, int flags);
int os_shm_attach(int id, void *wanted, int flags, void **address);
int os_shm_detach(void *address);
int os_shm_stat(int id, struct os_info *info);
/* What tells a segment from another that gets its id later. */
struct os_segment {
    size_t size;
    key_t key;
    int creator_pid;
    int64_t change_time, detach_time;
};
int os_shm_look(int id, struct os_segment *segment);
int os_shm_list(int place, struct os_info *info);
int os_shm_last_place(void);
int os_shm_set(int id, const struct os_info *info);
int os_shm_remove(int id);
int os_shm_lock(int id);
int os_shm_unlock(int id);

/* Replace an attachment by private zero pages at the same place: whatever
 * still points there reads zeros.  os_memory_release() gives them back. */
int os_shm_blank(void *address, size_t size);
int os_memory_release(void *address, size_t size);
/* Put zero pages there if nothing is mapped, after a call that may have failed
 * half-way: 0, -EEXIST if something is, or -errno. */
int os_memory_fill(void *address, size_t size);
/* Touch every page for writing, of memory that is all zeros, without the
 * SIGBUS of a page that cannot be had: that is -EFAULT.  -ENOSYS where the
 * system has no way. */
int os_memory_populate(void *address, size_t size);
size_t os_page_size(void);

/* The flags of msgrcv(2) that not all systems have; 0 where they lack.  The
 * C library musl does not name MSG_COPY. */
#ifdef __linux__
#ifdef MSG_COPY
#define OS_MSG_COPY MSG_COPY
#else
#define OS_MSG_COPY 040000
#endif
#define OS_MSG_EXCEPT MSG_EXCEPT
#else
#define OS_MSG_COPY 0
#define OS_MSG_EXCEPT 0
#endif

/* msgget(2), msgop(2), msgctl(2).  A message begins with its type, a long;
 * sizes count the text behind it.  os_msg_set() also takes max_size. */
int os_msg_get(key_t key, int flags);
int os_msg_send(int id, const void *message, size_t size, int flags);
ssize_t os_msg_receive(int id, void *message, size_t size, long type,
                       int flags);
int os_msg_stat(int id, struct os_info *info);
int os_msg_list(int place, struct os_info *info);
int os_msg_last_place(void);
int os_msg_set(int id, const struct os_info *info);
int os_msg_remove(int id);

/* The limits of the IPC namespace, by the names of their sysctls, and what of
 * them is in use; see proc(5). */
struct os_limits {
    uint64_t semmsl, semmns, semopm, semmni;
    uint64_t shmmax, shmall, shmmni;
    uint64_t msgmax, msgmnb, msgmni;
    uint64_t semaphore_sets, semaphores;
    uint64_t segments, pages, resident_pages, swapped_pages;
    uint64_t queues, messages, message_bytes;
};
int os_limits_get(struct os_limits *limits);
/* msgmax alone, for which nothing has to be counted. */
ssize_t os_msg_max(void);

/* A 32-bit number in shared memory, futex(2).  os_futex_wait() returns 0 when
 * woken, -EAGAIN where the number is not the expected one, -ETIMEDOUT; and
 * os_futex_wake() how many it has woken. */
int os_futex_wait(const void *address, uint32_t expected, int64_t timeout_ns);
int os_futex_wake(const void *address, int count);

/* Whether os_futex_wait() waits, or only looks. */
#ifdef __linux__
#define OS_FUTEX_KEEPS_DEADLINE true
#else
#define OS_FUTEX_KEEPS_DEADLINE false
#endif

/* The calls that can block, in one shape, so that one loop serves them all:
 * attempt(call, timeout_ns) makes the call once.  With 0 it does not wait;
 * else it waits at most so long where the kernel keeps the deadline. */
struct os_call {
    ssize_t (*attempt)(const struct os_call *call, int64_t timeout_ns);
    bool keeps_deadline;
    int id;
    int flags;
    size_t size; /* operations, or bytes of text */
    long type;
    union {
        struct sembuf *operations;
        void *message;
        const void *address; /* of a number */
    };
    uint32_t expected;
    int64_t interval_ns; /* look at the number that often, or OS_FOREVER */
};
ssize_t os_sem_op_attempt(const struct os_call *call, int64_t timeout_ns);
ssize_t os_msg_send_attempt(const struct os_call *call, int64_t timeout_ns);
ssize_t os_msg_receive_attempt(const struct os_call *call, int64_t timeout_ns);
/* 0 where the number at the address is not the expected one, or has not been
 * for a moment; -EAGAIN when time is up. */
ssize_t os_futex_wait_attempt(const struct os_call *call, int64_t timeout_ns);

/* CLOCK_MONOTONIC; and seconds since the epoch, as the kernel notes them. */
int64_t os_clock_ns(void);
int64_t os_time(void);
int os_sleep_ns(int64_t duration_ns);

/* 32 bits from the kernel's generator. */
int os_random_bits(uint32_t *bits);

/* A key from a path's inode, ftok(3). */
int os_ftok(const char *path, int id, key_t *key);

/* The numbers of a namespace of this thread: the inode is given again when the
 * namespace is gone; the id never, but kernels before 6.18 have none.  Each is
 * 0 if it cannot be told. */
enum os_namespace_kind {
    OS_NAMESPACE_IPC,
    OS_NAMESPACE_USER,
};
struct os_namespace {
    uint64_t inode, id;
};
struct os_namespace os_namespace(enum os_namespace_kind kind);
/* The better one of the two of the IPC namespace, to compare in a process. */
static inline uint64_t
os_namespace_number(void)
{
    struct os_namespace namespace = os_namespace(OS_NAMESPACE_IPC);
    return namespace.id != 0 ? namespace.id : namespace.inode;
}
/* What the kernel calls itself since it was started, at most size - 1
 * characters; an empty text if /proc is not there to tell. */
void os_boot_id(char *text, size_t size);

/* An exclusive lock that all processes of this IPC namespace share and that
 * the kernel releases when its holder dies.  One attempt: -EWOULDBLOCK while
 * another holds it, another error where it is out of reach.  Returns a
 * descriptor for os_namespace_unlock(). */
int os_namespace_lock(void);
void os_namespace_unlock(int lock);

#endif
