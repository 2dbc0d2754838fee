#!/bin/sh
# Find the objects of this user that no process uses any more, and remove them.
set -eu

# Find them: the column "state" says "unused".
sysv-ipc ls --mine

# Remove them, and nothing else.  Status 1 means that there were none.
for kind in sem shm msg; do
    sysv-ipc rm "$kind" --mine --yes || true
done
