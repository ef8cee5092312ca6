<?php

declare(strict_types=1);

namespace Rplx;

/**
 * Where a line of the server listens: HOST:PORT, or unix:/PATH, the path of a socket (protocol page, part 9.7).
 */
final class Address
{
    /** What a host begins with that is the path of a socket, and the most bytes of such a path (unix(7)). */
    private const UNIX = 'unix:';
    private const UNIX_PATH_MAX = 107;

    /** @var string HOST:PORT or unix:/PATH, as errors name it */
    public string $text;

    /** @var string the same as PHP's streams take it */
    public string $target;

    /** @var string value of the header Host */
    public string $hostHeader;

    /** @var string name that the certificate must have */
    public string $peerName;
    public bool $secure;

    private function __construct(string $text, string $target, string $hostHeader, string $peerName, bool $secure)
    {
        $this->text = $text;
        $this->target = $target;
        $this->hostHeader = $hostHeader;
        $this->peerName = $peerName;
        $this->secure = $secure;
    }

    /**
     * Returns the address of an IN line.
     *
     * @param bool|array<string, mixed>|null $tls as in Options; null means TLS on port 443
     * @throws InputException if the host or the port is wrong
     */
    public static function of(string $host, int $port, $tls): self
    {
        if (self::isPath($host)) {
            if ($tls !== null && $tls !== false) {
                throw new InputException(Marker::shown($host) . ': there is no TLS on such sockets');
            }
            return self::ofPath($host);
        }
        return self::ofHost($host, $port, $tls === null ? $port === 443 : $tls !== false);
    }

    /**
     * Returns the address of a WAIT line, and the path and query at which it is asked.
     *
     * @param string $url http://HOST:PORT/, https://HOST/ or unix:/PATH
     * @return array{self, string}
     * @throws InputException
     */
    public static function ofUrl(string $url): array
    {
        if (self::isPath($url)) {
            return [self::ofPath($url), '/'];
        }
        $isUrl = preg_match('~\A(https?)://(\[[^\]/?#]*\]|[^:/?#]*)(?::(\d{1,5}))?(/[!-\x7e]*)?\z~i', $url, $match);
        if (!$isUrl || strpos($url, '#') !== false) {
            $wanted = 'WAIT URL must be http://HOST:PORT/, https://HOST/ or unix:/PATH';
            throw new InputException("$wanted, \"" . Marker::shown($url) . '" given');
        }
        $secure = strtolower($match[1]) === 'https';
        $port = ($match[3] ?? '') === '' ? ($secure ? 443 : 80) : (int)$match[3];
        return [self::ofHost($match[2], $port, $secure), $match[4] ?? '/'];
    }

    /**
     * Returns whether this is the path of a socket.
     */
    public static function isPath(string $host): bool
    {
        return strncmp($host, self::UNIX, strlen(self::UNIX)) === 0;
    }

    private static function ofPath(string $address): self
    {
        $path = (string)substr($address, strlen(self::UNIX));
        if ($path === '' || $path[0] !== '/' || strlen($path) > self::UNIX_PATH_MAX || strpos($path, "\0") !== false) {
            $wanted = 'unix:/PATH must be an absolute path of ' . self::UNIX_PATH_MAX . ' bytes at most';
            throw new InputException($wanted . ', "' . Marker::shown($address) . '" given');
        }
        return new self($address, "unix://$path", 'localhost', 'localhost', false);
    }

    private static function ofHost(string $host, int $port, bool $secure): self
    {
        // The host is written into the request's head, so it must not contain anything that could end a line there.
        if (!preg_match('/\A(\[[0-9A-Fa-f:.]+(%\w+)?\]|[^\s\x00-\x1f\x7f\/?#@\[\]]+)\z/', $host)) {
            throw new InputException('Host must be a name or an IP address, "' . Marker::shown($host) . '" given');
        }
        if ($port < 1 || $port > 65535) {
            throw new InputException("Port must be 1 to 65535, \"$port\" given");
        }
        $host = strpos($host, ':') !== false && $host[0] !== '[' ? "[$host]" : $host;
        return new self("$host:$port", "tcp://$host:$port", "$host:$port", trim($host, '[]'), $secure);
    }
}
