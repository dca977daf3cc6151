"""The worker's main: a job on stdin, progress and the package as JSON lines on stdout."""

from __future__ import annotations

import os
import queue
import sys
import threading

from ...core.errors import StanchionError
from ..ports import Progress, Spine
from .job import done
from .wire import decode_job, encode


def main() -> int:
    """0 when a package or a problem was told; an error that is not of the tree ends with its traceback."""
    # Declared code may print: what it prints goes to stderr, so that stdout holds nothing but our lines.
    out = os.dup(1)
    os.dup2(2, 1)
    job = decode_job(sys.stdin.buffer.readline())
    answers: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(answers,), daemon=True).start()

    def tell(progress: Progress) -> None:
        _write(out, encode(progress))

    def join(spine: Spine) -> str:
        _write(out, encode(spine))
        return answers.get()

    try:
        answer = encode(done(job, tell, join))
    except StanchionError as error:
        answer = encode(error)
    _write(out, answer)
    return 0


def _write(descriptor: int, line: bytes) -> None:
    while line:
        line = line[os.write(descriptor, line) :]


def _listen(answers: queue.SimpleQueue[str]) -> None:
    """Take the parent's lines. It holds stdin open while it lives: at its end there is nobody left to train for.

    Read from the descriptor: a thread inside sys.stdin's lock would abort the interpreter at its end.
    """
    held = b""
    while piece := os.read(0, 4096):
        *lines, held = (held + piece).split(b"\n")
        for line in lines:
            answers.put(line.decode())
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
