/* Ending a wait: deadlines, ticks and cancellation of calls that only a signal
 * can end.
 *
 * If the kernel does not keep the deadline of a call, alarm.c interrupts the
 * call when its time has come, and repeatedly until it has ended, because a
 * signal that arrives before the call begins interrupts nothing.  Cancellation
 * does the same from the cancelling thread.  If there is no signal for a call
 * (signal.c), the wait tries repeatedly and sleeps in between.
 *
 * The list contains only calls in progress: os_wait_call() adds a call and
 * removes it, and no Python code runs in between.  So a thread that ends
 * between two calls, or a stack that is switched away, is never in the list.
 *
 * os_wait_lock protects the list.  in_call and an owner's cancels are atomic,
 * and their order ensures that either the call sees the cancellation or the
 * cancellation sees the call. */
#include "os/wait/list.h"

#include <errno.h>
#include <signal.h>

/* The shortest and the longest sleep between attempts, without a signal. */
#define NAP_MIN_NS 20000
#define NAP_MAX_NS 1000000
/* The shortest and the longest time after which the main thread checks for a
 * signal that arrived just before the call.  Each check costs it its turn. */
#define TICK_MIN_NS 16000000
#define TICK_MAX_NS 128000000

/* The time for which a thread tries repeatedly before it blocks.  If the wait
 * ends within that time, not sleeping costs all participants less. */
#define SPIN_NS 20000
#define SPIN_PAUSES 20
/* After SPIN_FAILURES waits in a row for which that did not help, only one
 * wait in SPIN_SELDOM does it. */
#define SPIN_FAILURES 8
#define SPIN_SELDOM 64

static pthread_once_t wait_once = PTHREAD_ONCE_INIT;
/* The number of waits in a row for which spinning did not help. */
static atomic_uint wait_spun_in_vain;
/* The thread that forks; os_wait_lock protects it. */
static pid_t wait_forking;
/* The number of threads between os_wait_call() and os_wait_back(). */
static atomic_int wait_away;
_Atomic pid_t os_wait_finisher;
static atomic_bool wait_finish_claimed;
/* The time when the interpreter began to end, in milliseconds, 32 bits; set
 * before os_wait_finisher. */
static _Atomic uint32_t wait_finish_ms;

/* ---------------------------------------------------------------- forking */

static void
before_fork(void)
{
    (void)pthread_mutex_lock(&os_wait_lock);
    wait_forking = os_thread_id();
}

static void
after_fork_in_parent(void)
{
    (void)pthread_mutex_unlock(&os_wait_lock);
}

/* The child has only the thread that forked, and no timer.  A signal handler
 * that is not Python's may have forked in the middle of a call. */
static void
after_fork_in_child(void)
{
    struct os_wait *all = os_wait_first, *next;
    os_wait_first = NULL;
    atomic_store(&wait_away, 0);
    os_alarm_forget();
    for (struct os_wait *wait = all; wait != NULL; wait = next) {
        next = wait->next;
        if (wait->thread == wait_forking) {
            wait->thread = os_thread_id();
            wait->previous = NULL;
            wait->next = os_wait_first;
            if (os_wait_first != NULL) {
                os_wait_first->previous = wait;
            }
            os_wait_first = wait;
            (void)atomic_fetch_add(&wait_away, 1);
        }
    }
    if (atomic_load(&os_wait_finisher) != 0) {
        /* If the thread that ends the interpreter has forked, it ends the
         * interpreter in the child too. */
        bool same = atomic_load(&os_wait_finisher) == wait_forking;
        atomic_store(&os_wait_finisher, same ? os_thread_id() : 0);
    }
    (void)pthread_mutex_unlock(&os_wait_lock);
}

static void
set_up(void)
{
    (void)pthread_atfork(before_fork, after_fork_in_parent,
                         after_fork_in_child);
}

void
os_wait_set_up(void)
{
    (void)pthread_once(&wait_once, set_up);
}

/* --------------------------------------------------------------- the list */

static void
link_wait(struct os_wait *wait)
{
    (void)atomic_fetch_add(&wait_away, 1);
    (void)pthread_mutex_lock(&os_wait_lock);
    wait->previous = NULL;
    wait->next = os_wait_first;
    if (os_wait_first != NULL) {
        os_wait_first->previous = wait;
    }
    os_wait_first = wait;
    (void)pthread_mutex_unlock(&os_wait_lock);
}

static void
unlink_wait(struct os_wait *wait)
{
    (void)pthread_mutex_lock(&os_wait_lock);
    if (wait->previous != NULL) {
        wait->previous->next = wait->next;
    }
    else {
        os_wait_first = wait->next;
    }
    if (wait->next != NULL) {
        wait->next->previous = wait->previous;
    }
    wait->alarm_ns = OS_FOREVER;
    (void)pthread_mutex_unlock(&os_wait_lock);
}

/* -------------------------------------------------------------- the waits */

int
os_wait_begin(struct os_wait *wait, struct os_wait_owner *owner, bool ticks)
{
    *wait = (struct os_wait){
        .owner = owner,
        .cancels = atomic_load(&owner->cancels),
        .thread = os_thread_id(),
        .ticks = ticks,
        .alarm_ns = OS_FOREVER,
        .nap_ns = NAP_MIN_NS,
        .tick_ns = TICK_MIN_NS,
    };
    if (pthread_sigmask(SIG_SETMASK, NULL, &wait->blocked) != 0) {
        (void)sigfillset(&wait->blocked);
    }
    wait->signal = os_signal_get(&wait->blocked);
    if (wait->signal != OS_WAIT_POLLS && !os_signal_is_ours(wait->signal)) {
        os_signal_give_up(wait->signal);
        return wait->signal;
    }
    return 0;
}

static bool
would_wait(ssize_t rc)
{
    return rc == -EAGAIN || rc == -ENOMSG;
}

bool
os_wait_is_cancelled(const struct os_wait *wait)
{
    return atomic_load(&wait->owner->cancels) != wait->cancels ||
           atomic_load(&wait->owner->cancelled);
}

bool
os_wait_may_block(const struct os_wait *wait)
{
    pid_t finisher = atomic_load(&os_wait_finisher);
    return finisher == 0 || finisher == wait->thread;
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

/* Try repeatedly for a moment: the result of the call, -EAGAIN or -ENOMSG
 * if the call must wait longer. */
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
    while (would_wait(rc) && !os_wait_is_cancelled(wait) &&
           os_wait_may_block(wait) && os_clock_ns() < end_ns) {
        pause_briefly();
        rc = call->attempt(call, 0);
    }
    if (!would_wait(rc)) {
        atomic_store_explicit(&wait_spun_in_vain, 0, memory_order_relaxed);
    }
    return rc;
}

/* Try once, and sleep if the call would block.  A call that keeps deadlines
 * sleeps in the kernel; it has not slept if one of its operations has
 * IPC_NOWAIT. */
static ssize_t
attempt_and_nap(struct os_wait *wait, const struct os_call *call,
                int64_t left_ns)
{
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

/* Return true if the signal can interrupt this thread.  If the thread
 * blocks it, it is unblocked only if the program has chosen it with
 * set_wait_signal(). */
static bool
has_signal(struct os_wait *wait)
{
    if (wait->signal == OS_WAIT_POLLS || !os_signal_is_ours(wait->signal) ||
        pthread_sigmask(SIG_SETMASK, NULL, &wait->blocked) != 0) {
        return false;
    }
    if (sigismember(&wait->blocked, wait->signal) == 0) {
        return true;
    }
    sigset_t ours;
    (void)sigemptyset(&ours);
    (void)sigaddset(&ours, wait->signal);
    wait->unblocked = os_signal_was_named() &&
                      pthread_sigmask(SIG_UNBLOCK, &ours, NULL) == 0;
    return wait->unblocked;
}

/* Block the signal again.  No signal may stay pending, because the program may
 * wait for signals itself.  No more signals are sent now, and a pending one is
 * handled when a system call returns. */
static void
block_again(struct os_wait *wait)
{
    if (wait->unblocked) {
        (void)os_thread_id();
        (void)pthread_sigmask(SIG_SETMASK, &wait->blocked, NULL);
        wait->unblocked = false;
    }
}

/* Make the call, which the signal can interrupt. */
static ssize_t
call_interruptibly(struct os_wait *wait, const struct os_call *call,
                   int64_t left_ns)
{
    int64_t alarm_ns = call->keeps_deadline ? OS_FOREVER : left_ns;
    if (wait->ticks && (alarm_ns == OS_FOREVER || alarm_ns > wait->tick_ns)) {
        alarm_ns = wait->tick_ns;
        wait->tick_ns *= wait->tick_ns < TICK_MAX_NS ? 2 : 1;
    }
    if (alarm_ns != OS_FOREVER && os_alarm_set(wait, alarm_ns) < 0) {
        return attempt_and_nap(wait, call, left_ns);
    }
    ssize_t rc = -EINTR;
    atomic_store(&wait->in_call, true);
    if (!os_wait_is_cancelled(wait) && os_wait_may_block(wait)) {
        rc = call->attempt(call, left_ns);
    }
    atomic_store(&wait->in_call, false);
    os_alarm_clear(wait);
    return rc;
}

static ssize_t
call_linked(struct os_wait *wait, const struct os_call *call, int64_t left_ns)
{
    if (os_wait_is_cancelled(wait)) {
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
    if (!os_wait_may_block(wait)) {
        return -EINTR;
    }
    if (left_ns == 0 || !has_signal(wait)) {
        return attempt_and_nap(wait, call, left_ns);
    }
    return call_interruptibly(wait, call, left_ns);
}

ssize_t
os_wait_call(struct os_wait *wait, const struct os_call *call, int64_t left_ns)
{
    link_wait(wait);
    ssize_t rc = call_linked(wait, call, left_ns);
    unlink_wait(wait);
    block_again(wait);
    return rc == -EINTR && os_wait_is_cancelled(wait) ? -ECANCELED : rc;
}

void
os_wait_back(void)
{
    (void)atomic_fetch_sub(&wait_away, 1);
}

/* ------------------------------------------------------ ending many waits */

/* Interrupt the calls that were cancelled for an owner or, with NULL, those
 * that the end of the interpreter ends.  Return true if there are any. */
static bool
interrupt_calls(const struct os_wait_owner *owner)
{
    bool any = false;
    int64_t now_ns = os_clock_ns();
    (void)pthread_mutex_lock(&os_wait_lock);
    for (struct os_wait *wait = os_wait_first; wait != NULL;
         wait = wait->next) {
        bool ends = owner != NULL
                        ? wait->owner == owner && os_wait_is_cancelled(wait)
                        : !os_wait_may_block(wait);
        if (ends && atomic_load(&wait->in_call)) {
            if (now_ns >= wait->again_ns) {
                os_signal_send(wait);
                wait->again_ns = now_ns + OS_WAIT_AGAIN_NS;
            }
            any = true;
        }
    }
    (void)pthread_mutex_unlock(&os_wait_lock);
    return any;
}

void
os_wait_cancel(struct os_wait_owner *owner)
{
    (void)atomic_fetch_add(&owner->cancels, 1);
}

bool
os_wait_interrupt(const struct os_wait_owner *owner)
{
    return interrupt_calls(owner);
}

void
os_wait_interrupt_later(const struct os_wait_owner *owner)
{
    (void)pthread_mutex_lock(&os_wait_lock);
    for (struct os_wait *wait = os_wait_first; wait != NULL;
         wait = wait->next) {
        if (wait->owner == owner) {
            (void)os_watch(wait, 0);
        }
    }
    (void)pthread_mutex_unlock(&os_wait_lock);
}

void
os_wait_finish(bool finish)
{
    if (!finish) {
        /* Threads that an earlier interpreter has ended do not return. */
        atomic_store(&wait_away, 0);
    }
    atomic_store(&wait_finish_ms, (uint32_t)(os_clock_ns() / 1000000));
    atomic_store(&os_wait_finisher, finish ? os_thread_id() : 0);
}

uint32_t
os_wait_finishing_ms(void)
{
    return (uint32_t)(os_clock_ns() / 1000000) - atomic_load(&wait_finish_ms);
}

bool
os_wait_claim_finish(void)
{
    return !atomic_exchange(&wait_finish_claimed, true);
}

bool
os_wait_interrupt_others(void)
{
    (void)interrupt_calls(NULL);
    return atomic_load(&wait_away) > 0;
}
