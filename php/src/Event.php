<?php

declare(strict_types=1);

namespace Rplx;

/**
 * One change that WATCH reports (protocol page, part 3).
 */
final class Event
{
    public const ONLINE = 'online';
    public const OFFLINE = 'offline';

    /** No event of a channel: `position` is where to start watching. */
    public const FAKE = 'FAKE';

    /** @var string one of the constants above */
    public string $kind;

    /** @var int position in the server's event log, to be given to the next watch() */
    public int $position;

    /** @var string the channel, without the namespace */
    public string $id;

    public function __construct(string $kind, int $position, string $id)
    {
        $this->kind = $kind;
        $this->position = $position;
        $this->id = $id;
    }
}
