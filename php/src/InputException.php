<?php

declare(strict_types=1);

namespace Rplx;

/**
 * An argument or option is wrong: an id, a cursor, a position, a login, or data that cannot be written as JSON.
 * Nothing was sent.
 */
class InputException extends Exception
{
}
