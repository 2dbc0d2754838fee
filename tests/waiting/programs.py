"""The first lines of programs that wait for messages."""

import sysv_ipc

#: The signal that the library chooses for its waits: usually the last but one.
CHOSEN = sysv_ipc.set_wait_signal(None)
sysv_ipc.set_wait_signal(CHOSEN)

NO_MESSAGE = """
def wait(seconds=0.02):
    try:
        queue.receive(timeout=seconds)
    except sysv_ipc.BusyError:
        return True
"""
START = f"""
import os, select, signal, socket, subprocess, sys, threading, time, warnings
import sysv_ipc
queue = sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX)
chosen = {CHOSEN}
{NO_MESSAGE}
"""
