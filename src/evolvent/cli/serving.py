"""The command that serves a model to this machine.

Not here: the server (`serve/`), which version is champion (`run.py`).
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from evolvent.cli.base import HERE, AsJson, Dir, emit, opened, show
from evolvent.cli.stopping import Stop
from evolvent.errors import UsageError


def serve(
    folder: Dir = HERE,
    model: Annotated[str, typer.Option("--model", help="Serve this model folder instead of a run's champion.")] = "",
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    as_json: AsJson = False,
) -> None:
    """Answer OpenAI's HTTP interface with the champion's raw model, until stopped. No scaffold, no encryption."""
    from evolvent.serve import Served, Server

    name, files, about = _folder(model) if model else _champion(folder)
    served = Served(name, files)
    server = Server(served, host=host, port=port)
    where = {"address": server.url, "model": name, "fingerprint": served.fingerprint, **about}
    with suppress(KeyboardInterrupt, Stop):
        if as_json:
            emit(where)
        else:
            what = (
                "{version}, the raw model; its scaffold ({scaffold}) is left aside".format(**about) if about else name
            )
            show(f"{server.url} serves {what}")
        server.serve_forever()
    server.end()


def _folder(model: str) -> tuple[str, dict[str, bytes], dict[str, Any]]:
    from evolvent.inputs import seed_files

    return Path(model).expanduser().resolve().name, seed_files(model), {}


def _champion(folder: Path) -> tuple[str, dict[str, bytes], dict[str, Any]]:
    with opened(folder) as (run, ledger):
        state = run.state(ledger)
        if not state.champion:
            raise UsageError(f"{folder}: the run has no champion yet; `evolvent run -C {folder}` goes on with it")
        candidate = state.versions[state.champion]["candidate"]
        about = {"version": state.champion[:12], "scaffold": candidate["scaffold"]["kind"]}
        return "champion", run.store.read_tree(candidate["model"]), about
