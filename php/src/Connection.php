<?php

declare(strict_types=1);

namespace Rplx;

/**
 * Sends requests to the IN line, one at a time, on one connection or on a connection each (Options::$keepAlive).
 */
final class Connection
{
    private const CHUNK = 65536;

    /** The errno ETIMEDOUT of Linux. */
    private const TIMED_OUT = 110;

    /** What a host begins with that is the path of a socket, and the most bytes of such a path (unix(7)). */
    private const UNIX = 'unix:';
    private const UNIX_PATH_MAX = 107;

    /** @var string HOST:PORT or unix:/PATH, as errors name it */
    private string $address;

    /** @var string the same as PHP's streams take it */
    private string $target;

    /** @var string value of the header Host */
    private string $hostHeader;

    /** @var string name that the certificate must have */
    private string $peerName;
    private Options $options;
    private bool $secure;

    /** @var resource|null */
    private $socket = null;

    /** @var int the process that connected; a forked child must not use its parent's connection */
    private int $owner = 0;

    private string $received = '';
    private bool $ended = false;

    /**
     * @throws InputException if the host or the port is wrong
     */
    public function __construct(string $host, int $port, Options $options)
    {
        $this->options = $options;
        $this->secure = $options->tls === null ? $port === 443 : $options->tls !== false;
        if (strncmp($host, self::UNIX, strlen(self::UNIX)) === 0) {
            $this->toPath($host);
        } else {
            $this->toHost($host, $port);
        }
    }

    private function toPath(string $address): void
    {
        $path = (string)substr($address, strlen(self::UNIX));
        if ($path === '' || $path[0] !== '/' || strlen($path) > self::UNIX_PATH_MAX || strpos($path, "\0") !== false) {
            $wanted = 'unix:/PATH must be an absolute path of ' . self::UNIX_PATH_MAX . ' bytes at most';
            throw new InputException($wanted . ', "' . Marker::shown($address) . '" given');
        }
        if ($this->options->tls !== null && $this->options->tls !== false) {
            throw new InputException(Marker::shown($address) . ': there is no TLS on such sockets');
        }
        $this->secure = false;
        $this->address = $address;
        $this->target = "unix://$path";
        $this->hostHeader = $this->peerName = 'localhost';
    }

    private function toHost(string $host, int $port): void
    {
        // The host is written into the request's head, so it must not contain anything that could end a line there.
        if (!preg_match('/\A(\[[0-9A-Fa-f:.]+(%\w+)?\]|[^\s\x00-\x1f\x7f\/?#@\[\]]+)\z/', $host)) {
            throw new InputException('Host must be a name or an IP address, "' . Marker::shown($host) . '" given');
        }
        if ($port < 1 || $port > 65535) {
            throw new InputException("Port must be 1 to 65535, \"$port\" given");
        }
        $host = strpos($host, ':') !== false && $host[0] !== '[' ? "[$host]" : $host;
        $this->address = $this->hostHeader = "$host:$port";
        $this->target = "tcp://$this->address";
        $this->peerName = trim($host, '[]');
    }

    public function __destruct()
    {
        $this->close();
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
        $reused = $this->isUsable();
        if (!$reused) {
            $this->open();
        }
        try {
            return $this->attempt($request);
        } catch (ConnectionException $error) {
            // Only a kept connection may have been closed by the server just before. A send is never repeated.
            if (!$reused || !$repeatable || $this->received !== '') {
                throw $error;
            }
        }
        $this->open();
        return $this->attempt($request);
    }

    public function close(): void
    {
        if ($this->socket !== null) {
            $socket = $this->socket;
            $this->socket = null;
            self::quietly(static function () use ($socket) {
                return fclose($socket);
            });
        }
    }

    private function head(string $marker, int $length): string
    {
        // A plain connection is ended by half-close. Servers do not agree on a half-close of TLS.
        $ending = !$this->options->keepAlive && $this->secure ? "Connection: close\r\n" : '';
        return "POST / HTTP/1.1\r\nHost: $this->hostHeader\r\nContent-Length: $length\r\n"
            . "X-Realplexor: $marker\r\n$ending\r\n";
    }

    private function attempt(string $request): ?Answer
    {
        $kept = false;
        try {
            $deadline = self::now() + $this->options->timeout;
            $this->received = '';
            $sent = $this->write($request, $deadline);
            $complete = $sent === strlen($request);
            if (!$this->options->keepAlive && !$this->secure) {
                stream_socket_shutdown($this->socket, STREAM_SHUT_WR);
            }
            $answer = $this->receive($complete && !$this->options->keepAlive, $deadline);
            if ($answer === null && ($this->options->keepAlive || !$complete)) {
                throw $this->broken(
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
    private function write(string $bytes, float $deadline): int
    {
        $sent = 0;
        $total = strlen($bytes);
        while ($sent < $total && $this->received === '' && !$this->ended) {
            [$readable] = $this->wait(true, $deadline);
            if ($readable) {
                $this->fill();
                continue;
            }
            $socket = $this->socket;
            $chunk = substr($bytes, $sent, self::CHUNK);
            [$count, $warning] = self::quietly(static function () use ($socket, $chunk) {
                return fwrite($socket, $chunk);
            });
            if ($count === false && $warning !== '') {
                break;
            }
            $sent += (int)$count;
        }
        return $sent;
    }

    private function receive(bool $toTheEnd, float $deadline): ?Answer
    {
        while (true) {
            if ($this->received !== '' && ($this->ended || !$toTheEnd)) {
                $answer = Answer::parse($this->received, $this->ended);
                if ($answer !== null) {
                    return $answer;
                }
            }
            if ($this->ended) {
                return null;
            }
            $this->wait(false, $deadline);
            $this->fill();
        }
    }

    /**
     * Reads what has been received, if anything.
     */
    private function fill(): void
    {
        $socket = $this->socket;
        [$chunk, $warning] = self::quietly(static function () use ($socket) {
            return fread($socket, self::CHUNK);
        });
        $this->received .= (string)$chunk;
        $this->ended = feof($socket);
        if ($chunk === false && $this->ended && $this->received === '') {
            throw $this->broken('Connection broke before an answer came' . ($warning ? ": $warning" : ''));
        }
        if (strlen($this->received) > $this->options->answerMax) {
            throw new ProtocolException("Answer is longer than {$this->options->answerMax} bytes (option answerMax)");
        }
    }

    /**
     * Waits until the socket can be read or, if that is wanted, written.
     *
     * @return array{bool, bool} whether the socket can be read, and whether it can be written
     */
    private function wait(bool $forWriting, float $deadline): array
    {
        while (true) {
            $left = $deadline - self::now();
            if ($left <= 0) {
                $limit = $this->options->timeout;
                throw $this->broken("No answer within $limit seconds (option timeout)", self::TIMED_OUT);
            }
            $read = [$this->socket];
            $write = $forWriting ? [$this->socket] : [];
            [$count, $warning] = self::quietly(static function () use (&$read, &$write, $left) {
                $except = null;
                return stream_select($read, $write, $except, (int)$left, (int)(fmod($left, 1) * 1e6));
            });
            if ($count) {
                return [$read !== [], $write !== []];
            }
            // A signal interrupts the wait; that is no error.
            if ($count === false && stripos($warning, 'interrupted') === false) {
                throw $this->broken("Waiting for the server failed: $warning");
            }
        }
    }

    /**
     * Returns whether there is a kept connection that the server has not closed meanwhile.
     */
    private function isUsable(): bool
    {
        if ($this->socket === null || $this->owner !== getmypid()) {
            $this->close();
            return false;
        }
        $socket = $this->socket;
        [$chunk] = self::quietly(static function () use ($socket) {
            return fread($socket, 1);
        });
        if ($chunk === '' && !feof($socket)) {
            return true;
        }
        $this->close();
        return false;
    }

    private function open(): void
    {
        $this->close();
        $errno = 0;
        $error = '';
        [$socket, $warning] = self::quietly(function () use (&$errno, &$error) {
            return stream_socket_client(
                $this->target,
                $errno,
                $error,
                $this->options->connectTimeout,
                STREAM_CLIENT_CONNECT,
                stream_context_create(['socket' => ['tcp_nodelay' => true], 'ssl' => $this->tlsOptions()])
            );
        });
        if ($socket === false) {
            throw $this->broken("Error #$errno: " . ($error !== '' ? $error : $warning), $errno);
        }
        $this->socket = $socket;
        $this->owner = (int)getmypid();
        $this->ended = false;
        if ($this->secure) {
            $this->startTls();
        }
        stream_set_blocking($socket, false);
    }

    /**
     * @return array<string, mixed>
     */
    private function tlsOptions(): array
    {
        $given = is_array($this->options->tls) ? $this->options->tls : [];
        return $given + ['verify_peer' => true, 'verify_peer_name' => true, 'peer_name' => $this->peerName];
    }

    private function startTls(): void
    {
        $socket = $this->socket;
        [$done, $warning] = self::quietly(static function () use ($socket) {
            $method = STREAM_CRYPTO_METHOD_TLSv1_2_CLIENT | STREAM_CRYPTO_METHOD_TLSv1_3_CLIENT;
            return stream_socket_enable_crypto($socket, true, $method);
        });
        if ($done !== true) {
            $this->close();
            throw $this->broken('Error #0: TLS: ' . ($warning !== '' ? $warning : 'handshake failed'));
        }
    }

    private function broken(string $detail, int $errno = 0): ConnectionException
    {
        return new ConnectionException($this->address, $detail, $errno);
    }

    private static function now(): float
    {
        return hrtime(true) / 1e9;
    }

    /**
     * Calls with warnings collected: PHP says only there why a stream failed, and no error handler of the site should
     * see them.
     *
     * @return array{mixed, string} the result, and the warnings without the functions' names
     */
    private static function quietly(callable $call): array
    {
        $warnings = [];
        set_error_handler(static function (int $level, string $text) use (&$warnings): bool {
            $warnings[] = preg_replace('/^\w+\(\): /', '', $text);
            return true;
        });
        try {
            $result = $call();
        } finally {
            restore_error_handler();
        }
        return [$result, implode('; ', $warnings)];
    }
}
