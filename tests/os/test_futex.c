/* Tests of os/futex.c: threads and processes wait for a number to change. */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "check.h"

/* It is on a page that is shared with forked children. */
static _Atomic uint32_t *number;

static ssize_t
wait_for_number(struct os_wait_owner *owner, uint32_t expected,
                int64_t timeout_ns)
{
    struct os_call call = {
        .attempt = os_futex_wait_attempt,
        .keeps_deadline = OS_FUTEX_KEEPS_DEADLINE,
        .interval_ns = OS_FOREVER,
        .address = (const void *)number,
        .expected = expected,
    };
    return wait_for(owner, &call, timeout_ns);
}

static void
test_one_call(void)
{
    const void *address = (const void *)number;
    atomic_store(number, 7);
    CHECK_EQUAL(os_futex_wait(address, 8, OS_FOREVER), -EAGAIN);
    int64_t start_ns = os_clock_ns();
    CHECK_EQUAL(os_futex_wait(address, 7, 3000000), -ETIMEDOUT);
    CHECK(os_clock_ns() - start_ns >= 3000000);
    CHECK_EQUAL(os_futex_wake(address, 1), 0);
    CHECK_EQUAL(os_futex_wake((const char *)address + 1, 1), -EINVAL);
}

static void
test_attempts(void)
{
    struct os_call call = {.address = (const void *)number, .expected = 7};
    CHECK_EQUAL(os_futex_wait_attempt(&call, 0), -EAGAIN);
    CHECK_EQUAL(os_futex_wait_attempt(&call, 1000), -EAGAIN);
    call.expected = 8;
    CHECK_EQUAL(os_futex_wait_attempt(&call, 0), 0);
    CHECK_EQUAL(os_futex_wait_attempt(&call, OS_FOREVER), 0);
}

static void
test_deadlines(void)
{
    struct os_wait_owner owner = {0};
    int64_t start_ns = os_clock_ns();
    CHECK_EQUAL(wait_for_number(&owner, 7, 0), -EAGAIN);
    CHECK_EQUAL(wait_for_number(&owner, 7, 5000000), -EAGAIN);
    CHECK(os_clock_ns() - start_ns >= 5000000);
    CHECK_EQUAL(wait_for_number(&owner, 8, OS_FOREVER), 0);
}

#define ROUNDS 20000

/* Two processes increment the number alternately: an even number is the
 * parent's turn. */
static void
take_turns(uint32_t first)
{
    struct os_wait_owner owner = {0};
    for (uint32_t turn = first; turn < 2 * ROUNDS; turn += 2) {
        for (;;) {
            uint32_t now = atomic_load(number);
            if (now == turn) {
                break;
            }
            CHECK_EQUAL(wait_for_number(&owner, now, 30000000000), 0);
        }
        atomic_store(number, turn + 1);
        CHECK(os_futex_wake((const void *)number, 1) >= 0);
    }
}

static void
test_processes_take_turns(void)
{
    atomic_store(number, 0);
    pid_t child = fork();
    if (child == 0) {
        take_turns(1);
        _exit(0);
    }
    take_turns(0);
    int status = -1;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
}

static void *
wait_until_cancelled(void *owner)
{
    CHECK_EQUAL(wait_for_number(owner, 7, OS_FOREVER), -ECANCELED);
    return NULL;
}

/* cancel() ends waits without a deadline too.  A wake without a change does
 * not. */
static void
test_cancelling(void)
{
    pthread_t threads[4];
    struct os_wait_owner owner = {0};
    atomic_store(number, 7);
    for (int i = 0; i < 4; i++) {
        CHECK_EQUAL(
            pthread_create(&threads[i], NULL, wait_until_cancelled, &owner),
            0);
    }
    int woken = 0;
    while (woken < 100) {
        woken += os_futex_wake((const void *)number, 4);
    }
    for (int i = 0; i < 4; i++) {
        /* Some threads may not have begun to wait when the first cancel
         * comes. */
        while (pthread_tryjoin_np(threads[i], NULL) != 0) {
            os_wait_cancel(&owner);
            while (os_wait_interrupt(&owner)) {
                (void)os_sleep_ns(5000);
            }
        }
    }
}

int
main(void)
{
    os_wait_set_up();
    number = mmap(NULL, os_page_size(), PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(number != MAP_FAILED);
    test_one_call();
    test_attempts();
    test_deadlines();
    test_processes_take_turns();
    test_cancelling();
    return 0;
}
