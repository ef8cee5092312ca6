<?php

declare(strict_types=1);

namespace Rplx;

/**
 * The server is not reached or does not answer in time, or the connection broke. The message begins with host and port.
 * The code is the system's errno, 0 if there is none. If it is thrown after a send began, the message may or may not
 * have been stored.
 */
final class ConnectionException extends Exception
{
    private string $detail;

    /**
     * @param string $address host and port
     * @param string $detail  what went wrong there
     * @param int    $errno   the system's number for it, 0 if it has none
     */
    public function __construct(string $address, string $detail, int $errno = 0)
    {
        parent::__construct("$address: $detail", $errno);
        $this->detail = $detail;
    }

    /**
     * Returns what went wrong, without host and port.
     */
    public function detail(): string
    {
        return $this->detail;
    }
}
