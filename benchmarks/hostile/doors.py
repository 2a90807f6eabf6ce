"""Attacks on the sandbox for model-written code by the kernel's own doors: mounts, namespaces, rare calls, limits, clocks.

Not here: bombs, noise and leftovers (`harm.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from evolvent.sandbox import seccomp
from hostile.base import Attack, Json
from hostile.probes import probe

__all__ = ["ATTACKS"]

Bodies = Callable[[Json], Sequence[str]]


def _calls(*rows: tuple[str | int, str]) -> Bodies:
    """System calls by name or number, each with several lists of arguments."""
    column = seccomp.machine() or 0

    def bodies(_: Json) -> list[str]:
        made = []
        for name, arguments in rows:
            number = name if isinstance(name, int) else seccomp.NUMBERS[name][column]
            if number:
                made += [f"call({number}, {row}); return True" for row in arguments.split("; ")]
        return made

    return bodies


_RAISES = tuple(
    f"resource.setrlimit(resource.{kind}, ({new}, {new})); return resource.getrlimit(resource.{kind})[0] in (-1, {new})"
    for kind in ("RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_CORE")
    for new in ("-1", "1 << 40", "1 << 33")
) + tuple(
    f"b = ctypes.create_string_buffer(struct.pack('QQ', {new}, {new}))\ncall({number}, {first}{kind}, b{rest})\nreturn True"
    for number, first, rest in ((160, "", ""), (302, "0, ", ", 0"))
    for kind in (1, 4, 6, 7, 9)
    for new in (1 << 33, 1 << 41)
)


_CLOCKS = tuple(
    f"{way}; return True"
    for way in (
        "time.clock_settime(time.CLOCK_REALTIME, 0)",
        "time.clock_settime(time.CLOCK_REALTIME, time.time())",
        "call(227, 0, struct.pack('qq', 9, 0))",
        "call(164, struct.pack('qq', 9, 0), 0)",
        "call(159, ctypes.create_string_buffer(struct.pack('I', 0x0002) + bytes(204)))",
        "call(305, 0, ctypes.create_string_buffer(struct.pack('I', 0x0002) + bytes(204)))",
        "socket.sethostname('evil')",
        "call(170, ctypes.c_char_p(b'evil'), 4)",
        "call(171, ctypes.c_char_p(b'evil'), 4)",
        "call(135, 0x0040000)",
        "call(37, 1); signal.pause()",
    )
)


ATTACKS: tuple[Attack, ...] = (
    probe(
        "mounts",
        "S13",
        "filter",
        _calls(
            (
                "mount",
                "0, ctypes.c_char_p(b'/tmp'), ctypes.c_char_p(b'tmpfs'), 0, 0; ctypes.c_char_p(b'/'), ctypes.c_char_p(b'/tmp'), 0, 4096, 0; "
                "0, ctypes.c_char_p(b'/'), 0, 0x100000, 0; ctypes.c_char_p(b'proc'), ctypes.c_char_p(b'/tmp'), ctypes.c_char_p(b'proc'), 0, 0",
            ),
            ("umount2", "ctypes.c_char_p(b'/tmp'), 2; ctypes.c_char_p(b'/'), 2; ctypes.c_char_p(b'/proc'), 2"),
            (428, "-100, ctypes.c_char_p(b'/'), 1; -100, ctypes.c_char_p(b'/tmp'), 0"),
            (429, "-1, 0, -1, 0, 0"),
            (442, "-1, 0, 0, 0, 0"),
            (430, "ctypes.c_char_p(b'tmpfs'), 0; ctypes.c_char_p(b'proc'), 0"),
            (432, "-1, 0, 0"),
        ),
    ),
    probe(
        "namespaces",
        "S13",
        "filter",
        _calls(
            (
                "unshare",
                "0x10000000; 0x00020000; 0x40000000; 0x20000000; 0x08000000; 0x04000000; 0x02000000; 0x00000080; 0x200; 0x400",
            ),
            ("setns", "-1, 0; 3, 0; 4, 0x10000000"),
            ("clone", "0x10000000 | 17, 0, 0, 0, 0; 0x7e020000 | 17, 0, 0, 0, 0"),
        ),
    ),
    probe(
        "another root",
        "S13",
        "filter",
        lambda _: [
            f"{way}; return True"
            for place in ("'/tmp'", "'/'", "'.'", "'..'")
            for way in (
                f"os.chroot({place})",
                f"call(161, ctypes.c_char_p({place}.encode()))",
                f"call(155, ctypes.c_char_p({place}.encode()), ctypes.c_char_p({place}.encode()))",
            )
        ],
    ),
    probe(
        "io_uring",
        "S14",
        "filter",
        _calls(
            (425, "1, 0; 8, ctypes.create_string_buffer(120); 4096, ctypes.create_string_buffer(120)"),
            (426, "-1, 1, 0, 0, 0, 0; 3, 1, 1, 0, 0, 0"),
            (427, "-1, 0, 0, 0; 3, 4, 0, 0"),
            (206, "1, ctypes.create_string_buffer(8)"),
        ),
    ),
    probe(
        "bpf, perf, userfaultfd",
        "S14",
        "filter",
        _calls(
            ("bpf", "0, ctypes.create_string_buffer(128), 128; 5, ctypes.create_string_buffer(128), 128; 13, 0, 0"),
            (
                "perf_event_open",
                "ctypes.create_string_buffer(struct.pack('II', 1, 128) + bytes(120)), 0, -1, -1, 0; 0, 0, -1, -1, 0",
            ),
            ("userfaultfd", "0; 1; 0o2000000"),
            ("fanotify_init", "0, 0"),
            ("seccomp", "0, 0, 0; 1, 0, 0; 2, 0, ctypes.create_string_buffer(8)"),
        ),
    ),
    probe(
        "keys, shared memory, message queues",
        "S14",
        "filter",
        _calls(
            ("keyctl", "0, -3, 0; 1, 0; 6, -3; 11, 1, 0, 0"),
            ("add_key", "ctypes.c_char_p(b'user'), ctypes.c_char_p(b'a'), ctypes.c_char_p(b'b'), 1, -3"),
            ("request_key", "ctypes.c_char_p(b'user'), ctypes.c_char_p(b'a'), 0, -3"),
            ("shmget", "0, 4096, 0o1600; 7, 4096, 0o1666"),
            ("msgget", "0, 0o1600; 7, 0o1666"),
            ("semget", "0, 1, 0o1600; 7, 1, 0o1666"),
            (240, "ctypes.c_char_p(b'q'), 0o102, 0o600, 0"),
            (319, "ctypes.c_char_p(b'm'), 0; ctypes.c_char_p(b'm'), 3"),
            (447, "0"),
        ),
    ),
    probe(
        "the kernel's own doors: modules, kexec, swap, ports",
        "S14",
        "filter; no capabilities",
        _calls(
            ("init_module", "0, 0, 0"),
            ("finit_module", "-1, 0, 0"),
            ("kexec_load", "0, 0, 0, 0"),
            ("reboot", "0xfee1dead, 672274793, 0, 0"),
            ("swapon", "ctypes.c_char_p(b'/tmp/x'), 0"),
            ("acct", "0"),
            ("syslog", "3, 0, 0; 10, 0, 0"),
            ("iopl", "3"),
            ("ioperm", "0, 8, 1"),
            ("quotactl", "0, 0, 0, 0"),
            ("personality", "0x0400000"),
            ("name_to_handle_at", "-100, ctypes.c_char_p(b'/'), 0, 0, 0"),
            ("open_by_handle_at", "-100, 0, 0"),
            (444, "0, 0, 1; 0, 0, 0"),
            (179, "0, 0, 0, 0"),
        ),
        no_control="even a weakened box must not load modules or restart the machine",
    ),
    probe(
        "clock, host name, personality",
        "S17",
        "filter; own host name namespace",
        lambda _: _CLOCKS,
        ends=("crashed", "timeout"),
    ),
    probe(
        "descriptors used up",
        "S18",
        "limit of descriptors",
        lambda _: [
            f"kept = []\nfor _ in range({n}):\n    {way}\nreturn True"
            for n in (100, 300, 3000)
            for way in (
                "kept.append(os.open('/', os.O_RDONLY))",
                "kept.extend(os.pipe())",
                "kept.append(os.dup(1))",
                "kept.append(open('x', 'w'))",
                "kept.append(select.epoll())",
            )
        ],
    ),
    probe(
        "a core dump",
        "S18",
        "limit of 0; not dumpable",
        lambda _: [
            f"{before}\n{end}"
            for before in ("os.chdir('/tmp')", "os.chdir('/')")
            for end in (
                "os.abort()",
                "ctypes.string_at(0)",
                "signal.raise_signal(signal.SIGSEGV)",
                "signal.raise_signal(signal.SIGQUIT)",
                "_libc.abort()",
            )
        ],
        ends=("crashed",),
        no_control="a box must not dump cores either",
    ),
    probe("limits raised again", "S18", "hard limits; filter", lambda _: _RAISES, box={"soft": True}),
)
