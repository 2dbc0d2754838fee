/* Wait for a 32-bit number in shared memory to change, futex(2).  The number
 * may be mapped by several processes, so FUTEX_PRIVATE_FLAG is never used.
 *
 * If a system has no such call, os_futex_wait() only reads the number, and
 * os/wait/wait.c sleeps between two calls.  There os_futex_wake() finds no
 * waiting threads. */
#include "os/os.h"

#include <errno.h>

static uint32_t
futex_load(const void *address)
{
    return __atomic_load_n((const uint32_t *)address, __ATOMIC_SEQ_CST);
}

#ifdef __linux__

#include <sys/syscall.h>
#include <unistd.h>

/* From <linux/futex.h>, which may be missing: the C library musl does not
 * include the kernel's headers. */
enum { FUTEX_WAIT_CODE = 0, FUTEX_WAKE_CODE = 1 };

/* A timeout as the kernel reads it.  The struct timespec of the C library may
 * differ: it may have a 64-bit time_t and a 32-bit long.  The newest 32-bit
 * machines have only futex_time64(2); on x32, futex(2) takes 64-bit
 * numbers. */
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
    /* Without a timeout the kernel would restart the call after a signal whose
     * handler has SA_RESTART, such as the signal that interrupts waits; see
     * signal(7). */
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
    return futex_load(address) == expected ? -ETIMEDOUT : -EAGAIN;
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
    if (futex_load(call->address) != call->expected) {
        return 0;
    }
    if (timeout_ns == 0) {
        return -EAGAIN;
    }
    int64_t start_ns = os_clock_ns(), left_ns = timeout_ns;
    for (;;) {
        bool polls = call->interval_ns != OS_FOREVER &&
                     (left_ns == OS_FOREVER || call->interval_ns < left_ns);
        int rc = os_futex_wait(call->address, call->expected,
                               polls ? call->interval_ns : left_ns);
        if (rc == -EAGAIN || futex_load(call->address) != call->expected) {
            return 0;
        }
        if (rc != -ETIMEDOUT) {
            /* Woken while the number is still the expected one: continue. */
            return rc == 0 ? -EINTR : rc;
        }
        if (!polls) {
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
