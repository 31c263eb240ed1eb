"""Native twins in emulated steps: what is written, and what programs see, is as without them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import pytest

from polyarch.platforms import Platform, linux
from polyarch.twins.packages import read_packages
from polyarch.twins.sets import TwinSet, load_set, make_set
from tests.support.images.debianroots import APT, PYTHON_ALONE, TOOLS, make_debian_root
from tests.support.images.rootfs import make_rootfs
from tests.support.machine.engines import ROOT, User, fresh_user, in_engine
from tests.support.machine.twinprograms import make_toolchain

pytestmark = [pytest.mark.runtime, pytest.mark.qemu, pytest.mark.root]

RUN_BOTH = """
from polyarch.platforms import linux
from polyarch.twins.sets import load_set
foreign = ForeignSteps(host=host, spawner=spawner, facts=facts)
platform = linux(arguments["architecture"])
ended = []
for twins in ([], [load_set(Path(arguments["set"]))]):
    emulation = foreign.prepare(platform, twins)
    if twins and arguments["cpuinfo"]:
        Path(arguments["set"], "cpuinfo").write_text(arguments["cpuinfo"])
    ended.append(run(
        "/bin/sh", "-c", arguments["text"], user_namespace=emulation.user_namespace,
        twins=emulation.twins, env=("PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", *arguments["environ"]),
    ))
report(ended)
"""
WHO_RUNS = 'readlink "/proc/$$/exe"; :'


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A user with a foreign root and its twins, all the user's own."""

    user: User
    runtime: str
    platform: Platform
    root: Path
    twins: Path

    def both(self, script: str, *environ: str, cpuinfo: str = "") -> list[Mapping[str, object]]:
        """Run a script emulated, and then with twins, as if an emulator showed `cpuinfo`; return how they ended."""
        ended: list[Mapping[str, object]] = in_engine(
            self.user,
            RUN_BOTH,
            runtime=self.runtime,
            rootfs=str(self.root),
            architecture=self.platform.architecture,
            set=str(self.twins),
            text=script,
            environ=environ,
            cpuinfo=cpuinfo,
        )
        return ended

    def shown(self, script: str, *environ: str) -> str:
        """Run a script both ways, and return what it shows, which has to be the same."""
        emulated, twins = self.both(script, *environ)
        assert twins == emulated
        return str(emulated["stdout"])

    def starts(self, script: str) -> list[str]:
        """Return the programs that really run a script's first line, emulated and with twins."""
        return [str(each["stdout"]).splitlines()[0] for each in self.both(script)]


@pytest.fixture(scope="module", params=["by_root", "by_many", "by_one"])
def user(request: pytest.FixtureRequest) -> Iterator[User]:
    if request.param == "by_root":
        yield ROOT
    else:
        with fresh_user(subordinate_ids=request.param == "by_many") as made:
            yield made


for_one_user = pytest.mark.parametrize("user", ["by_many"], indirect=True)
"""For what shows how programs behave: whose ids they have, others look at."""


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    directory = tmp_path_factory.mktemp("roots")
    debian = {each: make_debian_root(directory / each, each) for each in ("amd64", "arm64", "arm")}
    for each in ("amd64", "arm64"):
        make_toolchain(debian[each] / "usr/local/go", each)
    return debian | {
        f"busybox {each}": make_rootfs(directory / f"busybox-{each}", each)
        for each in ("amd64", "arm64", "arm")
    }


def place_of(user: User, directory: Path, roots: tuple[Path, Path], platform: Platform) -> Place:
    foreign, native = roots
    sets = directory / "sets"
    sets.mkdir()
    made = make_set(foreign, native, platform, sets / "7", 7)
    assert isinstance(made, TwinSet), made
    root = directory / "root"
    subprocess.run(["cp", "-a", foreign, root], check=True)
    subprocess.run(["chown", "-R", f"{user.uid}:{user.gid}", directory], check=True)
    return Place(user=user, runtime="sandbox", platform=platform, root=root, twins=sets / "7")


@pytest.fixture(scope="module")
def space(user: User, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the user's roots and twins are."""
    return user.home if user.uid else tmp_path_factory.mktemp("place")


@pytest.fixture(scope="module")
def debian(user: User, roots: Mapping[str, Path], space: Path) -> Place:
    return place_of(
        user, Path(mkdtemp(dir=space)), (roots["arm64"], roots["amd64"]), linux("arm64")
    )


@pytest.fixture(scope="module", params=["arm64", "arm"])
def busybox(
    request: pytest.FixtureRequest, user: User, roots: Mapping[str, Path], space: Path
) -> Place:
    name: str = request.param
    pair = (roots[f"busybox {name}"], roots["busybox amd64"])
    return place_of(
        user, Path(mkdtemp(dir=space)), pair, linux(name, "v7" if name == "arm" else "")
    )


def test_the_twin_runs_and_not_the_emulator(debian: Place) -> None:
    emulated, twin = debian.starts(WHO_RUNS)

    assert emulated != twin
    assert twin == "/usr/bin/dash"


def test_busybox_runs_natively(busybox: Place) -> None:
    emulated, twin = busybox.starts(WHO_RUNS)

    assert emulated != twin
    assert twin == "/bin/busybox"


MACHINES = {"arm64": "aarch64", "arm": "armv7l"}


@for_one_user
def test_the_machine_is_the_foreign_one(debian: Place) -> None:
    script = (
        "uname -m; arch; uname -a; bash -c 'echo $HOSTTYPE $MACHTYPE $OSTYPE ${BASH_VERSINFO[5]}'"
    )
    script += "; bash --version; make --version; dpkg --print-architecture; dpkg --version"

    shown = debian.shown(script)

    assert shown.splitlines()[:2] == ["aarch64", "aarch64"]
    assert "aarch64 aarch64-unknown-linux-gnu linux-gnu aarch64-unknown-linux-gnu" in shown
    assert "Built for aarch64-unknown-linux-gnu" in shown
    assert "x86" not in shown
    assert "amd64" not in shown


EVERYTHING = r"""
    uname -a; uname -mpi; arch; nproc; dpkg --print-architecture; cat /proc/cpuinfo | grep -v MHz
    cat /proc/version /proc/sys/kernel/osrelease /proc/sys/kernel/ostype /proc/sys/kernel/version
    cat /proc/self/status | grep -E '^(Name|Uid|Gid|Groups|Cap|Seccomp|NoNewPrivs)'
    bash -c 'echo $HOSTTYPE $MACHTYPE $OSTYPE ${BASH_VERSINFO[*]}; ulimit -a; compgen -v; echo $((1<<62)) $((2**63))'
    ulimit -a; echo $((0x7fffffff + 1)); test 4294967297 -gt 1; echo $?; expr 9223372036854775807 + 1; factor 4294967297
    make -p -f /dev/null 2> /dev/null | grep -E '^(MAKE_HOST|MAKE_VERSION|[.]FEATURES|CC|AR)'
    perl -V:'(long|ptr|iv|nv|lseek|size).*size' -V:byteorder -V:archname -V:uselongdouble
    perl -e 'print ~0, " ", 2**53 + 1, " ", 0xffffffff + 1, " ", 3e9 | 0, " ", unpack("H*", pack("i! l! j d", 1, 2, 3, 4.5)), "\n"'
    cd /tmp; truncate -s 5G big; ls -ls --time-style=+ big; wc -c big; du -b big; stat -c '%s %b' big; find . -size +4G; tail -c 2 big | od -c
    dd if=big bs=1 skip=4294967300 count=3 2> /dev/null | od -c; tar -cSf tar big; tar -tvf tar | cut -c1-30; rm big tar
    touch -d @2147483646 edge; touch -d @-1 early; ls -l --time-style=+%s e*; find e* -printf '%T@ %p\n'; date -u -r edge
    test edge -nt early; echo $?; cp -p edge copy; stat -c %Y copy; tar -c e* | tar -tv | cut -c1-50; gzip -kn edge; rm e* copy
"""


@pytest.mark.parametrize(
    ("architecture", "machine", "long"), [("arm64", "aarch64", 8), ("arm", "armv7l", 4)]
)
def test_all_that_can_be_learned_of_the_machine_is_the_same(
    roots: Mapping[str, Path], tmp_path: Path, architecture: str, machine: str, long: int
) -> None:
    platform = linux(architecture, "v7" if architecture == "arm" else "")
    place = place_of(ROOT, tmp_path, (roots[architecture], roots["amd64"]), platform)
    # Elsewhere a long double is longer than a double, and not as long as here: see the page's limits.
    more = r"""bash -c 'printf "%.3f %.2f %g\n" 1.2345 1.005 1e-300'"""

    shown = place.shown(EVERYTHING + more * (architecture == "arm"))

    assert f"\n{machine}\n" in shown
    assert f"\nlongsize='{long}';\n" in shown
    assert shown.endswith("\n1.234 1.00 1e-300\n") == (architecture == "arm")
    assert place.starts(WHO_RUNS)[1] == "/usr/bin/dash"


@for_one_user
def test_the_machine_is_the_foreign_one_for_busybox(busybox: Place) -> None:
    shown = busybox.shown("uname -m; uname -a")

    assert shown.splitlines()[0] == MACHINES[busybox.platform.architecture]


@for_one_user
def test_programs_are_read_as_they_are_in_the_image(debian: Place) -> None:
    debian.shown(
        "cd /usr/bin; sha256sum * | sort; ls -ln /bin/sh /usr/bin/dash; cat dash | sha256sum"
    )


@for_one_user
def test_a_process_finds_itself_as_it_would(debian: Place) -> None:
    shown = debian.shown(
        "readlink /proc/self/exe; cat /proc/self/cmdline | tr '\\0' ' '; cat /proc/self/comm;"
        "ln -s /bin/bash /tmp/named-otherwise; /tmp/named-otherwise -c 'echo $0 $BASH';"
        "bash -c 'exec -a title bash -c \"echo \\$0; cat /proc/\\$\\$/comm\"'; rm /tmp/named-otherwise"
    )

    assert shown.splitlines()[0] == "/usr/bin/readlink"
    assert "cat /proc/self/cmdline cat\n" in shown
    assert "title" in shown


@for_one_user
def test_scripts_are_started_with_their_names(debian: Place) -> None:
    shown = debian.shown(
        "cd /tmp; printf '#!/bin/bash -e\\necho $0 $# \"$@\"; cat /proc/$$/comm\\n' > script; chmod +x script;"
        "./script 1 'two words' ''; cp script other; PATH=.:$PATH other; rm script other"
    )

    assert shown.splitlines() == ["./script 3 1 two words ", "script", "./other 0", "other"]


@for_one_user
def test_programs_that_begin_alike_are_told_apart(debian: Place) -> None:
    shown = debian.shown(
        "true; echo $?; /bin/true; echo $?; /bin/false; echo $?; env true; echo $?; env false; echo $?;"
        "echo x > /tmp/x; sha224sum /tmp/x; sha256sum /tmp/x; sha384sum /tmp/x; sha512sum /tmp/x;"
        "cd /tmp; touch a b; dir; ls; vdir -n --time-style=+ x a; arch; uname; rm a b x"
    )

    assert shown.splitlines()[:5] == ["0", "0", "1", "0", "1"]


PERL = """
    print "$^O $^X $]\\n", join(",", @INC), "\\n"; use Config; print "$Config{archname}\\n";
    use POSIX; print join(" ", (POSIX::uname())[0, 4]), "\\n"; use List::Util "sum"; print sum(1 .. 10), "\\n";
    use Fcntl; use Socket; print inet_ntoa(INADDR_LOOPBACK), "\\n"; use Cwd; print getcwd, "\\n";
    use File::Glob; print join(" ", glob("/usr/lib/a*")), "\\n"; print unpack("H*", pack("l!q", 1, 2)), "\\n";
    eval { require Nope::Mod }; print $@; print sprintf("%.20g", 0.1), "\\n";
"""


@for_one_user
def test_perl_has_the_modules_of_its_machine_and_the_paths_of_the_foreign_one(
    debian: Place,
) -> None:
    shown = debian.shown(f"perl -e '{PERL}'; perl -v; readlink /proc/self/exe")

    assert "linux /usr/bin/perl 5.0" in shown
    assert "/usr/lib/aarch64-linux-gnu/perl-base" in shown
    assert "55\n127.0.0.1\n/\n" in shown
    assert "x86" not in shown
    emulated, twin = debian.starts("perl -e 'print qx(readlink /proc/$$/exe)'")
    assert twin == "/usr/bin/perl" != emulated


PYTHON = """
import _imp, os, platform, struct, sys, sysconfig, tempfile
print(sys.version, sys.path, sys.implementation, sys.flags, sys.float_info, sys.maxsize)
print(platform.machine(), platform.platform(), platform.architecture(), platform.libc_ver(), os.uname())
print(sysconfig.get_platform(), sorted(sysconfig.get_config_vars().items()), _imp.extension_suffixes())
print([struct.calcsize(each) for each in "lPN?q"], 2 ** 0.3, 0.1 + 0.2, os.readlink("/proc/self/exe"))
import ctypes, json, random, zlib
print(json.dumps({"x": 1e22}), random.Random(5).gauss(0, 1), zlib.crc32(b"x"), ctypes.sizeof(ctypes.c_long))
"""
COMPILED = r"""
    cd /usr/lib/python3.11; python3.11 -c 'import compileall as c, py_compile as p
c.compile_dir("json", quiet=1, invalidation_mode=p.PycInvalidationMode.UNCHECKED_HASH)'
    sha256sum json/*.py json/__pycache__/*; rm -r json/__pycache__
"""
REFUSED = (
    *("(1 + 2j) * 3j", "abs(1j)", "__import__('math').gamma(3)", "__import__('audioop')"),
    "__import__('ctypes').CDLL(None).getpid()",
)


@pytest.mark.parametrize("name", ["Text/CharWidth/CharWidth.so", "Locale/gettext/gettext.so"])
@for_one_user
def test_perl_is_emulated_once_debconf_would_load_what_is_not_native(
    debian: Place, name: str
) -> None:
    who = "perl -e 'system qq(readlink /proc/$$/exe)'; "
    find = "at=$(perl -e 'print grep m,^/usr/lib/.*/perl5/,, @INC')/auto/" + name
    install = f"{find}; mkdir -p ${{at%/*}}; : > $at; "

    assert debian.starts(who)[1] == "/usr/bin/perl"
    assert debian.starts(f"{install}{who}rm $at")[1].endswith("/qemu")


@pytest.mark.slow
def test_python_runs_natively_as_far_as_the_cpu_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    directory = tmp_path_factory.mktemp("python")
    foreign, native = (
        make_debian_root(directory / each, each, PYTHON_ALONE) for each in ("arm64", "amd64")
    )
    place = place_of(ROOT, tmp_path, (foreign, native), linux("arm64"))
    (place.root / "tmp/script.py").write_text(PYTHON)

    shown = place.shown(f"python3.11 -B /tmp/script.py; {COMPILED}", "SOURCE_DATE_EPOCH=0")

    assert "_multiarch='aarch64-linux-gnu'" in shown
    assert "linux-aarch64" in shown
    assert "cpython-311-aarch64-linux-gnu.so" in shown
    assert "x86" not in shown
    assert "/usr/bin/python3.11\n" in shown
    emulated, twins = place.both(
        "".join(f'python3.11 -Bc "{each}"; echo $?;' for each in REFUSED),
    )
    assert emulated["stdout"] == len(REFUSED) * "0\n"
    assert twins["stdout"] == len(REFUSED) * "126\n"


@for_one_user
def test_a_compiler_of_go_runs_natively_if_it_is_told_what_it_works_for(debian: Place) -> None:
    emulated, twin = debian.both(
        "cd /usr/local/go/pkg/tool/linux_arm64; GOARCH=arm64 ./compile; env -i X= GOARCH=arm ./compile;"
        "./compile; GOARCH= ./compile; XGOARCH=arm64 ./compile; GOARCH=arm64 LD_DEBUG=x ./compile; ../../../bin/gofmt"
    )

    foreign = "compile go1.99.1 runs on arm64\n"
    native = "compile go1.99.1 runs on amd64\n"
    assert emulated["stdout"] == 6 * foreign + "gofmt go1.99.1 runs on arm64\n"
    assert twin["stdout"] == 2 * native + 4 * foreign + "gofmt go1.99.1 runs on amd64\n"


@for_one_user
def test_dpkg_works_on_the_foreign_packages(debian: Place) -> None:
    shown = debian.shown(
        "dpkg -l; dpkg-query -S /bin/bash; dpkg --print-foreign-architectures; mkdir -p /tmp/p/DEBIAN;"
        "printf 'Package: p\\nVersion: 1\\nArchitecture: arm64\\nMaintainer: m\\nDescription: d\\n'"
        "> /tmp/p/DEBIAN/control; echo x > /tmp/p/file; touch -d @0 /tmp/p/* /tmp/p/DEBIAN /tmp/p/DEBIAN/*;"
        "touch -d @0 /tmp/p; export SOURCE_DATE_EPOCH=0; dpkg-deb --root-owner-group -b /tmp/p /tmp/p.deb 2>&1;"
        "sha256sum /tmp/p.deb; dpkg-deb -I /tmp/p.deb; dpkg-deb -c /tmp/p.deb; dpkg --force-bad-path -i /tmp/p.deb 2>&1;"
        "dpkg -s p; sha256sum /var/lib/dpkg/status; dpkg --force-bad-path -P p 2>&1; rm -r /tmp/p /tmp/p.deb"
    )

    assert "Architecture: arm64" in shown


@for_one_user
def test_a_program_that_was_changed_is_emulated(debian: Place) -> None:
    script = "cp /bin/dash /tmp/mine; {} /tmp/mine -c 'readlink /proc/$$/exe; :'; rm /tmp/mine"

    _, twin = debian.starts(script.format(""))
    _, emulator = debian.starts(script.format("printf x >> /tmp/mine;"))

    assert (twin, emulator) == ("/usr/bin/dash", "/dev/.pa/7/qemu")


@for_one_user
def test_what_a_foreign_loader_is_told_is_obeyed(debian: Place) -> None:
    emulated, twins = debian.both("LD_PRELOAD=/lib/none.so /bin/true; LD_DEBUG=help /bin/true")

    assert twins == emulated
    assert "/lib/none.so" in str(twins["stderr"])
    assert "LD_DEBUG" in str(twins["stdout"])


def test_the_same_files_are_written(debian: Place) -> None:
    work = """
        i=0; while [ $i -lt 5 ]; do
            x=$(echo "int f$i;" | sed s/f/g/ | cut -d' ' -f2); test -n "$x" || exit 1
            expr $i + 1 > /dev/null; echo $x >> /tmp/loop; i=$((i+1)); done
        find /usr/bin -type f | LC_ALL=C sort > /tmp/names
        tar --sort=name --mtime=@0 -C /usr -cf /tmp/tar bin/sed lib/dpkg
        gzip -nk /tmp/tar; xz -k -1 /tmp/tar; cat /tmp/names | tr a-z A-Z | LC_ALL=C sort -r > /tmp/sorted
        cp -a /usr/bin/dash /tmp/copy; ln /tmp/copy /tmp/linked; grep -c bin /tmp/names > /tmp/count
        cd /tmp && sha256sum * | sort; ls -ln --time-style=+ . ; rm -rf /tmp/*
    """

    shown = debian.shown(work)

    assert "tar.gz" in shown


@for_one_user
def test_busybox_writes_the_same(busybox: Place) -> None:
    work = """
        i=0; while [ $i -lt 15 ]; do echo "int f$i;" | sed s/f/g/ | cut -d' ' -f2 >> /tmp/loop; i=$((i+1)); done
        sort -r /tmp/loop > /tmp/sorted; tar -cf /tmp/tar -C / bin/busybox; cp /bin/busybox /tmp/copy
        cd /tmp; sha256sum *; true; echo $?; /bin/false; echo $?; readlink /proc/self/exe; echo $0; rm -f /tmp/*
    """

    assert "/bin/busybox\n" in busybox.shown(work)


@pytest.mark.parametrize(
    "variable", ["LD_PRELOAD=/none.so", "LD_LIBRARY_PATH=/none", "QEMU_CPU=max"]
)
@for_one_user
def test_variables_that_foreign_programs_obey_lead_to_the_emulator(
    debian: Place, variable: str
) -> None:
    _, emulator = debian.starts(f"{variable} sh -c 'readlink /proc/$$/exe; :' 2> /dev/null")

    assert emulator == "/dev/.pa/7/qemu"


@for_one_user
def test_twins_see_the_cpu_that_an_emulator_shows(busybox: Place) -> None:
    script = "cat /proc/cpuinfo; echo x > /proc/cpuinfo"

    _, ended = busybox.both(script, cpuinfo="an emulator's\n")

    assert ended["stdout"] == "an emulator's\n"
    assert "Read-only file system" in str(ended["stderr"])


def test_nothing_of_the_twins_can_be_changed(debian: Place) -> None:
    _, ended = debian.both("touch /dev/.pa/7/lib/x; chmod 777 /proc/$$/exe; :")

    lines = str(ended["stderr"]).splitlines()
    assert [line.rpartition(": ")[2] for line in lines] == ["Read-only file system"] * 2


def test_runc_has_twins(roots: Mapping[str, Path], tmp_path: Path) -> None:
    pair = (roots["busybox arm64"], roots["busybox amd64"])
    place = place_of(ROOT, tmp_path, pair, linux("arm64"))
    other = Place(
        user=ROOT, runtime="runc", platform=place.platform, root=place.root, twins=place.twins
    )

    assert other.starts(WHO_RUNS)[1] == "/bin/busybox"
    shown = other.both("cat /proc/cpuinfo", cpuinfo="an emulator's")[1]
    assert shown["stdout"] == "an emulator's"


APT_WORKS = """
    if [ -d /first ]; then rm -rf /var /repo; mv /first /var; else cp -a /var /first; fi
    sed -i '/^\\(Pre-\\)\\?Depends:/d' /var/lib/dpkg/status; touch -d @0 /var/lib/dpkg/status
    mkdir -p /var/lib/apt/lists/partial /var/cache/apt/archives/partial /var/log/apt /etc/apt/apt.conf.d
    export SOURCE_DATE_EPOCH=0 LC_ALL=C.UTF-8; mkdir -p /repo/p/DEBIAN; cd /repo
    printf 'Package: p\\nVersion: 1\\nArchitecture: arm64\\nMaintainer: m\\nDescription: d\\n' > p/DEBIAN/control
    printf '#!/bin/sh\\necho configured $1 $DPKG_MAINTSCRIPT_ARCH\\n' > p/DEBIAN/postinst
    chmod 755 p/DEBIAN/postinst; dpkg-deb -Zxz --root-owner-group -b p p.deb > /dev/null
    { cat p/DEBIAN/control; echo Filename: p.deb; stat -c 'Size: %s' p.deb
      sha256sum p.deb | sed 's/ .*//; s/^/SHA256: /'; } > Packages
    touch -d @0 Packages p.deb /repo; echo 'deb [trusted=yes] file:/repo ./' > /etc/apt/sources.list
    apt --version; apt-config shell A APT::Architecture
    apt-get -q update > /dev/null 2>&1; cd /var; sha256sum cache/apt/*.bin
    apt-get install -qqy -o Dpkg::Use-Pty=0 -o DPkg::Options::=--force-bad-path p < /dev/null 2>&1
    find lib/apt lib/dpkg -type f ! -name '*-old' ! -name 'lock*' | LC_ALL=C sort | xargs sha256sum
    xz -dc log/apt/eipp.log.xz
"""


@pytest.mark.slow
def test_apt_works_for_the_foreign_machine(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    directory = tmp_path_factory.mktemp("apt")
    packages = (*TOOLS, *APT)
    foreign, native = (
        make_debian_root(directory / each, each, packages) for each in ("arm64", "amd64")
    )
    place = place_of(ROOT, tmp_path, (foreign, native), linux("arm64"))

    shown = place.shown(APT_WORKS)

    assert "(arm64)" in shown
    assert "configured configure arm64" in shown
    assert "A='arm64'" in shown
    assert "pkgcache.bin" in shown
    made = load_set(place.twins)
    assert made
    assert {"/usr/bin/apt-get", "/usr/lib/apt/methods/file"} <= {each.path for each in made.twins}


NUMBERS = """
    cd /tmp; truncate -s 5G big; ls -ln --time-style=+ big; find . -name big -size +4G -printf '%s\\n'
    echo end | dd of=big bs=1 seek=5000000000 conv=notrunc 2> /dev/null; tail -c +5000000001 big | head -c 4; truncate -s 0 big
    date -r /etc/passwd +%Y > /dev/null && date -d @4294967296 +%Y; touch -d 2050-01-01 big; stat -c %s big; rm big
    truncate -s 9E h 2>&1; rm -f h; head -c 3000000000000000000000 /dev/null 2>&1; fold -w 4294967297 /dev/null 2>&1
    echo $((1 << 40)) $((9223372036854775807)); expr 4294967296 '*' 4294967296; [ 9223372036854775807 -gt 4294967296 ]; echo $?
    bash -c 'echo $((2 ** 40)) $((-2 ** 63)) $HOSTTYPE; printf "%d %x\\n" 1099511627776 -1; ulimit -f'; uname -m
    printf '%d %x\\n' 1099511627776 -1; printf '4294967297\\n12\\n' | sort -n; echo b | grep -m 4294967297 -c b
    timeout 4294967297 true; echo $?; perl -e 'print length(pack("l!", 1)), " ", 2 ** 40, "\\n"'; dpkg --print-architecture
"""


# `/proc/PID/exe` of another process is the emulator's, which has no path in the root.
STATUS = "var/lib/dpkg/status"
SCRIPT_OF_PERL = 'print qx(readlink /proc/$$/exe) =~ s/\\n//r, " @ARGV ", "\\n"'
PERL_OF_32_BITS = """
    cd /usr/bin; perl /usr/bin/debconf-escape a; perl -w /usr/bin/debconf-escape b 'c d'
    perl debconf-escape; perl -e 'do "/usr/bin/debconf-escape"'; PERL5OPT=-w perl /usr/bin/debconf-escape
    cp debconf-escape /tmp/kept; echo >> debconf-escape; perl /usr/bin/debconf-escape; mv /tmp/kept debconf-escape
"""


def test_a_machine_of_32_bits_counts_as_such(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, roots: Mapping[str, Path]
) -> None:
    foreign = make_debian_root(tmp_path_factory.mktemp("arm") / "root", "arm")
    place = place_of(ROOT, tmp_path, (foreign, roots["amd64"]), linux("arm", "v7"))

    shown = place.shown(NUMBERS)

    assert "1099511627776 9223372036854775807\n18446744073709551616\n0\n" in shown
    assert "4 1099511627776\narmhf\n" in shown
    assert "5368709120" in shown
    assert place.starts(WHO_RUNS)[1] == "/usr/bin/dash"


def test_perl_runs_scripts_that_are_known_on_machines_of_32_bits(
    tmp_path: Path, roots: Mapping[str, Path]
) -> None:
    foreign, native = (
        Path(shutil.copytree(roots[each], tmp_path / each, symlinks=True))
        for each in ("arm", "amd64")
    )
    (foreign / "usr/bin/debconf-escape").write_text(SCRIPT_OF_PERL)
    # Mirrors may have a fix for one architecture earlier than for the other.
    versions = read_packages(foreign).versions
    status = (native / STATUS).read_text()
    for name in read_packages(native).versions:
        status = re.sub(
            rf"(?m)(^Package: {re.escape(name)}\n(?:.+\n)*?Version: ).*",
            rf"\g<1>{versions[name]}",
            status,
        )
    (native / STATUS).write_text(status)
    place = place_of(ROOT, tmp_path, (foreign, native), linux("arm", "v7"))

    emulated, twins = place.both(PERL_OF_32_BITS)
    runs = [each.split() for each in str(twins["stdout"]).splitlines()]
    assert [each[0] for each in runs] == ["/usr/bin/perl"] * 2 + ["/dev/.pa/7/qemu"] * 4
    as_emulated = [each.split() for each in str(emulated["stdout"]).splitlines()]
    assert [each[1:] for each in runs] == [each[1:] for each in as_emulated]
