/* The system layer: plain C, without Python.  Each function makes one system
 * call.
 *
 * Every function makes one attempt and returns its result or -errno.  None of
 * them uses Python, so all of them may run while the GIL is released.  A
 * difference between platforms is another body of a function here; callers are
 * the same on all platforms. */
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

/* The permission bits of a mode.  The kernel ignores the other bits. */
#define OS_MODE_MASK 0777

/* On s390x a mode has 32 bits, and Linux uses the lower half.  A program under
 * qemu-user reads the mode in the upper half, and must write it there. */
#ifdef __s390x__
#define OS_MODE_READ(mode) ((mode) > 0xffff ? (mode) >> 16 : (mode))
#define OS_MODE_WRITE(mode) ((mode) << 16 | (mode))
#else
#define OS_MODE_READ(mode) (mode)
#define OS_MODE_WRITE(mode) ((unsigned short)(mode))
#endif

/* The largest value of a semaphore, SEMVMX in semop(2). */
#define OS_SEM_VALUE_MAX 32767

/* The value of a timeout that means no limit. */
#define OS_FOREVER ((int64_t)-1)

/* The whole seconds of a timeout, limited to 68 years, the largest time_t of
 * 32 bits. */
static inline int
os_seconds(int64_t timeout_ns)
{
    int64_t seconds = timeout_ns / 1000000000;
    return seconds < INT32_MAX ? (int)seconds : INT32_MAX;
}

/* The flags of shmget(2) and shmat(2) that some systems do not have.
 * OS_SHM_FLAGS is X(name, value) for each flag of this system.  The size of
 * huge pages is a logarithm in the six bits from bit 26; see <linux/shm.h>,
 * which cannot be included together with <sys/shm.h>. */
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

/* The result of IPC_STAT: the fields that all kinds have, then those of each
 * kind. */
struct os_info {
    key_t key;
    int id; /* set by the caller */
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

/* os_<kind>_list() describes the object at one place of the kernel's table,
 * even if the caller may not read the object, and returns its id.  It returns
 * -EINVAL for an empty place, and -EACCES for an object that may not be read
 * if the kernel lists only readable objects (Linux before 4.17).  Places go
 * from 0 to os_<kind>_last_place(). */

/* Describe one place: with the command any, which lists all objects, or with
 * the command readable, which every kernel has.  An empty place is EINVAL for
 * both.  If only readable reports an object, try any once more, because the
 * object may have been created between the two calls. */
static inline int
os_list(int (*query)(int place, int command, struct os_info *info), int place,
        int any, int readable, struct os_info *info)
{
    int id = query(place, any, info);
    if (id != -EINVAL) {
        return id;
    }
    id = query(place, readable, info);
    if (id != -EACCES) {
        return id;
    }
    id = query(place, any, info);
    return id == -EINVAL ? -EACCES : id;
}

/* semget(2), semop(2), semctl(2).  os_sem_set() sets uid, gid and mode. */
int os_sem_get(key_t key, size_t nsems, int flags);
/* True if os_sem_op() supports timeouts other than 0 and OS_FOREVER. */
#ifdef __linux__
#define OS_SEM_KEEPS_DEADLINE true
#else
#define OS_SEM_KEEPS_DEADLINE false
#endif

int os_sem_op(int id, struct sembuf *operations, size_t count,
              int64_t timeout_ns);
/* The same without waiting, on a copy of the operations with IPC_NOWAIT.  A
 * semtimedop(2) whose timeout is 0 puts the thread to sleep and wakes it at
 * once, which takes longer than many waits.  Inline, because most calls have
 * one operation. */
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
/* SETALL and GETALL.  They return -EIDRM if the set has another number of
 * members. */
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
/* The identity of a segment, by which it is distinguished from a later segment
 * with the same id. */
struct os_segment {
    size_t size;
    key_t key;
    int creator_pid;
    int64_t change_time, detach_time;
};
int os_shm_identify(int id, struct os_segment *segment);
int os_shm_list(int place, struct os_info *info);
int os_shm_last_place(void);
int os_shm_set(int id, const struct os_info *info);
int os_shm_remove(int id);
int os_shm_lock(int id);
int os_shm_unlock(int id);

/* Replace an attachment by private zero pages at the same address, so that
 * remaining pointers read zeros.  os_memory_unmap() unmaps these pages. */
int os_shm_replace(void *address, size_t size);
int os_memory_unmap(void *address, size_t size);
/* Map zero pages at the address if nothing is mapped there, after a call that
 * may have failed half-way.  Return 0, -EEXIST if something is mapped there,
 * or -errno. */
int os_memory_map(void *address, size_t size);
/* Get every page of memory that is all zeros.  Return -EFAULT if a page is not
 * available; accessing it would be a SIGBUS.  Return -ENOSYS if the system has
 * no such call. */
int os_memory_populate(void *address, size_t size);
size_t os_page_size(void);

/* The flags of msgrcv(2) that some systems do not have; 0 there.  The C
 * library musl does not define MSG_COPY. */
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

/* msgget(2), msgop(2), msgctl(2).  A message begins with its type, a long, and
 * sizes do not count the type.  os_msg_set() also sets max_size. */
int os_msg_get(key_t key, int flags);
int os_msg_send(int id, const void *message, size_t size, int flags);
ssize_t os_msg_receive(int id, void *message, size_t size, long type,
                       int flags);
int os_msg_stat(int id, struct os_info *info);
int os_msg_list(int place, struct os_info *info);
int os_msg_last_place(void);
int os_msg_set(int id, const struct os_info *info);
int os_msg_remove(int id);

/* The limits of the IPC namespace, named after their sysctls, and how much of
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
/* The limit msgmax.  This is quicker than os_limits_get(), because nothing is
 * counted. */
ssize_t os_msg_max(void);

/* A 32-bit number in shared memory, futex(2).  os_futex_wait() returns 0 after
 * a wake, -EAGAIN if the number is not the expected one, or -ETIMEDOUT.
 * os_futex_wake() returns the number of threads that it woke. */
int os_futex_wait(const void *address, uint32_t expected, int64_t timeout_ns);
int os_futex_wake(const void *address, int count);

/* True if os_futex_wait() can wait.  Otherwise it only reads the number. */
#ifdef __linux__
#define OS_FUTEX_KEEPS_DEADLINE true
#else
#define OS_FUTEX_KEEPS_DEADLINE false
#endif

/* The calls that can block, in one form, so that one loop serves them all.
 * attempt(call, timeout_ns) makes the call once.  With timeout 0 it does not
 * wait; otherwise, if keeps_deadline is true, it waits at most timeout_ns. */
struct os_call {
    ssize_t (*attempt)(const struct os_call *call, int64_t timeout_ns);
    bool keeps_deadline;
    int id;
    int flags;
    size_t size; /* number of operations, or bytes of text */
    long type;
    union {
        struct sembuf *operations;
        void *message;
        const void *address; /* of a number */
    };
    uint32_t expected;
    int64_t interval_ns; /* between two reads of the number, or OS_FOREVER */
};
ssize_t os_sem_op_attempt(const struct os_call *call, int64_t timeout_ns);
ssize_t os_msg_send_attempt(const struct os_call *call, int64_t timeout_ns);
ssize_t os_msg_receive_attempt(const struct os_call *call, int64_t timeout_ns);
/* Return 0 if the number at the address is not the expected one, or was not
 * for a moment, and -EAGAIN if the time is up. */
ssize_t os_futex_wait_attempt(const struct os_call *call, int64_t timeout_ns);

/* os_clock_ns() is CLOCK_MONOTONIC.  os_time() is in seconds since the epoch,
 * like the kernel's records. */
int64_t os_clock_ns(void);
int64_t os_time(void);
int os_sleep_ns(int64_t duration_ns);

/* Get 32 bits from the kernel's random number generator. */
int os_random_bits(uint32_t *bits);

/* Make a key from the inode of a path, ftok(3). */
int os_ftok(const char *path, int id, key_t *key);

/* The numbers of a namespace of this thread.  The inode may be used again
 * after the namespace has ended; the id never is, but kernels before 6.18 have
 * no ids.  A number is 0 if it is unknown. */
enum os_namespace_kind {
    OS_NAMESPACE_IPC,
    OS_NAMESPACE_USER,
};
struct os_namespace {
    uint64_t inode, id;
};
struct os_namespace os_namespace(enum os_namespace_kind kind);
/* The better of the two numbers of the IPC namespace, for comparisons in one
 * process. */
static inline uint64_t
os_namespace_number(void)
{
    struct os_namespace namespace = os_namespace(OS_NAMESPACE_IPC);
    return namespace.id != 0 ? namespace.id : namespace.inode;
}
/* Read the boot id, which the kernel chooses when it starts: at most size - 1
 * characters, or an empty text if /proc is not available. */
void os_boot_id(char *text, size_t size);

/* An exclusive lock for all processes of this IPC namespace.  The kernel
 * releases it when its holder dies.  os_namespace_lock() makes one attempt.
 * It returns a descriptor for os_namespace_unlock(), -EWOULDBLOCK if another
 * process holds the lock, or another error if the lock is not available. */
int os_namespace_lock(void);
void os_namespace_unlock(int lock);

#endif
