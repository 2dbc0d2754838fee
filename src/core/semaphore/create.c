/* Create semaphore sets so that other processes see creation and
 * initialization as one step, even if the creator dies in between; see
 * docs/design/creation.md.  The calls are semget(2), semctl(2) and semop(2).
 *
 * semget(2) creates a set and semctl(2) sets its values.  Between these calls
 * the set is unfinished.  Other processes recognize an unfinished set by two
 * things:
 *
 * - a mark, which is a mode that programs are unlikely to choose;
 * - the lock of the IPC namespace (os.h), which the creator holds until the
 *   set is finished.  The kernel releases it if the creator dies.
 *
 * The last step sets the mode that was requested, which removes the mark.
 *
 * A process that finds a marked set waits for the lock.  If it gets the lock
 * and the set is untouched, which means that no process has used it since
 * semget(2), then the creator has died, and the set is removed.  In any doubt,
 * because the lock is unavailable or the set has been used, the set stays.
 * Signal handlers never run while this thread holds the lock, because a
 * handler may need the lock too.
 *
 * lock_short_until_ns in the module's state is a lone atomic; no other field
 * depends on it. */
#include "core/semaphore/semaphore.h"

#include <errno.h>

/* The mark.  It lets the owner read and write, which the owner could always
 * allow itself, and other users nothing, whatever the final mode is.  The
 * kernel ignores the x bits. */
#define MARK_MODE 0611

/* A process that holds the lock longer than LOCK_TIMEOUT_NS is stopped, or
 * blocks others deliberately.  After that time the caller continues without
 * the lock, and for LOCK_SHORT_PERIOD_NS all calls wait only their short
 * timeout for it. */
#define LOCK_TIMEOUT_NS ((int64_t)1000000000)
#define LOCK_SHORT_TIMEOUT_NS ((int64_t)1000000)
/* The short timeout of a call that must open a marked set, which it cannot do
 * without the lock.  A creator that works without the lock may take that long
 * on a busy machine. */
#define LOCK_OPENER_TIMEOUT_NS ((int64_t)50000000)
#define LOCK_SHORT_PERIOD_NS ((int64_t)10000000000)
#define LOCK_SLEEP_MIN_NS ((int64_t)20000)
#define LOCK_SLEEP_MAX_NS ((int64_t)1000000)

#define NO_LOCK (-1)

/* Return 1 if the set has the mark, 0 if it does not, -EACCES if the kernel
 * does not show the mode to this process (Linux before 4.17), or -EIDRM if the
 * set no longer exists. */
static int
set_is_marked(int id, struct os_info *info)
{
    int rc = core_stat_any(os_sem_stat, os_sem_list, id, info);
    if (rc == -EINVAL || rc == -EIDRM) {
        return -EIDRM;
    }
    return rc == -EACCES ? rc : rc == 0 && info->mode == MARK_MODE;
}

/* Return true if the key names the set with this id.  This calls semget(2),
 * because a sandbox may refuse semctl(2) with EINVAL, which would look as if
 * the set had been removed. */
static bool
set_exists(key_t key, int id)
{
    return key != IPC_PRIVATE && os_sem_get(key, 0, 0) == id;
}

/* Wait for the lock.  Return it, for namespace_lock_release(), or NO_LOCK if
 * the time is up, or CORE_RAISED.  If id is that of a marked set, also return
 * NO_LOCK as soon as the set loses its mark. */
static int
namespace_lock_wait(int64_t timeout_ns, int id)
{
    int64_t deadline_ns = os_clock_ns() + timeout_ns;
    int64_t sleep_ns = LOCK_SLEEP_MIN_NS;
    struct os_info info;
    for (;;) {
        int lock = os_namespace_lock();
        if (lock >= 0) {
            return lock;
        }
        /* Waiting does not help if there is no /proc or no free descriptor,
         * but the mark may still disappear. */
        if ((lock != -EWOULDBLOCK && id < 0) || os_clock_ns() > deadline_ns) {
            return NO_LOCK;
        }
        Py_BEGIN_ALLOW_THREADS(void)
        os_sleep_ns(sleep_ns);
        Py_END_ALLOW_THREADS
        if (PyErr_CheckSignals() < 0) {
            return CORE_RAISED;
        }
        if (id >= 0 && set_is_marked(id, &info) != 1) {
            return NO_LOCK;
        }
        sleep_ns = sleep_ns * 2 > LOCK_SLEEP_MAX_NS ? LOCK_SLEEP_MAX_NS
                                                    : sleep_ns * 2;
    }
}

static void
namespace_lock_release(int lock)
{
    if (lock >= 0) {
        os_namespace_unlock(lock);
    }
}

/* Wait a second for the lock.  If that fails, other calls wait only the short
 * timeout for a while, because the process that holds the lock is probably
 * stopped. */
static int
namespace_lock_acquire(CoreState *state, int id, int64_t short_timeout_ns)
{
    int64_t until_ns = CORE_LOAD_INT64(&state->lock_short_until_ns);
    int64_t begin_ns = os_clock_ns();
    int64_t timeout_ns = begin_ns < until_ns ? short_timeout_ns
                                             : LOCK_TIMEOUT_NS;
    int lock = namespace_lock_wait(timeout_ns, id);
    int64_t end_ns = os_clock_ns();
    if (lock >= 0) {
        CORE_STORE_INT64(&state->lock_short_until_ns, 0);
    }
    else if (lock == NO_LOCK && end_ns - begin_ns > timeout_ns) {
        CORE_STORE_INT64(&state->lock_short_until_ns,
                         end_ns + LOCK_SHORT_PERIOD_NS);
    }
    return lock;
}

/* Return 1 if the set is marked and untouched: values, waiters, times and the
 * pid of the last operation on each member are as semget(2) creates them.
 * Return 0 if not, -EPERM if this process may not read them, or -EIDRM if the
 * set no longer exists. */
static int
set_is_untouched(int id)
{
    struct os_info info;
    int rc = set_is_marked(id, &info);
    if (rc != 1 || info.sem.last_operation_time != 0) {
        return rc < 0 ? rc : 0;
    }
    /* Read one number at a time: GETALL ignores the size of the array, and the
     * id may name another, larger set now. */
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

/* Remove a set that its creator left unfinished.  Only a process that has the
 * lock can be certain of that.  Return -EIDRM if the set no longer exists, 0
 * if it has been used, -EBUSY if its creator may still be at work, or an
 * error. */
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

/* Wait for the lock after finding a set that is marked, or whose mode the
 * kernel does not show. */
static int
namespace_lock_for_opening(CoreState *state, int id, int marked)
{
    if (marked != 1) {
        /* The mark is not visible, so only the lock shows that the creator has
         * finished. */
        return namespace_lock_acquire(state, CORE_NO_ID,
                                      LOCK_SHORT_TIMEOUT_NS);
    }
    if (os_sem_get_pid(id, 0) >= 0 && set_is_untouched(id) == 0) {
        /* The set has been used and can be opened as it is.  But if its
         * creator is about to set the mode, which takes microseconds, it is
         * better to open the set after that. */
        return namespace_lock_wait(LOCK_SHORT_TIMEOUT_NS, CORE_NO_ID);
    }
    return namespace_lock_acquire(state, id, LOCK_OPENER_TIMEOUT_NS);
}

int
core_semaphore_accept(CoreState *state, int id, bool quick)
{
    /* SETVAL and SETALL record the pid of the caller, and reading that is
     * quicker than the rest.  This must not be done for a caller that creates
     * the set if it does not exist: programs that open or create a set, and
     * then remove it, would remove each other's unfinished sets. */
    if (quick && os_sem_get_pid(id, 0) > 0) {
        return 0;
    }
    struct os_info info;
    int rc = set_is_marked(id, &info);
    if (rc == 0 || rc == -EIDRM) {
        return rc;
    }
    int lock = namespace_lock_for_opening(state, id, rc);
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
        /* It has its final mode now, so it must be opened again, which checks
         * the permissions. */
        rc = -EIDRM;
    }
    namespace_lock_release(lock);
    return rc;
}

/* Call semop(2) with operations that change nothing.  They set sem_otime.  C
 * programs that open a set wait for that, and unlike a pid, which may be read
 * as 0, it is the same in all PID namespaces. */
static int
set_update_otime(int id, int value)
{
    short delta = value < OS_SEM_VALUE_MAX ? 1 : -1;
    struct sembuf operations[] = {
        {.sem_num = 0, .sem_op = delta, .sem_flg = IPC_NOWAIT},
        {.sem_num = 0, .sem_op = (short)-delta, .sem_flg = IPC_NOWAIT},
    };
    int rc = os_sem_op(id, operations, 2, OS_FOREVER);
    /* The limit SEMOPM may allow only one operation.  And if a C program has
     * changed the value meanwhile, it has set sem_otime too. */
    return rc == -E2BIG || rc == -EAGAIN || rc == -ERANGE ? 0 : rc;
}

/* Return true if this is the set that set_create_marked() created. */
static bool
set_is_as_created(const struct os_info *info,
                  const struct core_request *request, key_t key)
{
    return info->mode == MARK_MODE && info->key == key &&
           info->sem.nsems == request->size;
}

/* After an error, remove a set that cannot be finished, if the id still names
 * that set.  Return the error, or that of the removal, or CORE_AGAIN if the
 * set no longer exists. */
static int
set_undo_create(int id, const struct core_request *request, key_t key,
                int error)
{
    struct os_info info;
    if (set_is_marked(id, &info) == 1 &&
        set_is_as_created(&info, request, key)) {
        int rc = os_sem_remove(id);
        if (rc != -EINVAL && rc != -EIDRM) {
            return rc < 0 ? rc : error;
        }
    }
    /* If the set could not be removed, the caller must not create a second
     * one.  A private set has no key by which to find it, and no other process
     * has a reason to remove it. */
    return key == IPC_PRIVATE || set_exists(key, id) ? error : CORE_AGAIN;
}

/* Set the values and the mode of a new set.  Return its id, or the result of
 * set_undo_create(). */
static int
set_finish(int id, const struct core_request *request, key_t key, int mode)
{
    struct os_info info;
    int rc = os_sem_set_all(id, request->values, request->size);
    /* sem_otime is set after the values, so a process that sees it also sees
     * the values.  It is set before the mode, which may forbid the owner to
     * call semop(2). */
    if (rc == 0) {
        rc = set_update_otime(id, request->values[0]);
    }
    if (rc == 0) {
        rc = os_sem_stat(id, &info);
    }
    if (rc == 0 && !set_is_as_created(&info, request, key)) {
        rc = -EIDRM;
    }
    if (rc == 0) {
        info.mode = (unsigned int)mode;
        rc = os_sem_set(id, &info);
    }
    return rc == 0 ? id : set_undo_create(id, request, key, rc);
}

/* Create a set with the mark.  If the key has an unfinished set whose creator
 * has died, remove that set first.  Return the id, an error, or CORE_AGAIN. */
static int
set_create_marked(struct core_request *request, key_t key, bool locked)
{
    int mode = request->mode;
    request->mode = MARK_MODE;
    int id = core_create(request, key);
    request->mode = mode;
    if (id != -EEXIST || !locked) {
        return id;
    }
    int existing = os_sem_get(key, 0, 0);
    int rc = existing >= 0 ? set_remove_unfinished(existing, true) : existing;
    return rc == -EIDRM && !set_exists(key, existing) ? CORE_AGAIN : -EEXIST;
}

int
core_semaphore_create(struct core_request *request, key_t key)
{
    int mode = request->mode < 0 ? 0600 : request->mode;
    int id;
    do {
        /* No other process can open a private set by key, so there is no
         * race. */
        int lock = key == IPC_PRIVATE
                       ? NO_LOCK
                       : namespace_lock_acquire(request->state, CORE_NO_ID,
                                                LOCK_SHORT_TIMEOUT_NS);
        if (lock == CORE_RAISED) {
            return lock;
        }
        id = set_create_marked(request, key, lock >= 0);
        if (id >= 0) {
            id = set_finish(id, request, key, mode);
        }
        namespace_lock_release(lock);
        if (id == CORE_AGAIN) {
            id = core_try_again(&request->attempts, -EIDRM);
        }
    } while (id == CORE_AGAIN);
    return id;
}
