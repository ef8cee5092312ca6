<?php

declare(strict_types=1);

namespace Rplx;

/**
 * Messages of channels as they come, for `foreach`; made by Client::listen().
 *
 * It listens by an event stream, or by polls where there are no streams (protocol page, parts 9 and 10), and comes back
 * from its cursors whatever breaks: nothing is lost or doubled while the server's history holds it. The iteration
 * throws RefusedException for refusals that will not pass (400, 401, 403, 413).
 *
 * @implements \IteratorAggregate<int, Message>
 */
final class Listener implements \IteratorAggregate
{
    /** Seconds within which a stream's first event has to come, else something on the way holds it back. */
    private const OPEN_PATIENCE = 3.0;

    /** Seconds without a byte after which a stream counts as dead: more than two of the server's heartbeats. */
    private const SILENCE = 60.0;

    /** Seconds past what a poll asked for after which it counts as dead; and the most that old servers may take. */
    private const SILENCE_MARGIN = 10.0;
    private const POLL_TIMEOUT = 305.0;

    /** Seconds: an empty answer to a poll that comes sooner counts as a failure, so that polls never spin. */
    private const QUICK = 1.0;

    /** Statuses that may pass, so the listener asks again; and those that a poll would be answered with, too. */
    private const PASSING = [408, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524];
    private const CERTAIN = [400, 401, 403, 413];

    private Options $clientOptions;
    private ListenerOptions $options;
    private Marker $marker;
    private WaitRequest $requests;
    private Cursors $cursors;
    private Pace $pace;
    private HeldGrant $grant;

    /** @var list<Due> */
    private array $due = [];
    private ?Exchange $exchange = null;

    /** @var StreamAnswer|null the answer, if a stream was asked for */
    private ?StreamAnswer $stream = null;

    /** @var string what came of a poll's answer */
    private string $body = '';

    /** @var bool whether a poll asks for the position, and so is answered at once: the first one, or behind a stream */
    private bool $asks = true;
    private bool $isClosed = false;
    private bool $isWaiting = false;
    private bool $givesPosition = false;

    /** @var float when the request went out, until when something has to come, and when the next one may go out */
    private float $startedAt = 0.0;
    private float $deadline = 0.0;
    private float $notBefore = 0.0;

    /**
     * Listens: what is sent after this has returned is received.
     *
     * @param mixed $channels
     * @throws Exception if the server cannot be listened to
     */
    public function __construct(Options $client, Marker $marker, $channels, string $url, ListenerOptions $options)
    {
        $this->clientOptions = $client;
        $this->options = $options;
        $this->marker = $marker;
        $this->cursors = new Cursors($marker->cursors($channels));
        $this->requests = new WaitRequest($url);
        $this->pace = new Pace($options);
        $this->grant = new HeldGrant($options, $marker);
        while ($this->asks) {
            $this->exchange === null ? $this->ask() : $this->begin();
        }
    }

    /**
     * Returns the cursor in each channel of the last message that the loop had; for listen(), to go on from there.
     *
     * @return array<int|string, string|null>
     */
    public function cursors(): array
    {
        return $this->marker->shortKeys($this->cursors->at);
    }

    /**
     * @return \Generator<int, Message>
     */
    public function getIterator(): \Generator
    {
        $end = $this->options->seconds > 0 ? Socket::now() + $this->options->seconds : INF;
        while (!$this->isClosed) {
            if ($this->due !== []) {
                $due = array_shift($this->due);
                $message = $due->message;
                $this->tellGap($due);
                $this->cursors->advance($due->cursors);
                if ($message !== null) {
                    yield new Message($message->data, $this->marker->shortKeys($message->ids), $message->problem);
                }
            } elseif (Socket::now() >= $end) {
                return;
            } else {
                $this->step($end);
            }
        }
        $this->drop();
    }

    /**
     * Ends the iteration, also from a signal handler.
     */
    public function close(): void
    {
        $this->isClosed = true;
        if (!$this->isWaiting) {
            $this->drop();
        }
    }

    /**
     * Reads before the listener has its place in the channels: who made it is told of a failure.
     */
    private function begin(): void
    {
        try {
            $this->read(INF);
        } catch (ConnectionException | ProtocolException $error) {
            if (!$this->asks) {
                $this->failed(0.0, false);
            } elseif ($this->stream !== null && $this->options->transport === ListenerOptions::AUTO) {
                $this->fallBack();
            } else {
                throw $error;
            }
        }
    }

    /**
     * Does one thing: waits, asks, or reads. Failures that may pass delay the next request.
     */
    private function step(float $end): void
    {
        $this->isWaiting = true;
        try {
            $left = min($this->notBefore, $end) - Socket::now();
            if ($left > 0) {
                usleep((int)ceil($left * 1e6));
            } elseif ($this->exchange === null) {
                $this->ask();
            } elseif ($this->stream === null || !$this->stream->isOpen) {
                $this->read($end);
            } elseif ($this->grant->dueAt() > Socket::now()) {
                $this->read(min($end, $this->grant->dueAt()));
            } elseif ($this->grant->renew()) {
                $this->drop(); // the next stream brings it
            }
        } catch (RefusedException $error) {
            if (!in_array($error->getCode(), self::PASSING, true)) {
                throw $error;
            }
            $this->failed($error->retryAfter(), $error->retryAfter() > 0);
        } catch (ConnectionException | ProtocolException $error) {
            $this->failed(0.0, false);
        } finally {
            $this->isWaiting = false;
        }
    }

    private function failed(float $retryAfter, bool $isRefused): void
    {
        $now = Socket::now();
        $waited = $this->exchange === null ? 0.0 : $now - $this->startedAt;
        $isCut = $waited > Pace::WAITED && !$this->asks;
        if ($this->stream !== null && $this->exchange !== null && !$isCut && !$isRefused) {
            $this->pace->streamEndedAtOnce($now);
        }
        $this->drop();
        if (!$isCut) {
            $this->cursors->forgetGaps();
            $this->notBefore = $now + $this->pace->failed($retryAfter);
        } elseif ($retryAfter > 0) {
            $this->notBefore = $now + Pace::bounded($retryAfter);
        } elseif ($this->stream !== null) {
            $this->pace->succeeded();
            $this->notBefore = $now + $this->spread();
        } else {
            $this->pace->cut($waited, $now);
        }
    }

    private function ask(): void
    {
        $now = Socket::now();
        $isStream = $this->pace->wantsStream($now);
        $this->asks = $this->asks || (!$isStream && $this->stream !== null);
        $this->stream = $isStream ? new StreamAnswer($this->cursors, $this->options->objects, $this->grant) : null;
        $this->body = '';
        $seconds = $this->pace->pollSeconds($now);
        $this->requests->grant = $this->grant->header();
        $request = $this->request($seconds);
        $this->exchange = new Exchange($this->requests->address, $this->clientOptions, $request);
        $this->startedAt = Socket::now();
        $this->deadline = $this->startedAt + $this->patience($seconds);
    }

    private function patience(float $pollSeconds): float
    {
        if ($this->stream !== null) {
            $isAlone = $this->options->transport === ListenerOptions::STREAM;
            return $isAlone ? max($this->clientOptions->timeout, self::OPEN_PATIENCE) : self::OPEN_PATIENCE;
        }
        if ($this->asks) {
            return $this->clientOptions->timeout;
        }
        return $pollSeconds > 0 && $this->givesPosition ? $pollSeconds + self::SILENCE_MARGIN : self::POLL_TIMEOUT;
    }

    private function request(float $pollSeconds): string
    {
        $marker = $this->marker->forListening($this->cursors->at);
        if ($this->stream !== null) {
            return $this->requests->forStream($marker);
        }
        return $this->asks ? $this->requests->forPosition($marker) : $this->requests->forPoll($marker, $pollSeconds);
    }

    /**
     * Takes what comes next of the answer, until `$end` at most.
     */
    private function read(float $end): void
    {
        $bytes = $this->exchange->read(min($this->deadline, $end));
        if ($bytes === null) {
            if (Socket::now() >= $this->deadline) {
                $this->silent();
            }
            return;
        }
        $status = $this->exchange->response->status;
        if ($this->stream !== null && $status === 200) {
            $this->readStream($this->stream, $bytes);
        } elseif ($this->stream !== null && $this->isMaybePolled($status)) {
            $this->fallBack();
        } else {
            $this->readPoll($bytes, $status);
        }
    }

    /**
     * Returns whether a poll may be answered where a stream was refused, as by what knows no such `Accept`.
     */
    private function isMaybePolled(int $status): bool
    {
        return $status !== 0 && $this->options->transport === ListenerOptions::AUTO
            && !in_array($status, self::PASSING, true) && !in_array($status, self::CERTAIN, true);
    }

    private function silent(): void
    {
        if ($this->stream !== null && !$this->stream->isOpen && $this->options->transport === ListenerOptions::AUTO) {
            $this->fallBack();
            return;
        }
        throw $this->exchange->silent('within ' . round($this->deadline - $this->startedAt, 1) . ' seconds');
    }

    private function fallBack(): void
    {
        $this->pace->streamDoesNotFit(Socket::now());
        $this->drop();
    }

    private function readStream(StreamAnswer $stream, string $bytes): void
    {
        if (stripos($this->exchange->response->header('Content-Type'), 'text/event-stream') !== 0) {
            if ($this->options->transport === ListenerOptions::STREAM) {
                throw new ProtocolException('The server has no event streams');
            }
            $this->fallBack();
            return;
        }
        if (!$stream->isOpen) {
            $this->grant->take($this->exchange->response, $this->cursors->ids());
        }
        array_push($this->due, ...$stream->feed($bytes, $this->clientOptions->answerMax));
        if ($stream->isOpen) {
            $this->asks = false;
            $this->deadline = $bytes === '' ? $this->deadline : Socket::now() + self::SILENCE;
        }
        if ($stream->isBye || $this->exchange->isOver()) {
            $this->endStream($stream);
        }
    }

    /**
     * Comes back when a stream has ended: after the time that it said, or, if it ended at once, after more each time.
     *
     * @throws ConnectionException|RefusedException
     */
    private function endStream(StreamAnswer $stream): void
    {
        $now = Socket::now();
        if (!$stream->isOpen && $stream->retry !== null) {
            throw new RefusedException(503, 'Service Unavailable', $stream->comment, $stream->retry);
        }
        if (!$stream->isBye && (!$stream->isOpen || $now - $this->startedAt <= Pace::WAITED)) {
            throw $this->exchange->broken('The stream ended at once');
        }
        $this->pace->succeeded();
        $this->notBefore = $now + ($stream->isBye ? Pace::bounded((float)$stream->retry) : $this->spread());
        $this->drop();
    }

    /**
     * Returns the seconds to wait behind a stream that broke: at random, as nobody has told each listener its own.
     */
    private function spread(): float
    {
        return $this->stream === null ? 0.0 : Pace::bounded((float)$this->stream->retry) * lcg_value();
    }

    private function readPoll(string $bytes, int $status): void
    {
        $this->body .= $bytes;
        $limit = $this->clientOptions->answerMax;
        if (strlen($this->body) > $limit) {
            throw new ProtocolException("Answer is longer than $limit bytes (option answerMax)");
        }
        if (!$this->exchange->isOver()) {
            return;
        }
        if (!$this->exchange->isWhole()) {
            throw $this->exchange->broken('Connection closed before the answer was complete');
        }
        $response = $this->exchange->response;
        if ($status === HeldGrant::UNAUTHORIZED && $this->grant->isToBeAskedAgain()) {
            $this->drop();
            return;
        }
        if ($status !== 200) {
            $retry = in_array($status, [429, 503], true) ? (float)$response->header('Retry-After') : 0.0;
            throw new RefusedException($status, $response->phrase, $this->body, $retry);
        }
        $this->grant->take($response, $this->cursors->ids());
        $messages = Blocks::read($this->body, $this->options->objects);
        if ($messages === [] && !$this->asks && Socket::now() - $this->startedAt <= self::QUICK) {
            throw $this->exchange->broken('An empty answer at once');
        }
        $this->takeAnswer($messages, $response->header('X-Realplexor-Cursor'), $response->header('X-Realplexor-Gap'));
        $this->pace->succeeded();
        $this->drop();
    }

    /**
     * @param list<Message> $messages
     */
    private function takeAnswer(array $messages, string $position, string $gap): void
    {
        $this->asks = false;
        if ($position !== '') {
            $this->givesPosition = true;
            $present = array_fill_keys(array_keys($this->cursors->at), $position);
            $this->cursors->begin($present);
            $ids = $gap === '*' ? array_keys($present) : preg_split('/[\s,]+/', $gap, -1, PREG_SPLIT_NO_EMPTY);
            // A channel without a message behind its gap goes on from the present. If others had messages, the answer
            // may have been cut at the server's limit, before those of this channel: it is asked for again.
            $moved = $messages === [] ? array_intersect_key($present, array_flip($ids)) : [];
            $this->due[] = new Due(null, $moved, $ids, $present);
            foreach ($messages === [] ? [] : $ids as $id) {
                $this->asks = $this->asks || array_column(array_column($messages, 'ids'), $id) === [];
            }
        }
        foreach ($messages as $message) {
            $this->due[] = new Due($message, $message->ids);
        }
    }

    private function tellGap(Due $due): void
    {
        if ($due->gap === []) {
            return;
        }
        $news = $this->cursors->gaps(array_values(array_filter($due->gap, 'is_scalar')), $due->present);
        if ($news !== [] && $this->options->onGap !== null) {
            ($this->options->onGap)(array_map([$this->marker, 'short'], $news));
        }
    }

    private function drop(): void
    {
        if ($this->exchange !== null) {
            $this->exchange->close();
            $this->exchange = null;
        }
    }
}
