/* Ending a wait: deadlines, ticks and cancelling for calls that can only be
 * ended by a signal.
 *
 * A call that has a deadline the kernel does not keep is interrupted when its
 * time has come (alarm.c), again and again until it is over, because a
 * signal that comes before the call has begun interrupts nothing.  Cancelling
 * does the same from the thread that cancels.  If there is no signal for a
 * call (signal.c), the wait is attempts with naps between them.
 *
 * The list holds only calls that are being made: a call is put into it and
 * taken out of it by os_wait_call(), while no Python code can run.  A thread
 * that ends between two calls of its wait leaves nothing behind, and a stack
 * that is switched away has no place in the list.
 *
 * os_wait_first and what hangs on it is guarded by os_wait_lock.  in_call and
 * an owner's cancels are atomic, and their order makes sure that either the
 * call sees the cancelling or the cancelling sees the call. */
#include "os/wait/list.h"

#include <errno.h>
#include <signal.h>

/* Naps between attempts, if there is no signal. */
#define NAP_MIN_NS 20000
#define NAP_MAX_NS 1000000
/* How often the main thread looks for what interrupted it just before the
 * call: from one to the other.  Each time it loses its turn. */
#define TICK_MIN_NS 16000000
#define TICK_MAX_NS 128000000

/* What others end so soon costs all of them less if the thread does not go
 * to sleep for it, nor needs a signal: it tries again and again. */
#define SPIN_NS 20000
#define SPIN_PAUSES 20
/* After so many waits in a row that this was of no use for, only one in so
 * many does it. */
#define SPIN_FAILURES 8
#define SPIN_SELDOM 64

static pthread_once_t wait_once = PTHREAD_ONCE_INIT;
/* How many waits in a row have spun in vain, or not at all. */
static atomic_uint wait_spun_in_vain;
/* The thread that forks; guarded by os_wait_lock. */
static pid_t wait_forking;
/* How many threads are in os_wait_call(), or have not said os_wait_back(). */
static atomic_int wait_away;
_Atomic pid_t os_wait_finisher;
static atomic_bool wait_finish_claimed;
/* When it began to, set before it is one; 32 bits of milliseconds. */
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

/* Only the thread that forked is here, and the timer is not: a handler of
 * signals, not of Python's, may have forked in the middle of a call. */
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
        /* Only if it is the thread that ends the interpreter, which ends in
         * the child as well. */
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

/* Try again and again for a moment: what the call returns, -EAGAIN or -ENOMSG
 * if it has to wait longer. */
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

/* One attempt, and a nap if it would have had to wait.  What keeps
 * deadlines itself naps in the call; it has not waited at all if an
 * operation has IPC_NOWAIT of its own. */
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

/* Whether the signal can interrupt this thread.  A thread may block all
 * signals: the one that the program has named for us is unblocked then, any
 * other is not ours to receive. */
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

/* Block the signal again.  None is to be left pending for a program that waits
 * for signals itself: nobody sends more, and what has been sent is handled
 * when a system call returns. */
static void
block_again(struct os_wait *wait)
{
    if (wait->unblocked) {
        (void)os_thread_id();
        (void)pthread_sigmask(SIG_SETMASK, &wait->blocked, NULL);
        wait->unblocked = false;
    }
}

/* The call, from which the signal ends it. */
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

/* Interrupt the calls that an owner's cancelling ends, or for NULL those that
 * end with the interpreter: whether there are any. */
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
        /* Those that an interpreter before this one has ended do not come
         * back. */
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
