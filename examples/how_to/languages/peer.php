<?php
// peer.php KEY TYPE: the PHP side of python.py, with the extensions sysvsem, sysvmsg and shmop.

[, $key, $type] = array_map('intval', $argv);

// sem_get() and msg_get_queue() create what does not exist; shmop_open() with "w" does not.
$segment = shmop_open($key, 'w', 0, 0);
if ($segment === false || !msg_queue_exists($key)) {
    exit(1);
}
$lock = sem_get($key);
$queue = msg_get_queue($key);

sem_acquire($lock);
// "q" is a C long on 64-bit machines.  shm_attach() has a format of its own; shmop has bytes.
$count = unpack('q', shmop_read($segment, 0, 8))[1];
shmop_write($segment, pack('qa56', $count + 1, 'written by PHP'), 0);
sem_release($lock);

// The fourth argument is serialize: by default PHP sends its own format.
msg_send($queue, $type, 'hello from PHP', false);
