/* For the peers, programs in C that the tests control.  A peer reads commands
 * from its standard input, one on each line, and answers each command with a
 * line.  Numbers are decimal, modes are octal, and bytes are hexadecimal
 * digits ("-" for no bytes).  If a system call fails, the answer is "error"
 * and the errno. */
#ifndef PEER_H
#define PEER_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/types.h>

#define WORDS_MAX 8

struct command {
    char line[200000];
    char *words[WORDS_MAX];
    int count;
};

/* Read the next command.  The words after the last one are empty. */
static inline int
next_command(struct command *command)
{
    if (fgets(command->line, sizeof(command->line), stdin) == NULL) {
        return 0;
    }
    command->count = 0;
    char *rest = NULL;
    char *word = strtok_r(command->line, " \n", &rest);
    while (word != NULL && command->count < WORDS_MAX) {
        command->words[command->count++] = word;
        word = strtok_r(NULL, " \n", &rest);
    }
    for (int i = command->count; i < WORDS_MAX; i++) {
        command->words[i] = "";
    }
    return 1;
}

static inline int
is(const struct command *command, const char *name)
{
    return strcmp(command->words[0], name) == 0;
}

static inline long long
number(const struct command *command, int index)
{
    return strtoll(command->words[index], NULL, 10);
}

static inline int
octal(const struct command *command, int index)
{
    return (int)strtol(command->words[index], NULL, 8);
}

/* Return 1 if one of the words from this index on is the flag. */
static inline int
has(const struct command *command, int index, const char *flag)
{
    for (int i = index; i < command->count; i++) {
        if (strcmp(command->words[i], flag) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Convert hexadecimal digits to bytes.  Return the number of bytes. */
static inline size_t
bytes_of(const char *digits, char *bytes)
{
    size_t size = digits[0] == '-' ? 0 : strlen(digits) / 2;
    for (size_t i = 0; i < size; i++) {
        unsigned int byte;
        (void)sscanf(digits + 2 * i, "%2x", &byte);
        bytes[i] = (char)byte;
    }
    return size;
}

static inline void
print_bytes(const char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        printf("%02x", (unsigned char)bytes[i]);
    }
    printf(size == 0 ? "-" : "");
}

static inline void
end_answer(void)
{
    printf("\n");
    (void)fflush(stdout);
}

/* Answer with the result of a system call, or with its errno. */
static inline void
answer(long long result)
{
    if (result == -1) {
        printf("error %d", errno);
    }
    else {
        printf("%lld", result);
    }
    end_answer();
}

#endif
