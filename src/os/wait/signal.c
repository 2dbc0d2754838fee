/* Choosing and sending the signal that interrupts a blocked call.
 *
 * Its handler does nothing and has SA_RESTART.  It is sent only to threads
 * that wait in this library.  It is a realtime signal without a handler that
 * the thread does not block, because a program may receive a blocked signal
 * with sigwait(3) or signalfd(2).
 *
 * Before each sending the handler is checked, because the program may have
 * changed it since the wait began: without a handler the signal would do
 * nothing, or end the process.  For the same reason no timer of the kernel
 * sends it while other threads run.
 *
 * All variables are atomic.  The handler of a signal is never removed,
 * because the signal may still be on its way. */
#include "os/wait/list.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

/* The signal; 0 before it is chosen, OS_WAIT_POLLS for none. */
static atomic_int wait_signal;
/* True if os_wait_set_signal() chose it. */
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

/* Install our handler: 0; -EBUSY if the program has a handler for the
 * signal or ignores it; -EINVAL if the signal has a meaning for the system
 * or does not exist; or another error. */
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

/* The same, and send the signal once: qemu-user allows a handler for
 * signals that cannot be sent.  A full queue of signals (EAGAIN) is not an
 * error. */
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

/* Choose one of the last realtime signals, which programs use least, except
 * the very last, which is valgrind's.  *all_blocked is true if a signal was
 * unsuitable only because it is blocked. */
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

/* The same for a wait that began while the signal had our handler.  If the
 * program ignores the signal now, it gets our handler again, which also does
 * nothing. */
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
    /* Signals whose default actions no program needs; the first two have
     * none. */
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
