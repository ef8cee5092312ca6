<?php

declare(strict_types=1);

namespace Rplx;

/**
 * An argument or option that cannot be sent: a wrong id, cursor, position, login, or data that is no JSON.
 * Nothing was sent.
 */
final class InputException extends Exception
{
}
