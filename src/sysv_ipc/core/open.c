/* Opening and creating by key, for all kinds: semget(2), shmget(2) and
 * msgget(2) with the rules for flags and modes that the kinds share; and what
 * all types do when they are called. */
#include "open.h"

#include <errno.h>

static struct core_subject
subject_of(const struct core_request *request, key_t key)
{
    return (struct core_subject){request->kind, key, CORE_NO_ID};
}

int
core_request_given(CoreState *state, struct core_request *request,
                   PyObject *key, PyObject *flags, PyObject *mode)
{
    long long number = 0;
    if (core_key_convert(state, key, &request->key) < 0 ||
        core_integer(state, flags, "flags", INT_MIN, UINT_MAX, &number) < 0) {
        return -1;
    }
    request->flags = (int)number & ~OS_MODE_MASK;
    if (mode != NULL) {
        if (core_integer(state, mode, "mode", INT_MIN, INT_MAX, &number) < 0) {
            return -1;
        }
        request->mode = (int)number & OS_MODE_MASK;
    }
    struct core_subject subject = CORE_NO_SUBJECT;
    if ((request->flags & (IPC_CREAT | IPC_EXCL)) == IPC_EXCL) {
        (void)core_refuse(state, EINVAL, subject,
                          "IPC_EXCL must be combined with IPC_CREAT");
        return -1;
    }
    if (request->key.type == CORE_KEY_RANDOM && !(request->flags & IPC_EXCL)) {
        (void)core_refuse(state, EINVAL, subject,
                          "Key can only be None if IPC_EXCL is set");
        return -1;
    }
    return 0;
}

int
core_create(const struct core_request *request, key_t key)
{
    int mode = (request->mode < 0 ? 0600 : request->mode);
    int flags = request->flags | IPC_CREAT | IPC_EXCL;
    return request->kind->get(key, request->size,
                              flags | mode | request->created_mode);
}

/* Ask once: with the mode that was given, else with the best access that the
 * caller has. */
static int
find_existing(const struct core_request *request, key_t key, int *access)
{
    static const int best[] = {0600, 0400, 0200};
    int flags = request->flags & ~(IPC_CREAT | IPC_EXCL);
    if (request->mode >= 0) {
        *access = request->mode;
        return request->kind->get(key, request->open_size,
                                  flags | request->mode);
    }
    int id = -EACCES;
    for (size_t i = 0; id == -EACCES && i < sizeof(best) / sizeof(best[0]);
         i++) {
        *access = best[i];
        id = request->kind->get(key, request->open_size, flags | best[i]);
    }
    return id;
}

/* What vanishes before it is accepted is asked for again. */
static int
open_existing(const struct core_request *request, key_t key, int *access)
{
    for (;;) {
        int id = find_existing(request, key, access);
        int rc = id >= 0 && request->kind->accept != NULL
                     ? request->kind->accept(id)
                     : 0;
        if (rc != -EIDRM) {
            return rc < 0 ? rc : id;
        }
    }
}

/* What appears or vanishes between the two calls is asked for again. */
static int
open_or_create(const struct core_request *request, struct core_opened *opened)
{
    for (;;) {
        int id = open_existing(request, opened->key, &opened->access);
        if (id != -ENOENT || !(request->flags & IPC_CREAT)) {
            return id;
        }
        id = request->kind->create(request, opened->key);
        if (id != -EEXIST) {
            opened->created = true;
            return id;
        }
    }
}

static int
create_with_random_key(const struct core_request *request,
                       struct core_opened *opened)
{
    for (;;) {
        uint32_t bits;
        int rc = os_random_bits(&bits);
        if (rc < 0) {
            return rc;
        }
        opened->key = (key_t)(bits & 0x7fffffff);
        if (opened->key == IPC_PRIVATE) {
            continue;
        }
        int id = request->kind->create(request, opened->key);
        if (id != -EEXIST) {
            return id;
        }
    }
}

int
core_open_or_create(CoreState *state, const struct core_request *request,
                    struct core_opened *opened)
{
    opened->key = request->key.value;
    opened->created = true;
    opened->access = request->mode < 0 ? 0600 : request->mode;
    int id;
    if (request->key.type == CORE_KEY_RANDOM) {
        id = create_with_random_key(request, opened);
    }
    else if (request->key.type == CORE_KEY_PRIVATE ||
             (request->flags & IPC_EXCL)) {
        id = request->kind->create(request, opened->key);
    }
    else {
        opened->created = false;
        id = open_or_create(request, opened);
    }
    if (id < 0) {
        (void)core_raise(state, id, opened->created ? "create" : "open",
                         subject_of(request, opened->key));
        return -1;
    }
    opened->id = id;
    return 0;
}

/* ------------------------------------------------------- calling a type */

PyObject *
core_construct_new(const struct core_constructor *constructor,
                   PyTypeObject *type)
{
    CoreState *state = core_state_of_type(type);
    return state == NULL ? NULL : constructor->make(state, type);
}

/* Tell what a refusal of an argument was about. */
void
core_construct_failed(CoreHandle *self, PyObject *key)
{
    struct core_subject subject = {self->kind, CORE_NO_KEY, CORE_NO_ID};
    if (PyLong_CheckExact(key)) {
        subject.key = (key_t)PyLong_AsUnsignedLongMask(key);
    }
    core_error_set_subject(self->state, subject);
}

int
core_construct_init(const struct core_constructor *constructor, PyObject *op,
                    PyObject *args, PyObject *keywords)
{
    PyObject *given[CORE_MOST_ARGUMENTS];
    if (core_bind_dict(core_handle(op)->state, &constructor->signature, args,
                       keywords, given) < 0) {
        return -1;
    }
    int rc = constructor->open(op, given);
    if (rc < 0) {
        core_construct_failed(core_handle(op), given[0]);
    }
    return rc;
}
