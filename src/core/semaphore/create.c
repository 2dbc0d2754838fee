/* Creating semaphore sets so that others see creation and initialisation as
 * one step, also when the creator dies in between; docs/design/creation.md.
 *
 * semget(2) makes a set, semctl(2) gives it its values: between the two it
 * is unfinished.  Two things tell that to others:
 *
 * - a mark: a mode that nobody types, and nobody has ever used the set;
 * - the lock of the IPC namespace (os.h), which the creator holds until the
 *   set is finished and which the kernel releases when it dies.
 *
 * Giving the set its mode, which comes last, takes the mark away.
 *
 * Who finds the mark waits for the lock.  When it has the lock and the set is
 * still as semget(2) made it, the creator has died: the set is removed, and it
 * is as if it had never been.  Where there is any doubt, because the lock is
 * not to be had or something was done with the set, it stays.  Handlers of
 * signals never run while this thread has the lock, which they may want.
 *
 * impatient_until_ns of the module's state is a time that stands for nothing
 * else: a lone atomic. */
#include "core/semaphore/semaphore.h"

#include <errno.h>

/* For the owner, who could give it to itself anyway, to read and write, and
 * for nobody else, whatever the mode is to be.  The x bits mean nothing to
 * the kernel. */
#define MARK 0611

/* Longer than this nobody holds the lock who is not stopped, or wants to be
 * in the way: then we go on without it, and for a while hardly wait for it. */
#define LOCK_TIMEOUT_NS ((int64_t)1000000000)
#define IMPATIENT_TIMEOUT_NS ((int64_t)1000000)
/* The same for one who can do nothing without it: a creator that has not got
 * it either may need that long on a busy machine. */
#define LATE_TIMEOUT_NS ((int64_t)50000000)
#define IMPATIENT_FOR_NS ((int64_t)10000000000)
#define LOCK_NAP_MIN_NS ((int64_t)20000)
#define LOCK_NAP_MAX_NS ((int64_t)1000000)

#define NO_LOCK (-1)

/* 1 for a set that bears the mark, 0 for one that does not, -EACCES where the
 * kernel does not tell us (Linux before 4.17), -EIDRM when it is gone. */
static int
set_is_marked(int id, struct os_info *info)
{
    int rc = core_stat_any(os_sem_stat, os_sem_list, id, info);
    if (rc == -EINVAL || rc == -EIDRM) {
        return -EIDRM;
    }
    return rc == -EACCES ? rc : rc == 0 && info->mode == MARK;
}

/* Whether a key leads to this id, which takes another system call to ask than
 * all else here: a sandbox that refuses semctl(2) with EINVAL does not make us
 * believe that a set is gone. */
static bool
set_is_there(key_t key, int id)
{
    return key != IPC_PRIVATE && os_sem_get(key, 0, 0) == id;
}

/* A lock for unlock(), CORE_RAISED, or NO_LOCK where it is not to be had in
 * time.  With an id of a marked set, until that has lost its mark. */
static int
wait_for_lock(int64_t timeout_ns, int id)
{
    int64_t deadline_ns = os_clock_ns() + timeout_ns;
    int64_t nap_ns = LOCK_NAP_MIN_NS;
    struct os_info info;
    for (;;) {
        int lock = os_namespace_lock();
        if (lock >= 0) {
            return lock;
        }
        /* No descriptor, no /proc: that does not change by waiting.  The mark
         * does. */
        if ((lock != -EWOULDBLOCK && id < 0) || os_clock_ns() > deadline_ns) {
            return NO_LOCK;
        }
        Py_BEGIN_ALLOW_THREADS(void)
        os_sleep_ns(nap_ns);
        Py_END_ALLOW_THREADS
        if (PyErr_CheckSignals() < 0) {
            return CORE_RAISED;
        }
        if (id >= 0 && set_is_marked(id, &info) != 1) {
            return NO_LOCK;
        }
        nap_ns = nap_ns * 2 > LOCK_NAP_MAX_NS ? LOCK_NAP_MAX_NS : nap_ns * 2;
    }
}

static void
unlock(int lock)
{
    if (lock >= 0) {
        os_namespace_unlock(lock);
    }
}

/* wait_for_lock() for a second.  One that waits in vain is enough: while
 * somebody sits on the lock, those that follow wait no longer than told. */
static int
wait_for_lock_slow(CoreState *state, int id, int64_t impatient_timeout_ns)
{
    int64_t until_ns = CORE_LOAD_INT64(&state->impatient_until_ns);
    int64_t begin_ns = os_clock_ns();
    int64_t timeout_ns = begin_ns < until_ns ? impatient_timeout_ns
                                             : LOCK_TIMEOUT_NS;
    int lock = wait_for_lock(timeout_ns, id);
    int64_t end_ns = os_clock_ns();
    if (lock >= 0) {
        CORE_STORE_INT64(&state->impatient_until_ns, 0);
    }
    else if (lock == NO_LOCK && end_ns - begin_ns > timeout_ns) {
        CORE_STORE_INT64(&state->impatient_until_ns,
                         end_ns + IMPATIENT_FOR_NS);
    }
    return lock;
}

/* 1 for a marked set that is as semget(2) makes it, as far as anything shows:
 * values, waiters, times and the pid of who last did something to a member.  0
 * for another, -EPERM where we may not look, -EIDRM when it is gone. */
static int
set_is_untouched(int id)
{
    struct os_info info;
    int rc = set_is_marked(id, &info);
    if (rc != 1 || info.sem.last_operation_time != 0) {
        return rc < 0 ? rc : 0;
    }
    /* One number at a time, because GETALL does not heed how much room there
     * is, and the id may mean another set by now. */
    static int (*const numbers[])(int id, int index) = {
        os_sem_get_pid, os_sem_get_value, os_sem_get_ncnt, os_sem_get_zcnt};
    for (int i = 0; i < (int)info.sem.nsems; i++) {
        for (size_t k = 0; k < sizeof(numbers) / sizeof(numbers[0]); k++) {
            rc = numbers[k](id, i);
            if (rc != 0) {
                return rc > 0 ? 0 : rc == -EACCES ? -EPERM : -EIDRM;
            }
        }
    }
    rc = set_is_marked(id, &info);
    return rc == 1 ? info.sem.last_operation_time == 0 : rc;
}

/* Remove a set that its creator left unfinished, which can be told only with
 * the lock.  -EIDRM when it is gone; 0 for one that somebody has used, -EBUSY
 * for one that may be in the making, or an error. */
static int
set_remove_unfinished(int id, bool locked)
{
    int rc = set_is_untouched(id);
    if (rc <= 0) {
        return rc;
    }
    if (!locked) {
        return -EBUSY;
    }
    rc = os_sem_remove(id);
    return rc == 0 || rc == -EINVAL ? -EIDRM : rc;
}

/* The lock for one who has found a set that is marked, or that the kernel does
 * not show. */
static int
lock_for_opening(CoreState *state, int id, int marked)
{
    if (marked != 1) {
        /* It is not seen to lose its mark: its creator gives up the lock. */
        return wait_for_lock_slow(state, CORE_NO_ID, IMPATIENT_TIMEOUT_NS);
    }
    if (os_sem_get_pid(id, 0) >= 0 && set_is_untouched(id) == 0) {
        /* We may use it as it is; but where its creator is at work, which
         * takes microseconds, it is better to see its mode. */
        return wait_for_lock(IMPATIENT_TIMEOUT_NS, CORE_NO_ID);
    }
    return wait_for_lock_slow(state, id, LATE_TIMEOUT_NS);
}

int
core_semaphore_accept(CoreState *state, int id, bool quick)
{
    /* SETVAL and SETALL leave the pid of who called them, which is quicker
     * asked for than the rest.  Not where the caller would create as well:
     * programs that open or create, and remove, would take each other's sets
     * from under their hands. */
    if (quick && os_sem_get_pid(id, 0) > 0) {
        return 0;
    }
    struct os_info info;
    int rc = set_is_marked(id, &info);
    if (rc == 0 || rc == -EIDRM) {
        return rc;
    }
    int lock = lock_for_opening(state, id, rc);
    if (lock == CORE_RAISED) {
        return lock;
    }
    rc = set_is_marked(id, &info);
    if (rc == 1) {
        rc = set_remove_unfinished(id, lock >= 0);
    }
    else if (rc == -EACCES) {
        rc = 0;
    }
    else {
        /* With a mode of its own it is to be asked for again. */
        rc = -EIDRM;
    }
    unlock(lock);
    return rc;
}

/* Do a semop(2) that changes nothing.  It sets the time of the last operation,
 * for which C programs wait that open a set of another's making, and which is
 * the same in all PID namespaces: there a pid may read as 0. */
static int
set_touch(int id, int value)
{
    short delta = value < OS_SEM_VALUE_MAX ? 1 : -1;
    struct sembuf operations[] = {
        {.sem_num = 0, .sem_op = delta, .sem_flg = IPC_NOWAIT},
        {.sem_num = 0, .sem_op = (short)-delta, .sem_flg = IPC_NOWAIT},
    };
    int rc = os_sem_op(id, operations, 2, OS_FOREVER);
    /* An administrator may allow one operation only (SEMOPM); and a C program
     * that has changed the value meanwhile has set the time, too. */
    return rc == -E2BIG || rc == -EAGAIN || rc == -ERANGE ? 0 : rc;
}

/* Whether this is a set that set_create_marked() has made. */
static bool
set_is_as_made(const struct os_info *info, const struct core_request *request,
               key_t key)
{
    return info->mode == MARK && info->key == key &&
           info->sem.nsems == request->size;
}

/* After an error: remove a set that cannot be finished, if the id still names
 * it and no other.  The error, or that of removing it; CORE_AGAIN where it is
 * gone already. */
static int
set_give_up(int id, const struct core_request *request, key_t key, int error)
{
    struct os_info info;
    if (set_is_marked(id, &info) == 1 && set_is_as_made(&info, request, key)) {
        int rc = os_sem_remove(id);
        if (rc != -EINVAL && rc != -EIDRM) {
            return rc < 0 ? rc : error;
        }
    }
    /* Never one more than the one that could not be removed.  Whether a
     * private one is there cannot be told, and nobody else has a reason to
     * remove it. */
    return key == IPC_PRIVATE || set_is_there(key, id) ? error : CORE_AGAIN;
}

/* Give a new set its values and its mode: its id, or what set_give_up()
 * says. */
static int
set_finish(int id, const struct core_request *request, key_t key, int mode)
{
    struct os_info info;
    int rc = os_sem_set_all(id, request->values, request->size);
    /* Who sees a time finds the values there; it is before the mode, which may
     * keep the owner from doing this. */
    if (rc == 0) {
        rc = set_touch(id, request->values[0]);
    }
    if (rc == 0) {
        rc = os_sem_stat(id, &info);
    }
    if (rc == 0 && !set_is_as_made(&info, request, key)) {
        rc = -EIDRM;
    }
    if (rc == 0) {
        info.mode = (unsigned int)mode;
        rc = os_sem_set(id, &info);
    }
    return rc == 0 ? id : set_give_up(id, request, key, rc);
}

/* Make a set, in place of one that was left unfinished where there is one:
 * its id, an error, or CORE_AGAIN. */
static int
set_create_marked(struct core_request *request, key_t key, bool locked)
{
    int mode = request->mode;
    request->mode = MARK;
    int id = core_create(request, key);
    request->mode = mode;
    if (id != -EEXIST || !locked) {
        return id;
    }
    int existing = os_sem_get(key, 0, 0);
    int rc = existing >= 0 ? set_remove_unfinished(existing, true) : existing;
    return rc == -EIDRM && !set_is_there(key, existing) ? CORE_AGAIN : -EEXIST;
}

int
core_semaphore_create(struct core_request *request, key_t key)
{
    int mode = request->mode < 0 ? 0600 : request->mode;
    int id;
    do {
        /* Nobody else can open a private set: there is no race to win. */
        int lock = key == IPC_PRIVATE
                       ? NO_LOCK
                       : wait_for_lock_slow(request->state, CORE_NO_ID,
                                            IMPATIENT_TIMEOUT_NS);
        if (lock == CORE_RAISED) {
            return lock;
        }
        id = set_create_marked(request, key, lock >= 0);
        if (id >= 0) {
            id = set_finish(id, request, key, mode);
        }
        unlock(lock);
        if (id == CORE_AGAIN) {
            id = core_try_again(&request->attempts, -EIDRM);
        }
    } while (id == CORE_AGAIN);
    return id;
}
