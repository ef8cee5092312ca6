<?php

declare(strict_types=1);

namespace Rplx;

/**
 * The server is not reached, does not answer in time, or the connection broke. The code is the system's errno, 0 if
 * there is none. When it is raised after a send began, the message may or may not have been stored.
 */
final class ConnectionException extends Exception
{
}
