/* key_from_name NAME: print the key that sysv_ipc.key_from_name() returns for
 * a name.
 *
 * The key is the low 31 bits of the name's 32-bit FNV-1a hash, or 1 if they
 * are 0. */
#include <stdint.h>
#include <stdio.h>
#include <sys/ipc.h>
#include <sys/types.h>

static key_t
key_from_name(const char *name)
{
    uint32_t hash = 2166136261U;
    for (; *name != '\0'; name++) {
        hash = (hash ^ (unsigned char)*name) * 16777619U;
    }
    hash &= 0x7fffffff;
    return hash == 0 ? 1 : (key_t)hash;
}

int
main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: key_from_name NAME\n");
        return 2;
    }
    printf("%d\n", (int)key_from_name(argv[1]));
    return 0;
}
