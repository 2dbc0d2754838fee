/* Waiting in a system call that others can interrupt: deadlines, cancel(), and
 * the end of the interpreter. */
#ifndef SYSV_IPC_OS_WAIT_H
#define SYSV_IPC_OS_WAIT_H

#include "os/os.h"

/* The part of an object that all its waits share.  A wait ends if cancels has
 * changed since the wait began, or while cancelled is true. */
struct os_wait_owner {
    atomic_uint cancels;
    atomic_bool cancelled;
};

/* A wait, which makes one call after another.  Only wait.c uses its fields. */
struct os_wait {
    struct os_wait *next, *previous;
    struct os_wait_owner *owner;
    unsigned int cancels;
    pid_t thread;
    int signal;
    sigset_t blocked; /* by the thread, when it began its last call */
    bool ticks, spun, unblocked, has_timer;
    int64_t nap_ns, tick_ns;
    int64_t alarm_ns, again_ns; /* guarded as the list is */
    atomic_bool in_call;
};

/* No signal: a wait tries repeatedly and sleeps in between. */
#define OS_WAIT_POLLS (-1)

/* Call this first; further calls do nothing. */
void os_wait_set_up(void);
/* Begin a wait.  With ticks its calls are short, so that the thread can run
 * signal handlers in between.  Return 0; or the signal that waits have
 * used, if the program uses it now, so that waits poll. */
int os_wait_begin(struct os_wait *wait, struct os_wait_owner *owner,
                  bool ticks);
/* Return true if another thread, or a signal handler in this one, has
 * cancelled the wait. */
bool os_wait_is_cancelled(const struct os_wait *wait);
/* Return true if the wait may block, which it may not while its interpreter
 * ends. */
bool os_wait_may_block(const struct os_wait *wait);
/* Make the call, and wait at most left_ns: -EINTR if there is time left, so
 * that the caller checks for signals and calls again; -ECANCELED after
 * os_wait_cancel(), or while the owner is cancelled; otherwise the result
 * of the call, -EAGAIN or -ENOMSG when the time has passed.  The caller
 * calls os_wait_back() when it can use the result. */
ssize_t os_wait_call(struct os_wait *wait, const struct os_call *call,
                     int64_t left_ns);
void os_wait_back(void);
/* End all waits in progress of an owner.  Then call os_wait_interrupt()
 * repeatedly while it returns true; or os_wait_interrupt_later() once, which
 * leaves that to another thread. */
void os_wait_cancel(struct os_wait_owner *owner);
bool os_wait_interrupt(const struct os_wait_owner *owner);
void os_wait_interrupt_later(const struct os_wait_owner *owner);
/* Set whether the interpreter ends.  While it does, it may end the other
 * threads when they return from a call, so they may not block.
 * os_wait_interrupt_others() returns true while some of them are in a call. */
void os_wait_finish(bool finish);
/* The thread that ends the interpreter, which is the only one that may still
 * block; 0 if there is none. */
extern __attribute__((visibility("hidden"))) _Atomic pid_t os_wait_finisher;
/* Return true while the interpreter ends.  Then a call that may wait takes
 * nothing at once. */
static inline bool
os_wait_is_finishing(void)
{
    pid_t finisher =
        atomic_load_explicit(&os_wait_finisher, memory_order_relaxed);
    return __builtin_expect(finisher != 0, 0);
}
/* The number of milliseconds since the interpreter began to end. */
uint32_t os_wait_finishing_ms(void);
/* Return true for the first caller only: one function at the interpreter's end
 * is enough. */
bool os_wait_claim_finish(void);
bool os_wait_interrupt_others(void);
/* Return true in the first thread of the process. */
bool os_is_first_thread(void);
/* The signal that interrupts waits, or OS_WAIT_POLLS.  os_wait_set_signal()
 * returns 0 or an error: -EBUSY if the program uses the signal. */
int os_wait_get_signal(void);
int os_wait_set_signal(int number);

#endif
