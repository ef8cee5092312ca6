<?php

declare(strict_types=1);

namespace Rplx;

/**
 * One request of the WAIT line on a connection of its own, and its answer as it comes.
 */
final class Exchange
{
    /** The errno ETIMEDOUT of Linux. */
    private const TIMED_OUT = 110;

    public Response $response;
    private Socket $socket;

    /**
     * Connects and writes the request.
     *
     * @throws ConnectionException
     */
    public function __construct(Address $address, Options $options, string $request)
    {
        $this->response = new Response();
        $this->socket = new Socket($address, $options->connectTimeout, $options->tls);
        $deadline = Socket::now() + $options->timeout;
        for ($sent = 0; $sent < strlen($request);) {
            $ready = $this->socket->wait(true, $deadline);
            if ($ready === null) {
                throw $this->silent("within $options->timeout seconds (option timeout)");
            }
            $count = $ready[1] ? $this->socket->write($request, $sent) : 0;
            if ($count === null) {
                throw $this->broken('Connection closed without an answer');
            }
            $sent += $count;
        }
    }

    /**
     * Waits for more of the answer.
     *
     * @param float $deadline as of Socket::now()
     * @return string|null what came of the body, maybe nothing; null if nothing came until the deadline
     * @throws ConnectionException|ProtocolException
     */
    public function read(float $deadline): ?string
    {
        $ready = $this->socket->wait(false, $deadline);
        if ($ready === null) {
            return null;
        }
        if ($ready[0]) {
            $this->socket->fill();
        }
        $bytes = $this->socket->received;
        $this->socket->received = '';
        return $this->response->feed($bytes);
    }

    /**
     * Returns whether nothing more can come.
     */
    public function isOver(): bool
    {
        return $this->socket->ended || $this->response->isWhole(false);
    }

    /**
     * Returns whether the answer is all there.
     */
    public function isWhole(): bool
    {
        return $this->response->isWhole($this->socket->ended);
    }

    public function close(): void
    {
        $this->socket->close();
    }

    public function silent(string $since): ConnectionException
    {
        return $this->socket->broken("No answer $since", self::TIMED_OUT);
    }

    public function broken(string $detail): ConnectionException
    {
        return $this->socket->broken($detail);
    }
}
