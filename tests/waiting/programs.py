"""The beginning of programs that wait for messages."""

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
{NO_MESSAGE}
"""
