<?php

declare(strict_types=1);

namespace Rplx;

/**
 * Base of everything that this library raises on purpose.
 */
class Exception extends \RuntimeException
{
}
