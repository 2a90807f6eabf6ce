"""Which tier is found where. A host that lacks something is a process whose own filter refuses its system calls."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evolvent.errors import SandboxError
from evolvent.sandbox import CodeSandbox, bubblewrap, tiers
from evolvent.sandbox.isolate import KERNEL, REDUCED
from evolvent.sandbox.tiers import BUBBLEWRAP, NAMESPACES, PROMOTING

linux = pytest.mark.skipif(sys.platform != "linux", reason="the hosts are made with Linux's filter")

HOST = """
import ctypes, errno, json, sys
from evolvent.sandbox import seccomp
{patch}
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(38, 1, 0, 0, 0)
refuse = seccomp.step(seccomp.RETURN, seccomp.ERRNO | errno.EPERM)
program = [seccomp.step(seccomp.LOAD_WORD, 0)]
for name in {refused!r}:
    program += [seccomp.step(seccomp.JUMP_EQ, seccomp.NUMBERS[name][seccomp.machine()], 0, 1), refuse]
assert seccomp.install(libc, b"".join([*program, seccomp.step(seccomp.RETURN, seccomp.ALLOW)]))
from evolvent.errors import SandboxError
from evolvent.sandbox import CodeSandbox
try:
    with CodeSandbox(warm=1) as box:
        outcome = box.call("def f(x): return x", "f", [["a"]])
        write = box.call("def f(): open('/tmp/x', 'w')", "f", [[]])
        told = {{"tier": box.tier, "value": outcome.results[0].value, "write": write.results[0].error}}
        told["why"] = box.ground.passed_over
except SandboxError as exc:
    told = {{"tier": "none", "exit": exc.exit_code, "why": str(exc)}}
print(json.dumps(told))
"""
LANDLOCK = "landlock_create_ruleset"


def host(*refused: str, patch: str = "") -> dict[str, Any]:
    """What a sandbox becomes where these calls are refused."""
    code = HOST.format(refused=refused, patch=patch)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@linux
@pytest.mark.parametrize(
    ("refused", "tier"),
    [
        ((), NAMESPACES),
        ((LANDLOCK,), NAMESPACES),
        (("unshare",), KERNEL),
        (("mount",), KERNEL),
        (("unshare", LANDLOCK), REDUCED),
        (("seccomp",), REDUCED),
        (("seccomp", "unshare"), "none"),
        (("seccomp", "unshare", LANDLOCK), "none"),
    ],
    ids="all no-landlock no-namespaces no-mount filter-only no-filter landlock-only nothing".split(),
)
def test_a_host_gets_the_strongest_tier_that_holds(refused: tuple[str, ...], tier: str) -> None:
    told = host(*refused)
    assert told["tier"] == tier, told
    if tier == "none":
        assert told["exit"] == 6
    else:
        assert told["value"] == "a"
        # Without a mount of its own no tier lets anything be written.
        assert (
            told["write"] == "" if "namespaces" in tier or refused == ("seccomp",) else "not permitted" in told["write"]
        )
    assert bool(told["why"]) == (tier != NAMESPACES)


def left_by_probes() -> set[Path]:
    """Sixteen letters or more: what `isolate` tries in a process beside this test has a shorter name."""
    name = f".evolvent-probe-{'?' * 16}*"
    return {path for folder in ("/", "/dev/shm", "/tmp", "/var/tmp") for path in Path(folder).glob(name)}


@linux
@pytest.mark.parametrize(
    "lie",
    [
        "lock._filter = lambda code: [lock.Step('system calls', bool, (), False)]",
        "namespaces._build_root = lambda sources: [os.close(handle) for _, handle in sources]; "
        "lock._world_rules = lambda *known: []",
        "allowlist._ALLOWED['memfd_create'] = seccomp.NUMBERS['memfd_create']",
        "allowlist._FCNTL_ALLOWED = (0, 1, 2, 3, 1030, 1031)",
        "allowlist._FCNTL_ALLOWED = (0, 1, 2, 3, 4, 1030)",
        "allowlist._IN_SCRATCH['utimensat'] = (280, 88)",
        "lock._descriptors = lambda: []",
    ],
    ids="filter root memory-file larger-pipe flags times descriptors".split(),
)
def test_a_protection_that_lies_is_found_and_no_weaker_tier_is_tried(lie: str) -> None:
    boot = f"import os\nfrom evolvent.sandbox import allowlist, lock, namespaces, seccomp\n{lie}\n"
    patch = (
        "from evolvent.sandbox import spawn\n"
        f"spawn._BOOT = spawn._BOOT.replace('from evolvent.sandbox.z', {boot!r} + 'from evolvent.sandbox.z')"
    )
    before = left_by_probes()
    told = host(patch=patch)
    assert told["tier"] == "none", told
    assert "got through" in told["why"] or "does not work" in told["why"]
    assert left_by_probes() == before, "what an attempt could write is taken away"


@linux
def test_hidden_paths_are_tried(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    with CodeSandbox(warm=0, hidden=[tmp_path, tmp_path / "secret"]) as box:
        assert box.tier in PROMOTING
    inside = Path(json.__file__)  # the standard library must be readable
    with pytest.raises(SandboxError, match="got through"):
        CodeSandbox(warm=0, hidden=[inside])


def test_other_systems_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SandboxError, match="so none is run") as refusal:
        CodeSandbox()
    assert refusal.value.exit_code == 6


def test_what_is_reduced_does_not_promote() -> None:
    assert PROMOTING == {BUBBLEWRAP, NAMESPACES, KERNEL}


def test_the_box_of_bubblewrap() -> None:
    argv = bubblewrap.argv("/usr/bin/bwrap", prefixes=[Path("/opt/python"), Path("/usr"), Path("/usr/bin")])
    text = " ".join(argv)
    assert argv[0] == "/usr/bin/bwrap"
    assert argv[-1] == "--"
    for needed in (
        "--unshare-user --disable-userns --unshare-all --die-with-parent --new-session --clearenv",
        "--ro-bind /usr /usr --symlink usr/lib /lib --symlink usr/lib64 /lib64 --symlink usr/bin /bin",
        "--ro-bind /opt/python /opt/python",
        "--proc /proc --dev /dev --size 1048576 --tmpfs /tmp",
        "--uid 65534 --gid 65534 --cap-drop ALL --hostname box",
    ):
        assert needed in text
    bound = [argv[at + 1] for at, part in enumerate(argv) if part == "--ro-bind"]
    assert not any(path.endswith(("/evolvent", "/judge")) for path in bound)
    assert "--share-net" not in argv


def test_bubblewrap_is_tried_first_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert [plan.tier for plan in tiers.plans()] == [BUBBLEWRAP, NAMESPACES, KERNEL, REDUCED, REDUCED]
