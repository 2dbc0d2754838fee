/* Convert keys, and make them from names and paths. */
#ifndef SYSV_IPC_CORE_KEY_H
#define SYSV_IPC_CORE_KEY_H

#include "core/args.h"

struct core_key {
    enum { CORE_KEY_VALUE, CORE_KEY_RANDOM, CORE_KEY_PRIVATE } type;
    key_t value;
};
CORE_SELDOM int core_key_slow(CoreState *state, PyObject *value,
                              struct core_key *out);

static inline int
core_key(CoreState *state, PyObject *value, struct core_key *out)
{
    if (PyLong_CheckExact(value)) {
        int overflow;
        long long wide = PyLong_AsLongLongAndOverflow(value, &overflow);
        if (overflow == 0 && (uint32_t)wide != IPC_PRIVATE) {
            *out = (struct core_key){CORE_KEY_VALUE, (key_t)(uint32_t)wide};
            return 0;
        }
    }
    return core_key_slow(state, value, out);
}

PyObject *core_ftok(PyObject *module, PyObject *args, PyObject *keywords);
PyObject *core_key_from_name(PyObject *module, PyObject *name);

#endif
