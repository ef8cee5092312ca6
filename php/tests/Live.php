<?php

declare(strict_types=1);

namespace Rplx\Tests;

/**
 * Addresses of the running server, from the environment: HOST:PORT in RPLX_WAIT, RPLX_IN and so on.
 */
final class Live
{
    /**
     * @return array{string, int}
     */
    public static function address(string $variable): array
    {
        $address = getenv($variable);
        if ($address === false || !preg_match('/\A(.+):(\d+)\z/', $address, $match)) {
            throw new \RuntimeException("$variable must hold HOST:PORT of a running server");
        }
        return [$match[1], (int)$match[2]];
    }

    /**
     * @return string an id that no other test uses
     */
    public static function id(string $start = 'c'): string
    {
        return $start . bin2hex(random_bytes(5));
    }

    /**
     * Asks until the answer is as expected, for 60 seconds at most.
     *
     * @param mixed $expected
     * @return mixed the last answer
     */
    public static function eventually($expected, callable $ask)
    {
        $end = microtime(true) + 60;
        while (($answer = $ask()) != $expected && microtime(true) < $end) {
            usleep(10000);
        }
        return $answer;
    }
}
