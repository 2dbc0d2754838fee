/* One kind of object: its system calls, and how its objects differ from those
 * of the other kinds. */
#ifndef SYSV_IPC_CORE_KIND_H
#define SYSV_IPC_CORE_KIND_H

#include "core/state.h"
#include "os/os.h"

struct core_request;
struct core_facts;

/* The function pointers that may be NULL are marked so. */
struct core_kind {
    enum core_kind_index index;
    enum core_record record;
    const char *after_mode; /* the argument that follows mode, or NULL */
    int (*get)(key_t key, size_t size, int flags);
    /* Make a new object: its id, -errno or CORE_RAISED. */
    int (*create)(struct core_request *request, key_t key);
    /* Look at an object that exists: 0; -EIDRM to ask again what the key
     * names; -EBUSY for one that is not finished; or an error.  With quick,
     * an object will do whose creator has only its mode left to set.  May be
     * NULL. */
    int (*accept)(CoreState *state, int id, bool quick);
    int (*stat)(int id, struct os_info *info);
    int (*set)(int id, const struct os_info *info);
    int (*remove)(int id);
    int (*list)(int place, struct os_info *info);
    int (*last_place)(void);
    /* Whether what the id names now can be the object of this handle, in
     * whose critical section it is called.  May be NULL. */
    bool (*same)(PyObject *op, const struct os_info *now);
    /* Whether a removed object still exists until the last user detaches; it
     * has lost its key then.  NULL: a removed object is gone at once. */
    bool (*is_marked)(const struct os_info *info);
    /* Add what tells this kind's object from another with its id. */
    void (*add_facts)(const struct os_info *info, struct core_facts *facts);
    bool keeps_change_time; /* only IPC_SET changes it */
};

/* What messages call an object of this kind. */
static inline const char *
core_kind_name(const struct core_kind *kind)
{
    static const char *const names[] = {
#define X(kind, class, words) words,
        CORE_KINDS(X)
#undef X
    };
    return names[kind->index];
}

/* IPC_STAT, also without read permission if the system can do that: 0 or
 * -errno. */
static inline int
core_stat_any(int (*stat)(int id, struct os_info *info),
              int (*list)(int place, struct os_info *info), int id,
              struct os_info *info)
{
    int rc = stat(id, info);
    if (rc != -EACCES) {
        return rc;
    }
    /* An object's place is the low 15 bits of its id, or 24 if the kernel was
     * booted with ipcmni_extend. */
    return list(id & 0x7fff, info) == id || list(id & 0xffffff, info) == id
               ? 0
               : -EACCES;
}

static inline int
core_kind_stat_any(const struct core_kind *kind, int id, struct os_info *info)
{
    return core_stat_any(kind->stat, kind->list, id, info);
}

#endif
