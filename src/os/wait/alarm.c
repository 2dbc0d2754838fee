/* Alarms: what interrupts a call whose deadline the kernel does not keep.
 *
 * In a process with one thread it is a timer (timer_create(2),
 * SIGEV_THREAD_ID), so that the process keeps to one thread.  If there are
 * others, one of them may change the signal's disposition during the call, and
 * a timer's signal would then end the process or not be noticed at all.  So
 * there it is the watcher, a thread that looks before it sends, which runs
 * while there are such calls and for a moment after.
 *
 * The timer is only used by the one thread.  All of the watcher is guarded by
 * os_wait_lock, but for wait_watch_word, a futex. */
#include "os/wait/list.h"

#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifdef __linux__
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif
#endif

/* How long the watcher stays when there is nothing to do: starting it costs as
 * much as a few messages. */
#define LINGER_NS 50000000

/* It calls nothing that needs more. */
#define STACK_BYTES 131072

static atomic_bool wait_watched;

/* -------------------------------------------------------------- the timer */

#ifdef __linux__

/* The timer of a process with one thread, which keeps it: making and deleting
 * it costs as much as a message.  If a handler of signals waits in the middle
 * of a wait, that one's timer is not armed. */
static struct {
    bool made;
    int signal;
    timer_t id;
} wait_timer;

static struct timespec
as_timespec(int64_t duration_ns)
{
    return (struct timespec){
        .tv_sec = (time_t)(duration_ns / 1000000000),
        .tv_nsec = (long)(duration_ns % 1000000000),
    };
}

bool
os_is_first_thread(void)
{
    return os_thread_id() == getpid();
}

/* Return true if the program has no other thread, which could change something
 * while this one is in a call; also if /proc is not available. */
static bool
is_alone(void)
{
    struct stat tasks;
    bool before = atomic_load(&wait_watched);
    if (!os_is_first_thread()) {
        return false;
    }
    if (stat("/proc/self/task", &tasks) == -1) {
        return true;
    }
    /* A folder has two links, and one for each folder in it. */
    bool watched = before && atomic_load(&wait_watched);
    return tasks.st_nlink <= (watched ? 4 : 3);
}

/* Send the signal to this thread after this duration, and repeatedly until
 * disarm(). */
static int
arm(const struct os_wait *wait, int64_t duration_ns)
{
    if (wait_timer.made && wait_timer.signal != wait->signal) {
        (void)timer_delete(wait_timer.id);
        wait_timer.made = false;
    }
    if (!wait_timer.made) {
        struct sigevent event = {
            .sigev_notify = SIGEV_THREAD_ID,
            .sigev_signo = wait->signal,
        };
        event.sigev_notify_thread_id = wait->thread;
        if (timer_create(CLOCK_MONOTONIC, &event, &wait_timer.id) == -1) {
            return -errno;
        }
        wait_timer.made = true;
        wait_timer.signal = wait->signal;
    }
    struct itimerspec times = {
        .it_value = as_timespec(duration_ns),
        .it_interval = as_timespec(OS_WAIT_AGAIN_NS),
    };
    return timer_settime(wait_timer.id, 0, &times, NULL) == -1 ? -errno : 0;
}

static void
disarm(void)
{
    struct itimerspec never = {.it_value = {0, 0}};
    (void)timer_settime(wait_timer.id, 0, &never, NULL);
}

#else

bool
os_is_first_thread(void)
{
    return false;
}

static bool
is_alone(void)
{
    return false;
}

static int
arm(const struct os_wait *wait, int64_t duration_ns)
{
    (void)wait;
    (void)duration_ns;
    return -ENOSYS;
}

static void
disarm(void)
{
}

#endif

/* ------------------------------------------------------------ the watcher */

/* The time of its next check; it is woken if that is too late. */
static int64_t wait_watch_next_ns;
/* The number of times that it was woken. */
static _Atomic uint32_t wait_watch_word;

/* Interrupt the calls whose time has come.  Return the time of the next
 * one. */
static int64_t
interrupt_due(int64_t now_ns)
{
    int64_t next_ns = INT64_MAX;
    for (struct os_wait *wait = os_wait_first; wait != NULL;
         wait = wait->next) {
        if (wait->alarm_ns == OS_FOREVER) {
            continue;
        }
        if (wait->alarm_ns <= now_ns) {
            if (atomic_load(&wait->in_call)) {
                os_signal_send(wait);
            }
            wait->alarm_ns = now_ns + OS_WAIT_AGAIN_NS;
        }
        if (wait->alarm_ns < next_ns) {
            next_ns = wait->alarm_ns;
        }
    }
    return next_ns;
}

static void *
watch(void *unused)
{
    int64_t last_ns = os_clock_ns();
    (void)pthread_mutex_lock(&os_wait_lock);
    for (;;) {
        int64_t now_ns = os_clock_ns();
        int64_t next_ns = interrupt_due(now_ns);
        if (next_ns != INT64_MAX) {
            last_ns = now_ns;
        }
        else if (now_ns - last_ns < LINGER_NS) {
            next_ns = last_ns + LINGER_NS;
        }
        else {
            break;
        }
        uint32_t word = atomic_load(&wait_watch_word);
        wait_watch_next_ns = next_ns;
        (void)pthread_mutex_unlock(&os_wait_lock);
        (void)os_futex_wait((const void *)&wait_watch_word, word,
                            next_ns > now_ns ? next_ns - now_ns : 0);
        (void)pthread_mutex_lock(&os_wait_lock);
    }
    atomic_store(&wait_watched, false);
    (void)pthread_mutex_unlock(&os_wait_lock);
    return unused;
}

/* Start the watcher, with all signals blocked: they are for the threads of the
 * program. */
static int
start(void)
{
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_attr_init(&attributes);
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    int error = pthread_sigmask(SIG_SETMASK, &all, &before);
    if (error == 0) {
        error = pthread_create(&thread, &attributes, watch, NULL);
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    (void)pthread_attr_destroy(&attributes);
    return -error;
}

int
os_watch(struct os_wait *wait, int64_t alarm_ns)
{
    if (!atomic_load(&wait_watched)) {
        wait_watch_next_ns = 0;
        int rc = start();
        if (rc < 0) {
            return rc;
        }
        atomic_store(&wait_watched, true);
    }
    else if (alarm_ns < wait_watch_next_ns) {
        wait_watch_next_ns = alarm_ns;
        (void)atomic_fetch_add(&wait_watch_word, 1);
        (void)os_futex_wake((const void *)&wait_watch_word, 1);
    }
    wait->alarm_ns = alarm_ns;
    return 0;
}

/* -------------------------------------------------------------- the alarm */

int
os_alarm_set(struct os_wait *wait, int64_t duration_ns)
{
    int64_t at_least_ns = duration_ns > 0 ? duration_ns : 1;
    wait->has_timer = is_alone();
    if (wait->has_timer) {
        return arm(wait, at_least_ns);
    }
    (void)pthread_mutex_lock(&os_wait_lock);
    int rc = os_watch(wait, os_clock_ns() + at_least_ns);
    (void)pthread_mutex_unlock(&os_wait_lock);
    return rc;
}

void
os_alarm_clear(struct os_wait *wait)
{
    if (wait->has_timer) {
        disarm();
        wait->has_timer = false;
    }
}

void
os_alarm_forget(void)
{
    atomic_store(&wait_watched, false);
#ifdef __linux__
    wait_timer.made = false;
#endif
}
