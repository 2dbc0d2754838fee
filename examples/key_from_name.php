<?php
// key_from_name.php NAME: print the key that sysv_ipc.key_from_name() returns.
//
// The low 31 bits of the name's 32-bit FNV-1a hash, or 1 if they are 0.

function key_from_name(string $name): int
{
    return (hexdec(hash('fnv1a32', $name)) & 0x7fffffff) ?: 1;
}

if ($argc !== 2) {
    fwrite(STDERR, "usage: key_from_name.php NAME\n");
    exit(2);
}
echo key_from_name($argv[1]), "\n";
