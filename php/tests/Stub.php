<?php

declare(strict_types=1);

namespace Rplx\Tests;

/**
 * Runs stub_server.php, a server that answers as a test tells it.
 */
final class Stub
{
    public const RECEIPT = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 8\r\n\r\nabc 1.5\n";

    /** what it prints when it has closed a connection */
    private const CLOSED = "closed\n";

    public int $port;

    /** @var resource */
    private $process;

    /** @var resource */
    private $output;

    /**
     * @param array{0: list<string>, 1?: string, 2?: string} ...$connections for each connection: the answers, what a
     *     request is read until ("request", "head", "eof", "nothing"), how it ends ("close", "later", "reset", "hold",
     *     "keep")
     */
    public function __construct(array ...$connections)
    {
        $plan = [];
        foreach ($connections as $given) {
            $plan[] = [
                'answers' => array_map('base64_encode', $given[0]),
                'until' => $given[1] ?? 'request',
                'end' => $given[2] ?? 'close',
            ];
        }
        $command = [PHP_BINARY, __DIR__ . '/stub_server.php', json_encode($plan)];
        $this->process = proc_open($command, [1 => ['pipe', 'w']], $pipes);
        $this->output = $pipes[1];
        $this->port = (int)fgets($this->output);
    }

    public function __destruct()
    {
        proc_terminate($this->process);
        fclose($this->output);
        proc_close($this->process);
    }

    /**
     * @return string the next request, as it came
     */
    public function request(): string
    {
        do {
            $line = (string)fgets($this->output);
        } while ($line === self::CLOSED);
        return (string)base64_decode($line);
    }

    /**
     * Returns when it has closed the next connection. Its requests that were not asked for are passed over.
     */
    public function awaitClose(): void
    {
        do {
            $line = fgets($this->output);
        } while ($line !== false && $line !== self::CLOSED);
    }

    /**
     * @return int a port on which nobody listens
     */
    public static function deadPort(): int
    {
        $socket = stream_socket_server('tcp://127.0.0.1:0');
        $port = (int)substr(strrchr(stream_socket_get_name($socket, false), ':'), 1);
        fclose($socket);
        return $port;
    }
}
