<?php

declare(strict_types=1);

namespace Rplx;

/**
 * One connection to a line of the server, which does not block.
 */
final class Socket
{
    private const CHUNK = 65536;

    /** @var string what was read and not taken yet */
    public string $received = '';

    /** @var bool whether the server has ended the connection */
    public bool $ended = false;

    private Address $address;

    /** @var resource|null */
    private $socket;

    /** @var int the process that connected; a forked child must not use its parent's connection */
    private int $owner;

    /**
     * Connects, with TLS if the address wants it.
     *
     * @param bool|array<string, mixed>|null $tls as in Options
     * @throws ConnectionException
     */
    public function __construct(Address $address, float $timeout, $tls)
    {
        $this->address = $address;
        $this->owner = (int)getmypid();
        $given = is_array($tls) ? $tls : [];
        $given += ['verify_peer' => true, 'verify_peer_name' => true, 'peer_name' => $address->peerName];
        $context = stream_context_create(['socket' => ['tcp_nodelay' => true], 'ssl' => $given]);
        $errno = 0;
        $error = '';
        [$socket, $warning] = self::quietly(static function () use ($address, $timeout, $context, &$errno, &$error) {
            return stream_socket_client($address->target, $errno, $error, $timeout, STREAM_CLIENT_CONNECT, $context);
        });
        if ($socket === false) {
            throw $this->broken("Error #$errno: " . ($error !== '' ? $error : $warning), $errno);
        }
        $this->socket = $socket;
        if ($address->secure) {
            $this->startTls();
        }
        stream_set_blocking($socket, false);
    }

    public function __destruct()
    {
        $this->close();
    }

    /**
     * Returns whether it may carry another request: it is this process's, the server has not ended it, and nothing
     * has come that nobody asked for.
     */
    public function isUsable(): bool
    {
        if ($this->socket === null || $this->owner !== getmypid()) {
            return false;
        }
        $socket = $this->socket;
        [$chunk] = self::quietly(static function () use ($socket) {
            return fread($socket, 1);
        });
        return $chunk === '' && !feof($socket);
    }

    /**
     * Writes some of the bytes behind the first `$from`, once it is ready for that.
     *
     * @return int|null the number of bytes that it took; null if it takes none any more
     */
    public function write(string $bytes, int $from): ?int
    {
        $socket = $this->socket;
        [$count, $warning] = self::quietly(static function () use ($socket, $bytes, $from) {
            return fwrite($socket, substr($bytes, $from, self::CHUNK));
        });
        return $count === false && $warning !== '' ? null : (int)$count;
    }

    /**
     * Says that nothing more will be written.
     */
    public function endWriting(): void
    {
        stream_socket_shutdown($this->socket, STREAM_SHUT_WR);
    }

    /**
     * Reads what has come, if anything, into `received`.
     *
     * @throws ConnectionException if the connection broke before anything came
     */
    public function fill(): void
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
    }

    /**
     * Waits until it can be read or, if that is wanted, written, or a signal came.
     *
     * @param float $deadline as of now()
     * @return array{bool, bool}|null whether it can be read, and whether it can be written; null after the deadline
     * @throws ConnectionException
     */
    public function wait(bool $forWriting, float $deadline): ?array
    {
        $left = $deadline - self::now();
        if ($left <= 0) {
            return null;
        }
        $read = [$this->socket];
        $write = $forWriting ? [$this->socket] : [];
        [$count, $warning] = self::quietly(static function () use (&$read, &$write, $left) {
            $except = null;
            return stream_select($read, $write, $except, (int)$left, (int)(fmod($left, 1) * 1e6));
        });
        if ($count === false && stripos($warning, 'interrupted') === false) {
            throw $this->broken("Waiting for the server failed: $warning");
        }
        return $count ? [$read !== [], $write !== []] : [false, false];
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

    public function broken(string $detail, int $errno = 0): ConnectionException
    {
        return new ConnectionException($this->address->text, $detail, $errno);
    }

    /**
     * @return float seconds of a clock that nobody sets
     */
    public static function now(): float
    {
        return hrtime(true) / 1e9;
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
