<?php

declare(strict_types=1);

namespace Rplx\Tests;

/**
 * A browser's poll on the WAIT line.
 */
final class Listener
{
    /** @var resource */
    private $socket;

    /** @var string what was received before the body */
    private string $head = '';

    /**
     * Returns when the server has sent the head, so the listener is registered.
     *
     * @param string $list ids, each with or without a cursor: "abc,5:def"
     * @param string $line name of the environment variable with the server's address
     */
    public function __construct(string $list, string $line = 'RPLX_WAIT')
    {
        [$host, $port] = Live::address($line);
        $this->socket = stream_socket_client("tcp://$host:$port", $errno, $error, 60);
        stream_set_timeout($this->socket, 60);
        fwrite($this->socket, "GET /?identifier=$list HTTP/1.1\r\nHost: $host\r\nConnection: close\r\n\r\n");
        while (strpos($this->head, "\r\n\r\n") === false) {
            $line = fgets($this->socket);
            if ($line === false) {
                throw new \RuntimeException("No head: $this->head");
            }
            $this->head .= $line;
        }
    }

    public function body(): string
    {
        return (string)stream_get_contents($this->socket);
    }

    /**
     * @return list<mixed> the data of each message, JSON objects as stdClass
     */
    public function data(): array
    {
        return array_map(static function (\stdClass $block) {
            return $block->data;
        }, json_decode($this->body(), false, 512, JSON_THROW_ON_ERROR));
    }

    /**
     * @return list<array<string, string>> the ids => cursors of each message
     */
    public function ids(): array
    {
        return array_map(static function (array $block) {
            return $block['ids'];
        }, json_decode($this->body(), true, 512, JSON_THROW_ON_ERROR));
    }

    public function close(): void
    {
        fclose($this->socket);
    }
}
