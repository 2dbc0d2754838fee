#!/bin/sh
# Say how full a queue is: queue_fill.sh KEY LIMIT.  The status is 0 if its fill
# is at most LIMIT percent.
set -eu

fill=$(sysv-ipc ls msg --key "$1" -o fill --no-header) || {
    echo "there is no queue with the key $1" >&2
    exit 1
}
echo "$fill"
[ "${fill% %}" -le "$2" ]
