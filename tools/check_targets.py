"""Compile every C file and C test for other machines, C libraries and systems, warnings as errors.

Nothing is linked or run.  Debian's cross compilers compile for other machines, musl-gcc for Alpine,
and zig (PyPI's ziglang), which contains the headers, for 32-bit Alpine, macOS and FreeBSD.
Python.h is that of this interpreter, with a pyconfig.h that has the sizes of the target.  No object
file may refer to an atomic function of libatomic, because few systems have that library.
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
    """A target: its name, the compiler with arguments, and the package of the compiler."""

    name: str
    compiler: tuple[str, ...]
    package: str
    #: True if it has IPC namespaces, which the C tests need.
    is_linux: bool = True


def debian(name: str, triple: str, *arguments: str) -> Target:
    """Return a target for one of Debian's cross compilers."""
    package = f"gcc-{triple} libc6-dev-{ARCHITECTURES[triple]}-cross"
    return Target(name, (f"{triple}-gcc", *arguments), package)


#: Debian's names for the triples of gcc.
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
    # On 32-bit Alpine, long has 32 bits and time_t has 64.
    Target("musl, i386", (*ZIG, "x86-linux-musl"), ""),
    Target("musl, armv6", (*ZIG, "arm-linux-musleabihf", "-mcpu=arm1176jzf_s"), ""),
    Target("musl, armv7", (*ZIG, "arm-linux-musleabihf", "-mcpu=generic+v7a"), ""),
    *(
        Target(f"{system}, {machine}", (*ZIG, f"{machine}-{system}"), "", is_linux=False)
        for system in ("macos", "freebsd")
        for machine in ("x86_64", "aarch64")
    ),
]
#: The sizes in a pyconfig.h, and the compiler's macros for them.
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
    """Link this interpreter's headers in a folder, with a pyconfig.h for any machine."""
    for header in Path(sysconfig.get_path("include")).iterdir():
        if header.name != "pyconfig.h":
            (folder / header.name).symlink_to(header)
    with open(sysconfig.get_config_h_filename(), encoding="utf-8") as file:
        values = sysconfig.parse_config_h(file)
    if "SIZEOF_LONG" not in values:
        sys.exit(f"{sysconfig.get_config_h_filename()} contains no sizes")
    values |= {f"SIZEOF_{name}": value for name, value in SIZES.items()}
    lines = [f"#define {name} {value}\n" for name, value in values.items() if value != 0]
    (folder / "pyconfig.h").write_text("".join(lines))


def compile_one(target: Target, source: Path, headers: Path, folder: Path) -> str:
    """Compile one file; return the errors, or an empty string."""
    output = folder / f"{target.name}-{source.parent.name}-{source.stem}.o"
    command = [*target.compiler, *FLAGS, "-isystem", str(headers), "-I", str(SOURCE), "-c"]
    done = subprocess.run(
        [*command, str(source), "-o", str(output)], capture_output=True, text=True
    )
    if done.returncode != 0:
        return done.stdout + done.stderr
    # Every format of object files contains the names of symbols as text, so no nm is needed; each
    # nm supports only some machines.
    names = sorted({name.decode() for name in re.findall(rb"__atomic_\w+", output.read_bytes())})
    return f"{source.name} needs libatomic: {', '.join(names)}\n" if names else ""


def finds_headers(compiler: str) -> bool:
    """Return True if the compiler and its C library are installed."""
    command = [compiler, "-fsyntax-only", "-x", "c", "-"]
    if not shutil.which(compiler):
        return False
    done = subprocess.run(command, input=b"#include <stdio.h>\n", capture_output=True)
    return done.returncode == 0


def missing() -> Iterator[str]:
    """Yield a message for each missing package."""
    for target in TARGETS:
        if target.package and not finds_headers(target.compiler[0]):
            yield f"no {target.compiler[0]}, or no headers: apt-get install {target.package}"
    if subprocess.run([*ZIG[:3], "version"], capture_output=True).returncode != 0:
        yield f"no ziglang: {sys.executable} -m pip install --group lint"


def main() -> int:
    """Compile every file for every target; print the targets for which that fails."""
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
        print(f"errors or warnings for: {'; '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
