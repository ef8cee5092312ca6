<?php

declare(strict_types=1);

namespace Rplx;

/**
 * The bytes received are not an answer of a Realplexor server, or only a part of one.
 */
final class ProtocolException extends Exception
{
}
