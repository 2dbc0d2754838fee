/* Ending a wait: deadlines, ticks and cancelling for calls that can only be
 * ended by a signal.
 *
 * A wait that has a deadline the kernel does not keep has a timer of its own
 * (timer_create(2), SIGEV_THREAD_ID): it signals the thread that waits, again
 * and again until the call has ended, because a signal that comes before the
 * call has begun interrupts nothing.  Cancelling does the same from the
 * thread that cancels.  So there is no thread that watches, nothing to end
 * with the process, and nothing that a fork has to bring along.
 *
 * The signal's handler does nothing; it is installed with SA_RESTART, and
 * only threads that wait are signalled.  Where no signal is to be had, waits
 * are attempts with naps between them.
 *
 * wait_first and what hangs on it is guarded by wait_lock, which a fork waits
 * for; in_call and cancelled are atomic, and their order is what makes sure
 * that either the call sees the cancelling or the cancelling sees the call. */
#include "os.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/syscall.h>
#define HAVE_THREAD_TIMERS
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif
#endif

/* A signal that came before the call began is sent again after this. */
#define AGAIN_NS 500000
/* Naps between attempts, where there is no signal. */
#define NAP_MIN_NS 20000
#define NAP_MAX_NS 1000000
/* How often the main thread looks for what interrupted it just before the
 * call: from one to the other.  Each time it loses its turn. */
#define TICK_MIN_NS 16000000
#define TICK_MAX_NS 128000000

/* What others end so soon costs all of them less where the thread does not go
 * to sleep for it, nor needs a signal: it tries again and again. */
#define SPIN_NS 20000
#define SPIN_PAUSES 20
/* After so many waits in a row that this was of no use for, only one in so
 * many does it. */
#define SPIN_FAILURES 8
#define SPIN_SELDOM 64

/* How many waits in a row have spun in vain, or not at all. */
static atomic_uint wait_spun_in_vain;
/* The signal; 0 before it is chosen, OS_WAIT_POLLS for none. */
static atomic_int wait_signal;
static pthread_mutex_t wait_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t wait_once = PTHREAD_ONCE_INIT;
static struct os_wait *wait_first;
/* The thread that forks; guarded by wait_lock. */
static pid_t wait_forking;
/* The main thread has a timer in each of its waits, for its ticks: it keeps
 * it.  Nobody else touches it; where a handler of signals waits in the middle
 * of a wait, that one's timer is not armed. */
static struct os_timer wait_main_timer;

static pid_t
thread_id(void)
{
#ifdef __linux__
    return (pid_t)syscall(SYS_gettid);
#else
    return getpid();
#endif
}

/* ---------------------------------------------------------------- forking */

static void
before_fork(void)
{
    (void)pthread_mutex_lock(&wait_lock);
    wait_forking = thread_id();
}

static void
after_fork_in_parent(void)
{
    (void)pthread_mutex_unlock(&wait_lock);
}

/* Only the thread that forked is here, and its timers are not: a handler of
 * signals may have forked in the middle of a wait. */
static void
after_fork_in_child(void)
{
    struct os_wait *all = wait_first, *next;
    wait_first = NULL;
    wait_main_timer.made = false;
    for (struct os_wait *wait = all; wait != NULL; wait = next) {
        next = wait->next;
        if (wait->thread == wait_forking) {
            wait->thread = thread_id();
            wait->own_timer.made = false;
            wait->previous = NULL;
            wait->next = wait_first;
            if (wait_first != NULL) {
                wait_first->previous = wait;
            }
            wait_first = wait;
        }
    }
    (void)pthread_mutex_unlock(&wait_lock);
}

static void
set_up(void)
{
    (void)pthread_atfork(before_fork, after_fork_in_parent,
                         after_fork_in_child);
}

/* ------------------------------------------------------------- the signal */

static void
on_signal(int number)
{
    (void)number;
}

static bool
is_ours(int number)
{
    struct sigaction action;
    return sigaction(number, NULL, &action) == 0 &&
           action.sa_handler == on_signal;
}

/* 0, -EBUSY where it has a handler already, -EINVAL for one that means
 * something to the system or is none, or another error. */
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
    if (action.sa_handler != SIG_DFL) {
        return -EBUSY;
    }
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    (void)sigemptyset(&action.sa_mask);
    return sigaction(number, &action, NULL) == -1 ? -errno : 0;
}

/* The last realtime signals are the least used ones; the very last is
 * valgrind's. */
static int
choose(void)
{
#ifdef HAVE_THREAD_TIMERS
    for (int number = SIGRTMAX - 1; number > SIGRTMIN; number--) {
        if (take(number) == 0) {
            return number;
        }
    }
#endif
    return OS_WAIT_POLLS;
}

int
os_wait_get_signal(void)
{
    int number = atomic_load(&wait_signal);
    if (number == 0) {
        int none = 0;
        (void)pthread_once(&wait_once, set_up);
        int chosen = choose();
        if (atomic_compare_exchange_strong(&wait_signal, &none, chosen)) {
            return chosen;
        }
        return none;
    }
    return number;
}

int
os_wait_set_signal(int number)
{
    (void)os_wait_get_signal();
#ifdef HAVE_THREAD_TIMERS
    int rc = number == OS_WAIT_POLLS ? 0 : take(number);
#else
    int rc = number == OS_WAIT_POLLS ? 0 : -ENOSYS;
#endif
    /* The signal that was used so far keeps its handler: a timer may still
     * send it. */
    if (rc == 0) {
        atomic_store(&wait_signal, number);
    }
    return rc;
}

/* ------------------------------------------------------------- the timers */

#ifdef HAVE_THREAD_TIMERS

static struct timespec
as_timespec(int64_t duration_ns)
{
    return (struct timespec){
        .tv_sec = (time_t)(duration_ns / 1000000000),
        .tv_nsec = (long)(duration_ns % 1000000000),
    };
}

static int
make_timer(struct os_timer *timer, const struct os_wait *wait)
{
    struct sigevent event = {
        .sigev_notify = SIGEV_THREAD_ID,
        .sigev_signo = wait->signal,
    };
    event.sigev_notify_thread_id = wait->thread;
    timer->signal = wait->signal;
    timer->made = timer_create(CLOCK_MONOTONIC, &event, &timer->id) == 0;
    return timer->made ? 0 : -errno;
}

static void
delete_timer(struct os_timer *timer)
{
    if (timer->made) {
        (void)timer_delete(timer->id);
        timer->made = false;
    }
}

/* Signal this thread after so long, and again until disarm(). */
static int
arm(struct os_wait *wait, int64_t duration_ns)
{
    struct os_timer *timer = wait->timer;
    if (timer->signal != wait->signal) {
        delete_timer(timer);
    }
    int rc = timer->made ? 0 : make_timer(timer, wait);
    if (rc < 0) {
        return rc;
    }
    struct itimerspec times = {
        /* 0 would be never. */
        .it_value = as_timespec(duration_ns > 0 ? duration_ns : 1),
        .it_interval = as_timespec(AGAIN_NS),
    };
    return timer_settime(timer->id, 0, &times, NULL) == -1 ? -errno : 0;
}

static void
disarm(struct os_wait *wait)
{
    struct itimerspec never = {.it_value = {0, 0}};
    if (wait->timer->made) {
        (void)timer_settime(wait->timer->id, 0, &never, NULL);
    }
}

static void
interrupt(const struct os_wait *wait)
{
    (void)syscall(SYS_tgkill, getpid(), wait->thread, wait->signal);
}

#else

static int
arm(struct os_wait *wait, int64_t duration_ns)
{
    (void)wait;
    (void)duration_ns;
    return -ENOSYS;
}

static void
disarm(struct os_wait *wait)
{
    (void)wait;
}

static void
delete_timer(struct os_timer *timer)
{
    (void)timer;
}

static void
interrupt(const struct os_wait *wait)
{
    (void)wait;
}

#endif

/* -------------------------------------------------------------- the waits */

int
os_wait_begin(struct os_wait *wait, const void *owner)
{
    *wait = (struct os_wait){
        .owner = owner,
        .thread = thread_id(),
        .signal = os_wait_get_signal(),
        .nap_ns = NAP_MIN_NS,
        .tick_ns = TICK_MIN_NS,
    };
    /* Handlers of signals run in the main thread only. */
    wait->ticks = wait->thread == getpid();
    wait->timer = wait->ticks ? &wait_main_timer : &wait->own_timer;
    int taken = 0;
    if (wait->signal != OS_WAIT_POLLS && !is_ours(wait->signal)) {
        taken = wait->signal;
        wait->signal = OS_WAIT_POLLS;
        atomic_store(&wait_signal, OS_WAIT_POLLS);
    }
    (void)pthread_mutex_lock(&wait_lock);
    wait->next = wait_first;
    if (wait_first != NULL) {
        wait_first->previous = wait;
    }
    wait_first = wait;
    (void)pthread_mutex_unlock(&wait_lock);
    return taken;
}

void
os_wait_end(struct os_wait *wait)
{
    (void)pthread_mutex_lock(&wait_lock);
    if (wait->previous != NULL) {
        wait->previous->next = wait->next;
    }
    else {
        wait_first = wait->next;
    }
    if (wait->next != NULL) {
        wait->next->previous = wait->previous;
    }
    (void)pthread_mutex_unlock(&wait_lock);
    delete_timer(&wait->own_timer);
}

static bool
would_wait(ssize_t rc)
{
    return rc == -EAGAIN || rc == -ENOMSG;
}

static void
pause_briefly(void)
{
    for (int i = 0; i < SPIN_PAUSES; i++) {
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        __asm__ volatile("yield");
#endif
    }
}

/* Try again and again for a moment: what the call returns, -EAGAIN or -ENOMSG
 * where it has to wait longer. */
static ssize_t
spin(const struct os_wait *wait, const struct os_call *call, int64_t left_ns)
{
    unsigned int vain =
        atomic_fetch_add_explicit(&wait_spun_in_vain, 1, memory_order_relaxed);
    if (vain >= SPIN_FAILURES && vain % SPIN_SELDOM != 0) {
        return -EAGAIN;
    }
    bool short_one = left_ns != OS_FOREVER && left_ns < SPIN_NS;
    int64_t end_ns = os_clock_ns() + (short_one ? left_ns : SPIN_NS);
    ssize_t rc = -EAGAIN;
    while (would_wait(rc) && !atomic_load(&wait->cancelled) &&
           os_clock_ns() < end_ns) {
        pause_briefly();
        rc = call->attempt(call, 0);
    }
    if (!would_wait(rc)) {
        atomic_store_explicit(&wait_spun_in_vain, 0, memory_order_relaxed);
    }
    return rc;
}

/* One attempt, and a nap where it would have had to wait.  What keeps
 * deadlines itself naps in the call; it has not waited at all where an
 * operation has IPC_NOWAIT of its own. */
static ssize_t
attempt_and_nap(struct os_wait *wait, const struct os_call *call,
                int64_t left_ns)
{
    if (atomic_load(&wait->cancelled)) {
        return -ECANCELED;
    }
    bool last = left_ns != OS_FOREVER && left_ns <= wait->nap_ns;
    int64_t nap_ns = last ? left_ns : wait->nap_ns;
    int64_t start_ns = os_clock_ns();
    ssize_t rc = call->attempt(call, call->keeps_deadline ? nap_ns : 0);
    if (!would_wait(rc) || left_ns == 0) {
        return rc;
    }
    if (!call->keeps_deadline) {
        (void)os_sleep_ns(nap_ns);
    }
    else if (last || os_clock_ns() - start_ns < nap_ns) {
        return rc;
    }
    wait->nap_ns = nap_ns * 2 > NAP_MAX_NS ? NAP_MAX_NS : nap_ns * 2;
    return -EINTR;
}

/* The call, from which the signal ends it; the timer is disarmed after. */
static ssize_t
call_interruptibly(struct os_wait *wait, const struct os_call *call,
                   int64_t left_ns)
{
    sigset_t ours, before;
    (void)sigemptyset(&ours);
    (void)sigaddset(&ours, wait->signal);
    (void)pthread_sigmask(SIG_UNBLOCK, &ours, &before);
    ssize_t rc = -ECANCELED;
    atomic_store(&wait->in_call, true);
    if (!atomic_load(&wait->cancelled)) {
        rc = call->attempt(call, left_ns);
    }
    atomic_store(&wait->in_call, false);
    disarm(wait);
    if (sigismember(&before, wait->signal) == 1) {
        /* None is to be left pending for a program that waits for signals
         * itself: who cancels sends no more once it has left the lock. */
        (void)pthread_mutex_lock(&wait_lock);
        (void)pthread_mutex_unlock(&wait_lock);
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    return rc == -EINTR && atomic_load(&wait->cancelled) ? -ECANCELED : rc;
}

ssize_t
os_wait_call(struct os_wait *wait, const struct os_call *call, int64_t left_ns)
{
    /* Who ends it says so before os_wait_cancel(). */
    if (call->ended != NULL && atomic_load(call->ended)) {
        return -ECANCELED;
    }
    if (!wait->spun && left_ns != 0) {
        wait->spun = true;
        int64_t start_ns = os_clock_ns();
        ssize_t rc = spin(wait, call, left_ns);
        if (!would_wait(rc)) {
            return rc;
        }
        if (left_ns != OS_FOREVER) {
            left_ns -= os_clock_ns() - start_ns;
            left_ns = left_ns < 0 ? 0 : left_ns;
        }
    }
    if (wait->signal == OS_WAIT_POLLS || left_ns == 0) {
        return attempt_and_nap(wait, call, left_ns);
    }
    int64_t alarm_ns = call->keeps_deadline ? OS_FOREVER : left_ns;
    if (wait->ticks && (alarm_ns == OS_FOREVER || alarm_ns > wait->tick_ns)) {
        alarm_ns = wait->tick_ns;
        wait->tick_ns *= wait->tick_ns < TICK_MAX_NS ? 2 : 1;
    }
    if (alarm_ns != OS_FOREVER && arm(wait, alarm_ns) < 0) {
        return attempt_and_nap(wait, call, left_ns);
    }
    return call_interruptibly(wait, call, left_ns);
}

bool
os_wait_cancel(const void *owner)
{
    bool any = false;
    (void)pthread_mutex_lock(&wait_lock);
    for (struct os_wait *wait = wait_first; wait != NULL; wait = wait->next) {
        if (wait->owner == owner) {
            atomic_store(&wait->cancelled, true);
            any = true;
        }
    }
    (void)pthread_mutex_unlock(&wait_lock);
    return any;
}

bool
os_wait_interrupt(const void *owner)
{
    bool waiting = false;
    int64_t now_ns = os_clock_ns();
    (void)pthread_mutex_lock(&wait_lock);
    for (struct os_wait *wait = wait_first; wait != NULL; wait = wait->next) {
        if (wait->owner == owner && atomic_load(&wait->cancelled) &&
            atomic_load(&wait->in_call)) {
            if (now_ns >= wait->again_ns) {
                interrupt(wait);
                wait->again_ns = now_ns + AGAIN_NS;
            }
            waiting = true;
        }
    }
    (void)pthread_mutex_unlock(&wait_lock);
    return waiting;
}
