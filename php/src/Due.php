<?php

declare(strict_types=1);

namespace Rplx;

/**
 * What a listener has received and not yet passed on: a gap, a message, and where they move its cursors, by full ids.
 */
final class Due
{
    public ?Message $message;

    /** @var array<int|string, string> id => cursor behind it */
    public array $cursors;

    /** @var array<mixed> ids whose gap is told first */
    public array $gap;

    /** @var array<int|string, string> id => cursor: where the server is, for those of the gap that are ahead of it */
    public array $present;

    /**
     * @param array<int|string, string> $cursors
     * @param array<mixed>              $gap
     * @param array<int|string, string> $present
     */
    public function __construct(?Message $message, array $cursors, array $gap = [], array $present = [])
    {
        $this->message = $message;
        $this->cursors = $cursors;
        $this->gap = $gap;
        $this->present = $present;
    }
}
