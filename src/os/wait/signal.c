/* The signal that interrupts a blocked call: which one it is, and how it is
 * sent.
 *
 * Its handler does nothing and has SA_RESTART; it is sent to threads that wait
 * in this library and to no others.  It is a realtime signal without a handler
 * that the thread does not block: one that a program blocks is one that it may
 * receive by sigwait(3) or signalfd(2).
 *
 * Whoever sends it looks first whether the handler is still there, because the
 * program may have changed that since the wait began: without one the signal
 * would do nothing, or end the process.  For the same reason no timer of the
 * kernel sends it while other threads run.
 *
 * All here is atomic; a signal is taken, but never given back, because it may
 * still be on its way. */
#include "os/wait/list.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

/* The signal; 0 before it is chosen, OS_WAIT_POLLS for none. */
static atomic_int wait_signal;
/* Whether os_wait_set_signal() chose it. */
static atomic_bool wait_signal_named;

static void
on_signal(int number)
{
    (void)number;
}

#ifdef __linux__

#include <sys/syscall.h>

pid_t
os_thread_id(void)
{
    return (pid_t)syscall(SYS_gettid);
}

static int
send_to(pid_t thread, int number)
{
    return syscall(SYS_tgkill, getpid(), thread, number) == -1 ? -errno : 0;
}

static int
install(int number)
{
    struct sigaction action = {.sa_flags = SA_RESTART};
    action.sa_handler = on_signal;
    (void)sigemptyset(&action.sa_mask);
    return sigaction(number, &action, NULL) == -1 ? -errno : 0;
}

/* 0, -EBUSY if the program has a handler for it or ignores it, -EINVAL for
 * one that means something to the system or is none, or another error. */
static int
take(int number)
{
    static const int meaningful[] = {
        SIGABRT, SIGBUS, SIGCHLD, SIGCONT, SIGFPE,  SIGILL,
        SIGSEGV, SIGSYS, SIGTRAP, SIGTSTP, SIGTTIN, SIGTTOU,
    };
    struct sigaction action;
    for (size_t i = 0; i < sizeof(meaningful) / sizeof(int); i++) {
        if (number == meaningful[i]) {
            return -EINVAL;
        }
    }
    if (sigaction(number, NULL, &action) == -1) {
        return -errno;
    }
    if (action.sa_handler == on_signal) {
        return 0;
    }
    return action.sa_handler == SIG_DFL ? install(number) : -EBUSY;
}

/* Some systems let a handler be set for signals that cannot be sent, such as
 * user-mode qemu: try it.  A full queue of signals (EAGAIN) passes. */
static int
take_and_try(int number)
{
    int rc = take(number);
    if (rc < 0) {
        return rc;
    }
    rc = send_to(os_thread_id(), number);
    if (rc == 0 || rc == -EAGAIN) {
        return 0;
    }
    (void)signal(number, SIG_DFL);
    return rc;
}

/* The last realtime signals are the least used ones; the very last is
 * valgrind's.  *all_blocked says whether there is one that is only blocked. */
static int
choose(const sigset_t *blocked, bool *all_blocked)
{
    *all_blocked = false;
    for (int number = SIGRTMAX - 1; number > SIGRTMIN; number--) {
        if (sigismember(blocked, number) != 0) {
            *all_blocked = true;
        }
        else if (take_and_try(number) == 0) {
            return number;
        }
    }
    return OS_WAIT_POLLS;
}

bool
os_signal_is_ours(int number)
{
    struct sigaction action;
    return sigaction(number, NULL, &action) == 0 &&
           (action.sa_handler == on_signal ||
            (action.sa_handler == SIG_DFL && install(number) == 0));
}

/* The wait began with a signal that was ours.  If the program ignores it now,
 * it gets our handler back, which ignores it too. */
static bool
is_ours_again(int number)
{
    struct sigaction action;
    return os_signal_is_ours(number) ||
           (sigaction(number, NULL, &action) == 0 &&
            action.sa_handler == SIG_IGN && install(number) == 0);
}

static bool
try_to_send(const struct os_wait *wait, int number)
{
    return sigismember(&wait->blocked, number) == 0 && take(number) == 0 &&
           send_to(wait->thread, number) == 0;
}

void
os_signal_send(const struct os_wait *wait)
{
    /* Nobody misses their default actions; the first two have none. */
    static const int spare[] = {
        SIGURG,    SIGWINCH, SIGIO, SIGVTALRM, SIGPROF,
#ifdef SIGPWR
        SIGPWR,
#endif
#ifdef SIGSTKFLT
        SIGSTKFLT,
#endif
    };
    bool ours = is_ours_again(wait->signal);
    if (ours && send_to(wait->thread, wait->signal) == 0) {
        return;
    }
    /* The user's queue of signals is full (RLIMIT_SIGPENDING), which signals
     * below SIGRTMIN do not need; or the program has a handler for it now. */
    for (size_t i = 0; i < sizeof(spare) / sizeof(int); i++) {
        if (try_to_send(wait, spare[i])) {
            return;
        }
    }
    for (int number = SIGRTMAX - 1; !ours && number > SIGRTMIN; number--) {
        if (try_to_send(wait, number)) {
            return;
        }
    }
    /* The program has handlers for all of them.  Better that one of them is
     * called than that the wait does not end. */
    if (send_to(wait->thread, wait->signal) < 0) {
        (void)send_to(wait->thread, SIGURG);
    }
}

#else

pid_t
os_thread_id(void)
{
    return getpid();
}

static int
take(int number)
{
    (void)number;
    return -ENOSYS;
}

static int
choose(const sigset_t *blocked, bool *all_blocked)
{
    (void)blocked;
    *all_blocked = false;
    return OS_WAIT_POLLS;
}

bool
os_signal_is_ours(int number)
{
    (void)number;
    (void)on_signal;
    return false;
}

void
os_signal_send(const struct os_wait *wait)
{
    (void)wait;
}

#endif

int
os_signal_get(const sigset_t *blocked)
{
    int number = atomic_load(&wait_signal);
    if (number == 0) {
        int none = 0;
        bool all_blocked;
        int chosen = choose(blocked, &all_blocked);
        if (chosen == OS_WAIT_POLLS && all_blocked) {
            /* Another thread may not block them. */
            return chosen;
        }
        if (atomic_compare_exchange_strong(&wait_signal, &none, chosen)) {
            return chosen;
        }
        return none;
    }
    return number;
}

bool
os_signal_was_named(void)
{
    return atomic_load(&wait_signal_named);
}

void
os_signal_give_up(int number)
{
    (void)atomic_compare_exchange_strong(&wait_signal, &number, OS_WAIT_POLLS);
}

int
os_wait_get_signal(void)
{
    sigset_t blocked;
    (void)sigemptyset(&blocked);
    (void)pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    return os_signal_get(&blocked);
}

int
os_wait_set_signal(int number)
{
    int rc = number == OS_WAIT_POLLS ? 0 : take(number);
    if (rc == 0) {
        atomic_store(&wait_signal_named, number != OS_WAIT_POLLS);
        atomic_store(&wait_signal, number);
    }
    return rc;
}
