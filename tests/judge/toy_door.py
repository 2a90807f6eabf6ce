"""A served judge of toy versions as a process: ``python toy_door.py FOLDER STORE KEY PORT``; prints its address.

As `evolvent judge serve`, with a worker that needs no tensor library.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from toy_judges import SECRET, TASK, WORKER

from evolvent.judge import JudgeClient
from evolvent.judge.door import Door
from evolvent.judge.wire import read_key
from evolvent.store import Store


def main() -> None:
    folder, store, key = map(Path, sys.argv[1:4])
    with (
        socket.create_server(("127.0.0.1", int(sys.argv[4]))) as listener,
        JudgeClient(folder, store, TASK, worker=WORKER, secret_hex=SECRET) as judge,
    ):
        door = Door(judge, Store(store), read_key(key), listener)
        print(listener.getsockname()[1], flush=True)
        door.serve()


if __name__ == "__main__":
    main()
