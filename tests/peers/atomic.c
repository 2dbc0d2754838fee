/* A peer for atomic numbers: atomic KEY, then commands; see peer.h.  It uses
 * <stdatomic.h> and futex(2), and no code of the library.  32-bit numbers are
 * unsigned, 64-bit numbers are signed. */
#include "peer.h"

#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

static char *memory;

static void
attach(key_t key)
{
    int id = shmget(key, 0, 0);
    void *address = id == -1 ? (void *)-1 : shmat(id, NULL, 0);
    if (address != (void *)-1) {
        memory = address;
    }
    answer(address == (void *)-1 ? -1 : id);
}

static _Atomic uint32_t *
narrow(const struct command *command)
{
    return (_Atomic uint32_t *)(void *)(memory + number(command, 1));
}

static _Atomic int64_t *
wide(const struct command *command)
{
    return (_Atomic int64_t *)(void *)(memory + number(command, 1));
}

static long
call_futex(_Atomic uint32_t *address, int operation, long value)
{
    return syscall(SYS_futex, address, operation, (uint32_t)value, NULL, NULL,
                   0);
}

/* Wait until the number changes, like a C program would. */
static void
wait_for_change(_Atomic uint32_t *address, uint32_t expected)
{
    while (atomic_load(address) == expected) {
        if (call_futex(address, FUTEX_WAIT, expected) == -1 &&
            errno != EAGAIN && errno != EINTR) {
            answer(-1);
            return;
        }
    }
    answer(atomic_load(address));
}

/* Add 1 to a plain number repeatedly, while holding a lock.  The lock is an
 * atomic number, 0 if it is free. */
static void
add_locked(const struct command *command)
{
    _Atomic uint32_t *lock = narrow(command);
    volatile int64_t *plain =
        (volatile int64_t *)(void *)(memory + number(command, 2));
    for (long i = 0; i < number(command, 3); i++) {
        uint32_t expected = 0;
        while (!atomic_compare_exchange_weak(lock, &expected, 2)) {
            (void)call_futex(lock, FUTEX_WAIT, expected);
            expected = 0;
        }
        *plain = *plain + 1;
        atomic_store(lock, 0);
        (void)call_futex(lock, FUTEX_WAKE, 1);
    }
    answer(0);
}

/* Add 1 to the 32-bit number and subtract 1 from the 64-bit number,
 * repeatedly. */
static void
count(const struct command *command)
{
    _Atomic uint32_t *up = narrow(command);
    _Atomic int64_t *down =
        (_Atomic int64_t *)(void *)(memory + number(command, 2));
    for (long i = 0; i < number(command, 3); i++) {
        atomic_fetch_add(up, 1);
        atomic_fetch_sub(down, 1);
    }
    answer(0);
}

static void
run_command(key_t key, const struct command *command)
{
    if (is(command, "attach")) {
        attach(key);
    }
    else if (is(command, "load32")) {
        answer(atomic_load(narrow(command)));
    }
    else if (is(command, "load64")) {
        printf("%lld", (long long)atomic_load(wide(command)));
        end_answer();
    }
    else if (is(command, "store32")) {
        atomic_store(narrow(command), (uint32_t)number(command, 2));
        answer(0);
    }
    else if (is(command, "add64")) {
        printf("%lld",
               (long long)atomic_fetch_add(wide(command), number(command, 2)));
        end_answer();
    }
    else if (is(command, "wait")) {
        wait_for_change(narrow(command), (uint32_t)number(command, 2));
    }
    else if (is(command, "wake")) {
        answer(call_futex(narrow(command), FUTEX_WAKE, number(command, 2)));
    }
    else if (is(command, "count")) {
        count(command);
    }
    else if (is(command, "add_locked")) {
        add_locked(command);
    }
}

int
main(int argc, char **argv)
{
    static struct command command;
    while (argc == 2 && next_command(&command)) {
        run_command((key_t)strtol(argv[1], NULL, 10), &command);
    }
    return 0;
}
