<?php

declare(strict_types=1);

namespace Rplx;

/**
 * The base class of everything that this library throws.
 */
class Exception extends \RuntimeException
{
}
