"""One connection of the IN line: its requests are read, carried out and answered (protocol page, part 3)."""

from __future__ import annotations

from collections.abc import Sequence

from rplx.errors import AccessDenied, BadRequest, Refusal, TlsHandshake, TooLarge
from rplx.in_line import loose_lengths
from rplx.in_line.connection import Connection
from rplx.in_line.line import Line
from rplx.messages import Appended, Command, Identifiers, Send
from rplx.net.retry_after import retry_after
from rplx.protocol import commands, replies
from rplx.protocol.http_request import HttpRequest
from rplx.protocol.replies import CONTINUE
from rplx.protocol.request_reader import RequestReader, State

ANSWERS_MAX = 65536  # bytes of answers to requests that came together after which they are sent; one may be longer
EARLY_COMMAND_MAX = 16384  # bytes of a plain text command that is carried out before its connection half-closes


class Conversation:
    """The requests of one connection and their answers, in order."""

    __slots__ = (
        "_answered",
        "_asked",
        "_begun",
        "_identifiers",
        "_is_listed",
        "_is_over",
        "_line",
        "_reader",
        "_ready",
        "connection",
    )

    def __init__(self, line: Line, connection: Connection) -> None:
        maxlen = line.options.maxlen
        self.connection = connection
        self._line = line
        self._reader = RequestReader(
            maxlen, maxlen, until_end=True, need_host=False, loose_length=True, options=("in.maxlen", "in.maxlen")
        )
        self._identifiers: Identifiers | None = None  # those of the head of a request whose body is coming in
        self._is_listed = False  # whether the log has the list of the request that is coming in
        self._asked = False  # whether the last request that was carried out was a command
        self._answered = False  # whether an HTTP request was answered, and the connection kept
        self._ready = b""  # answers in their order, not sent yet
        self._begun: list[tuple[Appended, bool]] = []  # sends on their way behind them, and whether each is kept
        self._is_over = False  # whether the request that is carried out has taken all that the client sends

    def run(self) -> None:
        """Returns when either side has had enough, or the connection is lost, as the log then says."""
        log = self._line.log
        try:
            self._talk()
        except TimeoutError:
            if self._reader.state is State.START and self._reader.head_size > 0:
                log.connection(self.connection, "timeout")  # how every kept connection ends that is no longer needed
            else:
                log.connection_error(self.connection, "timeout")
        except OSError as error:
            log.connection(self.connection, f"connection lost: {error.strerror}")

    def claim(self) -> tuple[int, float]:
        """Returns how much a connection claims its place: one without a request least, then who is idle for longest."""
        if self._reader.state is State.START:
            return int(self._answered), self.connection.idle_since
        return 2, self.connection.idle_since

    def end_if_idle(self) -> None:
        """If no request is half read, has the next receive see the end. A request already there is still answered."""
        if self._reader.state is State.START:
            self.connection.end_receiving()

    def _talk(self) -> None:
        """Raises OSError, TimeoutError."""
        line, connection, reader = self._line, self.connection, self._reader
        log = line.log
        while not (line.ends_between_requests and reader.state is State.START):
            data = connection.receive()
            if log.connections and data:
                log.connection(connection, f"read {len(data)} bytes")
            try:
                if not data:
                    self._end()
                    return
                if self._asked and not data.strip(b"\r\n"):
                    return  # a blank line behind a command: its client reads to the end
                if not self._answer_all(reader.feed(data), data):
                    return
                if reader.error is not None:
                    raise reader.error
                if self._go_on():
                    return
                line.turns.rest()  # also where the next bytes are always there
            except TlsHandshake as error:
                log.counted(f"IN: {error.code}", f"IN: {connection.host}: {error.text}")
                return
            except Refusal as error:
                self._log_refusal(error)
                # Plain text has no refusals but those of a login (parts 3 and 7.3).
                if reader.state is not State.TEXT or isinstance(error, AccessDenied):
                    connection.send_last(replies.refusal(error, retry_after(error)))
                return

    # -- requests that are coming in

    def _go_on(self) -> bool:
        """Looks at a request that is not whole; returns whether it was a command, and the last. Raises Refusal."""
        reader = self._reader
        if self._line.log.connections and not self._is_listed:
            self._log_list_so_far()
        if reader.state is State.TEXT:
            return self._go_on_with_text()
        if reader.state in (State.BODY, State.UNTIL_END):
            if not reader.judged:
                self._judge_head()
            return reader.state is State.UNTIL_END and self._go_on_with_open_body()
        return False

    def _go_on_with_text(self) -> bool:
        """A plain text request has grown; returns whether it was a whole command. Raises Refusal."""
        self._limit_text()
        if self._reader.text_size > EARLY_COMMAND_MAX:
            return False
        command = commands.early_command(self._reader.text, self._line.parser)
        if command is None:
            return False
        self._answer_text(command)
        return True

    def _judge_head(self) -> None:
        """Looks at the head of a request, once, in whatever pieces its body comes in. Raises Refusal."""
        reader, line = self._reader, self._line
        reader.mark_judged()
        head = reader.head()
        self._identifiers = None
        if reader.state is State.UNTIL_END or head.method != "POST":
            has_length = reader.state is State.BODY
            self._identifiers = commands.check_head(head, line.parser, line.door, has_length=has_length)
        if reader.expects_continue:  # curl waits a second for it before a longer body (RFC 9110, 10.1.1)
            reader.continue_sent()
            self.connection.send(CONTINUE)

    def _go_on_with_open_body(self) -> bool:
        """A body without a length has grown; returns whether it was a whole command. Raises Refusal."""
        if self._reader.body_size > EARLY_COMMAND_MAX:
            return False
        body = self._reader.so_far().body
        command = commands.early_command_behind(self._identifiers, body, self._line.parser)
        if command is None:
            return False
        self.connection.send_last(self._send_but_last(self._answer_to(command)))
        return True

    def _end(self) -> None:
        """The sending half has ended, and with it perhaps a request. Raises Refusal."""
        request = self._reader.end()
        if request is not None:
            answer, _ = self._answer(request)
            self._settle()
            self._add(answer)
            self._send_ready()
        elif self._reader.state is State.TEXT:
            self._limit_text()
            text = self._reader.text
            if self._line.log.connections:
                self._log_list(commands.list_so_far(None, text + b"\n", self._line.parser))
            self._answer_text(commands.command_of_text(text, self._line.parser))

    def _limit_text(self) -> None:
        """Raises TooLarge."""
        if self._reader.text_size > self._line.options.maxlen:
            raise TooLarge(f"overflow (received {self._reader.text_size} bytes total)")

    # -- answers

    def _answer_text(self, command: Command) -> None:
        """Plain text: a send is silent, a command has its answer. Raises Refusal."""
        if isinstance(command, Send):
            self._line.execute(self.connection, command)
        else:
            self.connection.send(self._send_but_last(self._answer_to(command)))

    def _answer_to(self, command: Command) -> Sequence[bytes]:
        """Carries out a command behind which the connection ends; returns its answer in parts. Raises Refusal."""
        return replies.answer(self._line.execute(self.connection, command), keep_alive=False)

    def _answer_all(self, requests: list[HttpRequest], data: bytes) -> bool:
        """Answers requests in their order; returns False if the connection ends with one, and none behind it is done.

        `data` is what came last, with the end of the last of them.
        """
        for request in requests:
            answer, keep_alive = self._answer(request, data if request is requests[-1] else b"", len(requests))
            if answer or not keep_alive:
                self._settle()
                self._add(answer)
            if not keep_alive:
                self.connection.send_last(self._ready)
                return False
            self._answered = True
            self._line.turns.rest()
            if len(self._ready) >= ANSWERS_MAX:
                self._send_ready()
        self._settle()
        self._send_ready()
        return True

    def _add(self, answer: Sequence[bytes]) -> None:
        """Adds an answer to those that are ready; of one in parts all but the last are sent. Raises as `send`."""
        if len(answer) > 1:
            self._send_ready()
            self._ready = self._send_but_last(answer)
        elif answer:
            self._ready += answer[0]

    def _send_ready(self) -> None:
        """Raises OSError, TimeoutError."""
        ready, self._ready = self._ready, b""
        self.connection.send(ready)

    def _settle(self) -> None:
        """Waits until the sends that were begun are stored, and adds their answers to those that are ready."""
        if not self._begun:
            return
        begun, self._begun = self._begun, []
        answers: list[bytes] = []
        for appended, keep_alive in begun:
            try:
                text = replies.receipt(appended.receipt())
                answers += replies.answer(text, keep_alive=keep_alive)
            except Refusal as error:
                self._log_refusal(error)
                answers.append(replies.refusal(error, retry_after(error), keep_alive=keep_alive and not error.closes))
            self._line.turns.rest()
        self._ready += b"".join(answers)

    def _answer(self, request: HttpRequest, data: bytes = b"", count: int = 0) -> tuple[Sequence[bytes], bool]:
        """Returns the answer to an HTTP request, one of `count`, in parts, and whether the connection is kept.

        It has no parts if the request is a send on its way, which `_settle` answers.
        """
        if self._line.log.connections:
            self._log_list(commands.list_of(request, self._line.parser))
            self._is_listed = False  # the next request has a list of its own
        try:
            command, text = self._carry_out(request, is_alone=count == 1)
            keep_alive = self._keeps(request)
            self._asked = not isinstance(command, Send)
            if not isinstance(text, bytes | list):
                self._begun.append((text, keep_alive))
                return (), keep_alive
            if self._asked and commands.ends_in_old_form(request, data):
                keep_alive = False
            return replies.answer(text, keep_alive=keep_alive), keep_alive
        except Refusal as error:
            self._log_refusal(error)
            keep_alive = self._keeps(request) and not error.closes
            return (replies.refusal(error, retry_after(error), keep_alive=keep_alive),), keep_alive

    def _keeps(self, request: HttpRequest) -> bool:
        """Returns whether the connection is kept behind the answer to this request."""
        return request.keep_alive and not self._is_over and not self._line.ends_with_answers

    def _carry_out(self, request: HttpRequest, *, is_alone: bool) -> tuple[Command, bytes | list[bytes] | Appended]:
        """Carries out a request; where it makes no sense as it is, its length may be too small. Raises Refusal.

        Returns the text of its answer, or a send that is on its way: those behind it go into the same transaction.
        """
        line = self._line
        try:
            command = commands.command_of_http(request, line.parser, line.door)
            if not loose_lengths.is_open_command(request, command):
                return command, self._execute(command)
            longer = self._read_on(request, is_alone=is_alone, asks=True) or request
        except BadRequest:
            found = self._read_on(request, is_alone=is_alone, asks=False)
            if found is None:
                raise
            longer = found
        command = commands.command_of_http(longer, line.parser, line.door)
        return command, self._execute(command)

    def _execute(self, command: Command) -> bytes | list[bytes] | Appended:
        """Raises Refusal."""
        if isinstance(command, Send):
            begun = self._line.begin(self.connection, command)
            return replies.receipt(begun.receipt()) if begun.is_settled else begun
        self._settle()  # what it asks for counts behind the sends before it
        return self._line.execute(self.connection, command)

    def _read_on(self, request: HttpRequest, *, is_alone: bool, asks: bool) -> HttpRequest | None:
        """Returns a request with what comes behind its length; None if nothing does, or another request.

        Only the first request of a connection is looked at so, if it came alone. Raises OSError, Refusal.
        """
        if not is_alone or self._answered or not loose_lengths.may_go_on(self._reader, request):
            return None
        line = self._line
        longer = loose_lengths.read_on(
            self.connection, self._reader, request, line.parser, line.options.maxlen, asks=asks
        )
        self._is_over = longer is not None
        return longer

    def _send_but_last(self, parts: Sequence[bytes]) -> bytes:
        """Sends a long answer in turns; returns its last part. Raises OSError, TimeoutError."""
        for part in parts[:-1]:
            self.connection.send(part)
            self._line.turns.rest()  # also where the client takes it as fast as it is sent
        return parts[-1]

    # -- the log (part 4)

    def _log_list_so_far(self) -> None:
        """Logs the list of a request that is coming in, as soon as it is complete."""
        reader, parser = self._reader, self._line.parser
        if reader.state is State.TEXT and reader.text_size <= EARLY_COMMAND_MAX:
            self._log_list(commands.list_so_far(None, reader.text, parser))
        elif reader.state in (State.BODY, State.UNTIL_END) and not reader.judged:
            self._log_list(commands.list_so_far(reader.head(), b"", parser))

    def _log_list(self, identifiers: Identifiers | None) -> None:
        """Logs the list of a request, once."""
        if self._is_listed or identifiers is None:
            return
        self._is_listed = True
        credentials, limiters = identifiers.credentials, identifiers.limiters
        limits = f"; limiters are ({', '.join(limiters)})" if limiters else ""
        login = f'; login is "{credentials.login}"' if credentials else ""
        self._line.log.connection(self.connection, f"parsed IDs{limits}{login}")
        self._line.turns.rest()  # a list may be as long as a request, and is read again when that is carried out

    def _log_refusal(self, error: Refusal) -> None:
        log = self._line.log
        if isinstance(error, commands.EmptyBody):  # ignored, so it is no error
            log.connection(self.connection, commands.EMPTY_BODY)
            return
        if error.advice and not log.connections:
            log.counted(f"IN: {error.code}", f"IN: {self.connection.host}: {error.advice}")
        log.refused(self.connection, error.text, error.trouble)
