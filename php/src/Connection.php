<?php

declare(strict_types=1);

namespace Rplx;

/**
 * Sends requests to the IN line, one at a time, on one connection or on a connection each (Options::$keepAlive).
 */
final class Connection
{
    /** The errno ETIMEDOUT of Linux. */
    private const TIMED_OUT = 110;

    private Address $address;
    private Options $options;
    private ?Socket $socket = null;

    /**
     * @throws InputException if the host or the port is wrong
     */
    public function __construct(string $host, int $port, Options $options)
    {
        $this->options = $options;
        $this->address = Address::of($host, $port, $options->tls);
    }

    /**
     * Sends a request and waits for its answer.
     *
     * @param string $marker     value of the header X-Realplexor
     * @param string $body       a message or a command
     * @param bool   $repeatable whether it does no harm if the server gets the request twice
     * @return Answer|null the answer; null if the connection was closed without one (only without keepAlive)
     * @throws ConnectionException|ProtocolException
     */
    public function exchange(string $marker, string $body, bool $repeatable): ?Answer
    {
        $request = $this->head($marker, strlen($body)) . $body;
        $reused = $this->socket !== null && $this->socket->isUsable();
        $socket = $reused ? $this->socket : $this->open();
        try {
            return $this->attempt($socket, $request);
        } catch (ConnectionException $error) {
            // Only a kept connection may have been closed by the server just before. A send is never repeated.
            if (!$reused || !$repeatable || $socket->received !== '') {
                throw $error;
            }
        }
        return $this->attempt($this->open(), $request);
    }

    public function close(): void
    {
        if ($this->socket !== null) {
            $this->socket->close();
            $this->socket = null;
        }
    }

    private function open(): Socket
    {
        $this->close();
        return $this->socket = new Socket($this->address, $this->options->connectTimeout, $this->options->tls);
    }

    private function head(string $marker, int $length): string
    {
        // A plain connection is ended by half-close. Servers do not agree on a half-close of TLS.
        $ending = !$this->options->keepAlive && $this->address->secure ? "Connection: close\r\n" : '';
        return "POST / HTTP/1.1\r\nHost: {$this->address->hostHeader}\r\nContent-Length: $length\r\n"
            . "X-Realplexor: $marker\r\n$ending\r\n";
    }

    private function attempt(Socket $socket, string $request): ?Answer
    {
        $kept = false;
        try {
            $deadline = Socket::now() + $this->options->timeout;
            $socket->received = '';
            $sent = $this->write($socket, $request, $deadline);
            $complete = $sent === strlen($request);
            if (!$this->options->keepAlive && !$this->address->secure) {
                $socket->endWriting();
            }
            $answer = $this->receive($socket, $complete && !$this->options->keepAlive, $deadline);
            if ($answer === null && ($this->options->keepAlive || !$complete)) {
                throw $socket->broken(
                    'Connection closed without an answer, ' . ($complete ? 'all' : $sent) . ' of '
                    . strlen($request) . ' bytes sent'
                );
            }
            $kept = $answer !== null && $answer->keeps && $complete && $this->options->keepAlive;
            return $answer;
        } finally {
            if (!$kept) {
                $this->close();
            }
        }
    }

    /**
     * Writes a request, and stops when the server answers or closes before the end.
     *
     * @return int number of bytes sent
     */
    private function write(Socket $socket, string $bytes, float $deadline): int
    {
        $sent = 0;
        $total = strlen($bytes);
        while ($sent < $total && $socket->received === '' && !$socket->ended) {
            if ($this->wait($socket, true, $deadline)) {
                $this->fill($socket);
                continue;
            }
            $count = $socket->write($bytes, $sent);
            if ($count === null) {
                break;
            }
            $sent += $count;
        }
        return $sent;
    }

    private function receive(Socket $socket, bool $toTheEnd, float $deadline): ?Answer
    {
        while (true) {
            if ($socket->received !== '' && ($socket->ended || !$toTheEnd)) {
                $answer = Answer::parse($socket->received, $socket->ended);
                if ($answer !== null) {
                    return $answer;
                }
            }
            if ($socket->ended) {
                return null;
            }
            $this->wait($socket, false, $deadline);
            $this->fill($socket);
        }
    }

    /**
     * Reads what has been received, if anything.
     */
    private function fill(Socket $socket): void
    {
        $socket->fill();
        if (strlen($socket->received) > $this->options->answerMax) {
            throw new ProtocolException("Answer is longer than {$this->options->answerMax} bytes (option answerMax)");
        }
    }

    /**
     * Waits until the socket can be read or, if that is wanted, written.
     *
     * @return bool whether it can be read
     */
    private function wait(Socket $socket, bool $forWriting, float $deadline): bool
    {
        // A signal interrupts the wait; that is no error.
        while (($ready = $socket->wait($forWriting, $deadline)) === [false, false]) {
            continue;
        }
        if ($ready === null) {
            $limit = $this->options->timeout;
            throw $socket->broken("No answer within $limit seconds (option timeout)", self::TIMED_OUT);
        }
        return $ready[0];
    }
}
