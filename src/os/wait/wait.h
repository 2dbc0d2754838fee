/* Waiting in a system call that others can interrupt: deadlines, cancel(), and
 * the end of the interpreter. */
#ifndef SYSV_IPC_OS_WAIT_H
#define SYSV_IPC_OS_WAIT_H

#include "os/os.h"

/* What an object's waits have in common: a part of the object.  A wait ends
 * when cancels is no longer what it was when the wait began, or while
 * cancelled is true. */
struct os_wait_owner {
    atomic_uint cancels;
    atomic_bool cancelled;
};

/* A wait, of one call after another.  The fields are wait.c's own. */
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

/* No signal: waits are attempts with naps between them. */
#define OS_WAIT_POLLS (-1)

/* Before anything else here is called, as often as one likes. */
void os_wait_set_up(void);
/* Begin a wait.  With ticks its calls do not last long: those of a thread that
 * runs handlers of signals in between.  Returns 0, or the signal that waits
 * have used so far and that the program now uses itself: from here on they
 * poll. */
int os_wait_begin(struct os_wait *wait, struct os_wait_owner *owner,
                  bool ticks);
/* Ended by another thread, or by a handler of signals in this one. */
bool os_wait_is_cancelled(const struct os_wait *wait);
/* Whether it may wait in a call: not in a thread whose interpreter ends. */
bool os_wait_may_block(const struct os_wait *wait);
/* Make the call, and wait at most so long.  -EINTR if there is time left:
 * look for signals and call again; -ECANCELED after os_wait_cancel(), or while
 * the owner is cancelled; else what it returns, -EAGAIN or -ENOMSG when
 * time is up.  After it, when the thread can use again what it has got, comes
 * os_wait_back(). */
ssize_t os_wait_call(struct os_wait *wait, const struct os_call *call,
                     int64_t left_ns);
void os_wait_back(void);
/* Let all waits in progress of an owner end.  Then os_wait_interrupt() has to
 * be called again and again while it returns true; or
 * os_wait_interrupt_later() once, which leaves that to another thread. */
void os_wait_cancel(struct os_wait_owner *owner);
bool os_wait_interrupt(const struct os_wait_owner *owner);
void os_wait_interrupt_later(const struct os_wait_owner *owner);
/* The interpreter ends, and may end the other threads when they come back from
 * a call: from here on they may not wait in one (or may again).  Then
 * os_wait_interrupt_others() says whether there are any that have not come
 * back. */
void os_wait_finish(bool finish);
/* The thread that ends the interpreter, the only one that may still wait; 0
 * while it does not end. */
extern __attribute__((visibility("hidden"))) _Atomic pid_t os_wait_finisher;
/* Whether it ends: then nothing is taken at once by a call that may wait. */
static inline bool
os_wait_is_finishing(void)
{
    pid_t finisher =
        atomic_load_explicit(&os_wait_finisher, memory_order_relaxed);
    return __builtin_expect(finisher != 0, 0);
}
/* For how many milliseconds it has been ending. */
uint32_t os_wait_finishing_ms(void);
/* True for the first who asks: only one needs to see to the end. */
bool os_wait_claim_finish(void);
bool os_wait_interrupt_others(void);
/* Whether this is the thread that the process began with. */
bool os_is_first_thread(void);
/* The signal that ends waits, or OS_WAIT_POLLS.  os_wait_set_signal() returns
 * 0 or an error, -EBUSY if the program uses that signal. */
int os_wait_get_signal(void);
int os_wait_set_signal(int number);

#endif
