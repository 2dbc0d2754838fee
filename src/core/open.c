/* Open and create objects by key: semget(2), shmget(2) and msgget(2), with the
 * rules for flags and modes that all kinds share.  Also the calls of types.
 * Nothing here is shared by threads: a request belongs to its call. */
#include "core/open.h"
#include "core/warning.h"

#include <errno.h>

static void
note_misplaced(const struct core_request *request)
{
    if (request->mode_has_flags) {
        char mode[16];
        (void)PyOS_snprintf(mode, sizeof(mode), "0o%03o",
                            (unsigned int)request->mode);
        core_error_add_note("mode contains IPC_CREAT or IPC_EXCL, which "
                            "count in flags only: flags=IPC_CREAT, mode=%s "
                            "opens or creates.",
                            mode);
    }
}

static int
refuse_request(CoreState *state, const struct core_request *request,
               const char *text)
{
    (void)core_refuse(state, EINVAL, CORE_NO_TARGET, "%s", text);
    note_misplaced(request);
    return -1;
}

/* Modes that programs use. */
static const int usual_modes[] = {
    0400, 0440, 0444, 0600, 0620, 0622, 0640, 0644, 0660, 0664,
    0666, 0700, 0711, 0744, 0750, 0755, 0770, 0775, 0777,
};

static bool
is_usual_mode(long long mode)
{
    for (size_t i = 0; i < sizeof(usual_modes) / sizeof(usual_modes[0]); i++) {
        if (mode == usual_modes[i]) {
            return true;
        }
    }
    return false;
}

/* Return true if the decimal digits of a number are those of a usual mode,
 * unless the number is a usual mode itself: 400 is 0o620. */
static bool
is_decimal_mode(long long number)
{
    if (number < 0 || number > 999 || is_usual_mode(number)) {
        return false;
    }
    int digits[] = {(int)number / 100, (int)number / 10 % 10,
                    (int)number % 10};
    return digits[0] < 8 && digits[1] < 8 && digits[2] < 8 &&
           is_usual_mode(digits[0] * 64 + digits[1] * 8 + digits[2]);
}

/* Return true if a mode contains flags that create.  Decimal modes such as 644
 * have those bits by chance. */
static bool
mode_has_flags(long long mode)
{
    return (mode & (IPC_CREAT | IPC_EXCL)) != 0 && !is_decimal_mode(mode);
}

/* Return a text that suggests a mode.  If the number was passed by position
 * and could be meant for the argument after mode, that argument is suggested
 * too. */
static PyObject *
suggest_mode(const struct core_request *request, long long number,
             const char *mode)
{
    return request->kind->after_mode == NULL
               ? PyUnicode_FromFormat("%s was probably meant", mode)
               : PyUnicode_FromFormat("%s=%lld or %s was probably meant",
                                      request->kind->after_mode, number, mode);
}

static int
warn_of_mode(CoreState *state, const struct core_request *request,
             long long number)
{
    bool creates = (request->flags & IPC_CREAT) != 0 ||
                   request->key.type == CORE_KEY_PRIVATE;
    bool decimal = creates && is_decimal_mode(number);
    bool misplaced = mode_has_flags(number);
    bool unusable = creates && (request->mode & 0600) == 0;
    char mode[64] = "mode=0o600", given[64];
    if (!decimal && !misplaced && !unusable) {
        return 0;
    }
    (void)PyOS_snprintf(given, sizeof(given), "mode=%lld (0o%llo)", number,
                        (unsigned long long)(unsigned int)number);
    if (decimal) {
        (void)PyOS_snprintf(given, sizeof(given), "mode=%lld", number);
        (void)PyOS_snprintf(mode, sizeof(mode), "mode=0o%lld", number);
    }
    else if (misplaced) {
        (void)PyOS_snprintf(mode, sizeof(mode), "flags=%s, mode=0o%03o",
                            number & IPC_EXCL ? "IPC_CREX" : "IPC_CREAT",
                            (unsigned int)request->mode);
    }
    PyObject *suggestion =
        misplaced && !creates
            ? PyUnicode_FromFormat("%s was probably meant", mode)
            : suggest_mode(request, number, mode);
    const char *why =
        decimal ? "is not octal"
        : misplaced
            ? "contains IPC_CREAT or IPC_EXCL, which count in flags only"
            : "gives the owner of a new object neither read nor write";
    PyObject *text =
        suggestion == NULL
            ? NULL
            : PyUnicode_FromFormat("%s %s: %U", given, why, suggestion);
    Py_XDECREF(suggestion);
    return core_warn(state, CORE_SLIP_MODE, text);
}

static int
warn_of_flags(CoreState *state, long long flags)
{
    unsigned int bits = (unsigned int)(flags & OS_MODE_MASK);
    if (bits == 0) {
        return 0;
    }
    char mode[16];
    (void)PyOS_snprintf(mode, sizeof(mode), "0o%03o", bits);
    return core_warn(
        state, CORE_SLIP_FLAGS,
        PyUnicode_FromFormat("the permission bits in flags are ignored: "
                             "mode=%s was probably meant",
                             mode));
}

int
core_request_slow(CoreState *state, struct core_request *request,
                  PyObject *key, PyObject *flags, PyObject *mode)
{
    long long flags_number = 0, mode_number = 0;
    if (core_key(state, key, &request->key) < 0 ||
        core_integer(state, flags, "flags", INT_MIN, UINT_MAX, &flags_number) <
            0 ||
        core_integer(state, mode, "mode", INT_MIN, INT_MAX, &mode_number) <
            0) {
        return -1;
    }
    request->flags = (int)flags_number & ~OS_MODE_MASK;
    if (mode != NULL) {
        request->mode = (int)mode_number & OS_MODE_MASK;
        request->mode_has_flags = !(request->flags & IPC_CREAT) &&
                                  mode_has_flags(mode_number);
    }
    if ((request->flags & (IPC_CREAT | IPC_EXCL)) == IPC_EXCL) {
        return refuse_request(state, request,
                              "IPC_EXCL must be combined with IPC_CREAT");
    }
    if (request->key.type == CORE_KEY_RANDOM && !(request->flags & IPC_EXCL)) {
        return refuse_request(state, request,
                              "Key can only be None if IPC_EXCL is set");
    }
    return mode != NULL ? warn_of_mode(state, request, mode_number)
                        : warn_of_flags(state, flags_number);
}

int
core_create(struct core_request *request, key_t key)
{
    int mode = (request->mode < 0 ? 0600 : request->mode);
    int flags = request->flags | IPC_CREAT | IPC_EXCL;
    return request->kind->get(key, request->size,
                              flags | mode | request->created_mode);
}

int
core_try_again(int *attempts, ssize_t rc)
{
    if (PyErr_CheckSignals() < 0) {
        return CORE_RAISED;
    }
    return ++*attempts < CORE_MOST_ATTEMPTS ? CORE_AGAIN : (int)rc;
}

int
core_open_again(struct core_request *request, int rc)
{
    return (rc == -EINVAL || rc == -EIDRM) &&
                   (request->flags & (IPC_CREAT | IPC_EXCL)) == IPC_CREAT
               ? core_try_again(&request->attempts, rc)
               : rc;
}

int
core_open_gone(CoreState *state, const struct core_request *request, int rc,
               enum core_operation operation, struct core_target target)
{
    (void)core_raise_gone(state, rc, operation, target);
    if (request->attempts >= CORE_MOST_ATTEMPTS) {
        core_error_add_attempts(state, CORE_MOST_ATTEMPTS);
    }
    return -1;
}

/* Open an existing object once: with the mode that was passed, otherwise with
 * the best access that the caller has. */
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

/* Open an existing object and check it with accept().  Return its id or an
 * error; -EIDRM means that it changed in between. */
static int
find_accepted(const struct core_request *request, key_t key, int *access)
{
    const struct core_kind *kind = request->kind;
    int id = find_existing(request, key, access);
    if (id == -EACCES && kind->accept != NULL) {
        /* Until its creation is finished, an object gives only its creator
         * access.  Check whether that was the reason, and open it again. */
        int any = kind->get(key, 0, 0);
        int rc = any >= 0         ? kind->accept(request->state, any, false)
                 : any == -ENOENT ? -EIDRM
                                  : any;
        id = rc < 0 ? rc : find_existing(request, key, access);
    }
    if (id < 0 || kind->accept == NULL) {
        return id;
    }
    int rc = kind->accept(request->state, id, false);
    return rc < 0 ? rc : id;
}

/* Look up the key again if the object was removed before it was accepted. */
static int
open_existing(struct core_request *request, key_t key, int *access)
{
    int rc;
    do {
        rc = find_accepted(request, key, access);
        if (rc == -EIDRM) {
            rc = core_try_again(&request->attempts, rc);
        }
    } while (rc == CORE_AGAIN);
    return rc;
}

/* Start again if an object appears or disappears between the two calls. */
static int
open_or_create(struct core_request *request, struct core_opened *opened)
{
    int id;
    do {
        id = open_existing(request, opened->key, &opened->access);
        if (id != -ENOENT || !(request->flags & IPC_CREAT)) {
            return id;
        }
        id = request->kind->create(request, opened->key);
        if (id == -EEXIST) {
            id = core_try_again(&request->attempts, id);
        }
    } while (id == CORE_AGAIN);
    opened->created = true;
    return id;
}

static int
create_with_random_key(struct core_request *request,
                       struct core_opened *opened)
{
    int id;
    do {
        uint32_t bits;
        int rc = os_random_bits(&bits);
        if (rc < 0) {
            return rc;
        }
        opened->key = (key_t)(bits & 0x7fffffff);
        id = opened->key == IPC_PRIVATE
                 ? -EEXIST
                 : request->kind->create(request, opened->key);
        if (id == -EEXIST) {
            id = core_try_again(&request->attempts, id);
        }
    } while (id == CORE_AGAIN);
    return id;
}

int
core_open_failed(CoreState *state, const struct core_request *request,
                 const struct core_opened *opened, int rc)
{
    struct core_target target = {request->kind, opened->key, CORE_NO_ID};
    if (rc == -EBUSY) {
        (void)core_refuse(state, EAGAIN, target,
                          "the set with key %d (0x%x) has no values yet: its "
                          "creator is still at work, or was killed; try "
                          "again, or remove the set",
                          (int)opened->key, (unsigned int)opened->key);
    }
    else if (rc == -EINVAL && opened->created && request->size == 0 &&
             request->kind->size_argument != NULL) {
        (void)core_refuse(state, EINVAL, target,
                          "there is no %s with key %d (0x%x) yet: pass %s= to "
                          "create it",
                          request->kind->sized, (int)opened->key,
                          (unsigned int)opened->key,
                          request->kind->size_argument);
    }
    else {
        (void)core_raise(state, rc,
                         opened->created ? CORE_OPERATION_CREATE
                                         : CORE_OPERATION_OPEN,
                         target);
    }
    if (request->attempts >= CORE_MOST_ATTEMPTS) {
        core_error_add_attempts(state, CORE_MOST_ATTEMPTS);
    }
    if (rc != CORE_RAISED) {
        note_misplaced(request);
    }
    return -1;
}

int
core_open_or_create(CoreState *state, struct core_request *request,
                    struct core_opened *opened)
{
    request->state = state;
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
        return core_open_failed(state, request, opened, id);
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

/* Add the kind and key to an error about an argument. */
void
core_construct_failed(CoreHandle *self, PyObject *key)
{
    struct core_target target = {self->kind, CORE_NO_KEY, CORE_NO_ID};
    if (PyLong_CheckExact(key)) {
        target.key = (key_t)PyLong_AsUnsignedLongMask(key);
    }
    core_error_set_target(self->state, target);
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
