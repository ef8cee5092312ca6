<?php

declare(strict_types=1);

namespace Rplx;

/**
 * An answer of the WAIT line as it comes (RFC 9112): bytes in, bytes of its body out.
 */
final class Response
{
    private const HEAD = 'head';
    private const LENGTH = 'length';
    private const CHUNK_SIZE = 'chunk size';
    private const CHUNK = 'chunk';
    private const CHUNK_END = 'chunk end';
    private const TO_THE_END = 'to the end';
    private const DONE = 'done';

    /** @var int 0 until the head is there */
    public int $status = 0;
    public string $phrase = '';

    private string $headers = '';
    private string $state = self::HEAD;
    private string $rest = '';
    private int $left = 0;

    /**
     * Returns a header's value, "" if there is none.
     */
    public function header(string $name): string
    {
        return preg_match("/^$name:[ \\t]*(.*?)[ \\t]*\$/mi", $this->headers, $match) ? $match[1] : '';
    }

    /**
     * Returns whether all of it is there. `$ended`: the server has ended the connection.
     */
    public function isWhole(bool $ended): bool
    {
        return $this->state === self::DONE || ($ended && $this->state === self::TO_THE_END);
    }

    /**
     * Takes the next bytes and returns what they hold of the body.
     *
     * @throws ProtocolException if this is no answer
     */
    public function feed(string $bytes): string
    {
        $this->rest .= $bytes;
        $body = '';
        do {
            $state = $this->state;
            $body .= $this->step();
        } while ($this->state !== $state);
        return $body;
    }

    private function step(): string
    {
        switch ($this->state) {
            case self::HEAD:
                $this->readHead();
                return '';
            case self::CHUNK_SIZE:
                $this->readSize();
                return '';
            case self::CHUNK_END:
                $this->skipLineEnd();
                return '';
            case self::LENGTH:
                return $this->some(self::DONE);
            case self::CHUNK:
                return $this->some(self::CHUNK_END);
            default:
                $all = $this->state === self::TO_THE_END ? $this->rest : '';
                $this->rest = '';
                return $all;
        }
    }

    private function readHead(): void
    {
        if (strncmp($this->rest, 'HTTP/', min(5, strlen($this->rest))) !== 0) {
            throw $this->notHttp();
        }
        if (!preg_match('/\r?\n\r?\n/', $this->rest, $match, PREG_OFFSET_CAPTURE)) {
            if (strlen($this->rest) > Answer::HEAD_MAX) {
                throw $this->notHttp();
            }
            return;
        }
        $this->headers = str_replace("\r", '', substr($this->rest, 0, $match[0][1]));
        if (!preg_match('~\AHTTP/1\.\d (\d{3})(?: (.*))?$~m', $this->headers, $line)) {
            throw $this->notHttp();
        }
        $this->rest = (string)substr($this->rest, $match[0][1] + strlen($match[0][0]));
        if ($line[1][0] === '1') {
            // An interim answer; the next head follows. Reading it anew is a step of its own.
            $this->readHead();
            return;
        }
        $this->status = (int)$line[1];
        $this->phrase = $line[2] ?? '';
        $length = $this->header('Content-Length');
        if (stripos($this->header('Transfer-Encoding'), 'chunked') !== false) {
            $this->state = self::CHUNK_SIZE;
        } elseif (preg_match('/\A\d{1,18}\z/', $length)) {
            $this->left = (int)$length;
            $this->state = $this->left === 0 ? self::DONE : self::LENGTH;
        } else {
            $this->state = in_array($this->status, [204, 304], true) ? self::DONE : self::TO_THE_END;
        }
    }

    private function readSize(): void
    {
        if (!preg_match('/\A([^\r\n]*)\r?\n/', $this->rest, $match)) {
            return;
        }
        if (!preg_match('/\A\s*([0-9A-Fa-f]{1,8})\s*(?:;.*)?\z/', $match[1], $size)) {
            throw new ProtocolException('Answer is no whole one: no size of a chunk: ' . Marker::shown($match[1]));
        }
        $this->rest = (string)substr($this->rest, strlen($match[0]));
        $this->left = (int)hexdec($size[1]);
        $this->state = $this->left === 0 ? self::DONE : self::CHUNK;
    }

    private function skipLineEnd(): void
    {
        if (preg_match('/\A\r?\n/', $this->rest, $match)) {
            $this->rest = (string)substr($this->rest, strlen($match[0]));
            $this->state = self::CHUNK_SIZE;
        }
    }

    private function some(string $next): string
    {
        $taken = (string)substr($this->rest, 0, $this->left);
        $this->rest = (string)substr($this->rest, strlen($taken));
        $this->left -= strlen($taken);
        $this->state = $this->left === 0 ? $next : $this->state;
        return $taken;
    }

    private function notHttp(): ProtocolException
    {
        return new ProtocolException('Non-HTTP response received: ' . substr($this->rest, 0, Answer::SHOWN_MAX));
    }
}
