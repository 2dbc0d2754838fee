/* The list of the calls in progress, and its lock. */
#include "os/wait/list.h"

pthread_mutex_t os_wait_lock = PTHREAD_MUTEX_INITIALIZER;
struct os_wait *os_wait_first;
