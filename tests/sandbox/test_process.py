import os
import sys
import time
from pathlib import Path

import pytest

from evolvent.errors import SandboxError
from evolvent.sandbox import IsolatedProcess

ECHO = """
import os, sys, time
from evolvent.sandbox import read_frame, read_json, write_json
while (request := read_json(sys.stdin.buffer)) is not None:
    match request["do"]:
        case "echo":
            blobs = [read_frame(sys.stdin.buffer) for _ in range(request.get("blobs", 0))]
            write_json(sys.stdout.buffer, {"sizes": [len(b) for b in blobs], "env": dict(os.environ)})
        case "spin":
            while True: pass
        case "deaf":
            time.sleep(60)
        case "fail":
            raise RuntimeError("the reason")
        case "flood":
            os.write(1, b"J" + (1 << 29).to_bytes(4, "big"))
        case "junk":
            os.write(1, b"print left behind")
        case "child":
            pid = os.fork()
            if pid == 0:
                time.sleep(60)
            write_json(sys.stdout.buffer, {"pid": pid})
"""


def child(**options: object) -> IsolatedProcess:
    return IsolatedProcess([sys.executable, "-c", ECHO], max_frame_bytes=1 << 20, **options)  # pyright: ignore[reportArgumentType]  # options are the constructor's own


def gone(pid: int) -> bool:
    for _ in range(200):
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or ") Z " in state.read_text():
            return True
        time.sleep(0.01)
    return False


def test_call_carries_blobs_and_a_bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    with child(env={"MINE": "1"}) as process:
        answer = process.call({"do": "echo", "blobs": 2}, [b"abc", bytes(300_000)], timeout_s=20)
    assert answer["sizes"] == [3, 300_000]
    assert answer["env"]["MINE"] == "1"
    assert "SECRET_TOKEN" not in answer["env"]
    assert not process.alive


@pytest.mark.parametrize(
    ("do", "message"),
    [("spin", "no answer within"), ("fail", "the reason"), ("flood", "at most"), ("junk", "expected kind")],
)
def test_a_child_that_misbehaves_is_killed(do: str, message: str) -> None:
    with child() as process:
        with pytest.raises(SandboxError, match=message):
            process.call({"do": do}, timeout_s=1)
        assert not process.alive


def test_a_child_that_does_not_read_cannot_block_the_caller() -> None:
    with child() as process, pytest.raises(SandboxError, match="no answer within"):
        process.call({"do": "deaf"}, [bytes(1 << 20)], timeout_s=0.5)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_close_kills_what_the_child_started() -> None:
    process = child()
    pid = process.call({"do": "child"}, timeout_s=20)["pid"]
    process.close()
    process.close()
    assert gone(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="the death signal is Linux's")
def test_the_child_dies_with_its_parent() -> None:
    code = """
import os, sys
from evolvent.sandbox import IsolatedProcess
process = IsolatedProcess([sys.executable, "-c", "import time; time.sleep(60)"])
print(process.pid, flush=True)
os.kill(os.getpid(), 9)
"""
    read, write = os.pipe()
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-c", code],
        {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")},
        file_actions=[(os.POSIX_SPAWN_DUP2, write, 1)],
    )
    os.close(write)
    os.waitpid(pid, 0)
    with os.fdopen(read) as stream:
        assert gone(int(stream.readline()))
