<?php

declare(strict_types=1);

namespace Rplx;

/**
 * The server refused: the password is wrong (403), the message is too large (413) or no strict JSON (400), or the
 * server cannot store it now (503). The code is the HTTP status. Nothing was stored.
 */
final class RefusedException extends Exception
{
    private string $reason;
    private float $retryAfter;

    /**
     * @param int    $status HTTP status
     * @param string $phrase the words behind the status, such as "Access Deined"
     * @param string $reason the body as it was received, a line such as "unknown login: X\n"
     * @param float  $retryAfter seconds after which the server asks to come back, 0 if it does not say
     */
    public function __construct(int $status, string $phrase, string $reason, float $retryAfter = 0.0)
    {
        parent::__construct('Request failed: ' . rtrim("$status $phrase") . "\n" . $reason, $status);
        $this->reason = rtrim($reason);
        $this->retryAfter = $retryAfter;
    }

    /**
     * Returns the server's reason alone, in one line.
     */
    public function reason(): string
    {
        return $this->reason;
    }

    /**
     * Returns the seconds after which the server asks to come back (protocol page, part 9.4), 0 if it does not say.
     * Only a listener reads it.
     */
    public function retryAfter(): float
    {
        return $this->retryAfter;
    }
}
