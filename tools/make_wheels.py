"""Build wheels for Linux machines on this one, without a container, and check them.

zig (PyPI's ziglang) compiles: it has the headers and the symbols of each release of glibc, and
musl.  The Python headers and build settings of other machines are those of Debian's packages,
which apt downloads into a folder of ~/.cache.  The wheels are built from the sdist.

Each wheel is checked: the platform tag, the contents, the metadata, that the extension has no
symbols that only debuggers use, and that it can be linked with the C library of its tag, which has
all functions that it calls.  The wheel for this machine is tested, and that for aarch64 is tried
under qemu-user.  The arguments name machines (all, if there are none); those that begin
with a hyphen go to pytest, such as -n2.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from check_packaging import (
    ENVIRONMENT,
    ROOT,
    build_sdist,
    copy_tree,
    run,
    say,
    source_files,
    test_wheel,
)
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

DIST = ROOT / "dist"
#: The oldest glibc, and the oldest musl, on which the wheels work.
GLIBC, MUSL = "2.28", "1_2"
VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"


class Machine(NamedTuple):
    """A machine: its names in Python's platforms, in Debian, in zig and in Meson."""

    name: str
    debian: str
    #: The name of the folder of libraries, without the C library: i386-linux-gnu.
    multiarch: str
    zig: str
    family: str
    endian: str = "little"
    #: The end of the name of the C library in multiarch and zig: gnueabihf.
    abi: str = ""


MACHINES = {
    machine.name: machine
    for machine in (
        Machine("x86_64", "amd64", "x86_64", "x86_64", "x86_64"),
        Machine("aarch64", "arm64", "aarch64", "aarch64", "aarch64"),
        Machine("armv7l", "armhf", "arm", "arm", "arm", abi="eabihf"),
        Machine("i686", "i386", "i386", "x86", "x86"),
        Machine("s390x", "s390x", "s390x", "s390x", "s390x", endian="big"),
    )
}


class Target(NamedTuple):
    """A machine and a C library, gnu or musl."""

    machine: Machine
    libc: str

    @property
    def multiarch(self) -> str:
        """The name in the file name of an extension."""
        return f"{self.machine.multiarch}-linux-{self.libc}{self.machine.abi}"

    def zig(self, version: str = "") -> list[str]:
        """Return the compiler, for a version of glibc."""
        triple = f"{self.machine.zig}-linux-{self.libc}{self.machine.abi}"
        release = f".{version or GLIBC}" if self.libc == "gnu" else ""
        cpu = ["-mcpu=generic+v7a"] if self.machine.family == "arm" else []
        return [sys.executable, "-m", "ziglang", "cc", "-target", f"{triple}{release}", *cpu]


def cache() -> Path:
    """Return the folder for what is downloaded."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sysv_ipc/wheels"


def debian_files(machine: Machine, *packages: str) -> Path:
    """Return a folder with the files of Debian's packages of another machine, and what they need.

    apt works in a folder of its own, so that nothing changes on this machine.
    """
    folder = cache() / f"{machine.debian}-{VERSION}"
    root = folder / "root"
    complete = folder / f"complete-{'-'.join(packages)}"
    if complete.exists():
        return root
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    options = {
        "APT::Architecture": machine.debian,
        "APT::Architectures": machine.debian,
        "APT::Sandbox::User": "root",
        "Acquire::Check-Valid-Until": "false",  # a mirror may be a snapshot
        "Acquire::Languages": "none",
        "Dir::Cache": str(folder / "cache"),
        "Dir::State": str(folder),
        "Dir::State::Lists": str(folder / "lists"),
        "Dir::State::status": str(folder / "status"),
    }
    apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in options.items())]
    # A mirror of one suite may be incomplete; the download says if that matters.
    subprocess.run([*apt, "update"], capture_output=True)
    install = ["install", "--yes", "--download-only", "--no-install-recommends"]
    run(*apt, *install, *packages, cwd=folder, quiet=True)
    for package in sorted((folder / "cache/archives").glob("*.deb")):
        run("dpkg-deb", "--extract", package, root, cwd=folder)
    complete.touch()
    return root


SETTINGS = """\
# The build settings of the target, for sysconfig.
import runpy
build_time_vars = runpy.run_path({original!r})["build_time_vars"]
build_time_vars.update(
    EXT_SUFFIX=".{abi}-{multiarch}.so",
    SOABI="{abi}-{multiarch}",
    MULTIARCH={multiarch!r},
    INCLUDEPY={include!r},
    LIBDIR="/nonexistent",
)
"""
#: -s leaves out symbols for debuggers.  -dynamic is for the programs that Meson tries the compiler
#: with: zig would build all of musl for them.
CROSS = """\
[binaries]
c = {c}
ar = {ar}
[built-in options]
c_args = {c_args}
c_link_args = ['-Wl,-s', '-dynamic']
[host_machine]
system = 'linux'
cpu_family = '{family}'
cpu = '{name}'
endian = '{endian}'
"""


def python_of(target: Target) -> tuple[str, list[Path]]:
    """Return the file with the build settings of a machine's Python, and its folders of headers."""
    if target.machine.name == platform.machine():
        name = sysconfig._get_sysconfigdata_name()  # type: ignore[attr-defined]
        settings = f"{sysconfig.get_path('stdlib')}/{name}.py"
        return settings, [Path(sysconfig.get_path("include"))]
    packages = [f"libpython{VERSION}-dev", f"libpython{VERSION}-minimal"]
    root = debian_files(target.machine, *packages)
    gnu = target._replace(libc="gnu").multiarch
    # pyconfig.h includes that of the machine as <MULTIARCH/pythonX.Y/pyconfig.h>.  The folder
    # for it has nothing else, because the headers of Debian's C library are in /usr/include too.
    headers = root.parent / "include"
    (headers / gnu).mkdir(parents=True, exist_ok=True)
    link = headers / gnu / f"python{VERSION}"
    link.unlink(missing_ok=True)
    link.symlink_to(root / f"usr/include/{gnu}/python{VERSION}")
    settings = f"{root}/usr/lib/python{VERSION}/_sysconfigdata__{gnu}.py"
    return settings, [root / f"usr/include/python{VERSION}", headers]


def build(target: Target, source: Path, folder: Path) -> Path:
    """Build a wheel with a Meson cross file, and return it."""
    settings, headers = python_of(target)
    # cpython-311, or cpython-313t for an interpreter without a GIL
    abi = "-".join(sysconfig.get_config_var("SOABI").split("-")[:2])
    (folder / "_sysconfigdata_target.py").write_text(
        SETTINGS.format(
            original=settings, abi=abi, multiarch=target.multiarch, include=str(headers[0])
        )
    )
    c_args = [word for path in headers for word in ("-isystem", str(path))]
    cross = folder / "cross.ini"
    cross.write_text(
        CROSS.format(
            c=target.zig(),
            ar=[sys.executable, "-m", "ziglang", "ar"],
            c_args=c_args,
            **target.machine._asdict(),
        )
    )
    arguments = [f"--cross-file={cross}", "-Db_lto=true"]
    code = f"import mesonpy; mesonpy.build_wheel({str(folder)!r}, {{'setup-args': {arguments!r}}})"
    variables = {
        "PYTHONPATH": str(folder),
        "_PYTHON_SYSCONFIGDATA_NAME": "_sysconfigdata_target",
        "_PYTHON_HOST_PLATFORM": f"linux-{target.machine.name}",
    }
    assignments = [f"{name}={value}" for name, value in variables.items()]
    run("env", *assignments, sys.executable, "-c", code, cwd=source, quiet=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def extension(wheel: Path, folder: Path) -> Path:
    """Unpack the extension of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".so"))
        return Path(archive.extract(name, folder))


def needed(path: Path) -> set[str]:
    """Return the libraries that an extension needs."""
    with path.open("rb") as file:
        dynamic = ELFFile(file).get_section_by_name(".dynamic")
        assert isinstance(dynamic, DynamicSection)
        return {getattr(tag, "needed") for tag in dynamic.iter_tags("DT_NEEDED")}  # noqa: B009


def problems(target: Target, path: Path, folder: Path, glibc: str) -> Iterator[str]:
    """Yield what is wrong with an extension."""
    with path.open("rb") as file:
        elf = ELFFile(file)
        extra = [
            section.name
            for section in elf.iter_sections()
            if section.name == ".symtab" or section.name.startswith(".debug")
        ]
        table = elf.get_section_by_name(".dynsym")
        assert isinstance(table, SymbolTableSection)
        symbols = [
            symbol.name
            for symbol in table.iter_symbols()
            if symbol.entry.st_shndx == "SHN_UNDEF" and symbol.entry.st_info.bind == "STB_GLOBAL"
        ]
    if extra:
        yield f"it has sections for debuggers: {', '.join(extra)}"
    # A shared library may have undefined symbols, a program may not.
    names = [name for name in symbols if not re.match("_?Py", name)]
    lines = [f'extern char s{n} __asm__("{name}");' for n, name in enumerate(names)]
    addresses = ", ".join(f"&s{n}" for n in range(len(names)))
    program = folder / "symbols.c"
    program.write_text("\n".join([*lines, f"void *all[] = {{{addresses}}};", "int main(void) {}"]))
    done = subprocess.run(
        [*target.zig(glibc), "-dynamic", program, "-o", folder / "symbols"],
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        yield f"the C library of its tag lacks functions:\n{done.stderr}"


def repair(target: Target, wheel: Path, folder: Path) -> tuple[Path, str]:
    """Give a wheel its platform tag; return the new wheel and the version of glibc."""
    if target.libc == "gnu":
        plain = f"linux_{target.machine.name}"
        run("auditwheel", "repair", "--only-plat", "-w", folder, wheel, cwd=folder, quiet=True)
        (wheel,) = (
            path
            for path in folder.glob("*.whl")
            if plain not in path.name.split("-")[-1].split(".")
        )
    else:
        # auditwheel knows the musl of this machine only, which has none.
        libraries = needed(extension(wheel, folder)) - {"libc.so"}
        if libraries:
            sys.exit(f"{wheel.name} needs {', '.join(sorted(libraries))}")
        tag = f"musllinux_{MUSL}_{target.machine.name}"
        tags = ("-m", "wheel", "tags", "--remove", "--platform-tag", tag)
        run(sys.executable, *tags, wheel, cwd=folder, quiet=True)
        (wheel,) = folder.glob("*.whl")
    match = re.search(r"manylinux_(\d+)_(\d+)_", wheel.name)
    return wheel, f"{match[1]}.{match[2]}" if match else ""


def make(target: Target, source: Path) -> Path:
    """Build and check a wheel; put it into dist/."""
    with tempfile.TemporaryDirectory(prefix="sysv_ipc-") as name:
        folder = Path(name)
        (folder / "repaired").mkdir()
        built = Path(shutil.move(build(target, source, folder), folder / "repaired"))
        wheel, glibc = repair(target, built, folder / "repaired")
        library = extension(wheel, folder)
        if found := list(problems(target, library, folder, glibc)):
            sys.exit(f"{wheel.name}: " + "\n".join(found))
        if not library.name.endswith(f"-{target.multiarch}.so"):
            sys.exit(f"{wheel.name} contains {library.name}: no Python would load it")
        run("twine", "check", "--strict", wheel, cwd=folder, quiet=True)
        run("check-wheel-contents", wheel, cwd=folder, quiet=True)
        return Path(shutil.copy2(wheel, DIST))


def try_on_aarch64(wheel: Path) -> None:
    """Use each part of the package with Debian's Python of aarch64, under qemu-user."""
    python, library = f"python{VERSION}-minimal", f"libpython{VERSION}-stdlib"
    root = debian_files(MACHINES["aarch64"], python, library)
    with tempfile.TemporaryDirectory(prefix="sysv_ipc-") as name:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(name)
        alone = ["unshare", "--ipc", *([] if os.geteuid() == 0 else ["--map-root-user"])]
        qemu = ["qemu-aarch64-static", "-L", str(root)]
        interpreter = root / f"usr/bin/python{VERSION}"
        program = ROOT / "tools/try_package.py"
        paths = {"PYTHONHOME": root / "usr", "PYTHONPATH": Path(name)}
        run(*alone, *qemu, interpreter, program, cwd=ROOT, quiet=True, **paths)


def main() -> int:
    """Build, check and test; print a table."""
    arguments = [argument for argument in sys.argv[1:] if argument.startswith("-")]
    names = [argument for argument in sys.argv[1:] if argument not in arguments] or list(MACHINES)
    if unknown := set(names) - set(MACHINES):
        print(f"no such machine: {', '.join(unknown)}; choose from {', '.join(MACHINES)}")
        return 2
    for program in ("apt-get", "dpkg-deb", "qemu-aarch64-static"):
        if not shutil.which(program):
            print(f"no {program}: this needs Debian, and apt-get install qemu-user-static")
            return 1
    ENVIRONMENT["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{ENVIRONMENT['PATH']}"
    shutil.rmtree(DIST, ignore_errors=True)
    DIST.mkdir()
    with tempfile.TemporaryDirectory(prefix="sysv_ipc-") as name:
        folder = Path(name)
        copy_tree(folder / "tree", source_files())
        sdist = build_sdist(Path(sys.executable), folder / "tree", folder / "dist")
        run("twine", "check", "--strict", sdist, cwd=folder, quiet=True)
        shutil.copy2(sdist, DIST)
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        source = folder / sdist.name.removesuffix(".tar.gz")
        print(f"{sdist.name:<70} {sdist.stat().st_size / 1000:>4.0f} kB  metadata", flush=True)
        for machine in names:
            for libc in ("gnu", "musl"):
                wheel = make(Target(MACHINES[machine], libc), source)
                checks = "tag, symbols, contents, metadata"
                if (machine, libc) == ("aarch64", "gnu"):
                    try_on_aarch64(wheel)
                    checks += ", tried under qemu"
                if (machine, libc) == (platform.machine(), "gnu"):
                    tested = wheel
                print(
                    f"{wheel.name:<70} {wheel.stat().st_size / 1000:>4.0f} kB  {checks}", flush=True
                )
        if platform.machine() in names:
            say(f"all tests against {tested.name}")
            shutil.rmtree(source / "src")
            test_wheel(sys.executable, tested, source, arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
