<?php

declare(strict_types=1);

namespace Rplx;

/**
 * A message that a listener has received.
 */
final class Message
{
    /** @var mixed what json_decode makes of it: objects as arrays, unless the option `objects` says otherwise */
    public $data;

    /** @var array<int|string, string> its cursor in each of the listener's channels that it reached */
    public array $ids;

    /** @var string|null why PHP cannot read it, such as a lone surrogate; `data` is its JSON text then. Null: it can */
    public ?string $problem;

    /**
     * @param mixed                     $data
     * @param array<int|string, string> $ids
     */
    public function __construct($data, array $ids, ?string $problem = null)
    {
        $this->data = $data;
        $this->ids = $ids;
        $this->problem = $problem;
    }
}
