# SPDX-License-Identifier: Apache-2.0
"""One Debian package: a tree of files, its control files, and dpkg's own tools to put them together."""

import gzip
import os
import re
import shutil
from pathlib import Path

from .base import PackageError, output


class Package:
    def __init__(self, name, template, work, version, epoch, maintainer):
        self.name = name
        self.template = template
        self.tree = Path(work, name)
        self.version = version
        self.epoch = epoch
        self.maintainer = maintainer
        self.architecture = output("dpkg", "--print-architecture").strip()
        self.depends = []
        self.programs = []
        (self.tree / "DEBIAN").mkdir(parents=True, mode=0o755)

    # MARK: Contents

    def put(self, content, place, mode=0o644):
        target = self.tree / place.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.encode())
        target.chmod(mode)

    def copy(self, source, place, mode=0o644):
        target = self.tree / place.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(mode)

    def compressed(self, content, place):
        """As documentation lies in Debian: no name and no time in it."""
        content = content if isinstance(content, bytes) else content.encode()
        self.put(gzip.compress(content, 9, mtime=0), place + ".gz")

    def link(self, target, place):
        path = self.tree / place.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)

    def directory(self, place, mode=0o755):
        path = self.tree / place.lstrip("/")
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(mode)

    def program(self, source, place, is_private=False):
        """An executable or a library, without what only a debugger reads; its libraries become dependencies.

        - is_private: libraries that no Debian package has are beside it.
        """
        self.copy(source, place, 0o755 if ".so" not in Path(place).name else 0o644)
        target = self.tree / place.lstrip("/")
        output("strip", "--strip-unneeded", "--remove-section=.comment", target)
        # The build machine's own directories are no place to take libraries from: only what lies beside it is.
        if re.search(r"\((RPATH|RUNPATH)\)", output("readelf", "--dynamic", "--wide", target)):
            output("chrpath", *(["--replace", "$ORIGIN"] if is_private else ["--delete"]), target)
        self.programs.append(place)

    # MARK: Control

    def build(self, directory, compression, private):
        """- private: a directory of libraries that a package of ours brings."""
        documents = f"/usr/share/doc/{self.name}"
        self.copy(self.template.parent / "copyright", f"{documents}/copyright")
        stamp = output("date", "-u", "-R", "-d", f"@{self.epoch}").strip()
        self.compressed(
            f"nodemesh ({self.version}) stable; urgency=medium\n\n  * What is new is in the project's history.\n\n"
            f" -- {self.maintainer}  {stamp}\n", f"{documents}/changelog")
        for script in ("preinst", "postinst", "prerm", "postrm"):
            if (self.template / script).exists():
                self.copy(self.template / script, f"DEBIAN/{script}", 0o755)
        if (self.template / "lintian-overrides").exists():
            self.copy(self.template / "lintian-overrides", f"/usr/share/lintian/overrides/{self.name}")
        files = sorted(path for path in self.tree.rglob("*")
                       if path.is_file() and not path.is_symlink() and "DEBIAN" not in path.relative_to(self.tree).parts)
        sums = "".join(f"{output('md5sum', path).split()[0]}  {path.relative_to(self.tree)}\n" for path in files)
        self.put(sums, "DEBIAN/md5sums")
        self.put(self.control(sum(-(-path.stat().st_size // 1024) for path in files), private), "DEBIAN/control")
        for path in [self.tree, *self.tree.rglob("*")]:
            if path.is_dir() and not path.is_symlink():
                path.chmod(path.stat().st_mode & 0o700 | 0o755 if path.name != "private" else 0o700)
            os.utime(path, (self.epoch, self.epoch), follow_symlinks=False)
        target = Path(directory, f"{self.name}_{self.version}_{self.architecture}.deb")
        output("dpkg-deb", "--root-owner-group", f"-Z{compression}", "--build", self.tree, target,
               env=dict(os.environ, SOURCE_DATE_EPOCH=str(self.epoch)))
        return target

    def control(self, size, private):
        text = (self.template / "control").read_text()
        # Those for other architectures are not ours.
        text = re.sub(r",? *[a-z0-9.+-]+ \[(?!%s\])[a-z0-9]+\]" % self.architecture, "", text)
        text = re.sub(r" \[[a-z0-9]+\]", "", text)
        own = re.search(r"^Depends: (.*)\n", text, re.M)
        depends = self.libraries(private) + (own.group(1).split(", ") if own else []) + self.depends
        text = re.sub(r"^Depends: .*\n", "", text, flags=re.M)
        head, _, description = text.partition("Description:")
        fields = [
            f"Version: {self.version}", f"Architecture: {self.architecture}", f"Maintainer: {self.maintainer}",
            f"Installed-Size: {size}", "Priority: optional", "Source: nodemesh",
        ]
        if depends:
            fields.append(f"Depends: {', '.join(depends)}")
        return head + "\n".join(fields) + f"\nDescription:{description}"

    def libraries(self, private):
        """What dpkg knows of the libraries that the programs need."""
        if not self.programs:
            return []
        work = self.tree.parent / f"{self.name}-libraries"
        (work / "debian").mkdir(parents=True)
        (work / "debian/control").write_text(f"Source: nodemesh\n\nPackage: {self.name}\nArchitecture: any\n")
        paths = [self.tree / program.lstrip("/") for program in self.programs]
        command = ["dpkg-shlibdeps", "-O", "--ignore-missing-info", *(f"-l{one}" for one in private),
                   *(f"-e{path}" for path in paths)]
        for line in output(*command, cwd=work).splitlines():
            if line.startswith("shlibs:Depends="):
                return [one for one in line.partition("=")[2].split(", ") if one]
        raise PackageError(f"dpkg-shlibdeps says nothing of {self.name}")
