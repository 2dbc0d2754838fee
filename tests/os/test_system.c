/* Tests of os/system.c: the clock, random bits, ftok(3) and the lock of the
 * namespace. */
#include <signal.h>

#include "check.h"

static void
test_clock(void)
{
    int64_t start_ns = os_clock_ns();
    CHECK_EQUAL(os_sleep_ns(1000000), 0);
    CHECK(os_clock_ns() - start_ns >= 1000000);
}

static void
test_random_bits(void)
{
    uint32_t seen_one = 0, seen_zero = 0;
    for (int i = 0; i < 200; i++) {
        uint32_t bits;
        CHECK_EQUAL(os_random_bits(&bits), 0);
        seen_one |= bits;
        seen_zero |= ~bits;
    }
    CHECK_EQUAL(seen_one, UINT32_MAX);
    CHECK_EQUAL(seen_zero, UINT32_MAX);
}

static void
test_ftok(void)
{
    key_t key;
    CHECK_EQUAL(os_ftok("/", 7, &key), 0);
    CHECK_EQUAL(key, ftok("/", 7));
    CHECK_EQUAL(os_ftok("/no such file", 7, &key), -ENOENT);
}

/* Only one process can hold the lock, and the kernel releases it when that
 * process dies. */
static void
test_lock(void)
{
    int ready[2];
    char byte;
    CHECK_EQUAL(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        int held = os_namespace_lock();
        CHECK(held >= 0);
        CHECK_EQUAL(write(ready[1], "", 1), 1);
        (void)pause();
        _exit(1);
    }
    CHECK_EQUAL(read(ready[0], &byte, 1), 1);
    CHECK_EQUAL(os_namespace_lock(), -EWOULDBLOCK);
    CHECK_EQUAL(kill(child, SIGKILL), 0);
    CHECK_EQUAL(waitpid(child, NULL, 0), child);
    int lock = os_namespace_lock();
    CHECK(lock >= 0);
    os_namespace_unlock(lock);
}

/* A child that was forked meanwhile does not keep the lock. */
static void
test_unlock_with_a_child(void)
{
    int lock = os_namespace_lock();
    CHECK(lock >= 0);
    pid_t child = fork();
    if (child == 0) {
        (void)pause();
        _exit(1);
    }
    os_namespace_unlock(lock);
    int again = os_namespace_lock();
    CHECK(again >= 0);
    os_namespace_unlock(again);
    CHECK_EQUAL(kill(child, SIGKILL), 0);
    CHECK_EQUAL(waitpid(child, NULL, 0), child);
}

int
main(void)
{
    enter_namespace();
    test_clock();
    test_random_bits();
    test_ftok();
    test_lock();
    test_unlock_with_a_child();
    return 0;
}
