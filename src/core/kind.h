/* A kind of object: its system calls, and its differences from the other
 * kinds. */
#ifndef SYSV_IPC_CORE_KIND_H
#define SYSV_IPC_CORE_KIND_H

#include "core/state.h"
#include "os/os.h"

struct core_request;
struct core_facts;

/* A function pointer may be NULL only if its comment says so. */
struct core_kind {
    enum core_kind_index index;
    enum core_record record;
    const char *after_mode; /* the argument that follows mode, or NULL */
    /* The argument without which no object is created, and its noun there, or
     * NULL. */
    const char *size_argument, *sized;
    int (*get)(key_t key, size_t size, int flags);
    /* Create an object.  Return its id, -errno or CORE_RAISED. */
    int (*create)(struct core_request *request, key_t key);
    /* Check an existing object.  Return 0, -EIDRM if the key must be looked up
     * again, -EBUSY if its creation is not finished, or another error.  If
     * quick is true, an object is accepted whose creator has only to set its
     * mode.  May be NULL. */
    int (*accept)(CoreState *state, int id, bool quick);
    int (*stat)(int id, struct os_info *info);
    int (*set)(int id, const struct os_info *info);
    int (*remove)(int id);
    int (*list)(int place, struct os_info *info);
    int (*last_place)(void);
    /* Return true if the object that the id names now can be the object of
     * this handle, whose critical section the caller holds.  May be NULL. */
    bool (*same)(PyObject *op, const struct os_info *now);
    /* Return true if the object was removed but exists until it is detached
     * everywhere; it has lost its key.  NULL: a removed object no longer
     * exists. */
    bool (*is_marked)(const struct os_info *info);
    /* Add the facts of this kind that distinguish an object from another one
     * with its id. */
    void (*add_facts)(const struct os_info *info, struct core_facts *facts);
    bool keeps_change_time; /* only IPC_SET changes it */
};

/* Return the name of this kind, which errors have as an attribute. */
static inline const char *
core_kind_name(const struct core_kind *kind)
{
    static const char *const names[] = {
#define X(kind, class, name, noun) name,
        CORE_KINDS(X)
#undef X
    };
    return names[kind->index];
}

/* Return the noun for an object of this kind in the texts of errors. */
static inline const char *
core_kind_noun(const struct core_kind *kind)
{
    static const char *const nouns[] = {
#define X(kind, class, name, noun) noun,
        CORE_KINDS(X)
#undef X
    };
    return nouns[kind->index];
}

/* Call IPC_STAT, or SEM_STAT_ANY and its equivalents if the caller may not
 * read the object.  Return 0 or -errno. */
static inline int
core_stat_any(int (*stat)(int id, struct os_info *info),
              int (*list)(int place, struct os_info *info), int id,
              struct os_info *info)
{
    int rc = stat(id, info);
    if (rc != -EACCES) {
        return rc;
    }
    /* The index of an object in the kernel's table is the low 15 bits of its
     * id, or 24 bits if the kernel was booted with ipcmni_extend. */
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
