"""Commands of a judge on another host: serve it, and make the key that it shares with a run.

Not here: the door itself (`judge/door.py`), pointing a run to it (`judge.url` and `judge.key` in the settings).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from evolvent.cli.base import AsJson, emit, show
from evolvent.errors import UsageError


def serve(  # noqa: PLR0917 - Typer reads a command's options from its parameters
    folder: Annotated[Path, typer.Option("--folder", file_okay=False, help="The judge's own folder, of one run.")],
    store: Annotated[Path, typer.Option("--store", file_okay=False, help="Where the versions sent to it are kept.")],
    task: Annotated[str, typer.Option("--task", help="Registered task, or module:name; as in the run's settings.")],
    key_file: Annotated[Path, typer.Option("--key", dir_okay=False, help="File of the key shared with the run.")],
    listen: Annotated[str, typer.Option("--listen", help="HOST:PORT; port 0 takes a free one.")] = "127.0.0.1:0",
    user: Annotated[str, typer.Option("--user", help="Account that the judge runs as, where root starts it.")] = "",
    network: Annotated[bool, typer.Option("--network", help="Leave the judge the network, for its verifier.")] = False,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads of a rollout worker.")] = 1,
    workers: Annotated[int, typer.Option("--workers", min=1, max=2, help="Rollout workers.")] = 2,
    as_json: AsJson = False,
) -> None:
    """Run a judge for a run on another host, until stopped. Authenticated by a shared key; not encrypted."""
    import socket

    from evolvent import tasks
    from evolvent.judge.client import JudgeClient
    from evolvent.judge.door import Door
    from evolvent.judge.separation import House
    from evolvent.judge.wire import address_of, read_key
    from evolvent.store import Store

    key, address = read_key(key_file), address_of(listen, "--listen")
    tasks.load(task)  # a wrong name is told now, and not at the first question
    try:
        listener = socket.create_server(address, family=socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
    except OSError as exc:
        raise UsageError(f"--listen {listen}: {exc.strerror or exc}; name an address of this machine") from None
    store.mkdir(parents=True, exist_ok=True)
    house = House(user=user, network=network, threads=threads, workers=workers)
    with listener, JudgeClient(folder, store, task, house=house) as judge:
        host, port = listener.getsockname()[:2]
        where = {"address": f"{host}:{port}", **judge.surroundings}
        if as_json:
            emit(where)
        else:
            show(f"judge of {folder} at {host}:{port}; commitment {where['commitment']}")
            show("authenticated by the key, not encrypted; stop with Ctrl-C, start again at will")
        Door(judge, Store(store), key, listener).serve()


def key(
    out: Annotated[Path, typer.Argument(metavar="FILE", dir_okay=False, help="File to write; never overwritten.")],
    as_json: AsJson = False,
) -> None:
    """Make a key for a judge on another host: copy it to both sides by a safe way."""
    from evolvent.judge.wire import new_key

    try:
        handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as exc:
        raise UsageError(f"{out}: cannot be made: {exc.strerror}; a key is never overwritten") from None
    with os.fdopen(handle, "w") as file:
        file.write(new_key() + "\n")
    if as_json:
        return emit({"key": str(out)})
    return show(f"wrote {out} (readable by you alone)")
