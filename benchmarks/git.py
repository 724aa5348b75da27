"""What the gate and the history ask git."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

CORE = ("src", "setup.py")
"""What a change of can make the library slower."""
SOURCES = (*CORE, "pyproject.toml", "README.md", "LICENSE")
"""What the extensions are built from."""


TRAILER = "Accepts-slower"
"""Of a commit's message: names a part or a case that the commit makes slower on purpose."""


class NoBaseError(Exception):
    """There is no earlier version to compare with; the text says why."""


def tree_of(root: Path, revision: str) -> str:
    """Give the hash of a revision's tree.

    Raises
    ------
    ValueError
        If there is no such revision.
    """
    try:
        return run(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{tree}}").strip()
    except subprocess.CalledProcessError:
        raise ValueError(f"no such revision here: {revision!r}") from None


def tree_of_files(root: Path) -> str:
    """Give the hash of a tree of what lies in the working folder now, except what is ignored."""
    with _own_index(root, "HEAD") as environment:
        run(root, "add", "--all", "--", *SOURCES, environment=environment)
        return run(root, "write-tree", environment=environment).strip()


def tree_with(root: Path, tree: str, changed: Mapping[str, str]) -> str:
    """Give the hash of a tree like ``tree`` where some files, by path, have another text."""
    with _own_index(root, tree) as environment:
        for path, text in changed.items():
            blob = run(root, "hash-object", "-w", "--stdin", stdin=text).strip()
            run(
                root,
                "update-index",
                "--cacheinfo",
                f"100644,{blob},{path}",
                environment=environment,
            )
        return run(root, "write-tree", environment=environment).strip()


@contextmanager
def _own_index(root: Path, revision: str) -> Iterator[dict[str, str]]:
    """An index to work in, given by its environment: the user's stays as it is."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"GIT_INDEX_FILE": str(Path(folder, "index"))}
        run(root, "read-tree", revision, environment=environment)
        yield environment


def previous(root: Path, head: str | None) -> str:
    """Give the revision before the last change of the core, seen from ``head``.

    With None, seen from the files in the working folder: HEAD if they change the core.

    Raises
    ------
    NoBaseError
        If the history does not go that far back.
    """
    if head is None and _changes_core(root):
        return "HEAD"
    log = run(root, "log", "-1", "--first-parent", "--format=%H", head or "HEAD", "--", *CORE)
    last = log.strip()
    try:
        return run(root, "rev-parse", "--verify", "--quiet", f"{last}^").strip()
    except subprocess.CalledProcessError:
        raise NoBaseError(
            "the history here does not reach back to before the last change of the core"
            + (": this is a shallow clone" if _is_shallow(root) else "")
        ) from None


def accepted(root: Path, base: str, head: str | None) -> frozenset[str]:
    """Give the parts and cases that commits since ``base`` say they make slower on purpose."""
    trailers = f"--format=%(trailers:key={TRAILER},valueonly)"
    log = run(root, "log", trailers, f"{base}..{head or 'HEAD'}", "--")
    return frozenset(line.strip() for line in log.splitlines() if line.strip())


def sources_key(root: Path, tree: str) -> str:
    """Give a name to what a tree is built from, whatever else is in it."""
    listing = run(root, "ls-tree", tree, "--", *CORE, "pyproject.toml")
    return hashlib.sha1(listing.encode(), usedforsecurity=False).hexdigest()


def export(root: Path, tree: str, folder: Path) -> None:
    """Write the sources of a tree into ``folder``."""
    folder.mkdir(parents=True)
    archive = folder / "sources.tar"
    there = run(root, "ls-tree", "--name-only", tree, "--", *SOURCES).split()  # not all, at first
    run(root, "archive", "--format=tar", f"--output={archive}", tree, *there)
    subprocess.run(["tar", "-xf", archive.name], cwd=folder, check=True)
    archive.unlink()


def _changes_core(root: Path) -> bool:
    return bool(run(root, "status", "--porcelain", "--", *CORE))


def _is_shallow(root: Path) -> bool:
    return run(root, "rev-parse", "--is-shallow-repository").strip() == "true"


def run(
    root: Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    stdin: str | None = None,
) -> str:
    """Run git and give what it prints."""
    done = subprocess.run(
        ["git", *arguments],
        cwd=root,
        env=environment,
        input=stdin,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout
