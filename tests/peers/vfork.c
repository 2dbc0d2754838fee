/* Attach the segment with the id in the argument, and call vfork(2).  The
 * child, in its parent's memory, writes a line and ends at the end of its
 * standard input. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

int
main(int argc, char **argv)
{
    if (argc != 2 || shmat(atoi(argv[1]), NULL, 0) == (void *)-1) {
        return 1;
    }
    pid_t child = vfork();
    if (child == 0) {
        char byte;
        if (write(STDOUT_FILENO, "\n", 1) == 1) {
            while (read(STDIN_FILENO, &byte, 1) > 0) {
            }
        }
        _exit(0);
    }
    return child < 0 || waitpid(child, NULL, 0) != child;
}
