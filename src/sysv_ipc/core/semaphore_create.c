/* Creating semaphore sets so that others see creation and initialisation as
 * one step, also when the creator dies in between.
 *
 * semget(2) makes a set, semctl(2) gives it its values: between the two it
 * is unfinished.  Two things tell that to others:
 *
 * - a mark: the owner may read and write, of the three x bits in its mode,
 *   which mean nothing to the kernel, only the last is set, and nobody has
 *   ever given it a value or done a semop(2) on it;
 * - the lock of the IPC namespace (os.h), which the creator holds until the
 *   set is finished and which the kernel releases when it dies.
 *
 * Giving the set its values takes the mark away; giving it its mode, which
 * comes last, is what a creator that dies then leaves undone.
 *
 * Who finds a marked set waits for the lock.  When it has the lock and the
 * set is still marked, the creator has died: the set is removed, and it is
 * as if it had never been. */
#include "info.h"
#include "open.h"

#include <errno.h>

#define MARK_BITS 0711
#define MARK 0601

/* Longer than this nobody holds the lock who is not stopped, or wants to be
 * in the way: then we go on without it. */
#define LOCK_TIMEOUT_NS ((int64_t)1000000000)
#define LOCK_NAP_MIN_NS ((int64_t)20000)
#define LOCK_NAP_MAX_NS ((int64_t)1000000)

#define NO_LOCK (-1)

/* A lock for unlock(), NO_LOCK where it is not to be had (in time, or for
 * lack of a descriptor), or CORE_RAISED. */
static int
wait_for_lock(void)
{
    int64_t deadline_ns = os_clock_ns() + LOCK_TIMEOUT_NS;
    int64_t nap_ns = LOCK_NAP_MIN_NS;
    for (;;) {
        int lock = os_namespace_lock();
        if (lock >= 0) {
            return lock;
        }
        if (lock != -EWOULDBLOCK || os_clock_ns() > deadline_ns) {
            return NO_LOCK;
        }
        Py_BEGIN_ALLOW_THREADS(void)
        os_sleep_ns(nap_ns);
        Py_END_ALLOW_THREADS
        if (PyErr_CheckSignals() < 0) {
            return CORE_RAISED;
        }
        nap_ns = nap_ns * 2 > LOCK_NAP_MAX_NS ? LOCK_NAP_MAX_NS : nap_ns * 2;
    }
}

static void
unlock(int lock)
{
    if (lock != NO_LOCK) {
        os_namespace_unlock(lock);
    }
}

/* 1 for a set that bears the mark, 0 for one that does not or that we cannot
 * tell of, -EIDRM when it is gone. */
static int
is_marked(int id)
{
    /* SETVAL and SETALL leave the pid of who called them, which is quicker
     * asked for than the rest. */
    int pid = os_sem_get_pid(id, 0);
    if (pid > 0) {
        return 0;
    }
    struct os_info info;
    int rc = core_kind_stat_any(&core_semaphore_kind, id, &info);
    if (rc == -EINVAL || rc == -EIDRM) {
        return -EIDRM;
    }
    /* Once more, because the set may have been finished in between. */
    return rc == 0 && (info.mode & MARK_BITS) == MARK &&
           info.sem.last_operation_time == 0 && os_sem_get_pid(id, 0) == 0;
}

/* Remove a set that its creator left unfinished; the lock is held.  0 when
 * it was finished, -EIDRM when it is gone, or an error. */
static int
remove_unfinished(int id)
{
    int rc = is_marked(id);
    if (rc <= 0) {
        return rc;
    }
    rc = os_sem_remove(id);
    return rc == 0 || rc == -EINVAL ? -EIDRM : rc;
}

int
core_semaphore_accept(int id)
{
    int rc = is_marked(id);
    if (rc <= 0) {
        return rc;
    }
    int lock = wait_for_lock();
    if (lock == CORE_RAISED) {
        return lock;
    }
    rc = remove_unfinished(id);
    unlock(lock);
    return rc;
}

/* Do a semop(2) that changes nothing: a set whose mode is to look like the
 * mark is told from an unfinished one by the time of its last operation,
 * which is the same in all PID namespaces. */
static int
touch(int id, int value)
{
    short delta = value < OS_SEM_VALUE_MAX ? 1 : -1;
    struct sembuf operations[] = {
        {.sem_num = 0, .sem_op = delta, .sem_flg = IPC_NOWAIT},
        {.sem_num = 0, .sem_op = (short)-delta, .sem_flg = IPC_NOWAIT},
    };
    return os_sem_op(id, operations, 2, OS_FOREVER);
}

/* Give a new set its values and its mode; on failure it is gone. */
static int
finish(int id, const struct core_request *request, int mode)
{
    struct os_info info;
    int rc = os_sem_set_all(id, request->values, request->size);
    if (rc == 0 && (mode & MARK_BITS) == MARK) {
        rc = touch(id, request->values[0]);
    }
    if (rc == 0) {
        rc = os_sem_stat(id, &info);
    }
    if (rc == 0) {
        info.mode = (unsigned int)mode;
        rc = os_sem_set(id, &info);
    }
    if (rc == -EINVAL || rc == -EIDRM) {
        /* Somebody has removed it, and perhaps made another: look again. */
        return -EEXIST;
    }
    if (rc < 0) {
        (void)os_sem_remove(id);
        return rc;
    }
    return id;
}

int
core_semaphore_create(const struct core_request *request, key_t key)
{
    int mode = request->mode < 0 ? 0600 : request->mode;
    struct core_request marked = *request;
    /* The creator may always write the values, whatever the mode is to be. */
    marked.mode = (mode & ~MARK_BITS) | MARK;
    /* Nobody else can open a private set: there is no race to win. */
    int lock = key == IPC_PRIVATE ? NO_LOCK : wait_for_lock();
    if (lock == CORE_RAISED) {
        return lock;
    }
    int id = core_create(&marked, key);
    if (id == -EEXIST) {
        int existing = os_sem_get(key, 0, 0);
        if (existing >= 0 && remove_unfinished(existing) == -EIDRM) {
            id = core_create(&marked, key);
        }
    }
    if (id >= 0) {
        id = finish(id, request, mode);
    }
    unlock(lock);
    return id;
}
