<?php

declare(strict_types=1);

namespace Rplx;

/**
 * An answer of the IN line (protocol page, part 3). Parsing is pure: it takes bytes, and returns an answer or asks for
 * more.
 */
final class Answer
{
    /** The most bytes that a head may have. */
    public const HEAD_MAX = 65536;

    /** The most bytes of an answer that is no HTTP which the message shows. */
    public const SHOWN_MAX = 1024;

    public int $status;
    public string $phrase;
    public string $body;

    /** @var bool whether the server keeps the connection open for another request */
    public bool $keeps;

    private function __construct(int $status, string $phrase, string $body, bool $keeps)
    {
        $this->status = $status;
        $this->phrase = $phrase;
        $this->body = $body;
        $this->keeps = $keeps;
    }

    /**
     * Reads an answer.
     *
     * @param string $bytes all bytes received so far
     * @param bool   $ended whether the server has ended the connection, so that no more bytes can follow
     * @return self|null the answer; null if more bytes are needed
     * @throws ProtocolException if the bytes are no answer, or not a whole one
     */
    public static function parse(string $bytes, bool $ended): ?self
    {
        if (strncmp($bytes, 'HTTP/', min(5, strlen($bytes))) !== 0) {
            throw self::notHttp($bytes);
        }
        if (!preg_match('/\r?\n\r?\n/', $bytes, $match, PREG_OFFSET_CAPTURE)) {
            if ($ended || strlen($bytes) > self::HEAD_MAX) {
                throw self::notHttp($bytes);
            }
            return null;
        }
        $head = str_replace("\r\n", "\n", substr($bytes, 0, $match[0][1]));
        if (!preg_match('~\AHTTP/(\d\.\d) (\d{3})(?: (.*))?$~m', $head, $line)) {
            throw self::notHttp($bytes);
        }
        $start = $match[0][1] + strlen($match[0][0]);
        $status = (int)$line[2];
        $body = self::body($bytes, $start, $ended, $status, $head);
        return $body === null ? null : new self($status, $line[3] ?? '', $body, self::keeps($line[1], $head));
    }

    private static function body(string $bytes, int $start, bool $ended, int $status, string $head): ?string
    {
        $got = strlen($bytes) - $start;
        if (!preg_match('/^Content-Length:[ \t]*(\d+)[ \t]*$/mi', $head, $match)) {
            if ($status === 200) {
                throw new ProtocolException("No Content-Length header in response headers: $head");
            }
            return $ended ? (string)substr($bytes, $start) : null;
        }
        $length = (int)$match[1];
        if ($got < $length && !$ended) {
            return null;
        }
        if ($got !== $length && $status === 200) {
            throw new ProtocolException(
                "Response length ($got) is different than specified in Content-Length header ($length): "
                . 'possibly broken response'
            );
        }
        return (string)substr($bytes, $start, $length);
    }

    private static function keeps(string $version, string $head): bool
    {
        preg_match('/^Connection:[ \t]*(.*?)[ \t]*$/mi', $head, $match);
        $wish = strtolower($match[1] ?? '');
        return $version === '1.0' ? $wish === 'keep-alive' : $wish !== 'close';
    }

    private static function notHttp(string $bytes): ProtocolException
    {
        return new ProtocolException('Non-HTTP response received: ' . substr($bytes, 0, self::SHOWN_MAX));
    }
}
