"""Packaging; what can be said in pyproject.toml is said there."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SERVED = Path(__file__).parent / "js" / "served"


class BuildWithPages(build_py):
    """Puts the page and the scripts that the server serves, which are built in js/, into the package."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return  # a checkout serves them from js/served
        target = Path(self.build_lib) / "rplx" / "served"
        target.mkdir(parents=True, exist_ok=True)
        for page in SERVED.iterdir():
            self.copy_file(str(page), str(target / page.name))


setup(cmdclass={"build_py": BuildWithPages})
