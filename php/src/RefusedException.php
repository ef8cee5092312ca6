<?php

declare(strict_types=1);

namespace Rplx;

/**
 * The server said no: wrong password (403), message too large (413), no strict JSON (400), away (503).
 * The code is the HTTP status. Nothing was stored.
 */
final class RefusedException extends Exception
{
    private string $reason;

    /**
     * @param int    $status HTTP status
     * @param string $phrase the words behind it, "Access Deined"
     * @param string $reason the body as it came, a line such as "unknown login: X\n"
     */
    public function __construct(int $status, string $phrase, string $reason)
    {
        parent::__construct('Request failed: ' . rtrim("$status $phrase") . "\n" . $reason, $status);
        $this->reason = rtrim($reason);
    }

    /**
     * The server's reason alone, one line.
     */
    public function reason(): string
    {
        return $this->reason;
    }
}
