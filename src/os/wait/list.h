/* What the files of os/wait share, and no other: the list of the calls in
 * progress, and how a thread is interrupted in one. */
#ifndef SYSV_IPC_OS_WAIT_LIST_H
#define SYSV_IPC_OS_WAIT_LIST_H

#include "os/wait/wait.h"

#include <pthread.h>

/* A signal that came before the call began is sent again after this. */
#define OS_WAIT_AGAIN_NS 500000

/* Guards os_wait_first, what hangs on it, and the watcher; a fork waits for
 * it. */
extern pthread_mutex_t os_wait_lock;
extern struct os_wait *os_wait_first;

/* This thread's id, by which the kernel sends it a signal. */
pid_t os_thread_id(void);

/* signal.c: the signal that is used, OS_WAIT_POLLS if there is none for
 * a thread that blocks these; and whether the program has named it. */
int os_signal_get(const sigset_t *blocked);
bool os_signal_was_named(void);
/* Whether the signal still has our handler; it gets it back if it has none. */
bool os_signal_is_ours(int number);
/* From here on the program uses this one, and waits poll. */
void os_signal_give_up(int number);
/* Interrupt the call that a thread is in.  With os_wait_lock. */
void os_signal_send(const struct os_wait *wait);

/* alarm.c: interrupt the call after so long, and again until it is over:
 * 0, or -errno if nothing can do it. */
int os_alarm_set(struct os_wait *wait, int64_t duration_ns);
/* After the call; what the watcher does ends when the wait leaves the list. */
void os_alarm_clear(struct os_wait *wait);
/* Let the watcher interrupt the call at that time: 0, or -errno.  With
 * os_wait_lock. */
int os_watch(struct os_wait *wait, int64_t alarm_ns);
/* In a forked child there is neither a timer nor a watcher. */
void os_alarm_forget(void);

#endif
