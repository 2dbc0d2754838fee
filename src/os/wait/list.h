/* Declarations that only the files of os/wait use: the list of calls in
 * progress, and interrupting a thread in a call. */
#ifndef SYSV_IPC_OS_WAIT_LIST_H
#define SYSV_IPC_OS_WAIT_LIST_H

#include "os/wait/wait.h"

#include <pthread.h>

/* The time after which a signal is sent again, because the first one may have
 * arrived before the call began. */
#define OS_WAIT_AGAIN_NS 500000

/* Protects the list that begins with os_wait_first, and the watcher; a fork
 * waits for it. */
extern pthread_mutex_t os_wait_lock;
extern struct os_wait *os_wait_first;

/* This thread's id, by which the kernel sends it a signal. */
pid_t os_thread_id(void);

/* signal.c: the signal in use, OS_WAIT_POLLS if there is none for a thread
 * that blocks these signals; and whether set_wait_signal() chose it. */
int os_signal_get(const sigset_t *blocked);
bool os_signal_was_named(void);
/* Return true if the signal still has our handler.  If it has none, it gets
 * our handler again. */
bool os_signal_is_ours(int number);
/* Record that the program uses this signal now: waits poll. */
void os_signal_give_up(int number);
/* Interrupt the call of a thread.  The caller holds os_wait_lock. */
void os_signal_send(const struct os_wait *wait);

/* alarm.c: interrupt the call after this duration, and repeatedly until it has
 * ended: 0, or -errno if that is impossible. */
int os_alarm_set(struct os_wait *wait, int64_t duration_ns);
/* End the alarm after the call.  The watcher's part ends when the wait leaves
 * the list. */
void os_alarm_clear(struct os_wait *wait);
/* Let the watcher interrupt the call at this time: 0, or -errno.  The caller
 * holds os_wait_lock. */
int os_watch(struct os_wait *wait, int64_t alarm_ns);
/* Forget the timer and the watcher, which a forked child does not have. */
void os_alarm_forget(void);

#endif
