"""Export limits, use and fill of System V IPC objects as Prometheus metrics.

monitoring.py FILE.prom     write the metrics for node_exporter's textfile collector
monitoring.py               print them
"""

import sys
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest, write_to_textfile
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

import sysv_ipc

#: The names of a limit and of the number in use, in sysv_ipc.limits().
LIMITS = {
    "semmni": "semaphore_sets",
    "semmns": "semaphores",
    "shmmni": "segments",
    "shmall": "pages",
    "msgmni": "queues",
}


def label(record: sysv_ipc.MessageQueueInfo | sysv_ipc.SemaphoreInfo) -> str:
    """Return the key as ipcs shows it, or the id of an object without a key."""
    return f"{record.key & 0xFFFFFFFF:#010x}" if record.key else f"id:{record.id}"


class IpcCollector(Collector):
    def collect(self) -> Iterator[Metric]:
        yield from self.limits()
        yield from self.queues()
        yield self.waiting()

    def limits(self) -> Iterator[Metric]:
        now = sysv_ipc.limits()
        limit = GaugeMetricFamily("sysv_ipc_limit", "Limit of the system", labels=["limit"])
        used = GaugeMetricFamily("sysv_ipc_used", "Part of the limit in use", labels=["limit"])
        for name, use in LIMITS.items():
            limit.add_metric([name], getattr(now, name))
            used.add_metric([name], getattr(now, use))
        yield limit
        yield used

    def queues(self) -> Iterator[Metric]:
        fill = GaugeMetricFamily(
            "sysv_ipc_queue_fill_ratio", "Bytes in the queue / its capacity", labels=["object"]
        )
        messages = GaugeMetricFamily(
            "sysv_ipc_queue_messages", "Messages in the queue", labels=["object"]
        )
        for queue in sysv_ipc.message_queues():
            fill.add_metric([label(queue)], queue.current_bytes / max(queue.max_size, 1))
            messages.add_metric([label(queue)], queue.current_messages)
        yield fill
        yield messages

    def waiting(self) -> Metric:
        waiting = GaugeMetricFamily(
            "sysv_ipc_semaphore_waiting", "Threads that wait for the set", labels=["object"]
        )
        for record in sysv_ipc.semaphores(members=True):
            if record.members is not None:  # None: this user may not read the set
                threads = sum(member.waiting_for_nonzero for member in record.members)
                waiting.add_metric([label(record)], threads)
        return waiting


def main() -> None:
    registry = CollectorRegistry()
    registry.register(IpcCollector())
    if len(sys.argv) == 2:
        write_to_textfile(sys.argv[1], registry)
    else:
        sys.stdout.buffer.write(generate_latest(registry))


if __name__ == "__main__":
    main()
