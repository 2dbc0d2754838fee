/* Waiting for a 32-bit number in shared memory to change, futex(2), between
 * any processes that map it: never FUTEX_PRIVATE_FLAG.
 *
 * Where a system has no such call, os_futex_wait() only looks, and os/wait.c
 * naps between two looks; there nobody sleeps who could be woken. */
#include "os/os.h"

#include <errno.h>

static uint32_t
load(const void *address)
{
    return __atomic_load_n((const uint32_t *)address, __ATOMIC_SEQ_CST);
}

#ifdef __linux__

#include <sys/syscall.h>
#include <unistd.h>

/* From <linux/futex.h>, which not every C library brings along: musl leaves
 * the kernel's headers to another package. */
enum { FUTEX_WAIT_CODE = 0, FUTEX_WAKE_CODE = 1 };

/* A timeout as the kernel takes it, whatever the C library's struct timespec
 * is: that may have a time_t of 64 bits beside a long of 32.  The youngest
 * machines of 32 bits have only the call with 64; x32 has it in the first. */
#if !defined(SYS_futex)
#define SYS_futex SYS_futex_time64
typedef int64_t futex_word;
#elif defined(__x86_64__) && defined(__ILP32__)
typedef int64_t futex_word;
#else
typedef long futex_word;
#endif

int
os_futex_wait(const void *address, uint32_t expected, int64_t timeout_ns)
{
    /* Without a timeout the kernel would start the call again after a signal
     * whose handler has SA_RESTART, as that which ends waits: signal(7). */
    bool forever = timeout_ns == OS_FOREVER;
    struct {
        futex_word seconds, nanoseconds;
    } timeout = {
        .seconds = forever ? INT32_MAX : os_seconds(timeout_ns),
        .nanoseconds = forever ? 0 : (int)(timeout_ns % 1000000000),
    };
    return syscall(SYS_futex, address, FUTEX_WAIT_CODE, expected, &timeout,
                   NULL, 0) == -1
               ? -errno
               : 0;
}

int
os_futex_wake(const void *address, int count)
{
    long woken =
        syscall(SYS_futex, address, FUTEX_WAKE_CODE, count, NULL, NULL, 0);
    return woken == -1 ? -errno : (int)woken;
}

#else

int
os_futex_wait(const void *address, uint32_t expected, int64_t timeout_ns)
{
    (void)timeout_ns;
    return load(address) == expected ? -ETIMEDOUT : -EAGAIN;
}

int
os_futex_wake(const void *address, int count)
{
    (void)address;
    (void)count;
    return 0;
}

#endif

ssize_t
os_futex_wait_attempt(const struct os_call *call, int64_t timeout_ns)
{
    if (load(call->address) != call->expected) {
        return 0;
    }
    if (timeout_ns == 0) {
        return -EAGAIN;
    }
    int64_t start_ns = os_clock_ns(), left_ns = timeout_ns;
    for (;;) {
        bool looks = call->interval_ns != OS_FOREVER &&
                     (left_ns == OS_FOREVER || call->interval_ns < left_ns);
        int rc = os_futex_wait(call->address, call->expected,
                               looks ? call->interval_ns : left_ns);
        if (rc == -EAGAIN || load(call->address) != call->expected) {
            return 0;
        }
        if (rc != -ETIMEDOUT) {
            /* Woken while the number is what it was: wait on. */
            return rc == 0 ? -EINTR : rc;
        }
        if (!looks) {
            return -EAGAIN;
        }
        if (timeout_ns != OS_FOREVER) {
            left_ns = timeout_ns - (os_clock_ns() - start_ns);
            if (left_ns <= 0) {
                return -EAGAIN;
            }
        }
    }
}
