"""Reads a whole old configuration file: statements that set `%CONFIG`, and `if` (protocol page, part 5).

Only a small part of Perl is carried out, and nothing that reaches beyond the file's own variables. Anything else is a
problem with its line, and the rest of the file is still read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rplx.legacy.perl.assignments import Assignment, Assignments
from rplx.legacy.perl.tokens import Token, Unreadable, tokens_of
from rplx.legacy.perl.values import Value, perl_text

__all__ = ["Assignment", "PerlConfig", "Value", "parse", "perl_text"]

BLOCKS_MAX = 50  # nested


@dataclass
class PerlConfig:
    """What a file sets, and the problems of what could not be read: pairs of line and text."""

    assignments: list[Assignment] = field(default_factory=list)
    problems: list[tuple[int, str]] = field(default_factory=list)


def parse(text: str, path: str, defaults: Mapping[str, Value] | None = None) -> PerlConfig:
    """Returns what the configuration file `text` sets. `path` is the file's own name, for `__FILE__`.

    `defaults` are what `%CONFIG` holds before the file is read.
    """
    return _Parser(tokens_of(text), path, defaults or {}).file()


class _Return(Exception):
    """Raised by `return`, which ends the file."""


class _Parser(Assignments):
    """The statements of a file, a method each. Unreadable ends the statement that raises it; the next one follows."""

    def __init__(self, tokens: list[Token], path: str, defaults: Mapping[str, Value]) -> None:
        super().__init__(tokens, path, defaults)
        self._blocks = 0

    def file(self) -> PerlConfig:
        try:
            while self.current.kind != "end":
                self._one_statement()
                self.accept("}")
        except _Return:
            pass
        found = [
            Assignment(key, self._config.get(key), line, self._unread.get(key)) for key, line in self._lines.items()
        ]
        return PerlConfig(found, self._problems)

    def _one_statement(self) -> None:
        """Carries out one statement; what cannot be read is a problem, and the next one follows."""
        start = self.at
        try:
            self._statement()
        except Unreadable as error:
            self._report(error)
            self.at = start
            self.skip_to(";", "}")
            self.accept(";")

    def _statement(self) -> None:
        if self.accept(";"):
            return
        if self.sees("if", "unless") and self.upcoming.text == "(":
            self._if_statement()
            return
        if self.sees("sub") and self.upcoming.kind == "word":
            self.skip_to("{")  # a function does nothing before it is called, and calls are not known
            self._skip_block()
            return
        if self._is_skipped():
            self.skip_to(";", "}")
        else:
            self._simple_statement()
            if self.sees("if", "unless"):
                self.skip_to(";", "}")
        if self.current.kind != "end" and not self.sees("}"):
            self.expect(";")

    def _is_skipped(self) -> bool:
        """Returns whether an `if` or `unless` behind the statement says that it is not carried out."""
        start = self.at
        try:
            self.skip_to(";", "}", "if", "unless")
            if not self.sees("if", "unless") or self.upcoming.text == "=>":
                return False
            wanted = self.next().text == "if"
            return self.condition() is not wanted
        finally:
            self.at = start

    def _simple_statement(self) -> None:
        if self.sees("use", "no", "package"):
            self.skip_to(";")
        elif self.sees("return"):
            self.next()
            self.skip_to(";", "}")
            raise _Return
        elif self.current.kind == "number":
            self.expression()
        elif self.sees("push", "unshift"):
            self._push()
        elif self.sees("delete"):
            self._delete()
        else:
            self._assignment()

    # -- if

    def _if_statement(self) -> None:
        """`if (...) {...} elsif (...) {...} else {...}`."""
        done = False
        while self.sees("if", "unless", "elsif"):
            wanted = self.next().text != "unless"
            self.expect("(")
            holds = False
            if done:
                self.skip_to(")")
            else:
                holds = self.condition() is wanted
            self.expect(")")
            self._block(carry_out=holds)
            done = done or holds
        if self.accept("else"):
            self._block(carry_out=not done)

    def _block(self, *, carry_out: bool) -> None:
        opening = self.current
        if not carry_out:
            self._skip_block()
            return
        self.expect("{")
        self._blocks += 1
        if self._blocks > BLOCKS_MAX:
            raise Unreadable(opening, "nested too deeply")
        while self.current.kind != "end" and not self.sees("}"):
            self._one_statement()
        self._blocks -= 1
        self.expect("}")

    def _skip_block(self) -> None:
        self.expect("{")
        self.skip_to("}")
        self.expect("}")
