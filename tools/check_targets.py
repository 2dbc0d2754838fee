"""Compile every C file and C test for other machines, C libraries and systems, warnings as errors.

Nothing is linked or run.  Debian's cross compilers stand for other machines, musl-gcc for Alpine,
zig (PyPI's ziglang) for Alpine of 32 bits, macOS and FreeBSD, whose headers it brings along.
Python.h is that of the interpreter that runs this, with a pyconfig.h whose sizes are those of the
target.  What is left undefined of atomics would need a library, libatomic, which few have: no
object file may name such a function.
"""

import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1].resolve()
SOURCE = ROOT / "src"
FLAGS = [
    *("-std=gnu11", "-D_GNU_SOURCE", "-O1", "-fPIC", "-Werror", "-Wall", "-Wextra", "-Wconversion"),
    *("-Wshadow", "-Wstrict-prototypes", "-Wmissing-prototypes", "-Wvla", "-Wformat=2"),
    '-DSYSV_IPC_VERSION="0"',
]
ARMV6 = ("-march=armv6+fp", "-marm", "-mfloat-abi=hard")  # Raspberry Pi OS
TIME64 = ("-D_TIME_BITS=64", "-D_FILE_OFFSET_BITS=64")  # Debian 13's armhf
ZIG = (sys.executable, "-m", "ziglang", "cc", "-target")


class Target(NamedTuple):
    """What is compiled for: its name, the compiler with its arguments, and who brings it."""

    name: str
    compiler: tuple[str, ...]
    package: str
    #: Whether it has IPC namespaces, which the C tests need.
    is_linux: bool = True


def debian(name: str, triple: str, *arguments: str) -> Target:
    """Return a target of one of Debian's cross compilers."""
    package = f"gcc-{triple} libc6-dev-{ARCHITECTURES[triple]}-cross"
    return Target(name, (f"{triple}-gcc", *arguments), package)


#: Debian's names of what gcc names by triples.
ARCHITECTURES = {
    "arm-linux-gnueabihf": "armhf",
    "aarch64-linux-gnu": "arm64",
    "i686-linux-gnu": "i386",
    "mipsel-linux-gnu": "mipsel",
    "s390x-linux-gnu": "s390x",
}
TARGETS = [
    Target("musl", ("musl-gcc",), "musl-tools"),
    debian("armv6", "arm-linux-gnueabihf", *ARMV6),
    debian("armv7", "arm-linux-gnueabihf"),
    debian("armv7, 64-bit time_t", "arm-linux-gnueabihf", *TIME64),
    debian("aarch64", "aarch64-linux-gnu"),
    debian("i386", "i686-linux-gnu"),
    debian("i386, 64-bit time_t", "i686-linux-gnu", *TIME64),
    debian("mipsel", "mipsel-linux-gnu"),
    debian("s390x", "s390x-linux-gnu"),
    # Alpine's 32 bits have a long of 32 and a time_t of 64.
    Target("musl, i386", (*ZIG, "x86-linux-musl"), ""),
    Target("musl, armv6", (*ZIG, "arm-linux-musleabihf", "-mcpu=arm1176jzf_s"), ""),
    Target("musl, armv7", (*ZIG, "arm-linux-musleabihf", "-mcpu=generic+v7a"), ""),
    *(
        Target(f"{system}, {machine}", (*ZIG, f"{machine}-{system}"), "", is_linux=False)
        for system in ("macos", "freebsd")
        for machine in ("x86_64", "aarch64")
    ),
]
#: Sizes that a pyconfig.h tells, and the compiler's own words for them.
SIZES = {
    "INT": "__SIZEOF_INT__",
    "LONG": "__SIZEOF_LONG__",
    "LONG_LONG": "__SIZEOF_LONG_LONG__",
    "LONG_DOUBLE": "__SIZEOF_LONG_DOUBLE__",
    "SIZE_T": "__SIZEOF_SIZE_T__",
    "SSIZE_T": "__SIZEOF_SIZE_T__",
    "UINTPTR_T": "__SIZEOF_POINTER__",
    "VOID_P": "__SIZEOF_POINTER__",
    "WCHAR_T": "__SIZEOF_WCHAR_T__",
    "PTHREAD_T": "__SIZEOF_POINTER__",
    "PTHREAD_KEY_T": "__SIZEOF_INT__",
}


def make_headers(folder: Path) -> None:
    """Put this interpreter's headers into a folder, with a pyconfig.h for any machine."""
    for header in Path(sysconfig.get_path("include")).iterdir():
        if header.name != "pyconfig.h":
            (folder / header.name).symlink_to(header)
    with open(sysconfig.get_config_h_filename(), encoding="utf-8") as file:
        values = sysconfig.parse_config_h(file)
    if "SIZEOF_LONG" not in values:
        sys.exit(f"{sysconfig.get_config_h_filename()} tells no sizes")
    values |= {f"SIZEOF_{name}": value for name, value in SIZES.items()}
    lines = [f"#define {name} {value}\n" for name, value in values.items() if value != 0]
    (folder / "pyconfig.h").write_text("".join(lines))


def compile_one(target: Target, source: Path, headers: Path, folder: Path) -> str:
    """Compile one file and return what is wrong, or nothing."""
    output = folder / f"{target.name}-{source.parent.name}-{source.stem}.o"
    command = [*target.compiler, *FLAGS, "-isystem", str(headers), "-I", str(SOURCE), "-c"]
    done = subprocess.run(
        [*command, str(source), "-o", str(output)], capture_output=True, text=True
    )
    if done.returncode != 0:
        return done.stdout + done.stderr
    # The names of an object file's symbols stand in it as they are, whatever its format: no nm is
    # needed, of which each reads some machines only.
    names = sorted({name.decode() for name in re.findall(rb"__atomic_\w+", output.read_bytes())})
    return f"{source.name} needs libatomic: {', '.join(names)}\n" if names else ""


def finds_headers(compiler: str) -> bool:
    """Whether there is such a compiler, with the C library that it compiles for."""
    command = [compiler, "-fsyntax-only", "-x", "c", "-"]
    if not shutil.which(compiler):
        return False
    done = subprocess.run(command, input=b"#include <stdio.h>\n", capture_output=True)
    return done.returncode == 0


def missing() -> Iterator[str]:
    """Yield what is to be installed for the targets."""
    for target in TARGETS:
        if target.package and not finds_headers(target.compiler[0]):
            yield f"no {target.compiler[0]}, or no headers: apt-get install {target.package}"
    if subprocess.run([*ZIG[:3], "version"], capture_output=True).returncode != 0:
        yield f"no ziglang: {sys.executable} -m pip install --group lint"


def main() -> int:
    """Compile all for all, and tell the targets for which that fails."""
    if problems := sorted(set(missing())):
        print("\n".join(problems))
        return 1
    everywhere = sorted(SOURCE.rglob("*.c"))
    on_linux = [*everywhere, *sorted((ROOT / "tests/os").glob("*.c"))]
    failed = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        headers = folder / "python"
        headers.mkdir()
        make_headers(headers)
        with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            jobs = {
                target.name: [
                    pool.submit(compile_one, target, source, headers, folder)
                    for source in (on_linux if target.is_linux else everywhere)
                ]
                for target in TARGETS
            }
            for target, results in jobs.items():
                if text := "".join(job.result() for job in results):
                    print(f"--- {target}\n{text}", end="")
                    failed.append(target)
    if failed:
        print(f"not without warnings for: {'; '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
