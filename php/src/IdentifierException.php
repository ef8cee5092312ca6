<?php

declare(strict_types=1);

namespace Rplx;

/**
 * An id, a limiter or a prefix is none. Nothing was sent.
 */
final class IdentifierException extends InputException
{
    private string $given;

    /**
     * @param string $given what was given for an id, as text
     */
    public function __construct(string $given)
    {
        $rule = 'Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*';
        parent::__construct($rule . ', "' . Marker::shown($given) . '" given');
        $this->given = $given;
    }

    /**
     * Returns what was given, as it came.
     */
    public function given(): string
    {
        return $this->given;
    }
}
