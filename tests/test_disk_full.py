"""A run on a disk that is really full: one message with a remedy, and the same events once there is space."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import evolvent
import toy_world
from evolvent.plan import CONFIG_NAME

pytestmark = pytest.mark.slow

# A file system of its own, in a namespace of its own: it is gone with the script.
_SCRIPT = """
mount -t tmpfs -o size=$SIZE tmpfs "$RUN" && cp "$SETTINGS" "$RUN/evolvent.yaml" || exit 9
"$PYTHON" -m evolvent run -C "$RUN" 2> "$OUT/error"; echo $? > "$OUT/code"
mount -o remount,size=400m "$RUN"
"$PYTHON" -m evolvent run -C "$RUN" && cp -r "$RUN" "$OUT/run"
"""


def permitted() -> bool:
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return False
    tried = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False)
    return tried.returncode == 0


@pytest.mark.skipif(not permitted(), reason="no file system can be mounted here")
@pytest.mark.parametrize("size", ["200k", "500k", "700k"])
def test_a_full_disk_stops_the_run_with_a_remedy_and_loses_nothing(size: str, toy_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "mounted"
    run.mkdir()
    env = {
        **os.environ, "SIZE": size, "RUN": str(run), "OUT": str(tmp_path), "PYTHON": sys.executable,
        "SETTINGS": str(toy_run / CONFIG_NAME), "PYTHONPATH": str(Path(evolvent.__file__).parents[1]),
        "EVOLVENT_JUDGE_SECRET_HEX": toy_world.SECRET,
    }  # fmt: skip
    subprocess.run(["unshare", "-m", "sh", "-c", _SCRIPT], env=env, check=True, stdout=subprocess.DEVNULL)
    told = (tmp_path / "error").read_text()
    assert ((tmp_path / "code").read_text().strip(), told.count("error: ")) == ("1", 1), told
    assert "free space" in told
    assert "Traceback" not in told
    assert toy_world.hashes(tmp_path / "run") == toy_world.hashes(toy_run)
