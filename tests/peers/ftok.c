/* ftok PATH ID: print the key from ftok(3), in decimal. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/types.h>

int
main(int argc, char **argv)
{
    if (argc != 3) {
        return 2;
    }
    printf("%d\n", (int)ftok(argv[1], atoi(argv[2])));
    return 0;
}
